//! Thousands of nodes in simulated time: the records, gossip, membership and placement of this very crate, against
//! other schedulers on the same jobs. Everything comes from one seed, so that a run repeats.
//!
//! A node shares its cores among its tasks equally (processor sharing); guests have what local tasks leave. A process
//! that is away pays for each forwarded call. A move stops the process for its time. What is not simulated: caches,
//! bandwidth shared by moves, processes that wait, and more than one thread in a process.

mod events;
mod mind;
mod node;
pub mod reference;
mod report;
mod work;
mod world;

use std::time::Duration;

pub use report::Report;
pub use work::{JobSpec, Machine, Plan};
pub use world::World;

/// Who decides where processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// This crate.
    Ours,
    /// Each home sends its processes to all nodes in turn, at exec, and never moves them. Guests are equal to local tasks.
    RoundRobin,
    /// Everything runs where it was started.
    Stay,
}

/// How much of the membership is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// All of it: each node runs foca. Memory and time grow with the square of the nodes.
    Swim,
    /// Load records alone travel; who is a member is known to all, eight seconds late.
    Modelled,
}

/// One experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Of all randomness.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Time in which jobs arrive; the run goes on until all have ended.
    pub seconds: u64,
    /// Who decides.
    pub scheduler: Scheduler,
    /// Membership.
    pub membership: Membership,
    /// Work that arrives, as a share of what all cores can do.
    pub utilisation: f64,
    /// CPU seconds of the longest job. Large clusters are simulated faster with a shorter tail.
    pub longest_s: f64,
    /// Share of the nodes at which all jobs arrive.
    pub homes: f64,
    /// All jobs arrive in the first second, everywhere at once.
    pub burst: bool,
    /// All machines alike (two cores of speed 1) or of many kinds.
    pub alike: bool,
    /// Share of jobs that are bound by calls rather than by computing.
    pub io_share: f64,
    /// Share of a job's calls that its home's kernel counts before it was ever away: reads and writes. Away all are counted.
    pub counted_at_home: f64,
    /// Deaths per node and hour. A dead node comes back after 30 s.
    pub deaths_per_hour: f64,
    /// From when to when the two halves of the nodes cannot hear each other.
    pub partition: Option<(Duration, Duration)>,
    /// Share of datagrams lost.
    pub loss: f64,
    /// Round trip between any two nodes.
    pub rtt: Duration,
}

impl Setup {
    /// A quiet LAN of many kinds of machines at 60 % with a fifth of the nodes being homes.
    pub fn new(seed: u64, nodes: usize, seconds: u64) -> Setup {
        Setup {
            seed,
            nodes,
            seconds,
            scheduler: Scheduler::Ours,
            membership: Membership::Swim,
            utilisation: 0.6,
            longest_s: 300.0,
            homes: 0.2,
            burst: false,
            alike: false,
            io_share: 0.1,
            counted_at_home: 1.0,
            deaths_per_hour: 0.0,
            partition: None,
            loss: 0.0,
            rtt: Duration::from_micros(200),
        }
    }
}
