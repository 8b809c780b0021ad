//! Letting this machine's daemon decide where processes go.
//!
//! A process that execs is held until the daemon has said where it goes on, for a bounded time: a daemon that is slow,
//! mute or gone costs that time once and harms nothing. Running processes are reported and moved as it asks.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracee::{Stopped, Tid, clock};
use wire::Identity;
use wire::identity::{KeyId, Revoked};
use wire::local::{Advice, Job, Reply, Request, Target, VERSION};

use super::nodes::NodeIndex;
use super::orders::{Asker, Destination};
use super::{Source, StartError, Supervisor};
use crate::away::Used;
use crate::daemon::Daemon;
use crate::process::{INIT, Place, StayReason};
use crate::{control, procfs};

/// How long the daemon may take to greet a supervisor.
const GREETING: Duration = Duration::from_millis(200);
/// The same where nothing begins before it has: `--on NAME`.
const GREETING_REQUIRED: Duration = Duration::from_secs(5);
/// How long a process is held for the daemon's word.
const WORD: Duration = Duration::from_millis(250);
/// A daemon that owes an answer is asked nothing more; after this long the connection is begun anew.
const MUTE: Duration = Duration::from_secs(2);
/// Between attempts to reach a daemon that is gone.
const AGAIN: Duration = Duration::from_secs(2);
/// A run that began without a daemon looks again by itself after [`AGAIN`], then after twice as long, and so on: it may be a
/// long one, and a wake-up a minute costs nothing. At an exec it looks as soon as that is [`AGAIN`] ago.
const LOOK_LAST: Duration = Duration::from_secs(60);
/// Between reports of what runs, and the longest time without one.
const REPORT: Duration = Duration::from_millis(500);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A full socket is tried again after this time.
const UNSENT_RETRY: Duration = Duration::from_millis(5);
/// How long a user's wish to move a process to a node waits for the daemon.
const WISH: Duration = Duration::from_secs(10);

/// How to reach the daemon, and what to ask of it.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// Sockets, the first that answers is taken.
    pub sockets: Vec<PathBuf>,
    /// What the user asks of placement.
    pub advice: Advice,
    /// Without a daemon that accepts the advice nothing runs.
    pub required: bool,
}

/// The daemon as this supervisor knows it.
#[derive(Debug)]
pub(crate) struct Cluster {
    options: DaemonOptions,
    state: State,
    /// With what nodes are reached, from its greeting.
    identity: Option<Identity>,
    /// Since when it owes the word on a process that has gone on without.
    mute_since: Option<Instant>,
    report_at: Instant,
    /// What it was told last, and when.
    told: Vec<Job>,
    told_at: Option<Instant>,
    /// Moves to nodes that only it knows, asked for and until when.
    wishes: Vec<(Tid, Instant)>,
}

#[derive(Debug)]
enum State {
    /// Connected; it has not said that it takes this supervisor.
    Greeted { daemon: Daemon, until: Instant, first: bool },
    /// It decides.
    Welcome(Daemon),
    /// Not there; tried again then.
    Gone { again: Instant },
    /// Never seen yet: looked for last, and so long until the next time.
    Absent { looked: Instant, pause: Duration },
}

impl Cluster {
    fn new(options: DaemonOptions, state: State) -> Cluster {
        Cluster {
            options,
            state,
            identity: None,
            mute_since: None,
            report_at: Instant::now() + REPORT,
            told: Vec::new(),
            told_at: None,
            wishes: Vec::new(),
        }
    }

    fn daemon(&mut self) -> Option<&mut Daemon> {
        match &mut self.state {
            State::Greeted { daemon, .. } | State::Welcome(daemon) => Some(daemon),
            State::Gone { .. } | State::Absent { .. } => None,
        }
    }

    /// Whether an exec or the time is reason to look for one that has not been seen yet.
    fn may_look(&self, now: Instant, exec: bool) -> bool {
        match self.state {
            State::Absent { looked, pause } => looked + if exec { AGAIN } else { pause } <= now,
            _ => false,
        }
    }

