//! The one `match` over what ptrace reports.

use tracee::ptrace::Resume;
use tracee::{Event, Running, Stop, Stopped, Tid, signals};

use super::Supervisor;
use crate::process::ThreadState;

/// What becomes of a stopped thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on, with this signal if it is not 0.
    Go(i32),
    /// It stays in its group-stop until SIGCONT.
    Listen,
    /// Somebody here holds it and calls [`Supervisor::resume`] later.
    Hold,
    /// The away side has it, or it is gone.
    Taken,
    /// It goes on for good without us, with this signal if it is not 0.
    Detach(i32),
}

impl Supervisor {
    /// Handles one report.
    pub(super) fn report(&mut self, tid: Tid, event: Event) {
        if event == Event::Stopped(Stop::Exit) {
            return self.leaving(Running::attached(tid).stopped());
        }
        if self.away_report(tid, event) {
            return;
        }
        match event {
            Event::Exited(_) | Event::Killed { .. } => self.reaped(tid),
            Event::Stopped(stop) => {
                self.placement.follow(tid, &stop);
                if !self.table.threads.contains_key(&tid) {
                    self.born_unannounced(tid);
                }
                let stopped = Running::attached(tid).stopped();
                let next = self.stopped(&stopped, stop);
                self.apply(stopped, next);
            }
        }
    }

    fn stopped(&mut self, at: &Stopped, stop: Stop) -> Next {
        if self.first_stop(at) {
            return match stop {
                // Born into a group-stop that its maker is in.
                Stop::Group(_) => self.group_stop(at),
                Stop::Signal(signal) => self.signal_stop(at, signal),
                _ => self.begin(at),
            };
        }
        match stop {
            Stop::Signal(signal) => self.signal_stop(at, signal),
            Stop::Group(signal) => {
                self.traces.stopped_by(at.tid(), signal);
                self.group_stop(at)
            }
            Stop::Interrupt => self.interrupted(at),
            Stop::Syscall => self.syscall_stop(at),
            Stop::Fork | Stop::Vfork | Stop::Clone => self.made_child(at),
            Stop::Exec => self.executed(at),
            Stop::VforkDone | Stop::Seccomp | Stop::Exit => Next::Go(0),
        }
    }

    fn signal_stop(&mut self, at: &Stopped, signal: i32) -> Next {
        self.traces.signal(at, signal);
        if self.leave_vdso(at, signal) {
            return Next::Go(0);
        }
        self.repair(at, signal);
        self.on_signal(at, signal)
    }

    fn group_stop(&mut self, at: &Stopped) -> Next {
        if let Some(thread) = self.table.threads.get_mut(&at.tid()) {
            thread.group_stopped = true;
            thread.repair = None;
        }
        Next::Listen
    }

    /// PTRACE_INTERRUPT of ours, or the end of a group-stop.
    fn interrupted(&mut self, at: &Stopped) -> Next {
        self.end_call_at_deadline(at);
        if self.table.threads.get(&at.tid()).is_some_and(|thread| !thread.group_stopped) {
            self.repair(at, 0);
        }
        self.on_interrupt(at)
    }

    fn syscall_stop(&mut self, at: &Stopped) -> Next {
        if self
            .table
            .threads
            .get_mut(&at.tid())
            .is_some_and(|thread| std::mem::take(&mut thread.lost_privilege))
        {
            return self.execute_without_us(at);
        }
        // ESRCH: killed meanwhile, its end is reported next.
        let Ok(stop) = at.syscall() else { return Next::Go(0) };
        let again = self.repaired_call_moved_on(at, stop);
        self.traces.syscall(at.tid(), stop);
        if let Some(regs) = again {
            // ESRCH: killed meanwhile.
            at.set_regs(&regs).ok();
        }
        Next::Go(0)
    }

