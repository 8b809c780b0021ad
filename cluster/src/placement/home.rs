//! What a home decides for its processes, wherever they are.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::bulletin::{Bulletin, Known, MAX_AGE};
use crate::load::OwnLoad;
use crate::name::Name;
use crate::placement::cost::{Average, Estimate, distance, price, unit};
use crate::placement::why::{Passed, Stay, Why};
use crate::placement::{Advice, Decision, Eviction, History, Kind, Latencies, Leaving, Offer, Params, Place};
use crate::record::Features;

/// Processes looked at in one round, those with the longest life first.
const MAX_EXAMINED: usize = 32;
/// Residency doubles with each move, so many times at most.
const MAX_DOUBLINGS: u32 = 6;
/// An offer that is not answered shows in the node's records at the latest so long after it was made, if it was taken.
const SHOWS_AFTER: Duration = Duration::from_secs(2);

/// A home at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// Now.
    pub now: Duration,
    /// Load as sampled and smoothed.
    pub load: &'a OwnLoad,
    /// Runnable tasks at this very moment, guests not counted, the process in question counted if it is at home
    /// (`procs_running` of /proc/stat less guests).
    pub tasks: f64,
    /// This CPU, which the processes have seen.
    pub features: &'a Features,
    /// Distances.
    pub latencies: &'a Latencies,
}

/// A process as its home sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Home's number for it.
    pub id: u64,
    /// The file it runs.
    pub program: String,
    /// Where it is.
    pub place: Place,
    /// CPU seconds it has used, of a core of speed 1.
    pub ran_s: f64,
    /// Calls per CPU second that are or would be forwarded; None while too few were seen to tell.
    pub calls_per_s: Option<f64>,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// When it came to where it is.
    pub since: Duration,
    /// Moves it has made by the balancer's choice.
    pub moves: u32,
    /// It has not computed lately: it would be done no sooner elsewhere.
    pub waits: bool,
    /// Why it may not move now, if so.
    pub held: Option<&'static str>,
    /// What its user asked for.
    pub advice: Advice,
}

/// The home's part of the algorithm, with what it remembers of programs.
#[derive(Debug, Clone, Default)]
pub struct Balancer {
    /// Constants.
    pub params: Params,
    /// What programs have needed.
    pub history: History,
}

/// A place that would do.
struct Choice {
    place: Place,
    /// Time per work there, distance included.
    unit: f64,
    price: f64,
}

/// What a process will need.
#[derive(Clone, Copy)]
struct Needs {
    life_s: f64,
    calls_per_s: f64,
    memory_mib: u32,
}

impl Balancer {
    /// Places a process at its exec. The image is small: it goes where it is done soonest, if that pays for the way.
    /// A node chosen is charged.
    pub fn place(&self, home: &Home<'_>, bulletin: &mut Bulletin, job: &Job, rng: &mut impl Rng) -> Decision {
        let cost_s = self.params.exec_cost_s;
        self.decide(home, bulletin, job, self.params.exec_gain, cost_s, rng)
    }

    /// One round over all processes, once or twice a second: ushers processes out if memory is short, otherwise moves
    /// those that gain most, away, on or home. Returns only decisions that change something, each once charged.
    pub fn balance(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        jobs: &[Job],
        rng: &mut impl Rng,
    ) -> Vec<Decision> {
        let ushered = self.usher(home, bulletin, jobs, rng);
        if !ushered.is_empty() {
            return ushered;
        }
        let mut home = *home;
        let mut candidates: Vec<(f64, &Job)> = jobs
            .iter()
            .filter(|job| self.may_move(&home, job).is_ok())
            .map(|job| (self.needs(job).life_s, job))
            .collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
        candidates.truncate(MAX_EXAMINED);
        let mut decisions = Vec::new();
        for (_, job) in candidates {
            if decisions.len() == self.params.moves_per_round {
                break;
            }
            let decision = self.decide(
                &home,
                bulletin,
                job,
                self.params.move_gain,
                self.move_cost_s(job.memory_mib),
                rng,
            );
            if decision.place != job.place {
                home.tasks += match (&job.place, &decision.place) {
                    (Place::Home, _) => -1.0,
                    (_, Place::Home) => 1.0,
                    _ => 0.0,
                };
                decisions.push(decision);
            }
        }
        decisions
    }

