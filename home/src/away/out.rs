//! Leaving home: capture, send, and, once the node has built the body, hollow the process into a deputy.

use std::cell::Cell;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use serde_bytes::ByteBuf;
use tracee::area::{Area, take_fd};
use tracee::capture::{self, CaptureError, PageReader, Whose, runs_of};
use tracee::errno::restart;
use tracee::foothold::Foothold;
use tracee::image::{CpuUsed, Image, Unfinished, Vma, hole};
use tracee::inject::{InjectError, Injector, step_out, vdso_site};
use tracee::ptrace::{Resume, Running, Stopped};
use tracee::wait::CpuTime;
use tracee::{Errno, Event, Stop, Tid, maps, restore, wait};
use wire::message;
use wire::session::{self, Dispositions, ProcessKey, ThreadKey, ToBody};

use super::back::unfinished_calls;
use super::deputy::{Deputy, Leaving, Phase, Process, SharedArea, State, Told};
use super::precopy::{Prepared, pages};
use super::{Action, Away, Move, QUEUE_BYTES_MAX};
use crate::process::{INIT, INIT_STAYS, SIGNALFD_STAYS, TOO_MANY_THREADS, options};
use crate::procfs;

/// Slots whose windows a deputy maps: threads of it and its forks until they exec. Address space only, 8 MiB each, so
/// the second is for those whose limit of that (RLIMIT_AS) has no room for the first.
const SLOTS: [u64; 2] = [shim::area::SLOT_COUNT, 64];

/// Why a process did not leave. It is stopped and whole, unless it is gone.
#[derive(Debug)]
pub enum NotSent {
    /// It has something that keeps it at home: the stay reason. Its threads can go on.
    Stay(Vec<Stopped>, String),
    /// It has ended.
    Gone(Event, CpuTime),
}

/// Brings a thread from PTRACE_EVENT_EXEC to the first instruction of its new image: registers set at the event
/// itself would be overwritten when execve returns. What was pending in a body is pending again.
pub fn settle_exec(stopped: Stopped, pending: Vec<ByteBuf>) -> Result<Stopped, (Event, CpuTime)> {
    let tid = stopped.tid();
    let mut running = Running::attached(tid);
    running.interrupt().ok();
    let mut stopped = stopped;
    let mut late = Vec::new();
    loop {
        running = stopped.resume(Resume::Cont, 0).unwrap_or(running);
        match wait::block(tid) {
            Ok((_, Event::Stopped(stop), _)) => {
                stopped = running.stopped();
                match stop {
                    Stop::Interrupt | Stop::Group(_) => break,
                    Stop::Signal(_) => {
                        if let Ok(info) = stopped.siginfo() {
                            late.push(info.0.to_vec());
                        }
                        running = Running::attached(tid);
                    }
                    _ => running = Running::attached(tid),
                }
            }
            Ok((_, event, time)) => return Err((event, time)),
            Err(_) => return Err((Event::Killed { signal: 9, core: false }, CpuTime::default())),
        }
    }
    late.extend(pending.into_iter().map(ByteBuf::into_vec));
    if late.is_empty() {
        return Ok(stopped);
    }
    let queued = (|| {
        let mappings = maps::read(tid).map_err(|_| Errno::ESRCH)?;
        let mut injector = injector(stopped, &mappings)?;
        let base = hole(&taken(&mappings), Foothold::BYTES).ok_or(Errno::EFAULT)?;
        let foothold = Foothold::install(&mut injector, base)?;
        for info in &late {
            restore::queue(&mut injector, &foothold, (tid, None), info)?;
        }
        remove_foothold(&mut injector, &mappings, &[foothold.range()])?;
        injector.finish()
    })();
    match queued {
        Ok(stopped) => Ok(stopped),
        Err(InjectError::Gone(_, event, time)) => Err((event, time)),
        // Its registers are as they were, or it is dying.
        Err(_) => Ok(Running::attached(tid).stopped()),
    }
}

pub(super) fn taken(mappings: &[maps::Mapping]) -> Vec<(u64, u64)> {
    mappings.iter().filter(|mapping| mapping.start < 1 << 63).map(|m| (m.start, m.end)).collect()
}

