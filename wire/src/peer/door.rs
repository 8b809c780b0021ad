//! Callers, until it is known who they are. A caller that shows nothing costs a bounded number of handshakes at a time,
//! each of bounded size and time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::Incoming;
use quinn::crypto::rustls::HandshakeData;
use tokio::time::timeout;

use super::config::HANDSHAKE_TIMEOUT;
use super::{PeerError, Shared, attend, canonical, enrol};
use crate::identity::{JOIN_ALPN, PEER_ALPN};

/// Handshakes at once; what comes beyond is not heard, and asks again.
pub(super) const MAX_STARTING: usize = 256;

/// The same for one address, so that one host cannot take them all.
const MAX_STARTING_PER_HOST: usize = 32;

/// With so many under way a caller must first show that it is where it says (Retry, RFC 9000 §8.1.2), so that forged
/// addresses take no place.
const BUSY: usize = 64;

/// What a caller may send before its handshake is taken up: a ClientHello takes two datagrams at most.
pub(super) const INCOMING_BUFFER_BYTES: u64 = 4 << 10;

/// Handshakes under way by host.
#[derive(Default)]
struct Door(Mutex<HashMap<IpAddr, usize>>);

/// A place among them.
struct Place {
    door: Arc<Door>,
    host: IpAddr,
}

impl Door {
    /// A place, if there is one, and whether many are taken.
    fn enter(self: &Arc<Self>, host: IpAddr) -> Option<(Place, bool)> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = hosts.values().sum();
        if all >= MAX_STARTING || hosts.get(&host).is_some_and(|own| *own >= MAX_STARTING_PER_HOST) {
            return None;
        }
        *hosts.entry(host).or_default() += 1;
        Some((Place { door: self.clone(), host }, all >= BUSY))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.door.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = hosts.get_mut(&self.host).map_or(0, |own| {
            *own -= 1;
            *own
        });
        if left == 0 {
            hosts.remove(&self.host);
        }
    }
}

/// Receives callers until the endpoint is closed, and ends connections of those whose certificates are revoked.
pub(super) async fn keep(shared: Arc<Shared>) {
    let door = Arc::<Door>::default();
    let mut revoked = shared.revoked.subscribe();
    loop {
        let incoming = tokio::select! {
            incoming = shared.quic.accept() => incoming,
            // The set lives as long as this endpoint.
            _ = revoked.changed() => {
                shared.drop_revoked();
                continue;
            }
        };
        let Some(incoming) = incoming else { return };
        match door.enter(incoming.remote_address().ip().to_canonical()) {
            None => incoming.ignore(),
            Some((_, true)) if incoming.may_retry() && !incoming.remote_address_validated() => {
                // It fails only for a caller that has been asked already.
                let _ = incoming.retry();
            }
            Some((place, _)) => {
                shared.runtime.spawn(receive(shared.clone(), incoming, place));
            }
        }
    }
}

async fn receive(shared: Arc<Shared>, incoming: Incoming, place: Place) {
    let address = canonical(incoming.remote_address());
    let Ok(connecting) = incoming.accept() else { return };
    let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if let PeerError::Refused(why) = PeerError::connection(error, address, None, &shared.own) {
                shared.refuse(address, why);
            }
            return;
        }
        Err(_) => return,
    };
    let data = connection.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok());
    match data.and_then(|data| data.protocol).as_deref() {
        Some(JOIN_ALPN) => enrol::receive(&shared, &connection, address).await,
        Some(PEER_ALPN) => {
            if let Err(PeerError::Refused(why)) = attend::admit(&shared, connection, address) {
                shared.refuse(address, why);
            }
        }
        // The handshake has ended by no_application_protocol (RFC 9001 §8.1).
        _ => {}
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::{Identity, Revoked, no_client_certificate, peer_client_tls};
    use crate::peer::{Endpoint, Event, PeerError, config};

    #[test]
    fn places_are_bounded_by_host_and_in_all_and_are_given_back() {
        let door = Arc::<Door>::default();
        let host = |n: usize| IpAddr::from([10, 0, 0, n as u8]);
        let mut places: Vec<Place> = Vec::new();
        places.extend((0..MAX_STARTING_PER_HOST).filter_map(|_| door.enter(host(0))).map(|(place, _)| place));
        assert_eq!(places.len(), MAX_STARTING_PER_HOST);
        assert!(door.enter(host(0)).is_none());
        let hosts = 1..=MAX_STARTING / MAX_STARTING_PER_HOST;
        let more = hosts.flat_map(|n| std::iter::repeat_n(n, MAX_STARTING_PER_HOST));
        places.extend(more.filter_map(|n| door.enter(host(n))).map(|(place, _)| place));
        assert_eq!(places.len(), MAX_STARTING);
        assert!(door.enter(host(99)).is_none());
        places.truncate(BUSY + 1);
        assert!(door.enter(host(99)).is_some_and(|(_, busy)| busy));
        places.clear();
        assert!(door.enter(host(0)).is_some_and(|(_, busy)| !busy));
        assert!(door.0.lock().unwrap().is_empty());
    }

    /// What [`Endpoint`] never does, but another program might.
    #[tokio::test]
    async fn a_peer_without_a_certificate_is_sent_away() {
        let (_, identity) = Identity::ephemeral_pair().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let (a, mut events) = Endpoint::bind(any, &identity, Revoked::default()).unwrap();
        let mut tls = peer_client_tls(&identity, Revoked::default()).unwrap();
        tls.client_auth_cert_resolver = no_client_certificate();
        let stranger = quinn::Endpoint::client(any).unwrap();
        let to = a.local_addr().unwrap();
        let calls = config::client(tls).unwrap();
        let connection = stranger.connect_with(calls, to, "node.mosix.internal").unwrap().await.unwrap();
        let (mut asking, _answering) = connection.open_bi().await.unwrap();
        let _ = asking.write_all(b"let me in").await;
        let ended = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await.unwrap();
        let ended = PeerError::connection(ended, to, None, identity.name());
        assert!(matches!(&ended, PeerError::Refused(why) if why.contains("shows no certificate")), "{ended}");
        match events.recv().await {
            Some(Event::Refused { why, .. }) => assert!(why.contains("mosix join"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
