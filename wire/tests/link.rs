//! Two real links over loopback UDP, driven by this thread in turn.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::frame::MAX_FRAME_BYTES;
use wire::identity::{self, Role};
use wire::{Bytes, Channel, Identity, Incoming, Link, LinkError, Listener};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client that has said its first word, and what the listener made of it.
fn meet(client: &Identity) -> (Link, Incoming, Listener) {
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let link = Link::connect(addr, client, Instant::now()).unwrap();
    let incoming = loop {
        wait_readable(&listener.fd());
        if let Some(incoming) = listener.accept(Instant::now()).unwrap() {
            break incoming;
        }
    };
    (link, incoming, listener)
}

fn wait_readable(fd: &impl std::os::fd::AsFd) {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "nothing arrived");
}

/// Drives both until `done`.
fn drive_until(a: &mut Link, b: &mut Link, done: impl FnMut(&mut Link, &mut Link) -> bool) {
    assert_eq!(drive_to_end(a, b, done), (Ok(()), Ok(())));
}

/// Drives both until `done`, or until one fails.
fn drive_to_end(
    a: &mut Link,
    b: &mut Link,
    mut done: impl FnMut(&mut Link, &mut Link) -> bool,
) -> (Result<(), LinkError>, Result<(), LinkError>) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let now = Instant::now();
        assert!(now < give_up, "still waiting");
        let results = (a.drive(now), b.drive(now));
        if results.0.is_err() || results.1.is_err() || done(a, b) {
            return results;
        }
        let wake = [a.deadline(), b.deadline()].into_iter().flatten().min().unwrap_or(give_up);
        let left = wake.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let (fa, fb) = (a.fd(), b.fd());
        poll(&mut [PollFd::new(&fa, PollFlags::IN), PollFd::new(&fb, PollFlags::IN)], Some(&timeout))
            .unwrap();
    }
}

fn pair() -> (Link, Link) {
    let (home, node) = Identity::ephemeral_pair().unwrap();
    let (mut client, incoming, _listener) = meet(&home);
    let mut server = Link::serve(incoming, &node, Instant::now()).unwrap();
    drive_until(&mut client, &mut server, |a, b| a.is_established() && b.is_established());
    (client, server)
}

/// Drives on after one side failed, until the other has noticed.
fn both_failures(client: &mut Link, server: &mut Link) -> (String, String) {
    let first = drive_to_end(client, server, |_, _| false);
    let mut errors = (first.0.err(), first.1.err());
    let give_up = Instant::now() + PATIENCE;
    while errors.0.is_none() || errors.1.is_none() {
        assert!(Instant::now() < give_up, "only one side noticed: {errors:?}");
        let now = Instant::now();
        errors = (client.drive(now).err(), server.drive(now).err());
        std::thread::sleep(Duration::from_millis(1));
    }
    (errors.0.unwrap().to_string(), errors.1.unwrap().to_string())
}

#[test]
fn a_frame_travels_each_way_and_names_are_known() {
    let (mut client, mut server) = pair();
    assert_eq!(client.peer().unwrap().to_string(), "node loopback");
    assert_eq!(server.peer().unwrap().to_string(), "user home@loopback");
    client.send(Channel(5), b"ping".as_slice()).unwrap();
    let mut answered = None;
    drive_until(&mut client, &mut server, |a, b| {
        while let Some((channel, frame)) = b.recv() {
            assert_eq!((channel, frame.as_ref()), (Channel(5), b"ping".as_slice()));
            b.send(channel, b"pong".as_slice()).unwrap();
        }
        answered = answered.take().or_else(|| a.recv());
        answered.is_some()
    });
    assert_eq!(answered, Some((Channel(5), Bytes::from_static(b"pong"))));
}

#[test]
fn frames_sent_before_the_handshake_arrive_after_it() {
    let (home, node) = Identity::ephemeral_pair().unwrap();
    let (mut client, incoming, _listener) = meet(&home);
    client.send(Channel::CONTROL, b"early".as_slice()).unwrap();
    let mut server = Link::serve(incoming, &node, Instant::now()).unwrap();
    let mut got = None;
    drive_until(&mut client, &mut server, |_, b| {
        got = b.recv();
        got.is_some()
    });
    assert_eq!(got, Some((Channel::CONTROL, Bytes::from_static(b"early"))));
}

