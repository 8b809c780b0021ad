//! One home's session on this node: the loop that drives its link and its bodies.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use syscall_table::sets::CallSet;
use tracee::clock::Cpu;
use tracee::image::FileRef;
use tracee::machine::Machine;
use tracee::sandbox::{ClockOffsets, Sandbox, SandboxError};
use tracee::seccomp::Filter;
use tracee::signals::Signals;
use tracee::vdso::Trampolines;
use tracee::wait::{self, CpuTime};
use tracee::{Errno, Event, Tid, clock, signal};
use wire::message::{self, Hello};
use wire::session::{
    self, Begin, CONTENT, ContentPart, Control, Down, FromBody, Owner, ProcessKey, ThreadKey, ToBody, Up,
    WantContent,
};
use wire::trace::Wanted;
use wire::{Channel, Link, LinkError};

use crate::body::{Ask, Early, Phase, Process, State, Thread};
use crate::cache::{Cache, Progress};
use crate::daemon::{Daemon, Reports};
use crate::hello::hello;
use crate::nearness::Nearness;
use crate::priority::{Priority, Standing};
use crate::trace::Untold;
use crate::usage::Usage;
use crate::{rules, vdso};

/// Why a session ended other than by home's farewell.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A message that makes no sense.
    #[error("home sent {0}")]
    Message(#[from] message::DecodeError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// This machine.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
    /// Home cannot use this node.
    #[error("{0}")]
    Unfit(String),
    /// SIGTERM.
    #[error("this node is stopping")]
    Stopping,
    /// Its daemon wants it so.
    #[error("{0}")]
    Ended(String),
}

/// The code with which a node closes a link whose session it has ended.
const ENDED_HERE: u32 = 3;
/// How long home may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Reports of bodies that are handled before the link has its turn. Two threads that make calls of their own kernel without
/// end would otherwise keep it waiting.
const EVENTS_MAX: usize = 64;
/// Bulk senders stop above this many queued bytes and go on below.
pub(crate) const QUEUE_BYTES_MAX: usize = 8 << 20;

/// What poll said is there.
#[derive(Clone, Copy, Debug)]
struct Ready {
    link: bool,
    children: bool,
    orders: bool,
}

/// A session's state.
pub(crate) struct Session {
    pub(crate) link: Link,
    pub(crate) sandbox: Sandbox,
    pub(crate) cache: Cache,
    pub(crate) processes: HashMap<ProcessKey, Process>,
    /// By host tid.
    pub(crate) threads: HashMap<Tid, Thread>,
    pub(crate) keys: HashMap<ThreadKey, Tid>,
    /// Which process a host tid belongs or belonged to, until its end was reported.
    pub(crate) hosts: HashMap<Tid, ProcessKey>,
    pub(crate) early: Early,
    /// Home does not know all of some process's dispositions.
    pub(crate) has_untold_dispositions: bool,
    pub(crate) nearness: Nearness,
    pub(crate) local_calls: u64,
    /// Calls that stop at the filter although they are local, because home traces them.
    pub(crate) traced: CallSet,
    /// Home traces something.
    pub(crate) is_traced: bool,
    /// What home has not been told yet of what it traces.
    pub(crate) untold: Untold,
    /// What home wants of children that are not made yet.
    pub(crate) early_traces: HashMap<ProcessKey, Option<Rc<Wanted>>>,
    /// Home's CLOCK_MONOTONIC less this machine's, in nanoseconds.
    pub(crate) clock_ahead_ns: i64,
    /// Threads that wait in their own kernel for less time than their call says, and when that is over.
    pub(crate) waits: Vec<(Instant, Tid)>,
    /// Where home's vDSO is not this machine's.
    pub(crate) trampolines: Option<Trampolines>,
    pub(crate) priority: Priority,
    /// What the sandbox's group of tasks has.
    pub(crate) group_nice: i32,
    /// Work under way for which this loop waits for processes of the sandbox.
    pub(crate) hurries: u32,
    pub(crate) usage: Usage,
    pub(crate) daemon: Box<dyn Daemon>,
    pub(crate) reports: Reports,
}

