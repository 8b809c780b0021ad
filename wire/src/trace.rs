//! What home's trace of system calls wants to know of a process, and what a node tells it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use syscall_table::render::Style;
use syscall_table::sets::CallSet;

/// The most bytes of a string, and elements of an array, that are shown.
pub const STRING_BYTES_MAX: usize = 64 << 10;

/// What is traced, and how it is shown. What is not wanted is not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which calls.
    pub calls: CallSet,
    /// How those ended.
    pub ends: Ends,
    /// Which signals, bit n-1 for signal n.
    pub signals: u64,
    /// How arguments and results are shown; `None` if they need not be.
    pub style: Option<Style>,
    /// A call that may wait is told when it begins, and not only when it is over.
    pub entries: bool,
}

impl Wanted {
    /// Everything, as it is usually shown.
    pub fn all() -> Wanted {
        Wanted {
            calls: CallSet::ALL,
            ends: Ends::ALL,
            signals: u64::MAX,
            style: Some(Style::default()),
            entries: true,
        }
    }

    /// The same, asking for no more of a string or array than anybody reads: whoever asks shall not fill memory with it.
    #[must_use]
    pub fn bounded(mut self) -> Wanted {
        if let Some(style) = &mut self.style {
            style.string_bytes = style.string_bytes.min(STRING_BYTES_MAX);
            style.elements = style.elements.min(STRING_BYTES_MAX);
        }
        self
    }

    /// Whether the first half of a call is told when that begins: what is wanted may depend on how it ends.
    pub fn tells_entries(&self) -> bool {
        self.entries && self.ends == Ends::ALL
    }

    /// Whether a signal is wanted.
    pub fn signal(&self, number: i32) -> bool {
        self.signals >> (number.clamp(1, 64) - 1) & 1 == 1
    }
}

/// Ways in which a call ends: strace's `-e status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends(u8);

impl Ends {
    /// It returned, and not an error.
    pub const SUCCESSFUL: Ends = Ends(1);
    /// It returned an error.
    pub const FAILED: Ends = Ends(2);
    /// It did not return: exit(2), or the thread was killed in it.
    pub const UNFINISHED: Ends = Ends(4);
    /// It returned, but what is not known.
    pub const UNAVAILABLE: Ends = Ends(8);
    /// The trace ended first.
    pub const DETACHED: Ends = Ends(16);
    /// No way at all.
    pub const NONE: Ends = Ends(0);
    /// Any.
    pub const ALL: Ends = Ends(31);

    /// Either's.
    #[must_use]
    pub fn or(self, other: Ends) -> Ends {
        Ends(self.0 | other.0)
    }

    /// All others.
    #[must_use]
    pub fn complement(self) -> Ends {
        Ends(!self.0 & Ends::ALL.0)
    }

    /// Whether `end` is among them.
    pub fn has(self, end: Ends) -> bool {
        self.0 & end.0 != 0
    }

    /// How a call with this result ended, -4095 to -1 being errors.
    pub fn of(ret: i64) -> Ends {
        if (-4095..0).contains(&ret) { Ends::FAILED } else { Ends::SUCCESSFUL }
    }
}

/// What a trace shows of a thread away from home. Words are the node's: only there is the memory they come from. Times are
/// home's CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Traced {
    /// A call begins. Of one that returns at once this is said with its exit.
    Entry(Entry),
    /// It returned.
    Exit(Exit),
    /// The next call of the thread, or the one that has begun, is made at home: the stay reason.
    GoesHome(String),
    /// A signal is delivered.
    Signal {
        /// When.
        at_ns: u64,
        /// Its number.
        number: i32,
        /// Raw siginfo.
        info: ByteBuf,
    },
}

/// The first half of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began.
    pub at_ns: u64,
    /// Call number.
    pub nr: u32,
    /// Arguments as the guest gave them.
    pub args: [u64; 6],
    /// `name(argument, argument, `
    pub text: String,
}

/// The other half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The first half, if it has not been said.
    pub entry: Option<Entry>,
    /// The raw result.
    pub ret: i64,
    /// The remaining arguments and `)`.
    pub rest: String,
    /// What stands after the `=`.
    pub result: String,
    /// The deputy executed it, rather than the body's own kernel.
    pub forwarded: bool,
    /// From its beginning to its end, in nanoseconds.
    pub took_ns: u64,
    /// Of that, the time in which home was asked.
    pub asked_ns: u64,
    /// The number of the first request to home that was made for it, if any was.
    pub asked_from: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_results() {
        for (ret, end) in
            [(0, Ends::SUCCESSFUL), (-1, Ends::FAILED), (-4095, Ends::FAILED), (-4096, Ends::SUCCESSFUL)]
        {
            assert_eq!(Ends::of(ret), end, "{ret}");
        }
        let most = Ends::FAILED.complement();
        assert!(!most.has(Ends::FAILED) && most.has(Ends::SUCCESSFUL) && most.has(Ends::DETACHED));
        assert_eq!(most.or(Ends::FAILED), Ends::ALL);
        assert_eq!(Ends::ALL.complement(), Ends::NONE);
    }
}
