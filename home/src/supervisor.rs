//! The supervisor: one thread that traces a managed process tree and waits for everything else in one poll loop.
//!
//! - `events` is what the loop waits for; `timers` is what it does at a given time;
//! - `dispatch` is the one `match` over what ptrace reports; `births` and `ends` are its longer arms;
//! - `hooks` are the points at which the away side takes part; `away` is what it does there, `nodes` whom it does it with,
//!   `orders` what others want of it, `stops` how processes are stopped for it;
//! - `repair` keeps ignored signals from changing what a program at home sees;
//! - `setuid` and `tracers` let go of programs that must not be traced;
//! - `traces` begins and ends traces of processes that run;
//! - `precopy` moves processes with much memory;
//! - `placement` keeps this thread on the core of the process it serves.

mod away;
mod births;
mod cluster;
mod commands;
mod dispatch;
mod ends;
mod events;
mod held;
mod hooks;
mod nodes;
mod orders;
mod placement;
mod precopy;
mod repair;
mod setuid;
mod stops;
mod timers;
mod tracers;
mod traces;
mod vdso;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Pid, getpriority_process, setpriority_process};
use tracee::launch::{Handshake, STATUS_OWN_FAILURE};
use tracee::signals::Signals;
use tracee::{Errno, Running, Tid, wait};

pub use cluster::DaemonOptions;
pub use commands::{Command, ProcessLine};
pub use dispatch::Next;
pub use events::{Events, Source};
pub use nodes::NodeIndex;
pub use repair::Repair;
pub(crate) use repair::{blocks_until_written, socket_timeout_of, timeout_kind};
pub use timers::{Timer, Timers};

use crate::console::Console;
use crate::control::Control;
use crate::process::{self, StayReason, Table, ThreadState};
use crate::stats::Stats;
use crate::trace::{self, Traces};

/// SIGCHLD and SIGTERM as libc has them on every Linux architecture we run on.
const SIGCHLD: i32 = rustix::process::Signal::CHILD.as_raw();
const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// Reports taken before everything else has its turn: a storm of processes must not keep the control socket and the
/// timers waiting.
const REPORTS_MAX: usize = 256;

/// How often a thread that was let go is looked for again before the supervisor sleeps, while calls are traced.
const YIELDS: u32 = 2;

/// What a supervisor is started with. All descriptors have FD_CLOEXEC.
#[derive(Default)]
pub struct Options {
    /// Nothing moves, because the user said so.
    pub home_only: bool,
    /// A trace of system calls, from the command's first one.
    pub trace: Option<trace::Setup>,
    /// Where the report goes.
    pub stats_file: Option<File>,
    /// An established link to the node where the program shall compute.
    pub node: Option<wire::Link>,
    /// Added to the nice value that processes have at home.
    pub nice: i32,
    /// The daemon that decides where processes go; without it and a node they stay at home.
    pub daemon: Option<DaemonOptions>,
    /// Directory of the identity with which other nodes are reached; `None` for the user's own.
    pub identity: Option<PathBuf>,
    /// The node's vDSO is to be taken for another kernel's.
    pub foreign_vdso: bool,
    /// Processes with so much memory of their own are copied while they run; none named means what is usual.
    pub precopy_bytes: Option<u64>,
    /// A copy of standard error, held for `-v` lines until the first process has ended.
    pub verbose: Option<OwnedFd>,
}

