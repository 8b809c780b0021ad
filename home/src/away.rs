//! Processes whose computation is on a node: their deputies, the link to the node, and moves out and home.
//!
//! The supervisor hands threads in when a process leaves and gets them back when it comes home; meanwhile every report
//! about them comes here.

mod back;
mod cpu;
mod deputy;
mod nearness;
mod node;
mod out;
mod precopy;
mod serve;
mod shared;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use tracee::clock::Cpu;
use tracee::image::Unfinished;
use tracee::ptrace::Stopped;
use tracee::wait::CpuTime;
use tracee::{Event, Stop, Tid};
use wire::session::{self, CONTENT, ContentPart, FromBody, ProcessKey, ThreadKey, ToBody, Up, WantContent};
use wire::trace::Traced;
use wire::{Channel, Link, LinkError, message};

pub use cpu::Used;
pub use deputy::{Deputy, Process};
pub use node::{Meeting, NodeError};
pub use out::{NotSent, settle_exec};
pub use precopy::NotCopied;
pub use shared::Shared;

use deputy::{Phase, State, Told};

use crate::trace::Served;

/// What the supervisor must do or know.
#[derive(Debug)]
pub enum Action {
    /// A managed process was made by an away one; it is away too.
    Forked {
        /// Its maker's process.
        parent: Tid,
        /// Its pid.
        child: Tid,
    },
    /// What a process at home still would have to send is little: stop it and send it out.
    Copied {
        /// Its pid.
        pid: Tid,
        /// Why it moves.
        reason: String,
    },
    /// A process is at home again, its threads stopped and whole. Resume them.
    CameHome {
        /// Its pid.
        pid: Tid,
        /// Its threads, ready to run.
        threads: Vec<Stopped>,
        /// Why it is at home, if it must stay.
        stay: Option<String>,
        /// Calls of its threads that go on.
        unfinished: HashMap<Tid, Unfinished>,
    },
    /// A deputy has exec'ed: its fresh image is at home, stopped at its first instruction.
    Execed {
        /// Its pid.
        pid: Tid,
        /// Its only thread.
        thread: Stopped,
    },
    /// A process is gone.
    Ended {
        /// Its pid.
        pid: Tid,
        /// The report.
        event: Event,
        /// CPU time of the deputy.
        time: CpuTime,
    },
    /// A move ended, well or not.
    Moved(Move),
    /// The body of a process that has exec'ed, and did not stay on that node, has ended: its CPU time is counted.
    Counted(Tid),
    /// A line for the user.
    Say(String),
    /// For the trace: a thread exists.
    Born {
        /// Its id.
        tid: Tid,
        /// Its process.
        pid: Tid,
    },
    /// For the trace: a thread that is not the leader has ended.
    ThreadEnded(Tid, Event),
    /// For the trace: what the node says of a thread, and what the call that it speaks of has cost here.
    Traced(Tid, Traced, Served),
}

/// The report of one move.
#[derive(Clone, Debug)]
pub struct Move {
    /// Which process.
    pub pid: Tid,
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// Why.
    pub reason: String,
    /// Milliseconds from the last user instruction at the source to the first at the destination.
    pub freeze_ms: f64,
    /// Milliseconds in all.
    pub total_ms: f64,
    /// Bytes of image and pages.
    pub bytes: u64,
    /// Why it failed, if it did: the process goes on where it was.
    pub failed: Option<String>,
}

/// Counts of one node's session.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls that deputies executed.
    pub forwarded: u64,
    /// Calls that ran on the node although they trapped.
    pub local: u64,
    /// Calls that brought their process home, by reason.
    pub gone_home: HashMap<String, u64>,
    /// CPU seconds of bodies.
    pub remote_cpu_s: f64,
}

/// The away processes of one node.
pub struct Away {
    link: Link,
    name: String,
    shared: Shared,
    processes: HashMap<ProcessKey, Process>,
    pids: HashMap<Tid, ProcessKey>,
    threads: HashMap<Tid, Deputy>,
    keys: HashMap<ThreadKey, Tid>,
    actions: VecDeque<Action>,
    sending: VecDeque<Sending>,
    /// Processes that run at home while their pages travel, by pid.
    copies: HashMap<Tid, precopy::Precopy>,
    /// Bodies of processes that have just exec'ed, with [`Process::cpu_from`]: the fresh image may follow them.
    replaced: HashMap<Tid, (ProcessKey, Option<Cpu>)>,
    nearness: nearness::Nearness,
    /// Other nodes have deputies too; see [`Away::drive`].
    others: bool,
    /// Calls of some process are traced.
    traced: bool,
    /// A tracee has something to report that the poll loop does not know of.
    child_came: bool,
    /// Counts for the report.
    pub counts: Counts,
}

/// A content on its way to the node.
struct Sending {
    content: [u8; 32],
    offset: u64,
}

/// Bytes of file content in one message.
const CONTENT_PART_BYTES: usize = 1 << 20;
/// Bulk senders stop above this many queued bytes and go on below.
const QUEUE_BYTES_MAX: usize = 8 << 20;

