//! Socket addresses, messages, vectors, polling.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Printer;
use super::shapes::{i32_at, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, name, quoted, sigset};
use crate::flags;
use crate::kinds::{Dir, Kind};

impl Printer<'_> {
    pub(super) fn sockaddr(&mut self, addr: u64, len: u32) {
        /// sizeof(struct sockaddr_storage)
        const MOST_BYTES: u32 = 128;
        match self.fetch(addr, len.min(MOST_BYTES) as usize) {
            Some(bytes) if bytes.len() >= 2 => {
                let text = sockaddr(&bytes);
                self.out.push_str(&text);
            }
            _ => self.address(addr),
        }
    }

    /// As much as the kernel has written and there was room for.
    pub(super) fn sockaddr_out(&mut self, addr: u64, len_ptr: u64) {
        let len = self.word32(len_ptr).unwrap_or(0).min(self.length.unwrap_or(u32::MAX));
        if self.failed() { self.address(addr) } else { self.sockaddr(addr, len) }
    }

    pub(super) fn socklen(&mut self, addr: u64) {
        let Some(after) = self.word32(addr) else { return self.address(addr) };
        let _ = match self.length {
            Some(before) if before != after && !self.failed() => write!(self.out, "[{before} => {after}]"),
            _ => write!(self.out, "[{after}]"),
        };
    }

    /// An array of `struct iovec`, its data cut to `limit` bytes in all.
    pub(super) fn vector(&mut self, addr: u64, count: u64, limit: Option<u64>) {
        if count == 0 && addr != 0 {
            return self.out.push_str("[]");
        }
        let shown = count.min(self.style.elements as u64 + 1) as usize;
        let Some(array) = self.fetch(addr, shown * 16) else { return self.address(addr) };
        let mut left = limit;
        let parts: Vec<&[u8]> = array.chunks_exact(16).collect();
        self.list(&parts, ", ", |printer, part| {
            let (base, len) = (u64_at(part, 0), u64_at(part, 8));
            let valid = left.map_or(len, |left| left.min(len));
            left = left.map(|left| left - valid);
            printer.out.push_str("{iov_base=");
            let data = printer.fetch(base, (valid as usize).min(printer.style.string_bytes + 1));
            match data {
                Some(data) => {
                    let text = quoted(&data, printer.style.string_bytes);
                    printer.out.push_str(&text);
                }
                None => printer.address(base),
            }
            let _ = write!(printer.out, ", iov_len={len}}}");
        });
    }

    /// The name length of a `struct msghdr` before the call.
    pub(super) fn message_name_length(&mut self) -> Option<u32> {
        let (n, _) = self.resolved.args().find(|(_, arg)| arg.kind == Kind::Msghdr(Dir::Out))?;
        self.word32(self.args[n].wrapping_add(8))
    }

    pub(super) fn message(&mut self, addr: u64, dir: Dir) {
        if dir == Dir::Out && self.failed() {
            return self.address(addr);
        }
        let Some(header) = self.fetch(addr, 56) else { return self.address(addr) };
        let limit = if dir == Dir::Out { self.ret.map(|ret| ret.max(0) as u64) } else { None };
        self.message_header(&header, self.length.filter(|_| dir == Dir::Out), limit);
    }

    fn message_header(&mut self, header: &[u8], name_room: Option<u32>, limit: Option<u64>) {
        let name_len = u32_at(header, 8);
        let room = name_room.unwrap_or(name_len);
        self.out.push_str("{msg_name=");
        self.sockaddr(u64_at(header, 0), name_len.min(room));
        let _ = if room == name_len {
            write!(self.out, ", msg_namelen={name_len}")
        } else {
            write!(self.out, ", msg_namelen={room} => {name_len}")
        };
        self.out.push_str(", msg_iov=");
        self.vector(u64_at(header, 16), u64_at(header, 24), limit);
        let _ = write!(self.out, ", msg_iovlen={}", u64_at(header, 24));
        let control_len = u64_at(header, 40);
        if control_len > 0 {
            self.out.push_str(", msg_control=");
            self.control(u64_at(header, 32), control_len);
        }
        let bits = named(u32_at(header, 48).into(), &flags::MSG);
        let _ = write!(self.out, ", msg_controllen={control_len}, msg_flags={bits}}}");
    }

    /// Control messages: cmsg(3).
    fn control(&mut self, addr: u64, len: u64) {
        const HEADER_BYTES: usize = 16;
        let Some(bytes) = self.fetch(addr, len.min(4096) as usize) else { return self.address(addr) };
        let mut rest = bytes.as_slice();
        let mut texts = Vec::new();
        while rest.len() >= HEADER_BYTES {
            let (len, level, kind) = (u64_at(rest, 0), u32_at(rest, 8), u32_at(rest, 12));
            let end = usize::try_from(len).unwrap_or(usize::MAX);
            if end < HEADER_BYTES || end > rest.len() {
                break;
            }
            let data = &rest[HEADER_BYTES..end];
            let kind_name = match (level, kind) {
                (1, 1) => "SCM_RIGHTS".into(),
                (1, 2) => "SCM_CREDENTIALS".into(),
                (1, _) => name(kind.into(), &flags::SO),
                (0, _) => name(kind.into(), &flags::IP),
                (41, _) => name(kind.into(), &flags::IPV6),
                _ => hex(kind.into()),
            };
            let data = match (level, kind) {
                (1, 1) => {
                    let fds: Vec<String> = data.chunks_exact(4).map(|fd| i32_at(fd, 0).to_string()).collect();
                    format!("[{}]", fds.join(", "))
                }
                (1, 2) if data.len() >= 12 => {
                    format!("{{pid={}, uid={}, gid={}}}", i32_at(data, 0), u32_at(data, 4), u32_at(data, 8))
                }
                _ => quoted(data, self.style.string_bytes),
            };
            texts.push(format!(
                "{{cmsg_len={len}, cmsg_level={}, cmsg_type={kind_name}, cmsg_data={data}}}",
                name(level.into(), &flags::SOL)
            ));
            rest = rest.get(end.next_multiple_of(8)..).unwrap_or(&[]);
        }
        let _ = write!(self.out, "[{}]", texts.join(", "));
    }

    pub(super) fn messages(&mut self, addr: u64, count: u64, dir: Dir) {
        let done = self.ret.unwrap_or(0).max(0) as u64;
        let count = if dir == Dir::Out { done.min(count) } else { count };
        if self.failed() && dir == Dir::Out {
            return self.address(addr);
        }
        let shown = count.min(self.style.elements as u64 + 1) as usize;
        let Some(array) = self.fetch(addr, shown * 64) else { return self.address(addr) };
        let headers: Vec<(usize, &[u8])> = array.chunks_exact(64).enumerate().collect();
        self.list(&headers, ", ", |printer, (i, header)| {
            let len = u64::from(u32_at(header, 56));
            printer.out.push_str("{msg_hdr=");
            printer.message_header(header, None, (dir == Dir::Out).then_some(len));
            if (*i as u64) < done {
                let _ = write!(printer.out, ", msg_len={len}");
            }
            printer.out.push('}');
        });
    }

    /// The descriptors of an `fd_set`, at entry.
    pub(super) fn fd_set(&mut self, addr: u64, nfds: i32) {
        match self.fds_in(addr, nfds) {
            Some(fds) => self.list(&fds, " ", |printer, fd| {
                let fd = printer.descriptor(*fd as i32);
                printer.out.push_str(&fd);
            }),
            None => self.address(addr),
        }
    }

    pub(super) fn fds_in(&mut self, addr: u64, nfds: i32) -> Option<Vec<usize>> {
        const MOST_FDS: i32 = 1 << 20;
        let nfds = nfds.clamp(0, MOST_FDS) as usize;
        let words = self.fetch(addr, nfds.div_ceil(64) * 8)?;
        Some((0..nfds).filter(|fd| words[fd / 8] >> (fd % 8) & 1 == 1).collect())
    }

    pub(super) fn poll_fds(&mut self, addr: u64, count: u32) {
        let shown = (count as usize).min(self.style.elements + 1);
        if count == 0 && addr != 0 {
            return self.out.push_str("[]");
        }
        let Some(array) = self.fetch(addr, shown * 8) else { return self.address(addr) };
        let fds: Vec<&[u8]> = array.chunks_exact(8).collect();
        self.list(&fds, ", ", |printer, fd| {
            let number = i32_at(fd, 0);
            let events = named(u16_at(fd, 4).into(), &flags::POLL);
            let _ = if number < 0 {
                write!(printer.out, "{{fd={number}}}")
            } else {
                let number = printer.descriptor(number);
                write!(printer.out, "{{fd={number}, events={events}}}")
            };
        });
    }

    /// `{sigmask=[CHLD], sigsetsize=8}`
    pub(super) fn mask_pair(&mut self, addr: u64) {
        let Some(pair) = self.fetch(addr, 16) else { return self.address(addr) };
        let mask = match self.word64(u64_at(&pair, 0)) {
            Some(mask) => sigset(mask),
            None if u64_at(&pair, 0) == 0 => "NULL".into(),
            None => hex(u64_at(&pair, 0)),
        };
        let _ = write!(self.out, "{{sigmask={mask}, sigsetsize={}}}", u64_at(&pair, 8));
    }
}

