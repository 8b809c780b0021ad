//! The link beside plain TCP and UDP, all in one run on the same two cores: 64-byte round trips and bulk.
//!
//! `cargo run --release -p bench --bin link [MIB]`; MIB is what each bulk round moves, 512 if not given.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use wire::{Channel, Identity, Link, Listener};

const ROUNDS: usize = 5;
const PINGS: usize = 4_000;
const PING_BYTES: usize = 64;
const BULK_FRAME_BYTES: usize = 256 << 10;
/// A bulk sender stops above this many bytes in its link's queue.
const QUEUE_BOUND_BYTES: usize = 4 << 20;
/// How long a side looks for an answer before it sleeps, where spinning is measured (DESIGN §5).
const SPIN: Duration = Duration::from_micros(20);
const PING: Channel = Channel(1);
const BULK: Channel = Channel(2);
const ACKNOWLEDGE: Channel = Channel(3);
/// The core that both sides share, and the second where there are two.
const CORES: [usize; 2] = [0, 1];

fn main() -> Result<()> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(512), |arg| arg.parse()).context("MIB is a number")?;
    println!("median (least to most) of {ROUNDS} rounds\n");
    println!(
        "{PING_BYTES}-byte round trip, µs         same core               cross, blocking          cross, spin ≤ 20 µs"
    );
    let layouts = [(CORES[0], false), (CORES[1], false), (CORES[1], true)];
    let mut rows = [("UDP", [0.0; 3]), ("TCP", [0.0; 3]), ("link", [0.0; 3])];
    for (name, medians) in &mut rows {
        print!("{name:24}");
        for (at, (core, spin)) in layouts.into_iter().enumerate() {
            let figure = Figure::of(|| match *name {
                "UDP" => udp_round_trip(core, spin),
                "TCP" => tcp_round_trip(core, spin),
                _ => link_round_trip(core, spin),
            })?;
            medians[at] = figure.median;
            print!("{:>25}", figure.text(1));
        }
        println!();
    }
    println!("bulk of {mib} MiB, MiB/s     same core               cross");
    let mut bulk = [("TCP", [0.0; 2]), ("link", [0.0; 2])];
    for (name, medians) in &mut bulk {
        print!("{name:24}");
        for (at, core) in CORES.into_iter().enumerate() {
            let figure = Figure::of(|| match *name {
                "TCP" => tcp_bulk(core, mib),
                _ => link_bulk(core, mib),
            })?;
            medians[at] = figure.median;
            print!("{:>25}", figure.text(0));
        }
        println!();
    }
    let [(_, udp), _, (_, link)] = rows;
    println!(
        "\nlink / UDP round trip: {:.2} same core, {:.2} cross, {:.2} spinning",
        link[0] / udp[0],
        link[1] / udp[1],
        link[2] / udp[2]
    );
    let [(_, tcp), (_, link)] = bulk;
    println!("link / TCP bulk: {:.2} same core, {:.2} cross", link[0] / tcp[0], link[1] / tcp[1]);
    Ok(())
}

/// Median and range of the rounds.
struct Figure {
    least: f64,
    median: f64,
    most: f64,
}

impl Figure {
    fn of(mut round: impl FnMut() -> Result<f64>) -> Result<Figure> {
        let mut values = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
        values.sort_by(f64::total_cmp);
        Ok(Figure { least: values[0], median: values[ROUNDS / 2], most: values[ROUNDS - 1] })
    }

    fn text(&self, digits: usize) -> String {
        let Figure { least, median, most } = self;
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))
}

fn on_core<T: Send + 'static>(
    core: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    thread::spawn(move || {
        pin(core)?;
        work()
    })
}

fn joined<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    match handle.join() {
        Ok(result) => result,
        Err(_) => bail!("a side of the measurement panicked"),
    }
}

fn micros_per_ping(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e6 / PINGS as f64
}

/// Runs a non-blocking attempt for [`SPIN`]; true if it succeeded.
fn spin_for(mut attempt: impl FnMut() -> std::io::Result<bool>) -> std::io::Result<bool> {
    let until = Instant::now() + SPIN;
    while Instant::now() < until {
        if attempt()? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn udp_round_trip(core: usize, spin: bool) -> Result<f64> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    let receive = move |socket: &UdpSocket, buffer: &mut [u8]| -> std::io::Result<()> {
        use rustix::net::{RecvFlags, recv};
        let here = spin
            && spin_for(|| match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok(_) => Ok(true),
                Err(rustix::io::Errno::AGAIN) => Ok(false),
                Err(e) => Err(e.into()),
            })?;
        if here { Ok(()) } else { socket.recv(buffer).map(drop) }
    };
    let echo = on_core(core, move || {
        let mut buffer = [0; PING_BYTES];
        for _ in 0..PINGS {
            receive(&far, &mut buffer)?;
            far.send(&buffer)?;
        }
        Ok(())
    });
    let ping = on_core(CORES[0], move || {
        let mut buffer = [0; PING_BYTES];
        let started = Instant::now();
        for _ in 0..PINGS {
            near.send(&buffer)?;
            receive(&near, &mut buffer)?;
        }
        Ok(micros_per_ping(started))
    });
    joined(echo)?;
    joined(ping)
}

fn tcp_pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn tcp_round_trip(core: usize, spin: bool) -> Result<f64> {
    let (mut near, mut far) = tcp_pair()?;
    let receive = move |stream: &mut TcpStream, buffer: &mut [u8]| -> std::io::Result<()> {
        use rustix::net::{RecvFlags, recv};
        // 64 bytes sent in one call arrive in one segment.
        let here = spin
            && spin_for(|| match recv(&*stream, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok(_) => Ok(true),
                Err(rustix::io::Errno::AGAIN) => Ok(false),
                Err(e) => Err(e.into()),
            })?;
        if here { Ok(()) } else { stream.read_exact(buffer) }
    };
    let echo = on_core(core, move || {
        let mut buffer = [0; PING_BYTES];
        for _ in 0..PINGS {
            receive(&mut far, &mut buffer)?;
            far.write_all(&buffer)?;
        }
        Ok(())
    });
    let ping = on_core(CORES[0], move || {
        let mut buffer = [0; PING_BYTES];
        let started = Instant::now();
        for _ in 0..PINGS {
            near.write_all(&buffer)?;
            receive(&mut near, &mut buffer)?;
        }
        Ok(micros_per_ping(started))
    });
    joined(echo)?;
    joined(ping)
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

fn link_round_trip(core: usize, spin: bool) -> Result<f64> {
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

fn mib_per_second(bytes: usize, started: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

fn tcp_bulk(core: usize, mib: usize) -> Result<f64> {
    let (mut near, mut far) = tcp_pair()?;
    let total = mib << 20;
    let drain = on_core(core, move || {
        let mut buffer = vec![0; BULK_FRAME_BYTES];
        let mut got = 0;
        while got < total {
            got += far.read(&mut buffer)?;
        }
        far.write_all(b"!")?;
        Ok(())
    });
    let fill = on_core(CORES[0], move || {
        let frame = vec![1; BULK_FRAME_BYTES];
        let started = Instant::now();
        for _ in 0..total / BULK_FRAME_BYTES {
            near.write_all(&frame)?;
        }
        near.read_exact(&mut [0])?;
        Ok(mib_per_second(total, started))
    });
    joined(drain)?;
    joined(fill)
}

fn link_bulk(core: usize, mib: usize) -> Result<f64> {
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
