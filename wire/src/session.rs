//! What a supervisor and a node say about processes.
//!
//! Every guest thread has a channel ([`thread_channel`]): its calls, their replies and its signals travel there, in
//! order. Every guest process has one ([`process_channel`]) for its image, its moves and its end. File contents have
//! [`CONTENT`]. Nothing relies on the order between channels; where two meet, the messages carry numbers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use syscall_table::sets::CallSet;
use syscall_table::{Out, Patch};

use crate::Channel;
use crate::trace::{Traced, Wanted};

/// The channel of file contents.
pub const CONTENT: Channel = Channel(1);

/// A process on a node, numbered by home and never again used on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey(pub u64);

/// A thread of a process on a node, numbered by home and never again used on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThreadKey(pub u64);

/// The channel of a thread.
pub fn thread_channel(key: ThreadKey) -> Channel {
    Channel(key.0 * 2 + 2)
}

/// The channel of a process.
pub fn process_channel(key: ProcessKey) -> Channel {
    Channel(key.0 * 2 + 3)
}

/// Whose channel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// [`Channel::CONTROL`].
    Control,
    /// [`CONTENT`].
    Content,
    /// A thread's.
    Thread(ThreadKey),
    /// A process's.
    Process(ProcessKey),
}

/// Tells whose channel it is.
pub fn owner(channel: Channel) -> Owner {
    match channel.0 {
        0 => Owner::Control,
        1 => Owner::Content,
        n if n % 2 == 0 => Owner::Thread(ThreadKey(n / 2 - 1)),
        n => Owner::Process(ProcessKey((n - 3) / 2)),
    }
}

/// From a body's thread to its deputy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up {
    /// A call to execute.
    Call(Call),
    /// fork, vfork or clone: make a deputy like this thread's.
    Fork {
        /// Call number.
        seq: u64,
        /// CLONE_* bits that matter at home, without the exit signal.
        flags: u64,
        /// Signal to the parent when the child ends.
        exit_signal: u32,
    },
    /// execve or execveat, with all strings read.
    Exec {
        /// Call number.
        seq: u64,
        /// execveat's directory, AT_FDCWD for execve.
        dir: i32,
        /// execveat's flags.
        flags: i32,
        /// Path, without NUL.
        path: ByteBuf,
        /// Arguments, each NUL-terminated.
        argv: ByteBuf,
        /// Environment, each NUL-terminated.
        envp: ByteBuf,
        /// Blocked signals of the thread.
        mask: u64,
        /// Pending signals as raw siginfo: the thread's, then the process's.
        pending: Vec<ByteBuf>,
        /// Number of the last signal from home that each thread of the process has seen.
        seen: Vec<(ThreadKey, u64)>,
    },
    /// A mapping of a file: what is it?
    MapFile {
        /// Call number.
        seq: u64,
        /// The descriptor.
        fd: i32,
        /// PROT_* bits asked for.
        prot: i32,
        /// MAP_* bits asked for.
        flags: i32,
        /// Length asked for in bytes.
        len: u64,
        /// Offset asked for in bytes.
        offset: u64,
    },
    /// The ignored signals changed; holds for the whole process.
    Dispositions(Dispositions),
    /// Number of the last signal that this thread has seen, so that home need not keep it.
    Seen(u64),
    /// This thread has ended, the process goes on.
    ThreadEnd,
    /// For a trace of system calls, if home wants one ([`ToBody::Trace`]).
    Traced(Traced),
}

/// What home must know about signal dispositions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispositions {
    /// Signals with SIG_IGN, bit n-1 for signal n.
    pub ignored: u64,
    /// Signals with a handler.
    pub caught: u64,
    /// SA_NOCLDSTOP and SA_NOCLDWAIT of SIGCHLD.
    pub child_flags: u64,
    /// Signals that a thread has waited for with rt_sigtimedwait: they come even if they are ignored.
    pub waited: u64,
}

