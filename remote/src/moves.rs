//! Sending a body home: stop all threads, capture, send; then end it, or go on if home could not take it.

use std::borrow::Cow;

use serde_bytes::ByteBuf;
use tracee::capture::{self, CaptureError, PageReader, Whose};
use tracee::errno::restart;
use tracee::image::{Backing, Image, Unfinished, Used};
use tracee::inject::{InjectError, Injector, step_out};
use tracee::ptrace::Running;
use tracee::regs::{Regs, SYSCALL_LEN};
use tracee::{Tid, maps, vdso};
use wire::message;
use wire::session::{self, FromBody, ProcessKey};

use crate::body::{Ask, Made, Phase, State};
use crate::session::{QUEUE_BYTES_MAX, Session, SessionError};
use crate::vdso::lift;

impl Session {
    /// Home wants a process.
    pub(crate) fn bring(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let vfork = self.processes.get(&key).is_some_and(|process| {
            process
                .threads
                .iter()
                .any(|host| self.processes.values().any(|child| child.vfork_parent == Some(*host)))
        });
        let child = self.processes.get(&key).is_some_and(|process| process.vfork_parent.is_some());
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        if vfork || child && !self.threads.values().any(|thread| asks_home(thread, key)) {
            let why = "it shares its memory with a vfork child until that calls exec";
            return self.say(key, &FromBody::CannotBring(why.into()));
        }
        if !matches!(process.phase, Phase::Alive) {
            return self.say(key, &FromBody::CannotBring("it is already moving".into()));
        }
        if is_zombie(process.host) {
            return self.say(key, &FromBody::CannotBring("its first thread has ended".into()));
        }
        process.phase = Phase::Stopping;
        self.be_quick(key);
        // Calls that wait for home come back by themselves: home interrupts its deputies.
        let asking: Vec<_> =
            self.threads.iter().filter(|(_, thread)| asks_home(thread, key)).map(|(host, _)| *host).collect();
        for host in asking {
            let Some(thread) = self.threads.get_mut(&host) else { continue };
            if let State::Asking(stopped, regs, _) = std::mem::replace(&mut thread.state, State::Busy) {
                let nr = regs.orig_rax as u32;
                self.hold_rearmed(host, stopped, *regs, nr)?;
            }
        }
        self.interrupt_running(key);
        self.check_stopped(key)
    }

    /// If a process is being stopped and all its threads are held, sends its image.
    pub(crate) fn check_stopped(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get(&key) else { return Ok(()) };
        let held = |host| matches!(self.threads.get(host).map(|thread| &thread.state), Some(State::Held(_)));
        if !matches!(process.phase, Phase::Stopping) || !process.threads.iter().all(held) {
            return Ok(());
        }
        match self.capture(key) {
            Ok(image) => {
                if let Some(process) = self.processes.get_mut(&key) {
                    process.phase = Phase::Sent;
                }
                let runs = image.vmas.clone();
                self.say(key, &FromBody::Image(ByteBuf::from(message::encode(&image))))?;
                self.send_pages(key, &runs)?;
                self.say(key, &FromBody::PagesEnd)
            }
            Err(CaptureError::Inject(InjectError::Gone(tid, event, time))) => self.on_gone(tid, event, time),
            Err(error) => {
                self.say(key, &FromBody::CannotBring(error.to_string()))?;
                self.move_failed(key)
            }
        }
    }

    /// Home could not take it: go on here.
    pub(crate) fn move_failed(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        if matches!(process.phase, Phase::Sent | Phase::Stopping) {
            process.phase = Phase::Alive;
        }
        self.be_guest(key);
        self.resume_held(key)
    }

