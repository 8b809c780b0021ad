//! Coming home: the deputy is given memory and registers back.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use tracee::foothold::Foothold;
use tracee::image::{Image, Unfinished, hole_beside};
use tracee::inject::{InjectError, Injector};
use tracee::ptrace::{Resume, Running, SigInfo, Stopped};
use tracee::{Errno, Event, Stop, Tid, maps, memory, restore, wait};
use wire::message;
use wire::session::{ProcessKey, ToBody};

use super::deputy::{Arrived, Coming, Deputy, Phase, Process, Refill, State, is_directed};
use super::out::{self, MUNMAP, remove_foothold};
use super::{Action, Away, Move};
use crate::process::options;

/// How long the threads of a process may take to stop before its move home is given up.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
const OPENAT: i64 = 257;
const CLOSE: i64 = 3;
const EXIT: i64 = 60;
const AT_FDCWD: u64 = -100i64 as u64;
const O_CLOEXEC: u64 = 0x8_0000;

impl Away {
    /// Asks for a process to come home. False if it is not away, or already coming.
    pub fn bring(&mut self, pid: Tid, reason: &str, stay: Option<String>) -> bool {
        match self.pids.get(&pid).copied() {
            Some(key) => self.bring_key(key, reason.into(), stay),
            None => false,
        }
    }

    pub(super) fn bring_key(&mut self, key: ProcessKey, reason: String, stay: Option<String>) -> bool {
        let Some(process) = self.processes.get_mut(&key) else { return false };
        if !matches!(process.phase, Phase::Away) || process.released || process.giving_up || process.frozen {
            return false;
        }
        process.phase = Phase::Coming(Coming { since: Instant::now(), reason, stay });
        let threads = process.threads.clone();
        self.tell(key, &ToBody::Bring);
        for tid in threads {
            if let Some(serving) = self.threads.get_mut(&tid).and_then(|deputy| deputy.serving.as_mut()) {
                serving.moving = true;
            }
            self.interrupt_call(tid);
        }
        true
    }

