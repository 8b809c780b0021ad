//! Giving a stopped process another image: used for fresh bodies, for deputies that come home, and for hollowing.

use crate::capture::{self, SignalSets};
use crate::foothold::Foothold;
use crate::image::{Backing, FileRef, Layout, ThreadImage, Vma, vma};
use crate::inject::{InjectError, Injector};
use crate::ptrace::Rseq;
use crate::signal::{IGNORED_BY_DEFAULT, bit};
use crate::{Errno, Tid, memory};

/// End of the user address space that munmap accepts with four-level page tables.
const TASK_END: u64 = 0x7fff_ffff_f000;

/// Unmaps everything outside of `keep`.
pub fn wipe(injector: &mut Injector, keep: &[(u64, u64)]) -> Result<(), InjectError> {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut at = 0;
    for (start, end) in keep.into_iter().chain([(TASK_END, TASK_END)]) {
        if at < start {
            injector.call("munmap", libc::SYS_munmap, [at, start - at, 0, 0, 0, 0])?;
        }
        at = at.max(end);
    }
    Ok(())
}

/// Moves [vvar]… and [vdso] from `from` to `to`, which must be free and of the same length. They must move one
/// mapping at a time and keep their distance, since the code finds its data relative to itself.
pub fn move_vdso(
    injector: &mut Injector,
    parts: &[(u64, u64)],
    from: u64,
    to: u64,
) -> Result<(), InjectError> {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    for (start, end) in parts {
        let len = end - start;
        injector.call("mremap", libc::SYS_mremap, [*start, len, len, flags, to + (start - from), 0])?;
    }
    Ok(())
}

/// Unmaps ranges.
pub fn unmap(injector: &mut Injector, ranges: &[(u64, u64)]) -> Result<(), InjectError> {
    for (start, end) in ranges {
        injector.call("munmap", libc::SYS_munmap, [*start, end - start, 0, 0, 0, 0])?;
    }
    Ok(())
}

/// Makes ranges of private mappings what they were before anything was written to them.
pub fn forget_pages(injector: &mut Injector, ranges: &[(u64, u64)]) -> Result<(), InjectError> {
    for (start, end) in ranges {
        let args = [*start, end - start, libc::MADV_DONTNEED as u64, 0, 0, 0];
        injector.call("madvise", libc::SYS_madvise, args)?;
    }
    Ok(())
}

/// Makes mappings. `open` gives a
/// descriptor in the process for a file's content, or `None` to map zeroes that the caller will fill.
pub fn map(
    injector: &mut Injector,
    vmas: &[Vma],
    mut open: impl FnMut(&mut Injector, &FileRef) -> Result<Option<i32>, InjectError>,
) -> Result<(), InjectError> {
    let mut opened: Option<([u8; 32], Option<i32>)> = None;
    for vma in vmas {
        let (fd, offset) = match &vma.backing {
            Backing::Anonymous => (None, 0),
            Backing::File(file) => {
                let fd = match opened {
                    Some((content, fd)) if content == file.content => fd,
                    _ => {
                        close(injector, opened.take())?;
                        let fd = open(injector, file)?;
                        opened = Some((file.content, fd));
                        fd
                    }
                };
                (fd, file.offset)
            }
        };
        map_one(injector, vma, fd, offset)?;
    }
    close(injector, opened)
}

fn close(injector: &mut Injector, opened: Option<([u8; 32], Option<i32>)>) -> Result<(), InjectError> {
    if let Some((_, Some(fd))) = opened {
        injector.call("close", libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0])?;
    }
    Ok(())
}

fn map_one(injector: &mut Injector, vma: &Vma, fd: Option<i32>, offset: u64) -> Result<(), InjectError> {
    let mut flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    if fd.is_none() {
        flags |= libc::MAP_ANONYMOUS;
    }
    if vma.flags & vma::GROWS_DOWN != 0 {
        flags |= libc::MAP_GROWSDOWN;
    }
    if vma.flags & vma::NO_RESERVE != 0 || vma.prot & libc::PROT_WRITE == 0 {
        flags |= libc::MAP_NORESERVE;
    }
    let fd = fd.map_or(u64::MAX, |fd| fd as u64);
    let args = [vma.start, vma.end - vma.start, vma.prot as u64, flags as u64, fd, offset];
    injector.call("mmap", libc::SYS_mmap, args)?;
    for (bit, advice) in [
        (vma::DONT_FORK, libc::MADV_DONTFORK),
        (vma::WIPE_ON_FORK, libc::MADV_WIPEONFORK),
        (vma::HUGE, libc::MADV_HUGEPAGE),
        (vma::NO_HUGE, libc::MADV_NOHUGEPAGE),
        (vma::DONT_DUMP, libc::MADV_DONTDUMP),
    ] {
        if vma.flags & bit != 0 {
            // Advice only: a kernel built without huge pages refuses some of it.
            injector.raw(libc::SYS_madvise, [vma.start, vma.end - vma.start, advice as u64, 0, 0, 0])?;
        }
    }
    if vma.flags & vma::LOCKED != 0 {
        // Locking is a promise about paging that the source kept as well as it could.
        injector.raw(libc::SYS_mlock2, [vma.start, vma.end - vma.start, 1, 0, 0, 0])?;
    }
    Ok(())
}

