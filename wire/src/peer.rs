//! What node daemons say to each other: datagrams, and questions with an answer, over QUIC on tokio (quinn).
//!
//! Each daemon has one UDP socket, from which it calls and at which it is called, so that the address a peer's words come
//! from is the one where it is reached. A connection is made when there is something to say and kept while it is used;
//! either side's serves both. If two daemons call each other at once, both connections live, each says things on the one it
//! has seen last, and one falls idle.
//!
//! Who speaks is known from its certificate (mutual TLS 1.3): a node of this cluster that is not [`Revoked`], else the
//! handshake fails. A machine without a certificate may do one thing, [`Event::Enrol`], by an ALPN of its own
//! ([`enrol`]). Replay is QUIC's business (RFC 9001 §9.2; 0-RTT is never used).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::identity::{Identity, PeerName, Revoked, peer_client_tls, peer_server_tls};

pub use self::enrol::{MAX_ENROL_BYTES, enrol};
pub use self::error::PeerError;
use self::table::{Peer, Table};

mod attend;
mod call;
mod config;
mod door;
mod enrol;
mod error;
mod table;

/// Longest datagram: that of the cluster's core, which any path that carries QUIC carries (RFC 9000 §14).
pub const MAX_DATAGRAM_BYTES: usize = 1_100;

/// Longest question or answer.
pub const MAX_QUESTION_BYTES: usize = 1 << 20;

/// How long a question may take in all, with the connection that it may need first.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions of all peers that may be read or answered at once, each of at most [`MAX_QUESTION_BYTES`].
const MAX_QUESTIONS: usize = 64;

/// Events that wait for the daemon. Datagrams beyond are lost, questions wait.
const MAX_EVENTS: usize = 1_024;

/// A host is said to be refused once in this time.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);

/// Hosts that are remembered for it.
const MAX_REFUSED_HOSTS: usize = 256;

/// Why a connection is closed.
mod code {
    use quinn::VarInt;

    pub(super) const BYE: VarInt = VarInt::from_u32(0);
    pub(super) const NO_CERTIFICATE: VarInt = VarInt::from_u32(1);
    pub(super) const REVOKED: VarInt = VarInt::from_u32(2);
    pub(super) const TOO_MANY: VarInt = VarInt::from_u32(3);
    /// Of a stream: its question or answer is longer than [`super::MAX_QUESTION_BYTES`].
    pub(super) const TOO_LONG: VarInt = VarInt::from_u32(4);
    /// Of a stream: the question was not answered.
    pub(super) const NO_ANSWER: VarInt = VarInt::from_u32(5);
}

/// What comes to an [`Endpoint`], in the order of each peer's words, except that datagrams may be lost.
pub type Events = mpsc::Receiver<Event>;

/// What another daemon said, or a stranger.
#[derive(Debug)]
pub enum Event {
    /// A datagram of at most [`MAX_DATAGRAM_BYTES`].
    Datagram {
        /// Its certificate's name.
        from: PeerName,
        /// Where it is reached.
        address: SocketAddr,
        /// What it said.
        payload: Bytes,
    },
    /// A question of at most [`MAX_QUESTION_BYTES`].
    Question {
        /// Its certificate's name.
        from: PeerName,
        /// Where it is reached.
        address: SocketAddr,
        /// What it asks.
        question: Bytes,
        /// To answer with.
        answer: Answer,
    },
    /// A machine that has shown no certificate asks to be let in.
    Enrol {
        /// Where it is.
        address: SocketAddr,
        /// At most [`MAX_ENROL_BYTES`].
        request: Bytes,
        /// To answer with.
        answer: Answer,
    },
    /// A peer was refused, or refused us; for the log. Said once in ten seconds of a host.
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// In words that say what to do.
        why: String,
    },
}

/// The place for an answer. Dropped, it tells the asker that there is none.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<Bytes>);

impl Answer {
    fn new() -> (Answer, oneshot::Receiver<Bytes>) {
        let (answer, answered) = oneshot::channel();
        (Answer(answer), answered)
    }

    /// Answers. One longer than [`MAX_QUESTION_BYTES`] is not sent, and the asker is told so; one that comes after
    /// [`QUESTION_TIMEOUT`] reaches nobody.
    pub fn send(self, answer: Bytes) {
        // Nobody waits any more.
        let _ = self.0.send(answer);
    }
}

/// A daemon's place among its peers. Clones are the same place; it is there until [`close`](Self::close).
#[derive(Clone)]
pub struct Endpoint(Arc<Shared>);

/// Without what is in it.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("own", &self.0.own).finish_non_exhaustive()
    }
}

