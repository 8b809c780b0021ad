//! Calls that the executor has code of its own for.

use std::time::Instant;

use serde_bytes::ByteBuf;
use syscall_table::Wait;
use tracee::image::{CpuUsed, FileRef};
use tracee::inject::{InjectError, Injector};
use tracee::ptrace::{Resume, Running, Stopped};
use tracee::regs::Regs;
use tracee::wait;
use tracee::{Errno, Event, Stop, Tid, memory};
use wire::session::{Dispositions, ProcessKey, ThreadKey, Up};

use crate::body::{Ask, ForkArgs, Made, Native, PendingDeadline, Phase, Process, State, Thread};
use crate::build::{CLONE_ARGS_BYTES, CLONE3, libc_flags as flag};
use crate::session::libc_errno::{E2BIG, EFAULT, EINVAL, ENAMETOOLONG, ENOMEM};
use crate::session::{SIGKILL, Session, SessionError};

/// Longest path with its NUL (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;
/// The most that arguments and environment may take together: what a deputy's window holds. Linux's own limit is a
/// quarter of the stack limit, 2 MiB by default and 6 MiB at most.
const ARGS_BYTES_MAX: usize = 6 << 20;
const AT_FDCWD: i32 = -100;
const MAP_SHARED: u64 = 1;
const MAP_TYPE: u64 = 15;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_HUGETLB: u64 = 0x4_0000;
const SIGCHLD: u32 = 17;
const SIGNAL_MAX: u64 = 64;
const SIGTRAP: i32 = 5;
const SIGSTOP: i32 = 19;
/// The size of a signal set that rt_sigaction(2) wants.
const SIGSET_BYTES: u64 = 8;
const SIG_IGN: u64 = 1;
/// SA_NOCLDSTOP, SA_NOCLDWAIT.
const CHILD_FLAGS: u64 = 3;

/// Stay reason.
const OURS: &str = "a mapping where its body keeps something";

/// Numbers of the calls here.
mod nr {
    pub(super) const MMAP: u32 = 9;
    pub(super) const RT_SIGACTION: u32 = 13;
    pub(super) const MREMAP: u32 = 25;
    pub(super) const CLONE: u32 = 56;
    pub(super) const FORK: u32 = 57;
    pub(super) const VFORK: u32 = 58;
    pub(super) const EXECVE: u32 = 59;
    pub(super) const EXIT: u32 = 60;
    pub(super) const GETRUSAGE: u32 = 98;
    pub(super) const RT_SIGTIMEDWAIT: u32 = 128;
    pub(super) const PRCTL: u32 = 157;
    pub(super) const SETRLIMIT: u32 = 160;
    pub(super) const FUTEX: u32 = 202;
    pub(super) const TIMER_GETOVERRUN: u32 = 225;
    pub(super) const CLOCK_GETTIME: u32 = 228;
    pub(super) const EXIT_GROUP: u32 = 231;
    pub(super) const EXECVEAT: u32 = 322;
    pub(super) const PRLIMIT64: u32 = 302;
    pub(super) const CLONE3: u32 = 435;
    pub(super) const FUTEX_WAITV: u32 = 449;
    pub(super) const FUTEX_WAKE: u32 = 454;
    pub(super) const FUTEX_WAIT: u32 = 455;
    pub(super) const FUTEX_REQUEUE: u32 = 456;
}

