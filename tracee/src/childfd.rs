//! SIGCHLD as a descriptor, so that one poll loop waits for tracees and sockets alike.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Errno;

/// Readable when some child or tracee has something to report.
#[derive(Debug)]
pub struct ChildFd(OwnedFd);

impl ChildFd {
    /// Blocks SIGCHLD in the calling thread and opens a signalfd(2) for it.
    pub fn open() -> Result<ChildFd, Errno> {
        // SAFETY: the set is a live local that sigemptyset initialises before use.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the kernel just made this descriptor for us.
        Ok(ChildFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Forgets what was signalled; then the caller polls for reports until there are none.
    pub fn drain(&self) {
        let mut infos = [0u8; 128 * 8];
        // SAFETY: reads at most the length of a live buffer. Nothing to read is as good as something.
        unsafe { libc::read(self.0.as_raw_fd(), infos.as_mut_ptr().cast(), infos.len()) };
    }
}

impl AsFd for ChildFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
