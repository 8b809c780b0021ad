//! Making a stopped thread execute system calls of ours.
//!
//! The thread is put at a `syscall` instruction (in the shim, or in the vDSO where there is no shim yet) and stepped
//! over it, or taken from stop to stop where a SIGTRAP of its own is pending, which the trap of a step would take the
//! place of. All signals are blocked meanwhile, so that only SIGSTOP and SIGKILL can come between; a SIGSTOP is put
//! back at the end. Works from every stop: from a seccomp stop the trapped call is skipped, and an injected call that
//! a filter traps is stepped through.

use crate::ptrace::Resume;
use crate::regs::{Regs, SYSCALL, SYSCALL_LEN};
use crate::wait::{self, CpuTime};
use crate::{Errno, Event, Running, Stop, Stopped, Tid};

/// Why injection could not go on.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The thread ended; the report was taken and is handed on. The caller treats it as if it came from waiting.
    #[error("the process ended meanwhile: {1:?}")]
    Gone(Tid, Event, CpuTime),
    /// ptrace refused.
    #[error("ptrace: {0}")]
    Ptrace(#[from] Errno),
    /// The kernel answered an injected call with an error.
    #[error("{call} in the process: {errno}")]
    Call {
        /// The call's name.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The thread stopped where it should not.
    #[error("an injected call stopped at {0:?}")]
    Unexpected(Stop),
}

/// A stopped thread that executes calls for us until [`Injector::finish`].
#[derive(Debug)]
pub struct Injector {
    thread: Option<Stopped>,
    site: u64,
    saved: Regs,
    mask: u64,
    regs: Regs,
    deferred: Vec<i32>,
    child: Option<Tid>,
    /// A SIGTRAP of the thread's own is pending.
    own_trap: bool,
}

/// Signals that are blocked while a thread is stepped: all but SIGTRAP. The trap of a step that is blocked, or ignored,
/// takes the process's handler of it away (force_sig_info_to_task in the kernel's signal.c).
const STEPPING: u64 = !(1 << (libc::SIGTRAP - 1));

/// Whether a SIGTRAP of its own waits for the thread: one that must not be let through.
fn has_trap(thread: &Stopped) -> Result<bool, Errno> {
    let is_trap = |info: &crate::ptrace::SigInfo| info.signal() == libc::SIGTRAP;
    Ok(thread.pending(false)?.iter().any(is_trap) || thread.pending(true)?.iter().any(is_trap))
}

impl Injector {
    /// `site` is the address of a `syscall` instruction in the thread's memory.
    pub fn new(thread: Stopped, site: u64) -> Result<Injector, InjectError> {
        let saved = thread.regs()?;
        let mask = thread.sigmask()?;
        let own_trap = has_trap(&thread)?;
        thread.set_sigmask(if own_trap { u64::MAX } else { STEPPING })?;
        let mut regs = saved;
        regs.orig_rax = u64::MAX;
        let thread = Some(thread);
        Ok(Injector { thread, site, saved, mask, regs, deferred: Vec::new(), child: None, own_trap })
    }

    /// The thread's id.
    pub fn tid(&self) -> Tid {
        self.thread().tid()
    }

    /// The stopped thread itself.
    pub fn thread(&self) -> &Stopped {
        self.thread.as_ref().expect("present outside of a step")
    }

    /// Registers as they will be put back.
    pub fn saved_mut(&mut self) -> &mut Regs {
        &mut self.saved
    }

    /// The blocked signals as they will be put back.
    pub fn mask_mut(&mut self) -> &mut u64 {
        &mut self.mask
    }

    /// Makes later calls from another `syscall` instruction.
    pub fn set_site(&mut self, site: u64) {
        self.site = site;
    }

    /// The next call makes a SIGTRAP pending for the thread.
    pub fn will_have_trap(&mut self) -> Result<(), Errno> {
        self.own_trap = true;
        // The trap of a step unblocks SIGTRAP (force_sig_info_to_task in the kernel's signal.c).
        self.thread().set_sigmask(u64::MAX)
    }

    /// The child that the last clone made.
    pub fn take_child(&mut self) -> Option<Tid> {
        self.child.take()
    }

    /// Makes call `nr` and gives its raw result.
    pub fn raw(&mut self, nr: i64, args: [u64; 6]) -> Result<i64, InjectError> {
        let mut regs = self.regs;
        regs.rip = self.site;
        regs.rax = nr as u64;
        regs.orig_rax = u64::MAX;
        regs.set_args(args);
        if nr == libc::SYS_sigaltstack {
            // A thread whose stack pointer is on the stack that it has must not change it (sigaltstack(2), EPERM): a handler
            // may be running there. No call of ours uses the stack.
            regs.rsp = 0;
        }
        self.thread().set_regs(&regs)?;
        let after = self.site + SYSCALL_LEN;
        loop {
            match self.step()? {
                // One that was sent meanwhile.
                Stop::Signal(libc::SIGTRAP) if self.thread().siginfo()?.code() <= 0 => {
                    self.deferred.push(libc::SIGTRAP);
                }
                Stop::Signal(libc::SIGTRAP) => {
                    let now = self.thread().regs()?;
                    if now.rip == after {
                        return Ok(now.rax as i64);
                    }
                    if now.rip != self.site {
                        return Err(InjectError::Unexpected(Stop::Signal(libc::SIGTRAP)));
                    }
                    // The report of leaving the call that the thread was in before; rax holds what was set.
                }
                Stop::Fork | Stop::Vfork | Stop::Clone => {
                    self.child = Some(self.thread().event_message()? as Tid);
                }
                Stop::Syscall if self.own_trap => {
                    let now = self.thread().regs()?;
                    // Not the report of leaving the call that the thread was in before.
                    if now.rip == after && !self.thread().at_syscall_entry()? {
                        return Ok(now.rax as i64);
                    }
                }
                Stop::Seccomp | Stop::Interrupt | Stop::Syscall => {}
                // Only a fault of ours can be synchronous: the `syscall` instruction is not where it should be.
                Stop::Signal(signal @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE)) => {
                    return Err(InjectError::Unexpected(Stop::Signal(signal)));
                }
                Stop::Signal(signal) | Stop::Group(signal) => {
                    if signal != libc::SIGTRAP {
                        self.deferred.push(signal);
                    }
                }
                other => return Err(InjectError::Unexpected(other)),
            }
        }
    }

    /// Makes call `nr`; an error of the kernel becomes [`InjectError::Call`] with `name`.
    pub fn call(&mut self, name: &'static str, nr: i64, args: [u64; 6]) -> Result<u64, InjectError> {
        Errno::split(self.raw(nr, args)?).map_err(|errno| InjectError::Call { call: name, errno })
    }

    fn step(&mut self) -> Result<Stop, InjectError> {
        let Some(thread) = self.thread.take() else { return Err(InjectError::Ptrace(Errno::ESRCH)) };
        let tid = thread.tid();
        let how = if self.own_trap { Resume::Syscall } else { Resume::Step };
        let running = match thread.resume(how, 0) {
            Ok(running) => running,
            Err(Errno::ESRCH) => Running::attached(tid),
            Err(errno) => return Err(errno.into()),
        };
        let (_, event, time) = wait::block(tid)?;
        match event {
            Event::Stopped(stop) => {
                self.thread = Some(running.stopped());
                Ok(stop)
            }
            event => Err(InjectError::Gone(tid, event, time)),
        }
    }

    /// Puts registers and signal mask back and returns the thread, stopped. Signals that stop came meanwhile are
    /// sent again.
    pub fn finish(mut self) -> Result<Stopped, InjectError> {
        self.put_back()?;
        self.thread.take().ok_or(InjectError::Ptrace(Errno::ESRCH))
    }

    fn put_back(&mut self) -> Result<(), Errno> {
        let Some(thread) = &self.thread else { return Err(Errno::ESRCH) };
        thread.set_regs(&self.saved)?;
        thread.set_sigmask(self.mask)?;
        for signal in self.deferred.drain(..) {
            // SAFETY: tkill takes two numbers; the thread is our stopped tracee, so its id cannot have been reused.
            unsafe { libc::syscall(libc::SYS_tkill, thread.tid(), signal) };
        }
        Ok(())
    }
}

