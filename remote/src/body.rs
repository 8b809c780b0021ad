//! The state of bodies and their threads as the executor keeps it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;
use std::time::Instant;

use tracee::foothold::Foothold;
use tracee::image::{CpuUsed, Image, Layout, Outline, Vma};
use tracee::ptrace::{Running, SigInfo, Stopped};
use tracee::regs::{Regs, SYSCALL_LEN};
use tracee::vdso::Place;
use tracee::wait::Stop;
use tracee::{Tid, memory, signal};
use wire::session::{Dispositions, ProcessKey, ThreadKey};
use wire::trace::Wanted;

use crate::cpu::Addend;

/// A guest process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: ProcessKey,
    /// Its pid at home and in the sandbox.
    pub(crate) pid: Tid,
    /// Its pid as this machine's namespace numbers it.
    pub(crate) host: Tid,
    pub(crate) phase: Phase,
    /// Host tids, leader first.
    pub(crate) threads: Vec<Tid>,
    pub(crate) foothold: Foothold,
    /// [vvar]… and [vdso].
    pub(crate) vdso: Option<(u64, u64)>,
    /// Where home's vDSO and this machine's are, if they are not the same.
    pub(crate) trampolines: Option<Place>,
    pub(crate) dispositions: Dispositions,
    /// What home knows of them.
    pub(crate) told_dispositions: Dispositions,
    /// True siginfo of signals queued with tickets.
    pub(crate) tickets: HashMap<u64, SigInfo>,
    pub(crate) next_ticket: u64,
    /// Overruns of timers (timer_create(2)) in the signal of each that was delivered last.
    pub(crate) overruns: HashMap<i32, i32>,
    /// Stopped at home by job control.
    pub(crate) frozen: bool,
    /// What home's trace wants to see.
    pub(crate) trace: Option<Rc<Wanted>>,
    /// The thread that waits for this vfork child.
    pub(crate) vfork_parent: Option<Tid>,
    /// Its arguments and environment as its deputy has them.
    pub(crate) words: Words,
    /// CPU time of the process before this body.
    pub(crate) used: CpuUsed,
    /// CPU time of this body in nanoseconds and its memory in KiB, as home was told last.
    pub(crate) told: (u64, u64),
}

/// Where the kernel finds the words of `/proc/PID/cmdline` and `environ`, and what tells whether a program has changed them
/// since its memory was last at home: some write there what `ps` shall show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words {
    start: u64,
    end: u64,
    hash: u64,
}

impl Words {
    /// Those that a body has.
    pub(crate) fn of(host: Tid, layout: &Layout) -> Words {
        let words = Words { start: layout.arg_start, end: layout.env_end.max(layout.arg_end), hash: 0 };
        Words { hash: words.look(host), ..words }
    }

    /// Whether a body has others now.
    pub(crate) fn have_changed(&self, host: Tid) -> bool {
        self.look(host) != self.hash
    }

    fn look(&self, host: Tid) -> u64 {
        let bytes = self.end.saturating_sub(self.start).min(WORDS_BYTES_MAX);
        let mut words = vec![0; bytes as usize];
        let got = memory::read(host, self.start, &mut words);
        let mut hasher = DefaultHasher::new();
        hasher.write(&words[..got]);
        hasher.finish()
    }
}

/// Of more than an exec may be given nothing is looked at (execve(2): a quarter of the stack limit, 6 MiB at most).
const WORDS_BYTES_MAX: u64 = 6 << 20;

/// Where a process is in its life here.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Contents are missing or pages are still coming.
    Building(Box<Building>),
    /// Built; waits for `Go`.
    Built,
    /// Computing.
    Alive,
    /// Threads are being stopped for a move home.
    Stopping,
    /// All stopped, image sent; waits for `Release` or `Resume`.
    Sent,
    /// Killed or exiting; waits for its end.
    Ending,
}

/// A body that is not complete.
#[derive(Debug)]
pub(crate) struct Building {
    /// The mappings that are wanted.
    pub(crate) outline: Outline,
    /// Those that are there, while others may still be wanted.
    pub(crate) mapped: Vec<Vma>,
    /// What is wanted is there.
    pub(crate) is_mapped: bool,
    /// The rest of it, but for the mappings; `None` while the process still runs at home.
    pub(crate) image: Option<Image>,
    pub(crate) keys: Vec<ThreadKey>,
    /// Pages that came before their mappings were there.
    pub(crate) early: Vec<(u64, Vec<u8>)>,
    /// Ranges whose pages are no longer the process's.
    pub(crate) stale: Vec<(u64, u64)>,
    /// The leader, once there is one.
    pub(crate) leader: Option<Stopped>,
    pub(crate) committed: bool,
}

/// A guest thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) key: ThreadKey,
    pub(crate) process: ProcessKey,
    /// Its id at home and in the sandbox.
    pub(crate) tid: Tid,
    pub(crate) state: State,
    /// Number of its last request.
    pub(crate) seq: u64,
    /// Number of the last signal seen on its channel.
    pub(crate) seen: u64,
    /// A call that is to be made again unless a handler runs first: how the kernel shall decide.
    pub(crate) restart: Option<Restart>,
    /// Deadline of a timed call that is made again, with what identifies the call.
    pub(crate) deadline: Option<PendingDeadline>,
    /// What a write that is made again has written before.
    pub(crate) written: Option<Written>,
    /// The call that home's trace has seen begin.
    pub(crate) traced: Option<Box<crate::trace::Open>>,
    /// It stops at the entry to every call and at its exit, those of its own kernel too.
    pub(crate) every_call: bool,
    /// CPU time of the thread before this body.
    pub(crate) used: CpuUsed,
}