    /// What would be decided about a process now, with nothing charged: for `mosix why`.
    pub fn explain(&self, home: &Home<'_>, bulletin: &Bulletin, job: &Job, rng: &mut impl Rng) -> Why {
        if let Err(stay) = self.may_move(home, job) {
            return Why::Stays(stay, Passed::default());
        }
        let (gain, cost_s) = (self.params.move_gain, self.move_cost_s(job.memory_mib));
        self.decide(home, &mut bulletin.clone(), job, gain, cost_s, rng).why
    }

    /// Where a process goes whose node wants it gone: to the best other node, or home. Only a node that is merely
    /// crowded keeps a process for which there is nothing better.
    pub fn rehouse(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        job: &Job,
        eviction: &Eviction,
        rng: &mut impl Rng,
    ) -> Decision {
        let Place::Node(from) = job.place.clone() else {
            return self.stay(job, Stay::GoodHere { here_s: 0.0, best: None }, Passed::default());
        };
        if eviction.because == Leaving::Crowded {
            // Where local work has the cores a guest may get so little that it seems to wait.
            let job = &Job { waits: false, ..job.clone() };
            if let Err(stay) = self.may_move(home, job) {
                return self.stay(job, stay, Passed::default());
            }
            let cost_s = self.move_cost_s(job.memory_mib);
            return self.decide(home, bulletin, job, self.params.move_gain, cost_s, rng);
        }
        let needs = self.needs(job);
        let (mut options, _) = self.nodes(home, bulletin, job, needs);
        options.extend(self.way_home(home, job, needs));
        let to = match draw(options, self.params.near_best, rng) {
            Some((option, _)) if !job.advice.no_migrate => option.place,
            _ => Place::Home,
        };
        let why = Why::Leaves { from, because: eviction.because, to: to.clone() };
        self.go(home, bulletin, job, needs, to, why, u32::MAX)
    }

    /// Time that a move takes, in seconds.
    pub fn move_cost_s(&self, memory_mib: u32) -> f64 {
        self.params.move_cost_s + f64::from(memory_mib) / self.params.move_mib_per_s
    }

    fn stay(&self, job: &Job, stay: Stay, passed: Passed) -> Decision {
        Decision { job: job.id, place: job.place.clone(), why: Why::Stays(stay, passed), offer: None }
    }

    /// What the process is expected to need, from measurement, advice and history in this order.
    fn needs(&self, job: &Job) -> Needs {
        let past = self.history.expect(&job.program);
        let calls = match job.advice.kind {
            Kind::Cpu => 0.0,
            Kind::Io | Kind::Unknown => job.calls_per_s.or(past.map(|run| run.calls_per_s)).unwrap_or(0.0),
        };
        let expected_mib = job.advice.memory_mib.or(past.map(|run| run.memory_mib as u32)).unwrap_or(0);
        Needs {
            life_s: self.history.life_s(&job.program, job.ran_s, self.params.unknown_life_s),
            calls_per_s: calls,
            memory_mib: job.memory_mib.max(expected_mib),
        }
    }

    /// Whether the balancer may touch a running process at all.
    fn may_move(&self, home: &Home<'_>, job: &Job) -> Result<(), Stay> {
        if job.advice.no_migrate {
            return Err(Stay::Locked);
        }
        if let Some(reason) = job.held {
            return Err(Stay::Held(reason));
        }
        if job.advice.kind == Kind::Io && job.place == Place::Home {
            return Err(Stay::IoJob);
        }
        if job.waits && job.advice.on.is_none() {
            return Err(Stay::Waits);
        }
        let residency_s = self.params.residency_s * f64::from(1u32 << job.moves.min(MAX_DOUBLINGS));
        let left_s = residency_s - home.now.saturating_sub(job.since).as_secs_f64();
        if left_s > 0.0 { Err(Stay::Settling { left_s }) } else { Ok(()) }
    }