/// The state of one `mosix-run`.
#[derive(Debug)]
pub struct Supervisor {
    /// The process that became the command.
    pub(crate) first: Tid,
    pub(crate) table: Table,
    pub(crate) events: Events,
    pub(crate) timers: Timers,
    pub(crate) console: Console,
    pub(crate) control: Option<Control>,
    pub(crate) stats: Stats,
    pub(crate) traces: Traces,
    pub(crate) elsewhere: away::Elsewhere,
    cluster: Option<cluster::Cluster>,
    placement: placement::Placement,
    signals: Signals,
    stats_file: Option<File>,
    identity_dir: Option<PathBuf>,
    /// Nodes' vDSOs are to be taken for another kernel's.
    foreign_vdso: bool,
    first_has_ended: bool,
    /// Threads of pid 1 that have been let go to their ends.
    leaving: HashSet<Tid>,
    stop_asked: bool,
    repairs_made: u64,
    may_trace_anything: bool,
    precopy_bytes: u64,
    /// ptrace has more to report than was taken.
    more_reports: bool,
    /// The thread that is being stopped for a move.
    stopping: Option<Tid>,
}

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// PTRACE_SEIZE was refused.
    #[error("cannot trace the command: {0}{hint}", hint = seize_hint(*.0))]
    Seize(Errno),
    /// epoll or signalfd.
    #[error("cannot set up the supervisor's poll loop: {0}")]
    Loop(#[from] io::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] crate::away::NodeError),
    /// There must be a daemon, and is none.
    #[error(
        "no node daemon answers here: {0} (is mosixd running? or name the node by its address, HOST:PORT)"
    )]
    NoDaemon(#[source] io::Error),
    /// The daemon says no.
    #[error("the node daemon refuses: {0}")]
    Refused(String),
}

fn seize_hint(errno: Errno) -> &'static str {
    match errno.0 {
        // EPERM
        1 => {
            " (is mosix-run itself being traced, or ptrace forbidden by a sandbox or kernel.yama.ptrace_scope?)"
        }
        _ => "",
    }
}

/// Runs the supervisor of the process that waits at `handshake`, until the last managed process is gone. Returns
/// this process's exit status, which nobody but its reaper sees.
pub fn run(handshake: Handshake, options: Options) -> u8 {
    match Supervisor::start(handshake.first(), options) {
        Ok(mut supervisor) => {
            handshake.go();
            supervisor.work();
            0
        }
        Err(error) => {
            handshake.fail(&error.to_string());
            STATUS_OWN_FAILURE
        }
    }
}

impl Supervisor {
    fn start(first: Tid, options: Options) -> Result<Supervisor, StartError> {
        let signals = Signals::open(&[SIGCHLD, SIGTERM]).map_err(io::Error::from)?;
        let mut events = Events::new()?;
        events.add(&signals, Source::Signals)?;
        let mut console = Console::new(options.verbose);
        let control = match Control::open(&mut events) {
            Ok(control) => Some(control),
            Err(error) => {
                console
                    .verbose(format_args!("no control socket, so `mosix ps` will not see this run: {error}"));
                None
            }
        };
        let traces = Traces::new(first, options.trace);
        let running = Running::seize(first, process::options(first, false)).map_err(StartError::Seize)?;
        if !traces.is_empty() {
            // It waits in a call of ours; the stop is where tracing of calls begins.
            running.interrupt().map_err(StartError::Seize)?;
        }
        if options.nice != 0 {
            let command = Pid::from_raw(first);
            let nice = getpriority_process(command).map_err(io::Error::from)? + options.nice;
            setpriority_process(command, nice).map_err(io::Error::from)?;
        }
        let stay = options.home_only.then_some(StayReason::Asked);
        let mut table = Table::default();
        table.add_process(first, 0, stay, ThreadState::Running(running));
        let mut supervisor = Supervisor {
            first,
            table,
            events,
            timers: Timers::default(),
            console,
            control,
            stats: Stats::default(),
            traces,
            elsewhere: away::Elsewhere::default(),
            cluster: None,
            placement: placement::Placement::new(),
            signals,
            stats_file: options.stats_file,
            identity_dir: options.identity,
            foreign_vdso: options.foreign_vdso,
            first_has_ended: false,
            leaving: HashSet::new(),
            stop_asked: false,
            repairs_made: 0,
            precopy_bytes: options.precopy_bytes.unwrap_or(precopy::PRECOPY_BYTES),
            may_trace_anything: setuid::may_trace_anything(),
            more_reports: false,
            stopping: None,
        };
        if let Some(link) = options.node {
            supervisor.meet_default(link)?;
        }
        if let Some(daemon) = options.daemon {
            supervisor.join_cluster(daemon)?;
        }
        Ok(supervisor)
    }

