//! Timeouts of calls that are made again: how much is left, and putting that in.

use std::time::Duration;

use syscall_table::{At, Deadline, Plan};

/// The time that a call may take from now on; `None` for ever, or until an absolute time that needs no change.
pub(crate) fn left(how: Deadline, plan: &Plan) -> Option<Duration> {
    let (arg, unit_ns) = match how {
        Deadline::RelMillis(arg) => {
            let millis = plan.args[arg as usize] as i32;
            return u64::try_from(millis).ok().map(Duration::from_millis);
        }
        Deadline::RelTimespec(arg) => (arg, 1),
        Deadline::RelTimeval(arg) => (arg, 1000),
        Deadline::AbsTimespec { arg, flag_arg, .. } => match flag_arg {
            Some((flags, bit)) if plan.args[flags as usize] & bit == 0 => (arg, 1),
            _ => return None,
        },
    };
    let data = &plan.bufs.get(target(plan, arg)?)?.data;
    let seconds = i64::from_le_bytes(data.get(..8)?.try_into().ok()?);
    let fraction = i64::from_le_bytes(data.get(8..16)?.try_into().ok()?);
    // What is out of range gets its EINVAL at home.
    let nanoseconds = u32::try_from(fraction.checked_mul(unit_ns)?).ok().filter(|ns| *ns < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

/// Gives the call this much time.
pub(crate) fn set(how: Deadline, plan: &mut Plan, left: Duration) {
    let (arg, unit_ns) = match how {
        Deadline::RelMillis(arg) => {
            // Rounded up, as the kernel never returns early.
            let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
            plan.args[arg as usize] = millis as u64;
            return;
        }
        Deadline::RelTimespec(arg) => (arg, 1),
        Deadline::RelTimeval(arg) => (arg, 1000),
        Deadline::AbsTimespec { arg, .. } => (arg, 1),
    };
    let Some(buf) = target(plan, arg).and_then(|buf| plan.bufs.get_mut(buf)) else { return };
    if buf.data.len() >= 16 {
        buf.data[..8].copy_from_slice(&left.as_secs().to_le_bytes());
        buf.data[8..16].copy_from_slice(&u64::from(left.subsec_nanos() / unit_ns).to_le_bytes());
    }
}

fn target(plan: &Plan, arg: u8) -> Option<usize> {
    plan.patches.iter().find(|patch| patch.at == At::Arg(arg)).map(|patch| usize::from(patch.target))
}