    /// A fresh image is in place; its thread now has the process's own id.
    fn executed(&mut self, at: &Stopped) -> Next {
        let former = at.event_message().unwrap_or(at.tid() as u64) as Tid;
        // Its id may have been that of a leader that had to end for this exec.
        self.leaving.remove(&at.tid());
        self.traces.executed(at.tid(), former);
        self.table.keep_only_leader(at.tid());
        self.stop_copy(at.tid(), "it is another program now");
        if let Some(leader) = self.table.threads.get_mut(&at.tid()) {
            leader.group_stopped = false;
            leader.repair = None;
        }
        if let Some(next) = self.let_tracer_go(at.tid()) {
            return next;
        }
        if self.lost_privilege(at.tid())
            && let Some(leader) = self.table.threads.get_mut(&at.tid())
        {
            leader.lost_privilege = true;
            return Next::Go(0);
        }
        self.on_exec(at)
    }

    pub(super) fn apply(&mut self, stopped: Stopped, next: Next) {
        match next {
            Next::Go(signal) => self.resume(stopped, signal),
            Next::Listen => {
                let tid = stopped.tid();
                // ESRCH: killed meanwhile, its end is reported next.
                let state = stopped.listen().map_or(ThreadState::Dead, ThreadState::Listening);
                self.set_state(tid, state);
            }
            Next::Taken => {}
            Next::Hold => self.set_state(stopped.tid(), ThreadState::Stopped(stopped)),
            Next::Detach(signal) => {
                let tid = stopped.tid();
                // ESRCH: killed meanwhile. Either way it is nothing of ours any more.
                let _ = stopped.detach(signal);
                self.forget(tid);
            }
        }
    }

    /// Lets a stopped thread go on in the way its process is watched.
    pub(crate) fn resume(&mut self, stopped: Stopped, signal: i32) {
        let tid = stopped.tid();
        let thread = self.table.threads.get(&tid);
        let repaired = thread.is_some_and(|thread| thread.repair.is_some() || thread.lost_privilege);
        let how = if repaired || self.traces.stops(tid) { Resume::Syscall } else { Resume::Cont };
        // ESRCH: killed meanwhile, its end is reported next.
        let state = stopped.resume(how, signal).map_or(ThreadState::Dead, ThreadState::Running);
        self.set_state(tid, state);
    }

    /// Lets a thread that was held go on.
    #[allow(dead_code, reason = "nothing at home holds a thread; the away side does")]
    pub(crate) fn release(&mut self, tid: Tid, signal: i32) {
        let Some(thread) = self.table.threads.get_mut(&tid) else { return };
        match std::mem::replace(&mut thread.state, ThreadState::Dead) {
            ThreadState::Stopped(stopped) => self.resume(stopped, signal),
            other => thread.state = other,
        }
    }

    fn set_state(&mut self, tid: Tid, state: ThreadState) {
        if let Some(thread) = self.table.threads.get_mut(&tid) {
            thread.state = state;
        }
    }

    /// A thread was detached: its process is unmanaged once no thread of it is left.
    fn forget(&mut self, tid: Tid) {
        let Some(pid) = self.table.threads.get(&tid).map(|thread| thread.pid) else { return };
        self.table.threads.remove(&tid);
        self.traces.forgotten(tid);
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.threads.retain(|other| *other != tid);
            if process.threads.is_empty() {
                self.table.processes.remove(&pid);
            }
        }
    }

    /// Whether the program would never see this signal (0 is none, so true): ignored, or discarded by default and
    /// without a handler.
    pub(crate) fn is_ignored(&self, tid: Tid, signal: i32) -> bool {
        if signal == 0 {
            return true;
        }
        let bit = 1u64 << (signal.clamp(1, 64) - 1);
        let has = |set: Option<u64>| set.is_some_and(|set| set & bit != 0);
        has(crate::procfs::ignored_signals(tid))
            || (signals::discarded_by_default(signal) && !has(crate::procfs::caught_signals(tid)))
    }
}
