//! An errno that belongs to the kernel's answer, never to a failure of ours.

use std::fmt;

/// A positive errno value, for example 2 for ENOENT.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such process: a tracee that died between two of our calls. A normal result, see ptrace(2).
    pub const ESRCH: Errno = Errno(libc::ESRCH);
    /// Bad address.
    pub const EFAULT: Errno = Errno(libc::EFAULT);
    /// Interrupted.
    pub const EINTR: Errno = Errno(libc::EINTR);
    /// Input or output error, also ptrace's answer to a request the thread's state does not allow.
    pub const EIO: Errno = Errno(libc::EIO);

    /// The calling thread's last error.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Splits a raw system call result as the kernel returns it in rax.
    pub fn split(raw: i64) -> Result<u64, Errno> {
        if (-4095..0).contains(&raw) { Err(Errno(-raw as i32)) } else { Ok(raw as u64) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

/// The codes by which the kernel's signal path decides whether an interrupted call restarts. They are visible to a
/// tracer at a stop and must never reach user space.
pub mod restart {
    use syscall_table::Wait;

    /// Restart if no handler ran or the handler has SA_RESTART.
    pub const SYS: i64 = -512;
    /// Always restart.
    pub const NOINTR: i64 = -513;
    /// Restart only if no handler ran.
    pub const NOHAND: i64 = -514;
    /// Restart through the restart block of the kernel task; EINTR if a handler ran.
    pub const BLOCK: i64 = -516;

    /// How a call ends that waits so, if a handler runs before it is made (again).
    pub fn of(wait: Wait) -> i64 {
        match wait {
            // It never ends in EINTR: made again after the handler.
            Wait::No => NOINTR,
            Wait::Plain => SYS,
            // After a handler none of these is made again (signal(7)).
            Wait::Timed(_) => NOHAND,
        }
    }

    /// Whether `ret` is one of them.
    pub fn is_code(ret: i64) -> bool {
        matches!(ret, SYS | NOINTR | NOHAND | BLOCK)
    }
}
