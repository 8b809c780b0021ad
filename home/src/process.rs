//! Managed processes and their threads.

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use tracee::ptrace::Options;
use tracee::{Running, Stopped, Tid};

/// The first process of a pid namespace. Its end kills everything else there, its supervisor too, before anybody can
/// wait for it (zap_pid_ns_processes in the kernel's pid_namespace.c).
pub const INIT: Tid = 1;
/// Why it does not leave: a body has its process's pid, and in the sandbox this one is taken.
pub const INIT_STAYS: &str = "the first process of a pid namespace";
/// Why a process does not leave, or comes home, when its threads are more than a call area has slots.
pub const TOO_MANY_THREADS: &str = "it has more threads than calls can be served for";

/// Why a process with a signalfd does not leave.
pub const SIGNALFD_STAYS: &str = "a signalfd is open, whose signals would be pending elsewhere";

/// What is asked of the threads of a process: a hollow one dies with its supervisor, a whole one does not. Its end needs
/// no stop, since a zombie waits for us anyway (see [`tracee::wait::next`]), unless it is the end of all.
pub fn options(pid: Tid, hollow: bool) -> Options {
    Options { exit_kill: hollow, exit_event: pid == INIT, seccomp: false }
}

/// Where a process computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Here, natively.
    #[default]
    Home,
    /// On a node, by its name.
    Node(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Home => f.write_str("home"),
            Place::Node(name) => f.write_str(name),
        }
    }
}

/// Why a process is at home and may not move now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StayReason {
    /// `--home` was asked for.
    Asked,
    /// A reason found while it ran, in the user's words.
    Because(String),
}

impl fmt::Display for StayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StayReason::Asked => f.write_str("started with --home"),
            StayReason::Because(reason) => f.write_str(reason),
        }
    }
}

/// A managed process.
#[derive(Debug)]
pub struct Process {
    /// Its pid at home, which is also its leader's thread id.
    pub pid: Tid,
    /// Tells it from another process with the same pid in this supervisor's life.
    pub serial: u64,
    /// The process that made it (not its parent after CLONE_PARENT or a parent's end); 0 for the first.
    pub maker: Tid,
    /// Where it computes.
    pub place: Place,
    /// Why it may not move.
    pub stay: Option<StayReason>,
    /// Its threads, the leader among them until it is reaped.
    pub threads: Vec<Tid>,
    /// How often it has executed a new image.
    pub execs: u64,
    /// Where its image's vDSO begins, once somebody has looked.
    pub vdso: Option<u64>,
    /// The file it runs, once somebody has looked.
    pub program: Option<String>,
    /// When it came to where it is.
    pub since: Instant,
    /// Moves that it has made.
    pub moves: u32,
    /// Its end has been seen.
    pub ended: bool,
    /// The process whose memory it uses until it calls exec (vfork).
    pub memory_of: Option<Tid>,
}

/// A thread of a managed process.
#[derive(Debug)]
pub struct Thread {
    /// Its thread id at home.
    pub tid: Tid,
    /// The process it belongs to.
    pub pid: Tid,
    /// What ptrace allows now.
    pub state: ThreadState,
    /// Its first stop is still to come.
    pub newborn: bool,
    /// It was in a group-stop, and the call it is in has been interrupted by that; see [`crate::supervisor`]'s
    /// repairs.
    pub group_stopped: bool,
    /// At the end of its execve it shall repeat it without us.
    pub lost_privilege: bool,
    /// A repaired call under way.
    pub repair: Option<crate::supervisor::Repair>,
    /// The call that restart_syscall goes on with, should the thread be interrupted in that.
    pub goes_on_with: Option<u32>,
}

/// What ptrace allows now.
#[derive(Debug)]
pub enum ThreadState {
    /// It runs.
    Running(Running),
    /// It is in a stop that somebody here holds on to.
    Stopped(Stopped),
    /// In a group-stop, listening for SIGCONT.
    Listening(Running),
    /// A deputy's: the away side has it.
    Away,
    /// Killed; its end has not been reported yet.
    Dead,
}

impl Thread {
    /// A thread that runs.
    pub fn new(tid: Tid, pid: Tid, state: ThreadState) -> Thread {
        Thread {
            tid,
            pid,
            state,
            newborn: false,
            group_stopped: false,
            lost_privilege: false,
            repair: None,
            goes_on_with: None,
        }
    }
}

/// All processes and threads of one supervisor.
#[derive(Debug, Default)]
pub struct Table {
    /// By pid.
    pub processes: HashMap<Tid, Process>,
    /// By thread id.
    pub threads: HashMap<Tid, Thread>,
    serial: u64,
}

impl Table {
    /// Adds a process with its leader.
    pub fn add_process(&mut self, pid: Tid, maker: Tid, stay: Option<StayReason>, leader: ThreadState) {
        self.serial += 1;
        let process = Process {
            pid,
            serial: self.serial,
            maker,
            place: Place::Home,
            stay,
            threads: vec![pid],
            execs: 0,
            vdso: None,
            program: self.processes.get(&maker).and_then(|maker| maker.program.clone()),
            since: Instant::now(),
            moves: 0,
            ended: false,
            memory_of: None,
        };
        self.processes.insert(pid, process);
        self.threads.insert(pid, Thread::new(pid, pid, leader));
    }

    /// Adds a thread to a process that is there.
    pub fn add_thread(&mut self, tid: Tid, pid: Tid, state: ThreadState) {
        self.threads.insert(tid, Thread::new(tid, pid, state));
        if let Some(process) = self.processes.get_mut(&pid) {
            process.threads.push(tid);
        }
    }

    /// Forgets a thread that is not the leader.
    pub fn remove_thread(&mut self, tid: Tid) {
        if let Some(thread) = self.threads.remove(&tid)
            && let Some(process) = self.processes.get_mut(&thread.pid)
        {
            process.threads.retain(|other| *other != tid);
        }
    }

    /// Forgets a process and every thread of it.
    pub fn remove_process(&mut self, pid: Tid) -> Option<Process> {
        let process = self.processes.remove(&pid)?;
        for tid in &process.threads {
            self.threads.remove(tid);
        }
        Some(process)
    }

    /// After an exec only the leader is left, whatever was reported of the others (ptrace(2), "execve(2) under
    /// ptrace"): the thread that called it has taken the leader's id.
    pub fn keep_only_leader(&mut self, pid: Tid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        for tid in process.threads.drain(..).filter(|tid| *tid != pid) {
            self.threads.remove(&tid);
        }
        process.threads.push(pid);
        process.execs += 1;
        process.vdso = None;
        process.program = None;
        process.memory_of = None;
    }
}