    /// Whether it is asked where processes go.
    fn is_asked(&self) -> bool {
        let Advice { no_migrate, io_job, .. } = self.options.advice;
        let listens = matches!(self.state, State::Welcome(_) | State::Greeted { first: true, .. });
        listens && self.mute_since.is_none() && !no_migrate && !io_job
    }

    fn deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Greeted { until, .. } => *until,
            State::Welcome(daemon) if daemon.has_unsent() => Instant::now() + UNSENT_RETRY,
            State::Welcome(_) => self.report_at,
            State::Gone { again } => *again,
            State::Absent { looked, pause } => *looked + *pause,
        };
        let mute = self.mute_since.map(|since| since + MUTE);
        let wish = self.wishes.iter().map(|(_, until)| *until).min();
        [Some(state), mute, wish].into_iter().flatten().min()
    }
}

impl Supervisor {
    /// Presents this supervisor to the daemon, if one is there.
    pub(super) fn join_cluster(&mut self, options: DaemonOptions) -> Result<(), StartError> {
        let required = options.required;
        match Daemon::connect(&options.sockets).and_then(|daemon| greet(daemon, &options.advice)) {
            Ok(mut daemon) => {
                self.events.add(daemon.stream(), Source::Daemon)?;
                let answer = required.then(|| daemon.wait(GREETING_REQUIRED));
                let until = Instant::now() + GREETING;
                self.cluster = Some(Cluster::new(options, State::Greeted { daemon, until, first: true }));
                match answer {
                    None => Ok(()),
                    Some(Ok(Reply::Failed(why))) => Err(StartError::Refused(why)),
                    Some(Ok(reply)) => {
                        self.heard(reply);
                        Ok(())
                    }
                    Some(Err(error)) => Err(StartError::NoDaemon(error)),
                }
            }
            Err(error) if required => Err(StartError::NoDaemon(error)),
            Err(error) => {
                self.console
                    .verbose(format_args!("no node daemon here ({error}), so everything computes at home"));
                let state = State::Absent { looked: Instant::now(), pause: AGAIN };
                self.cluster = Some(Cluster::new(options, state));
                Ok(())
            }
        }
    }

    /// When [`Supervisor::drive_cluster`] has something to do.
    pub(super) fn cluster_deadline(&self) -> Option<Instant> {
        let held = self.elsewhere.held.deadline();
        self.cluster.as_ref().and_then(Cluster::deadline).into_iter().chain(held).min()
    }

    /// Does what is due.
    pub(super) fn drive_cluster(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let mute = cluster.mute_since.is_some_and(|since| since + MUTE <= now);
        let deaf = cluster.daemon().is_some_and(|daemon| daemon.flush().is_err());
        match &cluster.state {
            State::Greeted { until, .. } if deaf || *until <= now => self.daemon_is_gone(),
            State::Welcome(_) if deaf || mute => self.daemon_is_gone(),
            State::Welcome(_) if cluster.report_at <= now => self.report_jobs(now),
            State::Gone { again } if *again <= now => self.reach_daemon(now),
            State::Absent { .. } if cluster.may_look(now, false) => self.reach_daemon(now),
            _ => {}
        }
        for pid in self.elsewhere.held.without_word(Some(now)) {
            if let Some(cluster) = &mut self.cluster {
                cluster.mute_since.get_or_insert(now);
            }
            self.let_go(pid);
        }
        let Some(cluster) = &mut self.cluster else { return };
        for (pid, _) in cluster.wishes.extract_if(.., |(_, until)| *until <= now).collect::<Vec<_>>() {
            self.answer_askers(pid, &not_possible("the node daemon does not answer"));
        }
    }

    fn reach_daemon(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let daemon = Daemon::connect(&cluster.options.sockets)
            .and_then(|daemon| greet(daemon, &cluster.options.advice))
            .and_then(|daemon| self.events.add(daemon.stream(), Source::Daemon).map(|()| daemon));
        let until = now + GREETING;
        cluster.state = match (daemon, &cluster.state) {
            (Ok(daemon), State::Absent { .. }) => State::Greeted { daemon, until, first: true },
            (Ok(daemon), _) => State::Greeted { daemon, until, first: false },
            (Err(_), State::Absent { pause, .. }) => {
                State::Absent { looked: now, pause: (*pause * 2).min(LOOK_LAST) }
            }
            (Err(_), _) => State::Gone { again: now + AGAIN },
        };
    }

