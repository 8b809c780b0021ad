//! A typestate over ptrace(2). A [`Running`] thread has no registers; [`wait`](crate::wait) says that it stopped,
//! [`Running::stopped`] turns it into a [`Stopped`], and resuming gives the `Running` back.
//!
//! Any request may answer ESRCH because the thread was killed meanwhile: the caller then waits for its end.
//! The types carry only a tid; that a `Stopped` really is stopped is the caller's claim made with
//! [`Running::stopped`], and a wrong claim is an ESRCH from the kernel, never undefined behaviour.

use std::marker::PhantomData;

use crate::regs::{Regs, SYSCALL};
use crate::sys::ptrace;
use crate::{Errno, Tid};

/// What a seized process reports; see PTRACE_SETOPTIONS in ptrace(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Kill the tracees when the tracer dies.
    pub exit_kill: bool,
    /// Stop at PTRACE_EVENT_EXIT.
    pub exit_event: bool,
    /// Stop where a filter says RET_TRACE.
    pub seccomp: bool,
}

impl Options {
    fn bits(self) -> usize {
        let mut bits = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXEC;
        if self.exit_kill {
            bits |= libc::PTRACE_O_EXITKILL;
        }
        if self.exit_event {
            bits |= libc::PTRACE_O_TRACEEXIT;
        }
        if self.seccomp {
            bits |= libc::PTRACE_O_TRACESECCOMP;
        }
        bits as usize
    }
}

/// A traced thread that runs (or is dead and not reaped yet).
#[derive(Debug)]
pub struct Running {
    tid: Tid,
    _not_send: PhantomData<*const ()>,
}

/// A traced thread in a stop.
#[derive(Debug)]
pub struct Stopped {
    tid: Tid,
    _not_send: PhantomData<*const ()>,
}

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Run until something happens.
    Cont,
    /// Run until the next entry to or exit from a system call.
    Syscall,
    /// Execute one instruction.
    Step,
}

impl Running {
    /// Attaches to a thread without stopping it (PTRACE_SEIZE). Threads and children it makes later are attached
    /// by the kernel.
    pub fn seize(tid: Tid, options: Options) -> Result<Running, Errno> {
        // SAFETY: PTRACE_SEIZE reads no memory; addr must be 0 and data holds option bits.
        unsafe { ptrace(libc::PTRACE_SEIZE, tid, 0, options.bits())? };
        Ok(Running::attached(tid))
    }

    /// A thread that the kernel attached because its maker was traced.
    pub fn attached(tid: Tid) -> Running {
        Running { tid, _not_send: PhantomData }
    }

    /// Its thread id.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Asks the thread to stop. Another stop may come first: handle what comes.
    pub fn interrupt(&self) -> Result<(), Errno> {
        // SAFETY: PTRACE_INTERRUPT takes neither address nor data.
        unsafe { ptrace(libc::PTRACE_INTERRUPT, self.tid, 0, 0).map(drop) }
    }

    /// The thread was just reported stopped.
    pub fn stopped(self) -> Stopped {
        Stopped { tid: self.tid, _not_send: PhantomData }
    }
}

impl Stopped {
    /// Its thread id.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Lets the thread go on, delivering `signal` if it is not 0.
    pub fn resume(self, how: Resume, signal: i32) -> Result<Running, Errno> {
        let request = match how {
            Resume::Cont => libc::PTRACE_CONT,
            Resume::Syscall => libc::PTRACE_SYSCALL,
            Resume::Step => libc::PTRACE_SINGLESTEP,
        };
        // SAFETY: addr is ignored, data is a signal number.
        unsafe { ptrace(request, self.tid, 0, signal as usize)? };
        Ok(Running::attached(self.tid))
    }

    /// Leaves the thread in its group-stop, listening for SIGCONT.
    pub fn listen(self) -> Result<Running, Errno> {
        // SAFETY: PTRACE_LISTEN takes neither address nor data.
        unsafe { ptrace(libc::PTRACE_LISTEN, self.tid, 0, 0)? };
        Ok(Running::attached(self.tid))
    }

    /// Stops tracing; the thread goes on by itself, with `signal` if it is not 0.
    pub fn detach(self, signal: i32) -> Result<(), Errno> {
        // SAFETY: addr is ignored, data is a signal number.
        unsafe { ptrace(libc::PTRACE_DETACH, self.tid, 0, signal as usize).map(drop) }
    }

    /// Changes what the thread reports from now on.
    pub fn set_options(&self, options: Options) -> Result<(), Errno> {
        // SAFETY: addr is ignored, data holds option bits.
        unsafe { ptrace(libc::PTRACE_SETOPTIONS, self.tid, 0, options.bits()).map(drop) }
    }