impl Away {
    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The link, for its descriptor and deadline.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether a thread is a deputy's.
    pub fn owns(&self, tid: Tid) -> bool {
        self.threads.contains_key(&tid)
    }

    /// Whether a process is away or on its way.
    pub fn has(&self, pid: Tid) -> bool {
        self.pids.contains_key(&pid)
    }

    /// All processes that are away or on their way.
    pub fn pids(&self) -> Vec<Tid> {
        self.pids.keys().copied().collect()
    }

    /// The next thing for the supervisor.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether any process is here or on its way.
    pub fn is_used(&self) -> bool {
        !self.processes.is_empty() || !self.replaced.is_empty() || !self.copies.is_empty()
    }

    /// What a process that is here has used so far, as far as its node has told.
    pub fn used(&self, pid: Tid) -> Option<Used> {
        let process = self.processes.get(self.pids.get(&pid)?)?;
        let before = self.shared.used(pid);
        Some(Used {
            cpu_ns: before.cpu_ns.max(process.told.cpu_ns),
            memory_kib: (process.told.memory_kib > 0).then_some(process.told.memory_kib),
            forwarded: before.forwarded + process.forwarded.get(),
        })
    }

    /// Whether any deputy is here.
    pub fn has_deputies(&self) -> bool {
        !self.threads.is_empty()
    }

    /// Whether the supervisor serves one deputy and no other.
    fn serves_one(&self) -> bool {
        self.threads.len() == 1 && !self.others
    }

    /// Takes in what has arrived on the link and sends what is due. Without `arrived` the socket is only looked at
    /// when the link has something to do of its own. `others` says whether other nodes have deputies.
    pub fn drive(&mut self, arrived: bool, others: bool) -> Result<(), LinkError> {
        self.others = others;
        let now = Instant::now();
        if arrived || self.link.wants_write() || self.link.deadline().is_some_and(|due| due <= now) {
            self.link.drive(now)?;
        }
        // Moves drive the link as well: their frames may be the last to arrive.
        while let Some((channel, frame)) = self.link.recv() {
            if let Err(why) = self.on_frame(channel, &frame) {
                self.link.close(1, &why);
                return Err(LinkError::Protocol(self.name.clone(), why));
            }
        }
        self.give_up_late(Instant::now());
        self.end_waits(Instant::now());
        self.go_on_copying();
        self.send_contents()
    }

    fn on_frame(&mut self, channel: Channel, frame: &[u8]) -> Result<(), String> {
        let unreadable = |error: message::DecodeError| error.to_string();
        match session::owner(channel) {
            session::Owner::Control => match message::decode(frame).map_err(unreadable)? {
                session::Control::Counters { local, .. } => {
                    self.counts.local = local;
                    Ok(())
                }
                session::Control::Refused(why) => Err(why),
                _ => Ok(()),
            },
            session::Owner::Content => {
                let want: WantContent = message::decode(frame).map_err(unreadable)?;
                self.sending.push_back(Sending { content: want.content, offset: 0 });
                Ok(())
            }
            session::Owner::Thread(key) => {
                let up: Up = message::decode(frame).map_err(unreadable)?;
                match self.keys.get(&key).copied() {
                    Some(tid) => self.on_up(tid, up, frame.len()),
                    None => Ok(()),
                }
            }
            session::Owner::Process(key) => {
                let message: FromBody = message::decode(frame).map_err(unreadable)?;
                self.on_from_body(key, message)
            }
        }
    }

    fn send_contents(&mut self) -> Result<(), LinkError> {
        while let Some(sending) = self.sending.front_mut() {
            if self.link.queued_bytes() > QUEUE_BYTES_MAX {
                break;
            }
            let mut bytes = vec![0; CONTENT_PART_BYTES];
            let contents = self.shared.contents.borrow();
            let got = contents.read(&sending.content, sending.offset, &mut bytes).unwrap_or(0);
            bytes.truncate(got);
            let part = ContentPart { content: sending.content, offset: sending.offset, bytes: bytes.into() };
            sending.offset += got as u64;
            let size = contents.metadata(&part.content).map_or(0, |metadata| metadata.len());
            drop(contents);
            if got == 0 || sending.offset >= size {
                self.sending.pop_front();
            }
            self.link.send(CONTENT, message::encode(&part))?;
        }
        Ok(())
    }

    /// Says that the session is over.
    pub fn farewell(&mut self) {
        self.link.close(0, "done");
        // What cannot leave now is told by the node's own timeout.
        self.link.drive(Instant::now()).ok();
    }

    /// Whether tracees may have something to report that the poll loop was not told of.
    pub fn take_child_came(&mut self) -> bool {
        std::mem::take(&mut self.child_came)
    }

    /// Whether contents or pages wait for the link to drain: then `drive` must be called again soon.
    pub fn has_backlog(&self) -> bool {
        !self.sending.is_empty() || self.copies_wait()
    }

    fn tell(&mut self, key: ProcessKey, message: &ToBody) {
        // A link that fails says so at the next drive, where everything of it ends.
        self.link.send(session::process_channel(key), message::encode(message)).ok();
    }

