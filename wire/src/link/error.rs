//! Why a link does not come up or ends, in words that say what to do.

use std::net::SocketAddr;
use std::time::Duration;

use quinn_proto::{ConnectionError, TransportErrorCode};
use rustix::io::Errno;

use crate::frame::{FrameError, MAX_FRAME_BYTES};
use crate::identity::{IdentityError, PeerName};

/// A link could not be made, or has ended. Once one is reported for a link it is reported by every later call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// One side does not accept the other's certificate. The text says which and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nothing listens at the address, or the network says there is no way there.
    #[error("no node answers at {0} ({1}): is mosixd running there, and is its UDP port open?")]
    Unreachable(SocketAddr, Errno),
    /// No answer to the first datagrams.
    #[error("no node answered at {0}: is mosixd running there, and is its UDP port open?")]
    NoAnswer(SocketAddr),
    /// The peer fell silent: it or the network died.
    #[error("lost the link to {0}: nothing heard from it any more")]
    Lost(String),
    /// The peer closed the link.
    #[error("{peer} closed the link: {reason} (code {code})")]
    Closed {
        /// Who.
        peer: String,
        /// The `code` given to `close`.
        code: u64,
        /// The `reason` given to `close`.
        reason: String,
    },
    /// This side closed the link.
    #[error("the link was closed here")]
    ClosedHere,
    /// The peer breaks the protocol.
    #[error("{0} does not follow the protocol: {1}")]
    Protocol(String, String),
    /// The caller's frame is too long; the link goes on.
    #[error("a frame of {0} bytes cannot be sent; the most is {MAX_FRAME_BYTES}")]
    FrameTooLong(usize),
    /// The wait that was asked for is over; the link goes on.
    #[error("the link to {0} did not come up within {1:?}")]
    NotYet(SocketAddr, Duration),
    /// The system refused a socket operation.
    #[error("cannot {0}: {1}")]
    Socket(&'static str, Errno),
    /// Our own certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// TLS alerts (RFC 8446 §6.2) that mean a certificate was not accepted, and what they say of it.
const NOT_OF_CLUSTER: [u8; 4] = [42, 46, 48, 51]; // bad_certificate, certificate_unknown, unknown_ca, decrypt_error
const WRONG_ROLE: [u8; 2] = [43, 49]; // unsupported_certificate, access_denied
const REVOKED: u8 = 44; // certificate_revoked
const NOT_VALID_NOW: u8 = 45; // certificate_expired
const NO_CERTIFICATE: u8 = 116; // certificate_required

/// Which side refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Us,
    Peer,
}

/// Puts the end of a connection into words. `peer` is the name or address to show, `own` our certificate.
pub(crate) fn describe(reason: ConnectionError, peer: &str, own: &PeerName) -> LinkError {
    match reason {
        ConnectionError::TransportError(e) => refusal(e.code, By::Us, peer, own)
            .unwrap_or_else(|| LinkError::Protocol(peer.into(), e.to_string())),
        ConnectionError::ConnectionClosed(e) => refusal(e.error_code, By::Peer, peer, own)
            .unwrap_or_else(|| LinkError::Protocol(peer.into(), e.to_string())),
        ConnectionError::ApplicationClosed(e) => LinkError::Closed {
            peer: peer.into(),
            code: e.error_code.into_inner(),
            reason: printable(&e.reason),
        },
        ConnectionError::TimedOut | ConnectionError::Reset => LinkError::Lost(peer.into()),
        ConnectionError::LocallyClosed => LinkError::ClosedHere,
        other => LinkError::Protocol(peer.into(), other.to_string()),
    }
}

fn refusal(code: TransportErrorCode, by: By, peer: &str, own: &PeerName) -> Option<LinkError> {
    // RFC 9001 §4.8: a TLS alert is error 0x100 + the alert's number.
    let alert = u8::try_from(u64::from(code).checked_sub(0x100)?).ok()?;
    let cluster = &own.cluster;
    let text = match by {
        By::Us if NOT_OF_CLUSTER.contains(&alert) => format!(
            "refused {peer}: it is not of this cluster ({cluster}); to let it in, run `mosix token` where the \
             cluster was made and `mosix join` there"
        ),
        By::Peer if NOT_OF_CLUSTER.contains(&alert) => format!(
            "{peer} refused this machine: {own} of cluster {cluster} is not of its cluster; run `mosix join` here \
             with a token of that cluster"
        ),
        By::Us if WRONG_ROLE.contains(&alert) => {
            format!(
                "refused {peer}: its certificate is not one for this purpose; a node needs its node certificate"
            )
        }
        By::Peer if WRONG_ROLE.contains(&alert) => {
            format!(
                "{peer} refused this machine: {own} has not the right role; a node needs its node certificate"
            )
        }
        By::Us if alert == NOT_VALID_NOW => {
            format!("refused {peer}: its certificate is not valid now; check both clocks, or invite it again")
        }
        By::Peer if alert == NOT_VALID_NOW => {
            format!(
                "{peer} refused this machine: its certificate is not valid now; check both clocks, or join again"
            )
        }
        By::Us if alert == REVOKED => format!("refused {peer}: it was removed from cluster {cluster}"),
        By::Peer if alert == REVOKED => {
            format!("{peer} refused this machine: {own} was removed from cluster {cluster}; join it again")
        }
        By::Us if alert == NO_CERTIFICATE => {
            format!(
                "refused {peer}: it shows no certificate of this cluster ({cluster}); run `mosix join` there"
            )
        }
        _ => return None,
    };
    Some(LinkError::Refused(text))
}

/// The peer's words, safe for a terminal and a log line.
fn printable(reason: &[u8]) -> String {
    String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(200).collect()
}

impl LinkError {
    pub(super) fn protocol(peer: &str, error: FrameError) -> LinkError {
        LinkError::Protocol(peer.into(), error.to_string())
    }

    pub(super) fn socket(verb: &'static str) -> impl Fn(std::io::Error) -> LinkError {
        move |error| LinkError::Socket(verb, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