/// Writes a run of pages, whatever the protection of their mapping.
pub fn write_pages(pid: Tid, start: u64, bytes: &[u8]) -> Result<(), Errno> {
    let done = memory::write(pid, start, bytes);
    if done == bytes.len() {
        return Ok(());
    }
    memory::force_write(pid, start + done as u64, &bytes[done..])
}

/// Sets the kernel's addresses of heap, stack and arguments (PR_SET_MM_MAP, unprivileged without an exe_fd).
pub fn set_layout(injector: &mut Injector, foothold: &Foothold, layout: &Layout) -> Result<(), InjectError> {
    const PR_SET_MM: u64 = 35;
    const PR_SET_MM_MAP: u64 = 14;
    let words = [
        layout.start_code,
        layout.end_code,
        layout.start_data,
        layout.end_data,
        layout.start_brk,
        layout.brk,
        layout.start_stack,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
        0,                 // auxv
        0xffff_ffff << 32, // auxv_size 0, exe_fd -1
    ];
    write_words(injector, foothold.scratch(), &words)?;
    let args = [PR_SET_MM, PR_SET_MM_MAP, foothold.scratch(), 8 * words.len() as u64, 0, 0];
    injector.call("prctl(PR_SET_MM_MAP)", libc::SYS_prctl, args).map(drop)
}

/// Installs the dispositions: caught ones with their actions, ignored ones, all others default.
pub fn set_actions(
    injector: &mut Injector,
    foothold: &Foothold,
    actions: &[(i32, [u64; 4])],
    ignored: u64,
) -> Result<(), InjectError> {
    let now = signal_sets(injector)?;
    change_actions(injector, foothold, &now, actions, ignored, 0)
}