struct Shared {
    quic: quinn::Endpoint,
    calls: quinn::ClientConfig,
    own: PeerName,
    revoked: Revoked,
    table: Mutex<Table>,
    events: mpsc::Sender<Event>,
    questions: Semaphore,
    enrolments: Semaphore,
    /// When a host was last said to be refused.
    refusals: Mutex<HashMap<IpAddr, Instant>>,
    runtime: Handle,
}

impl Endpoint {
    /// Listens at an address, which should name a port. To be called within a tokio runtime, in which it then lives.
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        revoked: Revoked,
    ) -> Result<(Endpoint, Events), PeerError> {
        let socket =
            std::net::UdpSocket::bind(address).map_err(PeerError::socket("bind a UDP port for daemons"))?;
        let server = config::server(peer_server_tls(identity, revoked.clone())?)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let quic = quinn::Endpoint::new(config::endpoint(identity), Some(server), socket, runtime)
            .map_err(PeerError::socket("set up a UDP socket"))?;
        let (events, received) = mpsc::channel(MAX_EVENTS);
        let shared = Arc::new(Shared {
            quic,
            calls: config::client(peer_client_tls(identity, revoked.clone())?)?,
            own: identity.name().clone(),
            revoked,
            table: Mutex::default(),
            events,
            questions: Semaphore::new(MAX_QUESTIONS),
            enrolments: Semaphore::new(enrol::MAX_ENROLMENTS),
            refusals: Mutex::default(),
            runtime: Handle::current(),
        });
        shared.runtime.spawn(door::keep(shared.clone()));
        Ok((Endpoint(shared), received))
    }

    /// The address, with the port that the kernel chose if 0 was asked for.
    pub fn local_addr(&self) -> Result<SocketAddr, PeerError> {
        self.0.quic.local_addr().map_err(PeerError::socket("read the address of a UDP socket"))
    }

    /// Sends a datagram, and connects first where that is needed. It may be lost, and one longer than
    /// [`MAX_DATAGRAM_BYTES`] always is.
    pub fn send(&self, to: SocketAddr, payload: Bytes) {
        debug_assert!(payload.len() <= MAX_DATAGRAM_BYTES, "{} bytes", payload.len());
        if payload.len() <= MAX_DATAGRAM_BYTES {
            self.0.send(canonical(to), payload);
        }
    }

    /// Asks a question, and connects first where that is needed. The name is the answerer's, from its certificate. An
    /// error does not say that the question was not heard.
    pub async fn ask(&self, to: SocketAddr, question: Bytes) -> Result<(PeerName, Bytes), PeerError> {
        if question.len() > MAX_QUESTION_BYTES {
            return Err(PeerError::TooLong);
        }
        let to = canonical(to);
        let asked = tokio::time::timeout(QUESTION_TIMEOUT, self.0.ask(to, question));
        asked.await.unwrap_or(Err(PeerError::TimedOut(to)))
    }

    /// Smoothed round-trip time (RFC 9002 §5.3) to a peer that we are connected with.
    pub fn rtt(&self, to: SocketAddr) -> Option<Duration> {
        let peer = self.0.table().current(canonical(to), Instant::now())?;
        Some(peer.connection.rtt())
    }

    /// Says goodbye to all peers; nothing is sent or heard any more.
    pub fn close(&self) {
        self.0.quic.close(code::BYE, b"the daemon stops");
    }

    /// Returns when the goodbyes are out and heard, or given up.
    pub async fn idle(&self) {
        self.0.quic.wait_idle().await;
    }
}

impl Shared {
    /// Held for a few instructions, never across an await.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends connections with those who are no longer trusted.
    fn drop_revoked(&self) {
        for peer in self.table().all() {
            self.drop_if_revoked(&peer);
        }
    }

    fn drop_if_revoked(&self, peer: &Peer) {
        if self.revoked.has_any(&peer.keys) {
            self.refuse(
                peer.address,
                format!("refused {} ({}): it was removed from the cluster", peer.name, peer.address),
            );
            peer.connection.close(code::REVOKED, b"it was removed from the cluster");
        }
    }

    /// For the log, if that host has not just been there.
    fn refuse(&self, address: SocketAddr, why: String) {
        let now = Instant::now();
        let recent = |since: &Instant| now.saturating_duration_since(*since) < REFUSAL_INTERVAL;
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_REFUSED_HOSTS {
            refusals.retain(|_, since| recent(since));
        }
        if refusals.get(&address.ip()).is_some_and(recent) || refusals.len() >= MAX_REFUSED_HOSTS {
            return;
        }
        refusals.insert(address.ip(), now);
        // A daemon that is behind by a thousand events has other worries than this line.
        let _ = self.events.try_send(Event::Refused { address, why });
    }
}

/// IPv4 peers of an IPv6 socket have mapped addresses (ipv6(7)); everybody else writes them as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
