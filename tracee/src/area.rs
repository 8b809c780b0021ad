//! The supervisor's side of a call area (see [`shim::area`]): memory that deputies share with it.
//!
//! The other side is another process that may, if it is broken or hostile, write anything at any time: all access is
//! by copying through raw pointers and atomics, nothing read from here is trusted to stay the same.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shim::{area, slot};

use crate::Errno;

/// A mapped call area.
#[derive(Debug)]
pub struct Area {
    base: *mut u8,
    len: usize,
    file: File,
}

/// A call as it stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Call number.
    pub nr: u64,
    /// Arguments; pointers are deputy addresses.
    pub args: [u64; 6],
    /// Blocked signals while the call is made, if they differ from the idle mask.
    pub serve_mask: Option<u64>,
    /// Blocked signals otherwise.
    pub idle_mask: u64,
}

impl Area {
    /// Maps `file`, a memory object of at least [`area::bytes`]`(slots)` bytes.
    pub fn map(file: File, slots: u64) -> Result<Area, Errno> {
        let len = area::bytes(slots) as usize;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice; nothing else refers to it.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Area { base: base.cast(), len, file })
    }

    /// The memory object.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How many slots have their window mapped here.
    pub fn slots(&self) -> u64 {
        (self.len as u64 - area::WINDOWS) / area::WINDOW_BYTES
    }

    /// Maps more windows.
    pub fn grow(&mut self, slots: u64) -> Result<(), Errno> {
        if slots <= self.slots() {
            return Ok(());
        }
        let file =
            self.file.try_clone().map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EMFILE)))?;
        *self = Area::map(file, slots)?;
        Ok(())
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        assert!(offset + 4 <= self.len as u64 && offset.is_multiple_of(4));
        // SAFETY: in bounds and aligned (checked above); the mapping lives as long as `self`; atomics are the
        // allowed way to share a word with another process.
        unsafe { AtomicU32::from_ptr(self.base.add(offset as usize).cast()) }
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        assert!(offset as usize + bytes.len() <= self.len);
        // SAFETY: in bounds (checked above) and not overlapping, since `bytes` is a Rust slice that cannot point
        // into this mapping.
        unsafe { self.base.add(offset as usize).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    fn get(&self, offset: u64, bytes: &mut [u8]) {
        assert!(offset as usize + bytes.len() <= self.len);
        // SAFETY: as in `put`.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.base.add(offset as usize), bytes.len()) };
    }

    /// Puts a call into slot `index` and wakes its deputy.
    pub fn post(&self, index: u64, call: &Posted) {
        let at = area::slot(index);
        self.put(at + slot::NR, &call.nr.to_le_bytes());
        for (i, arg) in call.args.iter().enumerate() {
            self.put(at + slot::ARGS + 8 * i as u64, &arg.to_le_bytes());
        }
        self.put(at + slot::SERVE_MASK, &call.serve_mask.unwrap_or(call.idle_mask).to_le_bytes());
        self.put(at + slot::IDLE_MASK, &call.idle_mask.to_le_bytes());
        let flags = if call.serve_mask.is_some() { slot::SWITCH_MASK } else { 0 };
        self.word(at + slot::FLAGS).store(flags, Ordering::Relaxed);
        self.word(at + slot::STATE).store(slot::POSTED, Ordering::SeqCst);
        self.futex(at + slot::STATE, libc::FUTEX_WAKE, 1, None);
    }

    /// The state word of slot `index`.
    pub fn state(&self, index: u64) -> u32 {
        self.word(area::slot(index) + slot::STATE).load(Ordering::SeqCst)
    }

    /// Marks slot `index` idle, after its result was taken or its call withdrawn.
    pub fn clear(&self, index: u64) {
        self.word(area::slot(index) + slot::STATE).store(slot::IDLE, Ordering::SeqCst);
    }

    /// The raw result in slot `index`.
    pub fn ret(&self, index: u64) -> i64 {
        let mut bytes = [0; 8];
        self.get(area::slot(index) + slot::RET, &mut bytes);
        i64::from_le_bytes(bytes)
    }

    /// The bell's count; pass it to [`Area::wait_bell`].
    pub fn bell(&self) -> u32 {
        self.word(area::BELL).load(Ordering::SeqCst)
    }

    /// Waits until the bell's count is no longer `seen`, `timeout` is over, or a tracee has something to report, which
    /// gives true. The calling thread has SIGCHLD blocked (see [`crate::signals::Signals`]); one that comes here is
    /// not seen elsewhere.
    pub fn wait_bell(&self, seen: u32, timeout: Duration) -> bool {
        crate::signals::with_child_signal(self.word(area::BELL), || {
            self.futex(area::BELL, libc::FUTEX_WAIT, seen, Some(timeout));
        })
    }

    /// From now on the deputy reports the end of the current call of slot `index` by a trap. Returns whether the
    /// call had ended already, in which case there may be no trap.
    pub fn want_trap(&self, index: u64) -> bool {
        self.word(area::slot(index) + slot::FLAGS).fetch_or(slot::TRAP, Ordering::SeqCst);
        self.state(index) == slot::DONE
    }

    /// Copies `bytes` into the window of slot `index` at `offset`.
    pub fn write_window(&self, index: u64, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= area::WINDOW_BYTES);
        self.put(area::window(index) + offset, bytes);
    }

    /// Copies from the window of slot `index` at `offset`.
    pub fn read_window(&self, index: u64, offset: u64, bytes: &mut [u8]) {
        assert!(offset + bytes.len() as u64 <= area::WINDOW_BYTES);
        self.get(area::window(index) + offset, bytes);
    }

    /// Gives the window's memory back to the system beyond its first `keep` bytes.
    pub fn trim_window(&self, index: u64, keep: u64) {
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        // Only memory is at stake: a kernel that cannot punch holes keeps it until the area goes.
        rustix::fs::fallocate(
            self.file.as_fd(),
            flags,
            area::window(index) + keep,
            area::WINDOW_BYTES - keep,
        )
        .ok();
    }

    fn futex(&self, offset: u64, op: i32, value: u32, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word is in the mapping, the timespec lives until the call returns. Every result (woken, timed
        // out, interrupted, value differs) means the same to the callers: look again.
        unsafe { libc::syscall(libc::SYS_futex, self.word(offset).as_ptr(), op, value, timeout, 0, 0) };
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// Takes over descriptor `fd` of process `pid` (pidfd_getfd(2), Linux 5.6), which must be our tracee.
pub fn take_fd(pid: crate::Tid, fd: i32) -> Result<File, Errno> {
    use std::os::fd::FromRawFd;
    // SAFETY: pidfd_open takes numbers only.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if pidfd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = unsafe { File::from_raw_fd(pidfd as i32) };
    // SAFETY: pidfd_getfd takes numbers only.
    let got = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    if got < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { File::from_raw_fd(got as i32) })
}
