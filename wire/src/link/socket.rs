//! A UDP socket connected to one peer.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::LinkError;

/// Asked of the kernel for receiving: the default 208 KiB loses packets of every bulk transfer (FIGURES).
const SOCKET_BUFFER_BYTES: usize = 32 << 20;

/// Room for one GRO batch: at most a UDP datagram's 64 KiB (net/ipv4/udp_offload.c).
const RECEIVE_BYTES: usize = 64 << 10;

/// GSO batches × MTU must stay below this: an IP packet's 65,535 less headers.
const LARGEST_BATCH_BYTES: usize = 65_000;

/// What became of a datagram handed to the kernel.
pub(super) enum Sent {
    /// On its way, or lost as datagrams are.
    Yes,
    /// The socket is full; try again when it is writable.
    Full,
    /// The network or the peer's kernel says that nobody is there.
    NobodyThere(Errno),
}

pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    peer: SocketAddr,
    buffer: Box<[u8]>,
    /// The ECN bits that the socket puts on every datagram, if we have set them.
    marked: Option<Option<quinn_udp::EcnCodepoint>>,
}

impl Socket {
    /// Takes a socket that is bound and connected to `peer`.
    pub(super) fn new(udp: UdpSocket, peer: SocketAddr) -> Result<Socket, LinkError> {
        enlarge(&udp);
        let state = UdpSocketState::new((&udp).into()).map_err(LinkError::socket("set up a UDP socket"))?;
        Ok(Socket { udp, state, peer, buffer: vec![0; RECEIVE_BYTES].into(), marked: None })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }

    /// Whether datagrams are never fragmented, the condition of MTU discovery.
    pub(super) fn keeps_datagrams_whole(&self) -> bool {
        !self.state.may_fragment()
    }

    /// How many datagrams of `mtu` bytes one call may send.
    pub(super) fn batch(&self, mtu: u16) -> usize {
        (LARGEST_BATCH_BYTES / usize::from(mtu)).clamp(1, self.state.max_gso_segments().max(1))
    }

    pub(super) fn send(
        &mut self,
        contents: &[u8],
        segment_size: Option<usize>,
        ecn: Option<quinn_udp::EcnCodepoint>,
    ) -> Sent {
        // A connected socket reports an earlier ICMP error on the next call, whatever that call is.
        for _ in 0..2 {
            let result = match segment_size {
                None if self.marks(ecn) => self.udp.send(contents).map(drop),
                _ => {
                    let destination = self.peer;
                    let transmit = Transmit { destination, ecn, contents, segment_size, src_ip: None };
                    self.state.try_send((&self.udp).into(), &transmit)
                }
            };
            match result {
                Ok(()) => return Sent::Yes,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Sent::Full,
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::CONNREFUSED) => {}
                    Some(errno) if nobody_there(errno) => return Sent::NobodyThere(errno),
                    // EMSGSIZE: a probe of MTU discovery that does not fit. Others: as if lost on the way.
                    _ => return Sent::Yes,
                },
            }
        }
        Sent::NobodyThere(Errno::CONNREFUSED)
    }

    /// Whether a plain send carries these ECN bits: set once on the socket, where quinn-udp would say them, and
    /// the address, with each datagram. A plain send also uses the route that connect found: 0.4 µs less.
    fn marks(&mut self, ecn: Option<quinn_udp::EcnCodepoint>) -> bool {
        if self.marked != Some(ecn) {
            let bits = ecn.map_or(0, |ecn| ecn as u8);
            let set = if self.peer.is_ipv4() {
                sockopt::set_ip_tos(&self.udp, bits)
            } else {
                sockopt::set_ipv6_tclass(&self.udp, bits.into())
            };
            self.marked = set.is_ok().then_some(ecn);
        }
        self.marked.is_some()
    }

    /// One batch of datagrams (their size in the metadata), or None if there is nothing.
    pub(super) fn receive(&mut self) -> Result<Option<(RecvMeta, &[u8])>, Errno> {
        let mut meta = [RecvMeta::default()];
        match self.state.recv((&self.udp).into(), &mut [IoSliceMut::new(&mut self.buffer)], &mut meta) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((meta[0], &self.buffer[..meta[0].len]))),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
        }
    }
}

/// Errors that ICMP or the routing table raise on a connected socket.
pub(super) fn nobody_there(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN
    )
}

/// As large as allowed: past net.core.rmem_max with CAP_NET_ADMIN, else up to it.
fn enlarge(udp: &UdpSocket) {
    if sockopt::set_socket_recv_buffer_size_force(udp, SOCKET_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(udp, SOCKET_BUFFER_BYTES);
    }
    if sockopt::set_socket_send_buffer_size_force(udp, SOCKET_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(udp, SOCKET_BUFFER_BYTES);
    }
}
