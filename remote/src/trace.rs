//! What home's trace of system calls wants to know of bodies. Without a trace nothing here does anything.
//!
//! A session that begins with a trace has a filter at which the calls stop that are traced. A trace that begins later finds a
//! filter that lets local calls pass, and filters cannot be changed: then every call of the process stops, at its entry and at
//! its exit ([`Thread::every_call`]).

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use syscall_table::render::{self, Entry, MARK, Style};
use syscall_table::{Place, Ret, Wait, Where, by_number, place_of, seccomp_rules, wait_of};
use tracee::errno::restart;
use tracee::ptrace::{Stopped, SyscallStop};
use tracee::{Tid, clock};
use wire::Link;
use wire::session::{self, ProcessKey, ThreadKey, Up};
use wire::trace::{Ends, Exit, Traced, Wanted};

use crate::body::{Native, Process, State, Thread};
use crate::marshal::Guest;
use crate::session::{Session, SessionError, send};

/// The longest piece of a rendered call: arrays of long strings could make it any length.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Children that home wants traced before they are made here: one for each fork that is under way.
const EARLY_MAX: usize = 1024;

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct Open {
    nr: u32,
    args: [u64; 6],
    entry: Option<Entry>,
    began: Instant,
    /// The same, as home's clock has it.
    began_ns: u64,
    /// Home knows that it has begun.
    told: bool,
    /// Since when home is being asked for it.
    asking: Option<Instant>,
    /// How long home was asked before.
    asked: Duration,
    /// Number of the first request.
    asked_from: Option<u64>,
    /// The restart code with which it has left the kernel. If no signal is delivered now, it goes on, and nobody sees that.
    left: Option<i64>,
}

impl Open {
    fn is(&self, nr: u32, args: &[u64; 6]) -> bool {
        self.nr == nr && self.args == *args
    }

    /// Whether it has an exit that ptrace reports.
    pub(crate) fn returns(&self) -> bool {
        !never_returns(self.nr)
    }

    /// Home has answered.
    pub(crate) fn answered(&mut self) {
        if let Some(since) = self.asking.take() {
            self.asked += since.elapsed();
        }
    }

    fn begun(&self) -> wire::trace::Entry {
        let text = self.entry.as_ref().map_or_else(String::new, |entry| cut(entry.text.clone()));
        wire::trace::Entry { at_ns: self.began_ns, nr: self.nr, args: self.args, text }
    }
}

/// Special calls that the deputy executes too, so that home's answer is the result.
const AT_BOTH_ENDS: [&str; 9] =
    ["fork", "vfork", "clone", "clone3", "execve", "execveat", "prctl", "setrlimit", "prlimit64"];

/// Whether the result of a call that did not go home is the deputy's.
fn forwarded(nr: u32, args: [u64; 6]) -> bool {
    match place_of(nr, args) {
        Where::Forward => true,
        Where::Local => false,
        Where::Special | Where::Home => by_number(nr).is_some_and(|call| AT_BOTH_ENDS.contains(&call.name)),
    }
}

/// Whether others may be heard of before a call is over: then its beginning is told first.
fn takes_long(nr: u32, args: &[u64; 6]) -> bool {
    wait_of(nr, args) != Wait::No || by_number(nr).is_none_or(|call| AT_BOTH_ENDS[..6].contains(&call.name))
}

/// Whether all that can be told of a call is its beginning.
fn never_returns(nr: u32) -> bool {
    by_number(nr).is_some_and(|call| call.ret == Ret::Never)
}

/// Whether it is how the kernel goes on with a call that was interrupted.
fn is_restart(nr: u32) -> bool {
    by_number(nr).is_some_and(|call| call.name == "restart_syscall")
}

/// Whether home has to put paths in, which a call may change.
fn has_marks(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.text.contains(MARK))
}

/// What home has not been told yet. It is told with the next request, which saves each call a datagram of its own, or when it
/// has waited for a while.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    list: Vec<(ThreadKey, Traced)>,
    due: Option<Instant>,
}

/// How long home is told nothing.
const UNTOLD: Duration = Duration::from_millis(1);
/// What is kept at most.
const UNTOLD_MAX: usize = 64;

impl Untold {
    fn keep(&mut self, key: ThreadKey, traced: Traced) {
        self.list.push((key, traced));
        self.due.get_or_insert_with(|| Instant::now() + UNTOLD);
    }

    fn is_much(&self) -> bool {
        self.list.len() >= UNTOLD_MAX
    }

    /// When it must be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells it.
    pub(crate) fn tell(&mut self, link: &mut Link) -> Result<(), SessionError> {
        for (key, traced) in self.list.drain(..) {
            send(link, session::thread_channel(key), &Up::Traced(traced))?;
        }
        self.due = None;
        Ok(())
    }

