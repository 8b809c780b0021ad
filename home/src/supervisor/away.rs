//! Processes whose computation is elsewhere: when they go, when they come back, and who is told.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracee::image::Unfinished;
use tracee::{Event, Running, Stopped, Tid};

use super::held::Holding;
use super::nodes::{NodeIndex, Nodes};
use super::orders::Orders;
use super::{Next, Supervisor, Timer};
use crate::away::{Action, Move, NotSent, Shared, settle_exec};
use crate::control::Reply;
use crate::process::{INIT, INIT_STAYS, Place, Process, SIGNALFD_STAYS, StayReason, ThreadState};
use crate::procfs;
use crate::trace::event::Moved;

/// A process that came home for a call is looked at again after this long, then after twice as long, and so on.
const REVISIT_FIRST: Duration = Duration::from_millis(10);
const REVISIT_LAST: Duration = Duration::from_secs(2);
/// Interrupted calls of threads.
pub(super) type Calls = HashMap<Tid, Unfinished>;

/// What the supervisor keeps of processes that are not at home.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// The sessions with nodes.
    pub(super) nodes: Nodes,
    pub(super) shared: Shared,
    /// The node of the command line, where every process goes at its exec.
    pub(super) default: Option<NodeIndex>,
    /// Moves that somebody has asked for.
    pub(super) orders: Orders,
    /// Processes that are stopped until it is known where they go.
    pub(super) held: Holding,
    /// New children of deputies that stopped before their maker's event.
    early: HashSet<Tid>,
    /// Bytes of home's [vdso], once asked for.
    vdso_bytes: std::cell::OnceCell<u64>,
}

const SIGTRAP: i32 = rustix::process::Signal::TRAP.as_raw();

