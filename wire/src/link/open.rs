//! How a link begins, at either end.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint};
use rustix::io::Errno;

use super::channels::Channels;
use super::socket::Socket;
use super::{HANDSHAKE_TIMEOUT, Incoming, Link, LinkError, config};
use crate::identity::{Identity, client_tls};

impl Link {
    /// Starts a link to the node at `addr`, and returns before it answers.
    pub fn connect(addr: SocketAddr, identity: &Identity, now: Instant) -> Result<Link, LinkError> {
        Link::connect_with(addr, config::client(client_tls(identity)?, addr)?, identity, now)
    }

    fn connect_with(
        addr: SocketAddr,
        config: ClientConfig,
        identity: &Identity,
        now: Instant,
    ) -> Result<Link, LinkError> {
        let any: SocketAddr = if addr.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let udp = UdpSocket::bind(any).map_err(LinkError::socket("open a UDP socket"))?;
        udp.connect(addr)
            .map_err(|e| LinkError::Unreachable(addr, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let socket = Socket::new(udp, addr)?;
        let mut endpoint = Endpoint::new(config::endpoint()?, None, socket.keeps_datagrams_whole(), None);
        // The name is not sent (no SNI) and not checked: the certificate says who it is.
        let (handle, conn) = endpoint
            .connect(now, config, addr, "node.mosix.internal")
            .map_err(|e| LinkError::Protocol(addr.to_string(), e.to_string()))?;
        let mut link = Link::assemble(socket, endpoint, handle, conn, addr, identity, true, now);
        link.transmit(now);
        link.result().map(|()| link)
    }

    /// Answers a peer that a [`Listener`](super::Listener) heard from. Returns before the peer has shown its certificate.
    pub fn serve(incoming: Incoming, identity: &Identity, now: Instant) -> Result<Link, LinkError> {
        let (fd, addr, datagrams) = incoming.into_parts();
        let socket = Socket::new(UdpSocket::from(fd), addr)?;
        let server = Arc::new(config::server(identity, addr)?);
        let whole = socket.keeps_datagrams_whole();
        let mut endpoint = Endpoint::new(config::endpoint()?, Some(server), whole, None);
        let mut out = Vec::new();
        let mut datagrams = datagrams.iter();
        let accepted = datagrams.by_ref().find_map(|first| {
            match endpoint.handle(now, addr, None, None, first.as_slice().into(), &mut out) {
                Some(DatagramEvent::NewConnection(incoming)) => Some(incoming),
                _ => None,
            }
        });
        let Some(incoming) = accepted else {
            return Err(LinkError::Protocol(
                addr.to_string(),
                "its first datagram is no QUIC handshake".into(),
            ));
        };
        let (handle, conn) = endpoint
            .accept(incoming, now, &mut out, None)
            .map_err(|e| LinkError::Protocol(addr.to_string(), e.cause.to_string()))?;
        let mut link = Link::assemble(socket, endpoint, handle, conn, addr, identity, false, now);
        for datagram in datagrams {
            link.take(now, None, BytesMut::from(datagram.as_slice()));
        }
        link.drive(now)?;
        Ok(link)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields that differ between the two ends, once")]
    fn assemble(
        socket: Socket,
        endpoint: Endpoint,
        handle: ConnectionHandle,
        conn: Connection,
        remote: SocketAddr,
        identity: &Identity,
        is_client: bool,
        now: Instant,
    ) -> Link {
        Link {
            socket,
            endpoint,
            handle,
            conn,
            channels: Channels::default(),
            remote,
            own: identity.name().clone(),
            peer: None,
            peer_keys: Vec::new(),
            is_client,
            established: false,
            handshake_by: now + HANDSHAKE_TIMEOUT,
            timer: Some(now),
            failed: None,
            doubted_until: None,
            unsent: None,
            untold: true,
            out: Vec::new(),
            sent_bytes: 0,
            received_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::Listener;

    /// What `Link::connect` never does, but another program might.
    #[test]
    fn a_peer_without_a_certificate_is_refused() {
        let (home, node) = Identity::ephemeral_pair().unwrap();
        let mut listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tls = client_tls(&home).unwrap();
        tls.client_auth_cert_resolver = crate::identity::no_client_certificate();
        let config = config::client(tls, addr).unwrap();
        let mut client = Link::connect_with(addr, config, &home, Instant::now()).unwrap();
        let give_up = Instant::now() + Duration::from_secs(10);
        let mut server = loop {
            if let Some(incoming) = listener.accept(Instant::now()).unwrap() {
                break Link::serve(incoming, &node, Instant::now()).unwrap();
            }
            assert!(Instant::now() < give_up);
        };
        let refused = loop {
            let _ = client.drive(Instant::now());
            if let Err(refused) = server.drive(Instant::now()) {
                break refused.to_string();
            }
            assert!(Instant::now() < give_up);
        };
        assert!(refused.contains("shows no certificate of this cluster"), "{refused}");
        while client.drive(Instant::now()).is_ok() {
            assert!(Instant::now() < give_up);
        }
        assert!(!client.is_established() && !server.is_established());
    }
}
