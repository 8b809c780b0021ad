//! Signals that come while a thread is inside home's vDSO. Bodies may have another, on a node that nobody knows of yet.

use tracee::inject::{InjectError, postpone};
use tracee::{Running, Stopped, Tid};

use super::Supervisor;
use crate::process::StayReason;
use crate::procfs;

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE and SIGSEGV: of a fault, which is where it is. The process goes on from there anywhere,
/// since a clock has been read by the time that it is stored.
const FAULTS: [i32; 5] = [4, 5, 7, 8, 11];

impl Supervisor {
    /// The frame of a signal's handler holds where the thread was. If that is half-way through a function of home's vDSO
    /// and the process moves before the handler returns, it goes on in code that has no data where it is then. So the
    /// thread gets out first; the signal is pending again and comes at once. Whether that is so.
    pub(super) fn leave_vdso(&mut self, at: &Stopped, signal: i32) -> bool {
        let tid = at.tid();
        let bit = 1u64 << (signal.clamp(1, 64) - 1);
        let Some((start, pid)) = procfs::vdso(tid).zip(self.table.threads.get(&tid).map(|thread| thread.pid))
        else {
            return false;
        };
        if self.table.processes.get(&pid).is_none_or(|process| process.stay == Some(StayReason::Asked)) {
            return false;
        }
        let range = (start, start + self.vdso_bytes());
        let inside = at.regs().is_ok_and(|regs| (range.0..range.1).contains(&regs.rip));
        if !inside
            || FAULTS.contains(&signal)
            || procfs::caught_signals(tid).is_none_or(|caught| caught & bit == 0)
        {
            return false;
        }
        match postpone(Running::attached(tid).stopped(), range, pid) {
            Ok(()) => {
                if self.stopping == Some(tid) {
                    // A stop that is waited for may have been taken for one of a step. ESRCH: killed meanwhile.
                    Running::attached(tid).interrupt().ok();
                }
                true
            }
            // Its end was reported to the injection: that report is all there is.
            Err(InjectError::Gone(tid, event, _)) => {
                self.gone(tid, event);
                true
            }
            Err(_) => false,
        }
    }

    fn gone(&mut self, tid: Tid, event: tracee::Event) {
        self.before_reaping(tid, event);
        self.reaped(tid);
    }
}
