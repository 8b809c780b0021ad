//! CPU clocks of other processes.

use std::time::Duration;

use crate::{Errno, Tid};

/// CPU time that a whole process (all its threads, the ended ones too, not its children) has used. Answers for a
/// zombie as well, until it is reaped; see clock_getcpuclockid(3). 0.4 µs.
pub fn process_cpu_time(pid: Tid) -> Result<Duration, Errno> {
    /// CPUCLOCK_SCHED of the kernel's posix-timers: scheduler time in nanoseconds, of a process.
    const CPUCLOCK_SCHED: i32 = 2;
    let clock = (!pid << 3) | CPUCLOCK_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(Errno::last());
    }
    Ok(Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_for_a_zombie() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        // Wait for its end without reaping it.
        crate::wait::await_zombie(pid).unwrap();
        assert!(process_cpu_time(pid).unwrap() > Duration::ZERO);
        child.wait().unwrap();
        assert!(process_cpu_time(pid).is_err());
    }
}
