//! Calls that are shown in a way of their own.

use std::fmt::Write;

use super::Printer;
use super::shapes::{i32_at, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, name, octal, signal};
use crate::flags;
use crate::kinds::Shape;

impl Printer<'_> {
    /// Arguments that are there only sometimes.
    pub(super) fn hidden(&self, n: usize) -> bool {
        /// O_CREAT or __O_TMPFILE
        const MAKES_FILE: u64 = 0x40 | 0x40_0000;
        match (self.name(), n) {
            ("open", 2) => self.args[1] & MAKES_FILE == 0,
            ("openat", 3) => self.args[2] & MAKES_FILE == 0,
            ("mq_open", 2 | 3) => self.args[1] & 0x40 == 0,
            ("mremap", 4) => self.args[3] & 2 == 0,
            ("preadv" | "pwritev" | "preadv2" | "pwritev2", 4) => true,
            // FUTEX_WAIT_BITSET and FUTEX_WAKE_BITSET leave arguments out.
            ("futex", 4) => matches!(self.args[1] & 0x7f, 9 | 10),
            ("futex", 3) => self.args[1] & 0x7f == 10,
            _ => false,
        }
    }

    /// Calls whose arguments stand in another order or are one structure. Returns whether it was one.
    pub(super) fn whole_call(&mut self) -> bool {
        match (self.name(), self.ret.is_some()) {
            ("clone", false) => {
                self.out.push_str("child_stack=");
                self.address(self.args[1]);
                let bits = clone_flags(self.args[0]);
                let _ = write!(self.out, ", flags={bits}");
            }
            ("clone", true) => {
                let [bits, _, parent, child, tls, _] = self.args;
                let mut add = |label: &str, text: String| {
                    let _ = write!(self.out, ", {label}={text}");
                };
                if bits & 0x10_1000 != 0 {
                    add(if bits & 0x1000 != 0 { "pidfd" } else { "parent_tid" }, hex(parent));
                }
                if bits & 0x8_0000 != 0 {
                    add("tls", hex(tls));
                }
                if bits & 0x120_0000 != 0 {
                    add("child_tidptr", hex(child));
                }
            }
            ("clone3", false) => self.clone_args(),
            ("clone3", true) => {
                let parent = self.fetch(self.args[0], 88).map(|b| (u64_at(&b, 0), u64_at(&b, 24)));
                if let Some((bits, parent)) = parent
                    && bits & 0x10_0000 != 0
                    && !self.failed()
                    && let Some(tid) = self.word32(parent)
                {
                    let _ = write!(self.out, " => {{parent_tid=[{tid}]}}");
                }
                let _ = write!(self.out, ", {}", self.args[1]);
            }
            _ => return false,
        }
        true
    }

    fn clone_args(&mut self) {
        let size = (self.args[1].min(88) as usize).max(64);
        let Some(b) = self.fetch(self.args[0], size) else { return self.address(self.args[0]) };
        let bits = u64_at(&b, 0);
        let mut text = format!("{{flags={}", named(bits, &flags::CLONE3));
        let mut add = |label: &str, value: String| {
            let _ = write!(text, ", {label}={value}");
        };
        if bits & 0x1000 != 0 {
            add("pidfd", hex(u64_at(&b, 8)));
        }
        if bits & 0x120_0000 != 0 {
            add("child_tid", hex(u64_at(&b, 16)));
        }
        if bits & 0x10_0000 != 0 {
            add("parent_tid", hex(u64_at(&b, 24)));
        }
        add("exit_signal", signal(u64_at(&b, 32)));
        let stack = u64_at(&b, 40);
        add("stack", if stack == 0 { "NULL".into() } else { hex(stack) });
        add("stack_size", hex(u64_at(&b, 48)));
        if bits & 0x8_0000 != 0 {
            add("tls", hex(u64_at(&b, 56)));
        }
        text.push('}');
        self.out.push_str(&text);
    }

    /// Arguments that are not shown by their kind alone. Returns whether it was one.
    pub(super) fn special_argument(&mut self, n: usize) -> bool {
        let value = self.args[n];
        let text = match (self.name(), n) {
            ("execve", 2) | ("execveat", 3) => {
                let variables = self.count_strings(value);
                self.address(value);
                if let Some(count) = variables {
                    let s = if count == 1 { "" } else { "s" };
                    let _ = write!(self.out, " /* {count} var{s} */");
                }
                return true;
            }
            ("ioctl", 1) => match self.resolved.op {
                Some(op) => op.name.into(),
                None => ioctl_number(value as u32),
            },
            ("mknod", 1) | ("mknodat", 2) => super::values::file_mode(value as u32),
            ("semctl", 2) | ("msgctl" | "shmctl", 1) => match self.resolved.op {
                Some(op) => op.name.into(),
                None => hex(value),
            },
            ("landlock_add_rule", 1) => match self.resolved.op {
                Some(op) => op.name.into(),
                None => hex(value),
            },
            ("semget", 2) | ("msgget", 1) | ("shmget", 2) => {
                let bits = named(value & !0o777, &flags::IPC_GET);
                let mode = octal(value as u32 & 0o777);
                if value & !0o777 == 0 { mode } else { format!("{bits}|{mode}") }
            }
            ("semget" | "msgget" | "shmget", 0) if value as u32 == 0 => "IPC_PRIVATE".into(),
            ("futex", 1) => futex_op(value),
            ("futex", 5) if value as u32 == u32::MAX => "FUTEX_BITSET_MATCH_ANY".into(),
            ("waitid", 1) => (value as i32).to_string(),
            ("socket" | "socketpair", 2) => protocol(self.args[0], value),
            ("setsockopt" | "getsockopt", 2) => socket_option(self.args[1], value),
            ("setsockopt" | "getsockopt", 3) => return self.option_value(value),
            ("getrandom", 0) => {
                self.random(value);
                return true;
            }
            ("getcwd", 0) if self.ret.is_some() && !self.failed() => {
                self.path(value);
                return true;
            }
            ("sendfile", 2) | ("splice" | "copy_file_range", 1 | 3) if value != 0 => {
                match (self.offset.take(), self.word64(value)) {
                    (Some(before), Some(after)) if before != after => {
                        let _ = write!(self.out, "[{before}] => [{after}]");
                    }
                    _ => self.shape_at(value, Shape::I64),
                }
                return true;
            }
            ("prctl", 1) if self.resolved.op.is_some_and(|op| op.name == "PR_GET_NAME") => {
                if self.failed() {
                    self.address(value)
                } else {
                    self.string(value)
                }
                return true;
            }
            ("exit" | "exit_group", 0) => (value as i32).to_string(),
            ("getpriority" | "setpriority", 1) => (value as i32).to_string(),
            _ => return false,
        };
        self.out.push_str(&text);
        true
    }

    fn count_strings(&mut self, addr: u64) -> Option<usize> {
        /// More variables than this are not counted.
        const MOST: usize = 1 << 16;
        if addr == 0 {
            return None;
        }
        (0..MOST).find(|&i| self.word64(addr.wrapping_add(i as u64 * 8)).unwrap_or(0) == 0)
    }

    /// The value of a socket option: an `int`, or a structure that is known.
    fn option_value(&mut self, addr: u64) -> bool {
        let get = self.name() == "getsockopt";
        if addr == 0 || get && self.failed() {
            self.address(addr);
            return true;
        }
        let len = if get { self.word32(self.args[4]).unwrap_or(0) } else { self.args[4] as u32 };
        let text = match (self.args[1] as u32, self.args[2] as u32, len) {
            (1, 13, 8) => self
                .fetch(addr, 8)
                .map(|b| format!("{{l_onoff={}, l_linger={}}}", i32_at(&b, 0), i32_at(&b, 4))),
            (1, 17, 12) => self
                .fetch(addr, 12)
                .map(|b| format!("{{pid={}, uid={}, gid={}}}", i32_at(&b, 0), u32_at(&b, 4), u32_at(&b, 8))),
            (1, 20 | 21, 16) => {
                self.shape_at(addr, Shape::Timeval);
                return true;
            }
            (_, _, 4) => self.fetch(addr, 4).map(|b| format!("[{}]", i32_at(&b, 0))),
            (_, _, len) => {
                let want = (len as usize).min(self.style.string_bytes + 1);
                self.fetch(addr, want).map(|b| super::values::quoted(&b, self.style.string_bytes))
            }
        };
        match text {
            Some(text) => self.out.push_str(&text),
            None => self.address(addr),
        }
        true
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
                let answered: Vec<String> = array
                    .chunks_exact(8)
                    .filter(|fd| u16_at(fd, 6) != 0)
                    .map(|fd| {
                        let events = named(u16_at(fd, 6).into(), &flags::POLL);
                        format!("{{fd={}, revents={events}}}", self.descriptor(i32_at(fd, 0)))
                    })
                    .collect();
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
            "rt_sigtimedwait" if ret > 0 => self.tail = signal(ret as u64),
            _ => {}
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

fn protocol(family: u64, value: u64) -> String {
    let known = match (family, value as u32) {
        (2 | 10, 0) => "IPPROTO_IP",
        (2 | 10, 1) => "IPPROTO_ICMP",
        (2 | 10, 6) => "IPPROTO_TCP",
        (2 | 10, 17) => "IPPROTO_UDP",
        (2 | 10, 58) => "IPPROTO_ICMPV6",
        (2 | 10, 132) => "IPPROTO_SCTP",
        (2 | 10, 255) => "IPPROTO_RAW",
        (16, 0) => "NETLINK_ROUTE",
        (16, 9) => "NETLINK_AUDIT",
        (16, 15) => "NETLINK_KOBJECT_UEVENT",
        (16, 16) => "NETLINK_GENERIC",
        _ => return (value as i32).to_string(),
    };
    known.into()
}

fn socket_option(level: u64, value: u64) -> String {
    let set = match level as u32 {
        0 => &flags::IP,
        1 => &flags::SO,
        6 => &flags::TCP,
        41 => &flags::IPV6,
        _ => return hex(value & 0xffff_ffff),
    };
    name(value & 0xffff_ffff, set)
}

/// `_IOC(_IOC_READ, 0x54, 0x2, 0x4)`
fn ioctl_number(request: u32) -> String {
    let direction = match request >> 30 {
        0 => "_IOC_NONE",
        1 => "_IOC_WRITE",
        2 => "_IOC_READ",
        _ => "_IOC_READ|_IOC_WRITE",
    };
    let hex = |value: u32| hex(value.into());
    format!(
        "_IOC({direction}, {}, {}, {})",
        hex(request >> 8 & 0xff),
        hex(request & 0xff),
        hex(request >> 16 & 0x3fff)
    )
}
