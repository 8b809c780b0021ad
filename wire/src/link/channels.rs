//! Channels on QUIC streams.
//!
//! The side that first sends on a channel opens a bidirectional stream and begins it with the channel's
//! number; the peer answers on the same stream. If both open one at the same time, each sends on its own and
//! reads both, so that the frames of one direction are always on one stream.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use quinn_proto::{Connection, Dir, StreamEvent, StreamId, VarInt, WriteError};

use super::config::{FIRST_STREAMS, MAX_STREAMS};
use crate::frame::{self, FrameError, FrameReader, VarintReader};
use crate::transport::Channel;

/// Frames up to this size are copied together with their header: one buffer costs less than two to send.
const COPY_BELOW_BYTES: usize = 4 << 10;

/// Read from one stream before the next has its turn.
const TURN_BYTES: usize = 1 << 20;

/// How one direction of a channel leaves.
#[derive(Default)]
struct Sender {
    /// None until the peer allows another stream.
    stream: Option<StreamId>,
    /// What the stream has no room for.
    queue: VecDeque<Bytes>,
    finishing: bool,
    priority: i32,
}

/// How a stream is read.
struct Receiver {
    channel: ChannelOf,
    frames: FrameReader,
    /// Whether it is in the list of readable streams.
    listed: bool,
    /// Whether the peer sends its frames here, and not only reads ours.
    carries: bool,
}

enum ChannelOf {
    Known(u64),
    /// The peer's stream, whose first bytes have not all arrived.
    Unread(VarintReader),
}

#[derive(Default)]
pub(super) struct Channels {
    /// How often the streams that the peer may have open at once were doubled.
    doublings: u32,
    senders: HashMap<u64, Sender>,
    receivers: HashMap<StreamId, Receiver>,
    readable: VecDeque<StreamId>,
    /// Channels with a queue. May hold some that have none any more.
    waiting: VecDeque<u64>,
    ready: VecDeque<(Channel, Bytes)>,
    queued_bytes: usize,
    scratch: Vec<u8>,
}

impl Channels {
    /// Streams that the peer may have open at once.
    fn allowed(&self) -> u32 {
        FIRST_STREAMS << self.doublings
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Channels that are open in the sending direction, and streams that are read.
    pub(super) fn open(&self) -> (usize, usize) {
        (self.senders.len(), self.receivers.len())
    }

    pub(super) fn send(&mut self, conn: &mut Connection, channel: u64, frame: Bytes) {
        let header = frame::header(frame.len());
        self.ensure_stream(conn, channel);
        let sender = self.senders.entry(channel).or_default();
        let direct = sender.stream.filter(|_| sender.queue.is_empty());
        if frame.len() <= COPY_BELOW_BYTES {
            self.scratch.clear();
            self.scratch.extend_from_slice(&header);
            self.scratch.extend_from_slice(&frame);
            let mut rest = self.scratch.as_slice();
            while let (Some(stream), false) = (direct, rest.is_empty()) {
                match conn.send_stream(stream).write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(WriteError::Blocked) => break,
                    Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return,
                }
            }
            if !rest.is_empty() {
                self.queued_bytes += rest.len();
                if sender.queue.is_empty() {
                    self.waiting.push_back(channel);
                }
                sender.queue.push_back(Bytes::copy_from_slice(rest));
            }
        } else {
            self.queued_bytes += header.len() + frame.len();
            if sender.queue.is_empty() {
                self.waiting.push_back(channel);
            }
            sender.queue.extend([Bytes::copy_from_slice(&header), frame]);
            if direct.is_some() {
                self.write_queue(conn, channel);
            }
        }
    }

    pub(super) fn set_priority(&mut self, conn: &mut Connection, channel: u64, priority: i32) {
        let sender = self.senders.entry(channel).or_default();
        sender.priority = priority;
        if let Some(stream) = sender.stream {
            let _ = conn.send_stream(stream).set_priority(priority);
        }
    }

    pub(super) fn finish(&mut self, conn: &mut Connection, channel: u64) {
        if let Some(sender) = self.senders.get_mut(&channel) {
            sender.finishing = true;
            self.write_queue(conn, channel);
        }
    }

    /// Sends from the queues what there is room for now.
    pub(super) fn write_waiting(&mut self, conn: &mut Connection) {
        for _ in 0..self.waiting.len() {
            let Some(channel) = self.waiting.pop_front() else { break };
            self.ensure_stream(conn, channel);
            if !self.write_queue(conn, channel) {
                self.waiting.push_back(channel);
            }
        }
    }

    /// Opens the channel's stream if it has none and the peer allows one.
    fn ensure_stream(&mut self, conn: &mut Connection, channel: u64) {
        let sender = self.senders.entry(channel).or_default();
        if sender.stream.is_some() {
            return;
        }
        let Some(id) = conn.streams().open(Dir::Bi) else { return };
        let mut stream = conn.send_stream(id);
        if sender.priority != 0 {
            let _ = stream.set_priority(sender.priority);
        }
        let mut number = Vec::with_capacity(10);
        frame::put_varint(&mut number, channel);
        let written = stream.write(&number).unwrap_or(0);
        if written < number.len() {
            self.queued_bytes += number.len() - written;
            sender.queue.push_front(Bytes::from(number).split_off(written));
            self.waiting.push_back(channel);
        }
        sender.stream = Some(id);
        self.receivers.insert(id, Receiver::new(ChannelOf::Known(channel)));
    }