/// See [`Thread::restart`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    pub(crate) call: Made,
    pub(crate) code: i64,
}

impl Restart {
    /// Whether a thread with these registers has not made the call again yet, or is in the rt_sigsuspend that stands in
    /// for it.
    pub(crate) fn is_ahead(&self, regs: &Regs) -> bool {
        let rearmed = regs.call().is_none()
            && regs.rip == self.call.after.wrapping_sub(SYSCALL_LEN)
            && regs.rax == u64::from(self.call.nr)
            && regs.args() == self.call.args;
        rearmed || regs.rip == self.call.after && regs.orig_rax == RT_SIGSUSPEND
    }
}

/// Number of rt_sigsuspend, which stands in for calls with a temporary mask.
pub(crate) const RT_SIGSUSPEND: u64 = 130;

/// See [`Thread::deadline`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingDeadline {
    pub(crate) call: Made,
    pub(crate) at: Instant,
    /// The call was interrupted and will be made again; else it is under way.
    pub(crate) again: bool,
}

/// See [`Thread::written`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) call: Made,
    pub(crate) bytes: u64,
}

/// What tells whether a call is one that was made before: number, arguments, and the address after its `syscall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
    pub(crate) after: u64,
}

impl Made {
    /// The call that a thread is in, or has just been stopped at.
    pub(crate) fn of(regs: &Regs) -> Made {
        Made { nr: regs.orig_rax as u32, args: regs.args(), after: regs.rip }
    }
}

/// What a thread does.
#[derive(Debug)]
pub(crate) enum State {
    /// Computes, or is in a call of its own kernel.
    Running(Running, Native),
    /// Stopped in a call that home executes.
    Asking(Stopped, Box<Regs>, Ask),
    /// Stopped, ready to run, and kept for a reason: a vfork child, job control, a move.
    Held(Stopped),
    /// Being changed by the executor right now, or gone.
    Busy,
}

/// What a running thread was let into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Native {
    /// Nothing that matters.
    Plain,
    /// rt_sigtimedwait, with the address for the siginfo: its exit is a stop.
    TimedWait(u64),
    /// A question about CPU time, with the address of the answer and what is added to it: its exit is a stop.
    Counted(u64, Addend),
    /// A call that home traces: its exit is a stop.
    Traced,
}

/// What home was asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A plain call.
    Call(Box<Asked>),
    /// A fork, with the arguments for the body's own.
    Fork(ForkArgs),
    /// An exec.
    Exec,
    /// A file mapping; once the answer is there, waits for the content.
    MapFile(Option<tracee::image::FileRef>),
    /// The process must come home for this call.
    GoHome,
}

/// A plain call on its way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) bufs: Vec<syscall_table::Buf>,
    pub(crate) deadline: Option<Instant>,
    /// Mask the thread waits under: its own, or the call's temporary one.
    pub(crate) mask: u64,
    /// A resource limit to set here as well once home has granted it: number, soft, hard.
    pub(crate) limit: Option<(i32, u64, u64)>,
    /// Address and value of a temporary mask.
    pub(crate) temporary: Option<(u64, u64)>,
    /// What a write had written in earlier requests.
    pub(crate) written: u64,
}

/// struct clone_args without what is home's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ForkArgs {
    pub(crate) flags: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) vfork: bool,
}

impl Process {
    /// One that is begun.
    pub(crate) fn new(key: ProcessKey, building: Building) -> Process {
        Process {
            key,
            pid: building.outline.pid,
            host: 0,
            threads: Vec::new(),
            foothold: Foothold::inherited(0),
            vdso: building.outline.vdso,
            trampolines: None,
            dispositions: Dispositions::default(),
            told_dispositions: Dispositions::default(),
            tickets: HashMap::new(),
            next_ticket: 0,
            overruns: HashMap::new(),
            frozen: false,
            trace: None,
            vfork_parent: None,
            words: Words::default(),
            told: (0, 0),
            used: CpuUsed::default(),
            phase: Phase::Building(Box::new(building)),
        }
    }

    /// Signals that a handler or a default action would act on.
    pub(crate) fn ignores(&self) -> u64 {
        ignores(&self.dispositions)
    }

    /// Whether home must hear of the dispositions before the process asks it for anything: it holds back what it believes
    /// ignored, and it reaps children by them.
    pub(crate) fn tells_at_once(&self) -> bool {
        let (now, told) = (&self.dispositions, &self.told_dispositions);
        let child = signal::bit(SIGCHLD);
        ignores(told) & !ignores(now) != 0
            || (now.ignored ^ told.ignored) & child != 0
            || (now.child_flags, now.waited) != (told.child_flags, told.waited)
    }

    /// Whether home knows what it needs for the next request.
    pub(crate) fn has_told(&self) -> bool {
        let (now, told) = (&self.dispositions, &self.told_dispositions);
        now == told || !self.tells_at_once() && (ignores(now), now.ignored) == (ignores(told), told.ignored)
    }

    /// Whether threads may run.
    pub(crate) fn may_run(&self) -> bool {
        !self.frozen && matches!(self.phase, Phase::Alive)
    }
}

const SIGCHLD: i32 = 17;

fn ignores(dispositions: &Dispositions) -> u64 {
    dispositions.ignored | signal::IGNORED_BY_DEFAULT & !dispositions.caught
}

/// A stop that came before its thread was known.
pub(crate) type Early = HashMap<Tid, Stop>;
