//! Timeouts: a call that was interrupted and is forwarded again is given what remains (signal(7) would restart it
//! with its full time, and `-516` never leaves a kernel).

use std::time::Duration;

use super::{At, Plan, put64, word64};
use crate::types::Deadline;

impl Plan {
    /// The bytes that pointer argument `arg` points to.
    fn behind(&mut self, arg: u8) -> Option<&mut Vec<u8>> {
        let patch = self.patches.iter().find(|patch| patch.at == At::Arg(arg))?;
        Some(&mut self.bufs[patch.target as usize].data)
    }
}

/// Where a deadline is relative, its argument and the nanoseconds in a unit of its second word (0: milliseconds in
/// the argument itself).
fn relative(how: Deadline, args: &[u64; 6]) -> Option<(u8, u64)> {
    match how {
        Deadline::RelTimespec(arg) => Some((arg, 1)),
        Deadline::RelTimeval(arg) => Some((arg, 1000)),
        Deadline::RelMillis(arg) => Some((arg, 0)),
        Deadline::AbsTimespec { arg, flag_arg: Some((flag, bit)), .. } if args[flag as usize] & bit == 0 => {
            Some((arg, 1))
        }
        Deadline::AbsTimespec { .. } => None,
    }
}

/// How long the call may take. None if it may take for ever, if its time is not valid (the kernel says so), or if it is
/// absolute: then it can be made again as it is.
pub fn timeout(how: Deadline, plan: &Plan) -> Option<Duration> {
    let (arg, unit) = relative(how, &plan.args)?;
    if unit == 0 {
        let millis = plan.args[arg as usize] as i32;
        return u64::try_from(millis).ok().map(Duration::from_millis);
    }
    let patch = plan.patches.iter().find(|patch| patch.at == At::Arg(arg))?;
    let data = &plan.bufs[patch.target as usize].data;
    if data.len() < 16 {
        return None;
    }
    duration([word64(data, 0), word64(data, 8)], unit)
}

fn duration([seconds, rest]: [u64; 2], unit: u64) -> Option<Duration> {
    let rest = rest.checked_mul(unit)?;
    (seconds <= i64::MAX as u64 && rest < 1_000_000_000).then(|| Duration::new(seconds, rest as u32))
}

/// As [`timeout`], of a call that is not marshalled: `read` reads two words of its process.
pub fn timeout_of(
    how: Deadline,
    args: &[u64; 6],
    read: impl FnOnce(u64) -> Option<[u64; 2]>,
) -> Option<Duration> {
    let (arg, unit) = relative(how, args)?;
    let value = args[arg as usize];
    match unit {
        0 => u64::try_from(value as i32).ok().map(Duration::from_millis),
        _ if value == 0 => None,
        _ => duration(read(value)?, unit),
    }
}

/// What a call with a relative timeout returns when that is over; `None` for calls that have none, not even from a
/// socket's SO_RCVTIMEO or SO_SNDTIMEO.
pub fn at_deadline(nr: u32) -> Option<i64> {
    const EAGAIN: i64 = 11;
    const ETIMEDOUT: i64 = 110;
    const EINPROGRESS: i64 = 115;
    Some(match crate::by_number(nr)?.name {
        "poll" | "ppoll" | "select" | "pselect6" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => 0,
        "io_getevents" | "io_pgetevents" | "nanosleep" | "clock_nanosleep" => 0,
        "futex" => -ETIMEDOUT,
        "io_uring_enter" | "semop" | "semtimedop" | "rt_sigtimedwait" => -EAGAIN,
        "read" | "readv" | "recvfrom" | "recvmsg" | "accept" | "accept4" => -EAGAIN,
        "write" | "writev" | "sendto" | "sendmsg" => -EAGAIN,
        "connect" => -EINPROGRESS,
        _ => return None,
    })
}

/// Gives the call this much time, rounded up to its unit. Does nothing where [`timeout`] is None.
pub fn set_timeout(how: Deadline, plan: &mut Plan, left: Duration) {
    if timeout(how, plan).is_none() {
        return;
    }
    let Some((arg, unit)) = relative(how, &plan.args) else { return };
    if unit == 0 {
        let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
        plan.args[arg as usize] = millis as u64;
        return;
    }
    let mut left = left;
    let odd = u64::from(left.subsec_nanos()) % unit;
    if odd > 0 {
        left += Duration::from_nanos(unit - odd);
    }
    if let Some(data) = plan.behind(arg) {
        put64(data, 0, left.as_secs());
        put64(data, 8, u64::from(left.subsec_nanos()) / unit);
    }
}
