//! Deputies: what is kept of each, and what their stops mean.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use tracee::area::{Area, Posted};
use tracee::clock::Cpu;
use tracee::errno::restart;
use tracee::foothold::Foothold;
use tracee::image::Image;
use tracee::inject::Injector;
use tracee::ptrace::{Resume, Running, Stopped};
use tracee::{Event, Stop, Tid, signal, wait};
use wire::message;
use wire::session::{self, Buf, Dispositions, Down, Outcome, ProcessKey, ThreadKey, ToBody};

use super::{Action, Away};
use crate::procfs;
use crate::trace::Served;

/// A process that is away or on its way.
pub struct Process {
    pub(super) key: ProcessKey,
    pub(super) pid: Tid,
    pub(super) phase: Phase,
    /// Leader first.
    pub(super) threads: Vec<Tid>,
    pub(super) foothold: Foothold,
    pub(super) area: SharedArea,
    /// Where the area is in the deputy.
    pub(super) area_base: u64,
    pub(super) vdso: Option<(u64, u64)>,
    /// Device and inode of the files that its body maps as content.
    pub(super) mapped: HashSet<(u64, u64)>,
    pub(super) dispositions: Dispositions,
    /// Stopped by job control; the node knows.
    pub(super) frozen: bool,
    /// The body was ended by home or has ended.
    pub(super) released: bool,
    /// How the body has ended, while every deputy of the process is still in a call.
    pub(super) end: Option<i32>,
    /// A move home was given up; what the node had sent of it may still arrive until it says so.
    pub(super) giving_up: bool,
    /// CPU time that it had used away before its body, which will report it together with its own; `None` after that.
    pub(super) cpu_from: Option<Cpu>,
    /// What its body has told last.
    pub(super) told: Told,
    /// Calls made for it since it left.
    pub(super) forwarded: Cell<u64>,
    /// Its calls are traced.
    pub(super) traced: bool,
}

/// See [`wire::session::FromBody::Usage`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) cpu_ns: u64,
    pub(super) memory_kib: u64,
}

/// Where a process is between home and node.
pub(super) enum Phase {
    /// Captured and sent; frozen at home until the node has built it.
    Leaving(Box<Leaving>),
    /// The body computes.
    Away,
    /// Home has asked for it: since when, why, and whether it must stay.
    Coming(Coming),
    /// Its image is arriving.
    Refilling(Box<Refill>),
}

pub(super) struct Leaving {
    pub(super) threads: Vec<Stopped>,
    pub(super) image: Image,
    pub(super) since: Instant,
    pub(super) frozen_at: Instant,
    pub(super) reason: String,
    pub(super) bytes: u64,
    /// Watches the process's writes as long as it has its mappings.
    pub(super) _copied: Option<super::precopy::Prepared>,
}

#[derive(Clone)]
pub(super) struct Coming {
    pub(super) since: Instant,
    pub(super) reason: String,
    pub(super) stay: Option<String>,
}

pub(super) struct Refill {
    pub(super) coming: Coming,
    pub(super) image: Image,
    pub(super) leader: Option<Injector>,
    pub(super) others: Vec<Stopped>,
    pub(super) bytes: u64,
    /// Signals that came while the threads were being stopped.
    pub(super) signals: Vec<Arrived>,
}

/// A signal as raw siginfo, and the thread that it came by.
pub(super) type Arrived = (Tid, Vec<u8>);

/// Whether a signal is for the thread that it came by and not for its process.
pub(super) fn is_directed(pid: Tid, several_threads: bool, info: &[u8]) -> bool {
    let word =
        |at: usize| info.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, i32::from_le_bytes);
    match word(8) {
        SI_TKILL => true,
        SI_TIMER => several_threads && procfs::timer_of_thread(pid, word(16)),
        _ => false,
    }
}

/// A call area and its free slots, shared by a deputy and its forks.
#[derive(Clone)]
pub(super) struct SharedArea(Option<Rc<RefCell<Slots>>>);

struct Slots {
    area: Area,
    free: Vec<u64>,
    next: u64,
}

