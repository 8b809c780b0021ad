//! One node's part in the cluster: membership and load records, driven by the caller's datagrams and clock.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::bulletin::{Bulletin, WINDOW_RECORDS};
use crate::load::{LoadSample, Own, OwnLoad};
use crate::name::{Name, NodeId};
use crate::placement::Latencies;
use crate::swim::{Change, Swim, Wants};

/// Largest datagram in bytes: fits a QUIC datagram on every path that carries QUIC (RFC 9000 §14: 1,200), less
/// header, tag and frame.
pub const MAX_DATAGRAM_BYTES: usize = 1100;
/// How often a node sends its window on. Each round costs one datagram.
pub const GOSSIP_PERIOD: Duration = Duration::from_millis(500);
/// How often a node that knows nobody asks one of its seeds.
const SEED_PERIOD: Duration = Duration::from_secs(1);
/// How often a member asks a seed that is no member it knows: what joins two halves that never met.
const SEED_AGAIN: Duration = Duration::from_secs(30);
/// Seeds kept, at most, and members that were lost.
const MAX_SEEDS: usize = 64;
/// A member is probed about once a second. One that hears nothing for so long calls by itself: foca is silent while it
/// knows nobody, and after it has taken a new identity until somebody speaks to that. When two halves meet again,
/// all may do so at once, and without this the cluster would be silent for ever.
const SILENCE: Duration = Duration::from_secs(3);
/// How often it calls then.
const CALL_PERIOD: Duration = Duration::from_millis(500);

/// First byte of a datagram.
mod kind {
    pub(super) const SWIM: u8 = 0;
    pub(super) const RECORDS: u8 = 1;
    /// Who are you? With the sender's id.
    pub(super) const HELLO: u8 = 2;
    /// The answer, with the answerer's id.
    pub(super) const WELCOME: u8 = 3;
}

/// Whom a datagram says it is from, where its kind says that: membership messages and introductions do, records are passed on by
/// anybody. The caller compares it with what it knows of the sender before it hands the datagram in, so that no member
/// speaks for another.
pub fn claimed_sender(datagram: &[u8]) -> Option<Name> {
    let (kind, body) = datagram.split_first()?;
    // A membership message begins with its header, and that with the sender, as foca's Header has it.
    matches!(*kind, kind::SWIM | kind::HELLO | kind::WELCOME)
        .then(|| postcard::take_from_bytes::<NodeId>(body).ok())
        .flatten()
        .map(|(id, _)| id.name)
}