impl Session {
    pub(crate) fn special(&mut self, host: Tid, stopped: Stopped, regs: Regs) -> Result<(), SessionError> {
        let args = regs.args();
        match regs.orig_rax as u32 {
            // Its id stays the process's, and only at home does it become the zombie that others see.
            nr::EXIT if self.leads_others(host) => {
                self.go_home(host, stopped, regs, "the first thread ends before the others")
            }
            nr::EXIT | nr::EXIT_GROUP => {
                self.run_local(host, stopped, Native::Plain);
                Ok(())
            }
            nr::FORK => self.ask_fork(host, stopped, regs, ForkArgs::default(), SIGCHLD),
            nr::VFORK => {
                let fork = ForkArgs { flags: flag::CLONE_VM, vfork: true, ..ForkArgs::default() };
                self.ask_fork(host, stopped, regs, fork, SIGCHLD)
            }
            nr::CLONE => {
                let fork = ForkArgs {
                    flags: args[0] & !flag::SIGNAL_MASK,
                    stack: args[1],
                    parent_tid: args[2],
                    child_tid: args[3],
                    tls: args[4],
                    ..ForkArgs::default()
                };
                self.ask_fork(host, stopped, regs, fork, (args[0] & flag::SIGNAL_MASK) as u32)
            }
            nr::CLONE3 => self.clone3(host, stopped, regs),
            nr::EXECVE => self.exec(host, stopped, regs, AT_FDCWD, [args[0], args[1], args[2]], 0),
            nr::EXECVEAT => {
                self.exec(host, stopped, regs, args[0] as i32, [args[1], args[2], args[3]], args[4] as i32)
            }
            nr::RT_SIGACTION => self.sigaction(host, stopped, args[0] as i32, (args[1], args[3])),
            nr::RT_SIGTIMEDWAIT => {
                self.begin_wait(host, &regs);
                self.wait_for(host, memory::read_u64(host, args[0]).unwrap_or(0))?;
                self.run_local(host, stopped, Native::TimedWait(args[1]));
                Ok(())
            }
            nr::GETRUSAGE => {
                self.usage(host, stopped, args[0] as i32, args[1]);
                Ok(())
            }
            nr::CLOCK_GETTIME => self.cpu_clock(host, stopped, regs, args[0] as i32, args[1]),
            nr::MMAP if self.is_ours(host, (args[0], args[1])) => self.go_home(host, stopped, regs, OURS),
            nr::MREMAP if self.is_ours(host, (args[4], args[2])) => self.go_home(host, stopped, regs, OURS),
            nr::MMAP => self.mmap(host, stopped, regs),
            nr::MREMAP => {
                self.local_calls += 1;
                self.run_local(host, stopped, Native::Plain);
                Ok(())
            }
            // Memory of a body is its own: what is shared between processes has kept its process at home. So a
            // futex that is not marked private is private here.
            nr::FUTEX | nr::FUTEX_WAITV | nr::FUTEX_WAKE | nr::FUTEX_WAIT | nr::FUTEX_REQUEUE => {
                self.local_calls += 1;
                self.begin_wait(host, &regs);
                self.run_local(host, stopped, Native::Plain);
                Ok(())
            }
            // The signal was delivered here. Of one that was delivered at home, home knows.
            nr::TIMER_GETOVERRUN => match self.overruns(host, args[0] as i32) {
                Some(overruns) => self.answer(host, stopped, regs, i64::from(overruns)),
                None => self.forward(host, stopped, regs),
            },
            // The thread's name is the deputy's.
            nr::PRCTL => self.forward(host, stopped, regs),
            nr::SETRLIMIT => self.set_limit(host, stopped, regs, args[0], args[1]),
            nr::PRLIMIT64 => self.set_limit(host, stopped, regs, args[1], args[2]),
            number => {
                let name = syscall_table::by_number(number).map_or("an unknown call", |call| call.name);
                self.go_home(host, stopped, regs, name)
            }
        }
    }