    /// Everything goes on where it is.
    fn daemon_is_gone(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.state = State::Gone { again: Instant::now() + AGAIN };
        cluster.mute_since = None;
        let wishes = std::mem::take(&mut cluster.wishes);
        for pid in self.elsewhere.held.without_word(None) {
            self.let_go(pid);
        }
        for (pid, _) in wishes {
            self.answer_askers(pid, &not_possible("the node daemon is gone"));
        }
    }

    fn tell(&mut self, request: &Request) {
        let said = self.cluster.as_mut().and_then(Cluster::daemon).map(|daemon| daemon.say(request));
        if let Some(Err(_)) = said {
            self.daemon_is_gone();
        }
    }

    /// Something is there to be read.
    pub(super) fn hear_daemon(&mut self) {
        let mut replies = Vec::new();
        let heard = self.cluster.as_mut().and_then(Cluster::daemon).map(|daemon| daemon.hear(&mut replies));
        for reply in replies {
            self.heard(reply);
        }
        if let Some(Err(_)) = heard {
            self.daemon_is_gone();
        }
        self.away_actions();
    }

    fn heard(&mut self, reply: Reply) {
        match reply {
            Reply::Welcome { identity, .. } => self.welcome(&identity),
            Reply::Place { pid, to, why } => self.placed(pid, to, &why),
            Reply::Move { pid, to, why } => self.told_to_move(pid, to, &why),
            Reply::Refused { pid, why } => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.wishes.retain(|(wish, _)| *wish != pid);
                }
                self.answer_askers(pid, &not_possible(&why));
            }
            Reply::Failed(why) => self.refused(&why),
            Reply::Revoked { keys } => {
                let revoked = Revoked::default();
                revoked.replace(keys.iter().filter_map(|key| KeyId::parse(key)));
                // Links that are still to come.
                if let Some(identity) = self.cluster_identity() {
                    identity.revoked().replace(revoked.keys());
                }
                self.distrust(&revoked);
            }
            Reply::Nodes(_) | Reply::Lines(_) | Reply::Done => {}
        }
    }

    /// The daemon does not do what it was asked: to take this supervisor, if it has not.
    fn refused(&mut self, why: &str) {
        match self.cluster.as_ref().map(|cluster| &cluster.state) {
            Some(State::Greeted { first: true, .. }) => {
                self.daemon_is_gone();
                self.cluster = None;
                self.console
                    .verbose(format_args!("the node daemon refuses ({why}), so everything computes at home"));
            }
            Some(State::Greeted { .. }) => self.daemon_is_gone(),
            _ => self.console.verbose(format_args!("the node daemon says: {why}")),
        }
    }

    fn welcome(&mut self, identity: &[u8]) {
        let Some(cluster) = &mut self.cluster else { return };
        let gone = State::Gone { again: Instant::now() + AGAIN };
        match std::mem::replace(&mut cluster.state, gone) {
            State::Greeted { daemon, first, .. } => {
                // A daemon that has begun anew knows of nothing.
                cluster.report_at = Instant::now() + if first { REPORT } else { Duration::ZERO };
                cluster.told_at = None;
                cluster.state = State::Welcome(daemon);
            }
            other => cluster.state = other,
        }
        match Identity::from_bytes(identity) {
            Ok(identity) => cluster.identity = Some(identity),
            Err(error) => self.console.verbose(format_args!("the node daemon's greeting: {error}")),
        }
    }

    /// A process is about to begin its image: asks the daemon where, and holds the process. `from` is where it computed.
    /// Gives it back if the daemon is not asked.
    pub(super) fn ask_daemon(&mut self, thread: Stopped, from: Option<NodeIndex>) -> Option<Stopped> {
        let (pid, now) = (thread.tid(), Instant::now());
        if self.cluster.as_ref().is_some_and(|cluster| cluster.may_look(now, true)) {
            self.reach_daemon(now);
        }
        if pid == INIT || !self.cluster.as_ref().is_some_and(Cluster::is_asked) {
            return Some(thread);
        }
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.stay = None;
        }
        let Some(mut job) = self.job(pid) else { return Some(thread) };
        job.calls = Some(self.elsewhere.used(pid).forwarded);
        self.hold(thread, from, now + WORD);
        self.tell(&Request::Place { job });
        None
    }

    fn placed(&mut self, pid: Tid, to: Target, why: &str) {
        if let Some(cluster) = &mut self.cluster {
            cluster.mute_since = None;
        }
        let asks_for_node = self.cluster.as_ref().is_some_and(|cluster| cluster.options.advice.on.is_some());
        if !self.elsewhere.held.awaits_word(pid) {
            if matches!(to, Target::Node { .. }) {
                self.tell_place(pid, Some("the answer came too late".into()));
            }
            return;
        }
        match self.target(to) {
            Ok(Destination::Home) => {
                let line = format_args!("process {pid} computes at home: {why}");
                if asks_for_node {
                    self.console.say(pid, line)
                } else {
                    self.console.verbose(line)
                }
                self.go_home(pid);
            }
            Ok(Destination::Node(node)) => {
                let name = self.elsewhere.nodes.name(node);
                self.console.verbose(format_args!("process {pid} goes to {name}: {why}"));
                self.go_to(pid, node);
            }
            Err(why) => {
                self.tell_place(pid, Some(why));
                self.go_home(pid);
            }
        }
    }

    fn told_to_move(&mut self, pid: Tid, to: Target, why: &str) {
        if let Some(cluster) = &mut self.cluster {
            cluster.wishes.retain(|(wish, _)| *wish != pid);
        }
        let place = self.table.processes.get(&pid).map(|process| process.place.clone());
        let there = match (&to, &place) {
            (Target::Home, Some(Place::Home)) => true,
            (Target::Node { name, .. }, Some(Place::Node(at))) => name == at,
            _ => false,
        };
        if there {
            self.stop_copy(pid, "it is to stay");
            self.answer_askers(pid, &control::Reply::Done);
            return self.tell_place(pid, None);
        }
        match self.target(to).and_then(|to| self.order(pid, to, why)) {
            Ok(()) => self.elsewhere.orders.wait(pid, Asker::Daemon),
            Err(why) => self.answer_waiting(pid, &not_possible(&why)),
        }
    }

    fn target(&mut self, to: Target) -> Result<Destination, String> {
        let Target::Node { name, address } = to else { return Ok(Destination::Home) };
        let identity = self.cluster.as_ref().and_then(|cluster| cluster.identity.clone());
        let identity = identity.ok_or("the node daemon gave no identity to reach nodes with")?;
        self.approach(address, Some(&name), &identity).map(Destination::Node)
    }

    /// Asks the daemon for a move to a node that it may know. What comes of it is told by
    /// [`Supervisor::answer_waiting`].
    pub(super) fn wish(&mut self, pid: Tid, node: &str) -> Result<(), String> {
        match &mut self.cluster {
            Some(Cluster { state: State::Welcome(_), wishes, .. }) => {
                wishes.push((pid, Instant::now() + WISH))
            }
            _ => return Err(format!("no link to {node}, and no node daemon that knows it (say HOST:PORT)")),
        }
        self.tell(&Request::Wish { pid, node: node.into() });
        Ok(())
    }

    /// With what the daemon's nodes are reached.
    pub(super) fn cluster_identity(&self) -> Option<&Identity> {
        self.cluster.as_ref()?.identity.as_ref()
    }

    /// Whether the daemon decides where processes go: then none leaves by itself.
    pub(super) fn is_directed(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !matches!(cluster.state, State::Absent { .. }))
    }

    /// Tells where a process is, and why it is not where it was to be.
    pub(super) fn tell_place(&mut self, pid: Tid, failed: Option<String>) {
        if !self.is_directed() {
            return;
        }
        let place = self.table.processes.get(&pid).map_or(Place::Home, |process| process.place.clone());
        self.tell(&Request::Moved { pid, place: place.to_string(), failed });
    }

    /// A process has ended, with so much CPU time of its own here.
    pub(super) fn tell_end(&mut self, pid: Tid, time: Duration) {
        if !self.is_directed() {
            return;
        }
        let Some(process) = self.table.processes.get(&pid) else { return };
        let used = self.elsewhere.used(pid);
        let cpu = time + Duration::from_nanos(used.cpu_ns);
        let Some(program) = process.program.clone() else { return };
        let before = self.cluster.as_ref().and_then(|cluster| cluster.told.iter().find(|job| job.pid == pid));
        let memory_mib = before.map_or(0, |job| job.memory_mib);
        let job = Job {
            pid,
            program,
            place: process.place.to_string(),
            cpu_s: cpu.as_secs_f64(),
            calls: (process.place != Place::Home).then_some(used.forwarded),
            // Its account is gone with it.
            reads_writes: None,
            memory_mib,
            here_s: process.since.elapsed().as_secs_f64(),
            stay: None,
        };
        self.tell(&Request::Ended { job });
    }

    fn report_jobs(&mut self, now: Instant) {
        let mut pids: Vec<Tid> = self.table.processes.keys().copied().collect();
        pids.sort_unstable();
        let jobs: Vec<Job> = pids.into_iter().filter_map(|pid| self.job(pid)).collect();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.report_at = now + REPORT;
        let same = |a: &Job, b: &Job| Job { here_s: b.here_s, ..a.clone() } == *b;
        let as_told =
            jobs.len() == cluster.told.len() && jobs.iter().zip(&cluster.told).all(|(a, b)| same(a, b));
        if as_told && cluster.told_at.is_some_and(|at| now < at + HEARTBEAT) {
            return;
        }
        cluster.told_at = Some(now);
        cluster.told.clone_from(&jobs);
        let round_trips = self.elsewhere.nodes.round_trips();
        self.tell(&Request::Jobs { jobs, round_trips });
    }

    /// A process as the daemon is told of it; `None` when it has ended.
    fn job(&mut self, pid: Tid) -> Option<Job> {
        let used = self.elsewhere.used(pid);
        let process = self.table.processes.get_mut(&pid).filter(|process| !process.ended)?;
        if process.program.is_none() {
            process.program = Some(procfs::program(pid)?);
        }
        let process = &*process;
        let away = process.place != Place::Home;
        let here = clock::process_cpu_time(pid).ok()?;
        let before = self.cluster.as_ref()?.told.iter().find(|job| job.pid == pid);
        let memory_mib = match used.memory_kib.map(|kib| kib / 1024) {
            Some(mib) => u32::try_from(mib).unwrap_or(u32::MAX),
            // Its deputy is empty; its node has not told yet.
            None if away => before.map_or(0, |job| job.memory_mib),
            None => procfs::resident_mib(pid)?,
        };
        Some(Job {
            pid,
            program: process.program.clone()?,
            place: process.place.to_string(),
            cpu_s: (here + Duration::from_nanos(used.cpu_ns)).as_secs_f64(),
            calls: away.then_some(used.forwarded),
            reads_writes: if away { None } else { procfs::reads_and_writes(pid) },
            memory_mib,
            here_s: process.since.elapsed().as_secs_f64(),
            stay: match &process.stay {
                None if pid == INIT => {
                    Some(StayReason::Because(crate::process::INIT_STAYS.into()).to_string())
                }
                stay => stay.as_ref().map(ToString::to_string),
            },
        })
    }
}

impl super::away::Elsewhere {
    /// What a process has used away.
    pub(super) fn used(&mut self, pid: Tid) -> Used {
        let there = self.nodes.holder(pid).and_then(|node| self.nodes.get(node)?.used(pid));
        there.unwrap_or_else(|| self.shared.used(pid))
    }
}

fn greet(mut daemon: Daemon, advice: &Advice) -> io::Result<Daemon> {
    daemon.say(&Request::Supervisor { version: VERSION, advice: advice.clone() })?;
    Ok(daemon)
}

fn not_possible(why: &str) -> control::Reply {
    control::Reply::Failed(format!("not possible: {why}"))
}
