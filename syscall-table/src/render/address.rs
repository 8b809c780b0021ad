//! Socket addresses.

use std::net::Ipv6Addr;

use super::options::{inet_addr, interface};
use super::shapes::{i32_at, u16_at, u32_at};
use super::values::{flags as named, hex, name, quoted};
use crate::flags;

/// A socket address of any family, as many bytes of it as there are.
pub(super) fn sockaddr(b: &[u8]) -> String {
    /// sizeof(sun_path)
    const UNIX_PATH_BYTES: usize = 108;
    let family = u16_at(b, 0);
    let head = format!("{{sa_family={}", name(family.into(), &flags::AF));
    let be16 = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
    match family {
        1 if b.len() == 2 => format!("{head}}}"),
        1 => {
            let path = &b[2..b.len().min(2 + UNIX_PATH_BYTES)];
            if path[0] == 0 {
                return format!("{head}, sun_path=@{}}}", quoted(&path[1..], UNIX_PATH_BYTES));
            }
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            format!("{head}, sun_path={}}}", quoted(path, UNIX_PATH_BYTES))
        }
        2 if b.len() >= 8 => format!("{head}, sin_port=htons({}), sin_addr={}}}", be16(2), inet_addr(b, 4)),
        10 if b.len() >= 24 => {
            let flow = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
            let scope = if b.len() >= 28 { u32_at(b, 24) } else { 0 };
            // An address of one link: its scope is an interface.
            let of_link = b[8] == 0xfe && b[9] & 0xc0 == 0x80 || b[8] == 0xff && b[9] & 0xf == 2;
            let scope = if of_link { interface(scope) } else { scope.to_string() };
            format!(
                "{head}, sin6_port=htons({}), sin6_flowinfo=htonl({flow}), {}, sin6_scope_id={scope}}}",
                be16(2),
                inet_pton(&b[8..24], "sin6_addr")
            )
        }
        16 if b.len() >= 12 => {
            let groups = match u32_at(b, 8) {
                0 => "00000000".into(),
                groups => format!("{groups:#08x}"),
            };
            format!("{head}, nl_pid={}, nl_groups={groups}}}", u32_at(b, 4) as i32)
        }
        17 if b.len() >= 20 => {
            let len = usize::from(b[11]);
            format!(
                "{head}, sll_protocol=htons({}), sll_ifindex={}, sll_hatype={}, sll_pkttype={}, sll_halen={len}, \
                 sll_addr=[{}]}}",
                name(be16(2).into(), &flags::ETH_P),
                interface(u32_at(b, 4)),
                name(u16_at(b, 8).into(), &flags::ARPHRD),
                name(b[10].into(), &flags::PACKET_TYPE),
                hex_list(&b[12..][..len.min(b.len() - 12)])
            )
        }
        40 if b.len() >= 16 => format!(
            "{head}, svm_cid={}, svm_port={}, svm_flags={}}}",
            name(u32_at(b, 8).into(), &flags::VMADDR_CID),
            hex(u32_at(b, 4).into()),
            hex(b[12].into())
        ),
        4 if b.len() >= 16 => format!(
            "{head}, sipx_port=htons({}), sipx_network=htonl({}), sipx_node=[{}], sipx_type={}, sipx_zero={}}}",
            be16(2),
            hex(u32::from_be_bytes([b[4], b[5], b[6], b[7]]).into()),
            hex_list(&b[8..14]),
            hex(b[14].into()),
            hex(b[15].into())
        ),
        9 if b.len() >= 18 => format!("{head}, sx25_addr={{x25_addr={}}}}}", text(&b[2..18])),
        38 if b.len() > 24 => format!(
            "{head}, salg_type={}, salg_feat={}, salg_mask={}, salg_name={}}}",
            text(&b[2..16]),
            hex(u32_at(b, 16).into()),
            hex(u32_at(b, 20).into()),
            text(&b[24..b.len().min(88)])
        ),
        42 if b.len() >= 12 => {
            format!("{head}, sq_node={}, sq_port={}}}", hex(u32_at(b, 4).into()), hex(u32_at(b, 8).into()))
        }
        44 if b.len() >= 16 => format!(
            "{head}, sxdp_flags={}, sxdp_ifindex={}, sxdp_queue_id={}, sxdp_shared_umem_fd={}}}",
            named(u16_at(b, 2).into(), &flags::XDP),
            interface(u32_at(b, 4)),
            u32_at(b, 8),
            i32_at(b, 12)
        ),
        45 if b.len() >= 12 => {
            let pad = |label: &str, value: u16| {
                if value == 0 { String::new() } else { format!("{label}={}, ", hex(value.into())) }
            };
            let last = pad("__smctp_pad1", b[11].into());
            format!(
                "{head}, {}smctp_network={}, smctp_addr={{s_addr={}}}, smctp_type={}, smctp_tag={}{}{}}}",
                pad("__smctp_pad0", u16_at(b, 2)),
                hex(u32_at(b, 4).into()),
                hex(b[8].into()),
                hex(b[9].into()),
                hex(b[10].into()),
                if last.is_empty() { "" } else { ", " },
                last.trim_end_matches(", ")
            )
        }
        _ => format!("{head}, sa_data={}}}", quoted(&b[2..], b.len())),
    }
}

/// `0x1, 0x2`
fn hex_list(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| hex((*byte).into())).collect::<Vec<_>>().join(", ")
}

/// A string that may fill its field without a NUL; then its last byte is not shown.
fn text(field: &[u8]) -> String {
    match field.iter().position(|&byte| byte == 0) {
        Some(end) => quoted(&field[..end], end),
        None => quoted(field, field.len() - 1),
    }
}

/// `inet_pton(AF_INET6, "::1", &sin6_addr)`
pub(super) fn inet_pton(b: &[u8], field: &str) -> String {
    let mut host = [0; 16];
    host.copy_from_slice(&b[..16]);
    format!("inet_pton(AF_INET6, \"{}\", &{field})", Ipv6Addr::from(host))
}