    pub(super) fn on_cannot_bring(&mut self, key: ProcessKey, why: &str) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.giving_up = false;
        let Phase::Coming(coming) = &process.phase else { return };
        let report = Move {
            pid: process.pid,
            from: self.name.clone(),
            to: "home".into(),
            reason: coming.reason.clone(),
            freeze_ms: 0.0,
            total_ms: coming.since.elapsed().as_secs_f64() * 1e3,
            bytes: 0,
            failed: Some(why.into()),
        };
        process.phase = Phase::Away;
        self.actions.push_back(Action::Moved(report));
    }

    /// Gives up moves home whose threads do not stop: one of them sleeps uninterruptibly, here or there.
    pub(super) fn give_up_late(&mut self, now: Instant) {
        let late: Vec<_> = self
            .processes
            .values()
            .filter_map(|process| match &process.phase {
                Phase::Coming(coming) if now >= coming.since + STOP_TIMEOUT => {
                    Some((process.key, coming.clone()))
                }
                _ => None,
            })
            .collect();
        for (key, coming) in late {
            self.fail(key, coming, "one of its threads sleeps and cannot be stopped");
        }
    }

    /// Interrupts calls whose time is over although their arguments say more.
    pub(super) fn end_waits(&mut self, now: Instant) {
        for deputy in self.threads.values() {
            if deputy.serving.as_ref().is_some_and(|serving| serving.until.is_some_and(|until| until <= now))
                && let State::Running(running) = &deputy.state
            {
                // ESRCH: killed meanwhile.
                running.interrupt().ok();
            }
        }
    }

    /// When [`Away::give_up_late`] has something to do.
    pub fn move_deadline(&self) -> Option<Instant> {
        let coming = self.processes.values().filter_map(|process| match &process.phase {
            Phase::Coming(coming) => Some(coming.since + STOP_TIMEOUT),
            _ => None,
        });
        let waits = self.threads.values().filter_map(|deputy| deputy.serving.as_ref()?.until);
        coming.chain(waits).min()
    }

    /// The image is here: empty the deputy and map it.
    pub(super) fn on_image(&mut self, key: ProcessKey, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let Phase::Coming(coming) = &process.phase else {
            // Of a move that was called off meanwhile: the body must not wait for us.
            if matches!(process.phase, Phase::Away) && !process.giving_up {
                process.giving_up = true;
                self.tell(key, &ToBody::Resume);
            }
            return;
        };
        let coming = coming.clone();
        let mut image: Image = match message::decode(bytes) {
            Ok(image) => image,
            Err(error) => return self.fail(key, coming, &error.to_string()),
        };
        let mut signals = Vec::new();
        // Signals that the image does not have: they were still on their way when it was taken.
        for thread in &mut image.threads {
            let Some(deputy) = self.threads.get_mut(&thread.tid) else { continue };
            deputy.seen(thread.seen);
            for signal in &deputy.unseen {
                let pending = if signal.directed { &mut thread.pending } else { &mut image.pending };
                pending.push(signal.info.clone());
            }
        }
        match self.refill(key, &coming, image, bytes.len() as u64, &mut signals) {
            Ok(()) => {}
            Err(InjectError::Gone(tid, event, time)) => self.on_thread_end(tid, event, time),
            Err(error) => {
                self.fail(key, coming, &error.to_string());
                self.ship_all(key, signals);
            }
        }
    }

    /// Signals that came while a move that failed had the deputy stopped.
    fn ship_all(&mut self, key: ProcessKey, signals: Vec<Arrived>) {
        let Some(leader) = self.processes.get(&key).and_then(|process| process.threads.first().copied())
        else {
            return;
        };
        for (tid, info) in signals {
            let is_here = self.threads.contains_key(&tid);
            self.ship(if is_here { tid } else { leader }, info);
        }
    }

    fn refill(
        &mut self,
        key: ProcessKey,
        coming: &Coming,
        image: Image,
        bytes: u64,
        signals: &mut Vec<Arrived>,
    ) -> Result<(), InjectError> {
        let mut stopped = self.stop_all(key, signals)?;
        let process = self.processes.get_mut(&key).ok_or(Errno::ESRCH)?;
        let leader = stopped.remove(0);
        let pid = process.pid;
        // Until it has all its pages.
        self.nearness.begin(pid);
        let mut injector = Injector::new(leader, process.foothold.site())?;
        make_room(&mut injector, process, &image)?;
        let area = (process.area_base, process.area_base + process.area.bytes());
        let mut keep = vec![process.foothold.range(), area];
        keep.extend(process.vdso);
        restore::wipe(&mut injector, &keep)?;
        let foothold = process.foothold;
        let contents = self.shared.contents.borrow();
        let mut unreachable: Vec<[u8; 32]> = Vec::new();
        restore::map(&mut injector, &image.vmas, |injector, file| {
            // One that has been replaced or deleted is still open here.
            let held = contents.path(&file.content).map(String::into_bytes);
            for path in [Some(file.path.clone()), held].into_iter().flatten() {
                let Some(fd) = open(injector, &foothold, path)? else { continue };
                let opened = std::fs::metadata(format!("/proc/{pid}/fd/{fd}"));
                let known = contents.metadata(&file.content);
                if matches!((opened, known), (Ok(a), Some(b)) if a.dev() == b.dev() && a.ino() == b.ino() && a.mtime_nsec() == b.mtime_nsec())
                {
                    return Ok(Some(fd));
                }
                injector.raw(CLOSE, [fd as u64, 0, 0, 0, 0, 0])?;
            }
            unreachable.push(file.content);
            Ok(None)
        })?;
        // A file that the process may not reach, in another pid namespace: its content, as private memory.
        for vma in &image.vmas {
            let Some(file) = tracee::capture::file_of(vma).filter(|file| unreachable.contains(&file.content))
            else {
                continue;
            };
            let mut content = vec![0; (vma.end - vma.start) as usize];
            if contents.read(&file.content, file.offset, &mut content).is_ok() {
                restore::write_pages(pid, vma.start, &content)?;
            }
        }
        let process = self.processes.get_mut(&key).ok_or(Errno::ESRCH)?;
        let coming = coming.clone();
        let signals = std::mem::take(signals);
        let refill = Refill { coming, image, leader: Some(injector), others: stopped, bytes, signals };
        process.phase = Phase::Refilling(Box::new(refill));
        Ok(())
    }

    pub(super) fn on_pages(&mut self, key: ProcessKey, start: u64, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let Phase::Refilling(refill) = &mut process.phase else { return };
        refill.bytes += bytes.len() as u64;
        if let Err(errno) = restore::write_pages(process.pid, start, bytes) {
            let coming = refill.coming.clone();
            self.fail(key, coming, &format!("writing its memory: {errno}"));
        }
    }

    pub(super) fn on_pages_end(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if !matches!(process.phase, Phase::Refilling(_)) {
            return;
        }
        let Phase::Refilling(refill) = std::mem::replace(&mut process.phase, Phase::Away) else { return };
        let coming = refill.coming.clone();
        let (bytes, pid) = (refill.bytes, process.pid);
        let used = refill.image.cpu.away;
        let thread_times = refill.image.threads.iter().map(|thread| (thread.tid, thread.cpu.away)).collect();
        let unfinished = unfinished_calls(&refill.image);
        let finished = finish(process, *refill);
        self.nearness.end();
        match finished {
            Ok(threads) => {
                self.tell(key, &ToBody::Release);
                if let Some(process) = self.processes.remove(&key) {
                    if let Some(from) = process.cpu_from {
                        self.shared.cpu.borrow_mut().report(pid, from, used);
                    }
                    let mut cpu = self.shared.cpu.borrow_mut();
                    cpu.came_home(pid, thread_times);
                    cpu.left(pid, process.forwarded.get(), process.told.cpu_ns);
                    drop(cpu);
                    self.forget(&process.threads, pid, &process.area);
                }
                let ms = coming.since.elapsed().as_secs_f64() * 1e3;
                self.actions.push_back(Action::Moved(Move {
                    pid,
                    from: self.name.clone(),
                    to: "home".into(),
                    reason: coming.reason,
                    freeze_ms: ms,
                    total_ms: ms,
                    bytes,
                    failed: None,
                }));
                self.actions.push_back(Action::CameHome { pid, threads, stay: coming.stay, unfinished });
            }
            Err(InjectError::Gone(tid, event, time)) => self.on_thread_end(tid, event, time),
            Err(error) => self.fail(key, coming, &error.to_string()),
        }
    }

    /// Stops all threads of a deputy, leader first. Signals that come meanwhile are kept for the process.
    fn stop_all(&mut self, key: ProcessKey, signals: &mut Vec<Arrived>) -> Result<Vec<Stopped>, InjectError> {
        self.nearness.end();
        let threads = self.processes.get(&key).map(|process| process.threads.clone()).unwrap_or_default();
        let mut all: Vec<Stopped> = Vec::new();
        for tid in threads {
            let Some(deputy) = self.threads.get_mut(&tid) else { continue };
            let stopped = match std::mem::replace(&mut deputy.state, State::Busy) {
                // Its body is not in the image any more.
                State::Running(_) if deputy.ending => Err(see_off(tid, signals)),
                State::Running(running) => stop(running, signals),
                State::Busy => Err(Errno::ESRCH.into()),
            };
            match stopped {
                Ok(stopped) => all.push(stopped),
                Err(InjectError::Gone(gone, event, time))
                    if all.first().is_some_and(|leader| leader.tid() != gone) =>
                {
                    self.on_thread_end(gone, event, time);
                }
                Err(error) => {
                    for stopped in all {
                        self.resume(stopped.tid(), stopped, 0);
                    }
                    return Err(error);
                }
            }
        }
        if all.is_empty() { Err(Errno::ESRCH.into()) } else { Ok(all) }
    }

    /// A half-filled deputy is emptied again and serves on; the body goes on where it is.
    fn fail(&mut self, key: ProcessKey, coming: Coming, why: &str) {
        self.nearness.end();
        let Some(process) = self.processes.get_mut(&key) else { return };
        let pid = process.pid;
        // What was being injected puts its thread back into the loop.
        let signals = match std::mem::replace(&mut process.phase, Phase::Away) {
            Phase::Refilling(refill) => refill.signals,
            _ => Vec::new(),
        };
        process.giving_up = true;
        let held = |tid: &Tid| matches!(self.threads.get(tid), Some(Deputy { state: State::Busy, .. }));
        let ours: Vec<Tid> = process.threads.iter().copied().filter(held).collect();
        let again = match self.processes.get(&key) {
            Some(process) if ours.contains(&pid) => rehollow(process),
            _ => Ok(()),
        };
        match again {
            Ok(()) => {
                for tid in ours {
                    self.resume(tid, Running::attached(tid).stopped(), 0);
                }
                self.tell(key, &ToBody::Resume);
            }
            Err(error) => {
                self.actions.push_back(Action::Say(format!(
                    "process {pid} was lost on its way home: {why}; {error}"
                )));
                tracee::signal::kill(pid, 9).ok();
            }
        }
        self.ship_all(key, signals);
        self.actions.push_back(Action::Moved(Move {
            pid,
            from: self.name.clone(),
            to: "home".into(),
            reason: coming.reason,
            freeze_ms: coming.since.elapsed().as_secs_f64() * 1e3,
            total_ms: coming.since.elapsed().as_secs_f64() * 1e3,
            bytes: 0,
            failed: Some(why.into()),
        }));
    }

    /// Makes the deputy's dispositions those of its body, and drops what it held back of signals that are no longer
    /// ignored. The thread is between calls.
    pub(super) fn mirror_by_injection(&mut self, tid: Tid, no_longer: u64) {
        let Some(deputy) = self.threads.get_mut(&tid) else { return };
        let key = deputy.process;
        let State::Running(running) = std::mem::replace(&mut deputy.state, State::Busy) else { return };
        let mut signals = Vec::new();
        let Some(process) = self.processes.get(&key) else { return };
        let foothold = process.foothold;
        let (dispositions, mask) = (process.dispositions, process.idle_mask());
        let done = stop(running, &mut signals).and_then(|stopped| {
            let mut injector = Injector::new(stopped, foothold.site())?;
            // Ignoring a signal for a moment drops what is pending of it. Only a change of the action does so, and
            // those are ignored by now or by default.
            let (ignored, caught) = (dispositions.ignored, dispositions.caught);
            restore::set_deputy_actions(&mut injector, &foothold, ignored & !no_longer, caught)?;
            restore::set_deputy_actions(&mut injector, &foothold, ignored | no_longer, caught)?;
            restore::set_deputy_actions(&mut injector, &foothold, ignored, caught)?;
            out::set_child_flags(&mut injector, &foothold, &dispositions)?;
            *injector.mask_mut() = mask;
            injector.finish()
        });
        match done {
            Ok(stopped) => self.resume(tid, stopped, 0),
            Err(InjectError::Gone(tid, event, time)) => return self.on_thread_end(tid, event, time),
            Err(_) => return,
        }
        for (tid, info) in signals {
            self.ship(tid, info);
        }
    }
}

