//! Structures.

use std::fmt::Write;

use super::Printer;
use super::calls::MAKES_FILE;
use super::ipc::{object, queue_attributes, sembuf};
use super::signals::{sigaction, sigevent, siginfo, stack};
use super::tasks::{capability_header, capability_sets, sched_attr};
use super::values::{
    device, file_mode, flags as named, hex, name, octal, quoted, quoted_hex, signal, sigset,
};
use crate::flags::{self, FlagSet};
use crate::kinds::{Len, Shape};

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    u32_at(bytes, at) as i32
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at) as i64
}

pub(super) fn pointer(value: u64) -> String {
    if value == 0 { "NULL".into() } else { hex(value) }
}

fn timespec(b: &[u8], at: usize) -> String {
    format!("{{tv_sec={}, tv_nsec={}}}", i64_at(b, at), u64_at(b, at + 8))
}

fn timeval(b: &[u8], at: usize) -> String {
    format!("{{tv_sec={}, tv_usec={}}}", i64_at(b, at), u64_at(b, at + 8))
}

/// A time stamp of utimensat(2), with its date.
fn stamp(b: &[u8], at: usize) -> String {
    match i64_at(b, at + 8) {
        0x3fff_ffff => "UTIME_NOW".into(),
        0x3fff_fffe => "UTIME_OMIT".into(),
        nanos => format!("{} /* {} */", timespec(b, at), date(i64_at(b, at), nanos, false)),
    }
}

/// A time stamp of utimes(2), with its date.
fn micro_stamp(b: &[u8], at: usize) -> String {
    let nanos = i64_at(b, at + 8).saturating_mul(1000);
    format!("{} /* {} */", timeval(b, at), date(i64_at(b, at), nanos, true))
}

/// A time stamp of utime(2), with its date.
fn second_stamp(seconds: i64) -> String {
    format!("{seconds} /* {} */", date(seconds, 0, false))
}

