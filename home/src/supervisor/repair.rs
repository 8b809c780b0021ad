//! Keeps signals that the program ignores from changing what its calls do.
//!
//! Without a tracer the kernel drops an ignored signal when it is sent. With one it is queued, interrupts the call,
//! and is dropped only after the tracer has seen it. Most calls then restart by themselves; these do not:
//!
//! - epoll_wait, semop, rt_sigtimedwait, io_getevents and socket calls with SO_RCVTIMEO or SO_SNDTIMEO return -EINTR
//!   itself (signal(7), "Interruption of system calls … by stop signals"). At the signal stop this -EINTR is turned
//!   into ERESTARTNOHAND: the kernel restarts the call if no handler runs, and gives EINTR if one does.
//! - a restarted call would wait for its whole timeout again. The time at which it began is known only if it is one
//!   of our restarts, so the first ignored signal in a call may lengthen its wait by the time that had passed
//!   before it, and no further one does: at the deadline the call is interrupted and given the result of a timeout.
//! - write and sendto to a pipe or stream socket return what was written so far. The rest is written by restarting
//!   with what remains of the arguments, which are put back at the end.
//!
//! A stop signal and SIGCONT interrupt these calls without a tracer as well, so there nothing is repaired. Our own
//! PTRACE_INTERRUPT counts as an ignored signal.

use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::net::sockopt::{self, Timeout};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use syscall_table::{Deadline, Wait};
use tracee::errno::restart;
use tracee::regs::Regs;
use tracee::{Errno, Stopped, Tid, memory};

use super::{Supervisor, Timer};
use crate::process::ThreadState;

const SIGPIPE: i32 = rustix::process::Signal::PIPE.as_raw();
const EAGAIN: i64 = rustix::io::Errno::AGAIN.raw_os_error() as i64;
const EINPROGRESS: i64 = rustix::io::Errno::INPROGRESS.raw_os_error() as i64;
const EINTR: i64 = Errno::EINTR.0 as i64;

/// A call that goes on after an ignored signal. Its thread is resumed from stop to stop of calls until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    nr: u32,
    sequence: u64,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Waits again, until the deadline if there is one; then the call's result is `at_deadline`.
    Wait { deadline: Option<Instant>, at_deadline: i64, expired: bool },
    /// Transfers the rest. `done` bytes were transferred before this leg; `over` once a leg has ended, when only a
    /// signal that is reported right then can make another.
    Transfer { buffer: u64, length: u64, done: u64, over: bool },
}

impl Supervisor {
    /// At a signal-delivery-stop: repairs the call that the signal has interrupted, if the program ignores it. Signal
    /// 0 stands for an interruption of our own.
    pub(super) fn repair(&mut self, at: &Stopped, signal: i32) {
        let Ok(mut regs) = at.regs() else { return };
        let Some(nr) = regs.call() else { return };
        let Some(thread) = self.table.threads.get_mut(&at.tid()) else { return };
        let repair = thread.repair.take().filter(|repair| repair.nr == nr);
        let was_stopped = std::mem::take(&mut thread.group_stopped);
        if regs.ret() == restart::NOHAND && matches!(repair, Some(Repair { kind: Kind::Wait { .. }, .. })) {
            // Another signal before the restart: the kernel decides between restart and EINTR at the last one.
            thread.repair = repair;
            return;
        }
        let transferring = matches!(repair, Some(Repair { kind: Kind::Transfer { .. }, .. }));
        if !(transferring || regs.ret() == -EINTR || regs.ret() > 0) {
            return;
        }
        let Some(name) = syscall_table::by_number(nr).map(|call| call.name) else { return };
        if transferring || (regs.ret() > 0 && matches!(name, "write" | "sendto")) {
            self.repair_transfer(at, signal, regs, nr, name, repair);
        } else if regs.ret() == -EINTR && !was_stopped {
            let Some(kind) = self.interrupted_wait(at.tid(), &regs, name, repair, signal) else { return };
            if let Kind::Wait { deadline: Some(deadline), at_deadline, .. } = kind
                && deadline <= Instant::now()
            {
                regs.finish_call(at_deadline);
                // ESRCH: killed meanwhile.
                let _ = at.set_regs(&regs);
                return;
            }
            regs.rax = restart::NOHAND as u64;
            if at.set_regs(&regs).is_ok() {
                self.keep_repair(at.tid(), nr, kind);
            }
        }
    }

