//! Socket options and control messages.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::Printer;
use super::shapes::{i32_at, i64_at, u32_at, u64_at};
use super::values::{hex, name, quoted, quoted_hex};
use crate::flags;

const SOL_IP: u32 = 0;
const SOL_SOCKET: u32 = 1;
const SOL_IPV6: u32 = 41;

/// An option's name at a level.
pub(super) fn option_name(level: u64, value: u64) -> String {
    let set = match level as u32 {
        SOL_IP => &flags::IP,
        SOL_SOCKET => &flags::SO,
        6 => &flags::TCP,
        SOL_IPV6 => &flags::IPV6,
        263 => &flags::PACKET_OPT,
        270 => &flags::NETLINK_OPT,
        _ => return (value as i32).to_string(),
    };
    name(value & 0xffff_ffff, set)
}

/// A protocol of a family, see socket(2).
pub(super) fn protocol(family: u64, value: u64) -> String {
    match family as u32 {
        2 | 10 => name(value & 0xffff_ffff, &flags::IPPROTO),
        16 => name(value & 0xffff_ffff, &flags::NETLINK),
        17 => format!("htons({})", name(u64::from((value as u16).to_be()), &flags::ETH_P)),
        _ => (value as i32).to_string(),
    }
}

pub(super) fn inet_addr(b: &[u8], at: usize) -> String {
    format!("inet_addr(\"{}\")", Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]))
}

/// An interface by its number. Only the loopback device has the same one everywhere: 1.
pub(super) fn interface(index: u32) -> String {
    if index == 1 { "if_nametoindex(\"lo\")".into() } else { index.to_string() }
}

