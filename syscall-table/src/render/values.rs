//! Numbers, names, strings.

use std::fmt::Write;

use super::{Printer, errno};
use crate::flags::{self, FlagSet};
use crate::kinds::Kind;
use crate::types::Ret;

/// `%#x` as C has it: 0 stays 0.
pub(super) fn hex(value: u64) -> String {
    if value == 0 { "0".into() } else { format!("{value:#x}") }
}

/// Octal with a leading zero, at least three digits.
pub(super) fn octal(value: u32) -> String {
    if value < 0o100 { format!("{value:03o}") } else { format!("0{value:o}") }
}

/// Names joined by `|`; what has no name in hexadecimal.
pub(super) fn flags(value: u64, set: &FlagSet) -> String {
    if let (0, Some((_, name))) = (value, set.bits.iter().find(|(bit, _)| *bit == 0)) {
        return (*name).into();
    }
    let mut names: Vec<String> = Vec::new();
    let mut rest = value;
    let mut named = false;
    for (mask, values) in set.fields {
        let field = value & mask;
        rest &= !mask;
        match values.iter().find(|(v, _)| *v == field) {
            Some((_, name)) => names.push((*name).into()),
            None if field != 0 => names.push(format!("{} /* {} */", hex(field), set.unknown)),
            None => continue,
        }
        named = true;
    }
    for (bit, name) in set.bits {
        if *bit != 0 && rest & bit == *bit {
            names.push((*name).into());
            rest &= !bit;
            named = true;
        }
    }
    if rest != 0 {
        names.push(if named { hex(rest) } else { format!("{} /* {} */", hex(rest), set.unknown) });
    }
    if names.is_empty() { "0".into() } else { names.join("|") }
}

/// The name of one value.
pub(super) fn name(value: u64, set: &FlagSet) -> String {
    match set.bits.iter().find(|(v, _)| *v == value) {
        Some((_, name)) => (*name).into(),
        None if set.unknown.is_empty() => (value as i32).to_string(),
        None => format!("{} /* {} */", hex(value), set.unknown),
    }
}

/// `SIGINT`, `SIGRT_3`, or a number.
pub(super) fn signal(number: u64) -> String {
    match flags::SIGNAL.bits.iter().find(|(v, _)| *v == number) {
        Some((_, name)) => (*name).into(),
        None if number == 32 => "SIGRTMIN".into(),
        None if (33..=64).contains(&number) => format!("SIGRT_{}", number - 32),
        None => (number as i32).to_string(),
    }
}

/// `[INT CHLD]`, or the complement where that is shorter.
pub(super) fn sigset(mask: u64) -> String {
    let inverted = mask.count_ones() >= 64 * 2 / 3;
    let shown = if inverted { !mask } else { mask };
    let names: Vec<String> = (1..=64)
        .filter(|signal| shown >> (signal - 1) & 1 == 1)
        .map(|number| signal(number).trim_start_matches("SIG").to_string())
        .collect();
    format!("{}[{}]", if inverted { "~" } else { "" }, names.join(" "))
}

/// `makedev(0x88, 0)`, see makedev(3).
pub(super) fn device(dev: u64) -> String {
    let major = (dev >> 8 & 0xfff) | (dev >> 32 & 0xffff_f000);
    let minor = (dev & 0xff) | (dev >> 12 & 0xffff_ff00);
    format!("makedev({}, {})", hex(major), hex(minor))
}

/// `S_IFREG|0644`
pub(super) fn file_mode(mode: u32) -> String {
    let kind = flags::S_IFMT.bits.iter().find(|(v, _)| *v == u64::from(mode & 0o170_000));
    let mut text = kind.map_or(String::new(), |(_, name)| format!("{name}|"));
    for (bit, name) in [(0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")] {
        if mode & bit != 0 {
            text.push_str(name);
            text.push('|');
        }
    }
    text.push_str(&octal(mode & if kind.is_some() { 0o777 } else { 0o170_777 }));
    text
}

/// Quoted as in C, cut after `limit` bytes.
pub(super) fn quoted(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut text = String::with_capacity(shown.len() + 5);
    text.push('"');
    for (i, &byte) in shown.iter().enumerate() {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' => text.push(byte.into()),
            _ => {
                let digit_follows = matches!(shown.get(i + 1), Some(b'0'..=b'7'));
                let _ = if digit_follows { write!(text, "\\{byte:03o}") } else { write!(text, "\\{byte:o}") };
            }
        }
    }
    text.push('"');
    if bytes.len() > limit {
        text.push_str("...");
    }
    text
}

