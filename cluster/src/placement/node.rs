//! What a node decides about guests: whether one may come, and which must go.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::{Own, OwnLoad};
use crate::name::Name;
use crate::placement::cost::{left_to_guests, unit};
use crate::placement::{Offer, Params};
use crate::policy::Policy;

/// Why a node does not take a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Blocked, outside its hours, or claimed.
    #[error("takes no guests now")]
    Closed,
    /// Not from that home.
    #[error("takes no guests from that home")]
    Unwelcome,
    /// At its limit of guests or their memory.
    #[error("has as many guests as it may")]
    Full,
    /// Not enough free memory.
    #[error("has no room for its memory")]
    Memory,
    /// A CPU that lacks something.
    #[error("has another CPU")]
    Features,
    /// Busier than home thought.
    #[error("is busier than its record said")]
    Busy,
}

/// Answers an offer by what is true now. Send the node's newest record with the answer, so that the home knows better.
///
/// The sample in `load` must be of this moment and count guests that were admitted before and are still on their way: take
/// one before and another after, which makes the record to send.
pub fn admit(
    params: &Params,
    own: &Own,
    load: &OwnLoad,
    policy: &Policy,
    offer: &Offer,
) -> Result<(), Refusal> {
    let sample = load.sample();
    let terms = sample.terms;
    if !terms.open || terms.claimed {
        return Err(Refusal::Closed);
    }
    if !policy.welcomes(&offer.home) {
        return Err(Refusal::Unwelcome);
    }
    let guest_memory = u64::from(sample.guest_memory_mib) + u64::from(offer.memory_mib);
    if sample.guests >= terms.max_guests || guest_memory > u64::from(terms.max_guest_memory_mib) {
        return Err(Refusal::Full);
    }
    let free = sample.memory_free_mib.saturating_sub(params.reserve_mib(sample.memory_total_mib));
    if offer.memory_mib > free {
        return Err(Refusal::Memory);
    }
    if !own.features.hosts(&offer.features) {
        return Err(Refusal::Features);
    }
    let tasks = sample.guests_runnable + 1.0;
    let cores = terms.guest_cores(left_to_guests(sample.cores, sample.local_runnable));
    let unit_milli = unit(tasks, cores, f64::from(sample.speed_milli.max(1)) / 1e3) * 1e3;
    if unit_milli > f64::from(offer.worth_up_to_milli) && offer.worth_up_to_milli != u32::MAX {
        return Err(Refusal::Busy);
    }
    Ok(())
}

/// A guest as its node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Whose.
    pub home: Name,
    /// Home's number for it.
    pub job: u64,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Order of arrival: larger is later.
    pub arrival: u64,
    /// The policy does not allow it here: not this home's, not this user's, or not at this hour.
    pub barred: bool,
    /// It has been told to go already.
    pub leaving: bool,
}

/// Why a guest must go, or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// The owner wants the machine.
    Claimed,
    /// Memory runs short.
    Memory,
    /// The policy allows fewer guests than there are, or less memory.
    Limit,
    /// Local tasks need the cores. The only one that is no order: if there is no better place, it may stay.
    Crowded,
    /// The policy does not allow it there.
    Barred,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leaving::Claimed => "its owner needs the machine",
            Leaving::Memory => "memory runs short there",
            Leaving::Limit => "its owner allows fewer guests",
            Leaving::Crowded => "local work needs the cores",
            Leaving::Barred => "its owner does not allow it there now",
        })
    }
}

/// A guest that must go. Its home says where to, with [`Balancer::rehouse`](crate::placement::Balancer::rehouse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Whose.
    pub home: Name,
    /// Home's number for it.
    pub job: u64,
    /// Why.
    pub because: Leaving,
}

