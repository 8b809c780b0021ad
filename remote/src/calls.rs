//! Calls of bodies: what happens when one traps, and when home has answered.

use std::time::Instant;

use serde_bytes::ByteBuf;
use syscall_table::{self as table, PlanError, TempMask, Wait, Where};
use tracee::errno::restart;
use tracee::inject::{InjectError, Injector};
use tracee::ptrace::Stopped;
use tracee::regs::Regs;
use tracee::{Tid, memory, restore};
use wire::session::{Call, FromBody, Outcome, Up};

use crate::body::{
    Ask, Asked, Made, Native, PendingDeadline, Process, RT_SIGSUSPEND, Restart, State, Written,
};
use crate::marshal::{self, Guest};
use crate::session::{Session, SessionError, libc_errno::EFAULT};

/// Limits that are enforced where the memory is: CPU, DATA, STACK, MEMLOCK, AS.
const LIMITS_HERE: [i32; 5] = [0, 2, 3, 8, 9];
const OPEN: u32 = 2;
const TIMES: u32 = 100;
const OPENAT: u32 = 257;
const OPENAT2: u32 = 437;
/// Longer than any path that [`own_file`] finds something in, but for odd spellings.
const PROC_PATH_BYTES_MAX: usize = 256;
/// Files of /proc/PID that show what a deputy has only until the program writes there.
const WORDS: [&[u8]; 2] = [b"cmdline", b"environ"];
/// Files of /proc/PID that say something else of a deputy than of the process it stands for: its memory, its signals, its CPU
/// time.
const OF_THE_BODY: [&[u8]; 15] = [
    b"maps",
    b"smaps",
    b"smaps_rollup",
    b"numa_maps",
    b"map_files",
    b"mem",
    b"pagemap",
    b"stat",
    b"statm",
    b"status",
    b"wchan",
    b"stack",
    b"syscall",
    b"sched",
    b"auxv",
];

impl Session {
    pub(crate) fn process_of(&self, host: Tid) -> Option<&Process> {
        self.processes.get(&self.threads.get(&host)?.process)
    }

    /// A thread stopped at the filter: it wants something that its own kernel does not do for it.
    pub(crate) fn on_call(&mut self, host: Tid, stopped: Stopped) -> Result<(), SessionError> {
        let Ok(regs) = stopped.regs() else {
            self.lost(host, stopped);
            return Ok(());
        };
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let key = thread.process;
        let (nr, args) = (regs.orig_rax as u32, regs.args());
        let call = Made::of(&regs);
        // Of another call it says nothing any more; this one may have to wait once more.
        thread.restart = thread.restart.filter(|restart| restart.call == call);
        if !self.processes.get(&key).is_some_and(|process| process.may_run()) {
            // A move or job control: the call is made again later, there or here.
            return self.hold_rearmed(host, stopped, regs, nr);
        }
        let place = table::place_of(nr, args);
        thread.restart = None;
        // One that goes home at once has its line there.
        if place != Where::Home {
            self.trace_entry(host, nr, args)?;
        }
        match place {
            Where::Local => {
                self.local_calls += 1;
                self.run_local(host, stopped, Native::Plain);
                Ok(())
            }
            Where::Forward => self.forward(host, stopped, regs),
            Where::Special => self.special(host, stopped, regs),
            Where::Home => self.go_home(host, stopped, regs, table::home_reason(nr, &args)),
        }
    }

    /// Lets the body's own kernel make the call.
    pub(crate) fn run_local(&mut self, host: Tid, stopped: Stopped, native: Native) {
        if let Some(thread) = self.threads.get_mut(&host) {
            let traced = native == Native::Plain && thread.traced.as_ref().is_some_and(|open| open.returns());
            thread.run(stopped, 0, if traced { Native::Traced } else { native });
        }
    }

    /// A stopped thread was killed under our hands; its end will be reported.
    pub(crate) fn lost(&mut self, host: Tid, stopped: Stopped) {
        if let Some(thread) = self.threads.get_mut(&host) {
            thread.run(stopped, 0, Native::Plain);
        }
    }

    /// Keeps a thread, ready to make its call again.
    pub(crate) fn hold_rearmed(
        &mut self,
        host: Tid,
        stopped: Stopped,
        mut regs: Regs,
        nr: u32,
    ) -> Result<(), SessionError> {
        regs.rearm(nr);
        self.hold(host, stopped, &regs)
    }

    /// Keeps a thread with these registers; a move may be waiting for it.
    pub(crate) fn hold(&mut self, host: Tid, stopped: Stopped, regs: &Regs) -> Result<(), SessionError> {
        // A thread that was killed meanwhile reports its end; the registers no longer matter.
        stopped.set_regs(regs).ok();
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.state = State::Held(stopped);
        let key = thread.process;
        self.check_stopped(key)
    }

