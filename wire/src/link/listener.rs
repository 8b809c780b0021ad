//! One UDP port for many links, each with a socket of its own.
//!
//! A peer's first datagram comes to the listener's socket. The listener then binds a second socket to the same
//! address and port (SO_REUSEPORT, socket(7)) and connects it to the peer; the kernel prefers a connected
//! socket over an unconnected one, so the peer's later datagrams go there, and the socket can be given to
//! another process, which drives the link alone.

use std::collections::{HashMap, VecDeque};
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::LinkError;
use super::config::HANDSHAKE_TIMEOUT;

/// Sessions that may be starting at once. Each holds a socket and perhaps a process for at most
/// [`HANDSHAKE_TIMEOUT`]; what comes beyond is not heard, and asks again.
const MAX_STARTING: usize = 256;

/// The same for one address, so that one host cannot take them all.
const MAX_STARTING_PER_HOST: usize = 64;

/// Datagrams looked at in one call.
const BATCH: usize = 64;

/// RFC 9000 §14.1: a client's Initial is padded to this.
const MIN_INITIAL_BYTES: usize = 1_200;

/// QUIC version 1, the only one spoken here.
const QUIC_V1: [u8; 4] = [0, 0, 0, 1];

/// A peer that wants a link: its socket, its address and the datagrams that came so far.
#[derive(Debug)]
pub struct Incoming {
    socket: OwnedFd,
    peer: SocketAddr,
    datagrams: Vec<Vec<u8>>,
}

impl Incoming {
    /// For handing to another process: the socket by SCM_RIGHTS or inheritance, the rest by any means.
    pub fn into_parts(self) -> (OwnedFd, SocketAddr, Vec<Vec<u8>>) {
        (self.socket, self.peer, self.datagrams)
    }

    /// The reverse of [`into_parts`](Self::into_parts).
    pub fn from_parts(socket: OwnedFd, peer: SocketAddr, datagrams: Vec<Vec<u8>>) -> Incoming {
        Incoming { socket, peer, datagrams }
    }

    /// Where the peer is. It has proved nothing yet.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// A peer's first datagram.
struct Initial {
    peer: SocketAddr,
    local: Option<IpAddr>,
    bytes: Vec<u8>,
}

/// The port that nodes are reached at.
pub struct Listener {
    udp: UdpSocket,
    state: UdpSocketState,
    buffer: Box<[u8]>,
    waiting: VecDeque<Initial>,
    /// Peers that were accepted a short while ago, with the connection ID that their first datagrams carry: more
    /// of those came before the peer's own socket was there, and are no new peers.
    starting: HashMap<SocketAddr, (Vec<u8>, Instant)>,
}

impl Listener {
    /// Listens on a UDP address.
    pub fn bind(addr: SocketAddr) -> Result<Listener, LinkError> {
        // Sockets that share a port may be joined by another listener of the same user, and each would get half of
        // the peers. A socket that does not share tells whether one is there.
        drop(UdpSocket::bind(addr).map_err(LinkError::socket("bind a UDP port"))?);
        let udp = bind_shared(addr)?;
        let state = UdpSocketState::new((&udp).into()).map_err(LinkError::socket("set up a UDP socket"))?;
        let buffer = vec![0; 64 << 10].into();
        Ok(Listener { udp, state, buffer, waiting: VecDeque::new(), starting: HashMap::new() })
    }

    /// The address, with the port that the kernel chose if 0 was asked for.
    pub fn local_addr(&self) -> Result<SocketAddr, LinkError> {
        self.udp.local_addr().map_err(LinkError::socket("read the address of a UDP socket"))
    }

    /// Readable: call [`accept`](Self::accept) until it gives None.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }

    /// The peer has shown its certificate, or its session is over: it no longer counts as starting. Without
    /// this it counts for [`HANDSHAKE_TIMEOUT`].
    pub fn settled(&mut self, peer: SocketAddr) {
        if let Some((_, since)) = self.starting.get_mut(&peer) {
            // Kept a little for its stray datagrams, but not counted.
            *since = since.checked_sub(HANDSHAKE_TIMEOUT).unwrap_or(*since);
        }
    }

    /// The next peer that wants a link. Datagrams that begin none are dropped.
    pub fn accept(&mut self, now: Instant) -> Result<Option<Incoming>, LinkError> {
        self.starting.retain(|_, (_, since)| now.saturating_duration_since(*since) < 2 * HANDSHAKE_TIMEOUT);
        self.receive();
        while let Some(initial) = self.waiting.pop_front() {
            if self.is_known(&initial) || self.is_full(initial.peer.ip(), now) {
                continue;
            }
            return self.start(initial, now).map(Some);
        }
        Ok(None)
    }

