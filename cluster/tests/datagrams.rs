//! Whatever arrives, a node neither panics nor grows.

use std::time::Duration;

use cluster::{Cluster, Features, Input, LoadSample, MAX_DATAGRAM_BYTES, Name, Output, Own};
use proptest::prelude::*;

fn node(name: &str, port: u16) -> Cluster {
    let own = Own::new(Name::new(name).unwrap(), Features::default(), []);
    let addr = ([127, 0, 0, 1], port).into();
    let mut cluster = Cluster::new(Duration::ZERO, own, addr, 1, port.into());
    cluster.handle(Duration::ZERO, Input::Load(LoadSample::idle(2.0, 1000, 1024)), &mut Vec::new());
    cluster
}

/// Lets two nodes talk for so many seconds; returns all that was said to the second.
fn talk(a: &mut Cluster, b: &mut Cluster, seconds: u64) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    let seed = [a.id().addr];
    b.handle(Duration::ZERO, Input::Seeds(&seed), &mut Vec::new());
    for ms in (0..seconds * 1000).step_by(50) {
        let now = Duration::from_millis(ms);
        let mut out = Vec::new();
        a.handle(now, Input::Tick, &mut out);
        b.handle(now, Input::Tick, &mut out);
        while let Some(output) = out.pop() {
            let Output::Send { to, payload } = output else { continue };
            assert!(payload.len() <= MAX_DATAGRAM_BYTES);
            let target = if to == a.id().addr { &mut *a } else { &mut *b };
            target.handle(now, Input::Datagram(&payload), &mut out);
            if to == b.id().addr {
                said.push(payload);
            }
        }
    }
    said
}

#[test]
fn two_nodes_find_each_other_by_a_seed_and_hear_of_each_others_load() {
    let (mut a, mut b) = (node("a", 1), node("b", 2));
    talk(&mut a, &mut b, 4);
    assert_eq!(a.members(), [b.id().clone()]);
    assert_eq!(b.members(), [a.id().clone()]);
    assert!(a.bulletin().get(&Name::new("b").unwrap()).is_some());
    assert_eq!(a.malformed() + b.malformed(), 0);
    let mut out = Vec::new();
    b.handle(Duration::from_secs(5), Input::Leave, &mut out);
    assert_eq!(b.deadline(), None);
    for output in out.split_off(0) {
        if let Output::Send { payload, .. } = output {
            a.handle(Duration::from_secs(5), Input::Datagram(&payload), &mut out);
        }
    }
    assert!(a.members().is_empty() && a.bulletin().is_empty(), "it said goodbye");
}

#[test]
fn nodes_that_have_lost_everybody_find_each_other_again_without_seeds() {
    let mut nodes: Vec<Cluster> = (0..4).map(|n| node(&format!("n{n}"), n + 1)).collect();
    let ids: Vec<_> = nodes.iter().map(|node| node.id().clone()).collect();
    for node in &mut nodes {
        node.handle(Duration::ZERO, Input::Members(&ids), &mut Vec::new());
    }
    for ms in (0..75_000).step_by(20) {
        let (now, mut queue) = (Duration::from_millis(ms), Vec::new());
        nodes.iter_mut().for_each(|node| node.handle(now, Input::Tick, &mut queue));
        let cut = (5_000..45_000).contains(&ms);
        if ms == 44_980 {
            assert!(nodes.iter().all(|node| node.members().is_empty()));
        }
        while let Some(output) = queue.pop() {
            if let (Output::Send { to, payload }, false) = (output, cut) {
                nodes[usize::from(to.port()) - 1].handle(now, Input::Datagram(&payload), &mut queue);
            }
        }
    }
    assert!(nodes.iter().all(|node| node.members().len() == 3));
}

#[test]
fn a_restarted_node_is_a_new_one() {
    let (mut a, mut b) = (node("a", 1), node("b", 2));
    talk(&mut a, &mut b, 4);
    let own = Own::new(Name::new("b").unwrap(), Features::default(), []);
    let mut again = Cluster::new(Duration::ZERO, own, b.id().addr, 2, 9);
    let seed = [a.id().addr];
    let (now, mut out) = (Duration::from_secs(5), Vec::new());
    again.handle(now, Input::Seeds(&seed), &mut out);
    again.handle(now, Input::Tick, &mut out);
    let mut news = Vec::new();
    while let Some(output) = out.pop() {
        match output {
            Output::Send { to, payload } if to == a.id().addr => {
                a.handle(now, Input::Datagram(&payload), &mut out)
            }
            Output::Send { payload, .. } => again.handle(now, Input::Datagram(&payload), &mut out),
            other => news.push(other),
        }
    }
    assert!(
        news.contains(&Output::Down(b.id().clone())) && news.contains(&Output::Up(again.id().clone())),
        "{news:?}"
    );
    assert_eq!(a.members(), [again.id().clone()]);
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1500), kind in 0u8..5) {
        let (mut cluster, mut out) = (node("a", 1), Vec::new());
        let mut datagram = vec![kind];
        datagram.extend(bytes);
        cluster.handle(Duration::from_secs(1), Input::Datagram(&datagram), &mut out);
        cluster.handle(Duration::from_secs(2), Input::Tick, &mut out);
    }

    #[test]
    fn damaged_and_cut_datagrams_do_no_harm(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..8, any::<bool>()), 1..40),
    ) {
        let (mut a, mut b) = (node("a", 1), node("b", 2));
        let said = talk(&mut a, &mut b, 3);
        let mut out = Vec::new();
        for (which, place, bit, cut) in picks {
            let mut datagram = said[which.index(said.len())].clone();
            let place = place.index(datagram.len());
            if cut { datagram.truncate(place) } else { datagram[place] ^= 1 << bit }
            b.handle(Duration::from_secs(4), Input::Datagram(&datagram), &mut out);
        }
        b.handle(Duration::from_secs(5), Input::Tick, &mut out);
        let sizes = out.iter().map(|output| match output {
            Output::Send { payload, .. } => payload.len(),
            _ => 0,
        });
        prop_assert!(sizes.max().unwrap_or(0) <= MAX_DATAGRAM_BYTES);
    }
}

#[test]
fn who_speaks_is_read_from_what_says_it() {
    let (mut a, mut b) = (node("a", 1), node("b", 2));
    let to_b = talk(&mut a, &mut b, 4);
    let mut named = 0;
    for datagram in &to_b {
        // The kinds of the protocol: membership, records, hello, welcome.
        let sender = cluster::claimed_sender(datagram);
        let says = datagram[0] != 1;
        assert_eq!(sender.is_some(), says, "kind {}", datagram[0]);
        assert!(sender.is_none_or(|name| name.as_str() == "a"));
        named += usize::from(says);
    }
    assert!(named > 2 && named < to_b.len());
    assert_eq!(cluster::claimed_sender(&[]), None);
    assert_eq!(cluster::claimed_sender(&[0, 200]), None);
}