/// Serves one home until it says farewell, the link is lost or SIGTERM comes, as `daemon` orders. The calling process must
/// have a single thread and no other children; it should end after this returns, and every body ends with it.
pub fn serve(
    link: Link,
    name: &str,
    cache_dir: &Path,
    priority: Priority,
    daemon: Box<dyn Daemon>,
) -> Result<(), SessionError> {
    let signals =
        Signals::open(&[SIGCHLD, SIGTERM]).map_err(|errno| SessionError::System("signalfd", errno.into()))?;
    let cache = Cache::open(cache_dir).map_err(|error| SessionError::System("the content cache", error))?;
    let (mut link, mut machine) = (link, Machine::look());
    send(&mut link, Channel::CONTROL, &hello(name, &machine))?;
    let home: Hello = hear(&mut link)?;
    // How home wants to begin.
    let begin: Begin = hear(&mut link)?;
    // They are compared with those of home's hello, so after that has come and before anything else does.
    machine.read_clocks();
    let own = hello(name, &machine);
    let fits = match unfit(&own, &home) {
        Some(why) => Err(why),
        None => vdso::trampolines(&mut link, &home, &begin, &machine)?,
    };
    let trampolines = match fits {
        Ok(trampolines) => trampolines,
        Err(why) => {
            send(&mut link, Channel::CONTROL, &Control::Refused(why.clone()))?;
            link.flush(Instant::now());
            return Err(SessionError::Unfit(why));
        }
    };
    let offsets = offsets(&own, &home);
    let clock_ahead_ns = offsets.monotonic_ns;
    let sandbox = match make_sandbox(&rules::filter(&begin.traced), offsets, &priority) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            send(&mut link, Channel::CONTROL, &Control::Refused(error.to_string()))?;
            link.flush(Instant::now());
            return Err(error);
        }
    };
    send(&mut link, Channel::CONTROL, &Control::Ready)?;
    let mut session = Session {
        link,
        sandbox,
        cache,
        processes: HashMap::new(),
        threads: HashMap::new(),
        keys: HashMap::new(),
        hosts: HashMap::new(),
        early: Early::new(),
        has_untold_dispositions: false,
        nearness: Nearness::new(),
        local_calls: 0,
        traced: begin.traced,
        is_traced: false,
        untold: Untold::default(),
        early_traces: HashMap::new(),
        clock_ahead_ns,
        waits: Vec::new(),
        trampolines,
        priority,
        group_nice: 0,
        hurries: 0,
        usage: Usage::default(),
        daemon,
        reports: Reports::default(),
    };
    let ended = session.run(&signals);
    session.end_all();
    if let Err(error) = &ended {
        // Home learns at once rather than by its timeout. Of a link that has failed it knows.
        session.link.close(ENDED_HERE, &error.to_string());
    }
    match ended {
        Err(SessionError::Link(LinkError::Closed { .. })) => Ok(()),
        other => other,
    }
}

/// Guests have a session of their own and, where the node has one for them, a control group.
fn make_sandbox(filter: &Filter, clocks: ClockOffsets, priority: &Priority) -> Result<Sandbox, SessionError> {
    let apart = matches!(priority, Priority::Guest(_));
    let make = || Sandbox::create(filter, clocks, apart);
    let made = match priority {
        Priority::Guest(Standing { group: Some(group), .. }) => {
            group.beget(make).map_err(|error| SessionError::System("the control group of guests", error))?
        }
        _ => make(),
    };
    Ok(made?)
}

/// Waits for the next of home's first messages.
pub(crate) fn hear<T: DeserializeOwned>(link: &mut Link) -> Result<T, SessionError> {
    let until = Instant::now() + HELLO_TIMEOUT;
    loop {
        link.drive(Instant::now())?;
        if let Some((channel, frame)) = link.recv() {
            if channel != Channel::CONTROL {
                return Err(SessionError::Unfit("home did not say hello first".into()));
            }
            return Ok(message::decode(&frame)?);
        }
        if Instant::now() >= until {
            return Err(SessionError::Unfit("home said no hello".into()));
        }
        link.wait(until)?;
    }
}

/// Why images of that home cannot run here, if so.
fn unfit(own: &Hello, home: &Hello) -> Option<String> {
    if home.version != own.version {
        return Some(format!(
            "the node speaks version {} and home version {}: install the same mosix-run on both",
            own.version, home.version
        ));
    }
    let superset = home.cpu_features.len() == own.cpu_features.len()
        && home.cpu_features.iter().zip(&own.cpu_features).all(|(home, own)| home & !own == 0);
    if !superset || home.xcr0 != own.xcr0 || home.xsave_size != own.xsave_size {
        return Some("the node's CPU lacks features of home's, or saves its state differently".into());
    }
    None
}

