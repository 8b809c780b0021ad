//! Guests compute with what the node's own tasks leave.
//!
//! A body has the nice value 19. Where the kernel groups tasks by session (sched_autogroup, sched(7)) that would only
//! tell among the sandbox's own, so the sandbox is a session and its group has that value too. A guest sees nothing of
//! it: getpriority(2) and its like are answered by home.

use std::fs;

use rustix::process::{Pid, setpriority_process};
use wire::session::ProcessKey;

use crate::body::Phase;
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
const LOWEST: i32 = 19;

impl Session {
    /// The threads of a process compute as guests from now on; what they make inherits it.
    pub(crate) fn be_guest(&self, key: ProcessKey) {
        if self.priority == Priority::Guest {
            self.set_nice(key, LOWEST);
            let leaves = |phase: &Phase| matches!(phase, Phase::Stopping | Phase::Sent);
            if !self.processes.values().any(|process| leaves(&process.phase)) {
                self.set_group(LOWEST);
            }
        }
    }

    /// A process that leaves gets out of the way sooner at a normal priority: its image is taken by calls that it makes
    /// itself. Raising a nice value takes a privilege that the node may not have, raising the group's back to 0 none.
    pub(crate) fn be_quick(&self, key: ProcessKey) {
        if self.priority == Priority::Guest {
            self.set_group(NORMAL);
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

    fn set_group(&self, nice: i32) {
        // Without groups there is no such file. EAGAIN: it was changed a moment ago, and will be again.
        let _ = fs::write(format!("/proc/{}/autogroup", self.sandbox.keeper()), nice.to_string());
    }
}