    /// Ends a call with `ret` and lets the thread go on, or keeps it if the process may not run.
    pub(crate) fn answer(
        &mut self,
        host: Tid,
        stopped: Stopped,
        mut regs: Regs,
        ret: i64,
    ) -> Result<(), SessionError> {
        regs.finish_call(ret);
        self.trace_exit(host, ret)?;
        self.go_on(host, stopped, &regs)
    }

    /// Lets a thread go on with these registers, or keeps it if the process may not run.
    pub(crate) fn go_on(&mut self, host: Tid, stopped: Stopped, regs: &Regs) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        if !self.processes.get(&thread.process).is_some_and(|process| process.may_run()) {
            return self.hold(host, stopped, regs);
        }
        stopped.set_regs(regs).ok();
        thread.run(stopped, 0, Native::Plain);
        Ok(())
    }

    /// The process must come home; the call is made there.
    pub(crate) fn go_home(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        reason: impl Into<String>,
    ) -> Result<(), SessionError> {
        let reason = reason.into();
        self.trace_going_home(host, &reason)?;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.state = State::Asking(stopped, Box::new(regs), Ask::GoHome);
        let key = thread.process;
        self.say(key, &FromBody::GoHome(reason))
    }

    pub(crate) fn forward(&mut self, host: Tid, stopped: Stopped, regs: Regs) -> Result<(), SessionError> {
        if self.threads.len() == 1 {
            let link = &self.link;
            self.nearness.calls(host, || link.arrives_on());
        }
        let made = Made::of(&regs);
        let (nr, mut args) = (made.nr, made.args);
        let mut written = 0;
        if let Some(earlier) = self.threads.get_mut(&host).and_then(|thread| thread.written.take())
            && earlier.call == made
            && earlier.bytes < args[2]
        {
            written = earlier.bytes;
            args[1] += written;
            args[2] -= written;
        }
        if let Some(path) = opened(host, nr, &args)
            && let Some(process) = self.process_of(host)
            && let Some(name) = own_file(&path, process.pid)
            && (OF_THE_BODY.contains(&name) || WORDS.contains(&name) && process.words.have_changed(host))
        {
            let reason = format!("{} shows this process", String::from_utf8_lossy(&path));
            return self.go_home(host, stopped, regs, reason);
        }
        let mut plan = match table::plan(nr, args, &mut Guest(host)) {
            Ok(plan) => plan,
            Err(PlanError::GoHome(reason)) => return self.go_home(host, stopped, regs, reason),
            Err(PlanError::TooBig) => {
                return self.go_home(host, stopped, regs, "a call with more data than fits a message");
            }
        };
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let again = thread.deadline.take().filter(|pending| pending.again && pending.call == made);
        let call = table::by_number(nr);
        let wait = table::wait_of(nr, &args);
        let mut mask = None;
        let mut temporary = None;
        if wait != Wait::No {
            mask = Some(stopped.sigmask().unwrap_or(0));
            temporary = call.and_then(table::temp_mask_arg).and_then(|at| temporary_mask(host, at, &args));
        }
        let deadline = match wait {
            Wait::Timed(how) => match again {
                Some(pending) => Some(pending.at),
                None => table::timeout(how, &plan).map(|left| Instant::now() + left),
            },
            _ => None,
        };
        if let (Wait::Timed(how), Some(at)) = (wait, again.map(|pending| pending.at)) {
            table::set_timeout(how, &mut plan, at.saturating_duration_since(Instant::now()));
        }
        let waits_under = temporary.map(|(_, mask)| mask).or(mask);
        let until = match (wait, again) {
            (Wait::Plain, Some(pending)) => Some(self.home_ns(pending.at)),
            _ => None,
        };
        let asked_mask = waits_under.unwrap_or(0);
        let Some(process) = self.process_of(host) else { return Ok(()) };
        // A signal may have come while the thread was already stopped at its call. One that its own mask holds back may
        // have come long before.
        let may_pend = wait != Wait::No && (temporary.is_some() || !process.tickets.is_empty());
        let pending = may_pend && deliverable(host, asked_mask, process.ignores()) != 0;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.seq += 1;
        let call = Call {
            seq: thread.seq,
            nr,
            args: plan.args,
            bufs: marshal::bufs(&plan.bufs),
            patches: plan.patches.clone(),
            mask: waits_under,
            seen: thread.seen,
            signaled: pending,
            until,
        };
        let asked = Asked { bufs: plan.bufs, deadline, mask: asked_mask, limit: None, temporary, written };
        if pending && temporary.is_some() {
            return self.interrupted(host, stopped, regs, &asked, restart::of(wait), false);
        }
        thread.state = State::Asking(stopped, Box::new(regs), Ask::Call(Box::new(asked)));
        let key = thread.key;
        self.ask(key, &Up::Call(call))
    }

    /// Home has answered a thread's request.
    pub(crate) fn on_reply(
        &mut self,
        host: Tid,
        outcome: Outcome,
        outs: Vec<(u16, u32, ByteBuf)>,
    ) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        if let Some(open) = &mut thread.traced {
            open.answered();
        }
        let (stopped, regs, ask) = match std::mem::replace(&mut thread.state, State::Busy) {
            State::Asking(stopped, regs, ask) => (stopped, *regs, ask),
            other => {
                thread.state = other;
                return Ok(());
            }
        };
        match (ask, outcome) {
            (Ask::Call(asked), Outcome::Done(ret)) => {
                let mut outs = outs;
                if regs.orig_rax as u32 == TIMES {
                    self.add_times(host, &mut outs);
                }
                let limit = asked.limit.filter(|(resource, ..)| ret == 0 && LIMITS_HERE.contains(resource));
                let stopped = match limit {
                    Some(limit) => match self.lifted(host, |session| session.limit(host, stopped, limit)) {
                        Ok(stopped) => stopped,
                        Err(InjectError::Gone(tid, event, time)) => return self.on_event(tid, event, time),
                        // Killed: its end is reported next.
                        Err(_) => return Ok(()),
                    },
                    None => stopped,
                };
                // As far as it could be written, as the kernel counts it; what is left out is lost.
                let ret = match write_outs(host, &asked.bufs, &outs) {
                    Err(data) if data > 0 && ret > 0 => data as i64,
                    Err(_) if ret >= 0 => -i64::from(EFAULT),
                    // An error after some bytes is not the call's result (pipe(7)).
                    _ if asked.written > 0 => asked.written as i64 + ret.max(0),
                    _ => ret,
                };
                self.answer(host, stopped, regs, ret)
            }
            (Ask::Call(asked), Outcome::Cut(bytes)) => {
                let bytes = asked.written + bytes.max(0) as u64;
                thread.written = Some(Written { call: Made::of(&regs), bytes });
                let (mut regs, nr) = (regs, regs.orig_rax as u32);
                regs.rearm(nr);
                self.go_on(host, stopped, &regs)
            }
            (Ask::Call(mut asked), Outcome::Interrupted { code, until }) => {
                // What remains of a sleep is written whether or not it matters.
                write_outs(host, &asked.bufs, &outs).ok();
                asked.deadline = asked.deadline.or(until.map(|ns| self.instant_of(ns)));
                self.interrupted(host, stopped, regs, &asked, code, true)
            }
            (Ask::Call(asked), Outcome::NotMade) => {
                let code = restart::of(table::wait_of(regs.orig_rax as u32, &regs.args()));
                self.interrupted(host, stopped, regs, &asked, code, false)
            }
            (_, Outcome::GoHome(reason)) => self.go_home(host, stopped, regs, reason),
            (Ask::Fork(args), Outcome::Forked { tid, process, thread }) => {
                self.fork(host, stopped, regs, args, tid, process, thread)
            }
            (Ask::MapFile(_), Outcome::File { content, size, path }) => {
                let file = tracee::image::FileRef { content, size, offset: regs.r9, path: path.into_vec() };
                self.want(&file)?;
                if let Some(thread) = self.threads.get_mut(&host) {
                    thread.state = State::Asking(stopped, Box::new(regs), Ask::MapFile(Some(file)));
                }
                self.map_file(host, true)
            }
            (_, Outcome::Done(ret)) => self.answer(host, stopped, regs, ret),
            (_, Outcome::Interrupted { .. } | Outcome::Cut(_) | Outcome::NotMade) => {
                let nr = regs.orig_rax as u32;
                let mut regs = regs;
                regs.rearm(nr);
                self.go_on(host, stopped, &regs)
            }
            (_, Outcome::Forked { .. } | Outcome::File { .. }) => {
                Err(SessionError::Unfit("home's answer does not fit the request".into()))
            }
        }
    }

    /// Sets a limit of a body. One that cannot be set here is home's alone.
    fn limit(
        &mut self,
        host: Tid,
        stopped: Stopped,
        (resource, soft, hard): (i32, u64, u64),
    ) -> Result<Stopped, InjectError> {
        let Some(foothold) = self.process_of(host).map(|process| process.foothold) else {
            return Ok(stopped);
        };
        let mut injector = Injector::new(stopped, foothold.site())?;
        match restore::limit_from_within(&mut injector, &foothold, resource, soft, hard) {
            Ok(()) | Err(InjectError::Call { .. }) => injector.finish(),
            Err(error) => Err(error),
        }
    }

    /// A forwarded call came back without a result. If a signal is there that this thread would act on, the body's
    /// own kernel decides between EINTR and a restart; else the call is made again with what remains of its time. It had
    /// `begun`, or was not made at all.
    fn interrupted(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        asked: &Asked,
        code: i64,
        begun: bool,
    ) -> Result<(), SessionError> {
        let nr = regs.orig_rax as u32;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let call = Made::of(&regs);
        thread.deadline = asked.deadline.map(|at| PendingDeadline { call, at, again: true });
        if asked.written > 0 {
            thread.written = Some(Written { call, bytes: asked.written });
        }
        let code = match code {
            restart::SYS | restart::NOINTR => code,
            // -516 would restart through the body's own stale restart block, and a direct EINTR (-4) means the
            // same for a handler: EINTR if one runs, else again.
            _ => restart::NOHAND,
        };
        let Some(process) = self.processes.get(&thread.process) else { return Ok(()) };
        let may_run = process.may_run();
        let actionable = deliverable(host, asked.mask, process.ignores());
        let thread_mask = stopped.sigmask().unwrap_or(0);
        let under_temporary = deliverable(host, thread_mask, process.ignores()) == 0;
        if !may_run {
            if let Some(thread) = self.threads.get_mut(&host) {
                // A signal that comes now comes before a call that has not begun.
                thread.restart = begun.then_some(Restart { call, code });
            }
            return self.hold_rearmed(host, stopped, regs, nr);
        }
        if actionable == 0 {
            // Nothing that a handler or a default action would see: make it again at once.
            return self.forward(host, stopped, regs);
        }
        if asked.written > 0 {
            return self.answer(host, stopped, regs, asked.written as i64);
        }
        self.trace_exit(host, code)?;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.restart = Some(Restart { call, code });
        let mut now = regs;
        match asked.temporary {
            // The signal is only let through by the call's own mask: rt_sigsuspend with it makes the handler run
            // under it and puts the thread's mask back (the call is replaced in place, and is a local one).
            Some((address, _)) if under_temporary => {
                now.orig_rax = RT_SIGSUSPEND;
                now.rax = -38i64 as u64;
                now.rdi = address;
                now.rsi = 8;
            }
            _ => now.rearm(nr),
        }
        stopped.set_regs(&now).ok();
        thread.run(stopped, 0, Native::Plain);
        Ok(())
    }
}

