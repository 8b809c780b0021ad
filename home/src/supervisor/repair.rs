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
//! The same serves a call that a move interrupted: it has less time, or less to write, than its arguments say.
//!
//! A stop signal and SIGCONT interrupt these calls without a tracer as well, so there nothing is repaired. Our own
//! PTRACE_INTERRUPT counts as an ignored signal.

use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::net::sockopt::{self, Timeout};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use syscall_table::{Deadline, Wait};
use tracee::errno::restart;
use tracee::image::{Unfinished, Used};
use tracee::ptrace::SyscallStop;
use tracee::regs::{Regs, SYSCALL_LEN};
use tracee::{Errno, Stopped, Tid, clock, memory};

use super::{Supervisor, Timer};
use crate::process::ThreadState;

const SIGPIPE: i32 = rustix::process::Signal::PIPE.as_raw();
const EINTR: i64 = Errno::EINTR.0 as i64;

/// A call that goes on after an ignored signal. Its thread is resumed from stop to stop of calls until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    nr: u32,
    sequence: u64,
    kind: Kind,
    /// The thread has not made it yet since it came home: the address of the call's `syscall` instruction.
    ahead: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Waits again, until the deadline if there is one; then the call's result is `at_deadline`.
    Wait { deadline: Option<Instant>, at_deadline: i64, expired: bool },
    /// Transfers the rest. `done` bytes were transferred before this leg; `over` once a leg has ended, when only a
    /// signal that is reported right then can make another.
    Transfer { buffer: u64, length: u64, done: u64, over: bool },
    /// Is made again as it was; `code` says how it ends if a handler runs first.
    Again { code: i64 },
}

