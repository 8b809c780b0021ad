//! What a simulated run came to.

use std::fmt;

/// See the fields. Equal runs have equal reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Jobs that arrived.
    pub jobs: usize,
    /// Jobs that ended.
    pub done: usize,
    /// Jobs that died with a node or a link.
    pub lost: usize,
    /// Mean of: time from arrival to end over time alone on the cluster's fastest core.
    pub mean_slowdown: f64,
    /// The slowdown that 95 of 100 jobs stay below.
    pub p95_slowdown: f64,
    /// End of the last job, in seconds.
    pub makespan_s: f64,
    /// Placements away at exec, per job.
    pub placed_per_job: f64,
    /// Moves of running processes, per job.
    pub moves_per_job: f64,
    /// Most moves of one job.
    pub most_moves: u32,
    /// Moves in each minute of the run.
    pub moves_by_minute: Vec<u32>,
    /// Offers that a node refused, per job.
    pub refusals_per_job: f64,
    /// Bytes of datagrams' contents that a node sent in a second, without headers of QUIC, UDP and IP.
    pub gossip_bytes_per_node_s: f64,
    /// Largest datagram.
    pub largest_datagram: usize,
    /// Most guests at one node at any time, per core.
    pub most_guests_per_core: f64,
    /// Moments at which a node had less memory than its processes wanted.
    pub out_of_memory: u64,
    /// Events simulated.
    pub events: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "jobs              {} ({} done, {} lost)", self.jobs, self.done, self.lost)?;
        writeln!(f, "mean slowdown     {:.3} (95 %: {:.2})", self.mean_slowdown, self.p95_slowdown)?;
        writeln!(f, "makespan          {:.1} s", self.makespan_s)?;
        writeln!(
            f,
            "moves per job     {:.2} at exec + {:.2} live (most {}), {:.2} refused",
            self.placed_per_job, self.moves_per_job, self.most_moves, self.refusals_per_job
        )?;
        writeln!(f, "moves by minute   {:?}", self.moves_by_minute)?;
        writeln!(
            f,
            "gossip            {:.0} bytes per node and second, largest datagram {}",
            self.gossip_bytes_per_node_s, self.largest_datagram
        )?;
        writeln!(f, "most guests       {:.1} per core", self.most_guests_per_core)?;
        write!(f, "out of memory     {} times", self.out_of_memory)
    }
}
