//! The core of a deputy that is called again and again.
//!
//! Waking a task on another core costs 30–40 µs on a virtual machine, on the same core about 1 µs (FIGURES), and the
//! scheduler likes to wake a sleeping deputy on a core that idles. So while the only deputy is called faster than that
//! pays, it stays on the supervisor's core; so it does while it is hollowed and filled by injected calls, and a lone one
//! begins there. Its own affinity is put back before anything that shows or inherits it: the calls that ask for it or
//! set it, files of /proc, fork, exec, and its coming home.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};
use tracee::Tid;

/// Calls that follow each other within this time count as a row: at 500 µs the wakings are a tenth or more of it.
const SOON: Duration = Duration::from_micros(500);
/// So many in a row make it worth the three system calls.
const ROW: u32 = 8;
/// After a file of /proc was opened the deputy keeps its own affinity this long: the file may show it.
const SHOWN: Duration = Duration::from_secs(1);

const OPEN: u32 = 2;
const SCHED_SETAFFINITY: u32 = 203;
const SCHED_GETAFFINITY: u32 = 204;
const OPENAT: u32 = 257;

#[derive(Debug)]
pub(super) struct Nearness {
    last: Instant,
    row: u32,
    /// The deputy that is kept near, on which core, and its own affinity.
    near: Option<(Tid, usize, CpuSet)>,
}

impl Nearness {
    pub(super) fn new() -> Nearness {
        Nearness { last: Instant::now(), row: 0, near: None }
    }

    /// The deputy, alone in its session, is about to be given call `nr`, whose first buffer is `first`.
    pub(super) fn calls(&mut self, tid: Tid, nr: u32, first: &[u8]) {
        let now = Instant::now();
        if matches!(nr, SCHED_GETAFFINITY | SCHED_SETAFFINITY) {
            return self.end();
        }
        if matches!(nr, OPEN | OPENAT) && first.starts_with(b"/proc") {
            self.end();
            self.last = now + SHOWN;
            return;
        }
        if now < self.last {
            return;
        }
        self.row = if now - self.last < SOON { self.row.saturating_add(1) } else { 0 };
        self.last = now;
        if self.near.is_some() || self.row >= ROW {
            self.begin(tid);
        }
    }

    /// Brings the deputy to this thread's core, if that is among its own.
    pub(super) fn begin(&mut self, tid: Tid) {
        if matches!(&self.near, Some((whose, core, _)) if *whose == tid && *core == sched_getcpu()) {
            return;
        }
        self.end();
        let (core, deputy) = (sched_getcpu(), Pid::from_raw(tid));
        // Where there is no choice, not with each call again.
        self.row = 0;
        let Ok(own) = sched_getaffinity(deputy) else { return };
        if own.count() > 1 && own.is_set(core) && sched_setaffinity(deputy, &only(core)).is_ok() {
            self.near = Some((tid, core, own));
        }
    }

    /// Gives the deputy its own affinity back, unless somebody else has set another meanwhile.
    pub(super) fn end(&mut self) {
        self.row = 0;
        let Some((tid, core, own)) = self.near.take() else { return };
        let deputy = Pid::from_raw(tid);
        if sched_getaffinity(deputy).is_ok_and(|now| now == only(core)) {
            sched_setaffinity(deputy, &own).ok();
        }
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