/// One that is given up half-way leaves its thread stopped and as it was.
impl Drop for Injector {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // ESRCH: it was killed.
            self.put_back().ok();
        }
    }
}

/// Lets a stopped thread run on until it is outside of `range`, the vDSO's: half-way through a clock it holds pointers to
/// pages that are others elsewhere (a time namespace has a page of its own). It goes on at most to a call that is
/// trapped, which it will then make again.
pub fn step_out(thread: Stopped, range: (u64, u64)) -> Result<Stopped, InjectError> {
    /// A clock takes less than a hundred instructions, and a few times that if its page changes meanwhile.
    const STEPS_MAX: usize = 5000;
    let inside = |regs: &Regs| (range.0..range.1).contains(&regs.rip);
    if !inside(&thread.regs()?) {
        return Ok(thread);
    }
    let tid = thread.tid();
    let mask = thread.sigmask()?;
    thread.set_sigmask(if has_trap(&thread)? { u64::MAX } else { STEPPING })?;
    let mut thread = thread;
    for _ in 0..STEPS_MAX {
        let running = thread.resume(Resume::Step, 0)?;
        match wait::block(tid)? {
            (_, Event::Stopped(stop), _) => {
                thread = running.stopped();
                let mut regs = thread.regs()?;
                let trapped = stop == Stop::Seccomp;
                if let (true, Some(nr)) = (trapped, regs.call()) {
                    regs.rearm(nr);
                    thread.set_regs(&regs)?;
                }
                if trapped || !inside(&regs) {
                    break;
                }
            }
            (tid, event, time) => return Err(InjectError::Gone(tid, event, time)),
        }
    }
    thread.set_sigmask(mask)?;
    Ok(thread)
}

