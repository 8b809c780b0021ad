//! The link beside plain TCP and UDP, all in one run on the same two cores: 64-byte round trips and bulk.
//!
//! `cargo run --release -p bench --bin link [MIB]`; MIB is what each bulk round moves, 512 if not given.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result};
use bench::cores::{CORES, joined, on_core};
use bench::figure::{Figure, ROUNDS};
use bench::link::{
    BULK_FRAME_BYTES, PING_BYTES, PINGS, SPIN, link_bulk, link_round_trip, mib_per_second, micros_per_ping,
};

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