    /// General-purpose registers.
    pub fn regs(&self) -> Result<Regs, Errno> {
        let mut regs = Regs::default();
        // SAFETY: PTRACE_GETREGS writes one user_regs_struct, whose layout `Regs` has.
        unsafe { ptrace(libc::PTRACE_GETREGS, self.tid, 0, &raw mut regs as usize)? };
        Ok(regs)
    }

    /// Sets the general-purpose registers.
    pub fn set_regs(&self, regs: &Regs) -> Result<(), Errno> {
        // SAFETY: PTRACE_SETREGS reads one user_regs_struct, whose layout `Regs` has.
        unsafe { ptrace(libc::PTRACE_SETREGS, self.tid, 0, regs as *const Regs as usize).map(drop) }
    }

    /// The extended state (x87, SSE, AVX, …) in uncompacted XSAVE format, as long as this CPU makes it.
    pub fn xstate(&self) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0u8; XSTATE_MAX_BYTES];
        let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: the iovec names a live buffer of that length, and the kernel shortens iov_len to what it wrote.
        unsafe { ptrace(libc::PTRACE_GETREGSET, self.tid, NT_X86_XSTATE, &raw mut iov as usize)? };
        buffer.truncate(iov.iov_len);
        Ok(buffer)
    }

    /// Sets the extended state from what [`Stopped::xstate`] gave on a CPU with the same layout.
    pub fn set_xstate(&self, state: &[u8]) -> Result<(), Errno> {
        let mut iov = libc::iovec { iov_base: state.as_ptr().cast_mut().cast(), iov_len: state.len() };
        // SAFETY: PTRACE_SETREGSET only reads the buffer that the iovec names.
        unsafe { ptrace(libc::PTRACE_SETREGSET, self.tid, NT_X86_XSTATE, &raw mut iov as usize).map(drop) }
    }

    /// The blocked signals, bit n-1 for signal n.
    pub fn sigmask(&self) -> Result<u64, Errno> {
        let mut mask = 0u64;
        // SAFETY: addr is the size of the set, data points to that many bytes.
        unsafe { ptrace(PTRACE_GETSIGMASK, self.tid, 8, &raw mut mask as usize)? };
        Ok(mask)
    }

    /// Sets the blocked signals.
    pub fn set_sigmask(&self, mask: u64) -> Result<(), Errno> {
        // SAFETY: addr is the size of the set, data points to that many bytes.
        unsafe { ptrace(PTRACE_SETSIGMASK, self.tid, 8, &raw const mask as usize).map(drop) }
    }

    /// The siginfo of the signal at a signal-delivery-stop, 128 bytes as in the kernel's `siginfo_t`.
    pub fn siginfo(&self) -> Result<SigInfo, Errno> {
        let mut info = SigInfo([0; 128]);
        // SAFETY: PTRACE_GETSIGINFO writes one siginfo_t of 128 bytes.
        unsafe { ptrace(libc::PTRACE_GETSIGINFO, self.tid, 0, info.0.as_mut_ptr() as usize)? };
        Ok(info)
    }

    /// Replaces the siginfo of the signal at a signal-delivery-stop.
    pub fn set_siginfo(&self, info: &SigInfo) -> Result<(), Errno> {
        // SAFETY: PTRACE_SETSIGINFO reads one siginfo_t of 128 bytes.
        unsafe { ptrace(libc::PTRACE_SETSIGINFO, self.tid, 0, info.0.as_ptr() as usize).map(drop) }
    }

    /// Pending signals without removing them: the thread's own, or the process's.
    pub fn pending(&self, shared: bool) -> Result<Vec<SigInfo>, Errno> {
        let mut all = Vec::new();
        loop {
            let mut batch = [SigInfo([0; 128]); 16];
            let args =
                PeekSigInfo { off: all.len() as u64, flags: u32::from(shared), nr: batch.len() as i32 };
            // SAFETY: addr points to the argument struct, data to room for `nr` siginfo_t.
            let got = unsafe {
                ptrace(PTRACE_PEEKSIGINFO, self.tid, &raw const args as usize, batch.as_mut_ptr() as usize)?
            };
            all.extend_from_slice(&batch[..got as usize]);
            if (got as usize) < batch.len() {
                return Ok(all);
            }
        }
    }

    /// Whether the kernel has set the thread back to make its call again, which it has not done yet: it leaves orig_rax as
    /// it was, and rax, the number of the call or of restart_syscall(2), looks like a result.
    pub fn is_set_back(&self, regs: &Regs) -> bool {
        const RESTART_SYSCALL: u64 = 219;
        regs.call().is_some()
            && (regs.rax == regs.orig_rax || regs.rax == RESTART_SYSCALL)
            && self.is_at_syscall(regs)
    }

    /// Whether a `syscall` instruction is next.
    pub fn is_at_syscall(&self, regs: &Regs) -> bool {
        let mut code = [0; SYSCALL.len()];
        crate::memory::read(self.tid, regs.rip, &mut code) == code.len() && code == SYSCALL
    }

    /// The event's number: a child's tid, a former tid, an exit status.
    pub fn event_message(&self) -> Result<u64, Errno> {
        let mut message = 0u64;
        // SAFETY: PTRACE_GETEVENTMSG writes one unsigned long.
        unsafe { ptrace(libc::PTRACE_GETEVENTMSG, self.tid, 0, &raw mut message as usize)? };
        Ok(message)
    }

    /// The registered restartable-sequence area, or `None` when there is none.
    pub fn rseq(&self) -> Result<Option<Rseq>, Errno> {
        let mut rseq = RseqConfiguration::default();
        let size = size_of::<RseqConfiguration>();
        // SAFETY: addr is the size of the struct, data points to it.
        unsafe { ptrace(PTRACE_GET_RSEQ_CONFIGURATION, self.tid, size, &raw mut rseq as usize)? };
        Ok((rseq.pointer != 0).then_some(Rseq {
            pointer: rseq.pointer,
            size: rseq.size,
            signature: rseq.signature,
        }))
    }

    /// Whether the stop is a syscall-enter-stop (as opposed to exit); only asked at [`crate::Stop::Syscall`].
    pub fn at_syscall_entry(&self) -> Result<bool, Errno> {
        Ok(matches!(self.syscall()?, SyscallStop::Entry { .. }))
    }

    /// What a call's stop is about; only asked at [`crate::Stop::Syscall`].
    pub fn syscall(&self) -> Result<SyscallStop, Errno> {
        let mut info = [0u64; 11];
        let size = size_of_val(&info);
        // SAFETY: addr is the size of the buffer, data points to it; the kernel writes at most that much.
        unsafe { ptrace(PTRACE_GET_SYSCALL_INFO, self.tid, size, info.as_mut_ptr() as usize)? };
        // struct ptrace_syscall_info: op in the first byte, architecture, instruction and stack pointers, then by op.
        if info[0] as u8 == PTRACE_SYSCALL_INFO_ENTRY {
            let [nr, args @ ..] = [info[3], info[4], info[5], info[6], info[7], info[8], info[9]];
            Ok(SyscallStop::Entry { nr: nr as u32, args })
        } else {
            Ok(SyscallStop::Exit { ret: info[3] as i64 })
        }
    }
}