fn sockaddr(b: &[u8]) -> String {
    let family = u16_at(b, 0);
    let head = format!("{{sa_family={}", name(family.into(), &flags::AF));
    let be16 = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
    match family {
        1 if b.len() == 2 => format!("{head}}}"),
        1 => {
            let path = &b[2..];
            if path[0] == 0 {
                return format!("{head}, sun_path=@{}}}", quoted(&path[1..], 128));
            }
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            format!("{head}, sun_path={}}}", quoted(path, 128))
        }
        2 if b.len() >= 8 => {
            let host = Ipv4Addr::new(b[4], b[5], b[6], b[7]);
            format!("{head}, sin_port=htons({}), sin_addr=inet_addr(\"{host}\")}}", be16(2))
        }
        10 if b.len() >= 24 => {
            let mut host = [0; 16];
            host.copy_from_slice(&b[8..24]);
            let flow = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
            let scope = if b.len() >= 28 { u32_at(b, 24) } else { 0 };
            format!(
                "{head}, sin6_port=htons({}), sin6_flowinfo=htonl({flow}), inet_pton(AF_INET6, \"{}\", &sin6_addr), \
                 sin6_scope_id={scope}}}",
                be16(2),
                Ipv6Addr::from(host)
            )
        }
        16 if b.len() >= 12 => {
            format!("{head}, nl_pid={}, nl_groups={:08x}}}", u32_at(b, 4) as i32, u32_at(b, 8))
        }
        _ => format!("{head}, sa_data={}}}", quoted(&b[2..], 14)),
    }
}
