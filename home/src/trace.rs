//! Traces of system calls: what the supervisor sees of its threads and what nodes tell of theirs becomes one stream of
//! events, from which each form of output is made.
//!
//! - `tracer` makes events of one trace, `event` says what they are;
//! - `filter` reads what of it is wanted; what is not is dropped before it is rendered, on nodes too;
//! - `text`, `json`, `perfetto` and `summary` are what an event may become, `output` and `wall` serve them;
//! - `client` sends events to `mosix trace`, which has the same forms.
//!
//! A thread is in one trace at most, as it has one tracer at most.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::time::{Duration, Instant};

use tracee::ptrace::SyscallStop;
use tracee::{Event as Report, Stopped, Tid, clock};
use wire::trace::{Traced, Wanted};

mod client;
pub mod event;
pub mod filter;
mod json;
mod output;
mod perfetto;
mod render;
mod summary;
pub mod text;
mod tracer;
mod wall;

pub use client::Client;
pub use summary::SortBy;
pub use tracer::Served;

use event::{Event, Moved, What};
use text::{Layout, Pages, Text};
use tracer::Tracer;

/// What becomes of a trace's events.
pub trait Sink: fmt::Debug {
    /// Takes the next one.
    fn event(&mut self, event: &Event<'_>);
    /// Writes what it has kept. Answers whether something is left that could not be written yet.
    fn flush(&mut self) -> bool {
        false
    }
    /// There are no more.
    fn finish(&mut self) {
        self.flush();
    }
}

/// A form of output.
#[derive(Debug)]
pub enum Form {
    /// strace's lines.
    Text(Layout, Pages),
    /// JSON objects, one a line.
    Json(Option<File>),
    /// A timeline.
    Perfetto(Option<File>),
    /// A table at the end.
    Summary(SortBy, Option<File>),
}

impl Form {
    /// Output of this form.
    pub fn sink(self) -> Box<dyn Sink> {
        match self {
            Form::Text(layout, pages) => Box::new(Text::new(layout, pages)),
            Form::Json(file) => Box::new(json::Json::new(file)),
            Form::Perfetto(file) => Box::new(perfetto::Perfetto::new(file)),
            Form::Summary(sort, file) => Box::new(summary::Summary::new(sort, file)),
        }
    }
}

/// A trace that is to begin.
#[derive(Debug)]
pub struct Setup {
    /// What of it.
    pub wanted: Wanted,
    /// What becomes of it.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Nobody looks at it while it is written: it may be written in larger pieces.
    pub lazy: bool,
}

/// How long a lazy trace may keep what it has not written.
const LAZY: Duration = Duration::from_millis(50);
/// When a reader who was too slow is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Tells one trace from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceId {
    /// The one of the command line.
    Own,
    /// One for a client of the control socket.
    Client(u32),
}

#[derive(Debug)]
struct Trace {
    id: TraceId,
    tracer: Tracer,
    lazy: bool,
    /// When what it keeps must be written.
    due: Option<Instant>,
}

/// Who a thread is.
#[derive(Clone, Copy, Debug)]
struct Member {
    trace: TraceId,
    pid: Tid,
}

/// The traces of one supervisor.
#[derive(Debug, Default)]
pub struct Traces {
    list: Vec<Trace>,
    threads: HashMap<Tid, Member>,
}

impl Traces {
    /// With the command line's, of the process that is to become the command.
    pub fn new(first: Tid, setup: Option<Setup>) -> Traces {
        let mut traces = Traces::default();
        if let Some(Setup { wanted, sinks, lazy }) = setup {
            let tracer = Tracer::of_command(wanted, sinks);
            traces.list.push(Trace { id: TraceId::Own, tracer, lazy, due: None });
            traces.threads.insert(first, Member { trace: TraceId::Own, pid: first });
        }
        traces
    }

    /// Whether nothing is traced.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What the command line's trace wants, if there is one.
    pub fn of_command(&self) -> Option<&Wanted> {
        self.get(TraceId::Own).map(Tracer::wanted)
    }

    fn get(&self, id: TraceId) -> Option<&Tracer> {
        self.list.iter().find(|trace| trace.id == id).map(|trace| &trace.tracer)
    }

    fn get_mut(&mut self, id: TraceId) -> Option<&mut Tracer> {
        self.list.iter_mut().find(|trace| trace.id == id).map(|trace| &mut trace.tracer)
    }

    /// The trace that a thread is in, and its process.
    fn of(&mut self, tid: Tid) -> Option<(&mut Tracer, Tid)> {
        // Without a trace this is all that any of it costs.
        if self.list.is_empty() {
            return None;
        }
        let Member { trace, pid } = *self.threads.get(&tid)?;
        Some((self.get_mut(trace)?, pid))
    }

    /// The trace that a process is in.
    fn of_process(&self, pid: Tid) -> Option<TraceId> {
        if self.list.is_empty() {
            return None;
        }
        // A leader may have ended before the others.
        let member =
            self.threads.get(&pid).or_else(|| self.threads.values().find(|member| member.pid == pid));
        member.map(|member| member.trace)
    }

    /// Whether a process is traced.
    pub fn has(&self, pid: Tid) -> bool {
        self.of_process(pid).is_some()
    }

    /// What is wanted of a process.
    pub fn wanted(&self, pid: Tid) -> Option<&Wanted> {
        self.get(self.of_process(pid)?).map(Tracer::wanted)
    }

    /// Whether a thread at home must stop at its calls.
    pub fn stops(&self, tid: Tid) -> bool {
        !self.list.is_empty()
            && self
                .threads
                .get(&tid)
                .and_then(|member| self.get(member.trace))
                .is_some_and(|tracer| !tracer.wanted().calls.is_empty())
    }