    /// Time per work where the process is.
    fn unit_here(&self, home: &Home<'_>, bulletin: &Bulletin, job: &Job, needs: Needs) -> f64 {
        let sample = home.load.sample();
        match &job.place {
            Place::Home => unit(home.tasks, sample.cores, f64::from(sample.speed_milli) / 1e3),
            Place::Node(name) => {
                let away = distance(needs.calls_per_s, home.latencies.of(name), &self.params);
                let Some(known) = bulletin.get(name).filter(|known| known.age(home.now) <= MAX_AGE) else {
                    // Not heard from: no reason to flee. Membership tells when it is dead.
                    return 1.0 + away;
                };
                // As it was said: the average would make every process flee from a node that is merely silent.
                let mut estimate = Estimate::of(known, home.now, Average::default());
                estimate.guests = estimate.guests.max(1.0);
                estimate.guest_unit(0.0) + away
            }
        }
    }

    /// The general rule: of all places where the process will be done sooner by `gain` and the cost of the way,
    /// one of the cheapest.
    fn decide(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        job: &Job,
        gain: f64,
        cost_s: f64,
        rng: &mut impl Rng,
    ) -> Decision {
        let advice = &job.advice;
        if advice.no_migrate {
            return self.stay(job, Stay::Locked, Passed::default());
        }
        if let Some(reason) = job.held {
            return self.stay(job, Stay::Held(reason), Passed::default());
        }
        let needs = self.needs(job);
        if let Some(on) = &advice.on {
            return self.send_as_asked(home, bulletin, job, needs, on.clone());
        }
        if advice.kind == Kind::Io {
            return if job.place == Place::Home {
                self.stay(job, Stay::IoJob, Passed::default())
            } else {
                Decision { job: job.id, place: Place::Home, why: Why::IoJob, offer: None }
            };
        }
        let here = self.unit_here(home, bulletin, job, needs);
        let here_s = needs.life_s * here;
        let (mut options, passed) = self.nodes(home, bulletin, job, needs);
        options.extend(self.way_home(home, job, needs));
        // life × here > life × there × (1 + gain) + cost.
        let limit = (here_s - cost_s) / (needs.life_s * (1.0 + gain));
        let best = options.iter().min_by(|a, b| a.unit.total_cmp(&b.unit));
        let Some(best) = best else {
            return self.stay(job, Stay::Nowhere, passed);
        };
        if best.unit >= limit || !limit.is_finite() {
            let reason = self.why_not(home, job, needs, here_s, cost_s, limit, best);
            return self.stay(job, reason, passed);
        }
        options.retain(|option| option.unit < limit);
        let Some((chosen, equals)) = draw(options, self.params.near_best, rng) else {
            return self.stay(job, Stay::Nowhere, passed);
        };
        let there_s = needs.life_s * chosen.unit + cost_s;
        let to = chosen.place;
        let why = Why::Sooner { to: to.clone(), here_s, there_s, life_s: needs.life_s, equals, passed };
        let away = match &to {
            Place::Home => 0.0,
            Place::Node(name) => distance(needs.calls_per_s, home.latencies.of(name), &self.params),
        };
        // Not the whole gain: a node that is busier than believed is asked again only if it is still the best then.
        let worth = ((limit.min(chosen.unit * (1.0 + self.params.move_gain)) - away) * 1e3)
            .clamp(0.0, f64::from(u32::MAX - 1)) as u32;
        self.go(home, bulletin, job, needs, to, why, worth)
    }

