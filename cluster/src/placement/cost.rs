//! Prices of nodes.
//!
//! Amir, Awerbuch, Barak, Borgstrom and Keren (*An opportunity cost approach for job assignment in a scalable computing
//! cluster*, IEEE TPDS 11(7), 2000) turn the use of unlike resources into one cost: a resource used to a share x of its
//! limit costs bˣ, a machine costs the sum over its resources, and a process goes where it raises that sum least. The
//! exponent makes the last tenth of memory dear and the first cheap, so CPU and memory need no weights against each other.
//!
//! What is different here: CPU is priced by **time per work** of the process that comes, u = stretch ⁄ speed, from zero
//! and not from the load before. Idle cores of a machine cost nobody anything while one is left, but a slow core costs the
//! process; a marginal cost over load alone would find all half-idle machines alike. The limit of u is a parameter and not
//! the largest load ever seen, so that a price means the same everywhere and always.

use std::time::Duration;

use crate::bulletin::{Bulletin, Known, MAX_AGE};
use crate::placement::Params;
use crate::record::Terms;

/// Share of a core that guests have on a core with local work: they run at the lowest priority.
pub const GUEST_SHARE: f64 = 0.05;

/// An old record says less: with this time constant its load is taken as nearer to the average, in seconds.
const TRUST_S: f64 = 10.0;

/// A node as it is believed to be now, with what has been sent there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Speed of a core, in units.
    pub speed: f64,
    /// Cores.
    pub cores: f64,
    /// What it allows guests.
    pub terms: Terms,
    /// Runnable local tasks.
    pub local: f64,
    /// Runnable guests, including those on their way.
    pub guests: f64,
    /// All memory, MiB.
    pub memory_total_mib: f64,
    /// Free memory less what is on its way, MiB.
    pub memory_free_mib: f64,
}

/// Average load per core of all fresh records.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Average {
    local: f64,
    guests: f64,
}

impl Average {
    /// Of what is known now.
    pub fn of(bulletin: &Bulletin, now: Duration) -> Average {
        let fresh = bulletin.iter().filter(|known| known.age(now) <= MAX_AGE).map(|known| &known.record);
        let (cores, local, guests) = fresh.fold((0.0, 0.0, 0.0), |(cores, local, guests), r| {
            (
                cores + r.cores(),
                local + f64::from(r.local_milli) / 1e3,
                guests + f64::from(r.guests_milli) / 1e3,
            )
        });
        if cores > 0.0 {
            Average { local: local / cores, guests: guests / cores }
        } else {
            Average::default()
        }
    }
}

impl Estimate {
    /// What is believed of a node.
    pub fn of(known: &Known, now: Duration, average: Average) -> Estimate {
        let record = &known.record;
        let trust = (-known.age(now).as_secs_f64() / TRUST_S).exp();
        let toward = |milli: u32, mean: f64| {
            let said = f64::from(milli) / 1e3;
            // Never toward less: an old record of a busy node is no reason to go there.
            said.max(trust * said + (1.0 - trust) * mean * record.cores())
        };
        let local = toward(record.local_milli, average.local);
        let guests = toward(record.guests_milli, average.guests);
        // What has just come is not in the smoothed load yet.
        let guests = guests.max(f64::from(record.runnable_milli) / 1e3 - local);
        Estimate {
            speed: record.speed(),
            cores: record.cores(),
            terms: record.terms,
            local,
            guests: guests + known.charged_tasks(),
            memory_total_mib: record.memory_total_mib.into(),
            memory_free_mib: f64::from(record.memory_free_mib) - f64::from(known.charged_memory_mib()),
        }
    }

    /// Time per work of each guest when `more` come, in seconds of a core of speed 1. Guests have the cores that local
    /// tasks leave.
    pub fn guest_unit(&self, more: f64) -> f64 {
        let cores = self.terms.guest_cores(left_to_guests(self.cores, self.local));
        unit(self.guests + more, cores, self.speed)
    }
}

/// Cores that guests have beside so many runnable local tasks.
pub fn left_to_guests(cores: f64, local: f64) -> f64 {
    (cores - local).max(cores * GUEST_SHARE)
}

/// Time per work when so many tasks share so many cores of that speed.
pub fn unit(tasks: f64, cores: f64, speed: f64) -> f64 {
    (tasks / cores).max(1.0) / speed
}

/// Additional time per work of a process that makes so many forwarded calls per CPU second, over that distance.
pub fn distance(calls_per_s: f64, rtt: Duration, params: &Params) -> f64 {
    calls_per_s * (rtt.as_secs_f64() + params.call_s)
}

/// Price of a process on a node: bᵘ for its time per work, and the difference that it makes to memory.
pub fn price(unit: f64, memory_mib: f64, free_mib: f64, total_mib: f64, params: &Params) -> f64 {
    let used = (total_mib - free_mib).max(0.0) / total_mib;
    let after = used + memory_mib / total_mib;
    // Capped well above any node that works: beyond it all are equally hopeless, and no infinity meets another.
    let cost = |x: f64| params.base.powf(x.min(20.0));
    cost(unit / params.unit_limit) + cost(after) - cost(used)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bulletin::Bulletin;
    use crate::name::Name;
    use crate::record::LoadRecord;
    use crate::record::tests::idle;

    #[test]
    fn the_last_memory_is_dear_and_the_first_cheap() {
        let params = Params::default();
        let of = |free: f64| price(1.0, 100.0, free, 1000.0, &params);
        assert!(of(200.0) - of(300.0) > 4.0 * (of(900.0) - of(1000.0)));
        assert!(price(1.0, 100.0, 150.0, 1000.0, &params) > price(2.0, 100.0, 900.0, 1000.0, &params));
    }

    #[test]
    fn an_old_record_of_an_idle_node_is_believed_less_than_a_fresh_one() {
        let mut b = Bulletin::new(Name::new("me").unwrap(), 8);
        let now = Duration::from_secs(100);
        b.learn(now, idle("fresh", 2), Duration::ZERO);
        b.learn(now, idle("old", 2), Duration::from_secs(20));
        b.learn(now, LoadRecord { local_milli: 6000, ..idle("busy", 2) }, Duration::ZERO);
        let average = Average::of(&b, now);
        let of = |name| Estimate::of(b.get(&Name::new(name).unwrap()).unwrap(), now, average);
        assert_eq!(of("fresh").guest_unit(1.0), 1.0);
        assert!(of("old").guest_unit(1.0) > 2.0);
        assert_eq!(of("busy").local, 6.0);
    }

    #[test]
    fn a_node_that_gives_guests_half_a_core_takes_twice_the_time() {
        let mut b = Bulletin::new(Name::new("me").unwrap(), 8);
        let terms = Terms { guest_cores_milli: Some(500), ..Terms::default() };
        b.learn(Duration::ZERO, LoadRecord { terms, ..idle("half", 2) }, Duration::ZERO);
        let known = b.get(&Name::new("half").unwrap()).unwrap();
        let estimate = Estimate::of(known, Duration::ZERO, Average::default());
        assert_eq!((estimate.guest_unit(1.0), estimate.guest_unit(2.0)), (2.0, 4.0));
    }

    proptest! {
        #[test]
        fn prices_are_finite_and_grow_with_load_and_use(
            unit in 0.01f64..1e9, more in 0.0f64..1e9, memory in 0.0f64..1e6, free in -1e6f64..1e6, total in 1.0f64..1e6,
        ) {
            let params = Params::default();
            let low = price(unit, memory, free, total, &params);
            prop_assert!(low.is_finite());
            prop_assert!(price(unit + more, memory, free, total, &params) >= low);
        }
    }
}
