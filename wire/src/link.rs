//! The link between a supervisor and a node: QUIC (RFC 9000) that is driven by the caller's own poll loop.
//!
//! quinn-proto is the protocol core of quinn without its runtime: no thread and no task stands between a
//! datagram and a call, which makes a 64-byte round trip on one core 8 µs instead of 14 to 24 (FIGURES).
//!
//! ```text
//! poll(link.fd(), …, until link.deadline())  →  link.drive(now)  →  while let Some(frame) = link.recv() { … }
//!                                                                    link.send(channel, frame)
//! ```

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint, Event, VarInt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::channels::Channels;
pub use self::config::{HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE};
pub use self::error::LinkError;
pub(crate) use self::error::describe;
pub use self::listener::{Incoming, Listener};
use self::socket::{Sent, Socket};
use crate::frame::MAX_FRAME_BYTES;
use crate::identity::{KeyId, PeerName, key_ids};
use crate::transport::{Channel, Transport};

mod channels;
mod config;
mod error;
mod listener;
mod open;
mod socket;

/// Batches received or sent in one `drive` before the caller's other descriptors have their turn: 2 MiB each way.
const BATCHES_PER_DRIVE: usize = 32;

/// A batch smaller than this is taken as the last one waiting; if it was not, poll says so again. Saves the
/// receive that finds nothing, 0.4 µs, after each small message.
const LONE_BATCH_BYTES: usize = 4 << 10;

/// How long a peer may take to answer when the network says that nobody is there. ICMP can be forged, so it only asks
/// the question; but a peer that is gone is known in this time rather than after [`IDLE_TIMEOUT`].
const DOUBT: Duration = Duration::from_secs(2);

/// How soon a full socket is tried again if the caller does not poll for [`Link::wants_write`].
const FULL_SOCKET_RETRY: Duration = Duration::from_millis(1);

/// A connection to one peer.
pub struct Link {
    socket: Socket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    conn: Connection,
    channels: Channels,
    remote: SocketAddr,
    own: PeerName,
    peer: Option<PeerName>,
    peer_keys: Vec<KeyId>,
    is_client: bool,
    established: bool,
    /// When a handshake that is not done has failed.
    handshake_by: Instant,
    /// The connection's next timer; now if there was more to send than one `drive` does.
    timer: Option<Instant>,
    failed: Option<LinkError>,
    /// The network said that nobody is there: without a word of the peer until then, the link is lost.
    doubted_until: Option<Instant>,
    /// Bytes of the datagrams that the kernel had no room for, and where they split.
    unsent: Option<(usize, Option<usize>, Option<quinn_udp::EcnCodepoint>)>,
    /// Something was queued since `transmit` last found nothing to send.
    untold: bool,
    /// Scratch for outgoing datagrams.
    out: Vec<u8>,
    sent_bytes: u64,
    received_bytes: u64,
}

