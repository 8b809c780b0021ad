//! A call as strace prints it: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`.
//!
//! Pure: memory comes through [`GuestRead`]. [`entry`] shows what is known when a call is made, [`exit()`] what it
//! brought. Arguments that the kernel writes are shown at exit, and so is everything after them, as strace does it.
//! Names come from the table and its flag sets; the format was compared with strace 6.1.

use std::fmt::Write;

use crate::kinds::*;
use crate::lookup::{Resolved, by_number, resolve};
use crate::plan::GuestRead;
use crate::types::*;

mod address;
mod calls;
mod descriptors;
mod devices;
mod errno;
mod ipc;
mod memory;
mod net;
mod netlink;
mod options;
mod shapes;
mod signals;
mod tasks;
#[cfg(test)]
mod tests;
mod values;

pub use descriptors::{MARK, shown_path, with_paths};
pub use errno::errno;
pub use signals::siginfo_text;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Style {
    /// Bytes of a string before `...` (strace -s). Paths are always whole.
    pub string_bytes: usize,
    /// Elements of an array before `...`.
    pub elements: usize,
    /// Column of the `=` (strace -a), counted from the call's name.
    pub column: usize,
    /// Descriptors are marked for [`with_paths`] (strace -y).
    pub paths: bool,
}

impl Default for Style {
    fn default() -> Style {
        Style { string_bytes: 32, elements: 32, column: 40, paths: false }
    }
}

/// The first half of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `name(argument, argument, `
    pub text: String,
    /// The argument that comes next.
    next: usize,
    /// A value-result length as it went in.
    length: Option<u32>,
    /// A value-result file offset as it went in (sendfile(2)).
    offset: Option<u64>,
}

/// What can be shown of a call before it is made.
pub fn entry(nr: u32, args: [u64; 6], mem: &mut dyn GuestRead, style: &Style) -> Entry {
    let Some(call) = by_number(nr) else {
        let mut text = format!("syscall_{nr:#x}(");
        for (i, arg) in args.iter().enumerate() {
            let _ = write!(text, "{}{}", if i > 0 { ", " } else { "" }, values::hex(*arg));
        }
        return Entry { text, next: ALL_ARGUMENTS, length: None, offset: None };
    };
    let mut printer = Printer::new(call, args, None, mem, style);
    let _ = write!(printer.out, "{}(", call.name);
    let next = printer.arguments(0);
    let length = printer.resolved.args().find(|(_, arg)| arg.kind == Kind::SockLen);
    let length = length
        .and_then(|(n, _)| printer.word32(args[n]))
        .or_else(|| printer.message_name_length())
        .or_else(|| printer.file_handle_length());
    let offset = printer.resolved.args().find(|(_, arg)| arg.kind == VALUE_RESULT_OFFSET);
    let offset = offset.and_then(|(n, _)| printer.word64(args[n]));
    Entry { text: printer.out, next, length, offset }
}

/// The second half of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The remaining arguments and `)`.
    pub rest: String,
    /// What stands after the `=`.
    pub result: String,
}

/// The rest: what the call brought, and its result, `-4095..=-1` being an error.
pub fn exit(
    entry: &Entry,
    nr: u32,
    args: [u64; 6],
    ret: i64,
    mem: &mut dyn GuestRead,
    style: &Style,
) -> String {
    let Exit { rest, result } = exit_parts(entry, nr, args, ret, mem, style);
    let used = entry.text.chars().count() + rest.chars().count();
    let pad = style.column.saturating_sub(1).saturating_sub(used);
    format!("{rest}{:pad$} = {result}", "")
}

/// As [`exit()`], in two pieces without what fills the line up between them.
pub fn exit_parts(
    entry: &Entry,
    nr: u32,
    args: [u64; 6],
    ret: i64,
    mem: &mut dyn GuestRead,
    style: &Style,
) -> Exit {
    let mut tail = String::new();
    let mut rest = String::new();
    let mut kind = Ret::Value;
    if let Some(call) = by_number(nr) {
        let mut printer = Printer::new(call, args, Some(ret), mem, style);
        printer.length = entry.length;
        printer.offset = entry.offset;
        printer.arguments(entry.next);
        printer.outcome();
        kind = printer.resolved.ret;
        (rest, tail) = (printer.out, printer.tail);
    }
    rest.push(')');
    let mut result = String::new();
    values::result(&mut result, kind, ret);
    if style.paths && kind == Ret::NewFd && ret >= 0 {
        result.push(MARK);
    }
    if !tail.is_empty() {
        let _ = write!(result, " ({tail})");
    }
    Exit { rest, result }
}

/// The rest of the arguments of a call in which its thread was killed; its result is `?`.
pub fn cut_short(entry: &Entry) -> &'static str {
    if entry.next < ALL_ARGUMENTS { " <unfinished ...>)" } else { ")" }
}

/// [`Entry::next`] of a call whose arguments are all known when it is made.
const ALL_ARGUMENTS: usize = 6;

/// What sendfile(2) and splice(2) have.
const VALUE_RESULT_OFFSET: Kind = Kind::InOut(Len::Const(8), Shape::I64);

struct Printer<'m> {
    out: String,
    /// What stands in parentheses after the result.
    tail: String,
    resolved: Resolved,
    args: [u64; 6],
    /// None at entry.
    ret: Option<i64>,
    length: Option<u32>,
    offset: Option<u64>,
    mem: &'m mut dyn GuestRead,
    style: &'m Style,
}

