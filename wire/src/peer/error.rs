//! Why a peer cannot be spoken to.

use std::net::SocketAddr;

use quinn::{ConnectError, ConnectionError, ReadError, ReadToEndError};
use rustix::io::Errno;

use super::{MAX_QUESTION_BYTES, QUESTION_TIMEOUT, code};
use crate::identity::{IdentityError, PeerName};
use crate::link::{LinkError, describe};

/// A question was not answered, or there is no place to ask from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// One side does not accept the other's certificate. The text says which and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nobody listens there, or the network is down.
    #[error("no daemon answers at {0}: is mosixd running there, and is its UDP port open?")]
    NoAnswer(SocketAddr),
    /// The connection ended; the text says how.
    #[error("{0}")]
    Lost(String),
    /// The peer had no answer.
    #[error("{0} did not answer the question")]
    Unanswered(String),
    /// The answer took too long.
    #[error("no answer from {0} within {QUESTION_TIMEOUT:?}")]
    TimedOut(SocketAddr),
    /// The question or the answer is too long.
    #[error("a question or its answer is longer than {MAX_QUESTION_BYTES} bytes")]
    TooLong,
    /// [`close`](super::Endpoint::close) was called.
    #[error("the daemon stops")]
    Closed,
    /// An address that this socket cannot reach.
    #[error("cannot call {0}: {1}")]
    Address(SocketAddr, String),
    /// The system refused a socket operation.
    #[error("cannot {0}: {1}")]
    Socket(&'static str, Errno),
    /// Our own certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl PeerError {
    pub(super) fn socket(verb: &'static str) -> impl Fn(std::io::Error) -> PeerError {
        move |error| PeerError::Socket(verb, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Of an attempt to connect that did not begin.
    pub(super) fn connect(to: SocketAddr, error: ConnectError) -> PeerError {
        match error {
            ConnectError::EndpointStopping => PeerError::Closed,
            error => PeerError::Address(to, error.to_string()),
        }
    }

    /// Of a connection that did not come up or has ended. `peer` is None before its name is known.
    pub(super) fn connection(
        error: ConnectionError,
        address: SocketAddr,
        peer: Option<&PeerName>,
        own: &PeerName,
    ) -> PeerError {
        let text = peer.map_or_else(|| address.to_string(), |name| format!("{name} ({address})"));
        match error {
            ConnectionError::TimedOut if peer.is_none() => PeerError::NoAnswer(address),
            ConnectionError::LocallyClosed => PeerError::Closed,
            ConnectionError::ApplicationClosed(closed)
                if [code::NO_CERTIFICATE, code::REVOKED].contains(&closed.error_code) =>
            {
                let why = String::from_utf8_lossy(&closed.reason);
                let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
                PeerError::Refused(format!("{text} refused this machine: {why}"))
            }
            error => match describe(error, &text, own) {
                LinkError::Refused(text) => PeerError::Refused(text),
                other => PeerError::Lost(other.to_string()),
            },
        }
    }

    /// Of an answer.
    pub(super) fn answer(
        error: ReadToEndError,
        address: SocketAddr,
        peer: Option<&PeerName>,
        own: &PeerName,
    ) -> PeerError {
        match error {
            ReadToEndError::TooLong => PeerError::TooLong,
            ReadToEndError::Read(ReadError::Reset(why)) if why == code::TOO_LONG => PeerError::TooLong,
            ReadToEndError::Read(ReadError::ConnectionLost(error)) => {
                PeerError::connection(error, address, peer, own)
            }
            ReadToEndError::Read(_) => {
                PeerError::Unanswered(peer.map_or_else(|| address.to_string(), PeerName::to_string))
            }
        }
    }
}