/// See [`Stopped::syscall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallStop {
    /// A call is about to be made.
    Entry {
        /// Its number.
        nr: u32,
        /// Its arguments.
        args: [u64; 6],
    },
    /// A call has been made.
    Exit {
        /// Its raw result.
        ret: i64,
    },
}

/// A raw kernel `siginfo_t`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct SigInfo(pub [u8; 128]);

impl SigInfo {
    fn int(&self, at: usize) -> i32 {
        i32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// Signal number.
    pub fn signal(&self) -> i32 {
        self.int(0)
    }

    /// Where the signal came from: SI_USER, SI_KERNEL, CLD_EXITED, …
    pub fn code(&self) -> i32 {
        self.int(8)
    }

    /// The timer and its overruns, of a signal from timer_create(2).
    pub fn timer(&self) -> Option<(i32, i32)> {
        const SI_TIMER: i32 = -2;
        (self.code() == SI_TIMER).then(|| (self.int(16), self.int(20)))
    }

    /// Sets the overruns of a timer's signal.
    pub fn set_overruns(&mut self, overruns: i32) {
        self.0[20..24].copy_from_slice(&overruns.to_ne_bytes());
    }

    /// The sender or child, for codes that have one.
    pub fn pid(&self) -> i32 {
        self.int(16)
    }
}

impl std::fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigInfo(signal {}, code {})", self.signal(), self.code())
    }
}

/// A registered rseq area, see rseq(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rseq {
    /// Address of the thread's `struct rseq`.
    pub pointer: u64,
    /// Its size in bytes as registered.
    pub size: u32,
    /// The signature that precedes abort handlers.
    pub signature: u32,
}

#[repr(C)]
#[derive(Default)]
struct RseqConfiguration {
    pointer: u64,
    size: u32,
    signature: u32,
    flags: u32,
    pad: u32,
}

#[repr(C)]
struct PeekSigInfo {
    off: u64,
    flags: u32,
    nr: i32,
}

/// AMX tiles make it 11,008 bytes today; room for what comes.
const XSTATE_MAX_BYTES: usize = 64 << 10;
const NT_X86_XSTATE: usize = 0x202;
const PTRACE_GETSIGMASK: u32 = 0x420a;
const PTRACE_SETSIGMASK: u32 = 0x420b;
const PTRACE_PEEKSIGINFO: u32 = 0x4209;
const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;
const PTRACE_GET_RSEQ_CONFIGURATION: u32 = 0x420f;
const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;