    /// Tells it if it has waited for long enough.
    pub(crate) fn tell_due(&mut self, link: &mut Link, now: Instant) -> Result<(), SessionError> {
        if self.due.is_some_and(|due| due <= now) { self.tell(link) } else { Ok(()) }
    }
}

impl Session {
    /// Home wants to see this of a process, or nothing more.
    pub(crate) fn trace(&mut self, key: ProcessKey, wanted: Option<Wanted>) -> Result<(), SessionError> {
        let wanted = wanted.map(Wanted::bounded).map(Rc::new);
        self.is_traced |= wanted.is_some();
        let Some(process) = self.processes.get_mut(&key) else {
            if self.early_traces.len() < EARLY_MAX {
                self.early_traces.insert(key, wanted);
            }
            return Ok(());
        };
        process.trace = wanted;
        let threads = process.threads.clone();
        for host in threads {
            self.see_calls(host);
            self.join_call(host)?;
        }
        self.is_traced = self.processes.values().any(|process| process.trace.is_some())
            || self.early_traces.values().any(Option::is_some);
        self.untold.tell(&mut self.link)
    }

    fn home_now_ns(&self) -> u64 {
        clock::monotonic_ns().saturating_add_signed(self.clock_ahead_ns)
    }

    fn wanted_of(&self, thread: &Thread) -> Option<Rc<Wanted>> {
        if !self.is_traced {
            return None;
        }
        self.processes.get(&thread.process)?.trace.clone()
    }

    /// Sets how a thread stops for the trace that its process is in, if it is in one.
    pub(crate) fn see_calls(&mut self, host: Tid) {
        let Some(thread) = self.threads.get(&host) else { return };
        let wanted = self.wanted_of(thread);
        let every_call = wanted.as_ref().is_some_and(|wanted| !self.filter_stops(wanted));
        let Some(thread) = self.threads.get_mut(&host) else { return };
        if wanted.is_none() {
            thread.traced = None;
        }
        let before = std::mem::replace(&mut thread.every_call, every_call);
        // One that is waited for at a call's exit stops there anyway, and some of those calls end when they are disturbed.
        if every_call
            && !before
            && let State::Running(running, Native::Plain) = &thread.state
        {
            // ESRCH: it is ending.
            running.interrupt().ok();
        }
    }

    /// Whether the filter stops all calls that are wanted.
    fn filter_stops(&self, wanted: &Wanted) -> bool {
        let passes = |place| matches!(place, Place::Local | Place::LocalIf { .. });
        seccomp_rules().all(|(nr, place)| !passes(place) || !wanted.calls.has(nr) || self.traced.has(nr))
    }