    /// Begins one for a client, of these threads: thread, process.
    pub fn begin(&mut self, client: u32, wanted: Wanted, sink: Box<dyn Sink>, threads: &[(Tid, Tid)]) {
        let trace = TraceId::Client(client);
        let mut tracer = Tracer::of_running(wanted, sink);
        for (tid, pid) in threads {
            self.threads.insert(*tid, Member { trace, pid: *pid });
            tracer.born(*pid, *tid);
        }
        self.list.push(Trace { id: trace, tracer, lazy: false, due: None });
    }

    /// Ends a client's trace; the processes that were in it.
    pub fn end(&mut self, client: u32) -> Vec<Tid> {
        let id = TraceId::Client(client);
        self.list.retain(|trace| trace.id != id);
        let mut pids: Vec<Tid> =
            self.threads.values().filter(|member| member.trace == id).map(|member| member.pid).collect();
        self.threads.retain(|_, member| member.trace != id);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// A thread is at the entry to or the exit from a call.
    pub fn syscall(&mut self, tid: Tid, stop: SyscallStop) {
        let Some((tracer, pid)) = self.of(tid) else { return };
        match stop {
            SyscallStop::Entry { nr, args } => tracer.entered(pid, tid, nr, args),
            SyscallStop::Exit { ret } => tracer.left(pid, tid, ret),
        }
    }

    /// What a node says of a thread, and what its calls have cost here.
    pub fn away(&mut self, tid: Tid, traced: Traced, served: Served) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.away(pid, tid, traced, served);
        }
    }

    /// A deputy has executed its body's execve.
    pub fn executed_away(&mut self, tid: Tid) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.exec_returned(pid, tid, Some(event::CallPlace::Forwarded));
        }
    }

    /// The execve of a process that leaves home before its call returns.
    pub fn executed_home(&mut self, tid: Tid) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.exec_returned(pid, tid, None);
        }
    }

    /// A process has moved, or could not.
    pub fn moved(&mut self, pid: Tid, moved: Moved) {
        if let Some(tracer) = self.of_process(pid).and_then(|id| self.get_mut(id)) {
            tracer.say(pid, pid, What::Moved(moved));
        }
    }

    /// Something that the user must know of a process.
    pub fn note(&mut self, pid: Tid, text: &str) {
        if let Some((tracer, pid)) = self.of(pid) {
            tracer.say(pid, pid, What::Note(text.into()));
        }
    }

    /// A signal is about to be delivered.
    pub fn signal(&mut self, at: &Stopped, number: i32) {
        if let Some((tracer, pid)) = self.of(at.tid()) {
            tracer.signal(pid, at, number);
        }
    }

    /// A group-stop.
    pub fn stopped_by(&mut self, tid: Tid, number: i32) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.say(pid, tid, What::Stopped(number));
        }
    }

    /// `tid` of process `pid` exists from now on; process `maker` has made it.
    pub fn born(&mut self, tid: Tid, pid: Tid, maker: Tid) {
        // The command line's trace is of everything, also of those whose maker has ended.
        let own = || self.get(TraceId::Own).map(|_| TraceId::Own);
        let Some(trace) = self.of_process(maker).or_else(own) else { return };
        self.threads.insert(tid, Member { trace, pid });
        if let Some(tracer) = self.get_mut(trace) {
            tracer.born(pid, tid);
        }
    }

    /// execve has succeeded in thread `former`, which is the leader from now on. The calls of the other threads will not
    /// be heard of again.
    pub fn executed(&mut self, leader: Tid, former: Tid) {
        if self.list.is_empty() {
            return;
        }
        if former != leader {
            self.threads.remove(&former);
        }
        if let Some((tracer, pid)) = self.of(leader) {
            tracer.executed(pid, former);
        }
    }

    /// A thread has ended.
    pub fn ended(&mut self, tid: Tid, report: Report) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.ended(pid, tid, report);
            self.leave(tid);
        }
    }

    /// A thread is not traced by us any more.
    pub fn forgotten(&mut self, tid: Tid) {
        if let Some((tracer, pid)) = self.of(tid) {
            tracer.detached(pid, tid);
            self.leave(tid);
        }
    }

    fn leave(&mut self, tid: Tid) {
        let Some(Member { trace, .. }) = self.threads.remove(&tid) else { return };
        if self.threads.values().all(|member| member.trace != trace) {
            if let Some(tracer) = self.get_mut(trace) {
                tracer.finish();
            }
            // The command line's may be gone on with by somebody whose maker's end came first.
            self.list.retain(|other| other.id != trace || trace == TraceId::Own);
        }
    }

    /// Writes what is due, or everything; when the next thing is due.
    pub fn flush(&mut self, all: bool) -> Option<Instant> {
        if self.list.is_empty() {
            return None;
        }
        let now = Instant::now();
        for Trace { tracer, lazy, due, .. } in &mut self.list {
            if !tracer.take_dirty() && due.is_none() {
                continue;
            }
            if *lazy && !all {
                let due_at = *due.get_or_insert(now + LAZY);
                if now < due_at {
                    continue;
                }
            }
            *due = tracer.flush().then(|| now + AGAIN);
        }
        self.due()
    }

    /// When something must be written.
    pub fn due(&self) -> Option<Instant> {
        self.list.iter().filter_map(|trace| trace.due).min()
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        for trace in &mut self.list {
            trace.tracer.finish();
        }
    }
}

/// Now, as events have it.
fn now_ns() -> u64 {
    clock::monotonic_ns()
}
