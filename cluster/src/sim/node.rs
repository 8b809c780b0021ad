//! A simulated machine: cores shared among jobs, memory, and what it knows of others.

use std::time::Duration;

use super::mind::Mind;
use super::work::Machine;
use crate::load::LoadSample;
use crate::name::Name;
use crate::placement::Params;
use crate::placement::cost::left_to_guests;
use crate::record::Terms;

/// A job under way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) left_s: f64,
    pub(super) ran_s: f64,
    pub(super) state: State,
    pub(super) since: Duration,
    pub(super) moves: u32,
    pub(super) was_away: bool,
    /// Offers refused since the last decision.
    pub(super) refused: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet arrived.
    Future,
    /// Has arrived and waits for an answer to the offer made at its exec.
    Placing,
    /// Computes at this node.
    At(usize),
    /// Between two nodes.
    Moving { from: usize, to: usize },
    /// Has ended at that time.
    Done(Duration),
    /// Died with a node or a link.
    Lost,
}

/// One machine.
pub(super) struct Node {
    pub(super) name: Name,
    pub(super) machine: Machine,
    pub(super) alive: bool,
    pub(super) mind: Mind,
    pub(super) incarnation: u64,
    pub(super) terms: Terms,
    pub(super) local: Vec<usize>,
    pub(super) guests: Vec<usize>,
    /// Admitted, not yet here: how many, and their memory in MiB.
    pub(super) coming: (u16, u32),
    /// Until when jobs have been advanced.
    pub(super) at: Duration,
    /// Changes with the jobs here; an end that was computed for another version is void.
    pub(super) version: u64,
    /// The earliest wake-up in the queue.
    pub(super) wakes_at: Duration,
    /// Tasks of the owner's that are no jobs, for tests.
    pub(super) owner_tasks: f64,
    /// Memory of those, MiB.
    pub(super) owner_memory_mib: u32,
}

/// What a node needs of the world to compute rates.
#[derive(Clone, Copy)]
pub(super) struct Costs {
    /// Seconds per forwarded call.
    pub(super) call_s: f64,
    /// Guests are behind local tasks.
    pub(super) guests_last: bool,
}

impl Costs {
    pub(super) fn new(params: &Params, rtt: Duration, guests_last: bool) -> Costs {
        Costs { call_s: params.call_s + rtt.as_secs_f64(), guests_last }
    }
}

impl Node {
    /// Work per second of each local job, and of each guest without its calls.
    fn rates(&self, costs: Costs) -> (f64, f64) {
        let (cores, speed) = (self.machine.cores, self.machine.speed());
        let local = self.local.len() as f64 + self.owner_tasks;
        let guests = self.guests.len() as f64;
        if costs.guests_last {
            let left = left_to_guests(cores, local);
            (speed * (cores / local).min(1.0), speed * (left / guests).min(1.0))
        } else {
            let rate = speed * (cores / (local + guests)).min(1.0);
            (rate, rate)
        }
    }

    /// Lets every job here run until `now`.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        jobs: &mut [Job],
        calls: impl Fn(usize) -> f64,
        costs: Costs,
    ) {
        let passed_s = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        if passed_s == 0.0 {
            return;
        }
        let (local, guest) = self.rates(costs);
        let mut run = |job: usize, rate: f64| {
            jobs[job].left_s -= passed_s * rate;
            jobs[job].ran_s += passed_s * rate;
        };
        self.local.iter().for_each(|job| run(*job, local));
        self.guests.iter().for_each(|job| run(*job, 1.0 / (1.0 / guest + calls(*job) * costs.call_s)));
    }

    /// When the next job ends, counted from the last advance.
    pub(super) fn next_end(
        &self,
        jobs: &[Job],
        calls: impl Fn(usize) -> f64,
        costs: Costs,
    ) -> Option<Duration> {
        let (local, guest) = self.rates(costs);
        let locals = self.local.iter().map(|job| jobs[*job].left_s / local);
        let guests =
            self.guests.iter().map(|job| jobs[*job].left_s * (1.0 / guest + calls(*job) * costs.call_s));
        let soonest = locals.chain(guests).min_by(f64::total_cmp)?;
        // Rounded up, so that the job is done by then.
        Some(self.at + Duration::from_secs_f64(soonest.max(0.0)) + Duration::from_nanos(1))
    }

    /// What it measures of itself.
    pub(super) fn sample(&self, memory: impl Fn(usize) -> u32) -> LoadSample {
        let sum = |jobs: &[usize]| jobs.iter().map(|job| memory(*job)).sum::<u32>();
        let (local_mib, guest_mib) = (sum(&self.local), sum(&self.guests) + self.coming.1);
        let total = self.machine.memory_mib;
        // The system itself has an eighth.
        let used = total / 8 + local_mib + guest_mib + self.owner_memory_mib;
        let local = self.local.len() as f64 + self.owner_tasks;
        let guests = self.guests.len() as f64 + f64::from(self.coming.0);
        let tasks = local + guests;
        LoadSample {
            local_runnable: local,
            guests_runnable: guests,
            psi_cpu: (1.0 - self.machine.cores / tasks.max(self.machine.cores)).clamp(0.0, 1.0),
            psi_memory: if used > total { 0.5 } else { 0.0 },
            cores: self.machine.cores,
            speed_milli: self.machine.speed_milli,
            memory_total_mib: total,
            memory_free_mib: total.saturating_sub(used),
            guest_memory_mib: guest_mib,
            guests: self.guests.len() as u16 + self.coming.0,
            terms: self.terms,
        }
    }

    pub(super) fn remove(&mut self, job: usize) {
        self.local.retain(|other| *other != job);
        self.guests.retain(|other| *other != job);
    }
}