    /// True when the channel has nothing left to write.
    fn write_queue(&mut self, conn: &mut Connection, channel: u64) -> bool {
        let Some(sender) = self.senders.get_mut(&channel) else { return true };
        let Some(id) = sender.stream else {
            if sender.queue.is_empty() && sender.finishing {
                self.senders.remove(&channel);
                return true;
            }
            return sender.queue.is_empty();
        };
        let mut stream = conn.send_stream(id);
        while !sender.queue.is_empty() {
            match stream.write_chunks(sender.queue.make_contiguous()) {
                Ok(written) => {
                    self.queued_bytes -= written.bytes;
                    sender.queue.drain(..written.chunks);
                }
                Err(WriteError::Blocked) => return false,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.queued_bytes -= sender.queue.iter().map(Bytes::len).sum::<usize>();
                    sender.queue.clear();
                }
            }
        }
        if sender.finishing {
            let _ = stream.finish();
            self.senders.remove(&channel);
        }
        true
    }

    /// Notes what a connection's event means for its streams.
    pub(super) fn on_event(&mut self, conn: &mut Connection, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => {
                while let Some(id) = conn.streams().accept(Dir::Bi) {
                    self.receivers.insert(id, Receiver::new(ChannelOf::Unread(VarintReader::default())));
                    self.list(id);
                }
                while self.allowed() < MAX_STREAMS && self.receivers.len() > self.allowed() as usize / 2 {
                    self.doublings += 1;
                    conn.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(self.allowed()));
                }
            }
            StreamEvent::Readable { id } => self.list(id),
            // Writable and Available: the queues are tried after all events.
            _ => {}
        }
    }

    fn list(&mut self, id: StreamId) {
        if let Some(receiver) = self.receivers.get_mut(&id)
            && !std::mem::replace(&mut receiver.listed, true)
        {
            self.readable.push_back(id);
        }
    }

    /// The next frame, reading streams only as needed, so that unread bytes count against the peer's windows.
    /// Sets `credit` when the peer should be told of room in them.
    pub(super) fn recv(
        &mut self,
        conn: &mut Connection,
        credit: &mut bool,
    ) -> Result<Option<(Channel, Bytes)>, FrameError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let Some(id) = self.readable.pop_front() else { return Ok(None) };
            self.read(conn, id, credit)?;
        }
    }

    fn read(&mut self, conn: &mut Connection, id: StreamId, credit: &mut bool) -> Result<(), FrameError> {
        let Some(receiver) = self.receivers.get_mut(&id) else { return Ok(()) };
        receiver.listed = false;
        let mut stream = conn.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            self.receivers.remove(&id);
            return Ok(());
        };
        let mut budget = TURN_BYTES;
        let mut announced = None;
        let ended = loop {
            if budget == 0 {
                receiver.listed = true;
                self.readable.push_back(id);
                break false;
            }
            // Blocked: nothing more yet. Reset: the peer gave the stream up, as at its end.
            let mut chunk = match chunks.next(budget) {
                Ok(Some(chunk)) => chunk.bytes,
                Ok(None) if !receiver.frames.at_boundary() => return Err(FrameError::Truncated),
                Ok(None) | Err(quinn_proto::ReadError::Reset(_)) => break true,
                Err(quinn_proto::ReadError::Blocked) => break false,
            };
            budget -= chunk.len();
            receiver.carries = true;
            if let ChannelOf::Unread(varint) = &mut receiver.channel {
                let Some(number) = varint.push(&mut chunk)? else { continue };
                receiver.channel = ChannelOf::Known(number);
                announced = Some(number);
            }
            if let ChannelOf::Known(number) = receiver.channel {
                let ready = &mut self.ready;
                receiver.frames.push(chunk, |frame| ready.push_back((Channel(number), frame)))?;
            }
        };
        let ended = ended.then(|| self.receivers.remove(&id));
        *credit |= chunks.finalize().should_transmit();
        if let Some(number) = announced {
            self.adopt(conn, number, id);
        }
        if let Some(Some(receiver)) = ended {
            self.on_end(conn, id, &receiver);
        }
        Ok(())
    }

    /// A stream of the peer's turned out to be of channel `number`: answer on it, unless we opened one too.
    fn adopt(&mut self, conn: &mut Connection, number: u64, id: StreamId) {
        let sender = self.senders.entry(number).or_default();
        if sender.stream.is_none() {
            sender.stream = Some(id);
            let _ = conn.send_stream(id).set_priority(sender.priority);
        } else {
            let _ = conn.send_stream(id).finish();
        }
    }

    /// The peer sends no more on the stream. If it sent its frames there, the channel is over.
    fn on_end(&mut self, conn: &mut Connection, id: StreamId, receiver: &Receiver) {
        match receiver.channel {
            ChannelOf::Known(channel) if receiver.carries || id.initiator() != conn.side() => {
                self.finish(conn, channel);
            }
            ChannelOf::Unread(_) => {
                let _ = conn.send_stream(id).finish();
            }
            ChannelOf::Known(_) => {}
        }
    }
}

impl Receiver {
    fn new(channel: ChannelOf) -> Receiver {
        Receiver { channel, frames: FrameReader::default(), listed: false, carries: false }
    }
}
