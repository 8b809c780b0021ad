//! A machine that is of no cluster yet asks a daemon to let it in: one question, without a certificate.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError};
use tokio::task::JoinSet;
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

/// Calls the daemons at `addresses`, all at once since some may be out of reach, and asks the first that is there to let this
/// machine in; the next if it fails. Its certificate must come from the CA whose certificate has this SHA-256: the request is
/// shown to nobody else. Runs in any tokio runtime.
pub async fn enrol(
    addresses: &[SocketAddr],
    ca_sha256: [u8; 32],
    request: Bytes,
) -> Result<Bytes, PeerError> {
    let calls = config::client(join_tls(ca_sha256)?)?;
    let mut calling = JoinSet::new();
    for address in addresses {
        calling.spawn(Asking::call(canonical(*address), calls.clone()));
    }
    let mut failed = PeerError::Lost("no daemon is named that could let this machine in".into());
    while let Some(called) = calling.join_next().await {
        // None of them panics or is cancelled.
        let Ok(called) = called else { continue };
        let answered = match called {
            Ok(asking) => {
                let to = asking.to;
                timeout(ENROL_TIMEOUT, asking.ask(request.clone()))
                    .await
                    .unwrap_or(Err(PeerError::TimedOut(to)))
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(response) => return Ok(response),
            // Says more than that another did not answer.
            Err(error) if !matches!(failed, PeerError::Refused(_)) => failed = error,
            Err(_) => {}
        }
    }
    Err(failed)
}

/// A connection with a daemon of the right cluster.
struct Asking {
    to: SocketAddr,
    endpoint: quinn::Endpoint,
    connection: Connection,
}

impl Asking {
    async fn call(to: SocketAddr, calls: quinn::ClientConfig) -> Result<Asking, PeerError> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = quinn::Endpoint::client(any).map_err(PeerError::socket("open a UDP socket"))?;
        let connecting =
            endpoint.connect_with(calls, to, SERVER_NAME).map_err(|error| PeerError::connect(to, error))?;
        let connected = timeout(HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| PeerError::NoAnswer(to))?;
        Ok(Asking { to, endpoint, connection: connected.map_err(|error| lost(to, error))? })
    }

    async fn ask(self, request: Bytes) -> Result<Bytes, PeerError> {
        let Asking { to, endpoint, connection } = self;
        let (mut asking, mut answering) = connection.open_bi().await.map_err(|error| lost(to, error))?;
        asking.write_chunk(request).await.map_err(|error| PeerError::Lost(error.to_string()))?;
        // It was not finished before.
        let _ = asking.finish();
        let response = answering
            .read_to_end(MAX_ENROL_BYTES)
            .await
            .map_err(|error| PeerError::answer(error, to, None, &nobody()))?;
        connection.close(code::BYE, b"");
        endpoint.wait_idle().await;
        Ok(response.into())
    }
}

/// For words: this machine has no name yet.
fn nobody() -> PeerName {
    PeerName::of_node("the token", "this machine")
}

fn lost(to: SocketAddr, error: ConnectionError) -> PeerError {
    match PeerError::connection(error, to, None, &nobody()) {
        PeerError::Refused(_) => PeerError::Refused(format!(
            "the daemon at {to} is not of the cluster that the token is for; nothing was sent to it"
        )),
        other => other,
    }
}
