//! What happens in a trace: the one stream that every form of output is made from.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tracee::Tid;
use wire::trace::Ends;

/// Something that happened to a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// When, by home's CLOCK_MONOTONIC in nanoseconds.
    pub at_ns: u64,
    /// Its process.
    pub pid: Tid,
    /// The thread.
    pub tid: Tid,
    /// What it was.
    pub what: What<'a>,
}

/// See [`Event::what`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What<'a> {
    /// It is traced from here on.
    Born,
    /// The name of the program that its process runs now.
    Runs(Cow<'a, str>),
    /// A call begins. Of one that does not wait this may not be said.
    Entered {
        /// Its number.
        nr: u32,
        /// `name(argument, argument, `
        text: Cow<'a, str>,
    },
    /// A call is over.
    Left(Box<Left>),
    /// A signal is about to be delivered.
    Signal {
        /// Its number.
        number: i32,
        /// A siginfo_t in braces.
        info: String,
    },
    /// A group-stop, by this signal.
    Stopped(i32),
    /// The thread has called execve and goes on as the leader of its process.
    Superseded {
        /// The leader's id.
        by: Tid,
    },
    /// The thread has ended.
    Ended(End),
    /// Its process has moved.
    Moved(Moved),
    /// Something else that the user must know.
    Note(String),
    /// It is not traced any more.
    Detached,
    /// So many events are not told because the reader is too slow.
    Lost(u64),
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Its number.
    pub nr: u32,
    /// When it began, as [`Event::at_ns`].
    pub began_ns: u64,
    /// `name(argument, argument, `
    pub entry: String,
    /// The remaining arguments and `)`.
    pub rest: String,
    /// What stands after the `=`.
    pub result: String,
    /// The raw result, -4095 to -1 being errors; `None` of a call that did not return.
    pub ret: Option<i64>,
    /// Where it was made.
    pub place: CallPlace,
    /// From its beginning to its end, in nanoseconds.
    pub took_ns: u64,
    /// Of that, in the deputy, if it was forwarded.
    pub served_ns: u64,
    /// Of that, on the wire.
    pub wire_ns: u64,
    /// Bytes of its requests and their answers on the wire.
    pub bytes: u64,
}

impl Left {
    /// How it ended.
    pub fn end(&self) -> Ends {
        self.ret.map_or(Ends::UNFINISHED, Ends::of)
    }
}

/// Where a call was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallPlace {
    /// At home, by the process itself.
    Home,
    /// By the body, in its node's kernel.
    Remote,
    /// By the deputy for the body.
    Forwarded,
    /// At home, where the process has come for it: the stay reason.
    GoneHome(String),
}

impl std::fmt::Display for CallPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallPlace::Home => f.write_str("home"),
            CallPlace::Remote => f.write_str("remote"),
            CallPlace::Forwarded => f.write_str("forwarded"),
            CallPlace::GoneHome(reason) => write!(f, "gone home: {reason}"),
        }
    }
}

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By a signal.
    Killed {
        /// Its number.
        signal: i32,
        /// Memory was dumped.
        core: bool,
    },
}

/// A move of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// Why it moved; why it did not, if it did not.
    pub reason: String,
    /// Whether it did not.
    pub failed: bool,
    /// Milliseconds from its last instruction there to its first here.
    pub freeze_ms: f64,
    /// Bytes of image and pages.
    pub bytes: u64,
}

impl From<&crate::away::Move> for Moved {
    fn from(report: &crate::away::Move) -> Moved {
        let crate::away::Move { from, to, reason, freeze_ms, bytes, failed, .. } = report;
        Moved {
            from: from.clone(),
            to: to.clone(),
            reason: failed.as_ref().unwrap_or(reason).clone(),
            failed: failed.is_some(),
            freeze_ms: *freeze_ms,
            bytes: *bytes,
        }
    }
}