impl SharedArea {
    pub(super) fn new(area: Area) -> SharedArea {
        SharedArea(Some(Rc::new(RefCell::new(Slots { area, free: Vec::new(), next: 0 }))))
    }

    /// None yet: the process is whole.
    pub(super) fn none() -> SharedArea {
        SharedArea(None)
    }

    /// Bytes that are mapped on both sides.
    pub(super) fn bytes(&self) -> u64 {
        self.with(|area| shim::area::bytes(area.slots())).unwrap_or(0)
    }

    /// A slot whose window is mapped on both sides, or `None` when all are taken.
    pub(super) fn take(&self) -> Option<u64> {
        let mut slots = self.0.as_ref()?.borrow_mut();
        if let Some(slot) = slots.free.pop() {
            return Some(slot);
        }
        if slots.next >= slots.area.slots() {
            return None;
        }
        slots.next += 1;
        Some(slots.next - 1)
    }

    pub(super) fn free(&self, slot: u64) {
        let Some(slots) = &self.0 else { return };
        let mut slots = slots.borrow_mut();
        // A thread that had not entered the loop yet has none.
        if slot >= slots.next {
            return;
        }
        slots.area.clear(slot);
        slots.area.trim_window(slot, 0);
        slots.free.push(slot);
    }

    /// Frees what a deputy has that is no more.
    pub(super) fn leave(&self, deputy: &Deputy) {
        self.free(deputy.slot);
        if let Some(Serving { what: What::Fork { slot: Some(unused), .. }, .. }) = deputy.serving {
            self.free(unused);
        }
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&Area) -> R) -> Option<R> {
        self.0.as_ref().map(|slots| act(&slots.borrow().area))
    }
}

/// A thread of a deputy.
pub struct Deputy {
    pub(super) key: ThreadKey,
    pub(super) process: ProcessKey,
    pub(super) slot: u64,
    pub(super) state: State,
    pub(super) serving: Option<Serving>,
    /// Signals shipped so far.
    pub(super) signals: u64,
    /// Those that the node may not have seen.
    pub(super) unseen: VecDeque<Shipped>,
    /// A signal that must act on the deputy itself.
    pub(super) pass: Option<i32>,
    /// Keys of the child that the fork in progress made.
    pub(super) child: Option<(Tid, ProcessKey, ThreadKey)>,
    /// The mask it has between calls.
    pub(super) mask: u64,
    /// What is pending in the body of a process that execs.
    pub(super) exec_pending: Vec<ByteBuf>,
    /// Its body has ended; it is on its way out itself.
    pub(super) ending: bool,
    /// What its last requests have cost, by their numbers, if it is traced.
    pub(super) served: VecDeque<(u64, Served)>,
}

/// A signal on its way to a body.
pub(super) struct Shipped {
    number: u64,
    /// For the thread rather than its process.
    pub(super) directed: bool,
    pub(super) info: Vec<u8>,
}

pub(super) enum State {
    Running(Running),
    Busy,
}

/// A call that the deputy executes.
pub(super) struct Serving {
    pub(super) seq: u64,
    pub(super) what: What,
    /// Offset of each buffer in the window.
    pub(super) places: Vec<u64>,
    pub(super) bufs: Vec<Buf>,
    pub(super) nr: u32,
    pub(super) args: [u64; 6],
    pub(super) mask: Option<u64>,
    pub(super) since: Instant,
    /// A move has interrupted it.
    pub(super) moving: bool,
    /// When a wait of a socket is over that an earlier request for this call began.
    pub(super) until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Call,
    Fork {
        thread: bool,
        /// Set aside for the child until it is there.
        slot: Option<u64>,
    },
    Exec,
    /// Nobody waits for the answer.
    Quiet,
}

/// How long the supervisor looks for an answer before it goes back to its poll loop, where one costs a trap. On one
/// core the deputy runs as soon as it may and answers in 1–2 µs.
const QUICK_WAIT: Duration = Duration::from_micros(15);
/// On one core the first of these lets the deputy run.
const YIELDS: u32 = 2;
/// For a call that does not block, of the only deputy: the supervisor has nobody else to serve. A timer that is due
/// before the next tick would cost more than the call: arming and disarming it took 9 µs each.
const PROMPT_WAIT: Duration = Duration::from_millis(20);

