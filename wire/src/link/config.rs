//! The parameters of the QUIC connection. FIGURES has the measurements behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::CubicConfig;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

use super::LinkError;
use crate::identity::{Identity, IdentityError, server_tls};

/// A side that has nothing to say says so this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A link on which nothing arrives for this long is lost. The timer restarts at the first keep-alive after the
/// last datagram (RFC 9000 §10.1), so that a death is reported after at most 2 + 7 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(7);

/// A handshake takes 1 ms and one round trip; this leaves room for five retransmissions.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Streams that the peer may have open at once: a channel takes one, and a guest's thread a channel. What the
/// peer opens beyond waits in its queue.
pub(super) const MAX_STREAMS: u32 = 16_384;

/// So many it may have open at first, and twice as many as soon as half of them are. quinn-proto sets a place aside for
/// each that may be: for all of [`MAX_STREAMS`] that took 4 ms of every connection's start.
pub(super) const FIRST_STREAMS: u32 = 64;

/// What one channel may have under way: 16 MiB is 10 Gbit/s over 13 ms.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// What all channels together may have under way: one that is full leaves room for the others.
const CONNECTION_WINDOW_BYTES: u32 = 48 << 20;

/// Unacknowledged bytes that we hold for retransmission, above the peer's window so that only that one counts.
const SEND_WINDOW_BYTES: u64 = 64 << 20;

/// First congestion window. Cluster networks are short and wide; the standard's 14 kB (RFC 9002 §7.2) would
/// cost a small image several round trips.
const INITIAL_CONGESTION_WINDOW_BYTES: u64 = 256 << 10;

/// Jumbo frames of 9,000 bytes less IPv6 and UDP headers. Path MTU discovery climbs from 1,200 to what fits.
const LARGEST_MTU_BYTES: u16 = 8_952;

/// Assumed until measured; sets the first retransmission of the handshake to 150 ms.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// A loopback or local peer takes the largest MTU from the start; others are discovered.
fn transport(peer: SocketAddr) -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_MTU_BYTES);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_CONGESTION_WINDOW_BYTES);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(FIRST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(congestion))
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    if peer.ip().to_canonical().is_loopback() {
        config.initial_mtu(LARGEST_MTU_BYTES);
    }
    Arc::new(config)
}

pub(super) fn endpoint() -> Result<Arc<EndpointConfig>, LinkError> {
    let mut config = EndpointConfig::default();
    // What the peer's discovery may climb to.
    config.max_udp_payload_size(LARGEST_MTU_BYTES).map_err(IdentityError::crypto)?;
    Ok(Arc::new(config))
}

pub(super) fn client(tls: rustls::ClientConfig, peer: SocketAddr) -> Result<ClientConfig, LinkError> {
    let tls = QuicClientConfig::try_from(tls).map_err(IdentityError::crypto)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(peer));
    Ok(config)
}

pub(super) fn server(identity: &Identity, peer: SocketAddr) -> Result<ServerConfig, LinkError> {
    let tls = QuicServerConfig::try_from(server_tls(identity)?).map_err(IdentityError::crypto)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport(peer)).migration(false).max_incoming(1);
    Ok(config)
}
