//! What others would make of the same jobs: schedulers without networks, and bounds that nobody can beat.

use std::collections::BTreeMap;
use std::time::Duration;

use super::work::Plan;

/// Mean slowdown and makespan of a scheduler. The slowdown of a job is its time from arrival to end, divided by its
/// time alone on the fastest core of the cluster: 1 is a bound that is proven and mostly out of reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Mean over all jobs.
    pub mean_slowdown: f64,
    /// From the start to the end of the last job, in seconds.
    pub makespan_s: f64,
}

/// Speeds of all cores, fastest first.
fn cores(plan: &Plan) -> Vec<f64> {
    let each = |machine: &super::Machine| vec![machine.speed(); machine.cores as usize];
    let mut speeds: Vec<f64> = plan.machines.iter().flat_map(each).collect();
    speeds.sort_by(|a, b| b.total_cmp(a));
    speeds
}

/// **Full knowledge**: one machine of all cores, which at each moment uses the fastest ones and shares them equally
/// among all jobs, as if moves took no time. It does not know how long jobs are. The best that any balancer can come to
/// which, like ours, leaves the order of jobs to fair kernels.
pub fn full_knowledge(plan: &Plan) -> Outcome {
    let speeds = cores(plan);
    let mut power = vec![0.0];
    for speed in &speeds {
        power.push(power.last().expect("begins with one") + speed);
    }
    let rate = |jobs: usize| power[jobs.min(speeds.len())] / jobs as f64;
    // Every job has had the same since its arrival, so a job ends when the work done for each reaches its mark.
    let mut marks: BTreeMap<(u64, usize), f64> = BTreeMap::new();
    let (mut now, mut done) = (0.0, 0.0);
    let (mut sum, mut last) = (0.0, 0.0);
    let mut arrivals = plan.jobs.iter().enumerate().peekable();
    loop {
        let arrival = arrivals.peek().map(|(_, job)| job.at.as_secs_f64());
        let end = marks.first_key_value().map(|(_, mark)| now + (mark - done) / rate(marks.len()));
        match (arrival, end) {
            (None, None) => break,
            (Some(at), end) if end.is_none_or(|end| at <= end) => {
                if !marks.is_empty() {
                    done += (at - now) * rate(marks.len());
                }
                now = at;
                let (index, job) = arrivals.next().expect("peeked");
                let mark = done + job.work_s;
                // Positive floats sort as their bits do.
                marks.insert((mark.to_bits(), index), mark);
            }
            (_, Some(end)) => {
                let ((_, index), mark) = marks.pop_first().expect("an end has a job");
                (now, done) = (end, mark);
                sum += slowdown(plan, index, now, speeds[0]);
                last = now;
            }
            (Some(_), None) => unreachable!("an arrival without an end matches above"),
        }
    }
    Outcome { mean_slowdown: sum / plan.jobs.len().max(1) as f64, makespan_s: last }
}

/// **Omniscient**: knows how long each job is, interrupts and moves at no cost, and always runs those with the least
/// product of size and remaining work, the best rule for mean slowdown on one processor, on the fastest cores. No
/// balancer above fair kernels can be compared with it; it shows what sizes would be worth.
pub fn omniscient(plan: &Plan) -> Outcome {
    let speeds = cores(plan);
    let mut active: Vec<(f64, usize)> = Vec::new();
    let (mut now, mut sum, mut last, mut next) = (0.0, 0.0, 0.0, 0);
    while next < plan.jobs.len() || !active.is_empty() {
        let arrival = plan.jobs.get(next).map_or(f64::INFINITY, |job| job.at.as_secs_f64());
        let running = active.iter().zip(&speeds);
        let end = running.map(|((left, _), speed)| now + left / speed).fold(f64::INFINITY, f64::min);
        let to = arrival.min(end);
        for ((left, _), speed) in active.iter_mut().zip(&speeds) {
            *left -= (to - now) * speed;
        }
        now = to;
        if arrival <= end {
            active.push((plan.jobs[next].work_s, next));
            next += 1;
        } else {
            active.retain(|(left, index)| {
                let ended = *left <= 1e-9;
                if ended {
                    sum += slowdown(plan, *index, now, speeds[0]);
                    last = now;
                }
                !ended
            });
        }
        let key = |entry: &(f64, usize)| entry.0 * plan.jobs[entry.1].work_s;
        active.sort_by(|a, b| key(a).total_cmp(&key(b)));
    }
    Outcome { mean_slowdown: sum / plan.jobs.len().max(1) as f64, makespan_s: last }
}