    fn keep_repair(&mut self, tid: Tid, nr: u32, kind: Kind) {
        self.repairs_made += 1;
        let sequence = self.repairs_made;
        if let Kind::Wait { deadline: Some(deadline), .. } = kind {
            self.timers.set(deadline, Timer::CallDeadline { tid, sequence });
        }
        if let Some(thread) = self.table.threads.get_mut(&tid) {
            thread.repair = Some(Repair { nr, sequence, kind });
        }
    }

    /// How to go on with a call that returned -EINTR although only an ignored signal came.
    fn interrupted_wait(
        &self,
        tid: Tid,
        regs: &Regs,
        name: &str,
        repair: Option<Repair>,
        signal: i32,
    ) -> Option<Kind> {
        let args = regs.args();
        let (at_deadline, socket_timeout) = match name {
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "io_getevents" => (0, None),
            "io_uring_enter" | "semop" | "semtimedop" | "rt_sigtimedwait" => (-EAGAIN, None),
            "read" | "readv" | "recvfrom" | "recvmsg" | "accept" | "accept4" => {
                (-EAGAIN, Some(Timeout::Recv))
            }
            "write" | "writev" | "sendto" | "sendmsg" => (-EAGAIN, Some(Timeout::Send)),
            "connect" => (-EINPROGRESS, Some(Timeout::Send)),
            _ => return None,
        };
        if !self.is_ignored(tid, signal) {
            return None;
        }
        if let Some(Repair { kind: kind @ Kind::Wait { .. }, .. }) = repair {
            return Some(kind);
        }
        let timeout = match socket_timeout {
            // Not a socket with a timeout: then the -EINTR is the call's own.
            Some(which) => Some(socket_timeout_of(tid, args[0], which)?),
            None => relative_timeout(tid, regs.call()?, &args),
        };
        // A timeout beyond what an Instant holds is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Some(Kind::Wait { deadline, at_deadline, expired: false })
    }

    fn repair_transfer(
        &mut self,
        at: &Stopped,
        signal: i32,
        mut regs: Regs,
        nr: u32,
        name: &str,
        repair: Option<Repair>,
    ) {
        let leg_is_over = !matches!(repair, Some(Repair { kind: Kind::Transfer { over: false, .. }, .. }));
        if signal == SIGPIPE && leg_is_over {
            // Sent by the write itself: the rest cannot be written.
            return;
        }
        let (buffer, length, done) = match repair {
            Some(Repair { kind: Kind::Transfer { buffer, length, done, over }, .. }) => {
                // At the end of a leg the registers show the whole call; in its midst they show the leg.
                (buffer, length, if over { regs.ret().max(0) as u64 } else { done })
            }
            _ => (regs.rsi, regs.rdx, regs.ret() as u64),
        };
        let ignored = self.is_ignored(at.tid(), signal);
        if done >= length {
            return;
        }
        let is_first_leg = regs.rsi == buffer && regs.ret() > 0;
        if ignored && is_first_leg && !blocks_until_written(at.tid(), regs.rdi, name, regs.r10) {
            return;
        }
        if ignored {
            if !is_first_leg && restart::is_code(regs.ret()) {
                // The leg restarts by itself.
                self.keep_repair(at.tid(), nr, Kind::Transfer { buffer, length, done, over: false });
                return;
            }
            regs.rsi = buffer + done;
            regs.rdx = length - done;
            regs.rax = restart::NOHAND as u64;
            if at.set_regs(&regs).is_ok() {
                self.keep_repair(at.tid(), nr, Kind::Transfer { buffer, length, done, over: false });
            }
        } else if !is_first_leg {
            // A handler will run: what was written so far is the result.
            regs.rsi = buffer;
            regs.rdx = length;
            regs.finish_call(done as i64);
            // ESRCH: killed meanwhile.
            let _ = at.set_regs(&regs);
        }
    }