    /// A thread waits for signals. What is ignored and blocked is queued all the same and can be waited for (sigwait(3)), so
    /// home must no longer hold it back.
    fn wait_for(&mut self, host: Tid, set: u64) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get(&host) else { return Ok(()) };
        let Some(process) = self.processes.get_mut(&thread.process) else { return Ok(()) };
        let new = set & process.ignores() & !process.dispositions.waited;
        if new == 0 {
            return Ok(());
        }
        process.dispositions.waited |= new;
        let key = thread.key;
        self.tell_dispositions(key)
    }

    /// Notes when a wait in the body's own kernel is over, so that a move can carry that over. One that was begun before
    /// has less time than its arguments say.
    fn begin_wait(&mut self, host: Tid, regs: &Regs) {
        let Some(thread) = self.threads.get_mut(&host) else { return };
        let call = Made::of(regs);
        let again = thread.deadline.take().filter(|pending| pending.again && pending.call == call);
        let Wait::Timed(how) = syscall_table::wait_of(call.nr, &call.args) else { return };
        let read = |address| {
            Some([memory::read_u64(host, address).ok()?, memory::read_u64(host, address + 8).ok()?])
        };
        let at = match again {
            Some(pending) => Some(pending.at),
            None => syscall_table::timeout_of(how, &call.args, read)
                .and_then(|timeout| Instant::now().checked_add(timeout)),
        };
        thread.deadline = at.map(|at| PendingDeadline { call, at, again: false });
        if let Some(pending) = again {
            self.waits.push((pending.at, host));
        }
    }

    /// Whether a range touches what is the body's and not the program's. At home it is free: there the call is made, and
    /// the next body keeps its things elsewhere.
    fn is_ours(&self, host: Tid, (start, bytes): (u64, u64)) -> bool {
        let Some(process) = self.process_of(host) else { return false };
        let ours = [Some(process.foothold.range()), process.trampolines.map(|place| place.own)];
        let end = start.saturating_add(bytes);
        start != 0 && ours.into_iter().flatten().any(|(from, to)| start < to && from < end)
    }

    fn overruns(&self, host: Tid, timer: i32) -> Option<i32> {
        let process = self.processes.get(&self.threads.get(&host)?.process)?;
        process.overruns.get(&timer).copied()
    }

    fn leads_others(&self, host: Tid) -> bool {
        let process = self.threads.get(&host).and_then(|thread| self.processes.get(&thread.process));
        process.is_some_and(|process| process.host == host && process.threads.len() > 1)
    }

    /// A limit is home's to grant, and enforced where the memory is.
    fn set_limit(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        resource: u64,
        new: u64,
    ) -> Result<(), SessionError> {
        let limit = match (memory::read_u64(host, new), memory::read_u64(host, new + 8)) {
            (Ok(soft), Ok(hard)) => Some((resource as i32, soft, hard)),
            _ => None,
        };
        self.forward(host, stopped, regs)?;
        if let Some(State::Asking(_, _, Ask::Call(asked))) =
            self.threads.get_mut(&host).map(|thread| &mut thread.state)
        {
            asked.limit = limit;
        }
        Ok(())
    }

    fn clone3(&mut self, host: Tid, stopped: Stopped, regs: Regs) -> Result<(), SessionError> {
        // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        // set_tid_size, cgroup.
        let mut words = [0u64; 11];
        let size = (regs.rsi as usize).min(size_of_val(&words));
        if regs.rsi < 64 {
            return self.answer(host, stopped, regs, -i64::from(EINVAL));
        }
        let mut bytes = vec![0; size];
        if memory::read(host, regs.rdi, &mut bytes) != size {
            return self.answer(host, stopped, regs, -i64::from(EFAULT));
        }
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        }
        if words[8] != 0 || words[9] != 0 || regs.rsi as usize > size_of_val(&words) {
            return self.go_home(host, stopped, regs, "clone3 with chosen pids");
        }
        if words[4] > SIGNAL_MAX {
            return self.answer(host, stopped, regs, -i64::from(EINVAL));
        }
        let fork = ForkArgs {
            flags: words[0],
            child_tid: words[2],
            parent_tid: words[3],
            stack: words[5],
            stack_size: words[6],
            tls: words[7],
            vfork: false,
        };
        self.ask_fork(host, stopped, regs, fork, words[4] as u32)
    }

    fn ask_fork(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        mut fork: ForkArgs,
        exit_signal: u32,
    ) -> Result<(), SessionError> {
        if fork.flags & (flag::ELSEWHERE | flag::CLONE_PIDFD) != 0 {
            return self.go_home(host, stopped, regs, "clone with namespaces, a cgroup or a pidfd");
        }
        if fork.flags & flag::CLONE_VM != 0
            && fork.flags & (flag::CLONE_THREAD | flag::CLONE_VFORK) == 0
            && !fork.vfork
        {
            return self.go_home(host, stopped, regs, "clone of a process that shares memory");
        }
        fork.vfork |= fork.flags & flag::CLONE_VFORK != 0;
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.seq += 1;
        // Deputies fork without CLONE_VM and CLONE_VFORK; what is about memory is the body's.
        let memory = flag::CLONE_VFORK
            | flag::CLONE_SETTLS
            | flag::CLONE_PARENT_SETTID
            | flag::CLONE_CHILD_SETTID
            | flag::CLONE_CHILD_CLEARTID
            | flag::CLONE_DETACHED
            | flag::CLONE_PTRACE
            | flag::CLONE_UNTRACED;
        let vm = if fork.flags & flag::CLONE_THREAD == 0 { flag::CLONE_VM } else { 0 };
        let ask = Up::Fork { seq: thread.seq, flags: fork.flags & !memory & !vm, exit_signal };
        thread.state = State::Asking(stopped, Box::new(regs), Ask::Fork(fork));
        let key = thread.key;
        self.ask(key, &ask)
    }

    /// Home has made the deputy: make the body with the same number.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn fork(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        fork: ForkArgs,
        tid: Tid,
        process_key: ProcessKey,
        thread_key: ThreadKey,
    ) -> Result<(), SessionError> {
        let Some(parent) = self.threads.get(&host).and_then(|thread| self.processes.get(&thread.process))
        else {
            return Ok(());
        };
        let parent_key = parent.key;
        let is_thread = fork.flags & flag::CLONE_THREAD != 0;
        let (foothold, dispositions, told) = (parent.foothold, parent.dispositions, parent.told_dispositions);
        let (vdso, trampolines, words) = (parent.vdso, parent.trampolines, parent.words);
        // Home may have said already what it wants of the child; else it is what it wants of the parent.
        let trace = self.early_traces.remove(&process_key).unwrap_or_else(|| parent.trace.clone());
        match make_child(host, stopped, &regs, &fork, tid, foothold.scratch()) {
            Ok((parent_stopped, child, child_host)) => {
                let child_thread = Thread::new(thread_key, process_key, tid, State::Held(child));
                self.threads.insert(child_host, child_thread);
                self.keys.insert(thread_key, child_host);
                self.hosts.insert(child_host, process_key);
                if is_thread {
                    if let Some(process) = self.processes.get_mut(&process_key) {
                        process.threads.push(child_host);
                    }
                } else {
                    let process = Process {
                        key: process_key,
                        pid: tid,
                        host: child_host,
                        phase: Phase::Alive,
                        threads: vec![child_host],
                        foothold,
                        vdso,
                        trampolines,
                        dispositions,
                        told_dispositions: told,
                        tickets: Default::default(),
                        next_ticket: 0,
                        overruns: Default::default(),
                        frozen: false,
                        trace,
                        vfork_parent: fork.vfork.then_some(host),
                        words,
                        told: (0, 0),
                        used: CpuUsed::default(),
                    };
                    self.has_untold_dispositions |= !process.has_told();
                    self.processes.insert(process_key, process);
                }
                self.see_calls(child_host);
                let may_run =
                    |session: &Session, key| session.processes.get(key).is_some_and(Process::may_run);
                if !fork.vfork {
                    self.trace_exit(host, i64::from(tid))?;
                }
                if may_run(self, &process_key) {
                    self.resume(child_host)?;
                }
                let goes_on = may_run(self, &parent_key) && !fork.vfork;
                let parent_stopped = if goes_on {
                    parent_stopped
                } else {
                    match leave_call(parent_stopped) {
                        Ok(stopped) => stopped,
                        Err(Failure::Gone(tid, event, time)) => return self.on_gone(tid, event, time),
                        Err(Failure::Errno(stopped, _)) => stopped,
                    }
                };
                if let Some(thread) = self.threads.get_mut(&host) {
                    thread.state = State::Held(parent_stopped);
                }
                // A vfork parent waits here until the child execs or ends: in the kernel's own wait it could not
                // be stopped.
                if goes_on { self.resume(host) } else { self.check_stopped(parent_key) }
            }
            Err(Failure::Errno(stopped, errno)) => {
                // The deputy exists already and has to go.
                let ended = wire::session::FromBody::Ended { status: 9, cpu_s: 0.0, away_ns: (0, 0) };
                self.say(process_key, &ended)?;
                self.answer(host, stopped, regs, -i64::from(errno.0))
            }
            Err(Failure::Gone(tid, event, time)) => self.on_gone(tid, event, time),
        }
    }

    /// The child of a vfork has exec'ed or ended.
    pub(crate) fn vfork_done(&mut self, parent: Tid) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get(&parent) else { return Ok(()) };
        let key = thread.process;
        if let (Some(_), State::Held(stopped)) = (&thread.traced, &thread.state)
            && let Ok(regs) = stopped.regs()
        {
            self.trace_exit(parent, regs.ret())?;
        }
        if self.processes.get(&key).is_some_and(Process::may_run) { self.resume(parent) } else { Ok(()) }
    }

    fn exec(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        dir: i32,
        [path, argv, envp]: [u64; 3],
        flags: i32,
    ) -> Result<(), SessionError> {
        let mut room = ARGS_BYTES_MAX;
        let mut read = || -> Result<_, Errno> {
            let path = memory::read_string(host, path, PATH_BYTES_MAX)?;
            Ok((path, strings(host, argv, &mut room)?, strings(host, envp, &mut room)?))
        };
        let (path, argv, envp) = match read() {
            Ok(read) => read,
            Err(errno) => return self.answer(host, stopped, regs, -i64::from(errno.0)),
        };
        let mask = stopped.sigmask().unwrap_or(0);
        let Some(process) = self.process_of(host) else { return Ok(()) };
        let resolve = |shared| -> Vec<ByteBuf> {
            let pending = stopped.pending(shared).unwrap_or_default();
            pending.iter().map(|info| ByteBuf::from(process.true_info(info).0.to_vec())).collect()
        };
        let mut pending = resolve(false);
        pending.extend(resolve(true));
        let threads = process.threads.iter().filter_map(|host| self.threads.get(host));
        let seen = threads.map(|thread| (thread.key, thread.seen)).collect();
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.seq += 1;
        let ask = Up::Exec {
            seq: thread.seq,
            dir,
            flags,
            path: path.into(),
            argv: argv.into(),
            envp: envp.into(),
            mask,
            pending,
            seen,
        };
        thread.state = State::Asking(stopped, Box::new(regs), Ask::Exec);
        let key = thread.key;
        self.ask(key, &ask)
    }

    /// rt_sigaction runs in the body's kernel; home hears of it when it matters there: before the next call of a thread, on
    /// the same channel. A program that changes an action often between calls costs home nothing.
    fn sigaction(
        &mut self,
        host: Tid,
        stopped: Stopped,
        signal: i32,
        (act, size): (u64, u64),
    ) -> Result<(), SessionError> {
        let mut words = [0u64; 2];
        // What the kernel refuses changes nothing (rt_sigaction(2), EINVAL).
        let may_be =
            (1..=64).contains(&signal) && !matches!(signal, SIGKILL | SIGSTOP) && size == SIGSET_BYTES;
        let readable = act != 0 && may_be && {
            let mut bytes = [0u8; 16];
            let got = memory::read(host, act, &mut bytes) == 16;
            for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            }
            got
        };
        if readable
            && signal == SIGTRAP
            && words[0] == SIG_IGN
            && let Ok(regs) = stopped.regs()
        {
            return self.go_home(
                host,
                stopped,
                regs,
                "it ignores SIGTRAP, which a step of its threads would not",
            );
        }
        self.local_calls += 1;
        let thread = self.threads.get(&host);
        let key = thread.map(|thread| thread.key);
        let process = thread.map(|thread| thread.process).and_then(|key| self.processes.get_mut(&key));
        if let (true, Some(process), Some(key)) = (readable, process, key) {
            let [handler, flags] = words;
            let bit = 1u64 << (signal - 1);
            let Dispositions { mut ignored, mut caught, mut child_flags, waited } = process.dispositions;
            ignored = if handler == SIG_IGN { ignored | bit } else { ignored & !bit };
            caught = if handler > 1 { caught | bit } else { caught & !bit };
            if signal == SIGCHLD as i32 {
                child_flags = flags & CHILD_FLAGS;
            }
            process.dispositions = Dispositions { ignored, caught, child_flags, waited };
            if process.tells_at_once() {
                self.tell_dispositions(key)?;
            } else {
                self.has_untold_dispositions |= !process.has_told();
            }
        }
        self.run_local(host, stopped, Native::Plain);
        Ok(())
    }

    fn mmap(&mut self, host: Tid, stopped: Stopped, regs: Regs) -> Result<(), SessionError> {
        let [_, len, prot, flags, fd, offset] = regs.args();
        let shared = matches!(flags & MAP_TYPE, MAP_SHARED | 3);
        if flags & MAP_ANONYMOUS != 0 {
            if shared {
                return self.go_home(host, stopped, regs, "shared anonymous mapping");
            }
            if flags & MAP_HUGETLB != 0 {
                return self.go_home(host, stopped, regs, "huge TLB pages");
            }
            self.local_calls += 1;
            self.run_local(host, stopped, Native::Plain);
            return Ok(());
        }
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        thread.seq += 1;
        let ask = Up::MapFile {
            seq: thread.seq,
            fd: fd as i32,
            prot: prot as i32,
            flags: flags as i32,
            len,
            offset,
        };
        thread.state = State::Asking(stopped, Box::new(regs), Ask::MapFile(None));
        let key = thread.key;
        self.ask(key, &ask)
    }

    /// Makes a file mapping whose content is known, if it is here.
    pub(crate) fn map_file(&mut self, host: Tid, first: bool) -> Result<(), SessionError> {
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(()) };
        let key = thread.process;
        let (stopped, regs, file) = match std::mem::replace(&mut thread.state, State::Busy) {
            State::Asking(stopped, regs, Ask::MapFile(Some(file))) => (stopped, *regs, file),
            other => {
                thread.state = other;
                return Ok(());
            }
        };
        if self.cache.get(&file).is_none() {
            if !first && self.cache.begin(&file).is_ok_and(|fresh| fresh) {
                // It failed on the way: home cannot name it (any more).
                return self.go_home(host, stopped, regs, "a file that changes while it is mapped");
            }
            thread_asking(&mut self.threads, host, stopped, regs, file);
            return Ok(());
        }
        match self.lifted(host, |session| session.map_cached(key, stopped, regs, &file)) {
            Ok((stopped, regs)) => {
                self.trace_exit(host, regs.ret())?;
                self.go_on(host, stopped, &regs)
            }
            Err(InjectError::Gone(tid, event, time)) => self.on_gone(tid, event, time),
            // The thread is in a state nobody can describe any more.
            Err(_) => self.end_now(key),
        }
    }

    fn map_cached(
        &mut self,
        key: ProcessKey,
        stopped: Stopped,
        regs: Regs,
        file: &FileRef,
    ) -> Result<(Stopped, Regs), InjectError> {
        use std::os::fd::AsRawFd;
        let foothold = self.processes.get(&key).ok_or(Errno::ESRCH)?.foothold;
        let content = self.cache.get(file).ok_or(Errno::ESRCH)?.as_raw_fd();
        let mut injector = Injector::new(stopped, foothold.site())?;
        let fd = self.sandbox.pass_fd(&mut injector, &foothold, content)?;
        let mut args = regs.args();
        // A shared mapping that can never be written is a private one of the same content.
        args[3] = args[3] & !MAP_TYPE | 2;
        args[4] = fd as u64;
        let ret = injector.raw(i64::from(nr::MMAP), args)?;
        injector.raw(CLOSE, [fd as u64, 0, 0, 0, 0, 0])?;
        let mut regs = regs;
        regs.finish_call(ret);
        *injector.saved_mut() = regs;
        Ok((injector.finish()?, regs))
    }

    pub(crate) fn on_gone(
        &mut self,
        tid: Tid,
        event: Event,
        time: wait::CpuTime,
    ) -> Result<(), SessionError> {
        match event {
            Event::Exited(status) => self.on_end(tid, status << 8, time),
            Event::Killed { signal, core } => self.on_end(tid, signal | i32::from(core) << 7, time),
            Event::Stopped(_) => Ok(()),
        }
    }
}

