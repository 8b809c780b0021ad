//! What machines there are and what jobs arrive: the same for every scheduler of a seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Setup;

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Cores.
    pub cores: f64,
    /// Thousandths of the unit.
    pub speed_milli: u32,
    /// MiB.
    pub memory_mib: u32,
}

impl Machine {
    /// In units.
    pub fn speed(&self) -> f64 {
        f64::from(self.speed_milli) / 1e3
    }
}

/// One job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JobSpec {
    /// When it arrives.
    pub at: Duration,
    /// At which node.
    pub home: usize,
    /// CPU seconds of a core of speed 1.
    pub work_s: f64,
    /// Which program it is: programs differ in how long they run.
    pub program: u8,
    /// Calls per CPU second.
    pub calls_per_s: f64,
    /// MiB.
    pub memory_mib: u32,
}

/// Machines and jobs of one setup.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Machines.
    pub machines: Vec<Machine>,
    /// Jobs by arrival.
    pub jobs: Vec<JobSpec>,
}

/// Programs: their runs are Pareto with this exponent (Harchol-Balter and Downey measured 1.0 to 1.25) …
const TAIL: f64 = 1.1;
/// … from a least time that doubles from program to program, to the longest of the setup.
const LEAST_S: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

impl Plan {
    /// Draws them.
    pub fn new(setup: &Setup) -> Plan {
        let mut rng = SmallRng::seed_from_u64(setup.seed);
        let pick = |rng: &mut SmallRng, from: &[u32]| from[rng.random_range(0..from.len())];
        let machines: Vec<Machine> = (0..setup.nodes)
            .map(|_| match setup.alike {
                true => Machine { cores: 2.0, speed_milli: 1000, memory_mib: 8192 },
                false => Machine {
                    cores: pick(&mut rng, &[2, 2, 4, 4, 8]).into(),
                    speed_milli: pick(&mut rng, &[700, 1000, 1000, 1400]),
                    memory_mib: pick(&mut rng, &[4096, 8192, 16384]),
                },
            })
            .collect();
        let capacity: f64 = machines.iter().map(|machine| machine.cores * machine.speed()).sum();
        let homes = ((setup.nodes as f64 * setup.homes).round() as usize).clamp(1, setup.nodes);
        let total_s = capacity * setup.utilisation * setup.seconds as f64;
        let (mut jobs, mut sum_s) = (Vec::new(), 0.0);
        while sum_s < total_s {
            let program = rng.random_range(0..LEAST_S.len());
            let work_s = pareto(&mut rng, LEAST_S[program], setup.longest_s).min(total_s);
            let io = rng.random_range(0.0..1.0) < setup.io_share;
            let last_s = if setup.burst { 1.0 } else { setup.seconds as f64 };
            jobs.push(JobSpec {
                at: Duration::from_secs_f64(rng.random_range(0.0..last_s)),
                home: rng.random_range(0..homes),
                work_s,
                // I/O-bound jobs are other programs.
                program: program as u8 + if io { LEAST_S.len() as u8 } else { 0 },
                calls_per_s: if io { 20_000.0 } else { rng.random_range(0.0..50.0) },
                memory_mib: rng.random_range(5..150),
            });
            sum_s += work_s;
        }
        jobs.sort_by_key(|job| job.at);
        Plan { machines, jobs }
    }
}

/// Bounded Pareto by inversion.
fn pareto(rng: &mut SmallRng, least_s: f64, longest_s: f64) -> f64 {
    let u: f64 = rng.random_range(0.0..1.0);
    let (low, high) = (least_s.powf(-TAIL), longest_s.powf(-TAIL));
    (low - u * (low - high)).powf(-1.0 / TAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_heavy_tailed_and_the_same_for_a_seed() {
        let setup = Setup::new(3, 64, 60);
        let plan = Plan::new(&setup);
        assert_eq!(plan.jobs, Plan::new(&setup).jobs);
        let mut sizes: Vec<f64> = plan.jobs.iter().map(|job| job.work_s).collect();
        sizes.sort_by(f64::total_cmp);
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        assert!(mean > 2.0 * sizes[sizes.len() / 2], "mean {mean}, median {}", sizes[sizes.len() / 2]);
        assert!(sizes.iter().all(|size| (0.25..=setup.longest_s + 1e-6).contains(size)));
    }
}
