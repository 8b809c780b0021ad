//! Membership: what comes from other daemons, and what the cluster's core wants done.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Input, Name, NodeId, Output, claimed_sender};
use wire::local::RoundTrip;
use wire::peer::Endpoint;
use wire::{PeerName, Role};

use super::Agent;
use crate::config::Config;
use crate::log;

/// How long all names of seeds together may take to be found at the start.
const RESOLVE: Duration = Duration::from_secs(2);
/// What a supervisor has told of a node's distance holds for so long.
const TOLD_DISTANCE_HOLDS: Duration = Duration::from_secs(60);
/// Daemons found on the network or remembered, at most.
pub(super) const MAX_FOUND: usize = 32;

/// The addresses of seeds. One that has none now is left out and said.
pub(super) async fn resolve_seeds(seeds: &[String]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    let resolve = async {
        for seed in seeds {
            match tokio::net::lookup_host(seed).await {
                Ok(addresses) => found.extend(addresses.take(1)),
                Err(error) => log::warn("seed-not-found", &[("seed", seed), ("why", &error)]),
            }
        }
    };
    if tokio::time::timeout(RESOLVE, resolve).await.is_err() {
        log::warn("seed-not-found", &[("why", &"the resolver does not answer")]);
    }
    found
}

/// Where other daemons reach this one: what the owner says, else the address that the kernel would use to the first seed,
/// else the first of this machine that others can reach.
pub(super) fn own_address(config: &Config, endpoint: &Endpoint, seeds: &[SocketAddr]) -> Result<SocketAddr> {
    let bound = endpoint.local_addr()?;
    let port = |given: u16| if given == 0 { bound.port() } else { given };
    if let Some(given) = config.advertise {
        return Ok(SocketAddr::new(given.ip(), port(given.port())));
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let toward = |to: SocketAddr| -> Option<IpAddr> {
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = std::net::UdpSocket::bind(any).ok()?;
        // Sends nothing: a datagram socket is only told whom it is for (connect(2)).
        socket.connect(to).ok()?;
        let own = socket.local_addr().ok()?.ip();
        (!own.is_unspecified() && !own.is_loopback()).then_some(own)
    };
    // TEST-NET-3 (RFC 5737) is nobody's: the address that it is reached from is that of the default route.
    let outside = SocketAddr::from(([203, 0, 113, 1], 9));
    let seen = seeds.iter().copied().chain([outside]).find_map(toward).or_else(first_interface);
    let ip = seen.unwrap_or_else(|| {
        log::warn("no-address", &[("why", &"no interface but the loopback is up: say --advertise HOST")]);
        IpAddr::from([127, 0, 0, 1])
    });
    Ok(SocketAddr::new(ip, bound.port()))
}

/// The first address in /proc/net/fib_trie that is this machine's own and not its loopback's.
fn first_interface() -> Option<IpAddr> {
    let text = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
    first_local(&text).map(IpAddr::from)
}

/// A leaf is its address on one line, `|-- 10.0.0.2`, and what it is on the next, `/32 host LOCAL`.
fn first_local(text: &str) -> Option<std::net::Ipv4Addr> {
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).find_map(|pair| {
        let address: std::net::Ipv4Addr = pair[0].trim().strip_prefix("|-- ")?.parse().ok()?;
        (pair[1].trim() == "/32 host LOCAL" && !address.is_loopback()).then_some(address)
    })
}

impl Agent {
    /// Gives the core an input and does what it wants.
    pub(super) fn input(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        let now = self.now();
        self.cluster.handle(now, input, &mut out);
        for output in out {
            match output {
                Output::Send { to, payload } => self.endpoint.send(to, payload.into()),
                Output::Up(id) => self.on_up(&id),
                Output::Down(id) => self.on_down(&id),
                Output::Renewed(id) => {
                    self.journal.note("renewed", &[("incarnation", &id.incarnation)]);
                }
            }
        }
    }