    fn start(&mut self, initial: Initial, now: Instant) -> Result<Incoming, LinkError> {
        let Initial { peer, local, bytes } = initial;
        let session = bind_shared(self.address_towards(peer, local)?)?;
        connect(&session, &peer).map_err(|e| LinkError::Socket("connect a UDP socket", e))?;
        let id = destination_id(&bytes).to_vec();
        let mut datagrams = vec![bytes];
        // Before it was connected, the new socket could be given any peer's datagrams. Those of this peer stay
        // in it only if they came after; all that came before is read out here and put where it belongs.
        let state =
            UdpSocketState::new((&session).into()).map_err(LinkError::socket("set up a UDP socket"))?;
        let mut strays = VecDeque::new();
        read_all(&session, &state, &mut self.buffer, |stray| strays.push_back(stray));
        self.starting.insert(peer, (id, now));
        // And this peer's datagrams that came to the listener meanwhile.
        read_all(&self.udp, &self.state, &mut self.buffer, |stray| strays.push_back(stray));
        for stray in strays {
            if stray.peer == peer {
                datagrams.push(stray.bytes);
            } else if is_initial(&stray.bytes) {
                self.waiting.push_back(stray);
            }
        }
        self.waiting.retain(|other| {
            let same = other.peer == peer;
            if same {
                datagrams.push(other.bytes.clone());
            }
            !same
        });
        Ok(Incoming { socket: session.into(), peer, datagrams })
    }

    fn receive(&mut self) {
        let waiting = &mut self.waiting;
        read_all(&self.udp, &self.state, &mut self.buffer, |initial| {
            if is_initial(&initial.bytes) && waiting.len() < MAX_STARTING {
                waiting.push_back(initial);
            }
        });
    }

    fn is_known(&self, initial: &Initial) -> bool {
        self.starting.get(&initial.peer).is_some_and(|(id, _)| id == destination_id(&initial.bytes))
    }

    fn is_full(&self, host: IpAddr, now: Instant) -> bool {
        let counts = |since: &Instant| now.saturating_duration_since(*since) < HANDSHAKE_TIMEOUT;
        let all = self.starting.values().filter(|(_, since)| counts(since)).count();
        let own =
            self.starting.iter().filter(|(peer, (_, since))| peer.ip() == host && counts(since)).count();
        all >= MAX_STARTING || own >= MAX_STARTING_PER_HOST
    }

    /// The address that the peer's datagram came to: a machine with several must answer from that one.
    fn address_towards(&self, peer: SocketAddr, local: Option<IpAddr>) -> Result<SocketAddr, LinkError> {
        let mut address = self.local_addr()?;
        match (address.ip().is_unspecified(), local, &mut address, peer) {
            (true, Some(IpAddr::V4(ip)), SocketAddr::V4(own), _) => own.set_ip(ip),
            (true, Some(IpAddr::V4(ip)), SocketAddr::V6(own), _) => own.set_ip(ip.to_ipv6_mapped()),
            (true, Some(IpAddr::V6(ip)), SocketAddr::V6(own), SocketAddr::V6(peer)) => {
                own.set_ip(ip);
                own.set_scope_id(peer.scope_id());
            }
            _ => {}
        }
        Ok(address)
    }
}

/// A UDP socket that shares its port with others of this user.
fn bind_shared(addr: SocketAddr) -> Result<UdpSocket, LinkError> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::DGRAM, flags, None)
        .map_err(|e| LinkError::Socket("open a UDP socket", e))?;
    sockopt::set_socket_reuseport(&fd, true).map_err(|e| LinkError::Socket("share a UDP port", e))?;
    bind(&fd, &addr).map_err(|e| LinkError::Socket("bind a UDP port", e))?;
    Ok(UdpSocket::from(fd))
}

/// Reads at most [`BATCH`] batches of datagrams. Errors are other peers' ICMP messages, and pass.
fn read_all(udp: &UdpSocket, state: &UdpSocketState, buffer: &mut [u8], mut take: impl FnMut(Initial)) {
    for _ in 0..BATCH {
        let mut meta = [RecvMeta::default()];
        match state.recv(udp.into(), &mut [IoSliceMut::new(buffer)], &mut meta) {
            Ok(n) if n > 0 => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => continue,
            _ => return,
        }
        let [RecvMeta { addr, len, stride, dst_ip, .. }] = meta;
        for bytes in buffer[..len].chunks(stride.max(1)) {
            take(Initial { peer: addr, local: dst_ip, bytes: bytes.to_vec() });
        }
    }
}

/// Whether a datagram may begin a connection: a version 1 Initial of full size (RFC 9000 §17.2.2).
fn is_initial(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_INITIAL_BYTES
        && bytes[0] & 0xf0 == 0xc0
        && bytes[1..5] == QUIC_V1
        && destination_id(bytes).len() >= 8
}

/// The destination connection ID of a long header (RFC 9000 §17.2); empty if it has none.
fn destination_id(bytes: &[u8]) -> &[u8] {
    let len = bytes.get(5).map_or(0, |&len| usize::from(len));
    bytes.get(6..6 + len).unwrap_or_default()
}