/// Stops a thread of a deputy that is between calls; signals that come first are kept.
fn stop(running: Running, signals: &mut Vec<Arrived>) -> Result<Stopped, InjectError> {
    let tid = running.tid();
    let mut running = running;
    running.interrupt()?;
    loop {
        match wait::block(tid)? {
            (_, Event::Stopped(stop), _) => {
                let stopped = running.stopped();
                match stop {
                    // The kernel stops for us before it looks at signals: the trap of a finished call may be pending.
                    Stop::Interrupt | Stop::Group(_) if stopped.pending(false)?.iter().any(is_shim_trap) => {
                        running = stopped.resume(Resume::Cont, 0)?;
                    }
                    Stop::Interrupt | Stop::Group(_) => return Ok(stopped),
                    Stop::Signal(_) => {
                        let info = stopped.siginfo()?;
                        if !is_shim_trap(&info) {
                            signals.push((tid, info.0.to_vec()));
                        }
                        running = stopped.resume(Resume::Cont, 0)?;
                        // ESRCH: its end is reported next.
                        running.interrupt().ok();
                    }
                    _ => running = stopped.resume(Resume::Cont, 0)?,
                }
            }
            (tid, event, time) => return Err(InjectError::Gone(tid, event, time)),
        }
    }
}

/// The trap that ends a call is no signal of the guest's: an `int3`, which the kernel reports as SI_KERNEL.
fn is_shim_trap(info: &SigInfo) -> bool {
    const SIGTRAP: i32 = 5;
    const SI_KERNEL: i32 = 0x80;
    info.signal() == SIGTRAP && info.code() == SI_KERNEL
}