    fn work(&mut self) {
        let mut ready = Vec::new();
        let mut links = Vec::new();
        let (mut reports, mut all_links) = (true, true);
        loop {
            // What was not said to be there would only cost calls that find nothing.
            if reports {
                self.take_reports();
            }
            self.drive_nodes(&links, all_links);
            if self.elsewhere.nodes.take_child_came() {
                self.more_reports = true;
            }
            if self.table.processes.is_empty() || self.stop_asked {
                break;
            }
            self.traces.flush(false);
            if let Err(error) = self.events.wait(self.next_deadline(), &mut ready) {
                // Without its loop the supervisor can serve nobody: its end lets everything go on untraced.
                self.console.say(self.first, format_args!("the supervisor's poll loop failed: {error}"));
                break;
            }
            // A wake-up for nothing looks at everything.
            reports = self.more_reports || ready.is_empty() || ready.contains(&Source::Signals);
            all_links = ready.is_empty();
            links.clear();
            for source in ready.drain(..) {
                match source {
                    Source::Link(node) => links.push(node),
                    source => self.ready(source),
                }
            }
            let now = Instant::now();
            while let Some(timer) = self.timers.due(now) {
                self.timer(timer);
            }
            self.drive_cluster(now);
        }
        self.finish();
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.more_reports {
            return Some(Instant::now());
        }
        [self.timers.next(), self.elsewhere.nodes.deadline(), self.cluster_deadline(), self.traces.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn ready(&mut self, source: Source) {
        match source {
            Source::Daemon => self.hear_daemon(),
            // Driven by the loop.
            Source::Link(_) => {}
            Source::Signals => {
                if self.signals.take() & (1 << (SIGTERM - 1)) != 0 {
                    self.stop_asked = true;
                }
            }
            Source::ControlListener => {
                if let Some(control) = &mut self.control {
                    control.accept(&mut self.events);
                }
            }
            Source::ControlClient(client) => {
                let Some(control) = &mut self.control else { return };
                for (ticket, command) in control.read(client, &mut self.events) {
                    self.command(ticket, command);
                }
                if self.control.as_ref().is_none_or(|control| !control.has(client)) {
                    self.end_trace(client);
                }
            }
        }
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::CallDeadline { tid, sequence } => self.call_deadline(tid, sequence),
            Timer::Revisit { pid, serial, after } => self.revisit(pid, serial, after),
        }
    }

    /// Takes what ptrace has to report, up to [`REPORTS_MAX`].
    fn take_reports(&mut self) {
        // A traced thread is at its next call at once: to let it go there costs less than to sleep until it is.
        let mut yields = if self.traces.is_empty() { 0 } else { YIELDS };
        for _ in 0..REPORTS_MAX {
            match wait::next(|tid, event| self.before_reaping(tid, event)) {
                Ok(Some((tid, event, _))) => self.report(tid, event),
                Ok(None) if yields > 0 => {
                    yields -= 1;
                    rustix::thread::sched_yield();
                }
                Ok(None) => {
                    self.more_reports = false;
                    return;
                }
                Err(_) => {
                    // ECHILD: nothing is traced any more, whatever the table says.
                    self.table = Table::default();
                    self.more_reports = false;
                    return;
                }
            }
        }
        self.more_reports = true;
    }

    /// Everything that must be on disk when the last process is gone. What still runs (after SIGTERM) goes on by
    /// itself: the kernel detaches the tracees of a tracer that ends.
    fn finish(&mut self) {
        self.count_away();
        self.leave_nodes();
        self.traces.finish();
        self.write_stats();
        if let Some(control) = self.control.take() {
            control.close();
        }
    }

    fn write_stats(&mut self) {
        self.count_away();
        if let Some(file) = &self.stats_file
            && let Err(error) = self.stats.write(file)
        {
            self.console.say(self.first, format_args!("cannot write the --stats file: {error}"));
        }
    }
}
