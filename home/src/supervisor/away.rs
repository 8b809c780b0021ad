//! Processes whose computation is elsewhere: when they go, when they come back, and who is told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracee::clock::{self, Asleep};
use tracee::image::Unfinished;
use tracee::{Event, Running, Stop, Stopped, Tid, wait};

use super::{Next, Source, Supervisor, Timer};
use crate::away::{Action, Away, NotSent, settle_exec};
use crate::control::{Reply, Ticket};
use crate::process::{INIT, INIT_STAYS, Place, StayReason, ThreadState};
use crate::procfs;

/// How long a thread may take to stop before a move is given up: one in an uninterruptible sleep cannot.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// A process that came home for a call is looked at again after this long, then after twice as long, and so on.
const REVISIT_FIRST: Duration = Duration::from_millis(10);
const REVISIT_LAST: Duration = Duration::from_secs(2);
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Interrupted calls of threads.
pub(super) type Calls = HashMap<Tid, Unfinished>;

/// What the supervisor keeps of the node beside the away processes themselves.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// The node's session, while the link is up.
    pub(crate) node: Option<Away>,
    /// New children of deputies that stopped before their maker's event.
    early: std::collections::HashSet<Tid>,
    /// Who waits for which process to be at home or away.
    waiting: Vec<(Tid, Ticket)>,
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
    if procfs::has_cpu_timer(pid) {
        return Some("it has a timer on CPU time".into());
    }
    if tracee::capture::signal_sets(pid).is_ok_and(|sets| sets.ignored & tracee::signal::bit(SIGTRAP) != 0) {
        return Some("it ignores SIGTRAP, which a move could not keep".into());
    }
    let mappings = tracee::maps::read(pid).ok()?;
    let shared = mappings.iter().find(|mapping| mapping.shared)?;
    let name =
        if shared.inode == 0 { "anonymous memory".into() } else { String::from_utf8_lossy(&shared.path) };
    Some(format!("shared mapping of {name}"))
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("node", &self.node.as_ref().map(Away::name)).finish()
    }
}

impl Supervisor {
    /// Whether the away side takes this report. New children of deputies are kept until their maker's event.
    pub(super) fn away_report(&mut self, tid: Tid, event: Event) -> bool {
        let Some(away) = &mut self.elsewhere.node else { return false };
        if away.owns(tid) {
            away.on_event(tid, event, Default::default(), &mut self.elsewhere.early);
            let ended = !matches!(event, Event::Stopped(_));
            self.away_actions();
            // The table has the leader's entry.
            return !ended;
        }
        if matches!(event, Event::Stopped(_)) && !self.table.threads.contains_key(&tid) {
            let maker = procfs::process_of(tid).filter(|pid| *pid != tid);
            let maker = maker.or_else(|| procfs::stat(tid).map(|stat| stat.ppid));
            if maker.is_some_and(|maker| away.has(maker)) {
                self.elsewhere.early.insert(tid);
                return true;
            }
        }
        false
    }

    /// Sends and receives what there is; `arrived` when something may be waiting in the socket.
    pub(super) fn drive_away(&mut self, arrived: bool) {
        let Some(away) = &mut self.elsewhere.node else { return };
        match away.drive(arrived) {
            Ok(()) => self.away_actions(),
            Err(error) => {
                for (pid, line) in away.lose(&error.to_string()) {
                    self.console.say(pid, format_args!("{line}"));
                    // ESRCH: it has ended by itself.
                    tracee::signal::kill(pid, SIGKILL).ok();
                }
                self.away_actions();
                self.count_away();
                let lost = self.elsewhere.node.take();
                // Its deputies are dying; their ends are reported to the table.
                drop(lost);
                for (_, ticket) in std::mem::take(&mut self.elsewhere.waiting) {
                    self.reply(ticket, &Reply::Failed("the node is lost".into()));
                }
            }
        }
    }

    /// When the link must be driven even if nothing arrives.
    pub(super) fn away_deadline(&self) -> Option<Instant> {
        let away = self.elsewhere.node.as_ref()?;
        if away.link().wants_write() || away.has_backlog() {
            return Some(Instant::now() + Duration::from_millis(1));
        }
        away.link().deadline().into_iter().chain(away.move_deadline()).min()
    }