#[test]
fn foreign_cluster_is_refused_and_both_sides_are_told_what_to_do() {
    let (home, _) = Identity::ephemeral_pair().unwrap();
    let (_, node) = Identity::ephemeral_pair().unwrap();
    let (mut client, incoming, _listener) = meet(&home);
    let mut server = Link::serve(incoming, &node, Instant::now()).unwrap();
    let (at_client, at_server) = both_failures(&mut client, &mut server);
    assert!(at_client.contains("is not of this cluster") && at_client.contains("mosix join"), "{at_client}");
    assert!(at_server.contains("is not of its cluster") && at_server.contains("mosix join"), "{at_server}");
    assert!(!client.is_established() && !server.is_established());
}

#[test]
fn who_was_removed_is_refused_on_either_side() {
    let (home, node) = Identity::ephemeral_pair().unwrap();
    // What `mosix node remove` of the home's machine does here, as seen by a node that is another.
    let elsewhere = Identity::from_bytes(&node.to_bytes()).unwrap();
    elsewhere.revoked().replace(home.key_ids());
    let (mut client, incoming, _listener) = meet(&home);
    let mut server = Link::serve(incoming, &elsewhere, Instant::now()).unwrap();
    let (at_client, at_server) = both_failures(&mut client, &mut server);
    assert!(at_client.contains("refused this machine") && at_client.contains("was removed"), "{at_client}");
    assert!(at_server.contains("was removed from cluster"), "{at_server}");

    let (home, node) = Identity::ephemeral_pair().unwrap();
    let kept = Identity::from_bytes(&node.to_bytes()).unwrap();
    home.revoked().replace(node.key_ids());
    let (mut client, incoming, _listener) = meet(&home);
    let mut server = Link::serve(incoming, &kept, Instant::now()).unwrap();
    let (at_client, at_server) = both_failures(&mut client, &mut server);
    assert!(at_client.contains("was removed from cluster"), "{at_client}");
    assert!(at_server.contains("refused this machine"), "{at_server}");
}

#[test]
fn a_users_certificate_does_not_serve() {
    let (home, _) = Identity::ephemeral_pair().unwrap();
    let (mut client, incoming, _listener) = meet(&home);
    let mut server = Link::serve(incoming, &home, Instant::now()).unwrap();
    let (at_client, at_server) = both_failures(&mut client, &mut server);
    assert!(at_client.contains("needs its node certificate"), "{at_client}");
    assert!(at_server.contains("has not the right role"), "{at_server}");
}

#[test]
fn one_channel_number_opened_by_both_at_once_keeps_both_directions_in_order() {
    let (mut client, mut server) = pair();
    for n in 0..100u8 {
        client.send_later(Channel(9), vec![n]).unwrap();
        server.send_later(Channel(9), vec![n]).unwrap();
    }
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    drive_until(&mut client, &mut server, |a, b| {
        to_client.extend(std::iter::from_fn(|| a.recv()).map(|(_, frame)| frame[0]));
        to_server.extend(std::iter::from_fn(|| b.recv()).map(|(_, frame)| frame[0]));
        to_client.len() == 100 && to_server.len() == 100
    });
    assert!(to_client.iter().copied().eq(0..100) && to_server.iter().copied().eq(0..100));
    client.finish(Channel(9));
    server.finish(Channel(9));
    drive_until(&mut client, &mut server, |a, b| {
        assert!(a.recv().is_none() && b.recv().is_none());
        a.open_channels() == (0, 0) && b.open_channels() == (0, 0)
    });
}

/// More than may be open at once, in turn: nothing of a finished channel stays.
#[test]
fn forty_thousand_channels_come_and_go() {
    let (mut client, mut server) = pair();
    let mut echoed = 0u64;
    for batch in 0..40u64 {
        for n in 0..1_000 {
            client.send_later(Channel(1 + batch * 1_000 + n), b"thread".as_slice()).unwrap();
        }
        let target = (batch + 1) * 1_000;
        drive_until(&mut client, &mut server, |a, b| {
            while let Some((channel, frame)) = b.recv() {
                b.send_later(channel, frame).unwrap();
            }
            b.flush(Instant::now());
            while let Some((channel, _)) = a.recv() {
                a.finish(channel);
                echoed += 1;
            }
            a.flush(Instant::now());
            echoed == target
        });
    }
    drive_until(&mut client, &mut server, |a, b| {
        assert!(a.recv().is_none() && b.recv().is_none());
        a.open_channels() == (0, 0) && b.open_channels() == (0, 0)
    });
}

