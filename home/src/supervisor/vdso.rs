//! Signals that come while a thread is inside home's vDSO.

use tracee::inject::{InjectError, is_half_way, postpone};
use tracee::{Event, Running, Stopped, Tid, signal};

use super::Supervisor;
use crate::process::StayReason;
use crate::procfs;

impl Supervisor {
    /// The frame of a signal's handler holds where the thread was, and its registers. If that is half-way through a
    /// function of the vDSO, the process could not go on from it elsewhere: the data pages are others there (a time
    /// namespace has one more), or the code is. So the thread gets out first; the signal is pending again and comes at
    /// once. Whether that is so.
    ///
    /// A fault is left where it is: a clock has been read by the time that it is stored.
    pub(super) fn leave_vdso(&mut self, at: &Stopped, number: i32) -> bool {
        let (tid, bit) = (at.tid(), signal::bit(number.clamp(1, 64)));
        let Some(pid) = self.table.threads.get(&tid).map(|thread| thread.pid) else { return false };
        let Some(process) = self.table.processes.get_mut(&pid) else { return false };
        if process.stay == Some(StayReason::Asked) {
            return false;
        }
        process.vdso = process.vdso.or_else(|| procfs::vdso(tid));
        let Some(start) = process.vdso else { return false };
        let range = (start, start + self.vdso_bytes());
        if signal::FAULTS & bit != 0
            || !is_half_way(at, range)
            || procfs::caught_signals(tid).is_none_or(|caught| caught & bit == 0)
        {
            return false;
        }
        match postpone(Running::attached(tid).stopped(), range, (pid, tid)) {
            Ok(_) => {
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

    fn gone(&mut self, tid: Tid, event: Event) {
        self.before_reaping(tid, event);
        self.reaped(tid);
    }
}