/// Why a process cannot leave, as far as it shows from outside without stopping it.
fn stay_reason(pid: Tid) -> Option<String> {
    if pid == INIT {
        return Some(INIT_STAYS.into());
    }
    if procfs::stat(pid).is_some_and(|stat| stat.state == 'Z') {
        return Some("its first thread has ended".into());
    }
    if let Some(path) = procfs::open_view(pid) {
        return Some(format!("{path} is open"));
    }
    if procfs::has_signalfd(pid) {
        return Some(SIGNALFD_STAYS.into());
    }
    if procfs::has_cpu_timer(pid) {
        return Some("it has a timer on CPU time".into());
    }
    if tracee::capture::signal_sets(pid).is_ok_and(|sets| sets.ignored & tracee::signal::bit(SIGTRAP) != 0) {
        return Some("it ignores SIGTRAP, which a move could not keep".into());
    }
    // The flags are dear, and few processes share anything.
    let shares = tracee::maps::read(pid).ok()?.iter().any(|mapping| mapping.shared);
    let mappings = if shares { tracee::maps::read_with_flags(pid).ok()? } else { Vec::new() };
    let shared = mappings.iter().find(|mapping| mapping.shared && !mapping.is_view())?;
    let name =
        if shared.inode == 0 { "anonymous memory".into() } else { String::from_utf8_lossy(&shared.path) };
    Some(format!("shared mapping of {name}"))
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Whether the away side takes this report. New children of deputies are kept until their maker's event.
    pub(super) fn away_report(&mut self, tid: Tid, event: Event) -> bool {
        let Elsewhere { nodes, early, .. } = &mut self.elsewhere;
        if let Some(away) = nodes.owner(tid).and_then(|index| nodes.get(index)) {
            away.on_event(tid, event, Default::default(), early);
            let ended = !matches!(event, Event::Stopped(_));
            self.away_actions();
            // The table has the leader's entry.
            return !ended;
        }
        if matches!(event, Event::Stopped(_)) && !self.table.threads.contains_key(&tid) && !nodes.is_empty() {
            let maker = procfs::process_of(tid).filter(|pid| *pid != tid);
            let maker = maker.or_else(|| procfs::stat(tid).map(|stat| stat.ppid));
            if maker.is_some_and(|maker| nodes.holder(maker).is_some()) {
                early.insert(tid);
                return true;
            }
        }
        false
    }

    /// Bytes of home's [vdso].
    pub(super) fn vdso_bytes(&self) -> u64 {
        let look = || tracee::machine::Machine::look().vdso.code.len() as u64;
        *self.elsewhere.vdso_bytes.get_or_init(look)
    }

    pub(super) fn away_actions(&mut self) {
        while let Some((node, action)) = self.elsewhere.nodes.action() {
            self.away_action(node, action);
        }
    }

    fn away_action(&mut self, node: NodeIndex, action: Action) {
        match action {
            Action::Forked { parent, child } => {
                let stay = self.table.processes.get(&parent).and_then(|process| process.stay.clone());
                self.table.add_process(child, parent, stay, ThreadState::Away);
                self.set_node(child, node);
                self.traces.born(child, child, parent);
            }
            Action::Copied { pid, reason } => self.copied(pid, node, &reason),
            Action::CameHome { pid, threads, stay, unfinished } => {
                self.came_home(pid, threads, stay, &unfinished)
            }
            Action::Execed { pid, thread } => {
                self.table.keep_only_leader(pid);
                self.traces.executed_away(pid);
                let thread = self.let_unmanaged_go(pid, thread);
                if let Some(thread) = thread.and_then(|thread| self.ask_daemon(thread, Some(node))) {
                    self.send_fresh(pid, thread, node);
                }
            }
            Action::Ended { pid, event, .. } => {
                self.before_reaping(pid, event);
                self.reaped(pid);
            }
            Action::Moved(report) => self.moved(node, report),
            Action::Born { tid, pid } => self.traces.born(tid, pid, pid),
            Action::ThreadEnded(tid, event) => self.traces.ended(tid, event),
            Action::Traced(tid, traced, served) => self.traces.away(tid, traced, served),
            Action::Counted(pid) => self.counted(pid),
            Action::Say(line) => self.console.say(self.first, format_args!("{line}")),
        }
    }

    fn set_node(&mut self, pid: Tid, node: NodeIndex) {
        self.set_place(pid, Place::Node(self.elsewhere.nodes.name(node)));
    }

    pub(super) fn set_place(&mut self, pid: Tid, place: Place) {
        if let Some(process) = self.table.processes.get_mut(&pid)
            && process.place != place
        {
            process.place = place;
            process.since = Instant::now();
        }
    }

    fn moved(&mut self, node: NodeIndex, report: Move) {
        let (before, report) = self.elsewhere.orders.leg(report);
        if let Some(before) = before {
            self.record(before);
        }
        let Some(report) = report else { return };
        let pid = report.pid;
        if report.failed.is_none() && report.to != "home" {
            self.set_node(pid, node);
            self.tell_place(pid, None);
        }
        let reply = match &report.failed {
            None => Reply::Done,
            Some(why) => Reply::Failed(format!("not possible: {why}")),
        };
        self.record(report);
        let stays = |process: &Process| matches!(process.stay, Some(StayReason::Because(_)));
        if reply != Reply::Done && self.table.processes.get(&pid).is_some_and(stays) {
            self.revisit_later(pid, REVISIT_FIRST);
        }
        self.answer_waiting(pid, &reply);
    }

    /// Takes a move into the report and the trace.
    pub(super) fn record(&mut self, report: Move) {
        if !self.traces.is_empty() {
            self.traces.moved(report.pid, Moved::from(&report));
        }
        let Move { pid, from, to, reason, freeze_ms, total_ms, bytes, failed } = report;
        if let Some(why) = failed {
            self.console.verbose(format_args!("process {pid} stays at {from}: {why}"));
            return;
        }
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.moves = process.moves.saturating_add(1);
        }
        self.stats.moves.push(crate::stats::Move { pid, from, to, reason, freeze_ms, total_ms, bytes });
    }

    fn came_home(&mut self, pid: Tid, threads: Vec<Stopped>, stay: Option<String>, unfinished: &Calls) {
        let was_away = self.table.processes.get(&pid).is_some_and(|process| process.place != Place::Home);
        self.set_place(pid, Place::Home);
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.stay = stay.clone().map(StayReason::Because);
        }
        if stay.is_some() {
            self.revisit_later(pid, REVISIT_FIRST);
        }
        for tid in threads.iter().map(Stopped::tid).filter(|tid| *tid != pid) {
            self.table.add_thread(tid, pid, ThreadState::Dead);
        }
        if let Some((to, reason)) = self.elsewhere.orders.onward(pid) {
            let sent = match self.elsewhere.nodes.get(to) {
                Some(away) => away.send_out(pid, (threads, Instant::now()), false, &reason, unfinished),
                None => Err(NotSent::Stay(threads, "the node is lost".into())),
            };
            if let Err(why) = self.sent(pid, sent, unfinished) {
                self.not_onward(pid, &why);
            }
            return;
        }
        if was_away {
            self.tell_place(pid, None);
        }
        for stopped in threads {
            self.go_on_at_home(stopped, unfinished);
        }
    }

    /// Lets a thread go on here that was elsewhere or about to go.
    pub(super) fn go_on_at_home(&mut self, stopped: Stopped, unfinished: &Calls) {
        if let Some(call) = unfinished.get(&stopped.tid()) {
            self.take_up(&stopped, call);
        }
        self.resume(stopped, 0);
    }

    fn revisit_later(&mut self, pid: Tid, after: Duration) {
        let Some(serial) = self.table.processes.get(&pid).map(|process| process.serial) else { return };
        self.timers.set(Instant::now() + after, Timer::Revisit { pid, serial, after });
    }

    /// A process that stays at home for a reason: is the reason gone?
    pub(super) fn revisit(&mut self, pid: Tid, serial: u64, after: Duration) {
        let Some(process) = self.table.processes.get(&pid) else { return };
        let due = process.serial == serial
            && process.place == Place::Home
            && matches!(process.stay, Some(StayReason::Because(_)));
        if !due || self.elsewhere.default.is_none() && !self.is_directed() {
            return;
        }
        let again = (after * 2).min(REVISIT_LAST);
        if let Some(why) = stay_reason(pid) {
            self.stay(pid, why);
            return self.revisit_later(pid, again);
        }
        let Some(node) = self.elsewhere.default else {
            // The daemon learns that it is free.
            if let Some(process) = self.table.processes.get_mut(&pid) {
                process.stay = None;
            }
            return;
        };
        if let Err(why) = self.send_running(pid, node, "the stay reason is gone") {
            self.stay(pid, why);
            self.revisit_later(pid, again);
        }
    }

    /// A process at home that cannot leave as the daemon would have it: until the reason is gone that need not try again.
    pub(super) fn stay_if_directed(&mut self, pid: Tid, why: &str) {
        if self.is_directed() {
            self.stay(pid, why.into());
            self.revisit_later(pid, REVISIT_FIRST);
        }
    }

    fn stay(&mut self, pid: Tid, why: String) {
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.stay = Some(StayReason::Because(why));
        }
    }

    /// A fresh image is in place at home: it goes to the node at once.
    pub(super) fn place_at_exec(&mut self, at: &Stopped) -> Next {
        let pid = at.tid();
        let free = self.table.processes.get(&pid).is_some_and(|process| match process.stay {
            None | Some(StayReason::Because(_)) => process.place == Place::Home,
            Some(_) => false,
        });
        if !free {
            return Next::Go(0);
        }
        let Some(thread) = self.ask_daemon(Running::attached(pid).stopped(), None) else {
            return Next::Taken;
        };
        let Some(node) = self.elsewhere.default else { return Next::Go(0) };
        match settle_exec(thread, Vec::new()) {
            Ok(thread) => {
                self.traces.executed_home(pid);
                self.send_fresh(pid, thread, node);
                Next::Taken
            }
            Err((event, _)) => {
                self.before_reaping(pid, event);
                self.reaped(pid);
                Next::Taken
            }
        }
    }

    pub(super) fn send_fresh(&mut self, pid: Tid, thread: Stopped, node: NodeIndex) {
        self.set_place(pid, Place::Home);
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.stay = None;
        }
        if self.elsewhere.nodes.is_removed(node) {
            self.elsewhere.nodes.leave(pid, None);
            self.tell_place(pid, None);
            return self.resume(thread, 0);
        }
        let Some(away) = self.elsewhere.nodes.get(node) else { return self.resume(thread, 0) };
        let sent = away.send_out(pid, (vec![thread], Instant::now()), true, "exec", &Calls::new());
        self.sent(pid, sent, &Calls::new()).err().inspect(|why| {
            self.stay(pid, why.clone());
            self.revisit_later(pid, REVISIT_FIRST);
            self.tell_place(pid, Some(why.clone()));
        });
    }

    /// A process that was away has a fresh image: one that is not to be managed goes on without us.
    fn let_unmanaged_go(&mut self, pid: Tid, thread: Stopped) -> Option<Stopped> {
        let mut next = self.let_tracer_go(pid);
        if next.is_none() && self.lost_privilege(pid) {
            next = Some(self.execute_without_us(&thread));
        }
        let Some(Next::Detach(_)) = next else { return Some(thread) };
        self.elsewhere.nodes.leave(pid, None);
        self.set_place(pid, Place::Home);
        self.tell_place(pid, None);
        self.apply(thread, Next::Detach(0));
        None
    }

    /// What came of trying to send a process out; the reason when it stays.
    fn sent(&mut self, pid: Tid, sent: Result<(), NotSent>, unfinished: &Calls) -> Result<(), String> {
        match sent {
            Ok(()) => {
                if let Some(process) = self.table.processes.get_mut(&pid) {
                    process.stay = None;
                    for tid in process.threads.drain(..).filter(|tid| *tid != pid) {
                        self.table.threads.remove(&tid);
                    }
                    process.threads.push(pid);
                }
                self.set_away(pid);
                self.tell_trace(pid);
                Ok(())
            }
            Err(NotSent::Stay(threads, why)) => {
                for stopped in threads {
                    self.go_on_at_home(stopped, unfinished);
                }
                Err(why)
            }
            Err(NotSent::Gone(event, _)) => {
                self.before_reaping(pid, event);
                self.reaped(pid);
                Err("it has ended".into())
            }
        }
    }

    fn set_away(&mut self, pid: Tid) {
        if let Some(thread) = self.table.threads.get_mut(&pid) {
            thread.state = ThreadState::Away;
            thread.repair = None;
        }
    }

    /// Whose memory this process shares: a vfork parent's or child's must not be taken away.
    fn shares_memory(&self, pid: Tid) -> Option<String> {
        let shared = self.table.processes.values().find_map(|process| match process.memory_of? {
            maker if process.pid == pid => self.table.processes.contains_key(&maker).then_some(maker),
            maker if maker == pid => Some(process.pid),
            _ => None,
        });
        shared.map(|other| format!("it shares its memory with process {other} until one of them calls exec"))
    }

    /// Sends a process out that runs at home: at once, or, if it has much memory, when that is there.
    pub(super) fn send_running(&mut self, pid: Tid, node: NodeIndex, reason: &str) -> Result<(), String> {
        if let Some(why) = self.shares_memory(pid) {
            return Err(why);
        }
        if self.precopy(pid, node, reason)? {
            return Ok(());
        }
        self.send_stopped(pid, node, reason)
    }

    /// Stops a process and makes its threads ready to leave, or to go on: those that stopped, what their calls have used
    /// up, and why it cannot leave.
    pub(super) fn stop_and_put_down(&mut self, pid: Tid) -> (Vec<Stopped>, Calls, Result<(), String>) {
        let asleep = self.asleep(pid);
        let (threads, stopped) = self.stop_process(pid);
        let mut unfinished = Calls::new();
        let mut result = stopped;
        for stopped in &threads {
            let tid = stopped.tid();
            match self.put_down(stopped, asleep.get(&tid).and_then(|asleep| asleep.until_stopped(tid))) {
                Ok(call) => unfinished.extend(call.map(|call| (tid, call))),
                Err(why) => result = Err(why),
            }
        }
        (threads, unfinished, result)
    }

    /// Stops a process and sends it out.
    pub(super) fn send_stopped(&mut self, pid: Tid, node: NodeIndex, reason: &str) -> Result<(), String> {
        if let Some(why) = self.shares_memory(pid) {
            return Err(why);
        }
        let frozen_at = Instant::now();
        let (threads, unfinished, mut result) = self.stop_and_put_down(pid);
        let away = self.elsewhere.nodes.get(node);
        if away.is_none() {
            result = Err("no link to the node".into());
        }
        let (Ok(()), Some(away)) = (&result, away) else {
            for stopped in threads {
                self.go_on_at_home(stopped, &unfinished);
            }
            return result;
        };
        let sent = away.send_out(pid, (threads, frozen_at), false, reason, &unfinished);
        self.sent(pid, sent, &unfinished)
    }
}