/// A forwarded call, marshalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Counts the thread's requests.
    pub seq: u64,
    /// Call number.
    pub nr: u32,
    /// Arguments; those that `patches` names are addresses at home.
    pub args: [u64; 6],
    /// Buffers.
    pub bufs: Vec<Buf>,
    /// Where addresses of buffers go.
    pub patches: Vec<Patch>,
    /// Blocked signals of the thread, for calls that may block.
    pub mask: Option<u64>,
    /// Number of the last signal of this thread that the node has seen.
    pub seen: u64,
    /// The thread has a signal to take: the call must not wait. One that never waits is still made.
    pub signaled: bool,
    /// When a wait ends that an earlier request for the same call began, where no argument says it (SO_RCVTIMEO): home's
    /// CLOCK_MONOTONIC in nanoseconds.
    pub until: Option<u64>,
}

/// One buffer of a call, as `syscall_table::plan` makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buf {
    /// Bytes that go in.
    pub data: ByteBuf,
    /// Bytes of room, at least as many as go in.
    pub room: u32,
    /// Offset within a page that it has in the guest: the deputy's gets the same.
    pub page_offset: u16,
    /// What comes back.
    pub out: Out,
}

/// From a deputy to its body's thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Down {
    /// The answer to request `seq`.
    Reply {
        /// The request.
        seq: u64,
        /// How it went.
        outcome: Outcome,
        /// What to write into the guest: buffer, offset in it, bytes.
        outs: Vec<(u16, u32, ByteBuf)>,
    },
    /// A signal came for the deputy.
    Signal {
        /// Counts the signals sent on this channel.
        number: u64,
        /// For this thread rather than its process.
        thread: bool,
        /// Raw siginfo.
        info: ByteBuf,
    },
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The kernel's raw result.
    Done(i64),
    /// A signal or a move interrupted it.
    Interrupted {
        /// The kernel's raw code, one of -512, -513, -514, -516 and -4.
        code: i64,
        /// See [`Call::until`].
        until: Option<u64>,
    },
    /// A move cut a write short after so many bytes: the rest of it is still to be made.
    Cut(i64),
    /// Not made, because a signal or a move came first.
    NotMade,
    /// The process must come home for it: the stay reason.
    GoHome(String),
    /// A deputy was made.
    Forked {
        /// Its pid or tid.
        tid: i32,
        /// Key of its process: the caller's own for a thread.
        process: ProcessKey,
        /// Key of the thread.
        thread: ThreadKey,
    },
    /// The file's content.
    File {
        /// BLAKE3 of the whole file.
        content: [u8; 32],
        /// Size in bytes.
        size: u64,
        /// Path at home.
        path: ByteBuf,
    },
}

/// From home about a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToBody<'a> {
    /// Build a body. Pages follow, then `Commit`.
    Place {
        /// The image, encoded by `tracee`'s types.
        image: ByteBuf,
        /// Keys of its threads, in the image's order.
        threads: Vec<ThreadKey>,
        /// A body that this one follows (exec): end it first. The CPU time that it used is counted on by this one.
        replaces: Option<ProcessKey>,
        /// Signal dispositions as home knows them.
        dispositions: Dispositions,
        /// Ranges, first address and first one after, whose pages are no longer the process's although they were sent to
        /// the body that was prepared.
        stale: Vec<(u64, u64)>,
    },
    /// Prepare a body for a process that still runs at home, or give the one that is prepared other mappings: an
    /// `Outline` of `tracee`'s. Pages follow after [`FromBody::Prepared`], then `Place`.
    Prepare {
        /// The outline, encoded.
        outline: ByteBuf,
    },
    /// Contents of pages from an address on.
    Pages {
        /// First address.
        start: u64,
        /// Whole pages.
        #[serde(borrow, with = "serde_bytes")]
        bytes: Cow<'a, [u8]>,
    },
    /// All pages are sent.
    Commit,
    /// Run.
    Go,
    /// Home wants the process back: stop it and send its image.
    Bring,
    /// Home could not take it: go on.
    Resume,
    /// End the body: it is at home now, or dead.
    Release,
    /// The process is stopped at home (job control): compute no more.
    Freeze,
    /// It goes on.
    Thaw,
    /// From now on this is wanted of it and of the processes that it makes, or nothing any more ([`Up::Traced`]).
    Trace(Option<Wanted>),
}

