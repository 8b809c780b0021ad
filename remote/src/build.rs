//! Building a body from an image.

use std::borrow::Cow;

use tracee::foothold::Foothold;
use tracee::image::{CpuUsed, FileRef, Image, Outline, Used, alike, hole, hole_beside, outside};
use tracee::inject::{InjectError, Injector};
use tracee::ptrace::{Options, Resume, Running, Stopped};
use tracee::{Errno, Event, Stop, Tid, capture, maps, memory, restore, wait};
use wire::message;
use wire::session::{Dispositions, FromBody, ProcessKey, ThreadKey};

use crate::body::{
    Building, Made, Native, PendingDeadline, Phase, Process, Restart, State, Thread, Words, Written,
};
use crate::session::{Session, SessionError};
use crate::vdso;

/// What bodies report: their calls by the filter, their children, their end.
pub(crate) const OPTIONS: Options = Options { exit_kill: true, exit_event: false, seccomp: true };

/// Why a body could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("its image is unreadable: {0}")]
    Image(#[from] message::DecodeError),
    #[error("pid {0} cannot be had in the sandbox: {1}")]
    Pid(Tid, Errno),
    #[error("{0}")]
    Inject(#[from] InjectError),
    #[error("{0}")]
    Errno(#[from] Errno),
    #[error("reading the body's maps: {0}")]
    Maps(#[from] std::io::Error),
    #[error("no room for the shim beside its mappings")]
    NoHole,
    #[error("its vDSO is not as its kernel made it")]
    Vdso,
    #[error("its file content is gone from the cache")]
    Content,
    #[error("it is not the process that a body was prepared for")]
    Changed,
}

impl Session {
    /// Builds a body, or completes the one that was prepared.
    pub(crate) fn place(
        &mut self,
        key: ProcessKey,
        image: &[u8],
        (keys, dispositions, stale): (Vec<ThreadKey>, Dispositions, Vec<(u64, u64)>),
        replaces: Option<ProcessKey>,
    ) -> Result<(), SessionError> {
        if let Some(why) = self.closed_to(replaces) {
            return self.say(key, &FromBody::Refused(why));
        }
        let mut used = None;
        if let Some(old) = replaces {
            used = self.used_until_exec(old)?;
            self.end_now(old)?;
        }
        let mut image: Image = match message::decode(image) {
            Ok(image) => image,
            Err(error) => return self.refuse(key, &error.into()),
        };
        if let (Some((process, thread)), Some(leader)) = (used, image.threads.first_mut()) {
            image.cpu.away = process;
            leader.cpu.away = thread;
        }
        let Some(pid) = image.threads.first().map(|thread| thread.tid) else {
            return self.refuse(key, &BuildError::NoHole);
        };
        let outline = Outline { pid, vmas: std::mem::take(&mut image.vmas), vdso: image.vdso };
        let used = image.cpu;
        if !self.outline(key, outline)? {
            return Ok(());
        }
        if let Some(process) = self.processes.get_mut(&key)
            && let Phase::Building(building) = &mut process.phase
        {
            (building.image, building.keys, building.stale) = (Some(image), keys, stale);
            (process.dispositions, process.used) = (dispositions, used);
            process.told_dispositions = dispositions;
        }
        self.go_on_building(key)
    }

    /// Gives a body the mappings of a process that still runs at home, so that its pages can come before it does.
    pub(crate) fn prepare(&mut self, key: ProcessKey, outline: &[u8]) -> Result<(), SessionError> {
        let outline = match message::decode(outline) {
            Ok(outline) => outline,
            Err(error) => return self.refuse(key, &BuildError::from(error)),
        };
        if !self.outline(key, outline)? {
            return Ok(());
        }
        if matches!(self.processes.get(&key), Some(Process { phase: Phase::Building(b), .. }) if b.is_mapped)
        {
            return self.say(key, &FromBody::Prepared);
        }
        self.go_on_building(key)
    }

    /// Says what mappings a body is to have, which may be new. False if it can have them no more.
    fn outline(&mut self, key: ProcessKey, outline: Outline) -> Result<bool, SessionError> {
        let wanted: Vec<FileRef> = outline.vmas.iter().filter_map(capture::file_of).cloned().collect();
        match self.processes.get_mut(&key).map(|process| (process.pid, process.vdso, &mut process.phase)) {
            None => {
                let building = Building {
                    outline,
                    mapped: Vec::new(),
                    is_mapped: false,
                    image: None,
                    keys: Vec::new(),
                    early: Vec::new(),
                    stale: Vec::new(),
                    leader: None,
                    committed: false,
                };
                self.processes.insert(key, Process::new(key, building));
            }
            Some((pid, vdso, Phase::Building(building)))
                if (pid, vdso) == (outline.pid, outline.vdso) && building.image.is_none() =>
            {
                building.is_mapped = building.is_mapped && building.outline == outline;
                building.outline = outline;
            }
            Some((_, _, Phase::Ending)) => return Ok(false),
            Some(_) => {
                self.refuse(key, &BuildError::Changed)?;
                return Ok(false);
            }
        }
        for file in wanted {
            self.want(&file)?;
        }
        Ok(true)
    }

    /// Takes pages in.
    pub(crate) fn pages(
        &mut self,
        key: ProcessKey,
        start: u64,
        bytes: Cow<[u8]>,
    ) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let Phase::Building(building) = &mut process.phase else { return Ok(()) };
        if !building.is_mapped {
            building.early.push((start, bytes.into_owned()));
            return Ok(());
        }
        match restore::write_pages(process.host, start, &bytes) {
            Ok(()) => Ok(()),
            Err(errno) => self.refuse(key, &errno.into()),
        }
    }

    /// All pages are sent.
    pub(crate) fn commit(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        if let Some(Process { phase: Phase::Building(building), .. }) = self.processes.get_mut(&key) {
            building.committed = true;
        }
        self.go_on_building(key)
    }

    /// Does what can be done now: map when all contents are here, finish when all pages are.
    pub(crate) fn go_on_building(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        self.hurried(|session| session.build_on(key))
    }

    fn build_on(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let Phase::Building(building) = &mut process.phase else { return Ok(()) };
        if !building.is_mapped {
            let cache = &mut self.cache;
            if !building
                .outline
                .vmas
                .iter()
                .filter_map(capture::file_of)
                .all(|file| cache.get(file).is_some())
            {
                return Ok(());
            }
            let fresh = building.leader.is_none();
            if let Err(error) = if fresh { self.map_body(key) } else { self.map_again(key) } {
                self.nearness.end(self.host_of(key).into_iter());
                return self.refuse(key, &error);
            }
            if let Some(Process { phase: Phase::Building(building), .. }) = self.processes.get(&key)
                && building.image.is_none()
            {
                self.say(key, &FromBody::Prepared)?;
            }
        }
        let ready = matches!(
            self.processes.get(&key),
            Some(Process { phase: Phase::Building(building), .. }) if building.committed
        );
        if !ready {
            // Pages are to come: from a supervisor that had better be on another core.
            self.nearness.end(self.host_of(key).into_iter());
            return Ok(());
        }
        let host = self.host_of(key).unwrap_or_default();
        let core = if self.threads.is_empty() { self.link.arrives_on() } else { None };
        self.nearness.builds(host, core);
        let finished = self.finish_body(key);
        self.nearness.built(host, self.threads.len() == 1);
        match finished {
            Ok(()) => self.say(key, &FromBody::Built),
            Err(error) => self.refuse(key, &error),
        }
    }

    fn host_of(&self, key: ProcessKey) -> Option<Tid> {
        self.processes.get(&key).map(|process| process.host).filter(|host| *host != 0)
    }

    /// Tells home that it cannot be, and removes what was begun.
    fn refuse(&mut self, key: ProcessKey, error: &BuildError) -> Result<(), SessionError> {
        self.say(key, &FromBody::Refused(error.to_string()))?;
        self.end_now(key)
    }

    fn map_body(&mut self, key: ProcessKey) -> Result<(), BuildError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let Phase::Building(building) = &mut process.phase else { return Ok(()) };
        let host = self.sandbox.spawn(process.pid).map_err(|errno| BuildError::Pid(process.pid, errno))?;
        process.host = host;
        process.threads = vec![host];
        self.hosts.insert(host, key);
        let core = if self.threads.is_empty() { self.link.arrives_on() } else { None };
        self.nearness.builds(host, core);
        let leader = take_over(host)?;
        // It waits in pause(2): the instruction before is a `syscall`.
        let site = leader.regs()?.rip - tracee::regs::SYSCALL_LEN;
        let rseq = leader.rseq()?;
        let mut injector = Injector::new(leader, site)?;
        if let Some(rseq) = rseq {
            restore::unregister_rseq(&mut injector, rseq)?;
        }
        let own = maps::read(host)?;
        let taken: Vec<_> = own.iter().map(|mapping| (mapping.start, mapping.end)).collect();
        let outline = &building.outline;
        let base = hole_beside(&outline.vmas, Foothold::BYTES, &taken).ok_or(BuildError::NoHole)?;
        let foothold = Foothold::install(&mut injector, base)?;
        process.foothold = foothold;
        let mut keep = vec![foothold.range()];
        let specials: Vec<_> = own
            .iter()
            .filter(|mapping| capture::is_special(mapping) && mapping.start < 1 << 63)
            .map(|mapping| (mapping.start, mapping.end))
            .collect();
        if let (Some(_), Some(trampolines)) = (outline.vdso, &self.trampolines) {
            let sandbox = &self.sandbox;
            let place = vdso::install(trampolines, sandbox, &mut injector, &foothold, outline, &own)?;
            process.trampolines = Some(place);
        } else if let (Some((target, target_end)), Some((from, end))) =
            (outline.vdso, capture::vdso_range(&own))
        {
            // By way of a free place: the target may be taken by what is unmapped next, or by itself.
            let mut avoid = taken.clone();
            avoid.push(foothold.range());
            avoid.push((target, target_end));
            let aside = hole(&avoid, end - from).ok_or(BuildError::NoHole)?;
            restore::move_vdso(&mut injector, &specials, from, aside)?;
            keep.push((aside, aside + (end - from)));
            restore::wipe(&mut injector, &keep)?;
            let moved: Vec<_> =
                specials.iter().map(|(start, end)| (start - from + aside, end - from + aside)).collect();
            restore::move_vdso(&mut injector, &moved, aside, target)?;
        } else {
            restore::wipe(&mut injector, &keep)?;
        }
        building.leader = Some(injector.finish()?);
        self.map_again(key)
    }

    /// Makes the mappings that are wanted of those that are there, and writes the pages that came before them.
    fn map_again(&mut self, key: ProcessKey) -> Result<(), BuildError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let Phase::Building(building) = &mut process.phase else { return Ok(()) };
        let (foothold, host, wanted) = (process.foothold, process.host, &building.outline.vmas);
        let mapped = std::mem::take(&mut building.mapped);
        let (ours, ours_end) = foothold.range();
        if wanted.iter().any(|vma| vma.start < ours_end && ours < vma.end) {
            return Err(BuildError::NoHole);
        }
        let Some(leader) = building.leader.take() else { return Err(BuildError::Content) };
        let mut injector = Injector::new(leader, foothold.site())?;
        let kept = alike(&mapped, wanted);
        let gone: Vec<_> = outside(&mapped, &kept).iter().map(|vma| (vma.start, vma.end)).collect();
        restore::unmap(&mut injector, &gone)?;
        let (cache, sandbox) = (&mut self.cache, &self.sandbox);
        let mut missing = false;
        let open = |injector: &mut Injector, file: &FileRef| {
            use std::os::fd::AsRawFd;
            match cache.get(file) {
                Some(content) => sandbox.pass_fd(injector, &foothold, content.as_raw_fd()).map(Some),
                None => {
                    missing = true;
                    Ok(None)
                }
            }
        };
        let parts = if kept.is_empty() { Cow::from(wanted) } else { outside(wanted, &kept).into() };
        restore::map(&mut injector, &parts, open)?;
        if missing {
            return Err(BuildError::Content);
        }
        building.leader = Some(injector.finish()?);
        building.is_mapped = true;
        if building.image.is_none() {
            building.mapped = wanted.clone();
        }
        for (start, bytes) in building.early.drain(..) {
            restore::write_pages(host, start, &bytes)?;
        }
        Ok(())
    }

    fn finish_body(&mut self, key: ProcessKey) -> Result<(), BuildError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        let phase = std::mem::replace(&mut process.phase, Phase::Built);
        let Phase::Building(mut building) = phase else { return Ok(()) };
        let Some(leader) = building.leader.take() else { return Err(BuildError::Content) };
        let (host, pid, foothold) = (process.host, process.pid, process.foothold);
        let Some(image) = &building.image else { return Err(BuildError::Content) };
        let mut injector = Injector::new(leader, foothold.site())?;
        restore::forget_pages(&mut injector, &building.stale)?;
        restore::set_layout(&mut injector, &foothold, &image.layout)?;
        restore::set_actions(&mut injector, &foothold, &image.actions, image.ignored)?;
        let mut stopped = Vec::new();
        for thread in &image.threads[1..] {
            let child = make_thread(&mut injector, &foothold, thread.tid)?;
            let mut injector = Injector::new(child, foothold.site())?;
            restore::thread(&mut injector, &foothold, thread)?;
            for info in &thread.pending {
                restore::queue(&mut injector, &foothold, (pid, Some(thread.tid)), info)?;
            }
            stopped.push(injector.finish()?);
        }
        for info in &image.pending {
            restore::queue(&mut injector, &foothold, (pid, None), info)?;
        }
        for info in &image.threads[0].pending {
            restore::queue(&mut injector, &foothold, (pid, Some(pid)), info)?;
        }
        restore::cpu_timers(&mut injector, &foothold, &image.cpu_timers)?;
        // Last: what is mapped by now may be more than they allow.
        for (resource, soft, hard) in &image.limits {
            match restore::limit_from_within(&mut injector, &foothold, *resource, *soft, *hard) {
                // One that cannot be set here is home's alone.
                Ok(()) | Err(InjectError::Call { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        restore::thread(&mut injector, &foothold, &image.threads[0])?;
        stopped.insert(0, injector.finish()?);
        let process = self.processes.get_mut(&key).ok_or(BuildError::Content)?;
        process.host = host;
        process.words = Words::of(host, &image.layout);
        process.threads = stopped.iter().map(Stopped::tid).collect();
        for ((stopped, thread), thread_key) in stopped.into_iter().zip(&image.threads).zip(&building.keys) {
            let host = stopped.tid();
            let mut made = Thread::new(*thread_key, key, thread.tid, State::Held(stopped));
            made.used = thread.cpu;
            if let Some(unfinished) = thread.unfinished {
                let after = thread.regs.rip.wrapping_add(tracee::regs::SYSCALL_LEN);
                let call = Made { nr: unfinished.nr, args: thread.regs.args(), after };
                made.restart = Some(Restart { call, code: unfinished.code });
                match unfinished.used {
                    Used::Nothing => {}
                    Used::Until(ns) => {
                        let at = self.instant_of(ns);
                        made.deadline = Some(PendingDeadline { call, at, again: true });
                    }
                    Used::Bytes(bytes) => made.written = Some(Written { call, bytes }),
                }
            }
            self.threads.insert(host, made);
            self.keys.insert(*thread_key, host);
            self.hosts.insert(host, key);
            self.see_calls(host);
        }
        Ok(())
    }

    /// Lets a built body run.
    pub(crate) fn go(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        if matches!(process.phase, Phase::Built) {
            process.phase = Phase::Alive;
        }
        self.be_guest(key);
        self.usage.begin();
        self.resume_held(key)
    }

    /// Resumes the threads that are held, if the process may run.
    pub(crate) fn resume_held(&mut self, key: ProcessKey) -> Result<(), SessionError> {
        let Some(process) = self.processes.get(&key) else { return Ok(()) };
        if !process.may_run() {
            return Ok(());
        }
        for host in process.threads.clone() {
            let vfork = self.processes.values().any(|child| child.vfork_parent == Some(host));
            if !vfork {
                self.resume(host)?;
            }
        }
        Ok(())
    }

    /// Resumes one held thread.
    pub(crate) fn resume(&mut self, host: Tid) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        match std::mem::replace(&mut thread.state, State::Busy) {
            State::Held(stopped) => {
                thread.run(stopped, 0, Native::Plain);
                Ok(())
            }
            other => {
                thread.state = other;
                Ok(())
            }
        }
    }
}

impl Thread {
    pub(crate) fn new(key: ThreadKey, process: ProcessKey, tid: Tid, state: State) -> Thread {
        Thread {
            key,
            process,
            tid,
            state,
            seq: 0,
            seen: 0,
            restart: None,
            deadline: None,
            written: None,
            traced: None,
            every_call: false,
            used: CpuUsed::default(),
        }
    }

    /// Lets the thread go on. One that was killed meanwhile counts as running until its end is reported.
    pub(crate) fn run(&mut self, stopped: Stopped, signal: i32, native: Native) {
        let how = if native == Native::Plain && !self.every_call { Resume::Cont } else { Resume::Syscall };
        self.state = State::run(stopped, how, signal, native);
    }
}

impl State {
    fn run(stopped: Stopped, how: Resume, signal: i32, native: Native) -> State {
        let tid = stopped.tid();
        let running = stopped.resume(how, signal).unwrap_or_else(|_| Running::attached(tid));
        State::Running(running, native)
    }
}

/// Seizes a fresh process and stops it in pause(2). It reports itself before its filter is installed (afterwards it
/// could not): only in pause is it certain that the filter holds.
fn take_over(host: Tid) -> Result<Stopped, BuildError> {
    const PAUSE: u32 = 34;
    let mut running = Running::seize(host, OPTIONS)?;
    running.interrupt()?;
    loop {
        match wait::block(host)? {
            (_, Event::Stopped(_), _) => {
                let stopped = running.stopped();
                if stopped.regs()?.call() == Some(PAUSE) {
                    return Ok(stopped);
                }
                running = stopped.resume(Resume::Syscall, 0)?;
            }
            (tid, event, time) => return Err(InjectError::Gone(tid, event, time).into()),
        }
    }
}

/// Makes a thread with the wanted id in a body whose leader is stopped.
fn make_thread(injector: &mut Injector, foothold: &Foothold, tid: Tid) -> Result<Stopped, BuildError> {
    let flags = libc_flags::CLONE_THREAD_ALL;
    let scratch = foothold.scratch();
    let set_tid = scratch + 128;
    let args = [flags, 0, 0, 0, 0, 0, 0, 0, set_tid, 1, 0];
    let mut bytes: Vec<u8> = args.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    bytes.resize(128, 0);
    bytes.extend_from_slice(&tid.to_le_bytes());
    memory::write_all(injector.tid(), scratch, &bytes)?;
    injector.call("clone3", CLONE3, [scratch, CLONE_ARGS_BYTES, 0, 0, 0, 0])?;
    let child = injector.take_child().ok_or(Errno::ESRCH)?;
    match wait::block(child)? {
        (_, Event::Stopped(Stop::Interrupt | Stop::Signal(_)), _) => Ok(Running::attached(child).stopped()),
        (tid, event, time) => Err(InjectError::Gone(tid, event, time).into()),
    }
}

/// Number of clone3 and the size of its argument (CLONE_ARGS_SIZE_VER2).
pub(crate) const CLONE3: i64 = 435;
pub(crate) const CLONE_ARGS_BYTES: u64 = 88;

/// CLONE_* of sched.h that the executor uses.
pub(crate) mod libc_flags {
    pub(crate) const CLONE_VM: u64 = 0x100;
    pub(crate) const CLONE_PIDFD: u64 = 0x1000;
    pub(crate) const CLONE_PTRACE: u64 = 0x2000;
    pub(crate) const CLONE_VFORK: u64 = 0x4000;
    pub(crate) const CLONE_PARENT: u64 = 0x8000;
    pub(crate) const CLONE_THREAD: u64 = 0x1_0000;
    pub(crate) const CLONE_SETTLS: u64 = 0x8_0000;
    pub(crate) const CLONE_PARENT_SETTID: u64 = 0x10_0000;
    pub(crate) const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    pub(crate) const CLONE_DETACHED: u64 = 0x40_0000;
    pub(crate) const CLONE_UNTRACED: u64 = 0x80_0000;
    pub(crate) const CLONE_CHILD_SETTID: u64 = 0x100_0000;
    /// CLONE_NEW* and what else makes a child in other namespaces or cgroups.
    pub(crate) const ELSEWHERE: u64 = 0x7e02_0080 | 0x2_0000_0000;
    pub(crate) const SIGNAL_MASK: u64 = 0xff;
    /// VM, FS, FILES, SIGHAND, THREAD and SYSVSEM: a POSIX thread.
    pub(crate) const CLONE_THREAD_ALL: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
}
