//! The parameters of QUIC between daemons.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use crate::identity::{Identity, IdentityError};

use super::door;

/// A handshake takes 1 ms and one round trip; this leaves room for some retransmissions within a question's time.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection on which nothing is said for this long is closed, and so is one whose peer is silent: long enough that
/// those of a small cluster stay, since each node calls some member every half second; short enough that what is
/// said into the void after a peer's death is soon said to its successor.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Questions that one peer may have open.
pub(super) const MAX_QUESTIONS_OF_PEER: u32 = 32;

/// What one stream may have under way. Questions are read as they come, so this bounds speed and not length.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// What all of a connection's may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Datagrams that wait, in either direction; the oldest are lost.
const DATAGRAM_BUFFER_BYTES: usize = 64 << 10;

/// Assumed until measured; sets the first retransmission of the handshake to 150 ms.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// The same across restarts of one daemon: so a daemon that was killed and is back tells those who still talk to its
/// predecessor so (stateless reset, RFC 9000 §10.3), and they connect again rather than wait for the idle timer.
pub(super) fn endpoint(identity: &Identity) -> EndpointConfig {
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.derive("quic stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    let [a, b, c, d, e, f, g, h, ..] = identity.derive("quic connection ids");
    let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    config
}

/// A caller may open one stream before it is known; a peer more after ([`MAX_QUESTIONS_OF_PEER`]).
fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .initial_rtt(INITIAL_RTT)
        .allow_spin(false);
    Arc::new(config)
}

pub(super) fn client(tls: rustls::ClientConfig) -> Result<ClientConfig, IdentityError> {
    let tls = QuicClientConfig::try_from(tls).map_err(IdentityError::crypto)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    Ok(config)
}

/// Addresses do not change under way: a peer that moves connects again.
pub(super) fn server(tls: rustls::ServerConfig) -> Result<ServerConfig, IdentityError> {
    let tls = QuicServerConfig::try_from(tls).map_err(IdentityError::crypto)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(transport())
        .migration(false)
        .max_incoming(door::MAX_STARTING)
        .incoming_buffer_size(door::INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(door::INCOMING_BUFFER_BYTES * door::MAX_STARTING as u64);
    Ok(config)
}