/// A date in UTC, by the civil-from-days rule of the proleptic Gregorian calendar.
pub(super) fn date(seconds: i64, nanos: i64, micros: bool) -> String {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let fraction = match nanos {
        0 => String::new(),
        nanos if micros => format!(".{:06}", nanos / 1000),
        nanos => format!(".{nanos:09}"),
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+0000")
}

/// The four words of flags of a terminal.
fn terminal(word: impl Fn(usize) -> u32) -> String {
    let field = |at: usize, set: &FlagSet| {
        let value = u64::from(word(at));
        let fields = set.fields.iter().fold(0, |all, (mask, _)| all | mask);
        match (value & !fields, set.fields.is_empty()) {
            (0, true) => String::new(),
            (0, false) => named(value, set) + "|",
            _ => named(value, set),
        }
    };
    format!(
        "{{c_iflag={}, c_oflag={}, c_cflag={}, c_lflag={}, ...}}",
        field(0, &flags::IFLAG),
        field(1, &flags::OFLAG),
        field(2, &flags::CFLAG),
        field(3, &flags::LFLAG)
    )
}

/// A limit, in KiB where it is a whole number of them.
fn limit(value: u64) -> String {
    match value {
        u64::MAX => "RLIM64_INFINITY".into(),
        _ if value > 1024 && value.is_multiple_of(1024) => format!("{}*1024", value / 1024),
        _ => value.to_string(),
    }
}

fn wait_status(status: u32) -> String {
    let (low, code) = (status & 0x7f, status >> 8 & 0xff);
    if status == 0xffff {
        return "{WIFCONTINUED(s)}".into();
    }
    if status & 0xff == 0x7f {
        let event = if status >> 16 == 0 { String::new() } else { format!(" | {:#x} << 16", status >> 16) };
        return format!("{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}{event}", signal(code.into()));
    }
    if low == 0 {
        return format!("{{WIFEXITED(s) && WEXITSTATUS(s) == {code}}}");
    }
    let core = if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
    format!("{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}", signal(low.into()))
}

impl Printer<'_> {
    /// Bytes or an array whose length the table gives.
    pub(super) fn buffer(&mut self, addr: u64, len: Len, shape: Shape, out: bool) {
        if addr == 0 || out && self.failed() {
            return self.address(addr);
        }
        let ret = self.ret.unwrap_or(0).max(0) as usize;
        let arg = |n: u8| self.args[n as usize];
        let size = match len {
            Len::Const(size) | Len::Own(size) => size as usize,
            Len::Arg(n) | Len::ArgCut(n) | Len::ArgShort(n) | Len::RoomOwn(n) => arg(n) as usize,
            Len::ArgTimes(n, size) => (arg(n) as usize).saturating_mul(size as usize),
            Len::Ret(_) => ret,
            Len::RetTimes(_, size) => ret.saturating_mul(size as usize),
            Len::PtrU32(n) => {
                let pointer = arg(n);
                self.word32(pointer).unwrap_or(0) as usize
            }
        };
        self.sized(addr, size, shape);
    }

    fn sized(&mut self, addr: u64, size: usize, shape: Shape) {
        /// Nothing longer is shown, whatever its length says.
        const MOST_BYTES: usize = 1 << 16;
        /// As much of `struct sched_attr` as is known.
        const SCHED_ATTR_BYTES: u32 = 56;
        match shape {
            Shape::Bytes => {
                let want = size.min(self.style.string_bytes + 1);
                let Some(data) = self.fetch(addr, want) else {
                    return if size == 0 { self.out.push_str("\"\"") } else { self.address(addr) };
                };
                let text = quoted(&data, self.style.string_bytes);
                self.out.push_str(&text);
            }
            Shape::Dirents64 | Shape::Dirents => {
                let entries = self.count_entries(addr, size);
                self.address(addr);
                let _ = write!(self.out, " /* {entries} entries */");
            }
            Shape::EpollEvent | Shape::Gids | Shape::Sembuf => {
                let element = match shape {
                    Shape::EpollEvent => 12,
                    Shape::Gids => 4,
                    _ => 6,
                };
                if size == 0 {
                    return self.out.push_str("[]");
                }
                let want = size.min((self.style.elements + 1) * element);
                let Some(data) = self.fetch(addr, want) else { return self.address(addr) };
                if size == element && self.name() == "epoll_ctl" {
                    return self.out.push_str(&epoll_event(&data));
                }
                let items: Vec<&[u8]> = data.chunks_exact(element).collect();
                self.list(&items, ", ", |printer, item| {
                    let text = match shape {
                        Shape::EpollEvent => epoll_event(item),
                        Shape::Gids => u32_at(item, 0).to_string(),
                        _ => sembuf(item),
                    };
                    printer.out.push_str(&text);
                });
            }
            Shape::CpuMask => {
                let Some(data) = self.fetch(addr, size.min(MOST_BYTES)) else { return self.address(addr) };
                let cpus: Vec<usize> =
                    (0..data.len() * 8).filter(|cpu| data[cpu / 8] >> (cpu % 8) & 1 == 1).collect();
                self.list(&cpus, " ", |printer, cpu| {
                    let _ = write!(printer.out, "{cpu}");
                });
            }
            Shape::OpenHow => match self.fetch(addr, 24) {
                Some(b) if size >= 24 => {
                    let mut text = format!("{{flags={}", named(u64_at(&b, 0), &flags::OPEN));
                    if u64_at(&b, 0) & MAKES_FILE != 0 || u64_at(&b, 8) != 0 {
                        let _ = write!(text, ", mode={}", octal(u64_at(&b, 8) as u32));
                    }
                    let _ = write!(text, ", resolve={}}}", named(u64_at(&b, 16), &flags::RESOLVE));
                    self.out.push_str(&text);
                }
                _ => self.address(addr),
            },
            Shape::SchedAttr => {
                let size = self.word32(addr).unwrap_or(0).min(SCHED_ATTR_BYTES);
                match self.fetch(addr, size as usize).and_then(|b| sched_attr(&b)) {
                    Some(text) => self.out.push_str(&text),
                    None => self.address(addr),
                }
            }
            Shape::CloneArgs => self.address(addr),
            shape => self.shape_at(addr, shape),
        }
    }

    fn count_entries(&mut self, addr: u64, size: usize) -> usize {
        let (mut at, mut entries) = (0, 0);
        while at + 19 <= size {
            let Some(head) = self.fetch(addr.wrapping_add(at as u64), 18) else { break };
            let length = usize::from(u16_at(&head, 16));
            if length == 0 {
                break;
            }
            at += length;
            entries += 1;
        }
        entries
    }

    /// A structure that the kernel has written, if it has.
    pub(super) fn output_shape(&mut self, addr: u64, shape: Shape) {
        if self.failed() { self.address(addr) } else { self.shape_at(addr, shape) }
    }

    /// What remains of a sleep is written only if it was interrupted.
    pub(super) fn remains(&mut self, addr: u64, shape: Shape) {
        let interrupted = self.ret.is_some_and(|ret| matches!(ret, -4 | -512 | -513 | -514 | -516));
        match self.name() {
            "nanosleep" | "clock_nanosleep" if !interrupted => self.address(addr),
            _ => self.shape_at(addr, shape),
        }
    }

    pub(super) fn shape_at(&mut self, addr: u64, shape: Shape) {
        let Some(b) = self.fetch(addr, shape.size() as usize) else { return self.address(addr) };
        let text = self.structure(&b, shape);
        match text {
            Some(text) => self.out.push_str(&text),
            None => self.address(addr),
        }
    }

    fn structure(&mut self, b: &[u8], shape: Shape) -> Option<String> {
        Some(match shape {
            Shape::I32 if self.is_op("PR_GET_PDEATHSIG") => format!("[{}]", signal(u32_at(b, 0).into())),
            Shape::I32 if self.is_op("PR_GET_TSC") => {
                format!("[{}]", name(u32_at(b, 0).into(), &flags::PR_TSC))
            }
            Shape::I32 => format!("[{}]", i32_at(b, 0)),
            Shape::U32 => format!("[{}]", u32_at(b, 0)),
            Shape::I64 => format!("[{}]", i64_at(b, 0)),
            Shape::U64 => format!("[{}]", hex(u64_at(b, 0))),
            Shape::FdPair => {
                format!("[{}, {}]", self.descriptor(i32_at(b, 0)), self.descriptor(i32_at(b, 4)))
            }
            Shape::WaitStatus => format!("[{}]", wait_status(u32_at(b, 0))),
            Shape::SchedParam => format!("[{}]", i32_at(b, 0)),
            Shape::Stat => {
                let mode = u32_at(b, 24);
                let detail = match mode & 0o170_000 {
                    0o20000 | 0o60000 => format!("st_rdev={}", device(u64_at(b, 40))),
                    _ => format!("st_size={}", i64_at(b, 48)),
                };
                format!("{{st_mode={}, {detail}, ...}}", file_mode(mode))
            }
            Shape::Statx => format!(
                "{{stx_mask={}, stx_attributes={}, stx_mode={}, stx_size={}, ...}}",
                named(u32_at(b, 0).into(), &flags::STATX),
                named(u64_at(b, 8), &flags::STATX_ATTR),
                file_mode(u16_at(b, 28).into()),
                u64_at(b, 40),
            ),
            Shape::Statfs => format!(
                "{{f_type={}, f_bsize={}, f_blocks={}, f_bfree={}, f_bavail={}, f_files={}, f_ffree={}, \
                 f_fsid={{val=[{}, {}]}}, f_namelen={}, f_frsize={}, f_flags={}}}",
                name(u64_at(b, 0), &flags::FS_MAGIC),
                u64_at(b, 8),
                u64_at(b, 16),
                u64_at(b, 24),
                u64_at(b, 32),
                u64_at(b, 40),
                u64_at(b, 48),
                hex(u32_at(b, 56).into()),
                hex(u32_at(b, 60).into()),
                u64_at(b, 64),
                u64_at(b, 72),
                named(u64_at(b, 80), &flags::ST),
            ),
            Shape::Timespec => timespec(b, 0),
            Shape::Timeval => timeval(b, 0),
            Shape::TimespecPair => format!("[{}, {}]", stamp(b, 0), stamp(b, 16)),
            Shape::TimevalPair => format!("[{}, {}]", micro_stamp(b, 0), micro_stamp(b, 16)),
            Shape::Timezone => format!("{{tz_minuteswest={}, tz_dsttime={}}}", i32_at(b, 0), i32_at(b, 4)),
            Shape::Utimbuf => {
                format!("{{actime={}, modtime={}}}", second_stamp(i64_at(b, 0)), second_stamp(i64_at(b, 8)))
            }
            Shape::Itimerval => format!("{{it_interval={}, it_value={}}}", timeval(b, 0), timeval(b, 16)),
            Shape::Itimerspec => format!("{{it_interval={}, it_value={}}}", timespec(b, 0), timespec(b, 16)),
            Shape::Tms => format!(
                "{{tms_utime={}, tms_stime={}, tms_cutime={}, tms_cstime={}}}",
                i64_at(b, 0),
                i64_at(b, 8),
                i64_at(b, 16),
                i64_at(b, 24)
            ),
            Shape::Rlimit => {
                format!("{{rlim_cur={}, rlim_max={}}}", limit(u64_at(b, 0)), limit(u64_at(b, 8)))
            }
            Shape::Rusage => format!("{{ru_utime={}, ru_stime={}, ...}}", timeval(b, 0), timeval(b, 16)),
            Shape::Sigset => sigset(u64_at(b, 0)),
            Shape::Sigaction => sigaction(b),
            Shape::Siginfo => siginfo(b),
            Shape::Sigevent => sigevent(b),
            Shape::StackT => stack(b),
            Shape::Utsname => {
                let field = |at: usize| {
                    let field = &b[at..at + 65];
                    quoted(field.split(|&byte| byte == 0).next().unwrap_or(field), 65)
                };
                format!("{{sysname={}, nodename={}, ...}}", field(0), field(65))
            }
            Shape::Sysinfo => format!(
                "{{uptime={}, loads=[{}, {}, {}], totalram={}, freeram={}, sharedram={}, bufferram={}, totalswap={}, \
                 freeswap={}, procs={}, totalhigh={}, freehigh={}, mem_unit={}}}",
                i64_at(b, 0),
                u64_at(b, 8),
                u64_at(b, 16),
                u64_at(b, 24),
                u64_at(b, 32),
                u64_at(b, 40),
                u64_at(b, 48),
                u64_at(b, 56),
                u64_at(b, 64),
                u64_at(b, 72),
                u16_at(b, 80),
                u64_at(b, 88),
                u64_at(b, 96),
                u32_at(b, 104),
            ),
            Shape::EpollEvent => epoll_event(b),
            Shape::Flock => {
                let asked = self.resolved.op.is_some_and(|op| op.name.ends_with("GETLK"));
                let pid = if asked { format!(", l_pid={}", i32_at(b, 24)) } else { String::new() };
                format!(
                    "{{l_type={}, l_whence={}, l_start={}, l_len={}{pid}}}",
                    name(u16_at(b, 0).into(), &flags::LEASE),
                    name(u16_at(b, 2).into(), &flags::SEEK),
                    i64_at(b, 8),
                    i64_at(b, 16)
                )
            }
            Shape::OwnerEx => {
                let kinds = ["F_OWNER_TID", "F_OWNER_PID", "F_OWNER_PGRP"];
                let kind = kinds.get(u32_at(b, 0) as usize).copied().unwrap_or("F_OWNER_???");
                format!("{{type={kind}, pid={}}}", i32_at(b, 4))
            }
            Shape::Termios | Shape::Termios2 => terminal(|word| u32_at(b, word * 4)),
            Shape::Termio => terminal(|word| u16_at(b, word * 2).into()),
            Shape::Winsize => format!(
                "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}",
                u16_at(b, 0),
                u16_at(b, 2),
                u16_at(b, 4),
                u16_at(b, 6)
            ),
            Shape::MqAttr => queue_attributes(b, self.name() == "mq_getsetattr"),
            Shape::SemidDs | Shape::MsqidDs | Shape::ShmidDs => {
                object(b, shape, self.resolved.op.is_some_and(|op| op.name == "IPC_SET"))
            }
            Shape::CapHeader => capability_header(b),
            Shape::CapData => capability_sets(b),
            Shape::Timex | Shape::Ifreq | Shape::Opaque(_) => return None,
            Shape::Bytes | Shape::OpenHow | Shape::CloneArgs | Shape::SchedAttr | Shape::CpuMask => {
                return None;
            }
            Shape::Sembuf | Shape::Dirents64 | Shape::Dirents | Shape::Gids => return None,
        })
    }

    /// The bytes of getrandom(2).
    pub(super) fn random(&mut self, addr: u64) {
        let count = self.ret.unwrap_or(0).max(0) as usize;
        match self.fetch(addr, count.min(self.style.string_bytes + 1)) {
            Some(data) if !self.failed() => {
                let text = quoted_hex(&data, self.style.string_bytes);
                self.out.push_str(&text);
            }
            _ => self.address(addr),
        }
    }
}

/// `struct epoll_event` is packed on x86-64: the data word follows the events at once.
fn epoll_event(b: &[u8]) -> String {
    format!(
        "{{events={}, data={{u32={}, u64={}}}}}",
        named(u32_at(b, 0).into(), &flags::EPOLL),
        u32_at(b, 4),
        u64_at(b, 4)
    )
}