    #[allow(clippy::too_many_arguments)]
    fn why_not(
        &self,
        home: &Home<'_>,
        job: &Job,
        needs: Needs,
        here_s: f64,
        cost_s: f64,
        limit: f64,
        best: &Choice,
    ) -> Stay {
        if let Place::Node(name) = &best.place {
            let away = distance(needs.calls_per_s, home.latencies.of(name), &self.params);
            if job.place == Place::Home && best.unit - away < limit {
                let call_s = home.latencies.of(name).as_secs_f64() + self.params.call_s;
                return Stay::Distance { calls_per_s: needs.calls_per_s, call_s, best: name.clone() };
            }
        }
        let there_s = needs.life_s * best.unit;
        if there_s < here_s && there_s + cost_s >= here_s {
            return Stay::Short { life_s: needs.life_s, cost_s };
        }
        Stay::GoodHere { here_s, best: Some((best.place.clone(), there_s + cost_s)) }
    }

    fn send_as_asked(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        job: &Job,
        needs: Needs,
        on: Name,
    ) -> Decision {
        if job.place == Place::Node(on.clone()) {
            return Decision { job: job.id, place: job.place.clone(), why: Why::Asked(on), offer: None };
        }
        let (options, passed) = self.nodes(home, bulletin, job, needs);
        if options.is_empty() {
            return self.stay(job, Stay::Nowhere, passed);
        }
        self.go(home, bulletin, job, needs, Place::Node(on.clone()), Why::Asked(on), u32::MAX)
    }

    /// All nodes that may take the process, other than where it is, and how many were passed over.
    fn nodes(&self, home: &Home<'_>, bulletin: &Bulletin, job: &Job, needs: Needs) -> (Vec<Choice>, Passed) {
        let average = Average::of(bulletin, home.now);
        let mut passed = Passed::default();
        let mut options = Vec::new();
        for known in bulletin.iter() {
            if matches!(&job.place, Place::Node(name) if *name == known.record.name) {
                continue;
            }
            match self.fits(home, known, job, needs) {
                Ok(()) => {}
                Err(count) => {
                    let count = count(&mut passed);
                    *count = count.saturating_add(1);
                    continue;
                }
            }
            let estimate = Estimate::of(known, home.now, average);
            let away = distance(needs.calls_per_s, home.latencies.of(&known.record.name), &self.params);
            let unit = estimate.guest_unit(1.0) + away;
            let memory = f64::from(needs.memory_mib);
            let price =
                price(unit, memory, estimate.memory_free_mib, estimate.memory_total_mib, &self.params);
            options.push(Choice { place: Place::Node(known.record.name.clone()), unit, price });
        }
        (options, passed)
    }

    /// Whether a node may be asked; if not, which counter says why.
    #[allow(clippy::type_complexity)]
    fn fits(
        &self,
        home: &Home<'_>,
        known: &Known,
        job: &Job,
        needs: Needs,
    ) -> Result<(), fn(&mut Passed) -> &mut u16> {
        let record = &known.record;
        let terms = record.terms;
        if !job.advice.allows(record) {
            return Err(|passed| &mut passed.advice);
        }
        if known.age(home.now) > MAX_AGE {
            return Err(|passed| &mut passed.stale);
        }
        if !terms.open || terms.claimed {
            return Err(|passed| &mut passed.closed);
        }
        if !record.features.hosts(home.features) {
            return Err(|passed| &mut passed.features);
        }
        let guests = f64::from(record.guests) + known.charged_tasks();
        let charged = u64::from(known.charged_memory_mib());
        let needed = charged + u64::from(needs.memory_mib);
        if guests >= f64::from(terms.max_guests)
            || u64::from(record.guest_memory_mib) + needed > u64::from(terms.max_guest_memory_mib)
        {
            return Err(|passed| &mut passed.full);
        }
        let reserve = self.params.reserve_mib(record.memory_total_mib);
        if needed > u64::from(record.memory_free_mib.saturating_sub(reserve))
            || record.psi_memory_permille > 100
        {
            return Err(|passed| &mut passed.memory);
        }
        Ok(())
    }