/// What a node is told.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A datagram from another node. **The caller must have authenticated it as coming from a member of the cluster**:
    /// nothing here is signed, and whoever may speak may declare others dead.
    Datagram(&'a [u8]),
    /// The time that [`Cluster::deadline`] named has come. Early or late calls do no harm.
    Tick,
    /// A measurement of this node, once or twice a second.
    Load(LoadSample),
    /// Addresses at which some node of the cluster may be.
    Seeds(&'a [SocketAddr]),
    /// Members as they were before a restart.
    Members(&'a [NodeId]),
    /// A measured round trip to a node, for the cost of distance.
    Latency(&'a Name, Duration),
    /// This node goes; nothing follows but the goodbyes in this answer.
    Leave,
}

/// What a node wants done or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram, of at most [`MAX_DATAGRAM_BYTES`]. It may be lost.
    Send {
        /// Where.
        to: SocketAddr,
        /// What.
        payload: Vec<u8>,
    },
    /// A node has joined or come back.
    Up(NodeId),
    /// A node is dead, has left or has begun anew (then [`Up`](Output::Up) follows): what computed there is gone.
    Down(NodeId),
    /// The others took this node for dead; it is a member again under this identity.
    Renewed(NodeId),
}

/// One node. See [`handle`](Cluster::handle).
pub struct Cluster {
    own: Own,
    id: NodeId,
    swim: Swim,
    bulletin: Bulletin,
    load: Option<OwnLoad>,
    sequence: u32,
    /// Members that are up, by name.
    peers: Vec<NodeId>,
    /// Members that went down, the latest last: whom to call when nobody is left.
    lost: Vec<NodeId>,
    seeds: Vec<SocketAddr>,
    latencies: Latencies,
    last_heard: Duration,
    next_call: Duration,
    next_gossip: Duration,
    next_seed: Duration,
    rng: SmallRng,
    malformed: u64,
    left: bool,
}

impl Cluster {
    /// A node that knows nobody yet. `incarnation` is as [`NodeId`] says; `seed` must differ between nodes in
    /// production, and makes a run repeatable in simulation.
    pub fn new(now: Duration, own: Own, addr: SocketAddr, incarnation: u64, seed: u64) -> Cluster {
        let mut rng = SmallRng::seed_from_u64(seed);
        let id = NodeId { name: own.name.clone(), addr, incarnation };
        let swim_rng = SmallRng::seed_from_u64(rng.random());
        Cluster {
            swim: Swim::new(id.clone(), MAX_DATAGRAM_BYTES - 1, swim_rng),
            bulletin: Bulletin::new(own.name.clone(), WINDOW_RECORDS),
            own,
            id,
            load: None,
            sequence: 0,
            peers: Vec::new(),
            lost: Vec::new(),
            seeds: Vec::new(),
            last_heard: now,
            next_call: now + SILENCE,
            latencies: Latencies::default(),
            next_gossip: now + GOSSIP_PERIOD.mul_f64(rng.random_range(0.0..1.0)),
            next_seed: now,
            rng,
            malformed: 0,
            left: false,
        }
    }

    /// Who this node is now.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Members that are up, this node not among them, by name.
    pub fn members(&self) -> &[NodeId] {
        &self.peers
    }

    /// A member that is up.
    pub fn member(&self, name: &Name) -> Option<&NodeId> {
        let at = self.peers.binary_search_by(|peer| peer.name.cmp(name)).ok()?;
        Some(&self.peers[at])
    }

    /// What has been heard of others' load.
    pub fn bulletin(&self) -> &Bulletin {
        &self.bulletin
    }

    /// The same, for charges and for records that come with answers.
    pub fn bulletin_mut(&mut self) -> &mut Bulletin {
        &mut self.bulletin
    }

    /// Measured round trips.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// This node's load, once it has been measured.
    pub fn load(&self) -> Option<&OwnLoad> {
        self.load.as_ref()
    }

    /// All that placement looks at, once this node's load has been measured: it and the distances, and the bulletin to charge.
    pub fn placing(&mut self) -> Option<(&OwnLoad, &Latencies, &mut Bulletin)> {
        Some((self.load.as_ref()?, &self.latencies, &mut self.bulletin))
    }

    /// Datagrams that made no sense.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// When [`Input::Tick`] is next due; None after [`Input::Leave`].
    pub fn deadline(&self) -> Option<Duration> {
        if self.left {
            return None;
        }
        let seed = (!self.seeds.is_empty()).then_some(self.next_seed);
        [Some(self.next_gossip), Some(self.next_call), seed, self.swim.deadline()].into_iter().flatten().min()
    }

    /// Takes one input at time `now` (since any fixed moment; never less than before), and appends what follows.
    pub fn handle(&mut self, now: Duration, input: Input<'_>, out: &mut Vec<Output>) {
        if self.left {
            return;
        }
        let mut wants = Wants::default();
        match input {
            Input::Datagram(bytes) => {
                if !self.on_datagram(now, bytes, &mut wants, out) {
                    self.malformed += 1;
                }
            }
            Input::Tick => self.tick(now, &mut wants, out),
            Input::Load(sample) => {
                match &mut self.load {
                    Some(load) => load.update(now, sample),
                    None => self.load = Some(OwnLoad::new(now, sample)),
                }
                self.speak(now);
            }
            Input::Seeds(seeds) => {
                self.seeds =
                    seeds.iter().copied().filter(|seed| *seed != self.id.addr).take(MAX_SEEDS).collect();
                self.next_seed = now;
            }
            Input::Members(members) => {
                let others = members.iter().filter(|id| id.name != self.id.name).cloned().collect();
                self.swim.suppose(now, others, &mut wants);
            }
            Input::Latency(node, rtt) => self.latencies.measured(node, rtt),
            Input::Leave => {
                self.swim.leave(now, &mut wants);
                self.left = true;
            }
        }
        self.carry_out(now, wants, out);
    }

    /// Whether it was a datagram of ours.
    fn on_datagram(&mut self, now: Duration, bytes: &[u8], wants: &mut Wants, out: &mut Vec<Output>) -> bool {
        let Some((kind, body)) = bytes.split_first().filter(|_| bytes.len() <= MAX_DATAGRAM_BYTES) else {
            return false;
        };
        match *kind {
            kind::SWIM => {
                let fine = self.swim.handle(now, body, wants).is_ok();
                // Old identities' messages are none to foca, and do not count.
                if fine && self.swim.is_connected() {
                    self.last_heard = now;
                }
                fine
            }
            kind::RECORDS => {
                let peers = &self.peers;
                let is_member = |name: &Name, incarnation: u64| {
                    let at = peers.binary_search_by(|peer| peer.name.cmp(name));
                    at.is_ok_and(|at| peers[at].incarnation == incarnation)
                };
                self.bulletin.read_message(now, body, is_member).is_ok()
            }
            kind::HELLO | kind::WELCOME => {
                let Ok(id) = postcard::from_bytes::<NodeId>(body) else { return false };
                if id.name == self.id.name {
                    return false;
                }
                if *kind == kind::HELLO {
                    out.push(self.introduction(kind::WELCOME, id.addr));
                } else {
                    self.swim.announce(now, id, wants);
                }
                true
            }
            _ => false,
        }
    }

    fn tick(&mut self, now: Duration, wants: &mut Wants, out: &mut Vec<Output>) {
        self.swim.tick(now, wants);
        if now >= self.next_gossip {
            // Uneven, so that nodes which started together do not speak together for ever.
            self.next_gossip = now + GOSSIP_PERIOD.mul_f64(self.rng.random_range(0.9..1.1));
            if !self.peers.is_empty() {
                let to = self.peers[self.rng.random_range(0..self.peers.len())].addr;
                let mut payload = vec![kind::RECORDS];
                if self.bulletin.write_message(now, &mut payload, MAX_DATAGRAM_BYTES - 1) > 0 {
                    out.push(Output::Send { to, payload });
                }
            }
        }
        if now >= self.next_call {
            self.next_call = now + CALL_PERIOD.mul_f64(self.rng.random_range(0.9..1.1));
            let whom = if self.peers.is_empty() { &self.lost } else { &self.peers };
            if now.saturating_sub(self.last_heard) >= SILENCE && !whom.is_empty() {
                let to = whom[self.rng.random_range(0..whom.len())].clone();
                self.swim.announce(now, to, wants);
            }
        }
        if now >= self.next_seed && !self.seeds.is_empty() {
            let alone = self.peers.is_empty();
            self.next_seed = now + if alone { SEED_PERIOD } else { SEED_AGAIN };
            let strangers: Vec<SocketAddr> = self
                .seeds
                .iter()
                .copied()
                .filter(|seed| !self.peers.iter().any(|peer| peer.addr == *seed))
                .collect();
            if !strangers.is_empty() {
                let to = strangers[self.rng.random_range(0..strangers.len())];
                out.push(self.introduction(kind::HELLO, to));
            }
        }
    }

    fn introduction(&self, kind: u8, to: SocketAddr) -> Output {
        let payload = postcard::to_extend(&self.id, vec![kind]).expect("an identity encodes");
        Output::Send { to, payload }
    }

    /// Makes the record that others will hear next.
    fn speak(&mut self, now: Duration) {
        if let Some(load) = &self.load {
            self.sequence = self.sequence.wrapping_add(1);
            let record = load.record(&self.own, self.id.incarnation, self.sequence);
            self.bulletin.set_own(now, record);
        }
    }

    fn carry_out(&mut self, now: Duration, wants: Wants, out: &mut Vec<Output>) {
        for change in wants.changes {
            match change {
                Change::Up(id) => self.admit(id, out),
                Change::Down(id) => self.dismiss(&id.name, out),
                Change::Replaced(old, new) => {
                    if self.member(&old.name).is_some() {
                        self.dismiss(&old.name, out);
                        self.admit(new, out);
                    }
                }
                Change::Renewed(id) => {
                    self.id = id.clone();
                    self.last_heard = Duration::ZERO;
                    self.speak(now);
                    out.push(Output::Renewed(id));
                }
            }
        }
        for (to, message) in wants.sends {
            let mut payload = Vec::with_capacity(message.len() + 1);
            payload.push(kind::SWIM);
            payload.extend_from_slice(&message);
            out.push(Output::Send { to: to.addr, payload });
        }
    }

    fn admit(&mut self, id: NodeId, out: &mut Vec<Output>) {
        self.dismiss(&id.name, out);
        self.lost.retain(|lost| lost.name != id.name);
        let at = self.peers.partition_point(|peer| peer.name < id.name);
        self.peers.insert(at, id.clone());
        out.push(Output::Up(id));
    }

    fn dismiss(&mut self, name: &Name, out: &mut Vec<Output>) {
        if let Ok(at) = self.peers.binary_search_by(|peer| peer.name.cmp(name)) {
            self.bulletin.forget(name);
            self.latencies.forget(name);
            let gone = self.peers.remove(at);
            if self.lost.len() == MAX_SEEDS {
                self.lost.remove(0);
            }
            self.lost.push(gone.clone());
            out.push(Output::Down(gone));
        }
    }
}