/// The path that a call opens.
fn opened(host: Tid, nr: u32, args: &[u64; 6]) -> Option<Vec<u8>> {
    let address = match nr {
        OPEN => args[0],
        OPENAT | OPENAT2 => args[1],
        _ => return None,
    };
    let mut bytes = [0; PROC_PATH_BYTES_MAX];
    let got = memory::read(host, address, &mut bytes);
    let end = bytes[..got].iter().position(|byte| *byte == 0)?;
    Some(bytes[..end].to_vec())
}

/// The name of a file in `/proc/PID` or `/proc/PID/task/TID`, if that is what a path leads to and `pid` is meant.
fn own_file(path: &[u8], pid: Tid) -> Option<&[u8]> {
    let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    if !path.starts_with(b"/") || parts.next() != Some(b"proc") {
        return None;
    }
    let own = match parts.next()? {
        b"self" | b"thread-self" => true,
        number => number == pid.to_string().as_bytes(),
    };
    let mut file = parts.next();
    if file == Some(b"task") {
        file = parts.nth(1);
    }
    file.filter(|_| own && parts.next().is_none())
}

/// Pending signals that a thread with this mask would act on.
pub(crate) fn deliverable(host: Tid, mask: u64, ignored: u64) -> u64 {
    let sets = tracee::capture::signal_sets(host).unwrap_or_default();
    (sets.pending | sets.shared_pending) & !mask & !ignored
}

