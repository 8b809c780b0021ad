//! The addresses of this machine, as others may reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result};

/// The most that are named: a machine with many networks says itself which.
const MAX_ADDRESSES: usize = 4;

/// An address, or a host's name and perhaps a port.
pub(crate) fn resolve(text: &str, default_port: u16) -> Result<Vec<SocketAddr>> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, default_port)]);
    }
    let resolved = if text.contains(':') {
        text.to_socket_addrs().map(Vec::from_iter)
    } else {
        (text, default_port).to_socket_addrs().map(Vec::from_iter)
    };
    let found = resolved.with_context(|| format!("cannot find {text} (give HOST or HOST:PORT)"))?;
    anyhow::ensure!(!found.is_empty(), "{text} has no address");
    Ok(found)
}

/// Those of the kernel's own that are neither this machine's alone nor a link's alone, IPv4 first: proc_net(5), `fib_trie`
/// and `if_inet6`.
pub(crate) fn own() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut found: Vec<IpAddr> =
        own_v4(&v4).into_iter().map(IpAddr::V4).chain(own_v6(&v6).into_iter().map(IpAddr::V6)).collect();
    found.truncate(MAX_ADDRESSES);
    found
}

/// A local address is a leaf (`|-- ADDRESS`) that is followed by `/32 host LOCAL`. It stands in two tables.
fn own_v4(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(leaf.take().filter(|ip| !ip.is_loopback() && !ip.is_link_local()));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|ip| seen.insert(*ip));
    found
}

/// Address in hex, interface, prefix length, scope (00 is global), flags (20 is deprecated, 40 tentative), name.
fn own_v6(table: &str) -> Vec<Ipv6Addr> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, "00", flags, _] = fields.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let address = u128::from_str_radix(address, 16).ok()?;
        (flags & 0x60 == 0).then(|| Ipv6Addr::from(address))
    };
    table.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
Local:
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 192.168.7.1
           /32 host LOCAL
        |-- 169.254.1.1
           /32 host LOCAL
";

    const TABLE: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
fd000000000000000000000000000007 02 40 00 80     eth0
fd000000000000000000000000000008 02 40 00 a0     eth0
";

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(own_v4(TRIE), [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(192, 168, 7, 1)]);
        assert_eq!(own_v6(TABLE), ["fd00::7".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn a_port_may_be_left_out() {
        let is = |text, socket: &str| assert_eq!(resolve(text, 7).unwrap(), [socket.parse().unwrap()]);
        is("10.0.0.1", "10.0.0.1:7");
        is("10.0.0.1:8", "10.0.0.1:8");
        is("fd00::1", "[fd00::1]:7");
        is("[fd00::1]", "[fd00::1]:7");
        is("[fd00::1]:8", "[fd00::1]:8");
        assert!(resolve("", 7).is_err() && resolve("10.0.0.1:x", 7).is_err());
    }
}
