//! Signals of bodies: those that home ships, those that their own kernel makes, and stops of every kind.

use std::time::Instant;

use tracee::capture;
use tracee::errno::restart;
use tracee::inject::{InjectError, is_half_way, postpone};
use tracee::ptrace::{Running, SigInfo, Stopped};
use tracee::regs::Regs;
use tracee::{Stop, Tid, signal};
use wire::session::{FromBody, Up};

use crate::body::{Ask, Made, Native, PendingDeadline, Phase, Process, Restart, State};
use crate::session::{Session, SessionError};
use crate::vdso::lift;

/// Home keeps signals until it hears that they were seen: at the latest after this many.
const SEEN_EVERY: u64 = 32;
/// Numbers that a futex call may have at a stop: itself, or restart_syscall after an earlier one.
const RT_SIGTIMEDWAIT: u32 = 128;

impl Process {
    /// What a queued signal really says.
    pub(crate) fn true_info(&self, info: &SigInfo) -> SigInfo {
        signal::ticket(&info.0).and_then(|ticket| self.tickets.get(&ticket).copied()).unwrap_or(*info)
    }
}

impl Session {
    /// Home's deputy got a signal: it is the body's now.
    pub(crate) fn on_signal(
        &mut self,
        host: Tid,
        number: u64,
        directed: bool,
        info: &[u8],
    ) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.seen = number;
        let (key, thread_key) = (thread.process, thread.key);
        if number.is_multiple_of(SEEN_EVERY) {
            self.ask(thread_key, &Up::Seen(number))?;
        }
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let mut kept = SigInfo([0; 128]);
        let len = info.len().min(kept.0.len());
        kept.0[..len].copy_from_slice(&info[..len]);
        if let Some((timer, more)) = kept.timer() {
            // A timer has one signal pending and counts what it would add (timer_getoverrun(2)).
            let pending = process.tickets.values_mut().find_map(|info| {
                let (other, overruns) = info.timer()?;
                (other == timer && info.signal() == kept.signal()).then_some((info, overruns))
            });
            if let Some((info, overruns)) = pending {
                info.set_overruns(overruns.saturating_add(more).saturating_add(1));
                return Ok(());
            }
        }
        let ticket = process.next_ticket;
        process.next_ticket += 1;
        process.tickets.insert(ticket, kept);
        let pid = process.host;
        // A full queue (EAGAIN) loses a real-time signal natively as well; a process that is gone needs none.
        if signal::queue_ticket(pid, directed.then_some(host), kept.signal(), ticket).is_err() {
            process.tickets.remove(&ticket);
            signal::kill(pid, kept.signal()).ok();
        }
        if !directed { self.interrupt_another(host, kept.signal()) } else { Ok(()) }
    }

    /// A process-directed signal came by a thread that may not take it. If no running thread takes it, one that
    /// waits for home does, and must be interrupted there.
    fn interrupt_another(&mut self, via: Tid, number: i32) -> Result<(), SessionError> {
        let Some(key) = self.threads.get(&via).map(|thread| thread.process) else { return Ok(()) };
        let Some(process) = self.processes.get(&key) else { return Ok(()) };
        if process.threads.len() < 2 || process.ignores() & signal::bit(number) != 0 {
            return Ok(());
        }
        let open = |host: &Tid| {
            capture::signal_sets(*host).is_ok_and(|sets| sets.blocked & signal::bit(number) == 0)
        };
        let takes = |host: &Tid| match self.threads.get(host).map(|thread| &thread.state) {
            Some(State::Asking(_, _, Ask::Call(asked))) => asked.mask & signal::bit(number) == 0,
            Some(State::Running(..)) => open(host),
            _ => false,
        };
        if takes(&via) {
            return Ok(());
        }
        let running = |host: &&Tid| {
            matches!(self.threads.get(host).map(|thread| &thread.state), Some(State::Running(..)))
        };
        if process.threads.iter().filter(running).any(takes) {
            return Ok(());
        }
        let waiting = process.threads.iter().find(|host| takes(host));
        match waiting.and_then(|host| self.threads.get(host)) {
            Some(thread) => {
                let message = FromBody::Interrupt(thread.key);
                self.say(key, &message)
            }
            None => Ok(()),
        }
    }

    /// A thread stopped.
    pub(crate) fn on_stop(&mut self, host: Tid, stop: Stop) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let (running, native) = match std::mem::replace(&mut thread.state, State::Busy) {
            State::Running(running, native) => (running, native),
            // A report that was overtaken, for example a stop before SIGKILL.
            other => {
                thread.state = other;
                return Ok(());
            }
        };
        let stopped = running.stopped();
        match stop {
            Stop::Seccomp => self.on_call(host, stopped),
            Stop::Signal(number) => self.on_delivery(host, stopped, number, native),
            Stop::Interrupt | Stop::Group(_) => self.on_interrupt(host, stopped, native),
            Stop::Syscall if native == Native::Plain => self.on_traced_call(host, stopped),
            Stop::Syscall => self.on_exit_of_call(host, stopped, native),
            _ => {
                thread.run(stopped, 0, native);
                Ok(())
            }
        }
    }

    /// Signal-delivery-stop: put the true siginfo in, let the kernel decide about the interrupted call, and deliver.
    fn on_delivery(
        &mut self,
        host: Tid,
        stopped: Stopped,
        number: i32,
        native: Native,
    ) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let Some(process) = self.processes.get_mut(&thread.process) else { return Ok(()) };
        if let Ok(info) = stopped.siginfo()
            && let Some(ticket) = signal::ticket(&info.0)
            && let Some(kept) = process.tickets.remove(&ticket)
        {
            process.overruns.extend(kept.timer());
            stopped.set_siginfo(&kept).ok();
        }
        if let Some(restart) = thread.restart.take()
            && let Ok(mut regs) = stopped.regs()
            && restart.is_ahead(&regs)
        {
            let caught = process.dispositions.caught & signal::bit(number) != 0;
            let written = thread.written.filter(|written| written.call == restart.call);
            if caught {
                // It ends in EINTR: the next such call has its own time.
                thread.deadline = None;
                thread.written = None;
            }
            // As if the call had just returned the code: a handler's SA_RESTART decides, and without a handler it
            // is made again. A write ends with what it has written.
            let ret = written.filter(|_| caught).map_or(restart.code, |written| written.bytes as i64);
            regs.rip = restart.call.after;
            regs.orig_rax = u64::from(restart.call.nr);
            regs.rax = ret as u64;
            regs.set_args(restart.call.args);
            stopped.set_regs(&regs).ok();
        }
        let bit = signal::bit(number);
        let default = (process.dispositions.caught | process.dispositions.ignored) & bit == 0;
        if default && tracee::signals::stops_by_default(number) && number != STOP {
            // Whether it stops is for home to say: only there the process group means anything.
            let key = process.key;
            process.frozen = true;
            thread.restart = settle_call(&stopped, &mut thread.deadline);
            if let Some(thread) = self.threads.get_mut(&host) {
                thread.state = State::Held(stopped);
            }
            self.interrupt_running(key);
            return self.say(key, &FromBody::StopDefault(number));
        }
        if let (Some(trampolines), Some(place)) = (&self.trampolines, process.trampolines) {
            // The handler's frame must name no address that only this body has. Of a thread that is not where it could
            // come to, the signal says so itself.
            lift(trampolines, place, &stopped).ok();
        } else if let Some(range) = process.vdso
            && process.dispositions.caught & !signal::FAULTS & bit != 0
            && is_half_way(&stopped, range)
        {
            // Nor may it hold pointers to data pages that home has not.
            let (ids, may_run) = ((process.pid, thread.tid), process.may_run());
            return self.deliver_later(host, stopped, (range, ids), may_run);
        }
        self.trace_signal(host, number, &stopped)?;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.run(stopped, number, native);
        Ok(())
    }

    /// Takes a thread out of the vDSO, with the signal pending again.
    fn deliver_later(
        &mut self,
        host: Tid,
        stopped: Stopped,
        (range, ids): ((u64, u64), (Tid, Tid)),
        may_run: bool,
    ) -> Result<(), SessionError> {
        match postpone(stopped, range, ids) {
            Ok(stopped) => {
                if !may_run {
                    // The stop that is waited for may have been taken for one of a step. ESRCH: killed meanwhile.
                    Running::attached(host).interrupt().ok();
                }
                if let Some(thread) = self.threads.get_mut(&host) {
                    thread.run(stopped, 0, Native::Plain);
                }
                Ok(())
            }
            Err(InjectError::Gone(tid, event, time)) => self.on_gone(tid, event, time),
            Err(_) => {
                self.lost(host, Running::attached(host).stopped());
                Ok(())
            }
        }
    }

    fn on_interrupt(&mut self, host: Tid, stopped: Stopped, native: Native) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let key = thread.process;
        end_wait(&stopped, &mut thread.deadline);
        if self.processes.get(&key).is_some_and(Process::may_run) {
            thread.run(stopped, 0, native);
            return Ok(());
        }
        let ahead = |restart: &Restart| stopped.regs().is_ok_and(|regs| restart.is_ahead(&regs));
        match thread.restart.filter(ahead) {
            Some(restart) => make_again(&stopped, &restart),
            None => thread.restart = settle_call(&stopped, &mut thread.deadline),
        }
        thread.state = State::Held(stopped);
        self.check_stopped(key)
    }

    /// Interrupts the threads whose waits in their own kernel have lasted as long as their calls may.
    pub(crate) fn end_waits(&mut self, now: Instant) {
        self.waits.retain(|(at, host)| {
            let thread = self.threads.get(host);
            let waits = thread.is_some_and(|thread| thread.deadline.is_some_and(|pending| pending.at == *at));
            if waits
                && *at <= now
                && let Some(State::Running(running, _)) = thread.map(|thread| &thread.state)
            {
                // ESRCH: it is ending.
                running.interrupt().ok();
            }
            waits && *at > now
        });
    }

    /// The exit of a call that was let into the body's kernel with an eye on its result.
    fn on_exit_of_call(&mut self, host: Tid, stopped: Stopped, native: Native) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let Some(process) = self.processes.get_mut(&thread.process) else { return Ok(()) };
        let Ok(regs) = stopped.regs() else {
            self.lost(host, stopped);
            return Ok(());
        };
        if let Native::TimedWait(address) = native {
            end_wait(&stopped, &mut thread.deadline);
            if regs.ret() == -4
                && !process.may_run()
                && thread.deadline.is_some_and(|d| d.call.nr == RT_SIGTIMEDWAIT)
            {
                return self.hold_at_exit(host, stopped);
            }
            let mut info = SigInfo([0; 128]);
            if regs.ret() > 0
                && address != 0
                && tracee::memory::read(host, address, &mut info.0) == info.0.len()
                && let Some(kept) = signal::ticket(&info.0).and_then(|ticket| process.tickets.remove(&ticket))
            {
                process.overruns.extend(kept.timer());
                tracee::memory::write(host, address, &kept.0);
            }
        }
        if let (Native::Counted(address, addend), 0) = (native, regs.ret()) {
            addend.add(host, address);
        }
        self.trace_native_exit(host, regs.ret())?;
        if self.process_of(host).is_some_and(|process| !process.may_run()) {
            return self.hold_at_exit(host, stopped);
        }
        if let Some(thread) = self.threads.get_mut(&host) {
            thread.run(stopped, 0, Native::Plain);
        }
        Ok(())
    }

    /// Keeps a thread that is at the exit of a call of its own kernel. That stop takes the place of the one that was asked for
    /// (ptrace_stop in the kernel's signal.c clears JOBCTL_TRAP_STOP).
    pub(crate) fn hold_at_exit(&mut self, host: Tid, stopped: Stopped) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        end_wait(&stopped, &mut thread.deadline);
        thread.restart = settle_call(&stopped, &mut thread.deadline);
        thread.state = State::Held(stopped);
        let key = thread.process;
        self.check_stopped(key)
    }

    /// Job control at home stops or continues the process.
    pub(crate) fn freeze(
        &mut self,
        key: wire::session::ProcessKey,
        frozen: bool,
    ) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        process.frozen = frozen;
        if frozen {
            self.interrupt_running(key);
            return Ok(());
        }
        if matches!(process.phase, Phase::Alive) { self.resume_held(key) } else { Ok(()) }
    }

    /// Asks all running threads of a process to stop.
    pub(crate) fn interrupt_running(&self, key: wire::session::ProcessKey) {
        let Some(process) = self.processes.get(&key) else { return };
        for host in &process.threads {
            if let Some(State::Running(running, _)) = self.threads.get(host).map(|thread| &thread.state) {
                // ESRCH: it is ending.
                running.interrupt().ok();
            }
        }
    }
}

