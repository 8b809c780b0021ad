//! Reading and writing another process's memory with process_vm_readv(2) and process_vm_writev(2), which honour the
//! mapping's protection; and through /proc/PID/mem, which does not.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::{Errno, Tid};

/// Reads up to `buffer.len()` bytes at `address`; fewer when a bad page comes first. 0 when the first is bad or the
/// process is gone.
pub fn read(tid: Tid, address: u64, buffer: &mut [u8]) -> usize {
    // SAFETY: the buffer is live and as long as said.
    unsafe { read_raw(tid, address, buffer.as_mut_ptr(), buffer.len()) }
}

/// Appends `len` bytes at `address` to `out`; false, and nothing appended, when they cannot all be read.
pub fn read_onto(tid: Tid, address: u64, len: usize, out: &mut Vec<u8>) -> bool {
    out.reserve(len);
    // SAFETY: at least `len` bytes of spare capacity were just reserved.
    let got = unsafe { read_raw(tid, address, out.spare_capacity_mut().as_mut_ptr().cast(), len) };
    if got < len {
        return false;
    }
    // SAFETY: the kernel has written these bytes.
    unsafe { out.set_len(out.len() + len) };
    true
}

/// Reads up to `len` bytes at `address` to `to`, whose contents do not matter; how many.
///
/// # Safety
/// `to` must be valid for writes of `len` bytes.
unsafe fn read_raw(tid: Tid, address: u64, to: *mut u8, len: usize) -> usize {
    let mut done = 0;
    while done < len {
        let left = len - done;
        let local = libc::iovec { iov_base: to.wrapping_add(done).cast(), iov_len: left };
        let remote = libc::iovec { iov_base: (address as usize + done) as *mut libc::c_void, iov_len: left };
        // SAFETY: `local` is within what the caller promises; `remote` is only an address in the other process.
        let got = unsafe { libc::process_vm_readv(tid, &local, 1, &remote, 1, 0) };
        if got <= 0 {
            break;
        }
        done += got as usize;
    }
    done
}

/// The stack pointer of a thread that is stopped in a system call or asleep in one: /proc/TID/syscall, see proc(5).
pub fn stack_pointer(tid: Tid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?;
    let pointer = text.split_ascii_whitespace().rev().nth(1)?;
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

/// Whether two processes use one address space (kcmp(2)): after vfork, or clone with CLONE_VM alone.
pub fn is_one(one: Tid, other: Tid) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: kcmp takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) == 0 }
}

/// Reads exactly `buffer.len()` bytes or says EFAULT.
pub fn read_exact(tid: Tid, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    if read(tid, address, buffer) == buffer.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads one little-endian u64.
pub fn read_u64(tid: Tid, address: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    read_exact(tid, address, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a NUL-terminated string of at most `max` bytes, without its NUL. EFAULT when it runs into a bad page,
/// `ENAMETOOLONG` when no NUL comes within `max`.
pub fn read_string(tid: Tid, address: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let mut string = Vec::new();
    let mut chunk = [0u8; 256];
    while string.len() < max {
        let at = address.wrapping_add(string.len() as u64);
        // Stay within a page so that a bad next page does not hide a NUL before it.
        let len = chunk.len().min(max - string.len()).min(4096 - (at as usize & 4095));
        let got = read(tid, at, &mut chunk[..len]);
        if got == 0 {
            return Err(Errno::EFAULT);
        }
        if let Some(nul) = chunk[..got].iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&chunk[..nul]);
            return Ok(string);
        }
        string.extend_from_slice(&chunk[..got]);
    }
    Err(Errno(libc::ENAMETOOLONG))
}

/// Writes `bytes` at `address`; returns how many were written before a bad or read-only page.
pub fn write(tid: Tid, address: u64, bytes: &[u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let local = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let remote =
            libc::iovec { iov_base: (address as usize + done) as *mut libc::c_void, iov_len: rest.len() };
        // SAFETY: the local buffer is only read; `remote` is only an address in the other process.
        let got = unsafe { libc::process_vm_writev(tid, &local, 1, &remote, 1, 0) };
        if got <= 0 {
            break;
        }
        done += got as usize;
    }
    done
}

/// Writes all of `bytes` or says EFAULT.
pub fn write_all(tid: Tid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if write(tid, address, bytes) == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Writes regardless of the mapping's protection (private mappings are copied first), through /proc/PID/mem. This
/// also grows a stack downward to `address`.
pub fn force_write(tid: Tid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let file = File::options()
        .write(true)
        .open(format!("/proc/{tid}/mem"))
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    file.write_all_at(bytes, address).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}