impl Printer<'_> {
    /// The value of a socket option: an `int`, or a structure that is known.
    pub(super) fn option_value(&mut self, addr: u64) {
        let get = self.name() == "getsockopt";
        if addr == 0 || get && self.failed() {
            return self.address(addr);
        }
        let len = if get { self.word32(self.args[4]).unwrap_or(0) } else { self.args[4] as u32 };
        // A negative one is refused by the kernel.
        let Ok(signed) = i32::try_from(len) else { return self.address(addr) };
        let room = (signed as usize).min(self.style.string_bytes + 1);
        let Some(b) = self.fetch(addr, room) else { return self.address(addr) };
        let text = match (self.args[1] as u32, self.args[2] as u32, b.len()) {
            (_, _, 0) if get || self.args[2] as u32 != 25 => return self.address(addr),
            // SO_LINGER
            (SOL_SOCKET, 13, 8..) => format!("{{l_onoff={}, l_linger={}}}", i32_at(&b, 0), i32_at(&b, 4)),
            (SOL_SOCKET, 13, _) => return self.address(addr),
            // SO_PEERCRED
            (SOL_SOCKET, 17, 12) => {
                format!("{{pid={}, uid={}, gid={}}}", i32_at(&b, 0), u32_at(&b, 4), u32_at(&b, 8))
            }
            // SO_ERROR
            (SOL_SOCKET, 4, 4) if get => match super::errno(i32_at(&b, 0)) {
                Some((name, _)) => format!("[{name}]"),
                None => format!("[{}]", i32_at(&b, 0)),
            },
            // SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF
            (SOL_SOCKET, 26 | 51, _) => return self.address(addr),
            // SO_BINDTODEVICE
            (SOL_SOCKET, 25, ..4 | 5..) if !get => quoted(&b, self.style.string_bytes),
            // IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP
            (SOL_IP, 35 | 36, 8..) => {
                format!("{{imr_multiaddr={}, imr_interface={}}}", inet_addr(&b, 0), inet_addr(&b, 4))
            }
            // IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP
            (SOL_IPV6, 20 | 21, 20..) => format!(
                "{{{}, ipv6mr_interface={}}}",
                super::address::inet_pton(&b[..16], "ipv6mr_multiaddr"),
                interface(u32_at(&b, 16))
            ),
            (_, _, 4) => format!("[{}]", i32_at(&b, 0)),
            (_, _, ..4) if get => quoted_hex(&b, self.style.string_bytes),
            (_, _, ..4) => return self.address(addr),
            _ => quoted(&b, self.style.string_bytes),
        };
        self.out.push_str(&text);
    }

    /// Control messages: cmsg(3).
    pub(super) fn control(&mut self, addr: u64, len: u64) {
        const HEADER_BYTES: usize = 16;
        /// Nothing longer is shown: SCM_MAX_FD descriptors take a quarter of it.
        const MOST_BYTES: u64 = 4096;
        let Some(bytes) = self.fetch(addr, len.min(MOST_BYTES) as usize) else { return self.address(addr) };
        let mut rest = bytes.as_slice();
        let mut texts = Vec::new();
        while rest.len() >= HEADER_BYTES {
            let (len, level, kind) = (u64_at(rest, 0), u32_at(rest, 8), u32_at(rest, 12));
            let end = usize::try_from(len).unwrap_or(usize::MAX);
            if end < HEADER_BYTES || end > rest.len() {
                break;
            }
            let mut text =
                format!("{{cmsg_len={len}, cmsg_level={}, cmsg_type=", name(level.into(), &flags::SOL));
            match (level, kind) {
                (SOL_SOCKET, 1) => text.push_str("SCM_RIGHTS"),
                (SOL_SOCKET, 2) => text.push_str("SCM_CREDENTIALS"),
                (SOL_SOCKET, _) => text.push_str(&name(kind.into(), &flags::SO)),
                (SOL_IP, _) => text.push_str(&name(kind.into(), &flags::IP)),
                _ => text.push_str(&hex(kind.into())),
            }
            if let Some(data) = self.control_data(level, kind, &rest[HEADER_BYTES..end]) {
                let _ = write!(text, ", cmsg_data={data}");
            }
            text.push('}');
            texts.push(text);
            rest = rest.get(end.next_multiple_of(8)..).unwrap_or(&[]);
        }
        let _ = write!(self.out, "[{}]", texts.join(", "));
    }

    fn control_data(&self, level: u32, kind: u32, data: &[u8]) -> Option<String> {
        // SCM_RIGHTS
        if (level, kind) == (SOL_SOCKET, 1) {
            let fds: Vec<String> = data.chunks_exact(4).map(|fd| self.descriptor(i32_at(fd, 0))).collect();
            return Some(format!("[{}]", fds.join(", ")));
        }
        control_data(level, kind, data, self.style.string_bytes)
    }
}

/// What a control message without descriptors holds, at the levels that are known.
fn control_data(level: u32, kind: u32, data: &[u8], limit: usize) -> Option<String> {
    let time = |unit: &str| format!("{{tv_sec={}, tv_{unit}={}}}", i64_at(data, 0), u64_at(data, 8));
    Some(match (level, kind, data.len()) {
        // SCM_CREDENTIALS
        (SOL_SOCKET, 2, 12..) => {
            format!("{{pid={}, uid={}, gid={}}}", i32_at(data, 0), u32_at(data, 4), u32_at(data, 8))
        }
        // SO_TIMESTAMP and SO_TIMESTAMPNS, old and new
        (SOL_SOCKET, 29 | 63, 16..) => time("usec"),
        (SOL_SOCKET, 35 | 64, 16..) => time("nsec"),
        // IP_PKTINFO
        (SOL_IP, 8, 12..) => format!(
            "{{ipi_ifindex={}, ipi_spec_dst={}, ipi_addr={}}}",
            interface(u32_at(data, 0)),
            inet_addr(data, 4),
            inet_addr(data, 8)
        ),
        // IP_TTL; IP_TOS
        (SOL_IP, 2, 4..) => format!("[{}]", u32_at(data, 0)),
        (SOL_IP, 1, 1..) => format!("[{}]", hex(data[0].into())),
        (SOL_SOCKET | SOL_IP, _, _) => quoted(data, limit),
        _ => return None,
    })
}
