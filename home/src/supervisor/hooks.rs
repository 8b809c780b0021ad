//! The points at which the away side takes part. At home each does nothing and lets the thread go on.
//!
//! A hook that answers [`Next::Hold`] owns the stop: the thread is then [`ThreadState::Stopped`] in the table until
//! [`Supervisor::release`] or [`Supervisor::resume`].
//!
//! [`ThreadState::Stopped`]: crate::ThreadState::Stopped

use tracee::{Event, Stopped, Tid};

use super::{Next, Supervisor};

impl Supervisor {
    /// A fresh image is in place (PTRACE_EVENT_EXEC, inside execve): where shall it compute?
    pub(super) fn on_exec(&mut self, at: &Stopped) -> Next {
        self.place_at_exec(at)
    }

    /// A thread has made `child`, a process or a thread that is in the table; the maker is in its fork, vfork or
    /// clone event.
    pub(super) fn on_made_child(&mut self, _at: &Stopped, _child: Tid) -> Next {
        Next::Go(0)
    }

    /// A new process is at its first stop, before its first instruction. Its maker's event may still be to come.
    pub(super) fn on_new_process(&mut self, _at: &Stopped) -> Next {
        Next::Go(0)
    }

    /// A new thread is at its first stop, before its first instruction. Its maker's event may still be to come.
    pub(super) fn on_new_thread(&mut self, _at: &Stopped) -> Next {
        Next::Go(0)
    }

    /// A thread is about to be given `signal`, with [`Stopped::siginfo`].
    pub(super) fn on_signal(&mut self, _at: &Stopped, signal: i32) -> Next {
        Next::Go(signal)
    }

    /// PTRACE_INTERRUPT of ours, or the end of a group-stop by SIGCONT.
    pub(super) fn on_interrupt(&mut self, _at: &Stopped) -> Next {
        Next::Go(0)
    }

    /// A thread that is no leader has been reaped; it is still in the table.
    pub(super) fn on_thread_end(&mut self, _tid: Tid) {}

    /// A process has ended and is not reaped: its parent cannot see its end before this returns.
    pub(super) fn on_process_end(&mut self, pid: Tid, _event: Event) {
        self.stop_copy(pid, "it has ended");
    }
}
