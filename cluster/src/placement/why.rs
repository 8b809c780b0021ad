//! Each decision in one line, for `mosix why PID` and the log.

use std::fmt;

use crate::name::Name;
use crate::placement::{Leaving, Place};

/// Why nodes were passed over, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Blocked, outside their hours, or claimed by their owners.
    pub closed: u16,
    /// At their limit of guests or of guests' memory.
    pub full: u16,
    /// Without room for the process's memory.
    pub memory: u16,
    /// With a CPU that lacks what the process may use.
    pub features: u16,
    /// Excluded by advice.
    pub advice: u16,
    /// Not heard from lately.
    pub stale: u16,
}

impl Passed {
    fn any(&self) -> bool {
        *self != Passed::default()
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.closed, "closed"),
            (self.full, "full"),
            (self.memory, "short of memory"),
            (self.features, "with another CPU"),
            (self.advice, "excluded"),
            (self.stale, "not heard from"),
        ];
        let mut first = true;
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{}{count} {what}", if first { "" } else { ", " })?;
            first = false;
        }
        Ok(())
    }
}

/// Why a process stays where it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stay {
    /// `--no-migrate` or a lock.
    Locked,
    /// The system holds it here, for this reason.
    Held(&'static str),
    /// `--io-job`.
    IoJob,
    /// It does not compute now.
    Waits,
    /// It came only so long ago.
    Settling {
        /// Until it may go, in seconds.
        left_s: f64,
    },
    /// It will be gone before a move pays.
    Short {
        /// Expected CPU seconds.
        life_s: f64,
        /// What a move takes, in seconds.
        cost_s: f64,
    },
    /// Its calls would cost more than the load does.
    Distance {
        /// Forwarded calls per CPU second.
        calls_per_s: f64,
        /// Time per call, in seconds.
        call_s: f64,
        /// The best node.
        best: Name,
    },
    /// Nothing better enough.
    GoodHere {
        /// Expected seconds here.
        here_s: f64,
        /// The best other place and seconds there.
        best: Option<(Place, f64)>,
    },
    /// No node can take it.
    Nowhere,
}

/// Why a process is to be where it is to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// It stays.
    Stays(Stay, Passed),
    /// The user named the node.
    Asked(Name),
    /// Home, where `--io-job` wants it.
    IoJob,
    /// It will be done sooner there.
    Sooner {
        /// Where.
        to: Place,
        /// Expected seconds where it is.
        here_s: f64,
        /// Expected seconds there.
        there_s: f64,
        /// Expected CPU seconds.
        life_s: f64,
        /// Nodes that were as good; one was drawn.
        equals: usize,
        /// Nodes passed over.
        passed: Passed,
    },
    /// Home is short of memory.
    Usher {
        /// Where.
        to: Name,
        /// What is missing, in MiB.
        shortage_mib: u32,
        /// What the process has, in MiB.
        memory_mib: u32,
    },
    /// Its node wants it gone.
    Leaves {
        /// From where.
        from: Name,
        /// Why.
        because: Leaving,
        /// Where to.
        to: Place,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = match self {
            Why::Stays(stay, passed) => {
                write!(f, "stays: {stay}")?;
                passed
            }
            Why::Asked(node) => return write!(f, "to {node}: asked for"),
            Why::IoJob => return f.write_str("to home: an I/O job by the user's word"),
            Why::Sooner { to, here_s, there_s, life_s, equals, passed } => {
                write!(f, "to {to}: {there_s:.1} s instead of {here_s:.1} s for {life_s:.1} s of work")?;
                if *equals > 1 {
                    write!(f, ", drawn from {equals} equals")?;
                }
                passed
            }
            Why::Usher { to, shortage_mib, memory_mib } => {
                return write!(f, "to {to}: home lacks {shortage_mib} MiB, it has {memory_mib} MiB");
            }
            Why::Leaves { from, because, to } => return write!(f, "from {from} to {to}: {because}"),
        };
        if passed.any() {
            write!(f, " ({passed})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stay::Locked => f.write_str("it may not migrate"),
            Stay::Held(reason) => write!(f, "{reason}"),
            Stay::IoJob => f.write_str("an I/O job by the user's word"),
            Stay::Waits => f.write_str("it waits and does not compute"),
            Stay::Settling { left_s } => write!(f, "it moved lately, may move again in {left_s:.1} s"),
            Stay::Short { life_s, cost_s } => {
                write!(f, "{life_s:.2} s of work left, a move takes {cost_s:.2} s")
            }
            Stay::Distance { calls_per_s, call_s, best } => {
                write!(
                    f,
                    "{calls_per_s:.0} calls/s of {:.0} µs each cost more than {best} saves",
                    call_s * 1e6
                )
            }
            Stay::GoodHere { here_s, best: Some((place, there_s)) } => {
                write!(f, "{here_s:.1} s here, {there_s:.1} s at {place}, the best other place")
            }
            Stay::GoodHere { here_s, best: None } => {
                write!(f, "{here_s:.1} s here, and no load to flee from")
            }
            Stay::Nowhere => f.write_str("no other node can take it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_line_that_says_it() {
        let a = Name::new("a").unwrap();
        let passed = Passed { closed: 2, features: 1, ..Passed::default() };
        let lines = [
            (
                Why::Stays(Stay::Nowhere, passed),
                "stays: no other node can take it (2 closed, 1 with another CPU)",
            ),
            (
                Why::Sooner {
                    to: Place::Node(a.clone()),
                    here_s: 6.0,
                    there_s: 2.03,
                    life_s: 2.0,
                    equals: 3,
                    passed: Passed::default(),
                },
                "to a: 2.0 s instead of 6.0 s for 2.0 s of work, drawn from 3 equals",
            ),
            (
                Why::Stays(
                    Stay::Distance { calls_per_s: 9000.0, call_s: 240e-6, best: a.clone() },
                    Passed::default(),
                ),
                "stays: 9000 calls/s of 240 µs each cost more than a saves",
            ),
            (
                Why::Leaves { from: a.clone(), because: Leaving::Claimed, to: Place::Home },
                "from a to home: its owner needs the machine",
            ),
            (
                Why::Usher { to: a, shortage_mib: 70, memory_mib: 90 },
                "to a: home lacks 70 MiB, it has 90 MiB",
            ),
        ];
        for (why, line) in lines {
            assert_eq!(why.to_string(), line);
        }
    }
}
