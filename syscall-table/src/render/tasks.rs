//! Processes, capabilities, scheduling, NUMA policies.

use std::fmt::Write;

use super::Printer;
use super::shapes::{i32_at, pointer, u32_at, u64_at};
use super::values::{flags as named, hex, name, signal};
use crate::flags;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
/// CLONE_CHILD_CLEARTID and CLONE_CHILD_SETTID
const CLONE_CHILD_TID: u64 = 0x120_0000;

/// The low byte is the signal that the child's end sends.
fn clone_flags(value: u64) -> String {
    let bits = value & !0xff;
    let mut text = if bits == 0 { String::new() } else { named(bits, &flags::CLONE) };
    if value & 0xff != 0 {
        if !text.is_empty() {
            text.push('|');
        }
        text.push_str(&signal(value & 0xff));
    }
    if text.is_empty() { "0".into() } else { text }
}

impl Printer<'_> {
    /// The first arguments of clone(2), which stand in an order of their own.
    pub(super) fn clone_entry(&mut self) {
        self.out.push_str("child_stack=");
        self.address(self.args[1]);
        let bits = clone_flags(self.args[0]);
        let _ = write!(self.out, ", flags={bits}");
    }

    /// Those that its flags give a meaning.
    pub(super) fn clone_exit(&mut self) {
        let [bits, _, parent, child, tls, _] = self.args;
        if bits & (CLONE_PIDFD | CLONE_PARENT_SETTID) != 0 {
            let label = if bits & CLONE_PARENT_SETTID != 0 { "parent_tid" } else { "pidfd" };
            let _ = write!(self.out, ", {label}=");
            match self.word32(parent).filter(|_| !self.failed()) {
                Some(number) => {
                    let _ = write!(self.out, "[{}]", number as i32);
                }
                None => self.address(parent),
            }
        }
        if bits & CLONE_SETTLS != 0 {
            let _ = write!(self.out, ", tls={}", hex(tls));
        }
        if bits & CLONE_CHILD_TID != 0 {
            let _ = write!(self.out, ", child_tidptr={}", pointer(child));
        }
    }

    /// A `struct clone_args`.
    pub(super) fn clone_args(&mut self) {
        /// The first published structure (CLONE_ARGS_SIZE_VER0) and the longest that is known.
        const SIZES: std::ops::RangeInclusive<u64> = 64..=88;
        let size = self.args[1].min(*SIZES.end());
        let known = SIZES.contains(&size).then(|| self.fetch(self.args[0], size as usize)).flatten();
        let Some(b) = known else { return self.address(self.args[0]) };
        let bits = u64_at(&b, 0);
        let mut text = format!("{{flags={}", named(bits, &flags::CLONE3));
        let mut add = |label: &str, value: String| {
            let _ = write!(text, ", {label}={value}");
        };
        if bits & CLONE_PIDFD != 0 {
            add("pidfd", pointer(u64_at(&b, 8)));
        }
        if bits & CLONE_CHILD_TID != 0 {
            add("child_tid", pointer(u64_at(&b, 16)));
        }
        if bits & CLONE_PARENT_SETTID != 0 {
            add("parent_tid", pointer(u64_at(&b, 24)));
        }
        add("exit_signal", signal(u64_at(&b, 32)));
        add("stack", pointer(u64_at(&b, 40)));
        add("stack_size", hex(u64_at(&b, 48)));
        if bits & CLONE_SETTLS != 0 {
            add("tls", hex(u64_at(&b, 56)));
        }
        text.push('}');
        self.out.push_str(&text);
    }

    /// What clone3(2) has written, and the size.
    pub(super) fn clone3_exit(&mut self) {
        let head = self.fetch(self.args[0], 32).filter(|_| self.args[1] >= 64 && !self.failed());
        let mut written = Vec::new();
        if let Some(b) = head {
            let bits = u64_at(&b, 0);
            for (bit, label, at) in [(CLONE_PIDFD, "pidfd", 8), (CLONE_PARENT_SETTID, "parent_tid", 24)] {
                if bits & bit != 0
                    && let Some(number) = self.word32(u64_at(&b, at))
                {
                    written.push(format!("{label}=[{}]", number as i32));
                }
            }
        }
        if !written.is_empty() {
            let _ = write!(self.out, " => {{{}}}", written.join(", "));
        }
        let _ = write!(self.out, ", {}", self.args[1]);
    }

    /// The environment of execve(2): how many variables.
    pub(super) fn environment(&mut self, addr: u64) {
        /// More variables than this are not counted.
        const MOST: usize = 1 << 16;
        self.address(addr);
        let Some(first) = self.word64(addr) else { return };
        let count = if first == 0 {
            Some(0)
        } else {
            (1..MOST).find(|&i| self.word64(addr.wrapping_add(i as u64 * 8)).unwrap_or(0) == 0)
        };
        if let Some(count) = count {
            let s = if count == 1 { "" } else { "s" };
            let _ = write!(self.out, " /* {count} var{s} */");
        }
    }
}