/// At the stop before a signal is delivered: whether the thread is half-way through a function of the vDSO in `range`. At a
/// system call there it is not, nor behind one that a signal has ended: what is left to do needs no data pages.
pub fn is_half_way(thread: &Stopped, range: (u64, u64)) -> bool {
    thread.regs().is_ok_and(|regs| {
        (range.0..range.1).contains(&regs.rip) && regs.call().is_none() && !thread.is_at_syscall(&regs)
    })
}

/// At such a stop, in a thread that [`is_half_way`]: lets it run on until it is outside, or at a call that is trapped, and
/// has the signal pending again for the thread, to which it would have come. After an error it may not be. `ids` are pid
/// and tid as the process itself sees them.
pub fn postpone(thread: Stopped, range: (u64, u64), ids: (Tid, Tid)) -> Result<Stopped, InjectError> {
    /// Below the stack pointer, which leaf functions use (System V ABI for AMD64, 3.2.2).
    const RED_ZONE_BYTES: u64 = 128;
    let tid = thread.tid();
    let info = thread.siginfo()?;
    let site = vdso_site(tid, range.0, range.1)?;
    let thread = step_out(thread, range)?;
    let room = thread.regs()?.rsp.wrapping_sub(RED_ZONE_BYTES + size_of_val(&info.0) as u64) & !15;
    crate::memory::force_write(tid, room, &info.0)?;
    let mut injector = Injector::new(thread, site)?;
    let args = [ids.0 as u64, ids.1 as u64, info.signal() as u64, room, 0, 0];
    injector.call("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, args)?;
    injector.finish()
}

/// Finds a `syscall` instruction in the vDSO of a process, for injection before there is a shim.
pub fn vdso_site(tid: Tid, vdso_start: u64, vdso_end: u64) -> Result<u64, Errno> {
    let mut code = vec![0; (vdso_end - vdso_start) as usize];
    let got = crate::memory::read(tid, vdso_start, &mut code);
    code[..got]
        .windows(2)
        .position(|pair| pair == SYSCALL)
        .map(|at| vdso_start + at as u64)
        .ok_or(Errno(libc::ENOEXEC))
}