    /// At an entry or exit stop of a thread with a repaired call.
    pub(super) fn repaired_call_moved_on(&mut self, at: &Stopped) {
        let Some(thread) = self.table.threads.get_mut(&at.tid()) else { return };
        let Some(repair) = &mut thread.repair else { return };
        let (Ok(entry), Ok(mut regs)) = (at.at_syscall_entry(), at.regs()) else { return };
        let same = regs.call() == Some(repair.nr);
        match &mut repair.kind {
            Kind::Wait { at_deadline, expired, .. } => {
                if same && !entry && regs.ret() == -EINTR {
                    // This stop takes the place of the one that our interrupt asked for (ptrace_stop in the kernel's
                    // signal.c clears JOBCTL_TRAP_STOP).
                    if *expired {
                        regs.rax = *at_deadline as u64;
                        thread.repair = None;
                        // ESRCH: killed meanwhile.
                        let _ = at.set_regs(&regs);
                    }
                } else if !same || !entry {
                    thread.repair = None;
                }
            }
            Kind::Transfer { over: true, .. } => thread.repair = None,
            Kind::Transfer { buffer, length, done, over } => {
                if !same {
                    thread.repair = None;
                } else if !entry && !restart::is_code(regs.ret()) {
                    // The result of all legs; an error after some bytes is not the call's result (pipe(7)).
                    let total = *done + regs.ret().max(0) as u64;
                    regs.rsi = *buffer;
                    regs.rdx = *length;
                    regs.rax = total;
                    *over = true;
                    // ESRCH: killed meanwhile.
                    let _ = at.set_regs(&regs);
                }
            }
        }
    }

    /// The timer of a repaired call: interrupts it if it is still the same.
    pub(super) fn call_deadline(&mut self, tid: Tid, sequence: u64) {
        let Some(thread) = self.table.threads.get_mut(&tid) else { return };
        if let Some(Repair { sequence: current, kind: Kind::Wait { expired, .. }, .. }) = &mut thread.repair
            && *current == sequence
        {
            *expired = true;
            if let ThreadState::Running(running) = &thread.state {
                // ESRCH: killed meanwhile.
                let _ = running.interrupt();
            }
        }
    }

    /// At the stop that our interrupt made: the call has waited long enough.
    pub(super) fn end_call_at_deadline(&mut self, at: &Stopped) {
        let Some(thread) = self.table.threads.get_mut(&at.tid()) else { return };
        let Some(Repair { nr, kind: Kind::Wait { at_deadline, expired: true, .. }, .. }) = thread.repair
        else {
            return;
        };
        thread.repair = None;
        let Ok(mut regs) = at.regs() else { return };
        if regs.call() == Some(nr) && (regs.ret() == -EINTR || restart::is_code(regs.ret())) {
            regs.finish_call(at_deadline);
            // ESRCH: killed meanwhile.
            let _ = at.set_regs(&regs);
        }
    }
}

/// What the call's own argument says, `None` for no limit.
fn relative_timeout(tid: Tid, nr: u32, args: &[u64; 6]) -> Option<Duration> {
    let timespec = |address: u64| {
        if address == 0 {
            return None;
        }
        let seconds = memory::read_u64(tid, address).ok()?;
        let nanoseconds = memory::read_u64(tid, address + 8).ok()?;
        Some(Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
    };
    match syscall_table::by_number(nr)?.wait {
        Wait::Timed(Deadline::RelMillis(arg)) => {
            u64::try_from(args[usize::from(arg)] as i32).ok().map(Duration::from_millis)
        }
        Wait::Timed(Deadline::RelTimespec(arg)) => timespec(args[usize::from(arg)]),
        _ => None,
    }
}

fn descriptor_of(tid: Tid, fd: u64) -> Option<std::os::fd::OwnedFd> {
    let pid = crate::procfs::process_of(tid)?;
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, i32::try_from(fd).ok()?, PidfdGetfdFlags::empty()).ok()
}

fn socket_timeout_of(tid: Tid, fd: u64, which: Timeout) -> Option<Duration> {
    sockopt::socket_timeout(descriptor_of(tid, fd)?, which).ok()?
}

/// Whether a write to this descriptor returns early only for a signal: a blocking pipe or stream socket.
fn blocks_until_written(tid: Tid, fd: u64, name: &str, flags: u64) -> bool {
    let Some(fd) = descriptor_of(tid, fd) else { return false };
    let blocking =
        rustix::fs::fcntl_getfl(&fd).is_ok_and(|flags| !flags.contains(rustix::fs::OFlags::NONBLOCK));
    let Ok(stat) = rustix::fs::fstat(&fd) else { return false };
    let dont_wait = name == "sendto" && flags & u64::from(rustix::net::SendFlags::DONTWAIT.bits()) != 0;
    let waits = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => name == "write",
        FileType::Socket => {
            sockopt::socket_type(&fd).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
                && sockopt::socket_timeout(&fd, Timeout::Send).is_ok_and(|timeout| timeout.is_none())
        }
        _ => false,
    };
    blocking && waits && !dont_wait
}