/// About a process to home.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromBody<'a> {
    /// The mappings of [`ToBody::Prepare`] are there.
    Prepared,
    /// The body is built and waits for `Go`.
    Built,
    /// It cannot be built here: why.
    Refused(String),
    /// It must come home: the stay reason. Home answers with `Bring`.
    GoHome(String),
    /// The node wants it gone, in words for the user: home brings it back, and it may go elsewhere.
    Leave(String),
    /// What it has used so far, about once a second while it changes.
    Usage {
        /// User and system time in nanoseconds that the process has used away, as in [`FromBody::Ended`].
        cpu_ns: u64,
        /// Resident memory in KiB.
        memory_kib: u64,
    },
    /// The image; pages follow, then `PagesEnd`.
    Image(ByteBuf),
    /// See [`ToBody::Pages`].
    Pages {
        /// First address.
        start: u64,
        /// Whole pages.
        #[serde(borrow, with = "serde_bytes")]
        bytes: Cow<'a, [u8]>,
    },
    /// All pages are sent; the body stays stopped until `Release` or `Resume`.
    PagesEnd,
    /// `Bring` is not possible now: why.
    CannotBring(String),
    /// A signal whose default is to stop the process came, and has no handler.
    StopDefault(i32),
    /// A signal to `thread` (or any) must interrupt its deputy's call.
    Interrupt(ThreadKey),
    /// The process has ended, and its pid is free on the node: the wait status, and the CPU time it took.
    Ended {
        /// As in wait(2).
        status: i32,
        /// User and system time of this body in seconds.
        cpu_s: f64,
        /// User and system time in nanoseconds that the process has used away: of this body, of those that it
        /// replaced, and what the image of the first of them came with.
        away_ns: (u64, u64),
    },
}

/// On [`CONTENT`], to home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantContent {
    /// Which.
    pub content: [u8; 32],
}

/// On [`CONTENT`], to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentPart {
    /// Which.
    pub content: [u8; 32],
    /// Offset in bytes.
    pub offset: u64,
    /// Bytes from there; empty when home no longer has it.
    pub bytes: ByteBuf,
}

/// On [`Channel::CONTROL`], to home, after the hellos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Control {
    /// The node cannot serve this session: why, and what to do.
    Refused(String),
    /// The sandbox is there.
    Ready,
    /// Counters of the node's side, now and then and at the end.
    Counters {
        /// Calls that ran on the node though they trapped.
        local: u64,
        /// CPU time of bodies that have not ended, in seconds.
        live_cpu_s: f64,
    },
    /// The node's vDSO is another than home's: home answers with its [`Vdso`], and the node with one of the first two.
    WantVdso,
}

/// Home's vDSO, on [`Channel::CONTROL`], when the node wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdso {
    /// Its image, with the hash that home's hello has.
    pub code: ByteBuf,
    /// Bytes of the data pages before it.
    pub vvar_bytes: u64,
    /// `struct vgetrandom_opaque_params` of its getrandom, if it has one.
    pub random: Option<ByteBuf>,
}

/// Home's second message on [`Channel::CONTROL`], after its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Calls that shall stop for the executor although they are local: processes will be traced from their first instruction.
    pub traced: CallSet,
    /// Take home's vDSO for another kernel's even if it is the same, to see whether that makes a difference.
    pub foreign_vdso: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_tell_their_owner() {
        assert_eq!(owner(Channel::CONTROL), Owner::Control);
        assert_eq!(owner(CONTENT), Owner::Content);
        for n in [0, 1, 77] {
            assert_eq!(owner(thread_channel(ThreadKey(n))), Owner::Thread(ThreadKey(n)));
            assert_eq!(owner(process_channel(ProcessKey(n))), Owner::Process(ProcessKey(n)));
        }
    }
}