const STOP: i32 = 19;

/// Number of restart_syscall, by which the kernel goes on with a call that it interrupted with -516.
const RESTART_SYSCALL: u32 = 219;
const FUTEX: u32 = 202;

/// The call that a thread is in, by the deadline that was noted at its beginning if it is that one.
fn call_in(regs: &Regs, deadline: &Option<PendingDeadline>) -> Option<Made> {
    let nr = regs.call()?;
    let call = Made::of(regs);
    match deadline {
        Some(pending) if Made { nr: pending.call.nr, ..call } == pending.call => Some(pending.call),
        // Only a futex waits in a body's own kernel for a time that it remembers itself.
        _ if nr == RESTART_SYSCALL => Some(Made { nr: FUTEX, ..call }),
        _ => Some(call),
    }
}

/// A thread was to be given a signal, and has not got it yet: it makes the call again that the signal was to interrupt.
fn make_again(stopped: &Stopped, restart: &Restart) {
    let Ok(mut regs) = stopped.regs() else { return };
    regs.rip = restart.call.after;
    regs.set_args(restart.call.args);
    regs.rearm(restart.call.nr);
    // ESRCH: killed meanwhile.
    stopped.set_regs(&regs).ok();
}

/// At a stop inside an interrupted call of the body's own kernel: makes the registers those of a thread that
/// will make the call again, which everything that can block here may be. Timeouts are absolute or noted. Returns
/// how that call ends if a handler runs first.
fn settle_call(stopped: &Stopped, deadline: &mut Option<PendingDeadline>) -> Option<Restart> {
    let mut regs = stopped.regs().ok()?;
    if stopped.is_set_back(&regs) {
        let nr = if regs.rax == u64::from(RESTART_SYSCALL) { FUTEX } else { regs.orig_rax as u32 };
        regs.undo_set_back(nr);
    }
    let call = call_in(&regs, deadline)?;
    let code = match regs.ret() {
        code @ (restart::SYS | restart::NOINTR | restart::NOHAND) => code,
        restart::BLOCK => restart::NOHAND,
        -4 if call.nr == RT_SIGTIMEDWAIT => restart::NOHAND,
        _ => return None,
    };
    regs.rearm(call.nr);
    if let Some(pending) = deadline.as_mut().filter(|pending| pending.call == call) {
        pending.again = true;
    }
    stopped.set_regs(&regs).ok();
    Some(Restart { call, code })
}

/// At a stop inside an interrupted call whose time is over: ends it as the kernel would.
fn end_wait(stopped: &Stopped, deadline: &mut Option<PendingDeadline>) {
    let Some(pending) = deadline.filter(|pending| pending.at <= Instant::now()) else { return };
    let Ok(mut regs) = stopped.regs() else { return };
    let interrupted = restart::is_code(regs.ret()) || regs.ret() == -4;
    if !interrupted || call_in(&regs, deadline) != Some(pending.call) {
        return;
    }
    if let Some(ret) = syscall_table::at_deadline(pending.call.nr) {
        regs.finish_call(ret);
        *deadline = None;
        stopped.set_regs(&regs).ok();
    }
}
