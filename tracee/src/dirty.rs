//! Which pages a process writes while it runs: userfaultfd in its asynchronous write-protect mode (Linux 6.7), in which
//! the kernel lifts the protection by itself at the first write and nobody waits for anybody.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::Errno;
use crate::area::take_fd;
use crate::image::Vma;
use crate::inject::{InjectError, Injector};
use crate::pagemap::Pagemap;

/// The tracker of one address space. Dropping it ends the protection.
#[derive(Debug)]
pub struct Tracker {
    uffd: File,
    pagemap: Pagemap,
}

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// include/uapi/linux/userfaultfd.h: `_IOWR(0xaa, 0x3f, struct uffdio_api)`, `_IOWR(0xaa, 0, struct uffdio_register)`.
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
/// What anybody may ask for. In asynchronous mode the kernel's own writes are seen all the same.
const UFFD_USER_MODE_ONLY: i32 = 1;

impl Tracker {
    /// Begins with nothing covered. The process is stopped; the descriptor that this takes in it is closed again before it
    /// runs. A kernel, or a program's limits, that do not allow it: an error, and nothing has changed.
    pub fn begin(injector: &mut Injector) -> Result<Tracker, InjectError> {
        let pid = injector.tid();
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY) as u64;
        let fd = injector.call("userfaultfd", libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0])?;
        let taken = take_fd(pid, fd as i32);
        injector.call("close", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
        let uffd = taken?;
        let mut api = Api { api: UFFD_API, features: UFFD_FEATURE_WP_ASYNC, ioctls: 0 };
        ioctl(&uffd, UFFDIO_API, &mut api)?;
        let pagemap = Pagemap::open(pid).map_err(of_io)?;
        Ok(Tracker { uffd, pagemap })
    }

    /// Covers a mapping, if it is not yet: what it holds counts as written.
    pub fn cover(&self, vma: &Vma) -> Result<(), Errno> {
        let mut register =
            Register { start: vma.start, len: vma.end - vma.start, mode: UFFDIO_REGISTER_MODE_WP, ioctls: 0 };
        ioctl(&self.uffd, UFFDIO_REGISTER, &mut register)
    }

    /// The ranges of a mapping's own pages that were written since this was last asked.
    pub fn written(&self, vma: &Vma) -> Result<Vec<(u64, u64)>, Errno> {
        self.pagemap.written_pages(vma.start, vma.end, true)
    }

    /// The same, for the last time: what is not covered counts as written, and nothing is protected.
    pub fn last_written(&self, vma: &Vma) -> Result<Vec<(u64, u64)>, Errno> {
        self.pagemap.written_pages(vma.start, vma.end, false)
    }
}

fn ioctl<T>(uffd: &File, request: libc::c_ulong, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: each request is made with the live struct that it is defined for.
    match unsafe { libc::ioctl(uffd.as_raw_fd(), request, std::ptr::from_mut(argument)) } {
        -1 => Err(Errno::last()),
        _ => Ok(()),
    }
}

fn of_io(error: io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Backing, vma};
    use crate::launch;
    use crate::memory;

    const PAGE: u64 = 4096;

    #[test]
    fn each_write_is_seen_once() {
        // What the child has of it is its own.
        let room = vec![1u8; 20 * PAGE as usize];
        let start = (room.as_ptr() as u64).next_multiple_of(PAGE);
        let covered =
            Vma { start, end: start + 16 * PAGE, prot: 3, flags: vma::NO_HUGE, backing: Backing::Anonymous };
        let (stopped, site) = launch::in_pause();
        let pid = stopped.tid();
        let write = |page: u64| memory::write_all(pid, start + page * PAGE, &[7]).unwrap();
        let mut injector = Injector::new(stopped, site).unwrap();
        let tracker = match Tracker::begin(&mut injector) {
            Ok(tracker) => tracker,
            // Before Linux 6.7 there is nothing to test.
            Err(InjectError::Ptrace(Errno(libc::EINVAL))) => return,
            Err(error) => panic!("{error}"),
        };
        write(2);
        tracker.cover(&covered).unwrap();
        tracker.cover(&covered).unwrap();
        let pages = |ranges: Vec<(u64, u64)>| -> Vec<u64> {
            let all = ranges.into_iter().flat_map(|(from, to)| (from..to).step_by(PAGE as usize));
            all.map(|at| (at - start) / PAGE).collect()
        };
        let all = pages(tracker.written(&covered).unwrap());
        assert_eq!(all, (0..16).collect::<Vec<_>>(), "nothing was protected yet");
        assert_eq!(pages(tracker.written(&covered).unwrap()), []);
        write(3);
        write(9);
        write(3);
        assert_eq!(pages(tracker.last_written(&covered).unwrap()), [3, 9]);
        assert_eq!(pages(tracker.written(&covered).unwrap()), [3, 9]);
        assert_eq!(pages(tracker.last_written(&covered).unwrap()), []);
        // Dropped pages are nobody's, and new when they are written again.
        let drop = [start + 9 * PAGE, PAGE, libc::MADV_DONTNEED as u64, 0, 0, 0];
        injector.call("madvise", libc::SYS_madvise, drop).unwrap();
        assert_eq!(pages(tracker.last_written(&covered).unwrap()), []);
        write(9);
        assert_eq!(pages(tracker.last_written(&covered).unwrap()), [9]);
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let ours = fds.filter(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[userfaultfd]")
        });
        assert_eq!(ours.count(), 0, "its descriptors are its own");
    }
}
