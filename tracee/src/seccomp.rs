//! Assembles the seccomp filter of bodies: calls on a list are allowed, by number alone or where argument bits say
//! so, and everything else stops for the tracer. The number is found by binary search; a verdict that depends on
//! nothing but the number is cached by the kernel (seccomp_cache_prepare).

use crate::Errno;

/// When a call is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Whatever its arguments.
    Always,
    /// If in any of the groups every test holds.
    If(Vec<Vec<Bits>>),
}

/// `args[arg] & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Argument, from 0.
    pub arg: u8,
    /// Bits looked at.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

/// A filter program.
#[derive(Clone, Debug)]
pub struct Filter(Vec<libc::sock_filter>);

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JGE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const AT_NR: u32 = 0;
const AT_ARCH: u32 = 4;
const AT_ARGS: u32 = 16;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are x32's.
const X32: u32 = 0x4000_0000;

impl Filter {
    /// Builds the program from `(number, when)` rules.
    pub fn new(rules: &[(u32, Allow)]) -> Filter {
        let mut rules: Vec<_> = rules.iter().filter(|(nr, _)| *nr < X32).cloned().collect();
        rules.sort_by_key(|(nr, _)| *nr);
        // Ranges that cover all numbers: (first number, what holds from there to the next range).
        let mut ranges = vec![(0, libc::SECCOMP_RET_TRACE)];
        for (nr, _) in rules.iter().filter(|(_, allow)| *allow == Allow::Always) {
            push(&mut ranges, *nr, libc::SECCOMP_RET_ALLOW);
            push(&mut ranges, *nr + 1, libc::SECCOMP_RET_TRACE);
        }
        let mut program = Filter(Vec::new());
        program.emit(LOAD, 0, 0, AT_ARCH);
        program.emit(JEQ, 1, 0, AUDIT_ARCH_X86_64);
        program.emit(RETURN, 0, 0, libc::SECCOMP_RET_TRACE);
        program.emit(LOAD, 0, 0, AT_NR);
        // First what depends on arguments: the kernel runs the program for these alone, and for what stops anyway.
        for (nr, allow) in &rules {
            if let Allow::If(groups) = allow {
                program.conditional(*nr, groups);
            }
        }
        program.search(&ranges);
        program
    }

    fn emit(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.0.push(libc::sock_filter { code, jt, jf, k });
    }

    fn search(&mut self, ranges: &[(u32, u32)]) {
        if let [(_, verdict)] = ranges {
            return self.emit(RETURN, 0, 0, *verdict);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        self.emit(JGE, 0, 1, high[0].0);
        let jump = self.0.len();
        self.emit(JUMP, 0, 0, 0);
        self.search(low);
        self.0[jump].k = (self.0.len() - jump - 1) as u32;
        self.search(high);
    }

    /// The verdict on one call by its arguments; other calls go on behind it.
    fn conditional(&mut self, nr: u32, groups: &[Vec<Bits>]) {
        self.emit(JEQ, 1, 0, nr);
        let jump = self.0.len();
        self.emit(JUMP, 0, 0, 0);
        for group in groups {
            self.group(group);
        }
        self.emit(RETURN, 0, 0, libc::SECCOMP_RET_TRACE);
        self.0[jump].k = (self.0.len() - jump - 1) as u32;
    }

    /// Tests of one group, then ALLOW; the first that fails jumps behind it.
    fn group(&mut self, tests: &[Bits]) {
        let mut failing = Vec::new();
        for test in tests {
            let at = AT_ARGS + 8 * u32::from(test.arg);
            for (half, shift) in [(at, 0), (at + 4, 32)] {
                let (mask, value) = ((test.mask >> shift) as u32, (test.value >> shift) as u32);
                if mask == 0 {
                    continue;
                }
                self.emit(LOAD, 0, 0, half);
                if mask != u32::MAX {
                    self.emit(AND, 0, 0, mask);
                }
                failing.push(self.0.len());
                self.emit(JEQ, 0, 0, value);
            }
        }
        self.emit(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
        let end = self.0.len();
        for at in failing {
            self.0[at].jf = (end - at - 1) as u8;
        }
    }

    /// Installs the filter in the calling thread for good. The caller has no_new_privs or is privileged in its user
    /// namespace.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the program is a live array of `len` instructions, which the kernel copies and checks.
        let got =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if got < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// What the filter says of a call: an interpreter for tests and `mosix check`.
    pub fn verdict(&self, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let mut accumulator = 0u32;
        let mut pc = 0;
        while let Some(op) = self.0.get(pc) {
            pc += 1;
            match op.code {
                LOAD => {
                    accumulator = match op.k {
                        AT_NR => nr,
                        AT_ARCH => arch,
                        at => {
                            let arg = args[((at - AT_ARGS) / 8) as usize];
                            (arg >> (8 * (at % 8))) as u32
                        }
                    }
                }
                AND => accumulator &= op.k,
                JUMP => pc += op.k as usize,
                JGE => pc += if accumulator >= op.k { op.jt } else { op.jf } as usize,
                JEQ => pc += if accumulator == op.k { op.jt } else { op.jf } as usize,
                _ => return op.k,
            }
        }
        libc::SECCOMP_RET_KILL_PROCESS
    }
}

fn push(ranges: &mut Vec<(u32, u32)>, from: u32, verdict: u32) {
    match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = verdict,
        _ => ranges.push((from, verdict)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_by_number_arguments_and_architecture() {
        let private = Bits { arg: 3, mask: 0xffff_ffff_0000_000f, value: 2 };
        let high = Bits { arg: 0, mask: u64::MAX, value: 0x1_0000_0005 };
        let filter = Filter::new(&[
            (12, Allow::Always),
            (9, Allow::If(vec![vec![private], vec![high]])),
            (13, Allow::Always),
            (40, Allow::Always),
        ]);
        let verdict = |nr, args| filter.verdict(AUDIT_ARCH_X86_64, nr, args);
        let none = [0; 6];
        for nr in 0..500 {
            let allowed = matches!(nr, 12 | 13 | 40);
            assert_eq!(verdict(nr, none) == libc::SECCOMP_RET_ALLOW, allowed, "call {nr}");
        }
        assert_eq!(verdict(9, [0, 0, 0, 0x22, 0, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(verdict(9, [0, 0, 0, 1 << 32 | 0x22, 0, 0]), libc::SECCOMP_RET_TRACE);
        assert_eq!(verdict(9, [0x1_0000_0005, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(verdict(9, [5, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_TRACE);
        assert_eq!(verdict(X32 | 12, none), libc::SECCOMP_RET_TRACE);
        assert_eq!(filter.verdict(0x4000_0003, 12, none), libc::SECCOMP_RET_TRACE);
    }
}