/// Bodies see home's clocks. Home's reading was made before it travelled, so the node's copy lags by that time and a
/// process that comes home never sees its clocks go backward. On the same machine they are the same clocks.
fn offsets(own: &Hello, home: &Hello) -> ClockOffsets {
    if own.boot_id == home.boot_id {
        return ClockOffsets::default();
    }
    ClockOffsets {
        monotonic_ns: home.clocks.monotonic_ns - own.clocks.monotonic_ns,
        boottime_ns: home.clocks.boottime_ns - own.clocks.boottime_ns,
    }
}

pub(crate) fn send<T: Serialize>(link: &mut Link, channel: Channel, message: &T) -> Result<(), SessionError> {
    Ok(link.send(channel, message::encode(message))?)
}

impl Session {
    fn run(&mut self, children: &Signals) -> Result<(), SessionError> {
        let mut ready = Ready { link: true, children: true, orders: true };
        loop {
            let more = self.turn(children, ready)?;
            let now = Instant::now();
            self.end_waits(now);
            self.untold.tell_due(&mut self.link, now)?;
            self.tell_usage(now)?;
            let report = self.report(now);
            if more {
                // Bodies that stop faster than they are served: neither the link nor the daemon waits for them.
                ready = Ready { link: true, children: true, orders: true };
            } else {
                ready = self.sleep(children, report)?;
            }
        }
    }

    /// Handles what poll said is there. What it did not name would only cost calls that find nothing. Whether children may
    /// have more to report, of which no SIGCHLD will tell.
    fn turn(&mut self, children: &Signals, ready: Ready) -> Result<bool, SessionError> {
        let mut more = false;
        if ready.children {
            if children.take() & (1 << (SIGTERM - 1)) != 0 {
                return Err(SessionError::Stopping);
            }
            more = true;
            for _ in 0..EVENTS_MAX {
                match wait::poll(-1) {
                    Ok(Some((tid, event, time))) => {
                        self.on_event(tid, event, time)?;
                        // Whatever comes after the stop of the only thread there is raises SIGCHLD again.
                        if self.only_thread_is_held() {
                            more = false;
                            break;
                        }
                    }
                    Ok(None) | Err(Errno(libc_errno::ECHILD)) => {
                        more = false;
                        break;
                    }
                    Err(errno) => return Err(SessionError::System("wait", errno.into())),
                }
            }
        }
        if ready.link || self.link.deadline().is_some_and(|at| at <= Instant::now()) {
            self.link.drive(Instant::now())?;
        }
        // Before home's messages: a node that has closed takes nothing that comes after.
        if ready.orders {
            self.obey()?;
        }
        while let Some((channel, frame)) = self.link.recv() {
            self.on_frame(channel, &frame)?;
        }
        Ok(more)
    }

    fn only_thread_is_held(&self) -> bool {
        self.threads.len() == 1
            && self.threads.values().all(|thread| !matches!(thread.state, State::Running(..)))
    }

