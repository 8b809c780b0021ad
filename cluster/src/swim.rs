//! Membership and failure detection: foca (SWIM with suspicion) as a state machine with timers of its own.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{
    Config, Foca, Member, NoCustomBroadcast, Notification, PeriodicParams, PostcardCodec, Runtime, Timer,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::name::NodeId;

/// How often each node probes another. With [`PROBE_RTT`] and the suspicion below, a node that dies in a cluster of five
/// is out of all views within ten seconds.
pub const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// When a probe without an answer is tried by way of others.
pub const PROBE_RTT: Duration = Duration::from_millis(300);
/// Timers kept at most; foca sets a few per member that is suspected or down.
const MAX_TIMERS: usize = 1 << 16;

/// What happened to the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Up(NodeId),
    Down(NodeId),
    /// The node of that name began anew: the first identity is gone, the second has its place.
    Replaced(NodeId, NodeId),
    /// The others held this node for dead; it goes on under this identity.
    Renewed(NodeId),
}

/// What foca wants done.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub(crate) sends: Vec<(NodeId, Vec<u8>)>,
    pub(crate) changes: Vec<Change>,
    timers: Vec<(Duration, Timer<NodeId>)>,
}

impl Runtime<NodeId> for &mut Wants {
    fn notify(&mut self, notification: Notification<'_, NodeId>) {
        self.changes.push(match notification {
            Notification::MemberUp(id) => Change::Up(id.clone()),
            Notification::MemberDown(id) => Change::Down(id.clone()),
            Notification::Rename(old, new) => Change::Replaced(old.clone(), new.clone()),
            Notification::Rejoin(id) => Change::Renewed(id.clone()),
            _ => return,
        });
    }

    fn send_to(&mut self, to: NodeId, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<NodeId>, after: Duration) {
        self.timers.push((after, timer));
    }
}

type Protocol = Foca<NodeId, PostcardCodec, SmallRng, NoCustomBroadcast>;

/// foca and its timers.
pub(crate) struct Swim {
    foca: Protocol,
    timers: BTreeMap<(Duration, u64), Timer<NodeId>>,
    next_timer: u64,
    rng: SmallRng,
    max_bytes: usize,
    /// Size of the cluster that the configuration is for: a power of two.
    size: usize,
}

impl Swim {
    /// A node that knows nobody. No message will have more than `max_bytes`.
    pub(crate) fn new(id: NodeId, max_bytes: usize, mut rng: SmallRng) -> Swim {
        let own = SmallRng::seed_from_u64(rng.random());
        let foca = Foca::new(id, config(1, max_bytes), rng, PostcardCodec);
        Swim { foca, timers: BTreeMap::new(), next_timer: 0, rng: own, max_bytes, size: 1 }
    }

    /// Whether it knows of anybody.
    pub(crate) fn is_connected(&self) -> bool {
        self.foca.num_members() > 0
    }

    /// When the next timer is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Fires what is due.
    pub(crate) fn tick(&mut self, now: Duration, wants: &mut Wants) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let timer = entry.remove();
            // The one error there is, a probe round cut short by a late timer, mends itself in the next round.
            let _ = self.run(now, wants, |foca, wants| foca.handle_timer(timer, wants));
        }
    }

    /// Takes a message; Err if it is none.
    pub(crate) fn handle(
        &mut self,
        now: Duration,
        message: &[u8],
        wants: &mut Wants,
    ) -> Result<(), foca::Error> {
        self.run(now, wants, |foca, wants| foca.handle_data(message, wants))
    }

    /// Asks a node to be let in.
    pub(crate) fn announce(&mut self, now: Duration, to: NodeId, wants: &mut Wants) {
        let _ = self.run(now, wants, |foca, wants| foca.announce(to, wants));
    }

    /// Takes members on trust: those of an earlier run, of which the dead will be found by probing.
    pub(crate) fn suppose(&mut self, now: Duration, members: Vec<NodeId>, wants: &mut Wants) {
        let members = members.into_iter().map(Member::alive);
        let _ = self.run(now, wants, |foca, wants| foca.apply_many(members, false, wants));
    }

    /// Says goodbye to a few, who tell the others.
    pub(crate) fn leave(&mut self, now: Duration, wants: &mut Wants) {
        let _ = self.run(now, wants, |foca, wants| foca.leave_cluster(wants));
    }

    fn run(
        &mut self,
        now: Duration,
        wants: &mut Wants,
        act: impl FnOnce(&mut Protocol, &mut Wants) -> Result<(), foca::Error>,
    ) -> Result<(), foca::Error> {
        let result = act(&mut self.foca, wants);
        for (after, timer) in wants.timers.drain(..) {
            // Of too many, the latest is dropped: that is the forgetting of some dead node a day from now.
            // Uneven, so that nodes which started together do not probe together for ever.
            let after = after.mul_f64(self.rng.random_range(1.0..1.1));
            self.timers.insert((now + after, self.next_timer), timer);
            self.next_timer += 1;
            if self.timers.len() > MAX_TIMERS {
                self.timers.pop_last();
            }
        }
        let size = (self.foca.num_members() + 1).next_power_of_two();
        if size != self.size {
            self.size = size;
            let _ = self.foca.set_config(config(size, self.max_bytes));
        }
        result
    }
}

/// Suspicion and retransmission grow with the logarithm of the size, since rumours need that many rounds.
fn config(size: usize, max_bytes: usize) -> Config {
    let doublings = size.max(2).ilog2();
    let count = |n: usize| NonZeroUsize::new(n).expect("not zero");
    let periodic =
        |frequency: Duration, members| Some(PeriodicParams { frequency, num_members: count(members) });
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: count(3),
        max_transmissions: NonZeroU8::new(4 + doublings as u8).expect("not zero"),
        // The suspected must hear of it and be heard: twice the time that a rumour takes to reach everybody.
        suspect_to_down_after: Duration::from_millis(2500 + 500 * u64::from(doublings)),
        remove_down_after: Some(Duration::from_secs(24 * 3600)),
        max_packet_size: count(max_bytes),
        notify_down_members: true,
        periodic_announce: periodic(Duration::from_secs(15), 1),
        // What heals a partition: each side keeps asking the dead of the other.
        periodic_announce_to_down_members: periodic(Duration::from_secs(5), 1),
        // Only while there is news of members.
        periodic_gossip: periodic(Duration::from_millis(500), 2),
    }
}