    pub(super) fn away_actions(&mut self) {
        while let Some(action) = self.elsewhere.node.as_mut().and_then(Away::action) {
            self.away_action(action);
        }
    }

    fn away_action(&mut self, action: Action) {
        match action {
            Action::Forked { parent, child } => {
                let stay = self.table.processes.get(&parent).and_then(|process| process.stay.clone());
                self.table.add_process(child, parent, stay, ThreadState::Away);
                self.set_place(child);
                if let Some(trace) = &mut self.trace {
                    trace.born(child);
                }
            }
            Action::Copied { pid, reason } => self.copied(pid, &reason),
            Action::CameHome { pid, threads, stay, unfinished } => {
                self.came_home(pid, threads, stay, &unfinished)
            }
            Action::Execed { pid, thread } => {
                self.table.keep_only_leader(pid);
                if let Some(trace) = &mut self.trace {
                    trace.executed_away(pid);
                }
                self.send_fresh(pid, thread);
            }
            Action::Ended { pid, event, .. } => {
                self.before_reaping(pid, event);
                self.reaped(pid);
            }
            Action::Moved(report) => self.moved(report),
            Action::Born(tid) => {
                if let Some(trace) = &mut self.trace {
                    trace.born(tid);
                }
            }
            Action::ThreadEnded(tid, event) => {
                if let Some(trace) = &mut self.trace {
                    trace.ended(tid, event);
                }
            }
            Action::Traced(tid, traced) => {
                if let Some(trace) = &mut self.trace {
                    trace.away(tid, traced);
                }
            }
            Action::Say(line) => self.console.say(self.first, format_args!("{line}")),
        }
    }