/// Waits for the end of a thread that was told to exit.
fn see_off(tid: Tid, signals: &mut Vec<Arrived>) -> InjectError {
    loop {
        match wait::block(tid) {
            Ok((_, Event::Stopped(stop), _)) => {
                let stopped = Running::attached(tid).stopped();
                if matches!(stop, Stop::Signal(_))
                    && let Ok(info) = stopped.siginfo()
                    && !is_shim_trap(&info)
                {
                    signals.push((tid, info.0.to_vec()));
                }
                // ESRCH: its end is reported next.
                let _ = stopped.resume(Resume::Cont, 0);
            }
            Ok((tid, event, time)) => return InjectError::Gone(tid, event, time),
            Err(errno) => return errno.into(),
        }
    }
}

/// If the image has something where the shim or the area is, they move.
fn make_room(injector: &mut Injector, process: &mut Process, image: &Image) -> Result<(), InjectError> {
    let overlaps = |(start, end): (u64, u64)| image.vmas.iter().any(|vma| vma.start < end && start < vma.end);
    let area = (process.area_base, process.area_base + process.area.bytes());
    let mappings = maps::read(injector.tid()).map_err(|_| Errno::ESRCH)?;
    let avoid = out::taken(&mappings);
    let no_room = Errno(12);
    if overlaps(area) {
        let bytes = area.1 - area.0;
        let to = hole_beside(&image.vmas, bytes, &avoid).ok_or(no_room)?;
        const MREMAP: i64 = 25;
        const MAYMOVE_FIXED: u64 = 3;
        injector.call("mremap", MREMAP, [area.0, bytes, bytes, MAYMOVE_FIXED, to, 0])?;
        process.area_base = to;
    }
    if overlaps(process.foothold.range()) {
        let mut avoid = avoid;
        avoid.push((process.area_base, process.area_base + process.area.bytes()));
        let to = hole_beside(&image.vmas, Foothold::BYTES, &avoid).ok_or(no_room)?;
        let old = process.foothold;
        process.foothold = Foothold::install(injector, to)?;
        injector.call("munmap", MUNMAP, [old.base(), Foothold::BYTES, 0, 0, 0, 0])?;
    }
    Ok(())
}