impl Process {
    /// Signals that need not reach the body: a deputy keeps them blocked, since under ptrace even an ignored signal
    /// disturbs a call.
    pub(super) fn idle_mask(&self) -> u64 {
        let Dispositions { ignored, caught, waited, .. } = self.dispositions;
        (ignored | signal::IGNORED_BY_DEFAULT & !caught) & !waited
    }
}

impl Away {
    /// Puts a call into a deputy's slot. Does not wait.
    pub(super) fn post(&mut self, tid: Tid, nr: u32, args: [u64; 6], mask: Option<u64>) {
        let Some(deputy) = self.threads.get(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        let idle = process.idle_mask();
        self.post_exact(tid, nr, args, mask.unwrap_or(0) | idle);
    }

    /// As [`Away::post`], with exactly this mask during the call.
    pub(super) fn post_exact(&mut self, tid: Tid, nr: u32, args: [u64; 6], serve: u64) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        let idle_mask = process.idle_mask();
        let switch = serve != deputy.mask || idle_mask != deputy.mask;
        deputy.mask = idle_mask;
        let posted = Posted { nr: u64::from(nr), args, serve_mask: switch.then_some(serve), idle_mask };
        process.area.with(|area| area.post(deputy.slot, &posted));
    }

    /// Waits a little for the deputy; if it takes longer, its answer will come by a trap.
    pub(super) fn await_briefly(&mut self, tid: Tid, may_block: bool) -> bool {
        let Some(deputy) = self.threads.get(&tid) else { return false };
        let Some(process) = self.processes.get(&deputy.process) else { return false };
        let slot = deputy.slot;
        let patient = !may_block && self.serves_one();
        let mut child_came = false;
        let look = |area: &Area| {
            let mut yields = 0;
            let mut until = None;
            loop {
                let seen = area.bell();
                if area.state(slot) == shim::slot::DONE {
                    return true;
                }
                yields += 1;
                if yields <= YIELDS {
                    rustix::thread::sched_yield();
                    continue;
                }
                let now = Instant::now();
                let until = *until.get_or_insert(now + if patient { PROMPT_WAIT } else { QUICK_WAIT });
                if now >= until {
                    return area.want_trap(slot);
                }
                if patient {
                    child_came = area.wait_bell(seen, until - now);
                    if child_came {
                        // Perhaps a signal of the deputy's, without which it goes no further.
                        return area.want_trap(slot);
                    }
                } else {
                    rustix::thread::sched_yield();
                }
            }
        };
        let done = process.area.with(look).unwrap_or(false);
        self.child_came |= child_came;
        done
    }

    pub(super) fn on_deputy_stop(
        &mut self,
        tid: Tid,
        stopped: Stopped,
        stop: Stop,
        early: &mut HashSet<Tid>,
    ) {
        match stop {
            Stop::Signal(libc_signal::SIGTRAP) if self.at_trap(tid, &stopped) => {
                self.resume(tid, stopped, 0);
                self.finish_call(tid);
            }
            Stop::Signal(number) => self.on_deputy_signal(tid, stopped, number),
            Stop::Group(_) => {
                self.freeze(tid, true);
                let running = stopped.listen().unwrap_or_else(|_| Running::attached(tid));
                self.set_state(tid, State::Running(running));
            }
            Stop::Interrupt => {
                self.freeze(tid, false);
                self.interrupt_in_call(tid, &stopped);
                self.resume(tid, stopped, 0);
            }
            Stop::Fork | Stop::Vfork | Stop::Clone => self.on_deputy_fork(tid, stopped, early),
            Stop::Exec => self.on_deputy_exec(tid, stopped),
            _ => self.resume(tid, stopped, 0),
        }
    }

    pub(super) fn set_state(&mut self, tid: Tid, state: State) {
        if let Some(deputy) = self.threads.get_mut(&tid) {
            deputy.state = state;
        }
    }

    pub(super) fn resume(&mut self, tid: Tid, stopped: Stopped, signal: i32) {
        let running = stopped.resume(Resume::Cont, signal).unwrap_or_else(|_| Running::attached(tid));
        self.set_state(tid, State::Running(running));
    }

