//! A link in memory with seeded delay and loss, for simulation.
//!
//! It keeps what QUIC keeps and loses what QUIC loses: frames of a channel arrive in order and once; a frame
//! that was lost arrives a retransmission later and holds up its own channel only, so that channels overtake
//! each other. No clock is read: time is what the caller last gave to `drive` of either end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::frame::MAX_FRAME_BYTES;
use crate::link::{IDLE_TIMEOUT, LinkError};
use crate::transport::{Channel, Transport};

/// How the simulated network behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Least time from one end to the other.
    pub delay: Duration,
    /// Added to each frame's delay: evenly distributed from zero to this.
    pub jitter: Duration,
    /// Of 1,000 frames, so many are lost and sent again; of those again as many.
    pub lost_per_mille: u16,
    /// How long until a lost frame is sent again.
    pub retransmit_after: Duration,
}

impl Default for Weather {
    /// A quiet switch: 50 µs, nothing lost.
    fn default() -> Weather {
        Weather {
            delay: Duration::from_micros(50),
            jitter: Duration::ZERO,
            lost_per_mille: 0,
            retransmit_after: Duration::from_millis(2),
        }
    }
}

/// Retransmissions of one frame, at most: beyond it the idle timer would have ended a real link.
const MAX_RETRANSMITS: u32 = 20;

/// One end of a link in memory.
pub struct MemoryLink {
    shared: Arc<Mutex<Shared>>,
    /// 0 or 1: which end.
    side: usize,
}

struct Shared {
    now: Instant,
    random: u64,
    weather: Weather,
    /// Frames under way to each end.
    toward: [Flight; 2],
    /// Since when nothing gets through in either direction.
    severed: Option<Instant>,
    failed: [Option<LinkError>; 2],
}

#[derive(Default)]
struct Flight {
    channels: HashMap<Channel, VecDeque<(Instant, Bytes)>>,
    bytes: usize,
    /// The other end closed, and when its word arrives: after all frames sent before.
    closed: Option<(Instant, LinkError)>,
}

/// Two ends of a link that behaves alike in every run with the same seed, calls and times.
pub fn pair(seed: u64, weather: Weather, now: Instant) -> (MemoryLink, MemoryLink) {
    let toward = [Flight::default(), Flight::default()];
    let shared = Shared { now, random: seed, weather, toward, severed: None, failed: [None, None] };
    let shared = Arc::new(Mutex::new(shared));
    (MemoryLink { shared: shared.clone(), side: 0 }, MemoryLink { shared, side: 1 })
}

impl MemoryLink {
    /// From now on nothing gets through; both ends report [`LinkError::Lost`] after [`IDLE_TIMEOUT`].
    pub fn sever(&mut self) {
        let mut shared = self.lock();
        let now = shared.now;
        shared.severed.get_or_insert(now);
    }

    /// Lets everything through again, if it is not too late.
    pub fn mend(&mut self) {
        let mut shared = self.lock();
        let Some(since) = shared.severed.take() else { return };
        let pause = shared.now.saturating_duration_since(since);
        for flight in &mut shared.toward {
            flight.channels.values_mut().flatten().for_each(|(arrives, _)| *arrives += pause);
            if let Some((arrives, _)) = &mut flight.closed {
                *arrives += pause;
            }
        }
    }

    /// Changes the weather for frames sent from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// A panic elsewhere leaves no half-made state here that matters to a test that goes on.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// SplitMix64 (Steele, Lea, Flood 2014): enough for weather, and the same everywhere.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// When a frame sent now arrives.
    fn arrival(&mut self) -> Instant {
        let weather = self.weather;
        let jitter_ns = weather.jitter.as_nanos() as u64;
        let mut delay = weather.delay + Duration::from_nanos(self.draw() % (jitter_ns + 1));
        for _ in 0..MAX_RETRANSMITS {
            if self.draw() % 1_000 >= u64::from(weather.lost_per_mille) {
                break;
            }
            delay += weather.retransmit_after;
        }
        self.now + delay
    }

    /// Whether what arrives at that time has arrived.
    fn is_here(&self, arrives: Instant) -> bool {
        arrives <= self.severed.map_or(self.now, |since| since.min(self.now))
    }

    /// The earliest arrival toward a side, and its channel. Equal times go by channel, so that runs repeat.
    fn next(&self, side: usize) -> Option<(Instant, Channel)> {
        let heads = self.toward[side].channels.iter();
        heads.filter_map(|(channel, queue)| Some((queue.front()?.0, *channel))).min()
    }

    /// Ends this side if its time is up or the other side's farewell is here.
    fn check(&mut self, side: usize) -> Result<(), LinkError> {
        if self.failed[side].is_none() {
            let silent = self.severed.is_some_and(|since| self.now >= since + IDLE_TIMEOUT);
            let farewell = self.toward[side].closed.clone().filter(|(arrives, _)| self.is_here(*arrives));
            self.failed[side] = match farewell {
                Some((_, error)) => Some(error),
                None if silent => Some(LinkError::Lost("the peer".into())),
                None => None,
            };
        }
        self.failed[side].clone().map_or(Ok(()), Err)
    }
}

impl Transport for MemoryLink {
    fn send(&mut self, channel: Channel, frame: Bytes) -> Result<(), LinkError> {
        let mut shared = self.lock();
        shared.check(self.side)?;
        if frame.len() > MAX_FRAME_BYTES {
            return Err(LinkError::FrameTooLong(frame.len()));
        }
        let arrives = shared.arrival();
        let flight = &mut shared.toward[1 - self.side];
        flight.bytes += frame.len();
        let queue = flight.channels.entry(channel).or_default();
        let arrives = queue.back().map_or(arrives, |(previous, _)| arrives.max(*previous));
        queue.push_back((arrives, frame));
        Ok(())
    }

