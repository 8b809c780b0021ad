//! What a node has heard of others' load: a window of the freshest records, and the messages that pass it on.
//!
//! Each round a node sends its own record and the freshest others that fit into one datagram to one random member, as
//! MOSIX does with the newest half of its window (Amar, Barak, Drezner, Okun: *Randomized gossip algorithms for
//! maintaining a distributed bulletin board with guaranteed age properties*, 2009). So the cost for a node does not
//! depend on the number of nodes; what grows is the age of what it knows of any particular one. Nobody needs to know
//! them all: to find an idle node, a random sample of fresh records does.
//!
//! No clocks are compared: a record travels with its age, to which each node adds the time that it held it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::Name;
use crate::record::{LoadRecord, MAX_RECORD_BYTES, RecordError};

/// Records kept, by default: all of a cluster of that size, the freshest of a larger one. About 150 KiB.
pub const WINDOW_RECORDS: usize = 512;
/// A record older than this says nothing: longer than a dead node stays in view, shorter than most jobs worth moving.
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// Charges kept for one node: more provisional guests than anybody sends to one node before it speaks again.
const MAX_CHARGES: usize = 64;
/// Longest encoding of an age in milliseconds: MAX_AGE fits into three bytes of varint, five are accepted.
const MAX_AGE_BYTES: usize = 5;

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it said.
    pub record: LoadRecord,
    /// When it said it, by this node's clock: never earlier than in truth by more than the network's delay.
    pub measured_at: Duration,
    charges: Vec<Charge>,
}

/// A process that has been offered to a node whose record does not show it yet.
#[derive(Debug, Clone, Copy)]
struct Charge {
    job: u64,
    memory_mib: u32,
    /// A record measured at or after this time includes the process.
    shows_at: Duration,
}

impl Known {
    /// Age of the record.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.measured_at)
    }

    /// Processes sent there that the record does not show yet.
    pub fn charged_tasks(&self) -> f64 {
        self.charges.len() as f64
    }

    /// Memory of those, in MiB.
    pub fn charged_memory_mib(&self) -> u32 {
        self.charges.iter().fold(0, |sum, charge| sum.saturating_add(charge.memory_mib))
    }

    fn renew(&mut self, record: LoadRecord, measured_at: Duration) {
        self.charges.retain(|charge| charge.shows_at > measured_at);
        self.record = record;
        self.measured_at = measured_at;
    }
}

/// The window of records. See the module's text.
#[derive(Debug, Clone)]
pub struct Bulletin {
    me: Name,
    own: Option<(LoadRecord, Duration)>,
    known: BTreeMap<Name, Known>,
    window: usize,
}

impl Bulletin {
    /// An empty window of so many records of others.
    pub fn new(me: Name, window: usize) -> Bulletin {
        Bulletin { me, own: None, known: BTreeMap::new(), window: window.max(1) }
    }

    /// This node's name.
    pub fn me(&self) -> &Name {
        &self.me
    }

    /// Sets what this node says of itself.
    pub fn set_own(&mut self, now: Duration, record: LoadRecord) {
        self.own = Some((record, now));
    }

    /// What this node last said of itself.
    pub fn own(&self) -> Option<&LoadRecord> {
        self.own.as_ref().map(|(record, _)| record)
    }

    /// What is known of others, by name, fresh or not.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// What is known of one node.
    pub fn get(&self, name: &Name) -> Option<&Known> {
        self.known.get(name)
    }

    /// Records held.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is known of others.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets a node that is down or has begun anew.
    pub fn forget(&mut self, name: &Name) {
        self.known.remove(name);
    }

    /// Takes a record that is `age` old, as it comes in a datagram or with a node's answer to an offer. Older news
    /// than known is ignored. Returns whether it was news.
    pub fn learn(&mut self, now: Duration, record: LoadRecord, age: Duration) -> bool {
        if record.name == self.me || age > MAX_AGE {
            return false;
        }
        let measured_at = now.saturating_sub(age);
        if let Some(known) = self.known.get_mut(&record.name) {
            if known.record.freshness() >= record.freshness() {
                return false;
            }
            known.renew(record, measured_at);
            return true;
        }
        if self.known.len() >= self.window && !self.evict_before(measured_at) {
            return false;
        }
        self.known.insert(record.name.clone(), Known { record, measured_at, charges: Vec::new() });
        true
    }

