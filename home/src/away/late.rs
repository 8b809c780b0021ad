//! Signals that come between a process's image and its becoming a deputy.

use tracee::foothold::Foothold;
use tracee::inject::{InjectError, Injector};
use tracee::{Tid, memory, signal};

/// Those signals, with the threads that they are for.
pub(super) type Late = Vec<(Tid, Vec<u8>)>;

/// Takes those in `dropped` of a thread, or of its process: the change of dispositions that follows would drop them. The
/// deputy gets the others by and by, or reads them itself (signalfd).
pub(super) fn take_late(
    injector: &mut Injector,
    foothold: &Foothold,
    shared: bool,
    dropped: u64,
) -> Result<Vec<Vec<u8>>, InjectError> {
    let mut late = Vec::new();
    for info in injector.thread().pending(shared)? {
        let bit = signal::bit(info.signal());
        if dropped & bit == 0 {
            continue;
        }
        let (set, timeout) = (foothold.scratch(), foothold.scratch() + 64);
        memory::write_all(injector.tid(), set, &bit.to_le_bytes())?;
        memory::write_all(injector.tid(), timeout, &[0; 16])?;
        injector.call("rt_sigtimedwait", RT_SIGTIMEDWAIT, [set, 0, timeout, 8, 0, 0])?;
        late.push(info.0.to_vec());
    }
    Ok(late)
}

/// What a process with these actions has to lose when they become the default: signals that do nothing then.
pub(super) fn dropped_by_default(actions: &[(i32, [u64; 4])]) -> u64 {
    actions.iter().fold(0, |set, (number, _)| set | signal::bit(*number)) & signal::IGNORED_BY_DEFAULT
}

const RT_SIGTIMEDWAIT: i64 = 128;
