//! Socket addresses, messages, vectors, polling.

use super::Printer;
use super::address::sockaddr;
use super::shapes::{i32_at, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, quoted, sigset};
use crate::flags;
use crate::kinds::{Dir, Kind};
use std::fmt::Write;

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
        let after = after as i32;
        let _ = match self.length.map(|before| before as i32) {
            Some(before) if before != after && !self.failed() => write!(self.out, "[{before} => {after}]"),
            _ => write!(self.out, "[{after}]"),
        };
    }

    /// An array of `struct iovec` without its data.
    pub(super) fn bare_vector(&mut self, addr: u64, count: u64) {
        let shown = count.min(self.style.elements as u64 + 1) as usize;
        let Some(array) = self.fetch(addr, shown * 16) else { return self.address(addr) };
        let parts: Vec<&[u8]> = array.chunks_exact(16).collect();
        self.list(&parts, ", ", |printer, part| {
            printer.out.push_str("{iov_base=");
            printer.address(u64_at(part, 0));
            let _ = write!(printer.out, ", iov_len={}}}", u64_at(part, 8));
        });
    }

    /// An array of `struct iovec`, its data cut to `limit` bytes in all.
    pub(super) fn vector(&mut self, addr: u64, count: u64, limit: Option<u64>, netlink: bool) {
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
            match netlink.then(|| printer.netlink(base, valid)).flatten() {
                Some(text) => printer.out.push_str(&text),
                None => printer.data(base, valid),
            }
            let _ = write!(printer.out, ", iov_len={len}}}");
        });
    }

    /// Bytes as a string.
    fn data(&mut self, addr: u64, len: u64) {
        match self.fetch(addr, (len as usize).min(self.style.string_bytes + 1)) {
            Some(data) => {
                let text = quoted(&data, self.style.string_bytes);
                self.out.push_str(&text);
            }
            None => self.address(addr),
        }
    }

    /// Netlink messages, if that is what is there.
    fn netlink(&mut self, addr: u64, len: u64) -> Option<String> {
        /// No message of the kernel's is longer (NLMSG_GOODSIZE's upper bound for dumps).
        const MOST_BYTES: u64 = 32 << 10;
        let data = (len <= MOST_BYTES).then(|| self.fetch(addr, len as usize)).flatten()?;
        super::netlink::messages(&data, self.style.elements, self.style.string_bytes)
    }

    /// Whether a socket address is of netlink(7).
    pub(super) fn is_netlink_address(&mut self, addr: u64) -> bool {
        const AF_NETLINK: u16 = 16;
        self.fetch(addr, 2).is_some_and(|family| u16_at(&family, 0) == AF_NETLINK)
    }

    /// A message to or from a netlink socket.
    pub(super) fn datagram(&mut self, addr: u64, len: i64) {
        let Ok(len) = u64::try_from(len) else { return self.address(addr) };
        match self.netlink(addr, len) {
            Some(text) => self.out.push_str(&text),
            None => self.data(addr, len),
        }
    }

    /// The name length of a `struct msghdr` before the call.
    pub(super) fn message_name_length(&mut self) -> Option<u32> {
        let (n, _) = self.resolved.args().find(|(_, arg)| arg.kind == Kind::Msghdr(Dir::Out))?;
        self.word32(self.args[n].wrapping_add(8))
    }

    /// The room for a file handle before the call.
    pub(super) fn file_handle_length(&mut self) -> Option<u32> {
        let (n, _) = self.resolved.args().find(|(_, arg)| arg.kind == Kind::FileHandle(Dir::Out))?;
        self.word32(self.args[n])
    }

    pub(super) fn message(&mut self, addr: u64, dir: Dir) {
        let failed = dir == Dir::Out && self.failed();
        let Some(header) = self.fetch(addr, 56) else { return self.address(addr) };
        if failed {
            let _ = write!(self.out, "{{msg_namelen={}}}", u32_at(&header, 8) as i32);
            return;
        }
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
        let netlink = self.is_netlink_address(u64_at(header, 0));
        self.vector(u64_at(header, 16), u64_at(header, 24), limit, netlink);
        let _ = write!(self.out, ", msg_iovlen={}", u64_at(header, 24));
        let control_len = u64_at(header, 40);
        if control_len > 0 {
            self.out.push_str(", msg_control=");
            self.control(u64_at(header, 32), control_len);
        }
        let bits = named(u32_at(header, 48).into(), &flags::MSG);
        let _ = write!(self.out, ", msg_controllen={control_len}, msg_flags={bits}}}");
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
