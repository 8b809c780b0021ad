//! The core of a body that calls home again and again.
//!
//! Waking a task on another core costs 30–40 µs on a virtual machine, on the same core about 1 µs (FIGURES), and each
//! forwarded call wakes the body, this loop and home's. So while the session's only thread calls faster than that
//! pays, it and this loop stay on the core where home's datagrams arrive: on loopback the supervisor's, on a network
//! the one that serves the interface. They are let go as soon as it computes, or when there are other threads, which
//! shall have all cores. A body is built there too, by some fifty injected calls, and begins with a row of its own
//! calls. A body never sees it: sched_getaffinity(2) asks home.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};
use tracee::Tid;

/// Calls that follow each other within this time count as a row: at 500 µs the wakings are a tenth or more of it.
const SOON: Duration = Duration::from_micros(500);
/// So many in a row make it worth the two system calls.
const ROW: u32 = 8;
/// A body that does not call for this long computes. Two ticks of a kernel with 250 Hz: to arm and disarm a timer that is
/// due before the next tick costs each call 7 µs on a virtual machine.
const COMPUTES: Duration = Duration::from_millis(8);

pub(crate) struct Nearness {
    /// Where this thread may run; None where there is no choice.
    allowed: Option<CpuSet>,
    last: Instant,
    row: u32,
    near: bool,
}

impl Nearness {
    pub(crate) fn new() -> Nearness {
        let allowed = sched_getaffinity(None).ok().filter(|set| set.count() > 1);
        Nearness { allowed, last: Instant::now(), row: 0, near: false }
    }

    /// Thread `host`, the only one, calls home; home's core is asked for when it matters.
    pub(crate) fn calls(&mut self, host: Tid, core: impl FnOnce() -> Option<usize>) {
        let Some(allowed) = &self.allowed else { return };
        let now = Instant::now();
        self.row = if now - self.last < SOON { self.row + 1 } else { 0 };
        self.last = now;
        if self.near || self.row < ROW {
            return;
        }
        self.row = 0;
        let Some(core) = core().filter(|core| allowed.is_set(*core)) else { return };
        self.near = gather(host, core);
    }

    /// Thread `host` is about to be called by injection many times: both stay on one core until [`Self::built`], on
    /// home's `core` if it is the only one.
    pub(crate) fn builds(&mut self, host: Tid, core: Option<usize>) {
        let Some(allowed) = &self.allowed else { return };
        let core = core.filter(|core| allowed.is_set(*core)).unwrap_or_else(sched_getcpu);
        gather(host, core);
    }

    /// Thread `host` is built. It stays near if it is the `only` one of the session.
    pub(crate) fn built(&mut self, host: Tid, only: bool) {
        self.near = only && self.allowed.is_some();
        if !self.near {
            self.end(std::iter::once(host));
        }
    }

    /// When a body that keeps silent counts as computing.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.near.then(|| Instant::now() + COMPUTES)
    }

    pub(crate) fn is_near(&self) -> bool {
        self.near
    }

    /// Lets this loop and the bodies' threads go where they like.
    pub(crate) fn end(&mut self, threads: impl Iterator<Item = Tid>) {
        let Some(allowed) = &self.allowed else { return };
        self.near = false;
        // ESRCH: it has ended meanwhile.
        for body in threads.filter_map(Pid::from_raw) {
            sched_setaffinity(Some(body), allowed).ok();
        }
        sched_setaffinity(None, allowed).ok();
    }
}

/// Puts a body and this thread on one core; whether both are there.
fn gather(host: Tid, core: usize) -> bool {
    let mut only = CpuSet::new();
    only.set(core);
    let body = Pid::from_raw(host).is_some_and(|body| sched_setaffinity(Some(body), &only).is_ok());
    body && sched_setaffinity(None, &only).is_ok()
}
