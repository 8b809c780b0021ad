//! Messages of rtnetlink(7) about interfaces and addresses.
//!
//! A netlink socket's protocol is not in its calls. So a message is taken apart only if it is one from end to end: its length,
//! what its type begins with, and every attribute up to the last byte. All else is shown as the bytes that it is.

use std::fmt::Write;

use super::options::inet_addr;
use super::shapes::{i32_at, u16_at, u32_at, u64_at};
use super::values::{flags as named, hex, name, quoted, quoted_hex};
use crate::flags;

const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFINFO_BYTES: usize = 16;
const IFADDR_BYTES: usize = 8;

/// All messages in `data`, attributes cut to `elements` and strings to `limit` bytes.
pub(super) fn messages(data: &[u8], elements: usize, limit: usize) -> Option<String> {
    let mut rest = data;
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let len = (rest.len() >= HEADER_BYTES).then(|| u32_at(rest, 0) as usize)?;
        let message = rest.get(..len).filter(|message| message.len() >= HEADER_BYTES)?;
        texts.push(one(message, elements, limit)?);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

fn one(message: &[u8], elements: usize, limit: usize) -> Option<String> {
    let kind = u16_at(message, 4);
    let body = &message[HEADER_BYTES..];
    let parts = match kind {
        NLMSG_DONE if body.len() == 4 => vec![i32_at(body, 0).to_string()],
        NLMSG_ERROR if body.len() >= 4 + HEADER_BYTES => vec![error(body)],
        RTM_NEWLINK..=RTM_SETLINK => link(body, elements, limit)?,
        RTM_NEWADDR..=RTM_GETADDR => address(body, elements, limit)?,
        _ => return None,
    };
    Some(format!("[{}, {}]", header(message), parts.join(", ")))
}

fn header(b: &[u8]) -> String {
    let kind = u16_at(b, 4);
    // The upper half of the flags depends on what is asked for: for every fourth type it is to get something.
    let set = match kind {
        NLMSG_ERROR => &flags::NLM_F_ACKNOWLEDGE,
        16.. if kind % 4 == 2 => &flags::NLM_F_GET,
        16.. if kind.is_multiple_of(4) => &flags::NLM_F_NEW,
        _ => &flags::NLM_F,
    };
    let bits = u16_at(b, 6);
    format!(
        "{{nlmsg_len={}, nlmsg_type={}, nlmsg_flags={}, nlmsg_seq={}, nlmsg_pid={}}}",
        u32_at(b, 0),
        name(kind.into(), &flags::NLMSG),
        if bits == 0 { hex(0) } else { named(bits.into(), set) },
        u32_at(b, 8),
        i32_at(b, 12)
    )
}

/// `struct nlmsgerr`
fn error(b: &[u8]) -> String {
    let number = i32_at(b, 0);
    let number = match super::errno(-number) {
        Some((name, _)) if number < 0 => format!("-{name}"),
        _ => number.to_string(),
    };
    format!("{{error={number}, msg={}}}", header(&b[4..]))
}

/// `struct ifinfomsg` and its attributes.
fn link(b: &[u8], elements: usize, limit: usize) -> Option<Vec<String>> {
    let family = name((*b.first()?).into(), &flags::AF);
    if b.len() == 4 {
        // What if_nameindex(3) sends is a `struct rtgenmsg`.
        return Some(vec![format!("{{ifi_family={family}, ...}}")]);
    }
    if b.len() < IFINFO_BYTES || b[1] != 0 {
        return None;
    }
    let attributes = attributes(&b[IFINFO_BYTES..])?;
    let own_name = attributes.iter().find(|(kind, _)| *kind == 3).map(|(_, value)| *value);
    let bits = |at: usize| {
        let value = u32_at(b, at);
        if value == 0 { hex(0) } else { named(value.into(), &flags::IFF) }
    };
    let head = format!(
        "{{ifi_family={family}, ifi_type={}, ifi_index={}, ifi_flags={}, ifi_change={}}}",
        name(u16_at(b, 2).into(), &flags::ARPHRD),
        interface(u32_at(b, 4), own_name),
        bits(8),
        match u32_at(b, 12) {
            u32::MAX => hex(u32::MAX.into()),
            _ => bits(12),
        }
    );
    Some(with_attributes(head, &attributes, elements, &flags::IFLA, |kind, value| {
        link_attribute(kind, value, limit)
    }))
}

/// `struct ifaddrmsg` and its attributes.
fn address(b: &[u8], elements: usize, limit: usize) -> Option<Vec<String>> {
    let family = *b.first()?;
    let family_name = name(family.into(), &flags::AF);
    if b.len() == 4 {
        return Some(vec![format!("{{ifa_family={family_name}, ...}}")]);
    }
    if b.len() < IFADDR_BYTES || !matches!(family, 0 | 2 | 10) {
        return None;
    }
    let attributes = attributes(&b[IFADDR_BYTES..])?;
    let own_name = attributes.iter().find(|(kind, _)| *kind == 3).map(|(_, value)| *value);
    let head = format!(
        "{{ifa_family={family_name}, ifa_prefixlen={}, ifa_flags={}, ifa_scope={}, ifa_index={}}}",
        b[1],
        if b[2] == 0 { hex(0) } else { named(b[2].into(), &flags::IFA_F) },
        name(b[3].into(), &flags::RT_SCOPE),
        interface(u32_at(b, 4), own_name)
    );
    Some(with_attributes(head, &attributes, elements, &flags::IFA, |kind, value| {
        address_attribute(kind, value, family, limit)
    }))
}

/// An interface whose name the message may have.
fn interface(index: u32, own_name: Option<&[u8]>) -> String {
    match own_name {
        Some(name) if index != 0 => format!("if_nametoindex({})", text(name, name.len())),
        _ => super::options::interface(index),
    }
}

/// Types and values, if they fill the message exactly.
fn attributes(b: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let (mut rest, mut found) = (b, Vec::new());
    while !rest.is_empty() {
        let len = (rest.len() >= 4).then(|| usize::from(u16_at(rest, 0)))?;
        found.push((u16_at(rest, 2), rest.get(4..len)?));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

fn with_attributes(
    head: String,
    attributes: &[(u16, &[u8])],
    elements: usize,
    names: &flags::FlagSet,
    show: impl Fn(u16, &[u8]) -> Option<String>,
) -> Vec<String> {
    let mut texts: Vec<String> = attributes
        .iter()
        .take(elements)
        .map(|(kind, value)| {
            let text = show(*kind, value).unwrap_or_else(|| quoted_hex(value, value.len()));
            let kind = name((*kind).into(), names);
            format!("[{{nla_len={}, nla_type={kind}}}, {text}]", value.len() + 4)
        })
        .collect();
    if attributes.len() > elements {
        texts.push("...".into());
    }
    match texts.len() {
        0 => vec![head],
        1 => vec![head, texts.remove(0)],
        _ => vec![head, format!("[{}]", texts.join(", "))],
    }
}

/// A string with its NUL, which is not shown.
fn text(value: &[u8], limit: usize) -> String {
    quoted(value.strip_suffix(b"\0").unwrap_or(value), limit)
}

fn link_attribute(kind: u16, value: &[u8], limit: usize) -> Option<String> {
    Some(match (kind, value.len()) {
        // Addresses of the link layer.
        (1 | 2, 1..) => value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
        (3 | 6 | 20, _) => text(value, limit),
        // Numbers of one byte and of four.
        (16 | 17 | 33 | 39, 1) => value[0].to_string(),
        (29, 4) => named(u32_at(value, 0).into(), &flags::RTEXT_FILTER),
        (4 | 13 | 27 | 30..=32 | 35 | 40 | 41 | 47 | 48 | 50 | 51 | 58..=61, 4) => {
            u32_at(value, 0).to_string()
        }
        (7, 96) => statistics(value, 4),
        (23, 200) => statistics(value, 8),
        _ => return None,
    })
}

/// `struct rtnl_link_stats`, `struct rtnl_link_stats64`
fn statistics(b: &[u8], width: usize) -> String {
    const FIELDS: [&str; 25] = [
        "rx_packets",
        "tx_packets",
        "rx_bytes",
        "tx_bytes",
        "rx_errors",
        "tx_errors",
        "rx_dropped",
        "tx_dropped",
        "multicast",
        "collisions",
        "rx_length_errors",
        "rx_over_errors",
        "rx_crc_errors",
        "rx_frame_errors",
        "rx_fifo_errors",
        "rx_missed_errors",
        "tx_aborted_errors",
        "tx_carrier_errors",
        "tx_fifo_errors",
        "tx_heartbeat_errors",
        "tx_window_errors",
        "rx_compressed",
        "tx_compressed",
        "rx_nohandler",
        "rx_otherhost_dropped",
    ];
    let mut text = String::from("{");
    for (label, value) in FIELDS.iter().zip(b.chunks_exact(width)) {
        let value = if width == 4 { u32_at(value, 0).into() } else { u64_at(value, 0) };
        let comma = if text.len() > 1 { ", " } else { "" };
        let _ = write!(text, "{comma}{label}={value}");
    }
    text.push('}');
    text
}

fn address_attribute(kind: u16, value: &[u8], family: u8, limit: usize) -> Option<String> {
    Some(match (kind, value.len(), family) {
        (1 | 2 | 4 | 5 | 7, 4, 2) => inet_addr(value, 0),
        (1 | 2 | 4 | 5 | 7, 16, 10) => {
            let mut host = [0; 16];
            host.copy_from_slice(value);
            format!("inet_pton(AF_INET6, \"{}\")", std::net::Ipv6Addr::from(host))
        }
        (3, _, _) => text(value, limit),
        (6, 16, _) => format!(
            "{{ifa_prefered={}, ifa_valid={}, cstamp={}, tstamp={}}}",
            u32_at(value, 0),
            u32_at(value, 4),
            u32_at(value, 8),
            u32_at(value, 12)
        ),
        (8, 4, _) => named(u32_at(value, 0).into(), &flags::IFA_F),
        (9, 4, _) => u32_at(value, 0).to_string(),
        _ => return None,
    })
}