const CLOSE: i64 = 3;

fn thread_asking(
    threads: &mut std::collections::HashMap<Tid, Thread>,
    host: Tid,
    stopped: Stopped,
    regs: Regs,
    file: FileRef,
) {
    if let Some(thread) = threads.get_mut(&host) {
        thread.state = State::Asking(stopped, Box::new(regs), Ask::MapFile(Some(file)));
    }
}

enum Failure {
    Errno(Stopped, Errno),
    Gone(Tid, Event, wait::CpuTime),
}

/// Brings a thread from the event of its fork to the end of that call. While it is inside, the kernel still has the
/// result to write: it would end up in the registers of an injected call.
fn leave_call(mut stopped: Stopped) -> Result<Stopped, Failure> {
    let host = stopped.tid();
    loop {
        let running = stopped.resume(Resume::Syscall, 0).unwrap_or_else(|_| Running::attached(host));
        match wait::block(host) {
            Ok((_, Event::Stopped(Stop::Syscall), _)) => return Ok(running.stopped()),
            Ok((_, Event::Stopped(_), _)) => stopped = running.stopped(),
            Ok((tid, event, time)) => return Err(Failure::Gone(tid, event, time)),
            Err(_) => {
                let killed = Event::Killed { signal: 9, core: false };
                return Err(Failure::Gone(host, killed, Default::default()));
            }
        }
    }
}