    /// Makes room by dropping the oldest record, if there is an older one than that.
    fn evict_before(&mut self, measured_at: Duration) -> bool {
        let oldest = self.known.values().min_by_key(|known| known.measured_at);
        let Some(oldest) = oldest.filter(|known| known.measured_at < measured_at) else { return false };
        let name = oldest.record.name.clone();
        self.known.remove(&name).is_some()
    }

    /// Charges a node with a process that was sent there, until a record shows it that was measured at or after
    /// `shows_at`.
    pub fn charge(&mut self, node: &Name, job: u64, memory_mib: u32, shows_at: Duration) {
        if let Some(known) = self.known.get_mut(node) {
            known.charges.retain(|charge| charge.job != job);
            if known.charges.len() == MAX_CHARGES {
                known.charges.remove(0);
            }
            known.charges.push(Charge { job, memory_mib, shows_at });
        }
    }

    /// Takes a charge back: the node has answered, and its record that came with the answer counts the process if it was
    /// taken; or the move failed.
    pub fn discharge(&mut self, node: &Name, job: u64) {
        if let Some(known) = self.known.get_mut(node) {
            known.charges.retain(|charge| charge.job != job);
        }
    }

    /// Appends a message of at most `room` bytes to `out`: this node's own record, then the freshest others. Returns
    /// how many records it has.
    pub fn write_message(&self, now: Duration, out: &mut Vec<u8>, room: usize) -> usize {
        let limit = out.len() + room;
        let mut written = 0;
        if let Some((own, at)) = &self.own
            && room >= MAX_RECORD_BYTES + MAX_AGE_BYTES
        {
            put(out, own, now.saturating_sub(*at));
            written += 1;
        }
        let mut others: Vec<&Known> = self.known.values().filter(|known| known.age(now) <= MAX_AGE).collect();
        // Half of the window at most, as in the paper: what is older has been passed on often enough.
        let most = (self.window / 2).max(1).min(others.len());
        if most < others.len() {
            others.select_nth_unstable_by(most, |a, b| b.measured_at.cmp(&a.measured_at));
        }
        others.truncate(most);
        others.sort_unstable_by(|a, b| {
            b.measured_at.cmp(&a.measured_at).then_with(|| a.record.name.cmp(&b.record.name))
        });
        for known in others {
            let before = out.len();
            put(out, &known.record, known.age(now));
            if out.len() > limit {
                out.truncate(before);
                break;
            }
            written += 1;
        }
        written
    }

    /// Reads a message. `is_member` says whether that node in that incarnation is a member; others' records are
    /// dropped. Returns how many were news; after an error, those before it have been taken.
    pub fn read_message(
        &mut self,
        now: Duration,
        mut message: &[u8],
        is_member: impl Fn(&Name, u64) -> bool,
    ) -> Result<usize, RecordError> {
        let mut news = 0;
        while !message.is_empty() {
            let (age_ms, rest) =
                postcard::take_from_bytes::<u32>(message).map_err(|_| RecordError::Malformed)?;
            let (record, rest) = LoadRecord::decode_from(rest)?;
            message = rest;
            if is_member(&record.name, record.incarnation) {
                news += usize::from(self.learn(now, record, Duration::from_millis(age_ms.into())));
            }
        }
        Ok(news)
    }
}

