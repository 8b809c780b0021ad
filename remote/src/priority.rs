//! Guests compute with what the node's own tasks leave.
//!
//! A body has a nice value or the policy SCHED_IDLE (sched(7)), as its node's owner wants it. Where the kernel groups tasks
//! by session (sched_autogroup) that would only tell among the sandbox's own, so the sandbox is a session and its group
//! has such a value too. Where the node has a control group for guests, bodies are in it. A guest sees nothing of it:
//! getpriority(2) and its like are answered by home.
//!
//! The scheduler lets a task of nice 19 or SCHED_IDLE wait for 0.2 to 1 s each time that it wakes on a busy core. A call that
//! is injected into a body is such a time, and the executor waits for it: links were lost over that. So a body of
//! such a rank is lifted for each call that is injected, and [`Rank::fitting`] leaves those ranks to nodes that may do that.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, getrlimit, setpriority_process};
use serde::{Deserialize, Serialize};
use tracee::Tid;
use wire::session::ProcessKey;

use crate::body::{Phase, Process};
use crate::session::Session;

/// How bodies compete for the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As any program of this machine: they are its user's own.
    Own,
    /// Behind every other program.
    Guest(Standing),
}

/// What guests get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Against tasks of the machine's own.
    pub rank: Rank,
    /// Their control group, if they have one.
    pub group: Option<Group>,
}

/// Against tasks of the machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rank {
    /// A nice value, 0 to 19.
    Nice(u8),
    /// SCHED_IDLE: only what nobody else wants.
    Idle,
}

/// A tenth of a core that somebody else wants as well; such a task still wakes within some milliseconds.
const PATIENT: u8 = 10;
const NORMAL: i32 = 0;
const LOWEST: u8 = 19;

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rank::Nice(nice) => write!(f, "nice {nice}"),
            Rank::Idle => f.write_str("idle"),
        }
    }
}

impl Rank {
    /// What guests have unless their node's owner says otherwise: nearly nothing of a core that somebody else wants, or a
    /// tenth where priorities cannot be raised again.
    pub fn usual() -> Rank {
        Rank::Nice(LOWEST).fitting()
    }

    /// This rank, or the lowest that a node can give which may not raise a task's priority again.
    pub fn fitting(self) -> Rank {
        if self.must_be_lifted() && !may_raise() { Rank::Nice(PATIENT) } else { self }
    }

    fn must_be_lifted(self) -> bool {
        !matches!(self, Rank::Nice(0..=PATIENT))
    }

    fn nice(self) -> i32 {
        match self {
            Rank::Nice(nice) => i32::from(nice.min(LOWEST)),
            Rank::Idle => i32::from(LOWEST),
        }
    }
}

/// Whether this process may raise priorities back to normal: CAP_SYS_NICE, or RLIMIT_NICE of 20 (getrlimit(2)). That of a group
/// everybody may, but as often as it takes only who has CAP_SYS_ADMIN (proc_sched_autogroup_set_nice in the kernel).
fn may_raise() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let of_tasks = effective.contains(CapabilitySet::SYS_NICE)
        || getrlimit(Resource::Nice).current.is_none_or(|limit| limit >= 20);
    let grouped = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    let grouped = grouped.is_ok_and(|text| text.trim() == "1");
    of_tasks && (!grouped || effective.contains(CapabilitySet::SYS_ADMIN))
}

/// A control group (version 2) for guests, and the one of executors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its directory.
    pub guests: PathBuf,
    /// That of the processes of ours.
    pub ours: PathBuf,
}

impl Group {
    /// Runs `make` in the group of guests, where its children stay. The caller must have one thread.
    pub fn beget<T>(&self, make: impl FnOnce() -> T) -> io::Result<T> {
        // 0 is who writes it.
        fs::write(self.guests.join("cgroup.procs"), "0")?;
        let made = make();
        fs::write(self.ours.join("cgroup.procs"), "0")?;
        Ok(made)
    }
}

impl Session {
    fn rank(&self) -> Option<Rank> {
        match &self.priority {
            Priority::Own => None,
            Priority::Guest(standing) => Some(standing.rank),
        }
    }

    /// The threads of a process compute as guests from now on; what they make inherits it.
    pub(crate) fn be_guest(&mut self, key: ProcessKey) {
        let Some(rank) = self.rank() else { return };
        for host in self.threads_of(key) {
            lower(host, rank);
        }
        self.set_group();
    }

    /// A process that leaves gets out of the way sooner at a normal priority: its image is taken by calls that it makes
    /// itself. Raising a nice value takes a privilege that the node may not have, raising the group's back to 0 none.
    pub(crate) fn be_quick(&mut self, key: ProcessKey) {
        let Some(rank) = self.rank() else { return };
        self.set_group();
        for host in self.threads_of(key) {
            lift(host, rank);
        }
    }

    /// Does something for which this loop waits for calls of thread `host`, which makes them without waiting for others.
    pub(crate) fn lifted<T>(&mut self, host: Tid, work: impl FnOnce(&mut Session) -> T) -> T {
        let Some(rank) = self.rank().filter(|rank| rank.must_be_lifted()) else { return work(self) };
        self.hurried(|session| {
            lift(host, rank);
            let done = work(session);
            let computes = |process: &Process| matches!(process.phase, Phase::Alive);
            if session.process_of(host).is_some_and(computes) {
                lower(host, rank);
            }
            done
        })
    }

    /// Does something for which this loop waits for processes of the sandbox.
    pub(crate) fn hurried<T>(&mut self, work: impl FnOnce(&mut Session) -> T) -> T {
        if !self.rank().is_some_and(Rank::must_be_lifted) {
            return work(self);
        }
        self.hurries += 1;
        self.set_group();
        let done = work(self);
        self.hurries -= 1;
        self.set_group();
        done
    }

    fn threads_of(&self, key: ProcessKey) -> Vec<Tid> {
        self.processes.get(&key).map(|process| process.threads.clone()).unwrap_or_default()
    }

    /// Gives the sandbox's group the value that it should have: the normal one while a process leaves, or is waited for.
    pub(crate) fn set_group(&mut self) {
        let Some(rank) = self.rank() else { return };
        let leaves = |process: &Process| matches!(process.phase, Phase::Stopping | Phase::Sent);
        let hurry = self.hurries > 0 || self.processes.values().any(leaves);
        let nice = if hurry { NORMAL } else { rank.nice() };
        if self.group_nice == nice {
            return;
        }
        // Without groups there is no such file. EAGAIN: an ordinary user may change one now and then only, and it is tried
        // again before long.
        if fs::write(format!("/proc/{}/autogroup", self.sandbox.keeper()), nice.to_string()).is_ok() {
            self.group_nice = nice;
        }
    }
}

fn lower(host: Tid, rank: Rank) {
    set_nice(host, rank.nice());
    if rank == Rank::Idle {
        // ESRCH: it has ended.
        let _ = tracee::sched::set_idle(host, true);
    }
}

fn lift(host: Tid, rank: Rank) {
    if rank == Rank::Idle {
        let _ = tracee::sched::set_idle(host, false);
    }
    set_nice(host, NORMAL);
}

fn set_nice(host: Tid, nice: i32) {
    if let Some(thread) = Pid::from_raw(host) {
        // ESRCH: it has ended; EPERM: see `be_quick`. It computes on as it is.
        let _ = setpriority_process(Some(thread), nice);
    }
}
