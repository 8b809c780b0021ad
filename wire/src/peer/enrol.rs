//! A machine that is of no cluster yet asks a daemon to let it in: one question, without a certificate.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, VarInt};
use tokio::time::timeout;

use super::call::SERVER_NAME;
use super::config::HANDSHAKE_TIMEOUT;
use super::{Answer, Event, PeerError, Shared, canonical, code, config};
use crate::identity::{PeerName, join_tls};

/// Longest request or response: a few certificates.
pub const MAX_ENROL_BYTES: usize = 32 << 10;

/// Enrolments at once.
pub(super) const MAX_ENROLMENTS: usize = 16;

/// From the handshake to the answer's arrival.
const ENROL_TIMEOUT: Duration = Duration::from_secs(10);

/// Hears one request and answers it.
pub(super) async fn receive(shared: &Shared, connection: &Connection, address: SocketAddr) {
    let Ok(_place) = shared.enrolments.try_acquire() else {
        return connection.close(code::TOO_MANY, b"too many machines are joining; try again");
    };
    let work = async {
        let (mut answering, mut asking) = connection.accept_bi().await.ok()?;
        let request = asking.read_to_end(MAX_ENROL_BYTES).await.ok()?.into();
        let (answer, answered) = Answer::new();
        shared.events.try_send(Event::Enrol { address, request, answer }).ok()?;
        answering.write_chunk(answered.await.ok()?).await.ok()?;
        answering.finish().ok()?;
        // The asker closes when it has the answer; a close from here could overtake it.
        connection.closed().await;
        Some(())
    };
    if timeout(ENROL_TIMEOUT, work).await.ok().flatten().is_none() {
        connection.close(code::NO_ANSWER, b"the request was not answered");
    }
}

/// Asks the daemons at `addresses` in turn, until one is there, to let this machine in. Its certificate must come from the
/// CA whose certificate has this SHA-256: the request is shown to nobody else. Runs in any tokio runtime.
pub async fn enrol(
    addresses: &[SocketAddr],
    ca_sha256: [u8; 32],
    request: Bytes,
) -> Result<Bytes, PeerError> {
    let mut failed = PeerError::Lost("no daemon is named that could let this machine in".into());
    for address in addresses {
        match timeout(ENROL_TIMEOUT, enrol_at(canonical(*address), ca_sha256, request.clone())).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = PeerError::NoAnswer(*address),
        }
    }
    Err(failed)
}

async fn enrol_at(to: SocketAddr, ca_sha256: [u8; 32], request: Bytes) -> Result<Bytes, PeerError> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(PeerError::socket("open a UDP socket"))?;
    let connecting = endpoint
        .connect_with(config::client(join_tls(ca_sha256)?)?, to, SERVER_NAME)
        .map_err(|error| PeerError::connect(to, error))?;
    // Only for words: this machine has no name yet.
    let own = PeerName::of_node("the token", "this machine");
    let lost = |error| match PeerError::connection(error, to, None, &own) {
        PeerError::Refused(_) => PeerError::Refused(format!(
            "the daemon at {to} is not of the cluster that the token is for; nothing was sent to it"
        )),
        other => other,
    };
    let connection =
        timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| PeerError::NoAnswer(to))?.map_err(lost)?;
    let (mut asking, mut answering) = connection.open_bi().await.map_err(lost)?;
    asking.write_chunk(request).await.map_err(|error| PeerError::Lost(error.to_string()))?;
    // It was not finished before.
    let _ = asking.finish();
    let response = answering
        .read_to_end(MAX_ENROL_BYTES)
        .await
        .map_err(|error| PeerError::answer(error, to, None, &own))?;
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    Ok(response.into())
}