/// Opens a file in the process.
fn open(injector: &mut Injector, foothold: &Foothold, mut path: Vec<u8>) -> Result<Option<i32>, InjectError> {
    path.push(0);
    if path.len() > 4096 {
        return Ok(None);
    }
    memory::write_all(injector.tid(), foothold.scratch(), &path)?;
    let fd = injector.raw(OPENAT, [AT_FDCWD, foothold.scratch(), O_CLOEXEC, 0, 0, 0])?;
    Ok((fd >= 0).then_some(fd as i32))
}

pub(super) fn unfinished_calls(image: &Image) -> HashMap<Tid, Unfinished> {
    image.threads.iter().filter_map(|thread| Some((thread.tid, thread.unfinished?))).collect()
}

/// All pages are there: registers, dispositions, pending signals; then our pages go.
fn finish(process: &mut Process, mut refill: Refill) -> Result<Vec<Stopped>, InjectError> {
    let (pid, foothold, image) = (process.pid, process.foothold, &refill.image);
    let Some(mut injector) = refill.leader.take() else { return Err(Errno::ESRCH.into()) };
    restore::set_layout(&mut injector, &foothold, &image.layout)?;
    restore::set_actions(&mut injector, &foothold, &image.actions, image.ignored)?;
    restore::cpu_timers(&mut injector, &foothold, &image.cpu_timers)?;
    let (mut threads, mut others) = (Vec::new(), Vec::new());
    let several = image.threads.len() > 1;
    let directed = |to: Tid| {
        let signals =
            refill.signals.iter().filter(move |(tid, info)| *tid == to && is_directed(pid, several, info));
        signals.map(|(_, info)| info)
    };
    for stopped in std::mem::take(&mut refill.others) {
        let tid = stopped.tid();
        let mut injector = Injector::new(stopped, foothold.site())?;
        let Some(thread) = image.threads.iter().find(|thread| thread.tid == tid) else {
            // Its body had ended, and the word of it is still on its way.
            match injector.raw(EXIT, [0; 6]) {
                Err(InjectError::Gone(..)) => continue,
                Err(error) => return Err(error),
                Ok(_) => return Err(Errno::ESRCH.into()),
            }
        };
        // By the thread itself: it alone may send itself what says that the kernel sent it.
        for info in thread.pending.iter().chain(directed(tid)) {
            restore::queue(&mut injector, &foothold, (pid, Some(tid)), info)?;
        }
        others.push((injector.finish()?, thread));
    }
    let undirected = refill.signals.iter().filter(|(_, info)| !is_directed(pid, several, info));
    for info in image.pending.iter().chain(undirected.map(|(_, info)| info)) {
        restore::queue(&mut injector, &foothold, (pid, None), info)?;
    }
    let leader = image.threads.first().ok_or(Errno::ESRCH)?;
    for info in leader.pending.iter().chain(directed(pid)) {
        restore::queue(&mut injector, &foothold, (pid, Some(pid)), info)?;
    }
    // Nothing that can fail but by their death comes after the first that has left the loop.
    for (stopped, thread) in others {
        let mut injector = Injector::new(stopped, foothold.site())?;
        restore::thread(&mut injector, &foothold, thread)?;
        threads.push(injector.finish()?);
    }
    restore::thread(&mut injector, &foothold, leader)?;
    let mappings = maps::read(pid).map_err(|_| Errno::ESRCH)?;
    let area = (process.area_base, process.area_base + process.area.bytes());
    remove_foothold(&mut injector, &mappings, &[area, foothold.range()])?;
    let leader = injector.finish()?;
    threads.insert(0, leader);
    for thread in &threads {
        thread.set_options(options(pid, false))?;
    }
    Ok(threads)
}

/// Empties a deputy that was being filled; its threads are stopped where they wait for calls.
fn rehollow(process: &Process) -> Result<(), InjectError> {
    let leader = Running::attached(process.pid).stopped();
    let mut injector = Injector::new(leader, process.foothold.site())?;
    let area = (process.area_base, process.area_base + process.area.bytes());
    let mut keep = vec![process.foothold.range(), area];
    keep.extend(process.vdso);
    restore::wipe(&mut injector, &keep)?;
    injector.finish().map(drop)
}