fn put(out: &mut Vec<u8>, record: &LoadRecord, age: Duration) {
    let age_ms = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
    *out = postcard::to_extend(&age_ms, std::mem::take(out)).expect("a number encodes");
    record.encode_to(out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::idle;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn bulletin(window: usize) -> Bulletin {
        Bulletin::new(Name::new("me").unwrap(), window)
    }

    fn at(sequence: u32, name: &str) -> LoadRecord {
        LoadRecord { sequence, ..idle(name, 2) }
    }

    #[test]
    fn older_news_never_replaces_newer() {
        let mut b = bulletin(8);
        assert!(b.learn(S(10), at(5, "a"), S(1)));
        assert!(!b.learn(S(11), at(4, "a"), S(0)) && !b.learn(S(11), at(5, "a"), S(0)));
        assert!(b.learn(S(12), LoadRecord { incarnation: 2, ..at(0, "a") }, S(0)));
        assert!(!b.learn(S(12), at(9, "me"), S(0)), "an echo of this node");
        assert!(!b.learn(S(100), at(9, "b"), S(31)), "too old");
    }

    #[test]
    fn the_window_keeps_the_freshest() {
        let mut b = bulletin(4);
        (0..10).for_each(|n| assert!(b.learn(S(20 + n), at(1, &format!("n{n}")), S(0))));
        assert!(!b.learn(S(29), at(1, "late"), S(20)));
        let names: Vec<_> = b.iter().map(|known| known.record.name.to_string()).collect();
        assert_eq!(names, ["n6", "n7", "n8", "n9"]);
    }

    #[test]
    fn ages_add_up_from_hop_to_hop() {
        let mut a = Bulletin::new(Name::new("a").unwrap(), 8);
        let (mut b, mut c) = (bulletin(8), Bulletin::new(Name::new("c").unwrap(), 8));
        a.set_own(S(100), at(1, "a"));
        let mut message = Vec::new();
        a.write_message(S(102), &mut message, 1000);
        assert_eq!(b.read_message(S(7), &message, |_, _| true), Ok(1));
        message.clear();
        b.write_message(S(10), &mut message, 1000);
        assert_eq!(c.read_message(S(50), &message, |_, _| true), Ok(1));
        assert_eq!(c.get(&Name::new("a").unwrap()).unwrap().age(S(51)), S(6));
    }

    #[test]
    fn a_message_fits_and_has_the_freshest() {
        let mut b = bulletin(512);
        (0..300u64)
            .for_each(|n| assert!(b.learn(S(1000), at(1, &format!("n{n}")), Duration::from_millis(n))));
        b.set_own(S(1000), at(1, "me"));
        let mut message = vec![9];
        let count = b.write_message(S(1000), &mut message, 1000);
        assert!(message.len() <= 1001 && message.len() > 900, "{}", message.len());
        let mut other = Bulletin::new(Name::new("x").unwrap(), 512);
        assert_eq!(other.read_message(S(5), &message[1..], |_, _| true), Ok(count));
        assert!(other.get(&Name::new("me").unwrap()).is_some());
        (0..count - 1).for_each(|n| assert!(other.get(&Name::new(&format!("n{n}")).unwrap()).is_some()));
    }

    #[test]
    fn a_charge_lasts_until_a_record_shows_it() {
        let mut b = bulletin(8);
        let a = Name::new("a").unwrap();
        b.learn(S(10), at(1, "a"), S(0));
        b.charge(&a, 7, 100, S(12));
        b.charge(&a, 8, 50, S(12));
        b.charge(&a, 8, 60, S(12));
        assert_eq!((b.get(&a).unwrap().charged_tasks(), b.get(&a).unwrap().charged_memory_mib()), (2.0, 160));
        b.learn(S(11), at(2, "a"), S(0));
        assert_eq!(b.get(&a).unwrap().charged_tasks(), 2.0, "measured before the process was there");
        b.discharge(&a, 7);
        b.learn(S(13), at(3, "a"), S(0));
        assert_eq!(b.get(&a).unwrap().charged_tasks(), 0.0);
    }

    #[test]
    fn records_of_strangers_are_dropped() {
        let (mut a, mut message) = (Bulletin::new(Name::new("a").unwrap(), 8), Vec::new());
        a.set_own(S(1), at(1, "a"));
        a.write_message(S(1), &mut message, 1000);
        let mut b = bulletin(8);
        assert_eq!(b.read_message(S(1), &message, |_, incarnation| incarnation == 2), Ok(0));
        assert!(b.is_empty());
    }

    proptest! {
        #[test]
        fn any_message_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut b = bulletin(4);
            let _ = b.read_message(S(1), &bytes, |_, _| true);
            prop_assert!(b.len() <= 4);
        }
    }
}