impl Link {
    /// Drives the link alone until both sides have accepted each other's certificate.
    pub fn wait_established(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let until = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            self.drive(now)?;
            if self.established {
                return Ok(());
            }
            if now >= until {
                return Err(LinkError::NotYet(self.remote, timeout));
            }
            self.wait(until)?;
        }
    }

    /// Sleeps until something arrives, the link's deadline, or `until`; [`drive`](Self::drive) comes next.
    pub fn wait(&self, until: Instant) -> Result<(), LinkError> {
        let wake = self.deadline().map_or(until, |deadline| deadline.min(until));
        let left = wake.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let events = if self.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        match poll(&mut [PollFd::from_borrowed_fd(self.fd(), events)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(LinkError::Socket("wait for a UDP socket", e)),
        }
    }

    /// Whether both sides have accepted each other's certificate. A client knows only when the node says so.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// What the peer's certificate says, when the link is established.
    pub fn peer(&self) -> Option<&PeerName> {
        self.peer.as_ref()
    }

    /// The keys in what the peer has shown, by any of which it may have been revoked since; none before the link is
    /// established.
    pub fn peer_keys(&self) -> &[KeyId] {
        &self.peer_keys
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Readable: call [`drive`](Self::drive).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// The core on which the last datagram arrived (SO_INCOMING_CPU, socket(7)): on loopback the sender's.
    pub fn arrives_on(&self) -> Option<usize> {
        rustix::net::sockopt::socket_incoming_cpu(self.fd()).ok().map(|cpu| cpu as usize)
    }

    /// Whether the caller should also poll for writability: the kernel's buffer is full.
    pub fn wants_write(&self) -> bool {
        self.unsent.is_some()
    }

    /// When [`drive`](Self::drive) must be called even if nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        let handshake = (!self.established).then_some(self.handshake_by);
        // `finish` queues without sending.
        let untold = self.untold.then(Instant::now);
        [self.timer, handshake, self.doubted_until, untold].into_iter().flatten().min()
    }

    /// Receives what has arrived, runs timers, and sends what is due, each up to 2 MiB.
    pub fn drive(&mut self, now: Instant) -> Result<(), LinkError> {
        self.result()?;
        let arrived = self.receive(now);
        let due = self.timer.is_some_and(|timer| timer <= now);
        if due {
            self.conn.handle_timeout(now);
        }
        if !self.established && now >= self.handshake_by {
            self.on_lost(ConnectionError::TimedOut);
        }
        if self.doubted_until.is_some_and(|until| until <= now) {
            self.on_lost(ConnectionError::TimedOut);
        }
        // A caller that spins comes here many times for nothing.
        if arrived || due || self.untold || self.unsent.is_some() {
            self.settle();
            self.transmit(now);
        }
        self.result()
    }

    /// Queues one frame and sends at once what the peer has room for.
    pub fn send(&mut self, channel: Channel, frame: impl Into<Bytes>) -> Result<(), LinkError> {
        self.send_later(channel, frame)?;
        self.flush(Instant::now());
        self.result()
    }

    /// Queues one frame; it leaves with the next `flush`, `send` or `drive`. For several frames at a time.
    pub fn send_later(&mut self, channel: Channel, frame: impl Into<Bytes>) -> Result<(), LinkError> {
        self.result()?;
        let frame = frame.into();
        if frame.len() > MAX_FRAME_BYTES {
            return Err(LinkError::FrameTooLong(frame.len()));
        }
        self.untold = true;
        self.channels.send(&mut self.conn, channel.0, frame);
        Ok(())
    }

    /// Sends what is queued and may leave.
    pub fn flush(&mut self, now: Instant) {
        self.transmit(now);
    }

    /// The next whole frame; each channel's in order. Also after a failure, for frames that came before it.
    pub fn recv(&mut self) -> Option<(Channel, Bytes)> {
        let mut credit = false;
        let received = self.channels.recv(&mut self.conn, &mut credit);
        if credit {
            self.transmit(Instant::now());
        }
        received.unwrap_or_else(|error| {
            let text = error.to_string();
            self.fail(LinkError::protocol(&self.peer_text(), error));
            self.conn.close(Instant::now(), VarInt::from_u32(PROTOCOL_VIOLATION), text.into());
            self.transmit(Instant::now());
            None
        })
    }

    /// Says that nothing more is sent on the channel; queued frames still go. When the peer has read to the
    /// end, it ends its direction too, and both sides forget the channel. Leaves with the next `flush`, `send`
    /// or `drive`.
    pub fn finish(&mut self, channel: Channel) {
        self.untold = true;
        self.channels.finish(&mut self.conn, channel.0);
    }

    /// Channels of higher priority leave first; 0 at the start. Page pushes take a negative one, so that a
    /// call does not wait behind 16 MiB of them.
    pub fn set_priority(&mut self, channel: Channel, priority: i32) {
        self.channels.set_priority(&mut self.conn, channel.0, priority);
    }

    /// Bytes that the peer has no room for yet.
    pub fn queued_bytes(&self) -> usize {
        self.channels.queued_bytes()
    }

    /// Channels open for sending, and streams that are read: for leak tests and `mosix top`.
    pub fn open_channels(&self) -> (usize, usize) {
        self.channels.open()
    }

    /// UDP payload bytes sent and received since the start.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent_bytes, self.received_bytes)
    }

    /// Smoothed round-trip time (RFC 9002 §5.3).
    pub fn rtt(&self) -> Duration {
        self.conn.rtt()
    }

    /// UDP payload bytes of the largest datagram that is known to get through.
    pub fn mtu(&self) -> u16 {
        self.conn.current_mtu()
    }

    /// Ends the link; see [`Transport::close`].
    pub fn close(&mut self, code: u32, reason: &str) {
        if self.failed.is_none() {
            let now = Instant::now();
            self.transmit(now);
            self.conn.close(now, VarInt::from_u32(code), Bytes::copy_from_slice(reason.as_bytes()));
            self.transmit(now);
            self.fail(LinkError::ClosedHere);
        }
    }

    fn result(&self) -> Result<(), LinkError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: LinkError) {
        self.failed.get_or_insert(error);
    }

    fn peer_text(&self) -> String {
        match &self.peer {
            Some(name) => format!("{name} ({})", self.remote),
            None => self.remote.to_string(),
        }
    }

    /// Whether anything came, or the link failed.
    fn receive(&mut self, now: Instant) -> bool {
        for round in 0..BATCHES_PER_DRIVE {
            let (meta, mut data) = match self.socket.receive() {
                Ok(Some((meta, batch))) => (meta, BytesMut::from(batch)),
                Ok(None) => return round > 0,
                Err(errno) if socket::nobody_there(errno) => {
                    self.on_nobody_there(errno, now);
                    return true;
                }
                Err(errno) => {
                    self.fail(LinkError::Socket("receive from a UDP socket", errno));
                    return true;
                }
            };
            let batch_bytes = data.len();
            self.received_bytes += batch_bytes as u64;
            self.doubted_until = None;
            let ecn = meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
            while !data.is_empty() {
                let datagram = data.split_to(meta.stride.clamp(1, data.len()));
                self.take(now, ecn, datagram);
            }
            if batch_bytes < LONE_BATCH_BYTES {
                break;
            }
        }
        true
    }

    fn take(&mut self, now: Instant, ecn: Option<quinn_proto::EcnCodepoint>, datagram: BytesMut) {
        self.out.clear();
        match self.endpoint.handle(now, self.remote, None, ecn, datagram, &mut self.out) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => self.conn.handle_event(event),
            // A second handshake on this socket: not ours.
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            // Stateless resets and version negotiation: a connected peer needs neither.
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Carries events between the endpoint, the connection and the channels.
    fn settle(&mut self) {
        while let Some(event) = self.conn.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(self.handle, event) {
                self.conn.handle_event(answer);
            }
        }
        while let Some(event) = self.conn.poll() {
            match event {
                Event::Stream(event) => self.channels.on_event(&mut self.conn, event),
                Event::ConnectionLost { reason } => self.on_lost(reason),
                Event::Connected
                | Event::HandshakeDataReady
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        if !self.established {
            self.check_established();
        }
        self.channels.write_waiting(&mut self.conn);
    }

    /// A client has finished its part of the handshake before the node has looked at its certificate; only
    /// HANDSHAKE_DONE (RFC 9001 §4.1.2) says that the node accepted it.
    fn check_established(&mut self) {
        let handshaking = self.conn.is_handshaking() || self.conn.is_closed();
        let confirmed = !self.is_client || self.conn.stats().frame_rx.handshake_done > 0;
        if handshaking || !confirmed {
            return;
        }
        let identity = self.conn.crypto_session().peer_identity();
        let chain =
            identity.and_then(|any| any.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok());
        let chain = chain.map(|chain| *chain).unwrap_or_default();
        self.peer = chain.first().and_then(PeerName::of_certificate);
        self.peer_keys = key_ids(chain.iter());
        if self.peer.is_none() {
            // The verifiers have read the same name from the same certificate.
            return self.fail(LinkError::Protocol(self.remote.to_string(), "it shows no certificate".into()));
        }
        self.established = true;
    }

    /// A handshake ends by this. An established link asks the peer itself once more, if its port is closed: a network
    /// that is unreachable may come back, and the idle timer decides.
    fn on_nobody_there(&mut self, errno: rustix::io::Errno, now: Instant) {
        if !self.established {
            self.fail(LinkError::Unreachable(self.remote, errno));
        } else if errno == rustix::io::Errno::CONNREFUSED && self.doubted_until.is_none() {
            self.doubted_until = Some(now + DOUBT);
            self.conn.ping();
            self.untold = true;
        }
    }

    fn on_lost(&mut self, reason: ConnectionError) {
        let peer = self.peer_text();
        let unanswered = self.is_client && !self.established && reason == ConnectionError::TimedOut;
        self.fail(match unanswered {
            true => LinkError::NoAnswer(self.remote),
            false => error::describe(reason, &peer, &self.own),
        });
    }

    /// Sends all that may leave, up to a drive's worth.
    fn transmit(&mut self, now: Instant) {
        for _ in 0..BATCHES_PER_DRIVE {
            if self.unsent.is_none() {
                self.out.clear();
                let batch = self.socket.batch(self.conn.current_mtu());
                let Some(t) = self.conn.poll_transmit(now, batch, &mut self.out) else {
                    self.timer = self.conn.poll_timeout();
                    self.untold = false;
                    return;
                };
                let ecn = t.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8));
                self.unsent = Some((t.size, t.segment_size, ecn));
            }
            let Some((size, segment_size, ecn)) = self.unsent else { return };
            match self.socket.send(&self.out[..size], segment_size, ecn) {
                Sent::Yes => self.sent_bytes += size as u64,
                Sent::Full => {
                    self.timer = Some(now + FULL_SOCKET_RETRY);
                    return;
                }
                Sent::NobodyThere(errno) => self.on_nobody_there(errno, now),
            }
            self.unsent = None;
        }
        self.timer = Some(now);
    }
}

/// The code with which a link is closed whose peer breaks the framing.
const PROTOCOL_VIOLATION: u32 = u32::MAX;

impl Transport for Link {
    fn send(&mut self, channel: Channel, frame: Bytes) -> Result<(), LinkError> {
        Link::send(self, channel, frame)
    }

    fn finish(&mut self, channel: Channel) {
        Link::finish(self, channel);
    }

    fn recv(&mut self) -> Option<(Channel, Bytes)> {
        Link::recv(self)
    }

    fn drive(&mut self, now: Instant) -> Result<(), LinkError> {
        Link::drive(self, now)
    }

    fn deadline(&self) -> Option<Instant> {
        Link::deadline(self)
    }

    fn queued_bytes(&self) -> usize {
        Link::queued_bytes(self)
    }

    fn close(&mut self, code: u32, reason: &str) {
        Link::close(self, code, reason);
    }
}
