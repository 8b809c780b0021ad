//! The link between two cores: round trips and bulk.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use wire::{Channel, Identity, Link, Listener};

use crate::cores::{CORES, joined, on_core};

/// Round trips in one measurement.
pub const PINGS: usize = 4_000;
/// Bytes each way.
pub const PING_BYTES: usize = 64;
/// Bytes of one message of a bulk transfer.
pub const BULK_FRAME_BYTES: usize = 256 << 10;
/// A bulk sender stops above this many bytes in its link's queue.
const QUEUE_BOUND_BYTES: usize = 4 << 20;
/// How long a side looks for an answer before it sleeps, where spinning is measured (DESIGN §5).
pub const SPIN: Duration = Duration::from_micros(20);
const PING: Channel = Channel(1);
const BULK: Channel = Channel(2);
const ACKNOWLEDGE: Channel = Channel(3);

/// Microseconds of each of [`PINGS`].
pub fn micros_per_ping(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e6 / PINGS as f64
}

/// Throughput since `started`.
pub fn mib_per_second(bytes: usize, started: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

/// A node's side on `core`, and a home's side on the first core, each doing its work on an established link.
fn with_links<T: Send + 'static>(
    core: usize,
    node_side: impl FnOnce(&mut Link) -> Result<()> + Send + 'static,
    home_side: impl FnOnce(&mut Link) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (home, node) = Identity::ephemeral_pair()?;
    let mut listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
    let addr = listener.local_addr()?;
    let server = on_core(core, move || {
        let incoming = loop {
            if let Some(incoming) = listener.accept(Instant::now())? {
                break incoming;
            }
            thread::yield_now();
        };
        let mut link = Link::serve(incoming, &node, Instant::now())?;
        link.wait_established(Duration::from_secs(5))?;
        node_side(&mut link)
    });
    let client = on_core(CORES[0], move || {
        let mut link = Link::connect(addr, &home, Instant::now())?;
        link.wait_established(Duration::from_secs(5))?;
        let result = home_side(&mut link)?;
        link.close(0, "measured");
        Ok(result)
    });
    joined(server)?;
    joined(client)
}

/// The next frame, as a session's poll loop would wait for it.
fn receive(link: &mut Link, spin: bool) -> Result<(Channel, wire::Bytes)> {
    let mut spin_until = spin.then(|| Instant::now() + SPIN);
    loop {
        if let Some(frame) = link.recv() {
            return Ok(frame);
        }
        let now = Instant::now();
        if spin_until.is_none_or(|until| now > until) {
            spin_until = None;
            link.wait(now + Duration::from_secs(10))?;
        }
        link.drive(Instant::now())?;
    }
}

/// Microseconds of a round trip with the node's side on `core`.
pub fn link_round_trip(core: usize, spin: bool) -> Result<f64> {
    let echo = move |link: &mut Link| {
        for _ in 0..PINGS {
            let (channel, frame) = receive(link, spin)?;
            link.send(channel, frame)?;
        }
        Ok(())
    };
    let ping = move |link: &mut Link| {
        let started = Instant::now();
        for _ in 0..PINGS {
            link.send(PING, vec![0; PING_BYTES])?;
            receive(link, spin)?;
        }
        Ok(micros_per_ping(started))
    };
    with_links(core, echo, ping)
}

/// MiB/s to a node's side on `core`.
pub fn link_bulk(core: usize, mib: usize) -> Result<f64> {
    let total = mib << 20;
    let drain = move |link: &mut Link| {
        let mut got = 0;
        while got < total {
            got += receive(link, false)?.1.len();
        }
        link.send(ACKNOWLEDGE, b"!".as_slice())?;
        // Until the other side closes: what was sent may have to be sent again.
        while link.drive(Instant::now()).is_ok() {
            link.wait(Instant::now() + Duration::from_secs(1))?;
        }
        Ok(())
    };
    let fill = move |link: &mut Link| {
        let frame = wire::Bytes::from(vec![1; BULK_FRAME_BYTES]);
        let started = Instant::now();
        let mut left = total / BULK_FRAME_BYTES;
        while left > 0 {
            while left > 0 && link.queued_bytes() < QUEUE_BOUND_BYTES {
                link.send(BULK, frame.clone())?;
                left -= 1;
            }
            if left > 0 {
                link.wait(Instant::now() + Duration::from_secs(10))?;
                link.drive(Instant::now())?;
            }
        }
        receive(link, false)?;
        Ok(mib_per_second(total, started))
    };
    with_links(core, drain, fill)
}