impl Supervisor {
    /// At a signal-delivery-stop: repairs the call that the signal has interrupted, if the program ignores it. Signal
    /// 0 stands for an interruption of our own.
    pub(super) fn repair(&mut self, at: &Stopped, signal: i32) {
        let Ok(mut regs) = at.regs() else { return };
        if at.is_set_back(&regs) {
            regs.orig_rax = u64::MAX;
            let repair = self.table.threads.get_mut(&at.tid()).and_then(|thread| thread.repair.as_mut());
            if let Some(repair) = repair {
                repair.ahead = Some(regs.rip);
            }
        }
        let Some(nr) = regs.call() else { return self.handler_comes_first(at, signal, regs) };
        if regs.ret() == restart::BLOCK
            && let Some(thread) = self.table.threads.get_mut(&at.tid())
        {
            if nr != RESTART_SYSCALL {
                thread.goes_on_with = Some(nr);
            }
            if thread.repair.as_ref().is_some_and(|repair| Some(repair.nr) == thread.goes_on_with) {
                return;
            }
        }
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
                self.keep_repair(at.tid(), nr, kind, None);
            }
        }
    }

    /// A thread is about to make a call again that a move interrupted, with what that has used up.
    pub(super) fn take_up(&mut self, at: &Stopped, unfinished: &Unfinished) {
        let Ok(mut regs) = at.regs() else { return };
        let nr = unfinished.nr;
        let ahead = regs.call().is_none().then_some(regs.rip);
        match unfinished.used {
            Used::Nothing if ahead.is_some() => {
                self.keep_repair(at.tid(), nr, Kind::Again { code: unfinished.code }, ahead);
            }
            // The kernel restarts it.
            Used::Nothing => {}
            Used::Until(ns) => {
                let Some(at_deadline) = syscall_table::at_deadline(nr) else { return };
                let deadline = Some(clock::at_monotonic(ns));
                self.keep_repair(at.tid(), nr, Kind::Wait { deadline, at_deadline, expired: false }, ahead);
            }
            Used::Bytes(done) => {
                let (buffer, length) = (regs.rsi, regs.rdx);
                regs.rsi = buffer + done;
                regs.rdx = length.saturating_sub(done);
                if at.set_regs(&regs).is_ok() {
                    self.keep_repair(
                        at.tid(),
                        nr,
                        Kind::Transfer { buffer, length, done, over: false },
                        ahead,
                    );
                }
            }
        }
    }

    /// What the call of a stopped thread has used up, for a move. `since` is when it fell asleep, in nanoseconds of
    /// CLOCK_MONOTONIC. An error is why it cannot be made again elsewhere.
    pub(super) fn put_down(
        &mut self,
        at: &Stopped,
        since: Option<u64>,
    ) -> Result<Option<Unfinished>, String> {
        let Ok(mut regs) = at.regs() else { return Ok(None) };
        let Some(thread) = self.table.threads.get_mut(&at.tid()) else { return Ok(None) };
        let goes_on_with = thread.goes_on_with;
        if at.is_set_back(&regs) {
            let nr = if regs.rax == u64::from(RESTART_SYSCALL) { goes_on_with } else { regs.call() };
            let Some(nr) = nr else { return Err("it is about to restart a call".into()) };
            regs.undo_set_back(nr);
            if let Some(repair) = &mut thread.repair {
                repair.ahead = None;
            }
            // ESRCH: killed meanwhile.
            let _ = at.set_regs(&regs);
        }
        let call = match regs.call() {
            Some(RESTART_SYSCALL) => goes_on_with,
            call => call,
        };
        let interrupted = restart::is_code(regs.ret()) || regs.ret() == -EINTR;
        if let Some(Repair { nr, kind, ahead, .. }) = thread.repair.take() {
            let is_it = match ahead {
                Some(rip) => rip == regs.rip && call.is_none(),
                None => call == Some(nr) && interrupted,
            };
            match kind {
                Kind::Wait { deadline: Some(deadline), .. } if is_it => {
                    let used = Used::Until(clock::monotonic_of(deadline));
                    return Ok(Some(Unfinished { nr, code: restart::NOHAND, used }));
                }
                Kind::Transfer { buffer, length, done, over: false } if is_it => {
                    regs.rsi = buffer;
                    regs.rdx = length;
                    // ESRCH: killed meanwhile.
                    let _ = at.set_regs(&regs);
                    return Ok(Some(Unfinished { nr, code: restart::NOHAND, used: Used::Bytes(done) }));
                }
                Kind::Again { code } if is_it => {
                    return Ok(Some(Unfinished { nr, code, used: Used::Nothing }));
                }
                _ => {}
            }
        }
        let Some(nr) = call.filter(|_| interrupted) else { return Ok(None) };
        let args = regs.args();
        let again = match regs.ret() {
            code @ (restart::SYS | restart::NOINTR | restart::NOHAND) => {
                Some(Unfinished { nr, code, used: Used::Nothing })
            }
            code if code == restart::BLOCK || EINTR_AFTER_STOP.contains(&nr) => {
                Some(Unfinished { nr, code: restart::NOHAND, used: Used::Nothing })
            }
            _ => None,
        };
        let Wait::Timed(how) = syscall_table::wait_of(nr, &args) else { return Ok(again) };
        let name = syscall_table::by_number(nr).map_or("a timed call", |call| call.name);
        if name == "clock_nanosleep" && !matches!(args[0] as i32, 0 | 1 | 4..) {
            return Err("it sleeps by a clock of CPU time".into());
        }
        let Some(timeout) = timeout(at.tid(), how, &args) else { return Ok(again) };
        let since = match name {
            // They have just written what remains; so have sleeps that write it where their time stood.
            "select" | "pselect6" | "ppoll" => clock::monotonic_ns(),
            "nanosleep" if args[0] == args[1] => clock::monotonic_ns(),
            "clock_nanosleep" if args[2] == args[3] => clock::monotonic_ns(),
            _ => {
                since.ok_or_else(|| format!("it sleeps in {name}, whose deadline only this kernel knows"))?
            }
        };
        let until = since.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        Ok(Some(Unfinished { nr, code: restart::NOHAND, used: Used::Until(until) }))
    }

    /// A signal comes before a call is made again that a move interrupted. If a handler takes it, the call is over, as
    /// if the signal had interrupted it.
    fn handler_comes_first(&mut self, at: &Stopped, signal: i32, mut regs: Regs) {
        if signal == 0 || self.is_ignored(at.tid(), signal) {
            return;
        }
        let Some(thread) = self.table.threads.get_mut(&at.tid()) else { return };
        let Some(repair) = thread.repair.take_if(|repair| repair.ahead == Some(regs.rip)) else { return };
        regs.rip += SYSCALL_LEN;
        match repair.kind {
            Kind::Wait { .. } => regs.finish_call(-EINTR),
            Kind::Again { code } => {
                // As if it had just returned the code: the handler's SA_RESTART decides.
                regs.orig_rax = u64::from(repair.nr);
                regs.rax = code as u64;
            }
            Kind::Transfer { buffer, length, done, .. } => {
                regs.rsi = buffer;
                regs.rdx = length;
                regs.finish_call(done as i64);
            }
        }
        // ESRCH: killed meanwhile.
        let _ = at.set_regs(&regs);
    }

    fn keep_repair(&mut self, tid: Tid, nr: u32, kind: Kind, ahead: Option<u64>) {
        self.repairs_made += 1;
        let sequence = self.repairs_made;
        if let Kind::Wait { deadline: Some(deadline), .. } = kind {
            self.timers.set(deadline, Timer::CallDeadline { tid, sequence });
        }
        if let Some(thread) = self.table.threads.get_mut(&tid) {
            thread.repair = Some(Repair { nr, sequence, kind, ahead });
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
        let nr = regs.call()?;
        let socket_timeout = timeout_kind(name);
        let at_deadline = syscall_table::at_deadline(nr)
            .filter(|_| socket_timeout.is_some() || ANSWER_EINTR.contains(&name))?;
        if !self.is_ignored(tid, signal) {
            return None;
        }
        if let Some(Repair { kind: kind @ Kind::Wait { .. }, .. }) = repair {
            return Some(kind);
        }
        let timeout = match socket_timeout {
            // Not a socket with a timeout: then the -EINTR is the call's own.
            Some(which) => Some(socket_timeout_of(tid, args[0], which)?),
            None => match syscall_table::wait_of(nr, &args) {
                Wait::Timed(how) => timeout(tid, how, &args),
                _ => None,
            },
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
                self.keep_repair(at.tid(), nr, Kind::Transfer { buffer, length, done, over: false }, None);
                return;
            }
            regs.rsi = buffer + done;
            regs.rdx = length - done;
            regs.rax = restart::NOHAND as u64;
            if at.set_regs(&regs).is_ok() {
                self.keep_repair(at.tid(), nr, Kind::Transfer { buffer, length, done, over: false }, None);
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

    /// At an entry or exit stop of a thread with a repaired call. Returns the registers with which it makes the call again,
    /// if it shall.
    pub(super) fn repaired_call_moved_on(&mut self, at: &Stopped, stop: SyscallStop) -> Option<Regs> {
        // What a move waits for may be this very stop: see `stop_thread`.
        let stopping = self.stopping == Some(at.tid());
        let thread = self.table.threads.get_mut(&at.tid())?;
        let entry = matches!(stop, SyscallStop::Entry { .. });
        let blocked = stop == SyscallStop::Exit { ret: restart::BLOCK };
        if thread.repair.is_none() && !stopping && !blocked {
            return None;
        }
        let mut regs = at.regs().ok()?;
        if blocked && let Some(nr) = regs.call().filter(|nr| *nr != RESTART_SYSCALL) {
            thread.goes_on_with = Some(nr);
        }
        let Some(repair) = &mut thread.repair else {
            return if stopping && !entry { self.make_again(at, regs) } else { None };
        };
        let goes_on = regs.call() == Some(RESTART_SYSCALL) && thread.goes_on_with == Some(repair.nr);
        let same = regs.call() == Some(repair.nr) || goes_on;
        repair.ahead = None;
        match &mut repair.kind {
            Kind::Wait { at_deadline, expired, .. } => {
                let interrupted = regs.ret() == -EINTR || restart::is_code(regs.ret());
                if same && !entry && interrupted {
                    // This stop takes the place of the one that our interrupt asked for (ptrace_stop in the kernel's
                    // signal.c clears JOBCTL_TRAP_STOP), and with it the kernel's own restart.
                    let nr = repair.nr;
                    if *expired {
                        let ret = *at_deadline;
                        thread.repair = None;
                        expire(at, nr, regs, ret);
                    } else if stopping {
                        regs.rearm(nr);
                        repair.ahead = Some(regs.rip);
                        return Some(regs);
                    }
                } else if !same || !entry {
                    thread.repair = None;
                }
            }
            Kind::Transfer { over: true, .. } | Kind::Again { .. } => thread.repair = None,
            Kind::Transfer { buffer, length, done, over } => {
                let ret = regs.ret();
                let cut_short = ret > 0 && *done + (ret as u64) < *length;
                if !same {
                    thread.repair = None;
                } else if !entry && (cut_short || stopping && restart::is_code(ret)) {
                    // Whatever cut it short: a signal that another thread has taken meanwhile is not reported here,
                    // and one that a handler of this thread takes comes before the rest is written.
                    *done += ret.max(0) as u64;
                    regs.rsi = *buffer + *done;
                    regs.rdx = *length - *done;
                    regs.rearm(repair.nr);
                    repair.ahead = Some(regs.rip);
                    return Some(regs);
                } else if !entry && !restart::is_code(ret) {
                    // The result of all legs; an error after some bytes is not the call's result (pipe(7)).
                    let total = *done + ret.max(0) as u64;
                    regs.rsi = *buffer;
                    regs.rdx = *length;
                    regs.rax = total;
                    *over = true;
                    // ESRCH: killed meanwhile.
                    let _ = at.set_regs(&regs);
                }
            }
        }
        None
    }

    /// At the exit of a call that our interrupt for a move has ended, of a thread whose calls are all seen: that stop takes
    /// the place of the one at which it would be repaired.
    fn make_again(&mut self, at: &Stopped, mut regs: Regs) -> Option<Regs> {
        let nr = regs.call()?;
        let name = syscall_table::by_number(nr)?.name;
        let (ret, buffer, length) = (regs.ret(), regs.rsi, regs.rdx);
        let kind = if ret == -EINTR {
            self.interrupted_wait(at.tid(), &regs, name, None, 0)?
        } else if ret > 0
            && (ret as u64) < length
            && matches!(name, "write" | "sendto")
            && blocks_until_written(at.tid(), regs.rdi, name, regs.r10)
        {
            let done = ret as u64;
            regs.rsi += done;
            regs.rdx -= done;
            Kind::Transfer { buffer, length, done, over: false }
        } else {
            return None;
        };
        regs.rearm(nr);
        self.keep_repair(at.tid(), nr, kind, Some(regs.rip));
        Some(regs)
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
        let goes_on_with = thread.goes_on_with;
        let Ok(regs) = at.regs() else { return };
        let same =
            regs.call() == Some(nr) || regs.call() == Some(RESTART_SYSCALL) && goes_on_with == Some(nr);
        if same && (regs.ret() == -EINTR || restart::is_code(regs.ret())) {
            expire(at, nr, regs, at_deadline);
        }
    }
}

/// Ends a call whose time is over with `ret`. select(2) leaves its sets as they are when it is interrupted, and empties
/// them when its time is over; it and ppoll(2) write that nothing remains.
fn expire(at: &Stopped, nr: u32, mut regs: Regs, ret: i64) {
    let args = regs.args();
    let name = syscall_table::by_number(nr).map_or("", |call| call.name);
    let left = match name {
        "select" | "pselect6" => args[4],
        "ppoll" => args[2],
        _ => 0,
    };
    if left != 0 {
        // As for the kernel it does not matter whether it can be written.
        memory::write(at.tid(), left, &[0; 16]);
    }
    if matches!(name, "select" | "pselect6") {
        let bytes = (args[0].min(FD_SET_BITS_MAX) as usize).div_ceil(64) * 8;
        for set in [args[1], args[2], args[3]].into_iter().filter(|set| *set != 0) {
            memory::write(at.tid(), set, &vec![0; bytes]);
        }
    }
    regs.finish_call(ret);
    // ESRCH: killed meanwhile.
    let _ = at.set_regs(&regs);
}

/// Descriptors that a process can have (fs.nr_open's own limit is higher, and nobody's sets are).
const FD_SET_BITS_MAX: u64 = 1 << 20;
/// See `restart_syscall(2)`: the kernel goes on with a call that returned -516.
const RESTART_SYSCALL: u32 = 219;
/// Calls that answer EINTR to a mere stop whatever their descriptor.
const ANSWER_EINTR: [&str; 8] = [
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "io_getevents",
    "io_uring_enter",
    "semop",
    "semtimedop",
    "rt_sigtimedwait",
];

/// Calls that a move may have ended with EINTR, by a mere stop (signal(7)): epoll_wait, epoll_pwait, epoll_pwait2, semop,
/// semtimedop, rt_sigtimedwait, recvfrom, recvmsg, accept, read.
const EINTR_AFTER_STOP: [u32; 10] = [232, 281, 441, 65, 220, 128, 45, 47, 43, 0];

/// Which timeout of a socket bounds a call.
pub(crate) fn timeout_kind(name: &str) -> Option<Timeout> {
    match name {
        "read" | "readv" | "recvfrom" | "recvmsg" | "accept" | "accept4" => Some(Timeout::Recv),
        "write" | "writev" | "sendto" | "sendmsg" | "connect" => Some(Timeout::Send),
        _ => None,
    }
}

/// What the call's own argument says, `None` for no limit and for an absolute one.
fn timeout(tid: Tid, how: Deadline, args: &[u64; 6]) -> Option<Duration> {
    let read =
        |address| Some([memory::read_u64(tid, address).ok()?, memory::read_u64(tid, address + 8).ok()?]);
    syscall_table::timeout_of(how, args, read)
}

fn descriptor_of(tid: Tid, fd: u64) -> Option<std::os::fd::OwnedFd> {
    let pid = crate::procfs::process_of(tid)?;
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, i32::try_from(fd).ok()?, PidfdGetfdFlags::empty()).ok()
}

pub(crate) fn socket_timeout_of(tid: Tid, fd: u64, which: Timeout) -> Option<Duration> {
    sockopt::socket_timeout(descriptor_of(tid, fd)?, which).ok()?
}

/// Whether a write to this descriptor returns early only for a signal: a blocking pipe or stream socket.
pub(crate) fn blocks_until_written(tid: Tid, fd: u64, name: &str, flags: u64) -> bool {
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