/// An injector by way of the vDSO, for a process without a shim.
pub(super) fn injector(stopped: Stopped, mappings: &[maps::Mapping]) -> Result<Injector, InjectError> {
    let site = site(stopped.tid(), mappings)?;
    Injector::new(stopped, site)
}

fn site(tid: Tid, mappings: &[maps::Mapping]) -> Result<u64, Errno> {
    let vdso = mappings.iter().find(|mapping| mapping.path == b"[vdso]").ok_or(Errno(libc_errno::ENOEXEC))?;
    vdso_site(tid, vdso.start, vdso.end)
}

/// Unmaps the shim, from outside of it.
pub(super) fn remove_foothold(
    injector: &mut Injector,
    mappings: &[maps::Mapping],
    ranges: &[(u64, u64)],
) -> Result<(), InjectError> {
    injector.set_site(site(injector.tid(), mappings)?);
    for (start, end) in ranges {
        injector.call("munmap", MUNMAP, [*start, end - start, 0, 0, 0, 0])?;
    }
    Ok(())
}

impl Away {
    /// Sends a process out. Its threads are stopped, leader first, in any state, since `frozen_at`. `fresh` when it has just
    /// exec'ed; `unfinished` has what their interrupted calls have used up.
    /// From here on the process is ours until [`Action::CameHome`] or [`Action::Ended`].
    pub fn send_out(
        &mut self,
        pid: Tid,
        (threads, frozen_at): (Vec<Stopped>, Instant),
        fresh: bool,
        reason: &str,
        unfinished: &HashMap<Tid, Unfinished>,
    ) -> Result<(), NotSent> {
        let tids: Vec<Tid> = threads.iter().map(Stopped::tid).collect();
        let old = self.replaced.remove(&pid);
        self.nearness.begin(pid);
        match self.capture(pid, threads, fresh, unfinished) {
            Ok((threads, image, ours, dispositions)) => {
                let copied = match self.take_copy(pid, &image) {
                    Ok(copied) => copied,
                    Err(error) => {
                        self.nearness.end();
                        let undo = Undo::new(ours.foothold, &ours.ranges(), &image);
                        return Err(undo.make(pid, threads, format!("looking at its pages: {error}")));
                    }
                };
                let key = copied.as_ref().map_or_else(|| ProcessKey(self.shared.key()), |copied| copied.key);
                let keys: Vec<ThreadKey> = threads.iter().map(|_| ThreadKey(self.shared.key())).collect();
                let cpu_from = old.and_then(|(_, from)| from).unwrap_or(image.cpu.away);
                let encoded = message::encode(&image);
                let mut bytes = encoded.len() as u64;
                let place = ToBody::Place {
                    image: encoded.into(),
                    threads: keys.clone(),
                    replaces: old.map(|(old, _)| old),
                    dispositions,
                    stale: copied.as_ref().map_or_else(Vec::new, |copied| copied.stale.clone()),
                };
                self.tell(key, &place);
                match self.send_pages(key, pid, &image, copied.as_ref()) {
                    Ok(sent) => bytes += sent,
                    Err(error) => {
                        self.nearness.end();
                        self.let_go(key, pid, Some(cpu_from));
                        let undo = Undo::new(ours.foothold, &ours.ranges(), &image);
                        return Err(undo.make(pid, threads, format!("reading its pages: {error}")));
                    }
                }
                self.tell(key, &ToBody::Commit);
                for (tid, thread_key) in tids.iter().zip(&keys) {
                    self.threads.insert(*tid, Deputy::new(*thread_key, key, u64::MAX));
                    self.keys.insert(*thread_key, *tid);
                }
                let vdso = image.vdso;
                let files = image.vmas.iter().filter_map(capture::file_of);
                let contents = self.shared.contents.borrow();
                let files = files.filter_map(|file| contents.metadata(&file.content));
                let mapped = files.map(|metadata| (metadata.dev(), metadata.ino())).collect();
                drop(contents);
                let leaving = Leaving {
                    threads,
                    image,
                    since: copied.as_ref().map_or(frozen_at, |copied| copied.since),
                    frozen_at,
                    reason: reason.into(),
                    bytes: bytes + copied.as_ref().map_or(0, |copied| copied.bytes),
                    _copied: copied,
                };
                self.processes.insert(
                    key,
                    Process {
                        key,
                        pid,
                        phase: Phase::Leaving(Box::new(leaving)),
                        threads: tids,
                        foothold: ours.foothold,
                        area: SharedArea::new(ours.area),
                        area_base: ours.area_base,
                        vdso,
                        mapped,
                        dispositions,
                        frozen: false,
                        released: false,
                        end: None,
                        giving_up: false,
                        cpu_from: Some(cpu_from),
                        told: Told::default(),
                        forwarded: Cell::new(0),
                        traced: false,
                    },
                );
                self.pids.insert(pid, key);
                Ok(())
            }
            Err(failed) => {
                self.nearness.end();
                self.drop_copy(pid);
                if let Some((old, from)) = old {
                    self.let_go(old, pid, from);
                }
                Err(match failed {
                    Failed::Stay(threads, undo, why) => undo.make(pid, threads, why),
                    Failed::Gone(event, time) => NotSent::Gone(event, time),
                })
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn capture(
        &mut self,
        pid: Tid,
        threads: Vec<Stopped>,
        fresh: bool,
        unfinished: &HashMap<Tid, Unfinished>,
    ) -> Result<(Vec<Stopped>, Image, Ours, Dispositions), Failed> {
        if pid == INIT {
            return Err(Failed::Stay(threads, Undo::default(), INIT_STAYS.into()));
        }
        if procfs::has_signalfd(pid) {
            return Err(Failed::Stay(threads, Undo::default(), SIGNALFD_STAYS.into()));
        }
        let mappings = match if fresh { maps::read(pid) } else { maps::read_with_flags(pid) } {
            Ok(mappings) => mappings,
            Err(error) => {
                return Err(Failed::Stay(threads, Undo::default(), format!("reading its maps: {error}")));
            }
        };
        let Some(vdso) = capture::vdso_range(&mappings) else {
            // vdso=0 on the kernel's command line, or the program has unmapped it.
            let why = "it has no vDSO to be made to leave from";
            return Err(Failed::Stay(threads, Undo::default(), why.into()));
        };
        let vmas = match self.vmas(pid, &mappings) {
            Ok(vmas) => vmas,
            Err(error) => return Err(Failed::Stay(threads, Undo::default(), error.to_string())),
        };
        let cpu = self.shared.cpu.borrow();
        let away = cpu.own(pid);
        let away_of = |tid| cpu.thread(pid, tid);
        let Some(base) = hole(&taken(&mappings), Foothold::BYTES) else {
            return Err(Failed::Stay(threads, Undo::default(), "no room for the shim".into()));
        };
        let tids: Vec<Tid> = threads.iter().map(Stopped::tid).collect();
        let mut rest = threads.into_iter();
        let Some(leader) = rest.next() else {
            return Err(Failed::Gone(Event::Killed { signal: 9, core: false }, CpuTime::default()));
        };
        let mut done = Vec::new();
        // What we have mapped and taken so far, for the case that it stays.
        let mut undo = Undo::default();
        let mut captured = (|| {
            settle_call(&leader, unfinished.get(&pid))?;
            let leader = step_out(leader, vdso)?;
            let mut injector = injector(leader, &mappings)?;
            let foothold = Foothold::install(&mut injector, base)?;
            undo.foothold = Some(foothold);
            undo.ranges.push(foothold.range());
            let avoid = [taken(&mappings), vec![foothold.range()]].concat();
            let mut map = |slots| {
                let at = hole(&avoid, shim::area::bytes(slots))
                    .ok_or(InjectError::Ptrace(Errno(libc_errno::ENOMEM)))?;
                map_area(&mut injector, &foothold, at, slots).map(|area| (area, at))
            };
            let mapped = match map(SLOTS[0]) {
                Err(InjectError::Call { .. } | InjectError::Ptrace(Errno(libc_errno::ENOMEM))) => {
                    map(SLOTS[1])
                }
                mapped => mapped,
            };
            let (area, area_base) = match mapped {
                Ok(mapped) => mapped,
                Err(InjectError::Gone(tid, event, time)) => {
                    return Err(InjectError::Gone(tid, event, time).into());
                }
                Err(error) => {
                    done.push(injector.finish()?);
                    return Err(CaptureError::Stay(format!("no room for its calls: {error}")));
                }
            };
            undo.ranges.push((area_base, area_base + shim::area::bytes(area.slots())));
            if tids.len() as u64 > area.slots() {
                done.push(injector.finish()?);
                return Err(CaptureError::Stay(TOO_MANY_THREADS.into()));
            }
            let mapped = Ours { foothold, area, area_base };
            let mut layout = capture::layout(pid)?;
            layout.brk = capture::brk(&mut injector)?;
            let mut thread = capture::thread(&mut injector, &foothold, pid, fresh)?;
            let home = capture::cpu(&mut injector, &foothold, Whose::Thread)?;
            thread.cpu = CpuUsed { away: away_of(pid), home };
            let home = capture::cpu(&mut injector, &foothold, Whose::Process)?;
            thread.unfinished = unfinished.get(&pid).copied();
            let (actions, ignored) = capture::actions(&mut injector, &foothold)?;
            thread.pending = capture::take_pending(&mut injector, &foothold, false)?;
            undo.pending.extend(thread.pending.iter().map(|info| (Some(pid), info.clone())));
            let pending = capture::take_pending(&mut injector, &foothold, true)?;
            undo.pending.extend(pending.iter().map(|info| (None, info.clone())));
            let image = Image {
                vmas,
                layout,
                threads: vec![thread],
                actions,
                ignored,
                pending,
                vdso: Some(vdso),
                limits: capture::limits(pid),
                cpu: CpuUsed { away, home },
                cpu_timers: capture::cpu_timers(&mut injector, &foothold)?,
            };
            done.push(injector.finish()?);
            Ok((image, mapped))
        })();
        for stopped in rest {
            let tid = stopped.tid();
            captured = match captured {
                Ok((mut image, mapped)) => {
                    let foothold = &mapped.foothold;
                    (|| {
                        settle_call(&stopped, unfinished.get(&tid))?;
                        let stopped = step_out(stopped, vdso)?;
                        let mut injector = Injector::new(stopped, foothold.site())?;
                        let mut thread = capture::thread(&mut injector, foothold, tid, false)?;
                        let home = capture::cpu(&mut injector, foothold, Whose::Thread)?;
                        thread.cpu = CpuUsed { away: away_of(tid), home };
                        thread.unfinished = unfinished.get(&tid).copied();
                        thread.pending = capture::take_pending(&mut injector, foothold, false)?;
                        undo.pending.extend(thread.pending.iter().map(|info| (Some(tid), info.clone())));
                        image.threads.push(thread);
                        done.push(injector.finish()?);
                        Ok(image)
                    })()
                    .map(|image| (image, mapped))
                }
                Err(error) => {
                    // It stays: this one is as it was.
                    done.push(stopped);
                    Err(error)
                }
            };
        }
        match captured {
            Ok((image, mapped)) => {
                let child = image.actions.iter().find(|(number, _)| *number == SIGCHLD);
                let child_flags = child.map_or(0, |(_, action)| action[1] & CHILD_FLAGS);
                let handlers = image.actions.iter().filter(|(_, action)| action[0] != SIG_DFL);
                let caught = handlers.fold(0, |set, (number, _)| set | 1 << (number - 1));
                let dispositions = Dispositions { ignored: image.ignored, caught, child_flags, waited: 0 };
                Ok((done, image, mapped, dispositions))
            }
            Err(CaptureError::Inject(InjectError::Gone(_, event, time))) => Err(Failed::Gone(event, time)),
            Err(error) => {
                // One that failed under injection is stopped and as it was, or killed.
                done.clear();
                let all = tids.into_iter().map(|tid| Running::attached(tid).stopped()).collect();
                Err(Failed::Stay(all, undo, error.to_string()))
            }
        }
    }

    /// The mappings of a process as an image has them.
    pub(super) fn vmas(&mut self, pid: Tid, mappings: &[maps::Mapping]) -> Result<Vec<Vma>, CaptureError> {
        let mut contents = self.shared.contents.borrow_mut();
        capture::vmas(mappings, &[], |mapping| {
            let named = contents.of_mapping(pid, mapping).map_err(CaptureError::Stay)?;
            named.ok_or_else(|| {
                let path = String::from_utf8_lossy(&mapping.path).into_owned();
                CaptureError::Stay(format!("mapping of {path}, which is not there any more"))
            })
        })
    }

    /// A process that has exec'ed does not go on here. Whether its body says yet what CPU time it has used:
    /// [`Action::Counted`] follows then.
    pub fn leave(&mut self, pid: Tid) -> bool {
        let Some((old, from)) = self.replaced.remove(&pid) else { return false };
        self.let_go(old, pid, from);
        from.is_some()
    }

    /// Sends the pages, or what a pre-copy has left of them.
    fn send_pages(
        &mut self,
        key: ProcessKey,
        pid: Tid,
        image: &Image,
        copied: Option<&Prepared>,
    ) -> std::io::Result<u64> {
        let mut reader = PageReader::open(pid)?;
        let mut sent = 0;
        for (index, vma) in image.vmas.iter().enumerate() {
            let runs = match copied.and_then(|copied| copied.left.get(index)) {
                Some(left) => left.iter().copied().flat_map(runs_of).collect(),
                None => reader.runs(vma)?,
            };
            for run in runs {
                let fresh = copied.is_none_or(|copied| copied.is_fresh(run));
                for frame in reader.frames(vma, run, fresh, pages)? {
                    sent += frame.len as u64;
                    // As in `tell`: a link that fails says so when it is driven.
                    self.link.send(session::process_channel(key), frame.bytes).ok();
                }
                while self.link.queued_bytes() > QUEUE_BYTES_MAX {
                    let until = Instant::now() + std::time::Duration::from_millis(100);
                    self.link.wait(until).map_err(std::io::Error::other)?;
                    self.link.drive(Instant::now()).map_err(std::io::Error::other)?;
                }
            }
        }
        Ok(sent)
    }

    /// The node has built the body: hollow the process, then let the body run.
    pub(super) fn on_built(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if !matches!(process.phase, Phase::Leaving(_)) {
            return;
        }
        let Phase::Leaving(leaving) = std::mem::replace(&mut process.phase, Phase::Away) else { return };
        let pid = process.pid;
        self.nearness.begin(pid);
        let hollow = self.hollow(key, *leaving);
        if !self.serves_one() {
            self.nearness.end();
        }
        match hollow {
            Ok(report) => {
                self.tell(key, &ToBody::Go);
                let now = Instant::now();
                self.actions.push_back(Action::Moved(Move {
                    pid,
                    from: "home".into(),
                    to: self.name.clone(),
                    reason: report.reason,
                    freeze_ms: (now - report.frozen_at).as_secs_f64() * 1e3,
                    total_ms: (now - report.since).as_secs_f64() * 1e3,
                    bytes: report.bytes,
                    failed: None,
                }));
            }
            Err(error) => {
                // Half hollow is nothing that can run.
                self.tell(key, &ToBody::Release);
                // One that somebody has killed meanwhile is not lost.
                if !matches!(error, InjectError::Gone(tid, ..) if tid == pid) {
                    let line = format!("process {pid} was lost while it left home: {error}");
                    self.actions.push_back(Action::Say(line));
                    tracee::signal::kill(pid, 9).ok();
                }
                if let InjectError::Gone(tid, event, time) = error {
                    self.on_thread_end(tid, event, time);
                }
            }
        }
    }

    fn hollow(&mut self, key: ProcessKey, mut leaving: Leaving) -> Result<Leaving, InjectError> {
        let process = self.processes.get_mut(&key).ok_or(Errno::ESRCH)?;
        let foothold = process.foothold;
        let threads = std::mem::take(&mut leaving.threads);
        let mut stopped = Vec::new();
        for (thread, image) in threads.into_iter().zip(&leaving.image.threads) {
            let mut injector = Injector::new(thread, foothold.site())?;
            restore::unregister(&mut injector, image)?;
            stopped.push(injector.finish()?);
        }
        let leader = stopped.remove(0);
        leader.set_options(options(process.pid, true))?;
        let mut injector = Injector::new(leader, foothold.site())?;
        let mut keep = vec![foothold.range(), (process.area_base, process.area_base + process.area.bytes())];
        // The kernel shows the command from these pages.
        let layout = &leaving.image.layout;
        let args = (layout.arg_start & !4095, (layout.env_end.max(layout.arg_end) + 4095) & !4095);
        keep.push(args);
        keep.extend(process.vdso);
        restore::wipe(&mut injector, &keep)?;
        let Dispositions { ignored, caught, .. } = process.dispositions;
        restore::set_deputy_actions(&mut injector, &foothold, ignored, caught)?;
        set_child_flags(&mut injector, &foothold, &process.dispositions)?;
        restore::stop_cpu_timers(&mut injector, &foothold, &leaving.image.cpu_timers)?;
        let mask = process.idle_mask();
        injector.saved_mut().orig_rax = u64::MAX;
        *injector.mask_mut() = mask;
        let leader = injector.finish()?;
        stopped.insert(0, leader);
        let mut regs_of = Vec::new();
        for thread in &stopped {
            let slot = process.area.take().ok_or(Errno(libc_errno::EAGAIN))?;
            thread.set_options(options(process.pid, true))?;
            let mut regs = thread.regs()?;
            enter_loop(&mut regs, process, slot);
            thread.set_regs(&regs)?;
            thread.set_sigmask(mask)?;
            regs_of.push(slot);
        }
        for (thread, slot) in stopped.into_iter().zip(regs_of) {
            let tid = thread.tid();
            if let Some(deputy) = self.threads.get_mut(&tid) {
                deputy.slot = slot;
                deputy.mask = mask;
                let running = thread.resume(Resume::Cont, 0)?;
                deputy.state = State::Running(running);
            }
        }
        Ok(leaving)
    }

    /// The node will not have it: it stays.
    pub(super) fn on_refused(&mut self, key: ProcessKey, why: &str) {
        let leaving = matches!(self.processes.get(&key), Some(Process { phase: Phase::Leaving(_), .. }));
        if !leaving {
            return;
        }
        let Some(process) = self.processes.remove(&key) else { return };
        let Phase::Leaving(leaving) = process.phase else { return };
        if let Some(from) = process.cpu_from {
            self.shared.cpu.borrow_mut().expect(key, process.pid, from);
        }
        self.forget(&process.threads, process.pid, &SharedArea::none());
        let unfinished = unfinished_calls(&leaving.image);
        self.actions.push_back(Action::Moved(Move {
            pid: process.pid,
            from: "home".into(),
            to: self.name.clone(),
            reason: leaving.reason,
            freeze_ms: leaving.frozen_at.elapsed().as_secs_f64() * 1e3,
            total_ms: leaving.since.elapsed().as_secs_f64() * 1e3,
            bytes: leaving.bytes,
            failed: Some(why.into()),
        }));
        let ours = [process.foothold.range(), (process.area_base, process.area_base + process.area.bytes())];
        let undo = Undo::new(process.foothold, &ours, &leaving.image);
        let undone = undo.make(process.pid, leaving.threads, why.into());
        self.nearness.end();
        match undone {
            NotSent::Stay(threads, why) => {
                self.actions.push_back(Action::CameHome {
                    pid: process.pid,
                    threads,
                    stay: Some(why),
                    unfinished,
                });
            }
            NotSent::Gone(event, time) => {
                self.actions.push_back(Action::Ended { pid: process.pid, event, time });
            }
        }
    }

    pub(super) fn forget(&mut self, threads: &[Tid], pid: Tid, area: &SharedArea) {
        self.pids.remove(&pid);
        for tid in threads {
            if let Some(deputy) = self.threads.remove(tid) {
                self.keys.remove(&deputy.key);
                area.leave(&deputy);
            }
        }
    }
}

/// What of ours is in a process that leaves.
struct Ours {
    foothold: Foothold,
    area: Area,
    area_base: u64,
}

impl Ours {
    fn ranges(&self) -> [(u64, u64); 2] {
        let area = shim::area::bytes(self.area.slots());
        [self.foothold.range(), (self.area_base, self.area_base + area)]
    }
}

/// What has been done to a process that stays after all.
#[derive(Default)]
struct Undo {
    foothold: Option<Foothold>,
    /// Our mappings.
    ranges: Vec<(u64, u64)>,
    /// What was pending for a thread, or for the process.
    pending: Vec<(Option<Tid>, Vec<u8>)>,
}

impl Undo {
    fn new(foothold: Foothold, ranges: &[(u64, u64)], image: &Image) -> Undo {
        let of_threads = image
            .threads
            .iter()
            .flat_map(|thread| thread.pending.iter().map(|info| (Some(thread.tid), info)));
        let of_process = image.pending.iter().map(|info| (None, info));
        let pending = of_threads.chain(of_process).map(|(tid, info)| (tid, info.clone())).collect();
        Undo { foothold: Some(foothold), ranges: ranges.to_vec(), pending }
    }

    /// Takes our pages out of the process, and makes pending again what was.
    fn make(self, pid: Tid, mut threads: Vec<Stopped>, why: String) -> NotSent {
        let Some(foothold) = self.foothold else { return NotSent::Stay(threads, why) };
        let leader = threads.remove(0);
        let undone = maps::read(pid).map_err(|_| InjectError::Ptrace(Errno::ESRCH)).and_then(|mappings| {
            let pending_of = |whose: Option<Tid>| {
                self.pending.iter().filter(move |(tid, _)| *tid == whose).map(|(_, info)| info)
            };
            // By the thread itself: it alone may send itself what says that the kernel sent it.
            for thread in &mut threads {
                let tid = thread.tid();
                if pending_of(Some(tid)).next().is_some() {
                    let stopped = Running::attached(tid).stopped();
                    let mut injector = Injector::new(stopped, foothold.site())?;
                    for info in pending_of(Some(tid)) {
                        restore::queue(&mut injector, &foothold, (pid, Some(tid)), info)?;
                    }
                    *thread = injector.finish()?;
                }
            }
            let mut injector = injector(leader, &mappings)?;
            for info in pending_of(Some(pid)) {
                restore::queue(&mut injector, &foothold, (pid, Some(pid)), info)?;
            }
            for info in pending_of(None) {
                restore::queue(&mut injector, &foothold, (pid, None), info)?;
            }
            remove_foothold(&mut injector, &mappings, &self.ranges)?;
            injector.finish()
        });
        match undone {
            Ok(leader) => threads.insert(0, leader),
            Err(InjectError::Gone(_, event, time)) => return NotSent::Gone(event, time),
            Err(_) => threads.insert(0, Running::attached(pid).stopped()),
        }
        NotSent::Stay(threads, why)
    }
}

enum Failed {
    Stay(Vec<Stopped>, Undo, String),
    Gone(Event, CpuTime),
}

pub(super) fn enter_loop(regs: &mut tracee::regs::Regs, process: &Process, slot: u64) {
    regs.rip = process.foothold.entry(shim::entry::LOOP);
    regs.rbx = process.area_base + shim::area::slot(slot);
    regs.r12 = process.area_base + shim::area::BELL;
    regs.orig_rax = u64::MAX;
}

/// Makes the call area in the deputy and maps it here. The descriptor that this takes is gone again before the
/// process runs.
fn map_area(
    injector: &mut Injector,
    foothold: &Foothold,
    base: u64,
    slots: u64,
) -> Result<Area, InjectError> {
    let pid = injector.tid();
    tracee::memory::write_all(pid, foothold.scratch(), b"mosix-calls\0")?;
    let fd = injector.call("memfd_create", MEMFD_CREATE, [foothold.scratch(), 1, 0, 0, 0, 0])?;
    let made = (|| {
        let file = take_fd(pid, fd as i32)?;
        rustix::fs::ftruncate(&file, shim::area::bytes(shim::area::SLOT_COUNT))
            .map_err(|error| Errno(error.raw_os_error()))?;
        Ok::<_, InjectError>(Area::map(file, slots)?)
    })();
    let mapped = made.and_then(|area| {
        let args = [base, shim::area::bytes(slots), 3, MAP_SHARED_FIXED, fd, 0];
        injector.call("mmap", MMAP, args).map(|_| area)
    });
    injector.call("close", CLOSE, [fd, 0, 0, 0, 0, 0])?;
    mapped
}

/// Mirrors what SIGCHLD's disposition means for zombies, and whether it comes for children that stop or go on: one of
/// those that is pending would swallow the one for the end.
pub(super) fn set_child_flags(
    injector: &mut Injector,
    foothold: &Foothold,
    dispositions: &Dispositions,
) -> Result<(), InjectError> {
    if dispositions.ignored >> (SIGCHLD - 1) & 1 != 0 {
        return Ok(());
    }
    let args = [SIGCHLD as u64, 0, foothold.scratch(), 8, 0, 0];
    injector.call("rt_sigaction", RT_SIGACTION, args)?;
    let flags = tracee::memory::read_u64(injector.tid(), foothold.scratch() + 8)?;
    if dispositions.child_flags != flags & CHILD_FLAGS {
        let mut handler = tracee::memory::read_u64(injector.tid(), foothold.scratch())?;
        if dispositions.caught >> (SIGCHLD - 1) & 1 != 0 && handler == SIG_DFL {
            // Stands for the body's, and never runs. Setting the default would drop a pending SIGCHLD.
            handler = foothold.base();
        }
        let flags = flags & !CHILD_FLAGS | dispositions.child_flags & CHILD_FLAGS;
        let words = [handler.to_le_bytes(), flags.to_le_bytes()].concat();
        tracee::memory::write_all(injector.tid(), foothold.scratch(), &words)?;
        let args = [SIGCHLD as u64, foothold.scratch(), 0, 8, 0, 0];
        injector.call("rt_sigaction", RT_SIGACTION, args)?;
    }
    Ok(())
}

/// Makes a thread that was interrupted in a call ready to make it again at the node.
pub(super) fn settle_call(stopped: &Stopped, unfinished: Option<&Unfinished>) -> Result<(), Errno> {
    let mut regs = stopped.regs()?;
    let Some(nr) = regs.call() else { return Ok(()) };
    match (regs.ret(), unfinished) {
        // restart_syscall, or the call itself.
        (ret, Some(unfinished)) if restart::is_code(ret) || ret == -4 => regs.rearm(unfinished.nr),
        // Which call that goes on with was never seen.
        (restart::BLOCK, None) if nr == RESTART_SYSCALL => regs.rearm(FUTEX),
        _ => {
            regs.orig_rax = u64::MAX;
        }
    }
    stopped.set_regs(&regs)
}

const RESTART_SYSCALL: u32 = 219;
const FUTEX: u32 = 202;
const MMAP: i64 = 9;
const CLOSE: i64 = 3;
pub(super) const MUNMAP: i64 = 11;
const RT_SIGACTION: i64 = 13;
const MEMFD_CREATE: i64 = 319;
const MAP_SHARED_FIXED: u64 = 0x10_0001;
const SIGCHLD: i32 = 17;
const SIG_DFL: u64 = 0;
/// SA_NOCLDSTOP, SA_NOCLDWAIT.
const CHILD_FLAGS: u64 = 3;

mod libc_errno {
    pub(super) const ENOEXEC: i32 = 8;
    pub(super) const EAGAIN: i32 = 11;
    pub(super) const ENOMEM: i32 = 12;
}