    /// A trace begins while a thread waits for home in a call.
    fn join_call(&mut self, host: Tid) -> Result<(), SessionError> {
        match self.threads.get(&host).map(|thread| &thread.state) {
            Some(State::Asking(_, regs, _)) => {
                let (nr, args) = (regs.orig_rax as u32, regs.args());
                self.trace_entry(host, nr, args)?;
                if let Some(thread) = self.threads.get_mut(&host)
                    && let Some(open) = &mut thread.traced
                {
                    open.asking = Some(Instant::now());
                    open.asked_from = Some(thread.seq);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A thread is about to make a call here or by its deputy.
    pub(crate) fn trace_entry(&mut self, host: Tid, nr: u32, args: [u64; 6]) -> Result<(), SessionError> {
        if !self.is_traced {
            return Ok(());
        }
        if let Some(thread) = self.threads.get_mut(&host)
            && let Some(open) = &mut thread.traced
            && (open.is(nr, &args) || open.left.is_some() && is_restart(nr))
        {
            // It goes on after a stop that the program does not notice.
            open.left = None;
            return Ok(());
        }
        self.trace_left(host)?;
        let Some(thread) = self.threads.get(&host) else { return Ok(()) };
        let Some(wanted) = self.wanted_of(thread) else { return Ok(()) };
        let mut open = None;
        if wanted.calls.has(nr) {
            let entry = wanted.style.as_ref().map(|style| render::entry(nr, args, &mut Guest(host), style));
            let told = wanted.tells_entries() && takes_long(nr, &args)
                || wanted.ends.has(Ends::UNFINISHED) && never_returns(nr)
                || has_marks(entry.as_ref());
            let (began, began_ns) = (Instant::now(), self.home_now_ns());
            let (asking, asked) = (None, Duration::ZERO);
            open = Some(Box::new(Open {
                nr,
                args,
                entry,
                began,
                began_ns,
                told,
                asking,
                asked,
                asked_from: None,
                left: None,
            }));
        }
        let tell = open.as_ref().filter(|open| open.told).map(|open| open.begun());
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.traced = open;
        let key = thread.key;
        tell.map_or(Ok(()), |entry| self.tell(key, Traced::Entry(entry)))
    }

    fn tell(&mut self, key: ThreadKey, traced: Traced) -> Result<(), SessionError> {
        self.untold.keep(key, traced);
        if self.untold.is_much() { self.untold.tell(&mut self.link) } else { Ok(()) }
    }

    /// A request goes to home. What it has not been told comes first.
    pub(crate) fn trace_asked(&mut self, key: ThreadKey) -> Result<(), SessionError> {
        self.untold.tell(&mut self.link)?;
        if let Some(thread) = self.keys.get(&key).and_then(|host| self.threads.get_mut(host))
            && let Some(open) = &mut thread.traced
        {
            open.asking.get_or_insert_with(Instant::now);
            open.asked_from.get_or_insert(thread.seq);
        }
        Ok(())
    }

    /// The call has returned; what it wrote is in the guest's memory.
    pub(crate) fn trace_exit(&mut self, host: Tid, ret: i64) -> Result<(), SessionError> {
        if !self.is_traced {
            return Ok(());
        }
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let Some(open) = thread.traced.take() else { return Ok(()) };
        let key = thread.key;
        let Some(wanted) = self.threads.get(&host).and_then(|thread| self.wanted_of(thread)) else {
            return Ok(());
        };
        if !wanted.ends.has(Ends::of(ret)) {
            return Ok(());
        }
        let took = open.began.elapsed();
        let (nr, args) = (open.nr, open.args);
        let (rest, result) = match (&wanted.style, &open.entry) {
            (Some(style), Some(entry)) => exit(entry, (nr, args), ret, host, style),
            _ => Default::default(),
        };
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let exit = Exit {
            entry: (!open.told).then(|| open.begun()),
            ret,
            rest,
            result,
            forwarded: forwarded(nr, args),
            took_ns: ns(took),
            asked_ns: ns(open.asked),
            asked_from: open.asked_from,
        };
        self.tell(key, Traced::Exit(exit))
    }

    /// A call of the body's own kernel is over, or interrupted.
    pub(crate) fn trace_native_exit(&mut self, host: Tid, ret: i64) -> Result<(), SessionError> {
        if restart::is_code(ret)
            && let Some(thread) = self.threads.get_mut(&host)
            && let Some(open) = &mut thread.traced
        {
            open.left = Some(ret);
            return Ok(());
        }
        self.trace_exit(host, ret)
    }

    /// An interrupted call does not go on at once.
    fn trace_left(&mut self, host: Tid) -> Result<(), SessionError> {
        let open = self.threads.get(&host).and_then(|thread| thread.traced.as_ref());
        match open.and_then(|open| open.left) {
            Some(ret) => self.trace_exit(host, ret),
            None => Ok(()),
        }
    }

    /// The thread's call brings its process home.
    pub(crate) fn trace_going_home(&mut self, host: Tid, reason: &str) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get(&host) else { return Ok(()) };
        if self.wanted_of(thread).is_none() {
            return Ok(());
        }
        let key = thread.key;
        self.tell(key, Traced::GoesHome(reason.into()))
    }

    /// A signal is about to be delivered.
    pub(crate) fn trace_signal(&mut self, host: Tid, number: i32, at: &Stopped) -> Result<(), SessionError> {
        self.trace_left(host)?;
        let Some(thread) = self.threads.get(&host) else { return Ok(()) };
        if self.wanted_of(thread).is_none_or(|wanted| !wanted.signal(number)) {
            return Ok(());
        }
        let key = thread.key;
        let info = ByteBuf::from(at.siginfo().map_or([0; 128], |info| info.0).to_vec());
        let at_ns = self.home_now_ns();
        self.tell(key, Traced::Signal { at_ns, number, info })
    }

    /// A thread that stops at every call is at one's entry or exit. What traps will stop at the filter besides.
    pub(crate) fn on_traced_call(&mut self, host: Tid, stopped: Stopped) -> Result<(), SessionError> {
        let may_run = self.process_of(host).is_some_and(Process::may_run);
        match stopped.syscall() {
            Ok(SyscallStop::Entry { nr, args }) if place_of(nr, args) != Where::Home => {
                self.trace_entry(host, nr, args)?;
            }
            Ok(SyscallStop::Exit { ret }) => {
                self.trace_native_exit(host, ret)?;
                if !may_run {
                    return self.hold_at_exit(host, stopped);
                }
            }
            // ESRCH: killed meanwhile.
            _ => {}
        }
        if let Some(thread) = self.threads.get_mut(&host) {
            thread.run(stopped, 0, Native::Plain);
            if let (false, State::Running(running, _)) = (may_run, &thread.state) {
                // The stop that was asked for will not come: this was it. ESRCH: it is ending.
                running.interrupt().ok();
            }
        }
        Ok(())
    }
}

fn exit(entry: &Entry, (nr, args): (u32, [u64; 6]), ret: i64, host: Tid, style: &Style) -> (String, String) {
    let render::Exit { rest, result } = render::exit_parts(entry, nr, args, ret, &mut Guest(host), style);
    (cut(rest), cut(result))
}

/// What fits a message, and what anybody reads.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str("...");
    }
    text
}
