//! Speaking to peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::{ReadToEndError, WriteError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::config::HANDSHAKE_TIMEOUT;
use super::table::{Outcome, Peer};
use super::{MAX_QUESTION_BYTES, PeerError, Shared, attend, canonical};
use crate::identity::PeerName;

/// Not sent (no SNI) and not checked: the certificate says who it is.
pub(super) const SERVER_NAME: &str = "node.mosix.internal";

impl Shared {
    pub(super) fn send(self: &Arc<Self>, to: SocketAddr, payload: Bytes) {
        let mut table = self.table();
        if let Some(peer) = table.current(to, Instant::now()) {
            drop(table);
            return say(&peer, payload);
        }
        if let Some((_, Some(tell))) = table.open(to, Some(payload)) {
            drop(table);
            self.runtime.spawn(call(self.clone(), to, tell));
        }
    }

    pub(super) async fn ask(
        self: &Arc<Self>,
        to: SocketAddr,
        question: Bytes,
    ) -> Result<(PeerName, Bytes), PeerError> {
        let peer = self.reach(to).await?;
        let lost = |error| PeerError::connection(error, to, Some(&peer.name), &self.own);
        let (mut asking, mut answering) = peer.connection.open_bi().await.map_err(lost)?;
        match asking.write_chunk(question).await {
            Ok(()) => drop(asking.finish()),
            // What comes back says why.
            Err(WriteError::Stopped(_)) => {}
            Err(WriteError::ConnectionLost(error)) => return Err(lost(error)),
            Err(error) => return Err(PeerError::Lost(error.to_string())),
        }
        let failed = |error: ReadToEndError| PeerError::answer(error, to, Some(&peer.name), &self.own);
        let answer = answering.read_to_end(MAX_QUESTION_BYTES).await.map_err(failed)?;
        Ok((peer.name.clone(), answer.into()))
    }

    /// A connection with a peer, an old one or a new one.
    async fn reach(self: &Arc<Self>, to: SocketAddr) -> Result<Arc<Peer>, PeerError> {
        let mut outcome = {
            let mut table = self.table();
            if let Some(peer) = table.current(to, Instant::now()) {
                return Ok(peer);
            }
            let (outcome, tell) = table.open(to, None).ok_or(PeerError::NoAnswer(to))?;
            if let Some(tell) = tell {
                self.runtime.spawn(call(self.clone(), to, tell));
            }
            outcome
        };
        let known = outcome.wait_for(Option::is_some).await.map_err(|_| PeerError::Closed)?;
        known.clone().unwrap_or(Err(PeerError::Closed))
    }

    async fn connect(self: &Arc<Self>, to: SocketAddr) -> Result<Arc<Peer>, PeerError> {
        let connecting = self
            .quic
            .connect_with(self.calls.clone(), to, SERVER_NAME)
            .map_err(|error| PeerError::connect(to, error))?;
        let connection = timeout(HANDSHAKE_TIMEOUT, connecting)
            .await
            .map_err(|_| PeerError::NoAnswer(to))?
            .map_err(|error| PeerError::connection(error, to, None, &self.own))?;
        debug_assert_eq!(canonical(connection.remote_address()), to);
        attend::admit(self, connection, to)
    }
}

/// Makes a call, and tells those who wait for it.
async fn call(shared: Arc<Shared>, to: SocketAddr, tell: watch::Sender<Outcome>) {
    let result = shared.connect(to).await;
    let waiting = shared.table().opened(to);
    match &result {
        Ok(peer) => waiting.into_iter().for_each(|payload| say(peer, payload)),
        Err(PeerError::Refused(why)) => shared.refuse(to, why.clone()),
        Err(_) => {}
    }
    // Only datagrams may have waited.
    let _ = tell.send(Some(result));
}

fn say(peer: &Peer, payload: Bytes) {
    // The connection is ending, or its path does not carry datagrams of this size: lost, as datagrams are.
    let _ = peer.connection.send_datagram(payload);
}