    fn capture(&mut self, key: ProcessKey) -> Result<Image, CaptureError> {
        let process = self.processes.get(&key).ok_or(tracee::Errno::ESRCH)?;
        let (host, foothold, vdso) = (process.host, process.foothold, process.vdso);
        let place = process.trampolines;
        let mut mappings = maps::read_with_flags(host)?;
        mappings.retain(|mapping| place.is_none() || !vdso::is_ours(mapping));
        let cache = &self.cache;
        let vmas = capture::vmas(&mappings, &[foothold.range()], |mapping| {
            cache
                .named(&mapping.path, mapping.offset)
                .map(Backing::File)
                .ok_or_else(|| CaptureError::Stay("a mapping of a file that is not in the cache".into()))
        })?;
        let mut layout = capture::layout(host)?;
        let mut threads = Vec::new();
        let mut actions = (Vec::new(), 0);
        let mut pending = Vec::new();
        let mut used = process.used;
        let mut cpu_timers = Vec::new();
        for host in process.threads.clone() {
            let Some(thread) = self.threads.get_mut(&host) else { continue };
            let State::Held(stopped) = std::mem::replace(&mut thread.state, State::Busy) else { continue };
            let (tid, mut thread_used) = (thread.tid, thread.used);
            let first = threads.is_empty();
            let captured = (|| {
                let stopped = match (&self.trampolines, place) {
                    (Some(trampolines), Some(place)) => {
                        let lifted = lift(trampolines, place, &stopped);
                        lifted.map_err(|error| CaptureError::Stay(error.to_string()))?;
                        stopped
                    }
                    _ => step_out(stopped, vdso.unwrap_or_default())?,
                };
                let mut injector = Injector::new(stopped, foothold.site())?;
                let captured = capture::thread(&mut injector, &foothold, tid, false)?;
                thread_used.away += capture::cpu(&mut injector, &foothold, Whose::Thread)?;
                if first {
                    used.away += capture::cpu(&mut injector, &foothold, Whose::Process)?;
                    layout.brk = capture::brk(&mut injector)?;
                    actions = capture::actions(&mut injector, &foothold)?;
                    pending = injector.thread().pending(true)?;
                    cpu_timers = capture::cpu_timers(&mut injector, &foothold)?;
                }
                injector.finish()?;
                Ok::<_, CaptureError>(captured)
            })();
            if let Some(thread) = self.threads.get_mut(&host) {
                // Also after a failure: what was injected has put it back, or it was killed.
                thread.state = State::Held(Running::attached(host).stopped());
            }
            let mut captured = captured?;
            captured.cpu = thread_used;
            captured.unfinished = self.unfinished(host, &captured.regs);
            captured.seen = self.threads.get(&host).map_or(0, |thread| thread.seen);
            threads.push(captured);
        }
        let process = self.processes.get(&key).ok_or(tracee::Errno::ESRCH)?;
        let truth = |raw: &[u8]| {
            let mut info = tracee::ptrace::SigInfo([0; 128]);
            info.0.copy_from_slice(&raw[..128]);
            process.true_info(&info).0.to_vec()
        };
        for thread in &mut threads {
            thread.pending = thread.pending.iter().map(|raw| truth(raw)).collect();
        }
        Ok(Image {
            vmas,
            layout,
            threads,
            actions: actions.0,
            ignored: actions.1,
            pending: pending.iter().map(|info| truth(&info.0)).collect(),
            vdso,
            limits: Vec::new(),
            cpu: used,
            cpu_timers,
        })
    }

    /// What a call that will be made again at home has used up.
    fn unfinished(&self, host: Tid, regs: &Regs) -> Option<Unfinished> {
        let thread = self.threads.get(&host)?;
        let is_next = |call: &Made| {
            call.after == regs.rip.wrapping_add(SYSCALL_LEN)
                && u64::from(call.nr) == regs.rax
                && call.args == regs.args()
        };
        let restart = thread.restart.filter(|restart| is_next(&restart.call));
        let code = restart.map_or(restart::NOHAND, |restart| restart.code);
        if let Some(written) = thread.written.filter(|written| is_next(&written.call)) {
            return Some(Unfinished { nr: written.call.nr, code, used: Used::Bytes(written.bytes) });
        }
        if let Some(pending) = thread.deadline.filter(|pending| pending.again && is_next(&pending.call)) {
            return Some(Unfinished {
                nr: pending.call.nr,
                code,
                used: Used::Until(self.home_ns(pending.at)),
            });
        }
        restart.map(|restart| Unfinished { nr: restart.call.nr, code, used: Used::Nothing })
    }

    fn send_pages(&mut self, key: ProcessKey, vmas: &[tracee::image::Vma]) -> Result<(), SessionError> {
        let Some(host) = self.processes.get(&key).map(|process| process.host) else { return Ok(()) };
        let read = |error| SessionError::System("reading a body", error);
        let head = |start, len| message::encode_head(&FromBody::Pages { start, bytes: Cow::default() }, len);
        let mut reader = PageReader::open(host).map_err(read)?;
        for vma in vmas {
            for (start, end) in reader.runs(vma).map_err(read)? {
                for frame in reader.frames(vma, (start, end), true, head).map_err(read)? {
                    self.link.send(session::process_channel(key), frame.bytes)?;
                }
                self.drain_to(QUEUE_BYTES_MAX)?;
            }
        }
        Ok(())
    }

    /// Waits until no more than `bytes` are queued on the link.
    pub(crate) fn drain_to(&mut self, bytes: usize) -> Result<(), SessionError> {
        while self.link.queued_bytes() > bytes {
            let now = std::time::Instant::now();
            self.link.wait(self.link.deadline().unwrap_or(now + std::time::Duration::from_millis(100)))?;
            self.link.drive(std::time::Instant::now())?;
        }
        Ok(())
    }
}

/// Whether the leader has ended while other threads go on: there is nothing to stop or to inject into.
fn is_zombie(host: tracee::Tid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{host}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn asks_home(thread: &crate::body::Thread, key: ProcessKey) -> bool {
    thread.process == key && matches!(thread.state, State::Asking(_, _, Ask::GoHome))
}
