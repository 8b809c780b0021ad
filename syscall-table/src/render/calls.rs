//! Calls that are shown in a way of their own.

use std::fmt::Write;

use super::Printer;
use super::devices::{request, request_number};
use super::ipc::get_flags;
use super::options::{option_name, protocol};
use super::shapes::{i32_at, u16_at, u64_at};
use super::tasks::{futex_wake_op, io_priority};
use super::values::{file_mode, flags as named, hex, name, signal};
use crate::flags;
use crate::kinds::Shape;

/// O_CREAT or __O_TMPFILE: the call has a mode.
pub(super) const MAKES_FILE: u64 = 0x40 | 0x40_0000;

/// mount(2) that changes what is mounted: it has no type.
const MS_REMOUNT: u64 = 0x20;
/// MS_BIND, MS_MOVE, and how mounts propagate: neither type nor data.
const MS_NO_DATA: u64 = 0x1000 | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x10_0000;

/// What mknod(2) needs a device number for.
const S_IFMT: u64 = 0o170_000;
const S_IFCHR: u64 = 0o20_000;
const S_IFBLK: u64 = 0o60_000;

impl Printer<'_> {
    /// Arguments that are there only sometimes.
    pub(super) fn hidden(&self, n: usize) -> bool {
        let no_device = |mode: u64| !matches!(mode & S_IFMT, S_IFCHR | S_IFBLK);
        match (self.name(), n) {
            ("open", 2) => self.args[1] & MAKES_FILE == 0,
            ("openat", 3) => self.args[2] & MAKES_FILE == 0,
            ("mq_open", 2 | 3) => self.args[1] & 0x40 == 0,
            ("mknod", 2) => no_device(self.args[1]),
            ("mknodat", 3) => no_device(self.args[2]),
            ("mremap", 4) => self.args[3] & 2 == 0,
            ("preadv" | "pwritev" | "preadv2" | "pwritev2", 4) => true,
            // FUTEX_WAIT_BITSET and FUTEX_WAKE_BITSET leave arguments out, FUTEX_LOCK_PI has no value.
            ("futex", 4) => matches!(self.args[1] & 0x7f, 9 | 10),
            ("futex", 3) => self.args[1] & 0x7f == 10,
            ("futex", 2) => matches!(self.args[1] & 0x7f, 6 | 13),
            // MEMBARRIER_CMD_FLAG_CPU
            ("membarrier", 2) => self.args[1] & 1 == 0,
            // KCMP_FILE and KCMP_EPOLL_TFD compare something that has a number.
            ("kcmp", 3 | 4) => matches!(self.args[2] as u32, 1..=6),
            ("syslog", 1 | 2) => !matches!(self.args[0] as u32, 2..=4 | 8 | 11..),
            // The register sets of x86-64 have no address.
            ("ptrace", 2) => matches!(self.args[0], 12..=15 | 0x4201..=0x4203),
            _ => false,
        }
    }

    /// Calls whose arguments stand in another order or are one structure. Returns whether it was one.
    pub(super) fn whole_call(&mut self) -> bool {
        match (self.name(), self.ret.is_some()) {
            ("clone", false) => self.clone_entry(),
            ("clone", true) => self.clone_exit(),
            ("clone3", false) => self.clone_args(),
            ("clone3", true) => self.clone3_exit(),
            ("rt_sigreturn", false) => self.restored_mask(),
            ("rt_sigreturn", true) => {}
            _ => return false,
        }
        true
    }

    /// The mask that rt_sigreturn(2) puts back: in the frame that the kernel has put on the stack for the handler.
    fn restored_mask(&mut self) {
        /// Offset of uc_sigmask in `struct ucontext` of the kernel.
        const MASK_AT: u64 = 296;
        let frame = self.mem.stack_pointer();
        if let Some(mask) = frame.and_then(|frame| self.word64(frame.wrapping_add(MASK_AT))) {
            let mask = super::values::sigset(mask);
            let _ = write!(self.out, "{{mask={mask}}}");
        }
    }

    /// Whether it is this operation of a multiplexed call.
    pub(super) fn is_op(&self, name: &str) -> bool {
        self.resolved.op.is_some_and(|op| op.name == name)
    }

    /// Arguments that are not shown by their kind alone. Returns whether it was one.
    pub(super) fn special_argument(&mut self, n: usize) -> bool {
        let value = self.args[n];
        match (self.name(), n) {
            ("execve", 2) | ("execveat", 3) => self.environment(value),
            ("ioctl", 1) => match self.resolved.op {
                Some(op) => self.out.push_str(request(op.name)),
                None => self.text(request_number(value as u32)),
            },
            ("ioctl", 2) => return self.device_argument(value),
            ("mknod", 1) | ("mknodat", 2) => self.text(file_mode(value as u32)),
            ("semctl", 2) | ("msgctl" | "shmctl" | "landlock_add_rule", 1) => self.command(value),
            ("semctl", 3) if self.is_op("SETALL") => self.address(value),
            ("semget", 2) | ("msgget", 1) => self.text(get_flags(value, &flags::SEM_GET)),
            ("shmget", 2) => self.text(get_flags(value, &flags::SHM_GET)),
            ("semget" | "msgget" | "shmget", 0) if value as u32 == 0 => self.out.push_str("IPC_PRIVATE"),
            ("futex", 1) => self.text(futex_op(value)),
            ("futex", 2) if self.resolved.op.is_none() => self.text((value as u32).to_string()),
            ("futex", 5) if value as u32 == u32::MAX => self.out.push_str("FUTEX_BITSET_MATCH_ANY"),
            ("futex", 5) if self.is_op("FUTEX_WAKE_OP") => self.text(futex_wake_op(value)),
            ("waitid" | "getpriority" | "setpriority", 1) | ("exit" | "exit_group", 0) => {
                self.text((value as i32).to_string());
            }
            ("socket" | "socketpair", 1) => self.text(socket_type(value)),
            ("socket", 2) => self.text(protocol(self.args[0], value)),
            ("setsockopt" | "getsockopt", 2) => self.text(option_name(self.args[1], value)),
            ("setsockopt" | "getsockopt", 3) => self.option_value(value),
            ("sendto", 1) if self.is_netlink_address(self.args[4]) => {
                self.datagram(value, self.args[2] as i64);
            }
            ("recvfrom", 1) if self.is_netlink_address(self.args[4]) => {
                self.datagram(value, self.ret.unwrap_or(0));
            }
            ("recvmmsg", 4) => self.shape_at(value, Shape::Timespec),
            ("getrandom", 0) => self.random(value),
            ("getcwd", 0) if self.ret.is_some() && !self.failed() => self.path(value),
            ("sendfile", 2) if value != 0 => self.moved_offset(value),
            ("prctl", 1) if self.is_op("PR_GET_NAME") && !self.failed() => self.string(value),
            ("mincore", 2) if self.ret == Some(0) => self.resident(value),
            ("mbind" | "set_mempolicy", _) | ("get_mempolicy", 0 | 1) => {
                return self.policy_argument(n, value);
            }
            ("migrate_pages", 2 | 3) => self.node_mask(value, self.args[1].saturating_sub(1)),
            ("process_vm_readv" | "process_vm_writev", 1 | 3) => self.foreign_vector(n, value),
            ("vmsplice", 1) => self.vector(value, self.args[2], None, false),
            // The kernel refuses longer ones.
            ("sethostname" | "setdomainname", 0) if self.args[1] > 64 => self.address(value),
            ("mount", 2) if self.args[3] & (MS_REMOUNT | MS_NO_DATA) != 0 => self.address(value),
            ("mount", 4) if self.args[3] & MS_REMOUNT == 0 && self.args[3] & MS_NO_DATA != 0 => {
                self.address(value);
            }
            // Asked for the size only.
            ("listxattr" | "llistxattr" | "flistxattr", 1) if self.args[2] == 0 => self.address(value),
            ("name_to_handle_at", 2) | ("open_by_handle_at", 1) => self.file_handle(value),
            ("epoll_pwait2", 3) if self.failed() => self.address(value),
            ("kcmp", 3 | 4) if self.args[2] as u32 == 0 => self.text(value.to_string()),
            ("landlock_create_ruleset", 0) if self.args[1] >= 8 => match self.word64(value) {
                Some(access) => {
                    self.text(format!("{{handled_access_fs={}}}", named(access, &flags::LANDLOCK_FS)));
                }
                None => self.address(value),
            },
            ("landlock_add_rule", 2) if self.is_op("LANDLOCK_RULE_PATH_BENEATH") => {
                match self.fetch(value, 12) {
                    Some(b) => {
                        let access = named(u64_at(&b, 0), &flags::LANDLOCK_FS);
                        self.text(format!("{{allowed_access={access}, parent_fd={}}}", i32_at(&b, 8)));
                    }
                    None => self.address(value),
                }
            }
            ("mq_notify", 1) => self.shape_at(value, Shape::Sigevent),
            ("ioprio_set", 2) => self.text(io_priority(value & 0xffff_ffff)),
            ("personality", 0) if value as u32 == u32::MAX => self.out.push_str("0xffffffff"),
            ("syslog", 0) => {
                self.text(format!("{} /* {} */", value as i32, bare_name(value, &flags::SYSLOG)));
            }
            ("seccomp", 2) if self.args[0] as u32 == 2 => match self.word32(value) {
                Some(action) => self.text(format!("[{}]", name(action.into(), &flags::SECCOMP_RET))),
                None => self.address(value),
            },
            ("swapon", 1) => self.text(swap_flags(value)),
            _ => return false,
        }
        true
    }

    fn text(&mut self, text: String) {
        self.out.push_str(&text);
    }

    /// What selects the operation of a call that has no set of names for it.
    fn command(&mut self, value: u64) {
        match self.resolved.op {
            Some(op) => self.out.push_str(op.name),
            None => {
                let unknown = match self.name() {
                    "semctl" => "SEM_???",
                    "msgctl" => "MSG_???",
                    "shmctl" => "SHM_???",
                    _ => "LANDLOCK_RULE_???",
                };
                self.text(format!("{} /* {unknown} */", hex(value & 0xffff_ffff)));
            }
        }
    }

    /// An offset that sendfile(2) has moved.
    fn moved_offset(&mut self, addr: u64) {
        match (self.offset.take(), self.word64(addr)) {
            (Some(before), Some(after)) if before != after => {
                let _ = write!(self.out, "[{before}] => [{after}]");
            }
            _ => self.shape_at(addr, Shape::I64),
        }
    }

    /// A `struct file_handle`, see name_to_handle_at(2).
    fn file_handle(&mut self, addr: u64) {
        /// MAX_HANDLE_SZ
        const MOST_BYTES: u32 = 128;
        let made = self.name() == "name_to_handle_at";
        let (Some(room), Some(head)) = (self.length.or_else(|| self.word32(addr)), self.fetch(addr, 8))
        else {
            return self.address(addr);
        };
        let bytes = super::shapes::u32_at(&head, 0);
        let _ = write!(self.out, "{{handle_bytes={room}");
        if made && room != bytes {
            let _ = write!(self.out, " => {bytes}");
        }
        if !(made && self.failed()) {
            let handle = self.fetch(addr.wrapping_add(8), bytes.min(MOST_BYTES) as usize);
            let handle = handle.map(|handle| super::values::quoted_hex(&handle, MOST_BYTES as usize));
            let _ = write!(self.out, ", handle_type={}", i32_at(&head, 4));
            let _ = write!(self.out, ", f_handle={}", handle.unwrap_or_default());
        }
        self.out.push('}');
    }

    /// What stands after the result: poll(2)'s answers, select(2)'s sets, what is left of a timeout.
    pub(super) fn outcome(&mut self) {
        let Some(ret) = self.ret else { return };
        if self.failed() {
            return;
        }
        match self.name() {
            "poll" | "ppoll" | "select" | "pselect6" if ret == 0 => self.tail.push_str("Timeout"),
            "poll" | "ppoll" => {
                let count = (self.args[1] as usize).min(1 << 16);
                let Some(array) = self.fetch(self.args[0], count * 8) else { return };
                let mut answered: Vec<String> = array
                    .chunks_exact(8)
                    .filter(|fd| u16_at(fd, 6) != 0)
                    .map(|fd| {
                        let events = named(u16_at(fd, 6).into(), &flags::POLL);
                        format!("{{fd={}, revents={events}}}", self.descriptor(i32_at(fd, 0)))
                    })
                    .take(self.style.elements + 1)
                    .collect();
                if let Some(last) = answered.get_mut(self.style.elements) {
                    *last = "...".into();
                }
                self.tail = format!("[{}]", answered.join(", "));
                if self.name() == "ppoll" {
                    self.left(self.args[2], Shape::Timespec);
                }
            }
            "select" | "pselect6" => {
                for (n, label) in [(1, "in"), (2, "out"), (3, "except")] {
                    let fds = self.fds_in(self.args[n], self.args[0] as i32).unwrap_or_default();
                    if !fds.is_empty() {
                        let fds: Vec<String> = fds.iter().map(|fd| self.descriptor(*fd as i32)).collect();
                        let comma = if self.tail.is_empty() { "" } else { ", " };
                        let _ = write!(self.tail, "{comma}{label} [{}]", fds.join(" "));
                    }
                }
                let shape = if self.name() == "select" { Shape::Timeval } else { Shape::Timespec };
                self.left(self.args[4], shape);
            }
            "time" => self.tail = super::shapes::date(ret, 0, false),
            "ioprio_get" => self.tail = io_priority(ret as u64),
            "sched_getscheduler" => self.named_result(ret, &flags::SCHED),
            "prctl" if self.is_op("PR_GET_DUMPABLE") => self.named_result(ret, &flags::DUMPABLE),
            "prctl" if self.is_op("PR_MCE_KILL_GET") => self.named_result(ret, &flags::MCE_POLICY),
            "rt_sigtimedwait" if ret > 0 => self.tail = signal(ret as u64),
            _ => {}
        }
    }

    /// A result that is a number and has a name.
    fn named_result(&mut self, ret: i64, set: &flags::FlagSet) {
        if let Some((_, name)) = set.bits.iter().find(|(value, _)| i64::try_from(*value) == Ok(ret)) {
            self.tail = (*name).into();
        }
    }

    fn left(&mut self, addr: u64, shape: Shape) {
        let Some(b) = self.fetch(addr, 16) else { return };
        let unit = if shape == Shape::Timeval { "usec" } else { "nsec" };
        let _ = write!(
            self.tail,
            ", left {{tv_sec={}, tv_{unit}={}}}",
            u64_at(&b, 0) as i64,
            u64_at(&b, 8) as i64
        );
    }
}

