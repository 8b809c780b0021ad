//! Daemons' endpoints on loopback, with real sockets and certificates.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use wire::identity::{self, Role};
use wire::peer::{self, Endpoint, Event, Events, MAX_DATAGRAM_BYTES, MAX_QUESTION_BYTES, PeerError};
use wire::{Bytes, Identity, Revoked};

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster on disk, removed at the end.
struct Cluster(PathBuf);

impl Cluster {
    fn new(test: &str) -> Cluster {
        let dir = std::env::temp_dir().join(format!("mosix-peer-test-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        identity::init_cluster(&dir, "lab", "alpha").unwrap();
        Cluster(dir)
    }

    fn node(&self, name: &str) -> Identity {
        identity::issue(&self.0, Role::Node, name).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Node {
    endpoint: Endpoint,
    events: Events,
    address: SocketAddr,
    revoked: Revoked,
}

impl Node {
    fn new(identity: &Identity) -> Node {
        Node::at("127.0.0.1:0".parse().unwrap(), identity)
    }

    fn at(address: SocketAddr, identity: &Identity) -> Node {
        let revoked = Revoked::default();
        let (endpoint, events) = Endpoint::bind(address, identity, revoked.clone()).unwrap();
        let address = endpoint.local_addr().unwrap();
        Node { endpoint, events, address, revoked }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("nothing came").expect("the endpoint is closed")
    }

    async fn next_refused(&mut self) -> String {
        match self.next().await {
            Event::Refused { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    /// Answers each question with its bytes reversed.
    async fn serve(&mut self) {
        while let Some(event) = self.events.recv().await {
            if let Event::Question { question, answer, .. } = event {
                answer.send(question.iter().rev().copied().collect());
            }
        }
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn datagrams_go_both_ways_between_two_sockets() {
    let cluster = Cluster::new("datagrams");
    let (mut a, mut b) = (Node::new(&cluster.node("a")), Node::new(&cluster.node("b")));
    let largest = Bytes::from(vec![7; MAX_DATAGRAM_BYTES]);
    a.endpoint.send(b.address, largest.clone());
    match b.next().await {
        Event::Datagram { from, address, payload } => {
            assert_eq!((from.name.as_str(), from.role, address), ("a", Role::Node, a.address));
            assert_eq!(payload, largest);
        }
        other => panic!("{other:?}"),
    }
    assert!(b.endpoint.rtt(a.address).is_some_and(|rtt| rtt < Duration::from_secs(1)));
    b.endpoint.send(a.address, bytes("back"));
    match a.next().await {
        Event::Datagram { from, address, payload } => {
            assert_eq!((from.name.as_str(), address, payload), ("b", b.address, bytes("back")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(a.endpoint.rtt("127.0.0.1:9".parse().unwrap()), None);
}

#[tokio::test]
async fn a_question_is_answered_by_name() {
    let cluster = Cluster::new("questions");
    let (a, mut b) = (Node::new(&cluster.node("a")), Node::new(&cluster.node("b")));
    let long: Bytes = (0..MAX_QUESTION_BYTES).map(|n| n as u8).collect();
    let (endpoint, to) = (a.endpoint.clone(), b.address);
    let asked = async {
        let (who, answer) = endpoint.ask(to, long.clone()).await.unwrap();
        assert_eq!(who.name, "b");
        assert!(answer.iter().rev().eq(long.iter()));
        // More than a peer may have open at once.
        let many = (0..100u8).map(|n| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move { endpoint.ask(to, Bytes::from(vec![n, 0])).await })
        });
        for (n, asking) in many.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(asking.await.unwrap().unwrap().1.as_ref(), [0, n as u8]);
        }
    };
    tokio::select! { () = asked => {}, () = b.serve() => panic!("closed") }
}

#[tokio::test]
async fn what_is_too_long_or_not_answered_is_said_so() {
    let cluster = Cluster::new("oversize");
    let (a, mut b) = (Node::new(&cluster.node("a")), Node::new(&cluster.node("b")));
    let too_long = Bytes::from(vec![0; MAX_QUESTION_BYTES + 1]);
    assert_eq!(a.endpoint.ask(b.address, too_long.clone()).await, Err(PeerError::TooLong));
    let (asked, ()) = tokio::join!(a.endpoint.ask(b.address, bytes("?")), async {
        match b.next().await {
            Event::Question { answer, .. } => answer.send(too_long),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(asked, Err(PeerError::TooLong));
    let (asked, ()) = tokio::join!(a.endpoint.ask(b.address, bytes("?")), async {
        drop(b.next().await);
    });
    assert!(matches!(asked, Err(PeerError::Unanswered(_))), "{asked:?}");
    let unused = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = unused.local_addr().unwrap();
    assert_eq!(a.endpoint.ask(nobody, bytes("?")).await, Err(PeerError::NoAnswer(nobody)));
}

#[tokio::test]
async fn two_that_call_each_other_at_once_understand_each_other() {
    let cluster = Cluster::new("both");
    let (mut a, mut b) = (Node::new(&cluster.node("a")), Node::new(&cluster.node("b")));
    let (from_a, from_b) = (a.endpoint.clone(), b.endpoint.clone());
    let (to_a, to_b) = (a.address, b.address);
    let asked = async {
        for _ in 0..10 {
            let both = tokio::join!(from_a.ask(to_b, bytes("12")), from_b.ask(to_a, bytes("34")));
            assert_eq!((both.0.unwrap().1, both.1.unwrap().1), (bytes("21"), bytes("43")));
        }
    };
    tokio::select! { () = asked => {}, () = a.serve() => panic!("closed"), () = b.serve() => panic!("closed") }
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let (cluster, other) = (Cluster::new("ours"), Cluster::new("theirs"));
    let (mut a, mut b) = (Node::new(&cluster.node("a")), Node::new(&other.node("b")));
    b.endpoint.send(a.address, bytes("let me in"));
    let why = b.next_refused().await;
    assert!(why.contains("not of this cluster"), "{why}");
    let why = a.next_refused().await;
    assert!(why.contains("not of its cluster"), "{why}");
    let asked = b.endpoint.ask(a.address, bytes("let me in")).await;
    assert!(matches!(&asked, Err(PeerError::Refused(why)) if why.contains("mosix token")), "{asked:?}");
    assert!(a.events.try_recv().is_err(), "a host is reported once in a while");
}

/// A user of the cluster may open sessions and is no peer.
#[tokio::test]
async fn a_user_is_refused() {
    let cluster = Cluster::new("user");
    let mut a = Node::new(&cluster.node("a"));
    let user = identity::issue(&cluster.0, Role::User, "u").unwrap();
    let u = Node::new(&user);
    let asked = u.endpoint.ask(a.address, bytes("let me in")).await;
    assert!(matches!(&asked, Err(PeerError::Refused(why)) if why.contains("role")), "{asked:?}");
    assert!(a.next_refused().await.contains("node certificate"));
    // Nor is it called: its certificate is not for servers.
    let asked = a.endpoint.ask(u.address, bytes("?")).await;
    assert!(matches!(asked, Err(PeerError::Refused(_))), "{asked:?}");
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_at_once_and_stays_out() {
    let cluster = Cluster::new("revoked");
    let (a_identity, b_identity) = (cluster.node("a"), cluster.node("b"));
    let (mut a, mut b) = (Node::new(&a_identity), Node::new(&b_identity));
    a.endpoint.send(b.address, bytes("hello"));
    assert!(matches!(b.next().await, Event::Datagram { .. }));
    let asking = a.endpoint.ask(b.address, bytes("never answered"));
    let (asked, ()) = tokio::join!(asking, async {
        let question = b.next().await;
        b.revoked.replace(a_identity.key_ids());
        assert!(b.next_refused().await.contains("removed from the cluster"));
        drop(question);
    });
    assert!(matches!(&asked, Err(PeerError::Refused(why)) if why.contains("removed")), "{asked:?}");
    assert!(a.next_refused().await.contains("removed from the cluster"));
    let asked = a.endpoint.ask(b.address, bytes("again")).await;
    assert!(matches!(&asked, Err(PeerError::Refused(why)) if why.contains("removed")), "{asked:?}");
    let asked = b.endpoint.ask(a.address, bytes("?")).await;
    assert!(matches!(asked, Err(PeerError::Refused(_))), "{asked:?}");
    // The set is what it is told to be, in both directions.
    b.revoked.replace([]);
    tokio::select! {
        asked = a.endpoint.ask(b.address, bytes("12")) => assert_eq!(asked.unwrap().1, bytes("21")),
        () = b.serve() => panic!("closed"),
    }
}

/// As after SIGKILL: no goodbye, and the port is there again.
#[test]
fn a_daemon_that_is_back_is_heard_before_the_idle_timer() {
    let cluster = Cluster::new("restart");
    let b_identity = cluster.node("b");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let doomed = runtime();
    let live = runtime();
    let a = {
        let _in = live.enter();
        Node::new(&cluster.node("a"))
    };
    let mut first = {
        let _in = doomed.enter();
        Node::new(&b_identity)
    };
    let address = first.address;
    let other = std::thread::spawn(move || {
        doomed.block_on(first.next());
        // The runtime goes first, so that nothing of it runs when the endpoint is dropped.
        doomed.shutdown_background();
    });
    a.endpoint.send(address, bytes("hello"));
    live.block_on(async {
        tokio::task::spawn_blocking(move || other.join().unwrap()).await.unwrap();
        let mut second = Node::at(address, &b_identity);
        let back = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                a.endpoint.send(address, bytes("are you back?"));
            }
        };
        tokio::select! {
            heard = timeout(Duration::from_secs(5), second.events.recv()) => {
                assert!(matches!(heard, Ok(Some(Event::Datagram { .. }))), "{heard:?}");
            }
            () = back => {}
        }
    });
}

#[tokio::test]
async fn a_stranger_may_enrol_and_nothing_else() {
    let cluster = Cluster::new("enrol");
    let mut a = Node::new(&cluster.node("a"));
    let ca = identity::ca_sha256(&cluster.0).unwrap();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let places = [dead, a.address];
    let (response, ()) = tokio::join!(peer::enrol(&places, ca, bytes("let me in")), async {
        match a.next().await {
            Event::Enrol { request, answer, .. } => {
                assert_eq!(request, bytes("let me in"));
                answer.send(bytes("welcome"));
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(response, Ok(bytes("welcome")));
    // The request is secret: one who is not of that CA does not see it.
    let asked = peer::enrol(&[a.address], [7; 32], bytes("secret")).await;
    assert!(matches!(&asked, Err(PeerError::Refused(why)) if why.contains("token")), "{asked:?}");
    assert!(a.next_refused().await.contains("refused this machine"));
    let too_long = Bytes::from(vec![0; peer::MAX_ENROL_BYTES + 1]);
    assert!(peer::enrol(&[a.address], ca, too_long).await.is_err());
    assert!(a.events.try_recv().is_err(), "it reached the daemon");
}

#[tokio::test]
async fn an_endpoint_says_goodbye() {
    let cluster = Cluster::new("goodbye");
    let (a, mut b) = (Node::new(&cluster.node("a")), Node::new(&cluster.node("b")));
    let asking = a.endpoint.ask(b.address, bytes("never answered"));
    let (asked, ()) = tokio::join!(asking, async {
        let question = b.next().await;
        b.endpoint.close();
        timeout(PATIENCE, b.endpoint.idle()).await.unwrap();
        drop(question);
    });
    assert!(matches!(&asked, Err(PeerError::Lost(why)) if why.contains("the daemon stops")), "{asked:?}");
    assert_eq!(b.endpoint.ask(a.address, bytes("?")).await, Err(PeerError::Closed));
}