/// Quoted, every byte in hexadecimal: what getrandom(2) brings.
pub(super) fn quoted_hex(bytes: &[u8], limit: usize) -> String {
    let mut text = String::from("\"");
    for byte in &bytes[..bytes.len().min(limit)] {
        let _ = write!(text, "\\x{byte:02x}");
    }
    text.push('"');
    if bytes.len() > limit {
        text.push_str("...");
    }
    text
}

/// A return value.
pub(super) fn result(out: &mut String, kind: Ret, ret: i64) {
    if kind == Ret::Never {
        out.push('?');
        return;
    }
    if (-4095..0).contains(&ret) {
        let _ = match errno(-ret as i32) {
            Some((name, text)) if ret <= -512 => write!(out, "? {name} ({text})"),
            Some((name, text)) => write!(out, "-1 {name} ({text})"),
            None => write!(out, "{ret} (errno {})", -ret),
        };
        return;
    }
    let _ = match kind {
        Ret::Address | Ret::Bits => write!(out, "{}", hex(ret as u64)),
        Ret::Octal => write!(out, "{}", octal(ret as u32)),
        Ret::Named(set) if std::ptr::eq(set, &crate::flags::SIGNAL) && ret > 0 => {
            write!(out, "{ret} ({})", signal(ret as u64))
        }
        Ret::Named(set) if set.bits.iter().any(|(v, _)| *v == ret as u64) => {
            write!(out, "{} ({})", hex(ret as u64), name(ret as u64, set))
        }
        Ret::NamedBits(label, set) if ret != 0 || !set.fields.is_empty() => {
            write!(out, "{} ({label}{})", hex(ret as u64), flags(ret as u64, set))
        }
        _ => write!(out, "{ret}"),
    };
}

impl Printer<'_> {
    pub(super) fn scalar(&mut self, value: u64, kind: Kind) {
        let text = match kind {
            Kind::Int | Kind::Pid => (value as i32).to_string(),
            Kind::Uint => (value as u32).to_string(),
            Kind::Long | Kind::Offset => (value as i64).to_string(),
            Kind::Size => value.to_string(),
            Kind::Hex => hex(value),
            Kind::Fd if value as i32 == -100 => "-100".into(),
            Kind::Fd | Kind::DirFd => self.descriptor(value as i32),
            Kind::Signal => signal(value & 0xffff_ffff),
            Kind::Mode => octal(value as u32),
            Kind::Flags(set) => flags(value, set),
            Kind::Enum(set) => name(value & 0xffff_ffff, set),
            Kind::Clock => name(value & 0xffff_ffff, &flags::CLOCK),
            Kind::Dev => device(value),
            Kind::Id if value as u32 == u32::MAX => "-1".into(),
            Kind::Id => (value as u32).to_string(),
            _ => {
                self.address(value);
                return;
            }
        };
        self.out.push_str(&text);
    }

    /// A path, whole.
    pub(super) fn path(&mut self, addr: u64) {
        self.string_of(addr, 4096);
    }

    /// A string, cut to the style's length.
    pub(super) fn string(&mut self, addr: u64) {
        self.string_of(addr, self.style.string_bytes);
    }

    fn string_of(&mut self, addr: u64, limit: usize) {
        let mut data = vec![0; limit + 1];
        let n = if addr == 0 { 0 } else { self.mem.read(addr, &mut data) };
        data.truncate(n);
        let nul = data.iter().position(|&byte| byte == 0);
        if let Some(nul) = nul {
            data.truncate(nul);
        } else if n <= limit {
            self.address(addr);
            return;
        }
        let text = quoted(&data, limit);
        self.out.push_str(&text);
    }

    pub(super) fn string_array(&mut self, addr: u64) {
        let Some(mut next) = self.word64(addr) else { return self.address(addr) };
        self.out.push('[');
        for i in 0.. {
            if next == 0 {
                break;
            }
            if i > 0 {
                self.out.push_str(", ");
            }
            if i == self.style.elements {
                self.out.push_str("...");
                break;
            }
            self.string(next);
            next = match self.word64(addr.wrapping_add(8 * (i as u64 + 1))) {
                Some(next) => next,
                None => {
                    self.out.push_str(", ???");
                    break;
                }
            };
        }
        self.out.push(']');
    }

    /// Elements in brackets, cut to the style's number.
    pub(super) fn list<T>(&mut self, items: &[T], separator: &str, mut show: impl FnMut(&mut Self, &T)) {
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(separator);
            }
            if i == self.style.elements {
                self.out.push_str("...");
                break;
            }
            show(self, item);
        }
        self.out.push(']');
    }
}
