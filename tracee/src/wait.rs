//! What waitpid(2) reports of tracees, decoded.

use crate::{Errno, Tid};

/// Something that happened to a tracee (or, for `Exited` and `Killed`, to a child).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The thread ended by exit(2) with this status.
    Exited(i32),
    /// The thread ended by this signal.
    Killed {
        /// Signal number.
        signal: i32,
        /// Whether a core was dumped.
        core: bool,
    },
    /// The thread stopped and is ours until it is resumed.
    Stopped(Stop),
}

/// Why a thread stopped, see "Stopped states" in ptrace(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Signal-delivery-stop: this signal would be delivered.
    Signal(i32),
    /// Group-stop by this stopping signal; answer with [`crate::Stopped::listen`].
    Group(i32),
    /// PTRACE_EVENT_STOP that is no group-stop: PTRACE_INTERRUPT, SIGCONT after a group-stop, or a new child's first.
    Interrupt,
    /// Syscall-enter-stop or syscall-exit-stop (PTRACE_O_TRACESYSGOOD).
    Syscall,
    /// A seccomp filter said RET_TRACE.
    Seccomp,
    /// A fork, vfork or clone has made a child; [`crate::Stopped::event_message`] has its tid.
    Fork,
    /// See `Fork`.
    Vfork,
    /// See `Fork`.
    Clone,
    /// The vfork child is gone or has exec'ed.
    VforkDone,
    /// A fresh image is in place; the event message has the thread's former tid.
    Exec,
    /// The thread is about to end; the event message has the wait status.
    Exit,
}

/// Decodes a wait status.
pub fn decode(status: i32) -> Event {
    if libc::WIFEXITED(status) {
        return Event::Exited(libc::WEXITSTATUS(status));
    }
    if libc::WIFSIGNALED(status) {
        return Event::Killed { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) };
    }
    let signal = (status >> 8) & 0xff;
    Event::Stopped(match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_FORK => Stop::Fork,
        libc::PTRACE_EVENT_VFORK => Stop::Vfork,
        libc::PTRACE_EVENT_CLONE => Stop::Clone,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        libc::PTRACE_EVENT_VFORK_DONE => Stop::VforkDone,
        libc::PTRACE_EVENT_EXIT => Stop::Exit,
        libc::PTRACE_EVENT_SECCOMP => Stop::Seccomp,
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Interrupt,
        libc::PTRACE_EVENT_STOP => Stop::Group(signal),
        _ => Stop::Signal(signal),
    })
}

/// CPU time of a process that was reaped, from wait4(2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// Seconds in user mode.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
}

/// Takes the next report without blocking. `Ok(None)`: nothing to report now. `Err(ECHILD)`: no tracees are left.
/// A thread id that is no tracee of this process is never returned. `tid` -1 means any.
pub fn poll(tid: Tid) -> Result<Option<(Tid, Event, CpuTime)>, Errno> {
    wait(tid, libc::WNOHANG)
}

/// Like [`poll`] for any tracee, but calls `before_reaping` with one that has ended *before* the
/// report is taken: its process is then a zombie that nobody else can see, since a zombie tracee is hidden from its
/// real parent until its tracer has waited for it (wait_consider_child in the kernel's exit.c), also after SIGKILL.
pub fn next(before_reaping: impl FnMut(Tid, Event)) -> Result<Option<(Tid, Event, CpuTime)>, Errno> {
    next_of(libc::P_ALL, 0, before_reaping)
}

/// [`next`] for one thread.
pub fn next_of_thread(
    tid: Tid,
    before_reaping: impl FnMut(Tid, Event),
) -> Result<Option<(Tid, Event, CpuTime)>, Errno> {
    next_of(libc::P_PID, tid as libc::id_t, before_reaping)
}

fn next_of(
    which: libc::idtype_t,
    id: libc::id_t,
    mut before_reaping: impl FnMut(Tid, Event),
) -> Result<Option<(Tid, Event, CpuTime)>, Errno> {
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    loop {
        // SAFETY: siginfo_t is plain data for which all zeroes is valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is a live siginfo_t.
        if unsafe { libc::waitid(which, id, &mut info, flags) } != 0 {
            return Err(Errno::last());
        }
        // SAFETY: waitid fills the SIGCHLD fields; all zeroes means nothing was there.
        let tid = unsafe { info.si_pid() };
        if tid == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let status = unsafe { info.si_status() };
        match info.si_code {
            libc::CLD_EXITED => before_reaping(tid, Event::Exited(status)),
            libc::CLD_KILLED => before_reaping(tid, Event::Killed { signal: status, core: false }),
            libc::CLD_DUMPED => before_reaping(tid, Event::Killed { signal: status, core: true }),
            _ => {}
        }
        match poll(tid) {
            // The stop just seen is over (SIGKILL), or an exec from another thread took the id away: look again.
            Ok(None) | Err(Errno(libc::ECHILD)) => continue,
            report => return report,
        }
    }
}

/// Waits until a child or tracee has ended, and leaves it a zombie.
pub fn await_zombie(pid: Tid) -> Result<(), Errno> {
    // SAFETY: siginfo_t is plain data for which all zeroes is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a live siginfo_t.
    match unsafe {
        libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, libc::WEXITED | libc::WNOWAIT | libc::__WALL)
    } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

/// Like [`poll`], but waits until there is a report.
pub fn block(tid: Tid) -> Result<(Tid, Event, CpuTime), Errno> {
    loop {
        match wait(tid, 0) {
            Ok(Some(report)) => return Ok(report),
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
}

fn wait(tid: Tid, flags: i32) -> Result<Option<(Tid, Event, CpuTime)>, Errno> {
    let mut status = 0;
    // SAFETY: rusage is plain data for which all zeroes is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right type.
    let got = unsafe { libc::wait4(tid, &mut status, flags | libc::__WALL, &mut usage) };
    match got {
        0 => Ok(None),
        -1 => Err(Errno::last()),
        got => {
            let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
            let time = CpuTime { user_s: seconds(usage.ru_utime), system_s: seconds(usage.ru_stime) };
            Ok(Some((got, decode(status), time)))
        }
    }
}