    /// Ends a body that `pid` needs no more.
    fn let_go(&mut self, key: ProcessKey, pid: Tid, cpu_from: Option<Cpu>) {
        if let Some(from) = cpu_from {
            self.shared.cpu.borrow_mut().expect(key, pid, from);
        }
        self.tell(key, &ToBody::Release);
    }

    fn on_from_body(&mut self, key: ProcessKey, message: FromBody) -> Result<(), String> {
        if let FromBody::Ended { status, cpu_s, away_ns: (user_ns, system_ns) } = message {
            self.counts.remote_cpu_s += cpu_s;
            let away = Cpu { user_ns, system_ns };
            match self.processes.get_mut(&key) {
                Some(process) => {
                    if let Some(from) = process.cpu_from.take() {
                        self.shared.cpu.borrow_mut().report(process.pid, from, away);
                    }
                }
                None => {
                    let counted = self.shared.cpu.borrow_mut().late(key, away);
                    self.actions.extend(counted.map(Action::Counted));
                }
            }
            // After the count: the parent may wait for the deputy as soon as it has ended.
            self.on_body_ended(key, status);
            return Ok(());
        }
        if !self.processes.contains_key(&key) {
            match message {
                FromBody::Prepared => self.on_prepared(key),
                FromBody::Refused(why) => self.on_copy_refused(key, &why),
                _ => {}
            }
            return Ok(());
        }
        match message {
            FromBody::Built => self.on_built(key),
            FromBody::Refused(why) => self.on_refused(key, &why),
            FromBody::GoHome(reason) => {
                *self.counts.gone_home.entry(reason.clone()).or_default() += 1;
                self.bring_key(key, reason.clone(), Some(reason));
            }
            FromBody::Leave(reason) => {
                self.bring_key(key, reason, None);
            }
            FromBody::Usage { cpu_ns, memory_kib } => {
                if let Some(process) = self.processes.get_mut(&key) {
                    process.told = Told { cpu_ns, memory_kib };
                }
            }
            FromBody::CannotBring(why) => self.on_cannot_bring(key, &why),
            FromBody::Image(image) => self.on_image(key, &image),
            FromBody::Pages { start, bytes } => self.on_pages(key, start, &bytes),
            FromBody::PagesEnd => self.on_pages_end(key),
            FromBody::StopDefault(signal) => self.on_stop_default(key, signal),
            FromBody::Interrupt(thread) => {
                if let Some(tid) = self.keys.get(&thread).copied() {
                    self.interrupt_call(tid);
                }
            }
            FromBody::Ended { .. } | FromBody::Prepared => {}
        }
        Ok(())
    }

    /// A report about a thread of ours. `early` holds new children that have reported their first stop already.
    pub fn on_event(&mut self, tid: Tid, event: Event, time: CpuTime, early: &mut HashSet<Tid>) {
        match event {
            Event::Stopped(stop) => self.on_stop(tid, stop, early),
            Event::Exited(_) | Event::Killed { .. } => self.on_thread_end(tid, event, time),
        }
    }

    fn on_thread_end(&mut self, tid: Tid, event: Event, time: CpuTime) {
        self.nearness.end();
        let Some(deputy) = self.threads.remove(&tid) else { return };
        self.keys.remove(&deputy.key);
        self.link.finish(session::thread_channel(deputy.key));
        let Some(process) = self.processes.get_mut(&deputy.process) else { return };
        process.threads.retain(|thread| *thread != tid);
        process.area.leave(&deputy);
        if process.pid != tid {
            self.actions.push_back(Action::ThreadEnded(tid, event));
            return;
        }
        let (key, from) = (process.key, process.cpu_from);
        self.shared.cpu.borrow_mut().left(tid, process.forwarded.get(), process.told.cpu_ns);
        self.processes.remove(&key);
        self.pids.remove(&tid);
        self.let_go(key, tid, from);
        self.actions.push_back(Action::Ended { pid: tid, event, time });
    }

    /// The node or the link is gone. Returns the processes that were there and must end, each with what its user is
    /// told by way of its own standard error, so before it is killed.
    pub fn lose(&mut self, why: &str) -> Vec<(Tid, String)> {
        let was_there = |process: &&Process| !matches!(process.phase, Phase::Leaving(_));
        let lost = self.processes.values().filter(was_there).map(|process| {
            let pid = process.pid;
            (pid, format!("node {} is lost ({why}): process {pid} was there and is killed", self.name))
        });
        let lost = lost.collect();
        self.stop_copies(why);
        let leaving: Vec<_> = self.processes.values().map(|process| process.key).collect();
        for key in leaving {
            self.on_refused(key, why);
        }
        lost
    }

    fn on_stop(&mut self, tid: Tid, stop: Stop, early: &mut HashSet<Tid>) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let stopped = match std::mem::replace(&mut deputy.state, State::Busy) {
            State::Running(running) => running.stopped(),
            other => {
                deputy.state = other;
                return;
            }
        };
        self.on_deputy_stop(tid, stopped, stop, early);
    }
}