    fn set_place(&mut self, pid: Tid) {
        let name = self.elsewhere.node.as_ref().map_or_else(String::new, |away| away.name().to_string());
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.place = Place::Node(name);
        }
    }

    fn moved(&mut self, report: crate::away::Move) {
        let pid = report.pid;
        if let Some(why) = &report.failed {
            if let Some(trace) = &mut self.trace {
                trace.moved(pid, &format!("not moved {} -> {}: {why}", report.from, report.to));
            }
            self.console.verbose(format_args!("process {pid} stays at {}: {why}", report.from));
            if self.table.processes.get(&pid).is_some_and(|p| matches!(p.stay, Some(StayReason::Because(_))))
            {
                self.revisit_later(pid, REVISIT_FIRST);
            }
        } else {
            if report.to != "home" {
                self.set_place(pid);
            }
            if let Some(trace) = &mut self.trace {
                let crate::away::Move { from, to, reason, freeze_ms, bytes, .. } = &report;
                trace.moved(
                    pid,
                    &format!("moved {from} -> {to} ({reason}), {freeze_ms:.1} ms, {bytes} bytes"),
                );
            }
            self.stats.moves.push(crate::stats::Move {
                pid,
                from: report.from,
                to: report.to,
                reason: report.reason,
                freeze_ms: report.freeze_ms,
                total_ms: report.total_ms,
                bytes: report.bytes,
            });
        }
        let reply = match report.failed {
            None => Reply::Done,
            Some(why) => Reply::Failed(format!("not possible: {why}")),
        };
        self.answer_waiting(pid, &reply);
    }

    /// Answers those who wait for a move of this process.
    pub(super) fn answer_waiting(&mut self, pid: Tid, reply: &Reply) {
        let waiting = std::mem::take(&mut self.elsewhere.waiting);
        for (waits, ticket) in waiting {
            if waits == pid {
                self.reply(ticket, reply)
            } else {
                self.elsewhere.waiting.push((waits, ticket))
            }
        }
    }

    fn came_home(&mut self, pid: Tid, threads: Vec<Stopped>, stay: Option<String>, unfinished: &Calls) {
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.place = Place::Home;
            process.stay = stay.clone().map(StayReason::Because);
        }
        if stay.is_some() {
            self.revisit_later(pid, REVISIT_FIRST);
        }
        for stopped in threads {
            let tid = stopped.tid();
            if tid != pid {
                self.table.add_thread(tid, pid, ThreadState::Dead);
            }
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
        if !due || self.elsewhere.node.is_none() {
            return;
        }
        let again = (after * 2).min(REVISIT_LAST);
        if let Some(why) = stay_reason(pid) {
            self.stay(pid, why);
            return self.revisit_later(pid, again);
        }
        if let Err(why) = self.send_running(pid, "the stay reason is gone") {
            self.stay(pid, why);
            self.revisit_later(pid, again);
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
        if self.elsewhere.node.is_none() || !free {
            return Next::Go(0);
        }
        match settle_exec(Running::attached(pid).stopped(), Vec::new()) {
            Ok(thread) => {
                if let Some(trace) = &mut self.trace {
                    trace.executed_home(pid);
                }
                self.send_fresh(pid, thread);
                Next::Taken
            }
            Err((event, _)) => {
                self.before_reaping(pid, event);
                self.reaped(pid);
                Next::Taken
            }
        }
    }

    fn send_fresh(&mut self, pid: Tid, thread: Stopped) {
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.stay = None;
            process.place = Place::Home;
        }
        let Some(away) = &mut self.elsewhere.node else { return self.resume(thread, 0) };
        let sent = away.send_out(pid, vec![thread], true, "exec", &Calls::new());
        self.sent(pid, sent, &Calls::new()).err().inspect(|why| {
            self.stay(pid, why.clone());
            self.revisit_later(pid, REVISIT_FIRST);
        });
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
    fn send_running(&mut self, pid: Tid, reason: &str) -> Result<(), String> {
        if let Some(why) = self.shares_memory(pid) {
            return Err(why);
        }
        if self.precopy(pid, reason)? {
            return Ok(());
        }
        self.send_stopped(pid, reason)
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
    pub(super) fn send_stopped(&mut self, pid: Tid, reason: &str) -> Result<(), String> {
        if let Some(why) = self.shares_memory(pid) {
            return Err(why);
        }
        let (threads, unfinished, mut result) = self.stop_and_put_down(pid);
        if self.elsewhere.node.is_none() {
            result = Err("no node".into());
        }
        let (Ok(()), Some(away)) = (&result, &mut self.elsewhere.node) else {
            for stopped in threads {
                self.go_on_at_home(stopped, &unfinished);
            }
            return result;
        };
        let sent = away.send_out(pid, threads, false, reason, &unfinished);
        self.sent(pid, sent, &unfinished)
    }

    /// Which threads sleep; to be asked before they are stopped.
    fn asleep(&self, pid: Tid) -> HashMap<Tid, Asleep> {
        let threads = self.table.processes.get(&pid).map_or(&[][..], |process| &process.threads);
        threads.iter().filter_map(|tid| Some((*tid, clock::asleep(*tid)?))).collect()
    }

    /// Stops all threads of a process at home, leader first: those that stopped, and why not all did.
    fn stop_process(&mut self, pid: Tid) -> (Vec<Stopped>, Result<(), String>) {
        let mut stopped = Vec::new();
        let result = self.stop_threads(pid, &mut stopped);
        (stopped, result)
    }

    fn stop_threads(&mut self, pid: Tid, stopped: &mut Vec<Stopped>) -> Result<(), String> {
        let Some(process) = self.table.processes.get(&pid) else { return Err("it has ended".into()) };
        let execs = process.execs;
        let mut tids = process.threads.clone();
        tids.sort_by_key(|tid| *tid != pid);
        for tid in &tids {
            match self.table.threads.get(tid).map(|thread| &thread.state) {
                Some(ThreadState::Running(running)) => drop(running.interrupt()),
                Some(ThreadState::Listening(_)) => return Err("it is stopped".into()),
                _ => return Err("one of its threads is held".into()),
            }
        }
        let until = Instant::now() + STOP_TIMEOUT;
        for tid in &tids {
            stopped.push(self.stop_thread(*tid, until)?);
        }
        let process = self.table.processes.get(&pid);
        let same = process.is_some_and(|p| p.execs == execs && p.threads.len() == stopped.len());
        if same { Ok(()) } else { Err("it changed meanwhile".into()) }
    }

    /// Waits for a thread that was interrupted. Other stops that come first are handled as ever.
    fn stop_thread(&mut self, tid: Tid, until: Instant) -> Result<Stopped, String> {
        self.stopping = Some(tid);
        let stopped = self.await_stop(tid, until);
        self.stopping = None;
        stopped
    }

    fn await_stop(&mut self, tid: Tid, until: Instant) -> Result<Stopped, String> {
        loop {
            match wait::next_of_thread(tid, |tid, event| self.before_reaping(tid, event)) {
                Ok(Some((_, Event::Stopped(Stop::Interrupt), _))) => {
                    let stopped = Running::attached(tid).stopped();
                    // It may have to stay: then its call must not end for our interrupt.
                    if self.table.threads.get(&tid).is_some_and(|thread| !thread.group_stopped) {
                        self.repair(&stopped, 0);
                    }
                    return Ok(stopped);
                }
                Ok(Some((_, event, _))) => {
                    self.report(tid, event);
                    if event == Event::Stopped(Stop::Syscall)
                        && let Some(ThreadState::Running(running)) =
                            self.table.threads.get(&tid).map(|thread| &thread.state)
                    {
                        // That stop may have taken the place of ours. ESRCH: killed meanwhile.
                        running.interrupt().ok();
                    }
                    if !matches!(event, Event::Stopped(_)) {
                        return Err("a thread of it has ended".into());
                    }
                }
                Ok(None) if Instant::now() < until => {
                    // Its stop signals this process: nothing to do but to let it run.
                    rustix::thread::sched_yield();
                }
                Ok(None) => return Err("one of its threads sleeps and cannot be stopped".into()),
                Err(_) => return Err("a thread of it has ended".into()),
            }
        }
    }

    /// `mosix migrate`.
    pub(super) fn migrate(&mut self, ticket: Ticket, pid: Tid, to: &str) {
        let name = self.elsewhere.node.as_ref().map(|away| away.name().to_string());
        let result = match (to, &name) {
            ("home", Some(_)) => {
                let asked = self
                    .elsewhere
                    .node
                    .as_mut()
                    .is_some_and(|away| away.bring(pid, "asked for by `mosix migrate`", None));
                if asked { Ok(()) } else { Err("not possible: it is moving already".to_string()) }
            }
            (to, Some(name)) if to == name => {
                if let Some(process) = self.table.processes.get_mut(&pid) {
                    process.stay = None;
                }
                let sent = self.send_running(pid, "asked for by `mosix migrate`");
                sent.map_err(|why| format!("not possible: {why}"))
            }
            _ => Err(format!("not possible: no link to {to}")),
        };
        match result {
            Ok(()) => {
                self.elsewhere.waiting.push((pid, ticket));
                self.away_actions();
            }
            Err(why) => {
                self.away_actions();
                self.reply(ticket, &Reply::Failed(why));
            }
        }
    }

    /// Takes the node's counts into the report.
    pub(super) fn count_away(&mut self) {
        let Some(away) = &self.elsewhere.node else { return };
        self.stats.calls.local = away.counts.local;
        self.stats.calls.forwarded = away.counts.forwarded;
        self.stats.calls.gone_home =
            away.counts.gone_home.iter().map(|(reason, count)| (reason.clone(), *count)).collect();
        self.stats.cpu_seconds.remote = away.counts.remote_cpu_s;
        let (sent, received) = away.link().bytes();
        self.stats.bytes = crate::stats::Bytes { sent, received };
    }

    /// Says farewell to the node.
    pub(super) fn leave_node(&mut self) {
        if let Some(mut away) = self.elsewhere.node.take() {
            away.farewell();
        }
    }

    /// Begins to watch the link.
    pub(super) fn watch_node(&mut self, away: Away) -> std::io::Result<()> {
        self.events.add(away.link().fd(), Source::Link)?;
        self.elsewhere.node = Some(away);
        Ok(())
    }
}