fn temporary_mask(host: Tid, at: TempMask, args: &[u64; 6]) -> Option<(u64, u64)> {
    let address = match at {
        TempMask::Direct { ptr_arg, .. } => args[ptr_arg as usize],
        TempMask::Pair { arg } => match args[arg as usize] {
            0 => 0,
            pair => memory::read_u64(host, pair).ok()?,
        },
    };
    if address == 0 {
        return None;
    }
    memory::read_u64(host, address).ok().map(|mask| (address, mask))
}

/// Writes results into the guest. `Err`: how many bytes of data (what a read returns) were written before a bad page.
fn write_outs(host: Tid, bufs: &[table::Buf], outs: &[(u16, u32, ByteBuf)]) -> Result<(), usize> {
    let mut data = 0;
    for (buf, offset, bytes) in outs {
        let Some(target) = bufs.get(usize::from(*buf)) else { return Err(0) };
        if u64::from(*offset) + bytes.len() as u64 > u64::from(target.room) {
            return Err(0);
        }
        let written = memory::write(host, target.addr + u64::from(*offset), bytes);
        if matches!(target.out, table::Out::Ret { .. }) {
            data += written;
        }
        // select(2) ignores that its timeout cannot be written back.
        if written < bytes.len() && target.out != table::Out::Always {
            return Err(data);
        }
    }
    Ok(())
}