    fn at_trap(&self, tid: Tid, stopped: &Stopped) -> bool {
        let trap = self
            .threads
            .get(&tid)
            .and_then(|deputy| self.processes.get(&deputy.process))
            .map(|process| process.foothold.entry(shim::entry::TRAP) + 1);
        stopped.regs().is_ok_and(|regs| Some(regs.rip) == trap)
    }

    /// A stop came while a call may be in progress. If the kernel interrupted it, or it was not made yet, the shim
    /// shall say so instead of making it again.
    fn interrupt_in_call(&mut self, tid: Tid, stopped: &Stopped) {
        let Some(deputy) = self.threads.get(&tid) else { return };
        let Some(process) = self.processes.get(&deputy.process) else { return };
        if deputy.serving.as_ref().is_none_or(|serving| serving.mask.is_none()) {
            // Between calls, or on its way out, which nothing may stop; or in a call that does not wait. To withdraw
            // that would get nowhere when signals come faster than it can be made again.
            return;
        }
        let Ok(mut regs) = stopped.regs() else { return };
        let at = |offset| process.foothold.entry(offset);
        let posted = process.area.with(|area| area.state(deputy.slot)) == Some(shim::slot::POSTED);
        if regs.rip == at(shim::entry::MADE) {
            // Only a call that was just interrupted has its number still in orig_rax.
            let interrupted = restart::is_code(regs.ret()) || regs.ret() == -4;
            if regs.call().is_some() && interrupted {
                regs.orig_rax = u64::MAX;
                stopped.set_regs(&regs).ok();
            }
        } else if posted
            && ((at(shim::entry::LOOP)..=at(shim::entry::CALL)).contains(&regs.rip)
                || (at(shim::entry::DONE)..=at(shim::entry::TRAP) + 1).contains(&regs.rip))
        {
            regs.rip = at(shim::entry::MADE);
            regs.orig_rax = u64::MAX;
            regs.rax = shim::NOT_MADE as u64;
            stopped.set_regs(&regs).ok();
        }
    }