    /// Home as a place for a process that is away, if it has room.
    fn way_home(&self, home: &Home<'_>, job: &Job, needs: Needs) -> Option<Choice> {
        let sample = home.load.sample();
        let free = sample.memory_free_mib.saturating_sub(self.params.reserve_mib(sample.memory_total_mib));
        if job.place == Place::Home || needs.memory_mib > free {
            return None;
        }
        // Both the moment and the recent past: home idle between two jobs is not idle.
        let tasks = home.tasks.max(home.load.local()) + 1.0;
        let unit = unit(tasks, sample.cores, f64::from(sample.speed_milli) / 1e3);
        let (free, total) = (f64::from(sample.memory_free_mib), f64::from(sample.memory_total_mib.max(1)));
        let price = price(unit, f64::from(needs.memory_mib), free, total, &self.params);
        Some(Choice { place: Place::Home, unit, price })
    }

    /// Memory ushering: before home swaps, the smallest process that frees enough (else the largest) goes where there is
    /// room, whatever that does to its speed (Barak and Braverman, *Memory ushering in a scalable computing cluster*, 1998).
    fn usher(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        jobs: &[Job],
        rng: &mut impl Rng,
    ) -> Vec<Decision> {
        let mut shortage = self.params.shortage_mib(home.load.sample());
        let mut here: Vec<&Job> = jobs
            .iter()
            .filter(|job| job.place == Place::Home && job.memory_mib > 0)
            .filter(|job| !matches!(self.may_move(home, job), Err(Stay::Locked | Stay::Held(_))))
            .collect();
        here.sort_by_key(|job| (job.memory_mib, job.id));
        let mut decisions = Vec::new();
        while shortage > 0 && !here.is_empty() && decisions.len() < self.params.moves_per_round {
            let at = here.partition_point(|job| job.memory_mib < shortage).min(here.len() - 1);
            let job = here.remove(at);
            let needs = self.needs(job);
            let (options, _) = self.nodes(home, bulletin, job, needs);
            let Some((Choice { place: Place::Node(to), .. }, _)) = draw(options, self.params.near_best, rng)
            else {
                continue;
            };
            let why = Why::Usher { to: to.clone(), shortage_mib: shortage, memory_mib: job.memory_mib };
            shortage = shortage.saturating_sub(job.memory_mib);
            decisions.push(self.go(home, bulletin, job, needs, Place::Node(to), why, u32::MAX));
        }
        decisions
    }

    #[allow(clippy::too_many_arguments)]
    fn go(
        &self,
        home: &Home<'_>,
        bulletin: &mut Bulletin,
        job: &Job,
        needs: Needs,
        to: Place,
        why: Why,
        worth_up_to_milli: u32,
    ) -> Decision {
        let offer = match &to {
            Place::Home => None,
            Place::Node(name) => {
                bulletin.charge(name, job.id, needs.memory_mib, home.now + SHOWS_AFTER);
                Some(Offer {
                    home: bulletin.me().clone(),
                    job: job.id,
                    memory_mib: needs.memory_mib,
                    features: *home.features,
                    worth_up_to_milli,
                })
            }
        };
        Decision { job: job.id, place: to, why, offer }
    }
}

/// One of the cheapest, drawn, and how many there were.
fn draw(options: Vec<Choice>, near_best: f64, rng: &mut impl Rng) -> Option<(Choice, usize)> {
    let best = options.iter().map(|option| option.price).min_by(f64::total_cmp)?;
    let mut equals: Vec<Choice> =
        options.into_iter().filter(|option| option.price <= best * (1.0 + near_best)).collect();
    let count = equals.len();
    (count > 0).then(|| (equals.swap_remove(rng.random_range(0..count)), count))
}

#[cfg(test)]
mod tests;
