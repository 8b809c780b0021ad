//! Guests compute with what the node's own tasks leave.
//!
//! A body has the nice value 10: a tenth of a core that somebody else wants as well. Where the kernel groups tasks by
//! session (sched_autogroup, sched(7)) that would only tell among the sandbox's own, so the sandbox is a session and its
//! group has that value too. A guest sees nothing of it: getpriority(2) and its like are answered by home.
//!
//! Tried and given up: 19 and SCHED_IDLE. The scheduler lets a task of such weight wait for 0.2 to 1 s each time that it
//! wakes on a busy core. A call that is injected into a body is such a time, and the executor waits for it: links were
//! lost over that.

use std::fs;

use rustix::process::{Pid, setpriority_process};
use wire::session::ProcessKey;

use crate::body::{Phase, Process};
use crate::session::Session;

/// How bodies compete for the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As any program of this machine: they are its user's own.
    Own,
    /// Behind every other program.
    Guest,
}

const NORMAL: i32 = 0;
const GUEST: i32 = 10;

impl Session {
    /// The threads of a process compute as guests from now on; what they make inherits it.
    pub(crate) fn be_guest(&mut self, key: ProcessKey) {
        if self.priority == Priority::Guest {
            self.set_nice(key, GUEST);
            self.set_group();
        }
    }

    /// A process that leaves gets out of the way sooner at a normal priority: its image is taken by calls that it makes
    /// itself. Raising a nice value takes a privilege that the node may not have, raising the group's back to 0 none.
    pub(crate) fn be_quick(&mut self, key: ProcessKey) {
        if self.priority == Priority::Guest {
            self.set_group();
            self.set_nice(key, NORMAL);
        }
    }

    fn set_nice(&self, key: ProcessKey, nice: i32) {
        let Some(process) = self.processes.get(&key) else { return };
        for thread in process.threads.iter().filter_map(|host| Pid::from_raw(*host)) {
            // ESRCH: it has ended; EPERM: see `be_quick`. It computes on as it is.
            let _ = setpriority_process(Some(thread), nice);
        }
    }

    /// Gives the sandbox's group the value that it should have: the normal one while a process leaves.
    pub(crate) fn set_group(&mut self) {
        let leaves = |process: &Process| matches!(process.phase, Phase::Stopping | Phase::Sent);
        let nice = if self.processes.values().any(leaves) { NORMAL } else { GUEST };
        if self.priority == Priority::Own || self.group_nice == nice {
            return;
        }
        // Without groups there is no such file. EAGAIN: an ordinary user may change one now and then only, and it is tried
        // again before long.
        if fs::write(format!("/proc/{}/autogroup", self.sandbox.keeper()), nice.to_string()).is_ok() {
            self.group_nice = nice;
        }
    }
}