    /// A signal for the deputy: it is the body's.
    fn on_deputy_signal(&mut self, tid: Tid, stopped: Stopped, number: i32) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        if number == libc_signal::SIGSTOP || deputy.pass == Some(number) {
            deputy.pass = None;
            return self.resume(tid, stopped, number);
        }
        let info = stopped.siginfo().map(|info| info.0.to_vec()).unwrap_or_default();
        self.interrupt_in_call(tid, &stopped);
        self.ship(tid, info);
        self.resume(tid, stopped, 0);
    }

    /// Sends a signal on to the body.
    pub(super) fn ship(&mut self, tid: Tid, info: Vec<u8>) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        deputy.signals += 1;
        let process = self.processes.get(&deputy.process);
        let directed =
            process.is_some_and(|process| is_directed(process.pid, process.threads.len() > 1, &info));
        let number = deputy.signals;
        deputy.unseen.push_back(Shipped { number, directed, info: info.clone() });
        let message = Down::Signal { number, thread: directed, info: info.into() };
        let key = deputy.key;
        self.link.send(session::thread_channel(key), message::encode(&message)).ok();
    }

    /// Interrupts a deputy's call for a signal that another thread got.
    pub(super) fn interrupt_call(&mut self, tid: Tid) {
        if let Some(Deputy { state: State::Running(running), serving: Some(_), .. }) = self.threads.get(&tid)
        {
            running.interrupt().ok();
        }
    }

    fn freeze(&mut self, tid: Tid, frozen: bool) {
        let Some(deputy) = self.threads.get(&tid) else { return };
        let Some(process) = self.processes.get_mut(&deputy.process) else { return };
        if process.frozen != frozen {
            process.frozen = frozen;
            let key = process.key;
            self.tell(key, if frozen { &ToBody::Freeze } else { &ToBody::Thaw });
        }
    }

    /// A stop signal found no handler at the body: let it act on the deputy, natively. Where it does not stop (an
    /// orphaned process group), the body goes on.
    pub(super) fn on_stop_default(&mut self, key: ProcessKey, number: i32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.frozen = true;
        let pid = process.pid;
        let Some(leader) = process.threads.first().copied() else { return };
        let Some(deputy) = self.threads.get_mut(&leader) else { return };
        deputy.pass = Some(number);
        signal::kill_thread(pid, leader, number).ok();
        // The interrupt comes after the signal: as a group-stop if it stopped, as a plain stop if not.
        if let State::Running(running) = &deputy.state {
            running.interrupt().ok();
        }
    }

    fn on_deputy_fork(&mut self, tid: Tid, stopped: Stopped, early: &mut HashSet<Tid>) {
        let child = stopped.event_message().unwrap_or(0) as Tid;
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let (parent_key, mask) = (deputy.process, deputy.mask);
        let (thread, slot) = match &mut deputy.serving {
            Some(Serving { what: What::Fork { thread, slot }, .. }) => (*thread, slot.take()),
            _ => (false, None),
        };
        let arrived = early.remove(&child) || matches!(wait::block(child), Ok((_, Event::Stopped(_), _)));
        if !arrived {
            // It was killed before its first stop; the maker still gets its pid.
            return self.resume(tid, stopped, 0);
        }
        let first = Running::attached(child).stopped();
        let thread_key = ThreadKey(self.shared.key());
        let process_key = if thread { parent_key } else { ProcessKey(self.shared.key()) };
        let Some(process) = self.processes.get_mut(&parent_key) else { return };
        let Some(slot) = slot else {
            // A deputy makes no child unasked.
            drop(first.resume(Resume::Cont, libc_signal::SIGKILL));
            signal::kill(child, libc_signal::SIGKILL).ok();
            return self.resume(tid, stopped, 0);
        };
        let (foothold, area_base) = (process.foothold, process.area_base);
        if thread {
            process.threads.push(child);
            self.actions.push_back(Action::Born { tid: child, pid: process.pid });
        } else {
            let process = Process {
                key: process_key,
                pid: child,
                phase: Phase::Away,
                threads: vec![child],
                foothold,
                area: process.area.clone(),
                area_base,
                vdso: process.vdso,
                mapped: process.mapped.clone(),
                dispositions: process.dispositions,
                frozen: false,
                released: false,
                end: None,
                giving_up: false,
                cpu_from: Some(Cpu::default()),
                told: Told::default(),
                forwarded: Cell::new(0),
                traced: process.traced,
            };
            let parent = self.processes.get(&parent_key).map_or(0, |parent| parent.pid);
            self.processes.insert(process_key, process);
            self.pids.insert(child, process_key);
            self.shared.born(child);
            self.actions.push_back(Action::Forked { parent, child });
        }
        if let Ok(mut regs) = first.regs() {
            regs.rip = foothold.entry(shim::entry::LOOP);
            regs.rbx = area_base + shim::area::slot(slot);
            regs.r12 = area_base + shim::area::BELL;
            regs.orig_rax = u64::MAX;
            first.set_regs(&regs).ok();
        }
        // It was made under the mask of the call, and waits under the one that its maker has between calls.
        first.set_sigmask(mask).ok();
        let mut made = Deputy::new(thread_key, process_key, slot);
        made.mask = mask;
        self.threads.insert(child, made);
        self.keys.insert(thread_key, child);
        self.resume(child, first, 0);
        if let Some(deputy) = self.threads.get_mut(&tid) {
            deputy.child = Some((child, process_key, thread_key));
        }
        self.resume(tid, stopped, 0);
    }

    fn on_deputy_exec(&mut self, tid: Tid, stopped: Stopped) {
        // An exec by another thread than the leader takes the leader's tid.
        let former = stopped.event_message().unwrap_or(tid as u64) as Tid;
        let Some(key) = self.pids.get(&tid).copied() else { return };
        let mut pending =
            self.threads.get(&former).map(|deputy| deputy.exec_pending.clone()).unwrap_or_default();
        let Some(process) = self.processes.remove(&key) else { return };
        self.shared.cpu.borrow_mut().left(tid, process.forwarded.get(), process.told.cpu_ns);
        for thread in &process.threads {
            // Those for a thread that is gone are gone with it.
            let unseen = self.threads.get_mut(thread).map(|deputy| std::mem::take(&mut deputy.unseen));
            let unseen = unseen.into_iter().flatten().filter(|signal| !signal.directed || *thread == former);
            pending.extend(unseen.map(|signal| ByteBuf::from(signal.info)));
        }
        self.pids.remove(&tid);
        for thread in &process.threads {
            if let Some(deputy) = self.threads.remove(thread) {
                self.keys.remove(&deputy.key);
                process.area.leave(&deputy);
            }
        }
        self.threads.remove(&tid);
        match super::out::settle_exec(stopped, pending) {
            Ok(thread) => {
                // Until the fresh image is sent, or stays.
                self.replaced.insert(tid, (key, process.cpu_from));
                self.actions.push_back(Action::Execed { pid: tid, thread });
            }
            Err((event, time)) => {
                self.let_go(key, tid, process.cpu_from);
                self.actions.push_back(Action::Ended { pid: tid, event, time });
            }
        }
    }

    /// The body has ended: so does the deputy.
    pub(super) fn on_body_ended(&mut self, key: ProcessKey, status: i32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.released || !matches!(process.phase, Phase::Away | Phase::Coming(_)) {
            return;
        }
        process.released = true;
        let pid = process.pid;
        let number = status & 0x7f;
        if number == libc_signal::SIGKILL {
            signal::kill(pid, number).ok();
            return;
        }
        let threads = process.threads.clone();
        let idle = |tid: &&Tid| {
            self.threads.get(tid).is_some_and(|deputy| deputy.serving.is_none() && !deputy.ending)
        };
        if let Some(tid) = threads.iter().find(idle) {
            return self.end_as_body(*tid, status);
        }
        // All are in calls of a process that is gone, as when a thread calls exit_group while the first one waits: the
        // first whose call is over ends the process.
        if let Some(process) = self.processes.get_mut(&key) {
            process.end = Some(status);
        }
        for tid in threads {
            self.interrupt_call(tid);
        }
    }

    /// Makes a deputy between calls end its process as the body has ended.
    pub(super) fn end_as_body(&mut self, tid: Tid, status: i32) {
        let number = status & 0x7f;
        if number == 0 {
            return self.post(tid, EXIT_GROUP, [(status >> 8) as u64 & 0xff, 0, 0, 0, 0, 0], None);
        }
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let Some(pid) = self.processes.get(&deputy.process).map(|process| process.pid) else { return };
        deputy.pass = Some(number);
        signal::kill_thread(pid, tid, number).ok();
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, tid: Tid, seq: u64, outcome: Outcome, outs: Vec<(u16, u32, ByteBuf)>) {
        let Some(deputy) = self.threads.get(&tid) else { return };
        let message = message::encode(&Down::Reply { seq, outcome, outs });
        let (channel, bytes) = (session::thread_channel(deputy.key), message.len());
        self.link.send(channel, message).ok();
        self.count(tid, seq, bytes, None);
    }
}

impl Deputy {
    /// The node has seen the signals up to this number.
    pub(super) fn seen(&mut self, number: u64) {
        while self.unseen.front().is_some_and(|signal| signal.number <= number) {
            self.unseen.pop_front();
        }
    }

    pub(super) fn new(key: ThreadKey, process: ProcessKey, slot: u64) -> Deputy {
        Deputy {
            key,
            process,
            slot,
            state: State::Busy,
            serving: None,
            signals: 0,
            unseen: VecDeque::new(),
            pass: None,
            child: None,
            mask: 0,
            exec_pending: Vec::new(),
            ending: false,
            served: VecDeque::new(),
        }
    }
}

const EXIT_GROUP: u32 = 231;
const SI_TKILL: i32 = -6;
const SI_TIMER: i32 = -2;

/// Signal numbers that deputies care about.
pub(super) mod libc_signal {
    pub(crate) const SIGTRAP: i32 = 5;
    pub(crate) const SIGKILL: i32 = 9;
    pub(crate) const SIGSTOP: i32 = 19;
}