/// Which guests must go, if any: all when the owner claims the machine; those that the policy does not allow; the fewest that free enough when memory runs
/// short, before anything is swapped; the latest when there are too many or local work takes their cores.
pub fn relieve(params: &Params, load: &OwnLoad, guests: &[Guest]) -> Vec<Eviction> {
    let sample = load.sample();
    let eviction = |guest: &Guest, because| Eviction { home: guest.home.clone(), job: guest.job, because };
    let mut staying: Vec<&Guest> = guests.iter().filter(|guest| !guest.leaving).collect();
    if sample.terms.claimed {
        return staying.into_iter().map(|guest| eviction(guest, Leaving::Claimed)).collect();
    }
    let barred = staying.extract_if(.., |guest| guest.barred);
    let mut evictions: Vec<Eviction> = barred.map(|guest| eviction(guest, Leaving::Barred)).collect();
    let goes = |guest: &&Guest| guest.leaving || guest.barred;
    let already: u32 = guests.iter().filter(goes).map(|guest| guest.memory_mib).sum();
    let mut shortage = params.shortage_mib(sample).saturating_sub(already);
    staying.sort_by_key(|guest| (guest.memory_mib, guest.arrival));
    while shortage > 0 && !staying.is_empty() {
        // The smallest that suffices, else the largest.
        let at = staying.partition_point(|guest| guest.memory_mib < shortage).min(staying.len() - 1);
        let guest = staying.remove(at);
        shortage = shortage.saturating_sub(guest.memory_mib.max(1));
        evictions.push(eviction(guest, Leaving::Memory));
    }
    staying.sort_by_key(|guest| guest.arrival);
    let mut memory: u64 = staying.iter().map(|guest| u64::from(guest.memory_mib)).sum();
    while let Some(guest) = staying.last() {
        let too_many = staying.len() > usize::from(sample.terms.max_guests);
        if !too_many && memory <= u64::from(sample.terms.max_guest_memory_mib) {
            break;
        }
        memory -= u64::from(guest.memory_mib);
        evictions.push(eviction(guest, Leaving::Limit));
        staying.pop();
    }
    // Both the moment and the recent past: a local task of a second is no reason to go. Guests that share cores with
    // each other have chosen to.
    let local = load.local().min(sample.local_runnable);
    let room = (sample.cores - local).max(0.0);
    if local > 0.5 && sample.guests_runnable > room {
        let many = (sample.guests_runnable - room).round() as usize;
        let leaving = guests.iter().filter(|guest| guest.leaving).count() + evictions.len();
        let count = many.saturating_sub(leaving).min(staying.len());
        evictions
            .extend(staying.drain(staying.len() - count..).map(|guest| eviction(guest, Leaving::Crowded)));
    }
    evictions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::LoadSample;
    use crate::record::{Features, Terms};

    fn own() -> Own {
        Own::new(Name::new("node").unwrap(), Features::default(), [])
    }

    fn load(change: impl FnOnce(&mut LoadSample)) -> OwnLoad {
        let mut sample = LoadSample::idle(2.0, 1000, 4096);
        change(&mut sample);
        OwnLoad::new(Duration::ZERO, sample)
    }

    fn offer() -> Offer {
        let home = Name::new("home").unwrap();
        Offer { home, job: 1, memory_mib: 100, features: Features::default(), worth_up_to_milli: 1500 }
    }

    fn answer(load: &OwnLoad, offer: &Offer) -> Result<(), Refusal> {
        admit(&Params::default(), &own(), load, &Policy::default(), offer)
    }

    fn guests(memory: &[u32]) -> Vec<Guest> {
        let home = Name::new("home").unwrap();
        let guest = |(n, memory_mib): (usize, &u32)| Guest {
            home: home.clone(),
            job: n as u64,
            memory_mib: *memory_mib,
            arrival: n as u64,
            barred: false,
            leaving: false,
        };
        memory.iter().enumerate().map(guest).collect()
    }

    fn jobs(evictions: &[Eviction]) -> Vec<(u64, Leaving)> {
        evictions.iter().map(|eviction| (eviction.job, eviction.because)).collect()
    }

    #[test]
    fn an_idle_node_admits_until_what_is_coming_fills_it() {
        let with = |guests: f64, free| load(|s| (s.guests_runnable, s.memory_free_mib) = (guests, free));
        assert_eq!(answer(&with(0.0, 4096), &offer()), Ok(()));
        assert_eq!(answer(&with(2.0, 4096), &offer()), Ok(()));
        assert_eq!(answer(&with(3.0, 4096), &offer()), Err(Refusal::Busy));
        let wanted = Offer { worth_up_to_milli: u32::MAX, ..offer() };
        assert_eq!(answer(&with(30.0, 4096), &wanted), Ok(()));
        assert_eq!(answer(&with(1.0, 303), &wanted), Err(Refusal::Memory), "204 are kept free");
    }

    #[test]
    fn policy_is_obeyed_before_any_price() {
        let wanted = Offer { worth_up_to_milli: u32::MAX, ..offer() };
        let with = |terms: Terms| answer(&load(|s| s.terms = terms), &wanted);
        assert_eq!(with(Terms { open: false, ..Terms::default() }), Err(Refusal::Closed));
        assert_eq!(with(Terms { claimed: true, ..Terms::default() }), Err(Refusal::Closed));
        assert_eq!(with(Terms { max_guests: 0, ..Terms::default() }), Err(Refusal::Full));
        assert_eq!(with(Terms { max_guest_memory_mib: 99, ..Terms::default() }), Err(Refusal::Full));
        let policy = Policy { homes: vec![Name::new("other").unwrap()], ..Policy::default() };
        let answer = admit(&Params::default(), &own(), &load(|_| ()), &policy, &wanted);
        assert_eq!(answer, Err(Refusal::Unwelcome));
        let features = Features { xcr0: 0xe7, ..Features::default() };
        assert_eq!(
            super::tests::answer(&load(|_| ()), &Offer { features, ..wanted }),
            Err(Refusal::Features)
        );
    }

    #[test]
    fn local_work_makes_a_node_refuse() {
        let busy = load(|s| s.local_runnable = 2.0);
        assert_eq!(answer(&busy, &offer()), Err(Refusal::Busy));
    }

    #[test]
    fn a_claim_sends_everybody_away_once() {
        let claimed = load(|s| s.terms.claimed = true);
        let mut list = guests(&[10, 20]);
        list[0].leaving = true;
        assert_eq!(jobs(&relieve(&Params::default(), &claimed, &list)), [(1, Leaving::Claimed)]);
    }

    #[test]
    fn short_memory_sends_the_fewest_before_it_is_gone() {
        let params = Params::default();
        let all = guests(&[50, 400, 900, 20]);
        // Reserve 204, wanted free 510.
        let of = |free| jobs(&relieve(&params, &load(|s| s.memory_free_mib = free), &all));
        assert_eq!(of(210), []);
        assert_eq!(of(190), [(1, Leaving::Memory)]);
        assert_eq!(of(10), [(2, Leaving::Memory)]);
        let small = guests(&[50, 100, 20]);
        let evictions = relieve(&params, &load(|s| s.memory_free_mib = 390 - 200), &small);
        assert_eq!(jobs(&evictions).len(), 3, "all of them do not suffice");
        let mut leaving = all.clone();
        leaving[1].leaving = true;
        assert_eq!(relieve(&params, &load(|s| s.memory_free_mib = 190), &leaving), []);
        let strained = load(|s| (s.memory_free_mib, s.psi_memory) = (300, 0.3));
        assert_eq!(jobs(&relieve(&params, &strained, &all)), [(1, Leaving::Memory)]);
    }

    #[test]
    fn who_is_not_allowed_goes_first_and_makes_room() {
        let mut list = guests(&[900, 20, 30]);
        list[0].barred = true;
        let of = |load: &OwnLoad| jobs(&relieve(&Params::default(), load, &list));
        assert_eq!(of(&load(|_| ())), [(0, Leaving::Barred)]);
        // Memory is short by less than what goes.
        assert_eq!(of(&load(|s| s.memory_free_mib = 190)), [(0, Leaving::Barred)]);
        assert_eq!(of(&load(|s| s.terms.max_guests = 1)), [(0, Leaving::Barred), (2, Leaving::Limit)]);
    }

    #[test]
    fn cores_of_guests_are_limited() {
        let with = |milli| load(|s| (s.guests_runnable, s.terms.guest_cores_milli) = (1.0, milli));
        assert_eq!(answer(&with(None), &offer()), Ok(()));
        assert_eq!(answer(&with(Some(1500)), &offer()), Ok(()));
        assert_eq!(answer(&with(Some(1000)), &offer()), Err(Refusal::Busy));
    }

    #[test]
    fn limits_and_local_work_send_the_latest() {
        let params = Params::default();
        let all = guests(&[10, 10, 10]);
        let fewer = load(|s| s.terms.max_guests = 1);
        assert_eq!(jobs(&relieve(&params, &fewer, &all)), [(2, Leaving::Limit), (1, Leaving::Limit)]);
        let crowded = load(|s| (s.local_runnable, s.guests_runnable) = (1.0, 3.0));
        assert_eq!(jobs(&relieve(&params, &crowded, &all)), [(1, Leaving::Crowded), (2, Leaving::Crowded)]);
        let sharing = load(|s| s.guests_runnable = 3.0);
        assert_eq!(relieve(&params, &sharing, &all), []);
    }
}