    fn sleep(&mut self, children: &Signals, report: Option<Instant>) -> Result<Ready, SessionError> {
        let (now, mut wake) = (Instant::now(), self.link.deadline());
        let waits = self.waits.iter().map(|(at, _)| *at);
        let others = self.nearness.until().into_iter().chain(report).chain(waits);
        for until in others.chain(self.usage.due()).chain(self.untold.due()) {
            wake = Some(wake.map_or(until, |wake| wake.min(until)));
        }
        let timeout = wake.map(|at| at.saturating_duration_since(now));
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let flags = if self.link.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let link = PollFd::from_borrowed_fd(self.link.fd(), flags);
        let mut fds = [link, PollFd::new(children, PollFlags::IN), PollFd::new(children, PollFlags::empty())];
        if let Some(orders) = self.daemon.fd() {
            fds[2] = PollFd::from_borrowed_fd(orders, PollFlags::IN);
        }
        let ready = match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let [link, children, orders] = fds.map(|fd| !fd.revents().is_empty());
                Ready { link, children, orders }
            }
            Err(rustix::io::Errno::INTR) => Ready { link: true, children: true, orders: true },
            Err(error) => return Err(SessionError::System("poll", error.into())),
        };
        if self.nearness.is_near() && (self.threads.len() != 1 || !ready.link && !ready.children) {
            self.nearness.end(self.threads.keys().copied());
        }
        Ok(ready)
    }

    fn on_frame(&mut self, channel: Channel, frame: &[u8]) -> Result<(), SessionError> {
        match session::owner(channel) {
            Owner::Control => Ok(()),
            Owner::Content => {
                let part: ContentPart = message::decode(frame)?;
                self.on_content(part)
            }
            Owner::Thread(key) => {
                let down: Down = message::decode(frame)?;
                self.on_down(key, down)
            }
            Owner::Process(key) => {
                let message: ToBody = message::decode(frame)?;
                self.on_process(key, message)
            }
        }
    }

    fn on_process(&mut self, key: ProcessKey, message: ToBody) -> Result<(), SessionError> {
        match message {
            ToBody::Place { image, threads, replaces, dispositions, stale } => {
                self.place(key, &image, (threads, dispositions, stale), replaces)
            }
            ToBody::Prepare { outline } => self.prepare(key, &outline),
            ToBody::Pages { start, bytes } => self.pages(key, start, bytes),
            ToBody::Commit => self.commit(key),
            ToBody::Go => self.go(key),
            ToBody::Bring => self.bring(key),
            ToBody::Resume => {
                self.move_failed(key)?;
                // Nothing of that move follows.
                self.say(key, &FromBody::CannotBring("home gave it up".into()))
            }
            ToBody::Release => self.end_now(key),
            ToBody::Freeze => self.freeze(key, true),
            ToBody::Thaw => self.freeze(key, false),
            ToBody::Trace(wanted) => self.trace(key, wanted),
        }
    }

    fn on_down(&mut self, key: ThreadKey, down: Down) -> Result<(), SessionError> {
        let Some(host) = self.keys.get(&key).copied() else { return Ok(()) };
        match down {
            Down::Reply { seq, outcome, outs } => {
                let current = self.threads.get(&host).is_some_and(|thread| thread.seq == seq);
                if current { self.on_reply(host, outcome, outs) } else { Ok(()) }
            }
            Down::Signal { number, thread, info } => self.on_signal(host, number, thread, &info),
        }
    }

    fn on_content(&mut self, part: ContentPart) -> Result<(), SessionError> {
        match self.cache.part(&part.content, &part.bytes) {
            Progress::Partial => Ok(()),
            Progress::Complete | Progress::Failed => {
                let building: Vec<ProcessKey> = self
                    .processes
                    .values()
                    .filter(|process| matches!(process.phase, Phase::Building(_)))
                    .map(|process| process.key)
                    .collect();
                for key in building {
                    self.go_on_building(key)?;
                }
                let mapping: Vec<Tid> = self
                    .threads
                    .iter()
                    .filter(|(_, thread)| matches!(thread.state, State::Asking(_, _, Ask::MapFile(Some(_)))))
                    .map(|(host, _)| *host)
                    .collect();
                for host in mapping {
                    self.map_file(host, false)?;
                }
                Ok(())
            }
        }
    }

    /// The instant at which home's CLOCK_MONOTONIC is `ns`.
    pub(crate) fn instant_of(&self, ns: u64) -> Instant {
        clock::at_monotonic(ns.saturating_add_signed(-self.clock_ahead_ns))
    }

    /// What home's CLOCK_MONOTONIC is at an instant.
    pub(crate) fn home_ns(&self, at: Instant) -> u64 {
        clock::monotonic_of(at).saturating_add_signed(self.clock_ahead_ns)
    }

    /// Asks home for a content unless it is here or on its way.
    pub(crate) fn want(&mut self, file: &FileRef) -> Result<(), SessionError> {
        if self.cache.get(file).is_some() {
            return Ok(());
        }
        let fresh =
            self.cache.begin(file).map_err(|error| SessionError::System("the content cache", error))?;
        if fresh {
            send(&mut self.link, CONTENT, &WantContent { content: file.content })?;
        }
        Ok(())
    }

    /// Sends a message about a process.
    pub(crate) fn say(&mut self, key: ProcessKey, message: &FromBody) -> Result<(), SessionError> {
        self.untold.tell(&mut self.link)?;
        send(&mut self.link, session::process_channel(key), message)
    }

    /// Sends a message of a thread, after what home must know of its process for it.
    pub(crate) fn ask(&mut self, key: ThreadKey, message: &Up) -> Result<(), SessionError> {
        if self.is_traced {
            self.trace_asked(key)?;
        }
        // Not with word of a thread whose deputy is in a call: only one between calls can be changed.
        let begins = matches!(message, Up::Call(_) | Up::Fork { .. } | Up::Exec { .. } | Up::MapFile { .. });
        if self.has_untold_dispositions && begins {
            let process = self.keys.get(&key).and_then(|host| self.process_of(*host));
            if process.is_some_and(|process| !process.has_told()) {
                self.tell_dispositions(key)?;
            }
            self.has_untold_dispositions = self.processes.values().any(|process| !process.has_told());
        }
        send(&mut self.link, session::thread_channel(key), message)
    }

    /// Tells home of the dispositions of a thread's process.
    pub(crate) fn tell_dispositions(&mut self, key: ThreadKey) -> Result<(), SessionError> {
        let process =
            self.keys.get(&key).and_then(|host| self.threads.get(host)).map(|thread| thread.process);
        let Some(process) = process.and_then(|process| self.processes.get_mut(&process)) else {
            return Ok(());
        };
        process.told_dispositions = process.dispositions;
        let now = process.dispositions;
        send(&mut self.link, session::thread_channel(key), &Up::Dispositions(now))
    }

    pub(crate) fn on_event(&mut self, tid: Tid, event: Event, time: CpuTime) -> Result<(), SessionError> {
        match event {
            Event::Stopped(stop) if self.threads.contains_key(&tid) => self.on_stop(tid, stop),
            Event::Stopped(stop) => {
                self.early.insert(tid, stop);
                Ok(())
            }
            Event::Exited(status) => self.on_end(tid, status << 8, time),
            Event::Killed { signal, core } => self.on_end(tid, signal | i32::from(core) << 7, time),
        }
    }

    /// A thread or process has ended and its number is free.
    pub(crate) fn on_end(&mut self, tid: Tid, status: i32, time: CpuTime) -> Result<(), SessionError> {
        self.early.remove(&tid);
        let thread = self.threads.remove(&tid);
        if let Some(thread) = &thread {
            self.keys.remove(&thread.key);
        }
        let Some(key) = self.hosts.remove(&tid) else { return Ok(()) };
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        process.threads.retain(|host| *host != tid);
        if process.host != tid {
            if let Some(thread) = thread {
                self.ask(thread.key, &Up::ThreadEnd)?;
                self.link.finish(session::thread_channel(thread.key));
                // A move waits for the others only.
                self.check_stopped(key)?;
            }
            return Ok(());
        }
        let parent = process.vfork_parent;
        let away = process.used.away + Cpu::from(time);
        let ended = FromBody::Ended {
            status,
            cpu_s: time.user_s + time.system_s,
            away_ns: (away.user_ns, away.system_ns),
        };
        // Before the end: home's report may be complete with it.
        let counters = Control::Counters { local: self.local_calls, live_cpu_s: 0.0 };
        send(&mut self.link, Channel::CONTROL, &counters)?;
        self.processes.remove(&key);
        self.say(key, &ended)?;
        if let Some(thread) = thread {
            self.link.finish(session::thread_channel(thread.key));
        }
        self.link.finish(session::process_channel(key));
        if let Some(parent) = parent {
            self.vfork_done(parent)?;
        }
        Ok(())
    }

    /// Kills a process and waits for its end, so that its pid is free.
    pub(crate) fn end_now(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        process.phase = Phase::Ending;
        let (host, away) = (process.host, process.used.away);
        if host == 0 {
            self.processes.remove(&key);
            // It may have followed another body, whose time home has not heard of.
            let away_ns = (away.user_ns, away.system_ns);
            return self.say(key, &FromBody::Ended { status: SIGKILL, cpu_s: 0.0, away_ns });
        }
        // ESRCH: it has ended by itself, and the report is on its way.
        signal::kill(host, SIGKILL).ok();
        let others: Vec<Tid> = process.threads.iter().copied().filter(|tid| *tid != host).collect();
        for tid in others.into_iter().chain([host]) {
            loop {
                match wait::block(tid) {
                    // A stop that was on its way (PTRACE_EVENT_EXIT is not asked for): SIGKILL ends it.
                    Ok((_, Event::Stopped(_), _)) => {}
                    Ok((tid, Event::Exited(status), time)) => {
                        self.on_end(tid, status << 8, time)?;
                        break;
                    }
                    Ok((tid, Event::Killed { signal, core }, time)) => {
                        self.on_end(tid, signal | i32::from(core) << 7, time)?;
                        break;
                    }
                    Err(_) => {
                        self.on_end(tid, SIGKILL, CpuTime::default())?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The session is over: nothing of it stays.
    fn end_all(&mut self) {
        for process in self.processes.values() {
            if process.host != 0 {
                signal::kill(process.host, SIGKILL).ok();
            }
        }
    }
}

pub(crate) const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// The errnos and signals of the kernel that the executor itself uses.
pub(crate) mod libc_errno {
    pub(crate) const ECHILD: i32 = 10;
    pub(crate) const ENOMEM: i32 = 12;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const E2BIG: i32 = 7;
    pub(crate) const ENAMETOOLONG: i32 = 36;
}
