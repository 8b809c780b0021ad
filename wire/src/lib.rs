//! How a home and a node talk: messages, the QUIC link that carries them, and who may speak.
//!
//! | module | holds |
//! | --- | --- |
//! | [`message`] | what is said, and its encoding |
//! | [`transport`] | the interface that sessions are written against |
//! | [`link`] | the real thing: QUIC over UDP, driven by the caller's own poll loop |
//! | [`peer`] | what node daemons say to each other: QUIC on tokio |
//! | [`memory`] | the same interface in memory with seeded delay and loss, for simulation |
//! | [`identity`] | cluster CA, certificates, and what a peer's certificate must say |
//! | [`local`] | what a node daemon and the programs of its own machine say |
//! | [`frame`] | how whole frames travel on a byte stream |
//! | [`utc`] | dates for people |
#![forbid(unsafe_code)]

pub mod frame;
pub mod identity;
pub mod link;
pub mod local;
pub mod memory;
pub mod message;
pub mod peer;
pub mod session;
pub mod trace;
pub mod transport;
pub mod utc;

pub use bytes::Bytes;
pub use identity::{Identity, IdentityError, PeerName, Revoked, Role};
pub use link::{HANDSHAKE_TIMEOUT, Incoming, Link, LinkError, Listener};
pub use transport::{Channel, Transport};