/// **Bound on the makespan**, proven: no job ends before it could alone on the fastest core, and the work that arrives
/// after any moment takes all cores some time.
pub fn least_makespan_s(plan: &Plan) -> f64 {
    let speeds = cores(plan);
    let power: f64 = speeds.iter().sum();
    let alone = plan.jobs.iter().map(|job| job.at.as_secs_f64() + job.work_s / speeds[0]).fold(0.0, f64::max);
    let (mut work, mut together) = (0.0, 0.0);
    for job in plan.jobs.iter().rev() {
        work += job.work_s;
        together = f64::max(together, job.at.as_secs_f64() + work / power);
    }
    f64::max(alone, together)
}

fn slowdown(plan: &Plan, index: usize, end_s: f64, fastest: f64) -> f64 {
    let job = &plan.jobs[index];
    (end_s - job.at.as_secs_f64()) / (job.work_s / fastest)
}

/// Slowdown of a job in a simulated run, in the same measure.
pub(super) fn slowdown_of(work_s: f64, took: Duration, fastest: f64) -> f64 {
    took.as_secs_f64() / (work_s / fastest)
}

/// Speed of the fastest core.
pub(super) fn fastest(plan: &Plan) -> f64 {
    plan.machines.iter().map(super::Machine::speed).fold(0.01, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{JobSpec, Machine, Setup};

    fn plan(works: &[(f64, f64)], machines: &[(f64, u32)]) -> Plan {
        let job = |(at, work_s): &(f64, f64)| JobSpec {
            at: Duration::from_secs_f64(*at),
            home: 0,
            work_s: *work_s,
            program: 0,
            calls_per_s: 0.0,
            memory_mib: 1,
        };
        let machine = |(cores, speed_milli): &(f64, u32)| Machine {
            cores: *cores,
            speed_milli: *speed_milli,
            memory_mib: 1000,
        };
        Plan { jobs: works.iter().map(job).collect(), machines: machines.iter().map(machine).collect() }
    }

    #[test]
    fn small_cases_are_as_by_hand() {
        // Two jobs of 1 s share a core: both end at 2. In order: 1 and 2.
        let two = plan(&[(0.0, 1.0), (0.0, 1.0)], &[(1.0, 1000)]);
        assert!((full_knowledge(&two).mean_slowdown - 2.0).abs() < 1e-9);
        assert!((omniscient(&two).mean_slowdown - 1.5).abs() < 1e-9);
        assert!((least_makespan_s(&two) - 2.0).abs() < 1e-9);
        // A fast and a slow core: alone on the fast one, later half the time on each.
        let mixed = plan(&[(0.0, 4.0), (1.0, 3.0)], &[(1.0, 2000), (1.0, 1000)]);
        let outcome = full_knowledge(&mixed);
        // 2 done at 1 s, then 1.5 each: the first ends at 1 + 2/1.5, the second has 1 left, alone at speed 2.
        assert!((outcome.makespan_s - (1.0 + 2.0 / 1.5 + 0.5)).abs() < 1e-9);
    }

    #[test]
    fn nobody_beats_the_bounds() {
        for seed in 0..5 {
            let plan = Plan::new(&Setup { utilisation: 0.9, ..Setup::new(seed, 8, 40) });
            let (fair, all_knowing, least) =
                (full_knowledge(&plan), omniscient(&plan), least_makespan_s(&plan));
            assert!(fair.makespan_s >= least - 1e-6 && all_knowing.makespan_s >= least - 1e-6);
            assert!(fair.mean_slowdown >= all_knowing.mean_slowdown && all_knowing.mean_slowdown >= 1.0);
        }
    }
}
