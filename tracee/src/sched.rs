//! Scheduling policies of other threads.

use crate::{Errno, Tid};

/// Gives a thread the policy SCHED_IDLE, or SCHED_OTHER again (sched(7)). The way back takes a privilege.
pub fn set_idle(tid: Tid, idle: bool) -> Result<(), Errno> {
    let policy = if idle { libc::SCHED_IDLE } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live local that the kernel only reads.
    if unsafe { libc::sched_setscheduler(tid, policy, &raw const parameters) } < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 41 of /proc/TID/stat (proc(5)): 5 is SCHED_IDLE.
    fn policy() -> String {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, rest) = text.rsplit_once(") ").unwrap();
        rest.split(' ').nth(38).unwrap().to_owned()
    }

    #[test]
    fn a_thread_is_idle_when_told_to() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(policy(), "0");
                // 0 is the caller.
                set_idle(0, true).unwrap();
                assert_eq!(policy(), "5");
            });
        });
        assert_eq!(set_idle(i32::MAX, true), Err(Errno::ESRCH));
    }
}
