//! The daemon that a session belongs to: what it is told of guests, and what it orders.

use std::fs;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use wire::session::{FromBody, ProcessKey};

use crate::body::Phase;
use crate::session::{Session, SessionError};

/// How often a daemon hears of guests.
const REPORT_PERIOD: Duration = Duration::from_millis(500);
/// Reports of arrivals and ends are not nearer to each other than this.
const REPORT_GAP: Duration = Duration::from_millis(20);
/// Guests in one report, at most; a session has a pid range of its own, and a report fits into a datagram of a unix socket.
const MAX_REPORTED: usize = 4096;

/// A guest process of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Its pid at home.
    pub pid: i32,
    /// Its pid on this machine.
    pub host: i32,
    /// Resident memory in MiB, rounded up.
    pub memory_mib: u32,
}

/// What a daemon wants of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Processes that are not here may come (None), or why they may not, in the words for their user.
    Closed(Option<String>),
    /// The guest with this pid at home is to leave, for this reason.
    Evict(i32, String),
    /// The session ends, and everything with it; home is told why.
    End(String),
}

/// A session's daemon.
pub trait Daemon {
    /// Readable when there may be an order. None if there never is one.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// The next order.
    fn order(&mut self) -> Option<Order>;
    /// All guests, when one has come or gone and about twice a second.
    fn guests(&mut self, guests: &[Guest]);
}

/// A session that nobody looks after, as that of `--loopback`.
#[derive(Debug)]
pub struct Alone;

impl Daemon for Alone {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn order(&mut self) -> Option<Order> {
        None
    }

    fn guests(&mut self, _: &[Guest]) {}
}

/// When the daemon is next told.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    told: Vec<i32>,
    at: Option<Instant>,
    /// Why no process may come that is not here, if so.
    closed: Option<String>,
}

impl Session {
    /// Takes the daemon's orders.
    pub(crate) fn obey(&mut self) -> Result<(), SessionError> {
        while let Some(order) = self.daemon.order() {
            match order {
                Order::Closed(why) => self.reports.closed = why,
                Order::End(why) => return Err(SessionError::Ended(why)),
                Order::Evict(pid, why) => {
                    let guest =
                        self.processes.values().find(|process| process.pid == pid && process.host != 0);
                    if let Some(key) = guest.map(|guest| guest.key) {
                        self.say(key, &FromBody::Leave(why))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Why a process may not come, if so. One that only execs is here already.
    pub(crate) fn closed_to(&self, replaces: Option<ProcessKey>) -> Option<String> {
        let here = replaces.is_some_and(|old| self.processes.contains_key(&old));
        if here { None } else { self.reports.closed.clone() }
    }

    /// Tells the daemon of guests when it is time; returns when that is next.
    pub(crate) fn report(&mut self, now: Instant) -> Option<Instant> {
        self.daemon.fd()?;
        let pids = || self.processes.values().filter(|process| is_here(process.host, &process.phase));
        let changed = pids().count() != self.reports.told.len()
            || pids().any(|process| self.reports.told.binary_search(&process.pid).is_err());
        if !changed && self.reports.told.is_empty() {
            return None;
        }
        let gap = if changed { REPORT_GAP } else { REPORT_PERIOD };
        let due = self.reports.at.map_or(now, |at| at + gap);
        if due > now {
            return Some(due);
        }
        let guest = |pid: i32, host: i32| Guest { pid, host, memory_mib: resident_mib(host) };
        let mut guests: Vec<Guest> =
            pids().take(MAX_REPORTED).map(|process| guest(process.pid, process.host)).collect();
        guests.sort_by_key(|guest| guest.pid);
        self.daemon.guests(&guests);
        self.reports.told = guests.iter().map(|guest| guest.pid).collect();
        self.reports.at = Some(now);
        (!guests.is_empty()).then(|| now + REPORT_PERIOD)
    }
}

fn is_here(host: i32, phase: &Phase) -> bool {
    host != 0 && !matches!(phase, Phase::Ending)
}

/// Field 2 of /proc/PID/statm, in MiB.
fn resident_mib(host: i32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{host}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    u32::try_from((pages * 4096).div_ceil(1 << 20)).unwrap_or(u32::MAX)
}
