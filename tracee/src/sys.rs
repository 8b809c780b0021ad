//! The raw calls that no wrapper crate has in the form needed here.

use crate::Errno;

/// ptrace(2) as the kernel sees it: unlike libc's wrapper it does not touch errno conventions of PEEK requests.
///
/// # Safety
/// `addr` and `data` must be what `request` says they are, valid for the access it makes.
pub(crate) unsafe fn ptrace(request: u32, tid: i32, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: passed on from the caller.
    let ret =
        unsafe { libc::syscall(libc::SYS_ptrace, request as libc::c_long, tid as libc::c_long, addr, data) };
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}