    fn on_up(&mut self, id: &NodeId) {
        self.journal.note("node-up", &[("node", &id.name), ("address", &id.addr)]);
        self.tell_revoked(id.name.to_string(), id.addr);
    }

    fn on_down(&mut self, id: &NodeId) {
        self.journal.note("node-down", &[("node", &id.name), ("address", &id.addr)]);
        // What it was offered will not come.
        self.forget_coming(&id.name);
        self.ports.remove(&id.name);
    }

    /// From a daemon of this cluster, by its certificate.
    pub(super) fn on_datagram(&mut self, from: &PeerName, address: SocketAddr, payload: &[u8]) {
        if from.role != Role::Node {
            return;
        }
        if let Some(claimed) = claimed_sender(payload)
            && claimed.as_str() != from.name
        {
            return log::warn(
                "datagram-refused",
                &[("peer", from), ("address", &address), ("why", &format!("it speaks as {claimed}"))],
            );
        }
        self.input(Input::Datagram(payload));
    }

    /// Seeds of the configuration and those found.
    pub(super) fn tell_seeds(&mut self) {
        let seeds: Vec<SocketAddr> = self.seeds.iter().chain(&self.found).copied().collect();
        self.input(Input::Seeds(&seeds));
    }

    /// A daemon announces itself on the network.
    pub(super) fn on_found(&mut self, address: SocketAddr) {
        if !self.found.contains(&address) && !self.seeds.contains(&address) {
            if self.found.len() == MAX_FOUND {
                self.found.remove(0);
            }
            self.found.push(address);
            log::info("node-found", &[("address", &address)]);
            self.tell_seeds();
        }
    }

    /// Round trips, as the connections to other daemons have them. These are rarely used, and both ends asleep when they
    /// are: what supervisors have measured while calls went to and fro is nearer to what a call costs.
    pub(super) fn measure_distances(&mut self) {
        let now = self.now();
        self.told_distances.retain(|_, at| now.saturating_sub(*at) < TOLD_DISTANCE_HOLDS);
        let measured: Vec<(Name, Duration)> = self
            .cluster
            .members()
            .iter()
            .filter(|member| !self.told_distances.contains_key(&member.name))
            .filter_map(|member| Some((member.name.clone(), self.endpoint.rtt(member.addr)?)))
            .collect();
        for (name, rtt) in measured {
            self.input(Input::Latency(&name, rtt));
        }
    }

    /// A supervisor tells how far nodes are from it.
    pub(super) fn on_round_trips(&mut self, round_trips: &[RoundTrip]) {
        let now = self.now();
        for RoundTrip { node, us } in round_trips {
            let (Some(member), Ok(rtt)) = (self.member(node), Duration::try_from_secs_f64(us / 1e6)) else {
                continue;
            };
            let name = member.name.clone();
            self.told_distances.insert(name.clone(), now);
            self.input(Input::Latency(&name, rtt));
        }
    }

    /// A member by its name.
    pub(super) fn member(&self, name: &str) -> Option<&NodeId> {
        self.cluster.member(&Name::new(name).ok()?)
    }

    /// Where a member accepts sessions, if it has not said otherwise.
    pub(super) fn session_address(id: &NodeId, port: u16) -> SocketAddr {
        SocketAddr::new(id.addr.ip(), port)
    }
}

/// A name that is one of a node.
pub(super) fn node_name(text: &str) -> Result<Name> {
    Name::new(text).with_context(|| format!("{text:?} is no node's name"))
}

#[cfg(test)]
mod tests {
    use super::first_local;

    #[test]
    fn an_address_of_an_interface_is_found() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.77.0.0\n        /24 link UNICAST\n\
                    \x20    |-- 10.77.0.2\n        /32 host LOCAL\n     |-- 10.77.0.255\n        /32 link BROADCAST\n";
        assert_eq!(first_local(text), Some([10, 77, 0, 2].into()));
        assert_eq!(first_local("Main:\n  |-- 127.0.0.1\n    /32 host LOCAL\n"), None);
    }
}