impl<'m> Printer<'m> {
    fn new(
        call: &'static Call,
        args: [u64; 6],
        ret: Option<i64>,
        mem: &'m mut dyn GuestRead,
        style: &'m Style,
    ) -> Printer<'m> {
        let resolved = resolve(call, &args);
        Printer {
            out: String::new(),
            tail: String::new(),
            resolved,
            args,
            ret,
            length: None,
            offset: None,
            mem,
            style,
        }
    }

    fn name(&self) -> &'static str {
        self.resolved.call.name
    }

    fn failed(&self) -> bool {
        self.ret.is_some_and(|ret| (-4095..0).contains(&ret))
    }

    /// Prints arguments from `first` on, at entry up to one that is not known yet, whose index it returns.
    fn arguments(&mut self, first: usize) -> usize {
        if self.whole_call() {
            return ALL_ARGUMENTS;
        }
        let resolved = self.resolved;
        for (n, arg) in resolved.args().skip_while(|(n, _)| *n < first) {
            if self.hidden(n) {
                continue;
            }
            let resumed = n == first && self.ret.is_some();
            if n > 0 && !resumed {
                self.out.push_str(", ");
            }
            if self.ret.is_none() && self.known_at_exit(n, arg.kind) {
                return n;
            }
            self.argument(n, arg.kind);
        }
        ALL_ARGUMENTS
    }

    /// Whether the argument is shown when the call returns: the kernel writes it.
    fn known_at_exit(&self, n: usize, kind: Kind) -> bool {
        if self.args[n] == 0 {
            return false;
        }
        match (self.name(), n) {
            // The kernel moves the offsets, what is shown is where they were.
            ("splice" | "copy_file_range", 1 | 3) => return false,
            ("mincore", 2) | ("get_mempolicy", 0 | 1) | ("process_vm_readv", 1) => return true,
            ("ioctl", 2) if self.is_op("SIOCGIFCONF") => return true,
            ("seccomp", 2) => return self.args[0] as u32 == 3,
            _ => {}
        }
        match kind {
            Kind::Out(..)
            | Kind::InOut(..)
            | Kind::OutPositive(_)
            | Kind::WaitInfo
            | Kind::SockaddrOut { .. }
            | Kind::SockLen
            | Kind::Iovec { dir: Dir::Out, .. }
            | Kind::Msghdr(Dir::Out)
            | Kind::Mmsghdr { .. }
            | Kind::MsgBuf { dir: Dir::Out, .. }
            | Kind::FileHandle(Dir::Out) => true,
            Kind::Remains(_) => matches!(self.name(), "nanosleep" | "clock_nanosleep"),
            _ => false,
        }
    }

    fn argument(&mut self, n: usize, kind: Kind) {
        let value = self.args[n];
        if self.special_argument(n) {
            return;
        }
        match kind {
            Kind::Path => self.path(value),
            Kind::Str => self.string(value),
            Kind::StrArray => self.string_array(value),
            Kind::In(len, shape) => self.buffer(value, len, shape, false),
            Kind::Out(len, shape) | Kind::InOut(len, shape) => self.buffer(value, len, shape, true),
            Kind::OutPositive(shape) => match self.ret {
                Some(ret) if ret > 0 => self.shape_at(value, shape),
                _ => self.address(value),
            },
            Kind::WaitInfo => self.output_shape(value, Shape::Siginfo),
            Kind::Remains(shape) => self.remains(value, shape),
            Kind::Prefix(_) => self.string(value),
            Kind::Iovec { count_arg, dir } => {
                let limit = if dir == Dir::Out { self.ret.map(|ret| ret.max(0) as u64) } else { None };
                if self.failed() && dir == Dir::Out {
                    self.bare_vector(value, self.args[count_arg as usize]);
                } else {
                    self.vector(value, self.args[count_arg as usize], limit, false);
                }
            }
            Kind::Msghdr(dir) => self.message(value, dir),
            Kind::Mmsghdr { count_arg, dir } => self.messages(value, self.args[count_arg as usize], dir),
            Kind::SockaddrIn { len_arg } => self.sockaddr(value, self.args[len_arg as usize] as u32),
            Kind::SockaddrOut { len_ptr_arg } => self.sockaddr_out(value, self.args[len_ptr_arg as usize]),
            Kind::SockLen => self.socklen(value),
            Kind::FdSet { nfds_arg } => self.fd_set(value, self.args[nfds_arg as usize] as i32),
            Kind::PollFds { count_arg } => self.poll_fds(value, self.args[count_arg as usize] as u32),
            Kind::MsgBuf { size_arg, .. } => self.ipc_message(value, self.args[size_arg as usize]),
            Kind::MaskPair => self.mask_pair(value),
            Kind::Sub(_) => self.address(value),
            scalar => self.scalar(value, scalar),
        }
    }

    /// An address that is not looked at.
    fn address(&mut self, value: u64) {
        if value == 0 {
            self.out.push_str("NULL");
        } else {
            let _ = write!(self.out, "{value:#x}");
        }
    }

    fn fetch(&mut self, addr: u64, len: usize) -> Option<Vec<u8>> {
        let mut data = vec![0; len];
        (addr != 0 && self.mem.read(addr, &mut data) == len).then_some(data)
    }

    fn word32(&mut self, addr: u64) -> Option<u32> {
        self.fetch(addr, 4).map(|word| shapes::u32_at(&word, 0))
    }

    fn word64(&mut self, addr: u64) -> Option<u64> {
        self.fetch(addr, 8).map(|word| shapes::u64_at(&word, 0))
    }
}