    /// A channel of which nothing is under way takes no room, so there is nothing to end.
    fn finish(&mut self, _channel: Channel) {}

    fn recv(&mut self) -> Option<(Channel, Bytes)> {
        let mut shared = self.lock();
        let (arrives, channel) = shared.next(self.side)?;
        if !shared.is_here(arrives) {
            return None;
        }
        let flight = &mut shared.toward[self.side];
        let queue = flight.channels.get_mut(&channel)?;
        let (_, frame) = queue.pop_front()?;
        flight.bytes -= frame.len();
        if queue.is_empty() {
            flight.channels.remove(&channel);
        }
        Some((channel, frame))
    }

    fn drive(&mut self, now: Instant) -> Result<(), LinkError> {
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        shared.check(self.side)
    }

    fn deadline(&self) -> Option<Instant> {
        let shared = self.lock();
        if shared.failed[self.side].is_some() {
            return None;
        }
        let lost_at = shared.severed.map(|since| since + IDLE_TIMEOUT);
        let frame = shared.next(self.side).map(|(arrives, _)| arrives);
        let farewell = shared.toward[self.side].closed.as_ref().map(|(arrives, _)| *arrives);
        let reaches = |arrives: &Instant| shared.severed.is_none_or(|since| *arrives <= since);
        [frame.filter(reaches), farewell.filter(reaches), lost_at].into_iter().flatten().min()
    }

    /// Everything that has not been read at the other end.
    fn queued_bytes(&self) -> usize {
        self.lock().toward[1 - self.side].bytes
    }

    fn close(&mut self, code: u32, reason: &str) {
        let mut shared = self.lock();
        if shared.failed[self.side].is_some() {
            return;
        }
        let mut arrives = shared.arrival();
        let flight = &mut shared.toward[1 - self.side];
        for (last, _) in flight.channels.values().filter_map(VecDeque::back) {
            arrives = arrives.max(*last);
        }
        let error = LinkError::Closed { peer: "the peer".into(), code: code.into(), reason: reason.into() };
        flight.closed = Some((arrives, error));
        shared.failed[self.side] = Some(LinkError::ClosedHere);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs both ends from deadline to deadline; returns what `b` got, in the order it came.
    fn deliver(seed: u64, weather: Weather, frames: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let mut now = Instant::now();
        let (mut a, mut b) = pair(seed, weather, now);
        for (channel, value) in frames {
            a.send(Channel(*channel), Bytes::copy_from_slice(&value.to_le_bytes())).unwrap();
        }
        let mut got = Vec::new();
        while let Some(deadline) = b.deadline() {
            now = now.max(deadline);
            b.drive(now).unwrap();
            while let Some((channel, frame)) = b.recv() {
                got.push((channel.0, u32::from_le_bytes(frame.as_ref().try_into().unwrap())));
            }
        }
        assert_eq!(a.queued_bytes(), 0);
        got
    }

    fn stormy() -> Weather {
        Weather { jitter: Duration::from_millis(1), lost_per_mille: 300, ..Weather::default() }
    }

    proptest! {
        #[test]
        fn each_channel_keeps_its_order(seed in any::<u64>(), channels in prop::collection::vec(0u64..5, 0..200)) {
            let frames: Vec<_> = channels.into_iter().zip(0u32..).collect();
            let got = deliver(seed, stormy(), &frames);
            prop_assert_eq!(got.len(), frames.len());
            for channel in 0..5 {
                let of = |list: &[(u64, u32)]| list.iter().filter(|f| f.0 == channel).map(|f| f.1).collect::<Vec<_>>();
                prop_assert_eq!(of(&got), of(&frames));
            }
            prop_assert_eq!(got, deliver(seed, stormy(), &frames), "the same seed gives the same run");
        }
    }

    #[test]
    fn channels_overtake_each_other() {
        let frames: Vec<_> = (0..100).map(|n| (u64::from(n % 4), n)).collect();
        assert_ne!(deliver(1, stormy(), &frames), frames);
        assert_eq!(deliver(1, Weather::default(), &frames).len(), 100);
    }

    #[test]
    fn a_severed_link_is_lost_at_both_ends_and_a_mended_one_is_not() {
        let start = Instant::now();
        let (mut a, mut b) = pair(0, Weather::default(), start);
        a.sever();
        a.send(Channel(1), Bytes::from_static(b"late")).unwrap();
        let almost = start + IDLE_TIMEOUT - Duration::from_millis(1);
        assert_eq!((a.drive(almost), b.drive(almost)), (Ok(()), Ok(())));
        assert!(b.recv().is_none());
        b.mend();
        b.drive(b.deadline().unwrap()).unwrap();
        assert_eq!(b.recv().unwrap().1.as_ref(), b"late");
        b.sever();
        let after = almost + Duration::from_secs(1) + IDLE_TIMEOUT;
        assert!(matches!(a.drive(after), Err(LinkError::Lost(_))));
        assert!(matches!(b.drive(after), Err(LinkError::Lost(_))));
    }

    #[test]
    fn a_farewell_comes_after_all_frames() {
        let start = Instant::now();
        let (mut a, mut b) = pair(7, stormy(), start);
        for n in 0..50 {
            a.send(Channel(n), Bytes::from_static(b"x")).unwrap();
        }
        a.close(2, "done");
        let mut got = 0;
        let mut result = Ok(());
        while let (Ok(()), Some(deadline)) = (&result, b.deadline()) {
            result = b.drive(deadline);
            got += std::iter::from_fn(|| b.recv()).count();
        }
        assert_eq!(got, 50);
        assert!(matches!(result, Err(LinkError::Closed { code: 2, .. })));
    }
}