#[test]
fn bulk_of_256_mib_waits_for_its_reader_and_arrives_whole() {
    const FRAME_BYTES: usize = 1 << 20;
    const FRAMES: usize = 256;
    const BOUND_BYTES: usize = 8 << 20;
    let (mut client, mut server) = pair();
    let (mut sent, mut got, mut largest_queue) = (0, 0, 0);
    drive_until(&mut client, &mut server, |a, b| {
        while sent < FRAMES && a.queued_bytes() < BOUND_BYTES {
            a.send(Channel(1), vec![sent as u8; FRAME_BYTES]).unwrap();
            sent += 1;
        }
        largest_queue = largest_queue.max(a.queued_bytes());
        while let Some((_, frame)) = b.recv() {
            assert_eq!(frame.len(), FRAME_BYTES);
            assert!(frame.iter().all(|byte| *byte == got as u8));
            got += 1;
        }
        got == FRAMES
    });
    assert!(largest_queue <= BOUND_BYTES + FRAME_BYTES + 8, "{largest_queue}");
    assert!(client.mtu() > 8_000, "{}", client.mtu());
}

/// A reader that does not call `recv` stops the sender; nothing piles up on its side.
#[test]
fn an_idle_reader_holds_the_sender() {
    let (mut client, mut server) = pair();
    for _ in 0..40 {
        client.send(Channel(1), vec![0; 1 << 20]).unwrap();
    }
    let settled = Instant::now() + Duration::from_millis(500);
    drive_until(&mut client, &mut server, |_, _| Instant::now() > settled);
    assert!(client.queued_bytes() >= 20 << 20, "{}", client.queued_bytes());
    let mut got = 0;
    drive_until(&mut client, &mut server, |_, b| {
        got += std::iter::from_fn(|| b.recv()).count();
        got == 40
    });
}

#[test]
fn a_frame_above_the_cap_is_not_sent_and_the_largest_is() {
    let (mut client, mut server) = pair();
    let refused = client.send(Channel(1), vec![0; MAX_FRAME_BYTES + 1]);
    assert_eq!(refused, Err(LinkError::FrameTooLong(MAX_FRAME_BYTES + 1)));
    client.send(Channel(1), vec![7; MAX_FRAME_BYTES]).unwrap();
    let mut got = None;
    drive_until(&mut client, &mut server, |_, b| {
        got = got.take().or_else(|| b.recv());
        got.is_some()
    });
    assert_eq!(got.unwrap().1.len(), MAX_FRAME_BYTES);
}

#[test]
fn close_tells_the_peer_why_after_all_frames() {
    let (mut client, mut server) = pair();
    client.send(Channel(1), b"last words".as_slice()).unwrap();
    client.close(3, "expelled by the owner");
    let ended = loop {
        if let Err(ended) = server.drive(Instant::now()) {
            break ended.to_string();
        }
        server.wait(Instant::now() + PATIENCE).unwrap();
    };
    assert_eq!(server.recv().unwrap().1.as_ref(), b"last words");
    assert!(ended.contains("expelled by the owner (code 3)"), "{ended}");
    assert_eq!(client.send(Channel(1), b"x".as_slice()), Err(LinkError::ClosedHere));
}

/// The peer's process is gone without a word: its socket stays open here, so that not even ICMP tells.
#[test]
fn a_dead_peer_is_reported_within_10_s() {
    let (mut client, server) = pair();
    let died = Instant::now();
    let lost = loop {
        // Only one side lives.
        if let Err(lost) = client.drive(Instant::now()) {
            break lost;
        }
        client.wait(died + PATIENCE).unwrap();
        assert!(died.elapsed() < PATIENCE);
    };
    assert!(matches!(&lost, LinkError::Lost(_)), "{lost}");
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    drop(server);
}

/// The peer's process is gone and its port with it: the next keep-alive finds that out.
#[test]
fn a_closed_port_is_noticed_before_the_idle_timer() {
    let (mut client, server) = pair();
    drop(server);
    let died = Instant::now();
    let lost = loop {
        if let Err(lost) = client.drive(Instant::now()) {
            break lost;
        }
        client.wait(died + PATIENCE).unwrap();
    };
    assert!(matches!(&lost, LinkError::Lost(_)), "{lost}");
    assert!(died.elapsed() < Duration::from_secs(6), "{:?}", died.elapsed());
}

