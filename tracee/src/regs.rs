//! General-purpose registers, with the system call convention of x86-64 by name.

use serde::{Deserialize, Serialize};

use crate::errno::restart;

/// The registers of one thread in the order of `struct user_regs_struct` (sys/user.h), so that ptrace can fill it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Regs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// The `syscall` instruction.
pub const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Its length in bytes.
pub const SYSCALL_LEN: u64 = SYSCALL.len() as u64;

impl Regs {
    /// Number of the call the thread is in, or `None` when it is not in one (orig_rax = -1).
    pub fn call(&self) -> Option<u32> {
        ((self.orig_rax as i64) >= 0).then_some(self.orig_rax as u32)
    }

    /// The six arguments of the call.
    pub fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets the six arguments of a call.
    pub fn set_args(&mut self, args: [u64; 6]) {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9] = args;
    }

    /// The call's result as the kernel left it.
    pub fn ret(&self) -> i64 {
        self.rax as i64
    }

    /// Makes the thread leave the call it is in with `ret`: the kernel neither runs nor restarts anything
    /// (orig_rax = -1), and user space sees the registers that the `syscall` instruction clobbers as the kernel
    /// would leave them.
    pub fn finish_call(&mut self, ret: i64) {
        self.orig_rax = u64::MAX;
        self.rax = ret as u64;
        self.rcx = self.rip;
        self.r11 = self.eflags;
    }

    /// Takes back what [`crate::Stopped::is_set_back`] sees: the registers are those of the interrupted call `nr` again. The
    /// kernel's code is lost and is what such a call ends with.
    pub fn undo_set_back(&mut self, nr: u32) {
        self.rip = self.rip.wrapping_add(SYSCALL_LEN);
        self.orig_rax = u64::from(nr);
        self.rax = restart::of(syscall_table::wait_of(nr, &self.args())) as u64;
    }

    /// Makes the thread make call `nr` again from its own `syscall` instruction, with the arguments it has.
    pub fn rearm(&mut self, nr: u32) {
        self.orig_rax = u64::MAX;
        self.rax = u64::from(nr);
        self.rip = self.rip.wrapping_sub(SYSCALL_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_set_back_is_one_that_was_interrupted() {
        const FUTEX: u32 = 202;
        const FUTEX_WAIT_PRIVATE: u64 = 0x80;
        const PAUSE: u32 = 34;
        // restart_syscall stands for the futex wait, whose end by a handler is EINTR whatever that has.
        let before =
            Regs { rip: 0x1000, orig_rax: 202, rax: 219, rsi: FUTEX_WAIT_PRIVATE, ..Regs::default() };
        for (nr, code) in [(FUTEX, restart::NOHAND), (PAUSE, restart::SYS)] {
            let mut regs = before;
            regs.undo_set_back(nr);
            assert_eq!((regs.rip, regs.call(), regs.ret()), (0x1002, Some(nr), code));
            regs.rearm(nr);
            assert_eq!((regs.rip, regs.call(), regs.rax), (0x1000, None, u64::from(nr)));
        }
    }
}