/// A capability set: `1<<CAP_CHOWN|1<<CAP_KILL`.
fn capabilities(set: u64) -> String {
    let mut rest = set;
    let mut names = Vec::new();
    for (number, name) in flags::CAP.bits {
        if rest >> number & 1 == 1 {
            names.push(format!("1<<{name}"));
            rest &= !(1 << number);
        }
    }
    if rest != 0 {
        names.push(hex(rest));
    }
    if names.is_empty() { "0".into() } else { names.join("|") }
}

/// `struct __user_cap_data_struct[2]`
pub(super) fn capability_sets(b: &[u8]) -> String {
    let wide = |at: usize| capabilities(u64::from(u32_at(b, at)) | u64::from(u32_at(b, at + 12)) << 32);
    format!("{{effective={}, permitted={}, inheritable={}}}", wide(0), wide(4), wide(8))
}

/// `struct __user_cap_header_struct`
pub(super) fn capability_header(b: &[u8]) -> String {
    format!("{{version={}, pid={}}}", name(u32_at(b, 0).into(), &flags::CAP_VERSION), i32_at(b, 4))
}

/// `struct sched_attr`, as long as it says it is.
pub(super) fn sched_attr(b: &[u8]) -> Option<String> {
    if b.len() < 48 {
        return None;
    }
    let mut text = format!(
        "{{size={}, sched_policy={}, sched_flags={}, sched_nice={}, sched_priority={}, sched_runtime={}, \
         sched_deadline={}, sched_period={}",
        u32_at(b, 0),
        name(u32_at(b, 4).into(), &flags::SCHED),
        named(u64_at(b, 8), &flags::SCHED_FLAG),
        i32_at(b, 16),
        u32_at(b, 20),
        u64_at(b, 24),
        u64_at(b, 32),
        u64_at(b, 40)
    );
    if b.len() >= 56 {
        let _ = write!(text, ", sched_util_min={}, sched_util_max={}", u32_at(b, 48), u32_at(b, 52));
    }
    text.push('}');
    Some(text)
}

/// `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4)`, see ioprio_set(2).
pub(super) fn io_priority(value: u64) -> String {
    format!("IOPRIO_PRIO_VALUE({}, {})", name(value >> 13 & 0x7_ffff, &flags::IOPRIO_CLASS), value & 0x1fff)
}

/// `FUTEX_OP_SET<<28|0<<12|FUTEX_OP_CMP_GT<<24|0x1`: what FUTEX_WAKE_OP does to the second word, see futex(2).
pub(super) fn futex_wake_op(value: u64) -> String {
    let field = |shift: u32, mask: u64| value >> shift & mask;
    let shift = if field(28, 8) != 0 { "FUTEX_OP_OPARG_SHIFT<<28|" } else { "" };
    format!(
        "{shift}{}<<28|{}<<12|{}<<24|{}",
        name(field(28, 7), &flags::FUTEX_WAKE_OP),
        hex(field(12, 0xfff)),
        name(field(24, 0xf), &flags::FUTEX_WAKE_CMP),
        hex(field(0, 0xfff))
    )
}