/// Two listeners on one port would each hear half of the peers.
#[test]
fn a_second_listener_is_refused() {
    let first = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let second = Listener::bind(first.local_addr().unwrap());
    assert!(matches!(second, Err(LinkError::Socket(_, rustix::io::Errno::ADDRINUSE))));
}

#[test]
fn an_idle_link_lives() {
    let (mut client, mut server) = pair();
    let until = Instant::now() + Duration::from_secs(12);
    drive_until(&mut client, &mut server, |_, _| Instant::now() > until);
}

#[test]
fn nobody_at_the_port_is_said_at_once() {
    let (home, _) = Identity::ephemeral_pair().unwrap();
    let unused = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Instant::now();
    let result = Link::connect(unused, &home, started).and_then(|mut link| link.wait_established(PATIENCE));
    assert!(matches!(result, Err(LinkError::Unreachable(..))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn many_peers_share_the_port() {
    share_the_port("127.0.0.1:0", "127.0.0.1");
}

#[test]
fn many_peers_share_the_port_of_every_address() {
    share_the_port("0.0.0.0:0", "127.0.0.2");
}

/// IPv4 peers of an IPv6 socket have mapped addresses (ipv6(7)).
#[test]
fn many_peers_share_the_port_of_both_protocols() {
    share_the_port("[::]:0", "127.0.0.1");
    share_the_port("[::]:0", "::1");
}

/// Fifty peers at one port, each with a socket that the kernel chooses; no datagram goes to the wrong one.
fn share_the_port(bind: &str, reach: &str) {
    let (home, node) = Identity::ephemeral_pair().unwrap();
    let mut listener = Listener::bind(bind.parse().unwrap()).unwrap();
    let addr = SocketAddr::new(reach.parse().unwrap(), listener.local_addr().unwrap().port());
    let mut clients: Vec<_> = (0..50).map(|_| Link::connect(addr, &home, Instant::now()).unwrap()).collect();
    let mut servers = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while !(servers.len() == 50 && clients.iter().all(Link::is_established)) {
        let now = Instant::now();
        assert!(now < give_up, "{} sessions", servers.len());
        while let Some(incoming) = listener.accept(now).unwrap() {
            servers.push(Link::serve(incoming, &node, now).unwrap());
        }
        for link in clients.iter_mut().chain(&mut servers) {
            link.drive(now).unwrap();
        }
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(Channel(1), vec![n as u8]).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        assert!(Instant::now() < give_up, "{} frames", seen.len());
        for server in &mut servers {
            server.drive(Instant::now()).unwrap();
            seen.extend(std::iter::from_fn(|| server.recv()).map(|(_, frame)| frame[0]));
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..50));
}

/// A network between the two that drops every 20th datagram and swaps every 7th with the next.
#[test]
fn a_bad_network_loses_and_reorders_nothing_of_a_channel() {
    let (home, node) = Identity::ephemeral_pair().unwrap();
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let mut client = Link::connect(near.local_addr().unwrap(), &home, Instant::now()).unwrap();
    let mut client_addr = None;
    let (mut seen, mut held) = (0u32, [None, None]);
    let mut carry = || {
        let mut buffer = [0; 10_000];
        for toward_node in [true, false] {
            let (from, to) = if toward_node { (&near, &far) } else { (&far, &near) };
            while let Ok((len, addr)) = from.recv_from(&mut buffer) {
                if toward_node && client_addr.is_none() {
                    near.connect(addr).unwrap();
                    client_addr = Some(addr);
                }
                seen += 1;
                let held = &mut held[usize::from(toward_node)];
                match seen {
                    n if n % 20 == 0 => {}
                    n if n % 7 == 0 && held.is_none() => *held = Some(buffer[..len].to_vec()),
                    _ => {
                        let _ = to.send(&buffer[..len]);
                        held.take().map(|late: Vec<u8>| to.send(&late));
                    }
                }
            }
        }
    };
    let mut server: Option<Link> = None;
    let (mut sent, mut got) = (0u32, [0u32; 4]);
    let give_up = Instant::now() + PATIENCE;
    while got != [1_000; 4] {
        let now = Instant::now();
        assert!(now < give_up, "{got:?}");
        carry();
        if sent < 4_000 {
            let frame = [sent.to_le_bytes().as_slice(), &[7; 2_000]].concat();
            client.send(Channel(u64::from(sent % 4)), frame).unwrap();
            sent += 1;
        }
        client.drive(now).unwrap();
        while let (None, Some(incoming)) = (&server, listener.accept(now).unwrap()) {
            server = Some(Link::serve(incoming, &node, now).unwrap());
        }
        let Some(server) = &mut server else { continue };
        server.drive(now).unwrap();
        while let Some((Channel(channel), frame)) = server.recv() {
            let number = u32::from_le_bytes(frame[..4].try_into().unwrap());
            assert_eq!((number % 4, number / 4), (channel as u32, got[channel as usize]));
            assert!(frame[4..] == [7; 2_000]);
            got[channel as usize] += 1;
        }
    }
}

#[test]
fn datagrams_that_begin_nothing_are_dropped() {
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.connect(listener.local_addr().unwrap()).unwrap();
    let (_, node) = Identity::ephemeral_pair().unwrap();
    for first in 0..=255u8 {
        for len in [0, 1, 5, 6, 7, 1_199] {
            stranger.send(&vec![first; len]).unwrap();
        }
        assert!(listener.accept(Instant::now()).unwrap().is_none());
    }
    // What looks like a handshake and is none ends when it is answered.
    let mut false_start = vec![0x5a; 1_200];
    false_start[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
    stranger.send(&false_start).unwrap();
    wait_readable(&listener.fd());
    let incoming = listener.accept(Instant::now()).unwrap().unwrap();
    assert!(matches!(Link::serve(incoming, &node, Instant::now()), Err(LinkError::Protocol(..))));
}

#[test]
fn a_flood_of_handshakes_is_bounded() {
    let (home, _) = Identity::ephemeral_pair().unwrap();
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let _clients: Vec<_> = (0..100).map(|_| Link::connect(addr, &home, Instant::now()).unwrap()).collect();
    let now = Instant::now();
    let mut sessions = Vec::new();
    while let Some(incoming) = listener.accept(now).unwrap() {
        sessions.push(incoming);
    }
    assert_eq!(sessions.len(), 64);
    listener.settled(sessions[0].peer());
    let _one_more = Link::connect(addr, &home, Instant::now()).unwrap();
    wait_readable(&listener.fd());
    assert!(listener.accept(now).unwrap().is_some());
}

#[test]
fn a_cluster_on_disk_is_made_and_joined() {
    let base = std::env::temp_dir().join(format!("mosix-wire-test-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&base);
    let (alpha, beta) = (base.join("alpha"), base.join("beta"));
    assert!(identity::load(&alpha, Role::Node).unwrap_err().to_string().contains("mosix init"));
    let cluster = identity::init_cluster(&alpha, "lab", "alpha").unwrap();
    assert!(cluster.starts_with("lab-"));
    let bundle = identity::export_bundle(&alpha, "beta").unwrap();
    let joined = identity::import_bundle(&beta, bundle.as_bytes()).unwrap();
    assert_eq!((joined.name.as_str(), joined.cluster.as_str()), ("beta", cluster.as_str()));
    assert!(identity::import_bundle(&beta, bundle.as_bytes()).is_err(), "joined twice");
    assert!(identity::export_bundle(&beta, "gamma").is_err(), "only the CA's machine invites");
    assert!(identity::issue(&alpha, Role::User, "../x").is_err());

    let home = identity::load(&beta, Role::User).unwrap();
    let node = Identity::from_bytes(&identity::load(&alpha, Role::Node).unwrap().to_bytes()).unwrap();
    let (mut client, incoming, _listener) = meet(&home);
    let (fd, peer, datagrams) = incoming.into_parts();
    let mut server = Link::serve(Incoming::from_parts(fd, peer, datagrams), &node, Instant::now()).unwrap();
    drive_until(&mut client, &mut server, |a, b| a.is_established() && b.is_established());
    assert_eq!(client.peer().unwrap().name, "alpha");

    use std::os::unix::fs::PermissionsExt;
    let key = beta.join("issuer.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(identity::load(&beta, Role::User).unwrap_err().to_string().contains("chmod 600"));
    std::fs::remove_dir_all(&base).unwrap();
}
