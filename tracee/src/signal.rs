//! Sending signals to processes under our care.

use crate::ptrace::SigInfo;
use crate::{Errno, Tid};

/// Bit of a signal in a set.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Signals that do nothing when their disposition is SIG_DFL. SIGCONT counts: what continues a stopped process is
/// its generation, not its delivery.
pub const IGNORED_BY_DEFAULT: u64 =
    bit(libc::SIGCHLD) | bit(libc::SIGURG) | bit(libc::SIGWINCH) | bit(libc::SIGCONT);

/// Signals of faults, which come where the thread is and nowhere else.
pub const FAULTS: u64 =
    bit(libc::SIGILL) | bit(libc::SIGTRAP) | bit(libc::SIGBUS) | bit(libc::SIGFPE) | bit(libc::SIGSEGV);

/// kill(2).
pub fn kill(pid: Tid, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    if unsafe { libc::kill(pid, signal) } < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// tgkill(2).
pub fn kill_thread(pid: Tid, tid: Tid, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    if unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) } < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// Marks a queued signal as standing for one whose true siginfo is kept by the sender: from another process only
/// SI_QUEUE and the like may be queued, so the truth is put in at delivery (PTRACE_SETSIGINFO).
const TICKET: u64 = 0x6d6f_0000_0000_0000;
const TICKET_MASK: u64 = 0xffff_0000_0000_0000;
/// Offset of `si_value` in siginfo of SI_QUEUE.
const AT_VALUE: usize = 24;

/// Queues `signal` with a ticket on a process, or on one of its threads.
pub fn queue_ticket(pid: Tid, tid: Option<Tid>, signal: i32, ticket: u64) -> Result<(), Errno> {
    let mut info = SigInfo([0; 128]);
    info.0[..4].copy_from_slice(&signal.to_le_bytes());
    info.0[8..12].copy_from_slice(&libc::SI_QUEUE.to_le_bytes());
    info.0[AT_VALUE..AT_VALUE + 8].copy_from_slice(&(TICKET | ticket & !TICKET_MASK).to_le_bytes());
    // SAFETY: the kernel reads one siginfo_t of 128 bytes.
    let got = unsafe {
        match tid {
            Some(tid) => libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info.0.as_ptr()),
            None => libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, info.0.as_ptr()),
        }
    };
    if got < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// The ticket in a siginfo, if it has one.
pub fn ticket(info: &[u8]) -> Option<u64> {
    let code = i32::from_le_bytes(info.get(8..12)?.try_into().ok()?);
    let value = u64::from_le_bytes(info.get(AT_VALUE..AT_VALUE + 8)?.try_into().ok()?);
    (code == libc::SI_QUEUE && value & TICKET_MASK == TICKET).then_some(value & !TICKET_MASK)
}