fn signal_sets(injector: &Injector) -> Result<SignalSets, Errno> {
    capture::signal_sets(injector.tid()).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Makes the dispositions that are `now` those of [`set_actions`], but for the signals in `kept`.
fn change_actions(
    injector: &mut Injector,
    foothold: &Foothold,
    now: &SignalSets,
    actions: &[(i32, [u64; 4])],
    ignored: u64,
    kept: u64,
) -> Result<(), InjectError> {
    let set = |injector: &mut Injector, signal: i32, action: &[u64; 4]| {
        write_words(injector, foothold.scratch(), action)?;
        let args = [signal as u64, foothold.scratch(), 0, 8, 0, 0];
        injector.call("rt_sigaction", libc::SYS_rt_sigaction, args).map(drop)
    };
    for signal in (1..=64).filter(|signal| kept & bit(*signal) == 0) {
        let bit = bit(signal);
        if let Some((_, action)) = actions.iter().find(|(number, _)| *number == signal) {
            set(injector, signal, action)?;
        } else if ignored & bit != now.ignored & bit || now.caught & bit != 0 {
            set(injector, signal, &[u64::from(ignored & bit != 0), 0, 0, 0])?;
        }
    }
    Ok(())
}

/// As [`set_actions`], for a deputy, whose signals are all taken from it before they act: the actions matter only as far
/// as they ignore. A handler of a signal that is ignored by default stays, because to set the default would drop the
/// signal that has come meanwhile.
pub fn set_deputy_actions(
    injector: &mut Injector,
    foothold: &Foothold,
    ignored: u64,
    caught: u64,
) -> Result<(), InjectError> {
    let now = signal_sets(injector)?;
    let kept = now.caught & caught & IGNORED_BY_DEFAULT & !ignored;
    change_actions(injector, foothold, &now, &[], ignored, kept)
}

/// Gives one thread its kernel-registered pointers, extended state, mask and registers. The injector must be of that
/// thread.
pub fn thread(injector: &mut Injector, foothold: &Foothold, image: &ThreadImage) -> Result<(), InjectError> {
    if image.altstack[1] & libc::SS_DISABLE as u64 == 0 && image.altstack[2] != 0 {
        // SS_ONSTACK is a report, not a setting; the stack pointer itself says it.
        let flags = image.altstack[1] & !(libc::SS_ONSTACK as u64);
        write_words(injector, foothold.scratch(), &[image.altstack[0], flags, image.altstack[2]])?;
        injector.call("sigaltstack", libc::SYS_sigaltstack, [foothold.scratch(), 0, 0, 0, 0, 0])?;
    }
    if image.robust_list.0 != 0 {
        let args = [image.robust_list.0, image.robust_list.1, 0, 0, 0, 0];
        injector.call("set_robust_list", libc::SYS_set_robust_list, args)?;
    }
    injector.call("set_tid_address", libc::SYS_set_tid_address, [image.clear_tid, 0, 0, 0, 0, 0])?;
    if let Some(rseq) = image.rseq {
        let args = [rseq.pointer, u64::from(rseq.size), 0, u64::from(rseq.signature), 0, 0];
        injector.call("rseq", libc::SYS_rseq, args)?;
    }
    if !image.xstate.is_empty() {
        injector.thread().set_xstate(&image.xstate)?;
    }
    *injector.saved_mut() = image.regs;
    *injector.mask_mut() = image.sigmask;
    Ok(())
}

/// Takes a restartable sequence area away: one whose memory vanishes is a SIGSEGV.
pub fn unregister_rseq(injector: &mut Injector, rseq: Rseq) -> Result<(), InjectError> {
    const RSEQ_FLAG_UNREGISTER: u64 = 1;
    let args = [rseq.pointer, u64::from(rseq.size), RSEQ_FLAG_UNREGISTER, u64::from(rseq.signature), 0, 0];
    injector.call("rseq", libc::SYS_rseq, args).map(drop)
}

/// Takes one thread's kernel-registered pointers away before its memory goes (PITFALLS of rseq: a registered area
/// that vanishes is a SIGSEGV).
pub fn unregister(injector: &mut Injector, image: &ThreadImage) -> Result<(), InjectError> {
    if let Some(rseq) = image.rseq {
        const RSEQ_FLAG_UNREGISTER: u64 = 1;
        let args =
            [rseq.pointer, u64::from(rseq.size), RSEQ_FLAG_UNREGISTER, u64::from(rseq.signature), 0, 0];
        injector.call("rseq", libc::SYS_rseq, args)?;
    }
    if image.clear_tid != 0 {
        injector.call("set_tid_address", libc::SYS_set_tid_address, [0; 6])?;
    }
    if image.robust_list.0 != 0 {
        injector.call("set_robust_list", libc::SYS_set_robust_list, [0, image.robust_list.1, 0, 0, 0, 0])?;
    }
    Ok(())
}

/// Starts the interval timers on CPU time.
pub fn cpu_timers(
    injector: &mut Injector,
    foothold: &Foothold,
    timers: &[(u64, [u64; 4])],
) -> Result<(), InjectError> {
    for (which, value) in timers {
        write_words(injector, foothold.scratch(), value)?;
        injector.call("setitimer", libc::SYS_setitimer, [*which, foothold.scratch(), 0, 0, 0, 0])?;
    }
    Ok(())
}

/// Stops them, where the process no longer computes.
pub fn stop_cpu_timers(
    injector: &mut Injector,
    foothold: &Foothold,
    timers: &[(u64, [u64; 4])],
) -> Result<(), InjectError> {
    let stopped: Vec<_> = timers.iter().map(|(which, _)| (*which, [0; 4])).collect();
    cpu_timers(injector, foothold, &stopped)
}

/// Queues a signal on the thread itself or on its process with its true siginfo: to oneself every si_code is
/// allowed (rt_sigqueueinfo(2)). `pid` and `tid` are as the process itself sees them.
pub fn queue(
    injector: &mut Injector,
    foothold: &Foothold,
    (pid, tid): (Tid, Option<Tid>),
    info: &[u8],
) -> Result<(), InjectError> {
    memory::write_all(injector.tid(), foothold.scratch(), info)?;
    let signal = i32::from_le_bytes(info[..4].try_into().unwrap_or_default()) as u64;
    let scratch = foothold.scratch();
    if signal == libc::SIGTRAP as u64 {
        injector.will_have_trap()?;
    }
    let queued = match tid {
        Some(tid) => {
            let args = [pid as u64, tid as u64, signal, scratch, 0, 0];
            injector.call("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, args)
        }
        None => injector.call(
            "rt_sigqueueinfo",
            libc::SYS_rt_sigqueueinfo,
            [pid as u64, signal, scratch, 0, 0, 0],
        ),
    };
    match queued {
        // A full queue loses signals natively as well.
        Ok(_) | Err(InjectError::Call { errno: Errno(libc::EAGAIN), .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_words(injector: &Injector, address: u64, words: &[u64]) -> Result<(), Errno> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    memory::write_all(injector.tid(), address, &bytes)
}

/// Sets a resource limit of a process by the process itself, or as much of it as it may: without CAP_SYS_RESOURCE nobody may set the limits of another user's.
pub fn limit_from_within(
    injector: &mut Injector,
    foothold: &Foothold,
    resource: i32,
    soft: u64,
    hard: u64,
) -> Result<(), InjectError> {
    let scratch = foothold.scratch();
    write_words(injector, scratch, &[0, 0])?;
    let ask = [0, resource as u64, 0, scratch, 0, 0];
    injector.call("prlimit64", libc::SYS_prlimit64, ask)?;
    let highest = crate::memory::read_u64(injector.tid(), scratch + 8).unwrap_or(0);
    write_words(injector, scratch, &[soft.min(highest), hard.min(highest)])?;
    injector.call("prlimit64", libc::SYS_prlimit64, [0, resource as u64, scratch, 0, 0, 0]).map(drop)
}
