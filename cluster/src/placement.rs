//! Where processes should be: at exec, when a home is overloaded, when a guest's node is no longer good, and when home is
//! idle again. The algorithm in words and formulae is in docs/CLUSTER.md.
//!
//! | module | holds |
//! | --- | --- |
//! | [`cost`] | prices of nodes: opportunity cost over CPU and memory, distance |
//! | [`life`] | how long a process will go on, by its age and its program's history |
//! | [`advice`] | what the user asked for |
//! | [`why`] | each decision in one line |
//! | [`home`] | what a home decides for its processes |
//! | [`node`] | what a node decides about guests: admission, relief |

pub mod advice;
pub mod cost;
pub mod home;
pub mod life;
pub mod node;
pub mod why;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::record::Features;

pub use advice::{Advice, Kind};
pub use home::{Balancer, Home, Job};
pub use life::{History, Run};
pub use node::{Eviction, Guest, Leaving, Refusal, admit, relieve};
pub use why::{Stay, Why};

/// Where a process computes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Where it was started.
    Home,
    /// On another node.
    Node(Name),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Home => f.write_str("home"),
            Place::Node(name) => name.fmt(f),
        }
    }
}

/// What a home tells a node before it sends a process there. The node answers with [`admit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Whose process.
    pub home: Name,
    /// Home's number for it.
    pub job: u64,
    /// Memory that it has or is expected to need, in MiB.
    pub memory_mib: u32,
    /// What CPU it has seen.
    pub features: Features,
    /// Largest time per work at which the move pays, in thousandths of the unit of [`cost`]. What the home believes
    /// of the node may be old; the node compares this with what is true. `u32::MAX` when the move is wanted whatever it costs.
    pub worth_up_to_milli: u32,
}

/// A decision about one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Home's number for the process.
    pub job: u64,
    /// Where it should be.
    pub place: Place,
    /// Why.
    pub why: Why,
    /// What to ask the node, if a node it is and the process is not there already. The node is charged with the process.
    pub offer: Option<Offer>,
}

/// The constants of the algorithm, with the values that the simulator was run with.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Base of the exponential cost. 16: a resource at three quarters of its limit costs as much as two that are half used.
    pub base: f64,
    /// Time per work, in units of the reference core's, at which a CPU counts as fully used.
    pub unit_limit: f64,
    /// Nodes whose price is within this share of the best are equals; one is drawn.
    pub near_best: f64,
    /// A placement at exec must save at least this share of the time.
    pub exec_gain: f64,
    /// Time that a placement at exec takes, in seconds: a start on another node, measured.
    pub exec_cost_s: f64,
    /// A move of a running process must save at least this share of the time left.
    pub move_gain: f64,
    /// Time that a move takes besides its pages, in seconds.
    pub move_cost_s: f64,
    /// Rate at which pages move, in MiB/s.
    pub move_mib_per_s: f64,
    /// A process stays at least this long where it is, in seconds; doubled with each move it has made.
    pub residency_s: f64,
    /// Moves of the balancer's own in one round.
    pub moves_per_round: usize,
    /// CPU seconds that a program which has not been seen before is expected to need.
    pub unknown_life_s: f64,
    /// Home's and the node's own time for one forwarded call, in seconds, without the network's.
    pub call_s: f64,
    /// Share of memory that is kept free, see [`reserve_mib`](Params::reserve_mib).
    pub reserve_share: f64,
    /// Least memory that is kept free, in MiB.
    pub reserve_least_mib: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            base: 16.0,
            unit_limit: 4.0,
            near_best: 0.1,
            exec_gain: 0.05,
            exec_cost_s: 0.03,
            move_gain: 0.15,
            move_cost_s: 0.1,
            move_mib_per_s: 500.0,
            residency_s: 1.0,
            moves_per_round: 4,
            unknown_life_s: 1.0,
            call_s: 40e-6,
            reserve_share: 0.05,
            reserve_least_mib: 64,
        }
    }
}

impl Params {
    /// Memory that a node keeps free for what its processes still will want: beneath it they are ushered out, and no
    /// process is sent where it would be broken into.
    pub fn reserve_mib(&self, total_mib: u32) -> u32 {
        // A node smaller than the least reserve keeps a half.
        ((f64::from(total_mib) * self.reserve_share) as u32).max(self.reserve_least_mib.min(total_mib / 2))
    }

    /// Memory that is missing: what must leave so that half as much again as the reserve is free, in MiB. Zero
    /// while the reserve is whole, or half whole and no task waits for memory.
    pub(crate) fn shortage_mib(&self, load: &crate::load::LoadSample) -> u32 {
        let reserve = self.reserve_mib(load.memory_total_mib);
        // PSI: tasks wait for memory a tenth of the time. Reclaim has begun although some memory looks free.
        let strained = load.psi_memory > 0.1 && load.memory_free_mib < reserve * 2;
        if load.memory_free_mib >= reserve && !strained {
            return 0;
        }
        (reserve * 5 / 2).saturating_sub(load.memory_free_mib).max(1)
    }
}

/// Round trips to nodes, smoothed.
#[derive(Debug, Clone, Default)]
pub struct Latencies(BTreeMap<Name, Duration>);

impl Latencies {
    /// Taken for a node that has not been measured: two hops of a switched LAN and the tasks woken.
    pub const UNKNOWN: Duration = Duration::from_micros(200);

    /// Takes a measurement; a quarter of it counts.
    pub fn measured(&mut self, node: &Name, rtt: Duration) {
        self.0.entry(node.clone()).and_modify(|old| *old = (*old * 3 + rtt) / 4).or_insert(rtt);
    }

    /// The round trip to a node.
    pub fn of(&self, node: &Name) -> Duration {
        self.0.get(node).copied().unwrap_or(Self::UNKNOWN)
    }

    /// Forgets a node.
    pub fn forget(&mut self, node: &Name) {
        self.0.remove(node);
    }
}
