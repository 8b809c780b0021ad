//! CPU time of other processes.

use std::fs;
use std::io;
use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wait::CpuTime;
use crate::{Errno, Tid};

/// CPU time that was spent, in nanoseconds. Sums stop at the highest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

impl Cpu {
    /// Both.
    pub fn total_ns(self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }

    /// What was spent since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
        }
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu {
            user_ns: self.user_ns.saturating_add(other.user_ns),
            system_ns: self.system_ns.saturating_add(other.system_ns),
        }
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Cpu) {
        *self = *self + other;
    }
}

impl From<CpuTime> for Cpu {
    fn from(time: CpuTime) -> Cpu {
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        Cpu { user_ns: ns(time.user_s), system_ns: ns(time.system_s) }
    }
}

/// Nanoseconds in the clock tick of times(2) and /proc/PID/stat: USER_HZ is 100 on x86.
pub const TICK_NS: u64 = 10_000_000;

/// CPU time that a whole process has used, as user and system time, in whole ticks (proc_pid_stat(5)). About 10 µs.
pub fn process_ticks(pid: Tid) -> io::Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "unreadable stat line");
    // The second field is the command in parentheses and may hold anything; what follows the last one is regular.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(bad)?;
    let ticks = |number: usize| -> io::Result<u64> {
        rest.split_ascii_whitespace().nth(number - 3).and_then(|field| field.parse().ok()).ok_or_else(bad)
    };
    Ok(Cpu { user_ns: ticks(14)?.saturating_mul(TICK_NS), system_ns: ticks(15)?.saturating_mul(TICK_NS) })
}

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

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The instant at which CLOCK_MONOTONIC is `ns`; now if that is past.
pub fn at_monotonic(ns: u64) -> Instant {
    Instant::now() + Duration::from_nanos(ns.saturating_sub(monotonic_ns()))
}

/// What CLOCK_MONOTONIC is at an instant.
pub fn monotonic_of(at: Instant) -> u64 {
    monotonic_ns() + at.saturating_duration_since(Instant::now()).as_nanos() as u64
}

/// A thread that slept when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asleep {
    since_ns: u64,
    switches: u64,
}

/// Looks at a thread. `None` if it does not sleep, or where the kernel has no /proc/TID/sched.
pub fn asleep(tid: Tid) -> Option<Asleep> {
    let (theirs, switches) = scheduled(&tid.to_string())?;
    let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields.first() != Some(&"S") {
        return None;
    }
    let ours = ran_last_on(fields.get(36)?.parse().ok()?)?;
    let ago_ms = ours - theirs;
    let since_ns = monotonic_ns().saturating_sub((ago_ms.max(0.0) * 1e6) as u64);
    Some(Asleep { since_ns, switches })
}

impl Asleep {
    /// Since when, in nanoseconds of CLOCK_MONOTONIC, if the thread, which is in a ptrace stop now, slept until it was
    /// stopped and was in no other call in between: the stop is the one switch since.
    pub fn until_stopped(&self, tid: Tid) -> Option<u64> {
        let (_, switches) = scheduled(&tid.to_string())?;
        (switches == self.switches + 1).then_some(self.since_ns)
    }
}

/// When this thread ran last by the scheduler's clock of a CPU: each has one of its own, without the time that the machine
/// or its interrupts took. It is read there, where this thread's arrival brings it up to date.
fn ran_last_on(cpu: usize) -> Option<f64> {
    let before = rustix::thread::sched_getaffinity(None).ok()?;
    let mut there = rustix::thread::CpuSet::new();
    (cpu < rustix::thread::CpuSet::MAX_CPU).then(|| there.set(cpu))?;
    if rustix::thread::sched_getcpu() == cpu {
        // The entry is as old as this thread's turn: giving up the CPU begins a new one.
        let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 0, tv_nsec: 1 });
    }
    rustix::thread::sched_setaffinity(None, &there).ok()?;
    let ours = scheduled("thread-self").map(|(ran_last, _)| ran_last);
    // A CPU that was there is still allowed, or none is: then the kernel has chosen already.
    rustix::thread::sched_setaffinity(None, &before).ok();
    ours
}

/// When a thread ran last by the scheduler's clock in milliseconds, and how often it has given up its CPU.
fn scheduled(who: &str) -> Option<(f64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{who}/sched")).ok()?;
    let field = |name: &str| text.lines().find(|line| line.starts_with(name))?.rsplit(' ').next();
    Some((field("se.exec_start")?.parse().ok()?, field("nr_voluntary_switches")?.parse().ok()?))
}

/// The day of the week (Monday is 0) and the hour by this machine's time zone, localtime(3).
pub fn local_day_and_hour() -> (usize, u32) {
    let parts = local(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec);
    // tm_wday: Sunday is 0.
    ((parts.tm_wday.clamp(0, 6) as usize + 6) % 7, parts.tm_hour.clamp(0, 23) as u32)
}

/// Seconds by which this machine's time zone was ahead of UTC at a time since the epoch.
pub fn local_offset_s(at_s: i64) -> i64 {
    local(at_s).tm_gmtoff
}

fn local(at_s: i64) -> libc::tm {
    // SAFETY: an all-zero tm is valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right type.
    unsafe { libc::localtime_r(&at_s, &mut parts) };
    parts
}

/// CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds.
pub fn realtime_ahead_ns() -> i64 {
    let ns = |clock| {
        let time = rustix::time::clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    ns(rustix::time::ClockId::Realtime) - ns(rustix::time::ClockId::Monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_that_of_date() {
        let date = std::process::Command::new("date").arg("+%u %H").output().unwrap();
        let text = String::from_utf8(date.stdout).unwrap();
        let (day, hour) = local_day_and_hour();
        assert_eq!(text.trim(), format!("{} {hour:02}", day + 1));
    }

    #[test]
    fn the_time_zone_is_that_of_date() {
        let date = std::process::Command::new("date").args(["-d", "@1700000000", "+%z"]).output().unwrap();
        let minutes = local_offset_s(1_700_000_000) / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        let text = String::from_utf8(date.stdout).unwrap();
        assert_eq!(text.trim(), format!("{sign}{hours:02}{minutes:02}"));
    }

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
        // Each part is rounded down to ticks.
        let ticks = process_ticks(pid).unwrap().total_ns();
        let exact = process_cpu_time(pid).unwrap().as_nanos() as u64;
        assert!(ticks <= exact && exact <= ticks + 2 * TICK_NS, "{ticks} {exact}");
        child.wait().unwrap();
        assert!(process_cpu_time(pid).is_err());
        assert!(process_ticks(pid).is_err());
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        let some = Cpu { user_ns: 3, system_ns: 4 };
        let all = Cpu { user_ns: u64::MAX, system_ns: u64::MAX };
        assert_eq!((some + some).total_ns(), 14);
        assert_eq!(some + all, all);
        assert_eq!(all.total_ns(), u64::MAX);
        assert_eq!(some.since(all), Cpu::default());
        assert_eq!(Cpu::from(CpuTime { user_s: 0.000_001, system_s: 2.5 }).total_ns(), 2_500_001_000);
    }
}
