//! The interface that the home and node sessions are written against, so that the same code runs over
//! [`Link`](crate::Link) and in seeded simulation over [`memory`](crate::memory).

use std::time::Instant;

use bytes::Bytes;

use crate::link::LinkError;

/// A logical channel of a link: frames keep their order within a channel, and a lost packet of one channel
/// does not delay another.
///
/// The numbers are chosen by the parties. A number must not be used again on the same link after either side
/// finished it, because a fresh stream may overtake the end of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub u64);

impl Channel {
    /// The channel that exists without agreement: hello, moves, farewell.
    pub const CONTROL: Channel = Channel(0);
}

/// A connection that carries whole frames on ordered channels.
pub trait Transport {
    /// Queues one frame, at most [`MAX_FRAME_BYTES`](crate::frame::MAX_FRAME_BYTES); what the peer has room
    /// for leaves at once.
    fn send(&mut self, channel: Channel, frame: Bytes) -> Result<(), LinkError>;

    /// Says that nothing more is sent on the channel. When the peer has read that, its side ends too.
    fn finish(&mut self, channel: Channel);

    /// The next whole frame, if one is here. Frames that arrived before a failure are still handed out.
    fn recv(&mut self) -> Option<(Channel, Bytes)>;

    /// Takes in what has arrived, runs timers, sends what is due.
    fn drive(&mut self, now: Instant) -> Result<(), LinkError>;

    /// When `drive` must be called even if nothing arrives.
    fn deadline(&self) -> Option<Instant>;

    /// Bytes accepted by `send` that the peer has no room for yet. A bulk sender stops above a bound of its
    /// choice and goes on when it falls.
    fn queued_bytes(&self) -> usize;

    /// Ends the connection; the peer's `drive` reports [`LinkError::Closed`] with these values. Frames that
    /// the peer has not acknowledged may be lost: say farewell in a message first.
    fn close(&mut self, code: u32, reason: &str);
}
