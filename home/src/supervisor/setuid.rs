//! Programs that gain privilege when they are executed (set-user-id, set-group-id, file capabilities) do not gain it
//! under a tracer without CAP_SYS_PTRACE (ptrace(2), execve(2)). They are executed once more, without us: at the end
//! of the execve that gave no privilege the fresh image is made to repeat it, with the path, arguments and
//! environment on its new stack, and is detached. From then on it is not managed, and neither are its children.
//!
//! Tried before: setting registers at PTRACE_EVENT_EXEC itself, where the kernel still overwrites rax.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tracee::regs::Regs;
use tracee::{Errno, Stopped, Tid, memory};

use super::{Next, Supervisor};

const S_ISUID: u32 = rustix::fs::Mode::SUID.as_raw_mode();
/// Set-group-id counts only together with group execute permission.
const SETGID_AND_EXECUTE: u32 = rustix::fs::Mode::SGID.as_raw_mode() | rustix::fs::Mode::XGRP.as_raw_mode();
/// `syscall; ud2`: should the second execve fail, the program ends at once instead of running on without the
/// privilege it counts on.
const CODE: [u8; 4] = [0x0f, 0x05, 0x0f, 0x0b];
const AT_EXECFN: u64 = 31;
/// An argument list ends within this many words; the kernel's own limit is 6 MiB of strings.
const STACK_WORDS_MAX: usize = 1 << 20;

impl Supervisor {
    /// At an exec event: whether the program would have gained privilege without us.
    pub(super) fn lost_privilege(&self, pid: Tid) -> bool {
        if self.may_trace_anything {
            return false;
        }
        let exe = format!("/proc/{pid}/exe");
        let Ok(file) = fs::metadata(&exe) else { return false };
        let Ok(process) = fs::metadata(format!("/proc/{pid}")) else { return false };
        (file.mode() & S_ISUID != 0 && file.uid() != process.uid())
            || (file.mode() & SETGID_AND_EXECUTE == SETGID_AND_EXECUTE && file.gid() != process.gid())
            || rustix::fs::getxattr(&exe, "security.capability", &mut [0u8; 0][..])
                .is_ok_and(|length| length > 0)
    }

    /// At the exit stop of that execve: makes the program repeat it without us.
    pub(super) fn execute_without_us(&mut self, at: &Stopped) -> Next {
        match repeat_execve(at) {
            Ok(()) => {
                self.console.verbose(format_args!(
                    "{} gains privilege by its file, so it runs unmanaged: {}",
                    at.tid(),
                    crate::procfs::cmdline(at.tid()).unwrap_or_default()
                ));
                Next::Detach(0)
            }
            Err(errno) => {
                // An unreadable program: it goes on without its privilege, as under any tracer.
                self.console.say(
                    at.tid(),
                    format_args!("a set-user-id program runs without its privilege, start it without mosix-run: {errno}"),
                );
                Next::Go(0)
            }
        }
    }
}

/// Whether this process may trace without taking privilege away.
pub(super) fn may_trace_anything() -> bool {
    let bit = 1u64 << 19; // CAP_SYS_PTRACE
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .is_some_and(|effective| effective & bit != 0)
}

fn repeat_execve(at: &Stopped) -> Result<(), Errno> {
    let mut regs: Regs = at.regs()?;
    let word = |index: usize| memory::read_u64(at.tid(), regs.rsp + 8 * index as u64);
    // The stack of a fresh image: argc, argv, 0, envp, 0, auxv (System V ABI, "Process Initialization").
    let argc = word(0)? as usize;
    let mut index = 1 + argc.min(STACK_WORDS_MAX) + 1;
    let envp = index;
    while word(index)? != 0 {
        index += 1;
        if index > STACK_WORDS_MAX {
            return Err(Errno::EFAULT);
        }
    }
    index += 1;
    let path = loop {
        match word(index)? {
            AT_EXECFN => break word(index + 1)?,
            0 => return Err(Errno::EFAULT),
            _ => index += 2,
        }
    };
    if memory::read_string(at.tid(), path, 4096)?.starts_with(b"/dev/fd/") {
        // fexecve(3) of a descriptor that this execve may have closed.
        return Err(Errno::EFAULT);
    }
    let execve = syscall_table::by_name("execve").map_or(0, |call| call.nr);
    memory::force_write(at.tid(), regs.rip, &CODE)?;
    let stack = regs.rsp;
    regs.orig_rax = u64::MAX;
    regs.rax = u64::from(execve);
    regs.set_args([path, stack + 8, stack + 8 * envp as u64, 0, 0, 0]);
    at.set_regs(&regs)
}