/// `FUTEX_WAIT_PRIVATE|FUTEX_CLOCK_REALTIME`
fn futex_op(value: u64) -> String {
    let op = value & 0x7f;
    let names = flags::FUTEX_OP.fields[0].1;
    let Some((_, label)) = names.iter().find(|(v, _)| *v == op) else {
        return format!("{} /* FUTEX_??? */", hex(value));
    };
    let private = if value & 0x80 != 0 { "_PRIVATE" } else { "" };
    let clock = if value & 0x100 != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    format!("{label}{private}{clock}")
}

/// The kind of a socket, and flags.
fn socket_type(value: u64) -> String {
    let known = flags::SOCK.bits.iter().fold(0xf, |all, (bit, _)| all | bit);
    let text = named(value & 0xffff_ffff, &flags::SOCK);
    let only_unknown = value & known & !0xf == 0 && value & 0xffff_ffff & !known != 0;
    if only_unknown { text + " /* SOCK_??? */" } else { text }
}

/// A priority, under flags.
fn swap_flags(value: u64) -> String {
    const PRIORITY: u64 = 0x7fff;
    let bits = value & !PRIORITY & 0xffff_ffff;
    let priority = (value & PRIORITY).to_string();
    if bits == 0 { priority } else { format!("{}|{priority}", named(bits, &flags::SWAP)) }
}

/// A value's name, without its number.
fn bare_name(value: u64, set: &'static flags::FlagSet) -> &'static str {
    let known = set.bits.iter().find(|(number, _)| *number == value & 0xffff_ffff);
    known.map_or(set.unknown, |(_, name)| name)
}
