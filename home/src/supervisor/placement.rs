//! The core on which the supervisor runs. Waking a task on another core costs 30–40 µs on a virtual machine, on the
//! same core about 1 µs, so the supervisor goes where the process it serves is.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracee::{Stop, Tid};

use crate::procfs;

/// Where this thread is pinned, and where it may be.
#[derive(Debug)]
pub struct Placement {
    allowed: Option<CpuSet>,
    pinned: Option<usize>,
}

impl Placement {
    /// Knows where this thread may run; one core leaves nothing to decide.
    pub fn new() -> Placement {
        let allowed = sched_getaffinity(None).ok().filter(|set| set.count() > 1);
        Placement { allowed, pinned: None }
    }

    /// After an event that is followed by others of the same process (its making, its new image), goes to the core
    /// where the thread ran last.
    pub fn follow(&mut self, tid: Tid, stop: &Stop) {
        if !matches!(stop, Stop::Exec | Stop::Fork | Stop::Vfork | Stop::Clone) {
            return;
        }
        let Some(allowed) = &self.allowed else { return };
        let Some(cpu) = procfs::stat(tid).map(|stat| stat.cpu) else { return };
        if self.pinned == Some(cpu) || !allowed.is_set(cpu) {
            return;
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        if sched_setaffinity(None, &only).is_ok() {
            self.pinned = Some(cpu);
        }
    }
}
