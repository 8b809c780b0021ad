//! Signals of a process that leaves: what is pending, and what its deputy does about its children's.

use tracee::foothold::Foothold;
use tracee::inject::{InjectError, Injector};
use tracee::{Tid, memory, signal};
use wire::session::Dispositions;

/// Signals that came after the image was taken, with the threads that they are for.
pub(super) type Late = Vec<(Tid, Vec<u8>)>;

/// Takes what was pending when the image was taken, `sent`: it travels with that, and a pending signal is in one place.
/// Of what has come since, takes and gives back those in `dropped`, which the change of dispositions that follows would
/// drop; the deputy gets the others by and by. They are taken as sigtimedwait(2) takes them, for a timer goes on only
/// when its signal is: one that is dropped, as by ignoring it, stops the timer for good.
pub(super) fn take_pending(
    injector: &mut Injector,
    foothold: &Foothold,
    shared: bool,
    sent: &[Vec<u8>],
    dropped: u64,
) -> Result<Vec<Vec<u8>>, InjectError> {
    let mut sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    let mut new = Vec::new();
    for info in injector.thread().pending(shared)? {
        let known = sent.iter().position(|known| *known == info.0);
        let bit = signal::bit(info.signal());
        if known.is_none() && dropped & bit == 0 {
            continue;
        }
        let (set, timeout) = (foothold.scratch(), foothold.scratch() + 64);
        memory::write_all(injector.tid(), set, &bit.to_le_bytes())?;
        memory::write_all(injector.tid(), timeout, &[0; 16])?;
        // EAGAIN: SIGKILL or SIGSTOP, which cannot be waited for and are not held back either.
        injector.raw(RT_SIGTIMEDWAIT, [set, 0, timeout, 8, 0, 0])?;
        match known {
            Some(known) => drop(sent.swap_remove(known)),
            None => new.push(info.0.to_vec()),
        }
    }
    Ok(new)
}

/// What a process with these actions has to lose when they become the default: signals that do nothing then.
pub(super) fn dropped_by_default(actions: &[(i32, [u64; 4])]) -> u64 {
    actions.iter().fold(0, |set, (number, _)| set | signal::bit(*number)) & signal::IGNORED_BY_DEFAULT
}

/// Mirrors what SIGCHLD's disposition means for zombies, and whether it comes for children that stop or go on: one of
/// those that is pending would swallow the one for the end.
pub(super) fn set_child_flags(
    injector: &mut Injector,
    foothold: &Foothold,
    dispositions: &Dispositions,
) -> Result<(), InjectError> {
    if dispositions.ignored >> (SIGCHLD - 1) & 1 != 0 {
        return Ok(());
    }
    let args = [SIGCHLD as u64, 0, foothold.scratch(), 8, 0, 0];
    injector.call("rt_sigaction", RT_SIGACTION, args)?;
    let flags = memory::read_u64(injector.tid(), foothold.scratch() + 8)?;
    // Only a change: setting the default drops a pending SIGCHLD.
    if dispositions.child_flags != flags & CHILD_FLAGS {
        let flags = dispositions.child_flags & CHILD_FLAGS;
        let words: Vec<u8> = [0, flags, 0, 0].iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        memory::write_all(injector.tid(), foothold.scratch(), &words)?;
        let args = [SIGCHLD as u64, foothold.scratch(), 0, 8, 0, 0];
        injector.call("rt_sigaction", RT_SIGACTION, args)?;
    }
    Ok(())
}

const RT_SIGACTION: i64 = 13;
const RT_SIGTIMEDWAIT: i64 = 128;
pub(super) const SIGCHLD: i32 = 17;
/// SA_NOCLDSTOP, SA_NOCLDWAIT.
pub(super) const CHILD_FLAGS: u64 = 3;