/// Replaces the trapped call by clone3 with the wanted number and takes both threads at its end.
fn make_child(
    host: Tid,
    stopped: Stopped,
    regs: &Regs,
    fork: &ForkArgs,
    tid: Tid,
    scratch: u64,
) -> Result<(Stopped, Stopped, Tid), Failure> {
    let thread = fork.flags & flag::CLONE_THREAD != 0;
    let mut flags =
        fork.flags & !(flag::CLONE_VFORK | flag::CLONE_PTRACE | flag::CLONE_UNTRACED | flag::CLONE_DETACHED);
    if !thread {
        // Its parent is the sandbox's first process, which reaps it; who its parent is at home is home's affair.
        flags |= flag::CLONE_PARENT;
    }
    let (mut stack, mut stack_size) = (fork.stack, fork.stack_size);
    if stack != 0 && stack_size == 0 {
        // clone(2) gives the end of the stack, clone3 wants start and size.
        stack -= 16;
        stack_size = 16;
    }
    let set_tid = scratch + 128;
    let words = [flags, 0, fork.child_tid, fork.parent_tid, 0, stack, stack_size, fork.tls, set_tid, 1, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(128, 0);
    bytes.extend_from_slice(&tid.to_le_bytes());
    if let Err(errno) = memory::write_all(host, scratch, &bytes) {
        return Err(Failure::Errno(stopped, errno));
    }
    let mut now = *regs;
    now.orig_rax = CLONE3 as u64;
    now.rdi = scratch;
    now.rsi = CLONE_ARGS_BYTES;
    // A pending signal would end clone with ERESTARTNOINTR: it can wait until the child is there.
    let mask = stopped.sigmask().unwrap_or(0);
    if let Err(errno) = stopped.set_regs(&now).and_then(|()| stopped.set_sigmask(u64::MAX)) {
        return Err(Failure::Errno(stopped, errno));
    }
    let mut stopped = stopped;
    loop {
        let running = match stopped.resume(Resume::Syscall, 0) {
            Ok(running) => running,
            Err(_) => Running::attached(host),
        };
        match wait::block(host) {
            Ok((_, Event::Stopped(stop), _)) => {
                stopped = running.stopped();
                let now = stopped.regs().unwrap_or(*regs);
                match stop {
                    Stop::Fork | Stop::Vfork | Stop::Clone => {
                        let child_host = stopped.event_message().unwrap_or(0) as Tid;
                        // Only rax is written after this stop: the arguments can be put back now.
                        let mut parent = *regs;
                        parent.orig_rax = now.orig_rax;
                        parent.rax = now.rax;
                        stopped.set_regs(&parent).ok();
                        stopped.set_sigmask(mask).ok();
                        return child(child_host, regs, mask).map(|child| (stopped, child, child_host));
                    }
                    Stop::Syscall => {
                        let ret = now.rax as i64;
                        let errno = Errno::split(ret).err().unwrap_or(Errno(ENOMEM));
                        stopped.set_regs(regs).ok();
                        stopped.set_sigmask(mask).ok();
                        return Err(Failure::Errno(stopped, errno));
                    }
                    _ => {}
                }
            }
            Ok((tid, event, time)) => return Err(Failure::Gone(tid, event, time)),
            Err(_) => {
                return Err(Failure::Gone(
                    host,
                    Event::Killed { signal: 9, core: false },
                    Default::default(),
                ));
            }
        }
    }
}

/// Waits for a new child's first stop and makes its registers those of a child of the original call.
fn child(host: Tid, regs: &Regs, mask: u64) -> Result<Stopped, Failure> {
    match wait::block(host) {
        Ok((_, Event::Stopped(_), _)) => {
            let stopped = Running::attached(host).stopped();
            if let Ok(mut now) = stopped.regs() {
                now.rdi = regs.rdi;
                now.rsi = regs.rsi;
                now.orig_rax = u64::MAX;
                stopped.set_regs(&now).ok();
            }
            stopped.set_sigmask(mask).ok();
            Ok(stopped)
        }
        Ok((tid, event, time)) => Err(Failure::Gone(tid, event, time)),
        Err(_) => Err(Failure::Gone(host, Event::Killed { signal: 9, core: false }, Default::default())),
    }
}

/// Reads an array of strings as `a\0b\0`, within `room` bytes.
fn strings(host: Tid, array: u64, room: &mut usize) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    if array == 0 {
        return Ok(all);
    }
    for i in 0.. {
        let at = memory::read_u64(host, array + 8 * i)?;
        if at == 0 {
            break;
        }
        let string = memory::read_string(host, at, *room)
            .map_err(|errno| if errno.0 == ENAMETOOLONG { Errno(E2BIG) } else { errno })?;
        *room = room.checked_sub(string.len() + 9).ok_or(Errno(E2BIG))?;
        all.extend_from_slice(&string);
        all.push(0);
    }
    Ok(all)
}
