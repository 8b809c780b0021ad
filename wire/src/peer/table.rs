//! Connections by address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::Connection;
use tokio::sync::watch;

use super::PeerError;
use crate::identity::{KeyId, PeerName};

/// Connections that are kept; the one used longest ago makes room. A connection takes some tens of KiB, and what is
/// said to a peer beyond costs a handshake.
const MAX_CONNECTIONS: usize = 512;

/// Peers that are being called at once; datagrams to others are lost meanwhile.
const MAX_OPENING: usize = 128;

/// Datagrams that wait for a connection.
const MAX_WAITING: usize = 8;

/// A connection whose other end is known.
pub(super) struct Peer {
    pub(super) connection: Connection,
    pub(super) name: PeerName,
    pub(super) keys: Vec<KeyId>,
    pub(super) address: SocketAddr,
}

/// What becomes of a call; None while it is not known.
pub(super) type Outcome = Option<Result<Arc<Peer>, PeerError>>;

/// A call that is not answered yet.
struct Opening {
    waiting: Vec<Bytes>,
    outcome: watch::Receiver<Outcome>,
}

struct Live {
    peer: Arc<Peer>,
    used: Instant,
}

#[derive(Default)]
pub(super) struct Table {
    /// By quinn's number for it, which is its own as long as it is kept here.
    live: HashMap<usize, Live>,
    /// The connection on which we speak to an address: the latest.
    current: HashMap<SocketAddr, usize>,
    opening: HashMap<SocketAddr, Opening>,
}

impl Table {
    /// The connection to speak on.
    pub(super) fn current(&mut self, to: SocketAddr, now: Instant) -> Option<Arc<Peer>> {
        let live = self.live.get_mut(self.current.get(&to)?)?;
        live.used = now;
        live.peer.connection.close_reason().is_none().then(|| live.peer.clone())
    }

    /// Takes a connection in; returns one that has to go, if there are too many.
    pub(super) fn add(&mut self, peer: Arc<Peer>, now: Instant) -> Option<Arc<Peer>> {
        let id = peer.connection.stable_id();
        self.current.insert(peer.address, id);
        self.live.insert(id, Live { peer, used: now });
        if self.live.len() <= MAX_CONNECTIONS {
            return None;
        }
        let oldest = self.live.values().filter(|live| live.peer.connection.stable_id() != id);
        oldest.min_by_key(|live| live.used).map(|live| live.peer.clone())
    }

    /// Forgets a connection that has ended. Another with the same address takes its place, if there is one.
    pub(super) fn remove(&mut self, peer: &Peer) {
        let id = peer.connection.stable_id();
        self.live.remove(&id);
        if self.current.get(&peer.address) != Some(&id) {
            return;
        }
        let other = self.live.values().filter(|live| live.peer.address == peer.address);
        match other.max_by_key(|live| live.used) {
            Some(other) => self.current.insert(peer.address, other.peer.connection.stable_id()),
            None => self.current.remove(&peer.address),
        };
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.live.values().map(|live| live.peer.clone()).collect()
    }

    /// Joins the call that is under way, or begins one: then the sender is returned, for whoever makes it. None if there
    /// are too many.
    pub(super) fn open(
        &mut self,
        to: SocketAddr,
        payload: Option<Bytes>,
    ) -> Option<(watch::Receiver<Outcome>, Option<watch::Sender<Outcome>>)> {
        if let Some(opening) = self.opening.get_mut(&to) {
            if opening.waiting.len() < MAX_WAITING {
                opening.waiting.extend(payload);
            }
            return Some((opening.outcome.clone(), None));
        }
        if self.opening.len() >= MAX_OPENING {
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        self.opening.insert(to, Opening { waiting: payload.into_iter().collect(), outcome: outcome.clone() });
        Some((outcome, Some(tell)))
    }

    /// A call has ended; returns the datagrams that waited for it.
    pub(super) fn opened(&mut self, to: SocketAddr) -> Vec<Bytes> {
        self.opening.remove(&to).map(|opening| opening.waiting).unwrap_or_default()
    }
}
