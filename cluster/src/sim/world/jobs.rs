//! The life of a job in the world: arrival, offers, moves, end.

use std::time::Duration;

use super::{Event, World, program_name};
use crate::name::Name;
use crate::placement::node::{Guest, admit, relieve};
use crate::placement::{Advice, Balancer, Decision, Home, Job as Process, Offer, Place, Run};
use crate::policy::Policy;
use crate::record::{Features, LoadRecord};
use crate::sim::Scheduler;
use crate::sim::node::State;

/// After so many refusals a process stays where it is until the next round.
const MOST_REFUSALS: u32 = 8;

impl World {
    pub(super) fn arrive(&mut self, job: usize) {
        let home = self.plan.jobs[job].home;
        if !self.nodes[home].alive {
            // Its user's machine is off.
            self.jobs[job].state = State::Lost;
            return;
        }
        self.of_home[home].push(job);
        match self.setup.scheduler {
            Scheduler::Stay => self.put(job, home),
            Scheduler::RoundRobin => {
                let mut to = self.next_node;
                while !self.nodes[to].alive {
                    to = (to + 1) % self.nodes.len();
                }
                self.next_node = (to + 1) % self.nodes.len();
                if to == home {
                    self.put(job, home);
                } else {
                    self.counts.placed += 1;
                    self.depart(job, home, to, self.balancers[home].params.exec_cost_s);
                }
            }
            Scheduler::Ours => {
                self.jobs[job].state = State::Placing;
                self.place(job);
            }
        }
    }

    /// Asks the balancer where a job at its exec should be.
    fn place(&mut self, job: usize) {
        let home = self.plan.jobs[job].home;
        let process = self.process(job);
        let decision = self
            .decide(home, 1.0, |balancer, home, bulletin, rng| balancer.place(home, bulletin, &process, rng));
        self.follow(job, decision);
    }

    /// Lets a home's balancer decide something, with `more` tasks beside those that run there.
    fn decide<T>(
        &mut self,
        home: usize,
        more: f64,
        ask: impl FnOnce(&Balancer, &Home<'_>, &mut crate::Bulletin, &mut rand::rngs::SmallRng) -> T,
    ) -> T {
        let node = &mut self.nodes[home];
        let tasks = node.local.len() as f64 + node.owner_tasks + more;
        let features = Features::default();
        let (load, latencies, bulletin) = node.mind.parts();
        let view = Home { now: self.now, load: &load, tasks, features: &features, latencies: &latencies };
        ask(&self.balancers[home], &view, bulletin, &mut self.rng)
    }

    /// A job as its home sees it.
    fn process(&self, job: usize) -> Process {
        let (spec, state) = (&self.plan.jobs[job], &self.jobs[job]);
        let place = match state.state {
            State::At(node) if node != spec.home => Place::Node(self.nodes[node].name.clone()),
            _ => Place::Home,
        };
        let counted = if state.was_away { 1.0 } else { self.setup.counted_at_home };
        Process {
            id: job as u64,
            program: program_name(spec.program),
            place,
            ran_s: state.ran_s,
            // Calls are counted from the first on; what is known before is history's.
            calls_per_s: (state.ran_s > 0.05).then_some(spec.calls_per_s * counted),
            memory_mib: if state.ran_s > 0.0 { spec.memory_mib } else { 0 },
            since: state.since,
            moves: state.moves,
            waits: false,
            held: None,
            advice: Advice::default(),
        }
    }

    /// Does what was decided.
    fn follow(&mut self, job: usize, decision: Decision) {
        let (home, now) = (self.plan.jobs[job].home, self.now);
        let from = match self.jobs[job].state {
            State::At(node) => Some(node),
            State::Placing => None,
            _ => return,
        };
        match (decision.offer, decision.place, from) {
            (Some(offer), Place::Node(name), _) => {
                let Some(to) = self.index(&name) else { return };
                self.queue.push(now + self.setup.rtt / 2, Event::Offered { to, job, offer });
            }
            (_, Place::Home, Some(from)) if from != home => {
                self.count_move(job);
                let cost_s = self.balancers[home].move_cost_s(self.plan.jobs[job].memory_mib);
                self.depart(job, from, home, cost_s);
            }
            (_, _, None) => self.put(job, home),
            _ => {}
        }
    }

    fn index(&self, name: &Name) -> Option<usize> {
        let index = name.as_str().strip_prefix('n')?.parse().ok()?;
        (index < self.nodes.len()).then_some(index)
    }

    /// A node is asked whether it takes a job.
    pub(super) fn offered(&mut self, to: usize, job: usize, offer: &Offer) {
        let home = self.plan.jobs[job].home;
        let reachable = self.nodes[to].alive && self.hears(home, to);
        if !reachable {
            // Silence: the home gives up after a second.
            let wait = Duration::from_secs(1);
            self.queue.push(self.now + wait, Event::Answered { job, by: to, taken: false, record: None });
            return;
        }
        self.sample(to);
        let node = &mut self.nodes[to];
        let own = crate::Own::new(node.name.clone(), Features::default(), []);
        let (load, _, _) = node.mind.parts();
        let params = &self.balancers[home].params;
        let taken = admit(params, &own, &load, &Policy::default(), offer).is_ok();
        if taken {
            node.coming.0 += 1;
            node.coming.1 += self.plan.jobs[job].memory_mib;
            self.sample(to);
        }
        let record = self.nodes[to].mind.record().map(Box::new);
        self.queue.push(self.now + self.setup.rtt / 2, Event::Answered { job, by: to, taken, record });
    }

    /// A home hears what a node said to its offer.
    pub(super) fn answered(&mut self, job: usize, by: usize, taken: bool, record: Option<Box<LoadRecord>>) {
        let home = self.plan.jobs[job].home;
        let ours = matches!(self.jobs[job].state, State::At(_) | State::Placing) && self.nodes[home].alive;
        if !ours {
            // It has ended or died meanwhile: the node is told.
            if taken {
                self.forget_coming(by, job);
            }
            if self.nodes[home].alive {
                let name = self.nodes[by].name.clone();
                self.nodes[home].mind.bulletin().discharge(&name, job as u64);
            }
            return;
        }
        let (now, age) = (self.now, self.setup.rtt / 2);
        if let Some(record) = record {
            self.nodes[home].mind.bulletin().learn(now, *record, age);
        }
        let name = self.nodes[by].name.clone();
        self.nodes[home].mind.bulletin().discharge(&name, job as u64);
        if taken {
            self.jobs[job].refused = 0;
            let params = &self.balancers[home].params;
            match self.jobs[job].state {
                State::At(from) => {
                    let cost_s = self.balancers[home].move_cost_s(self.plan.jobs[job].memory_mib);
                    self.count_move(job);
                    self.depart(job, from, by, cost_s);
                }
                _ => {
                    let cost_s = params.exec_cost_s;
                    self.counts.placed += 1;
                    self.depart(job, home, by, cost_s);
                }
            }
            return;
        }
        self.counts.refused += 1;
        self.jobs[job].refused += 1;
        match self.jobs[job].state {
            State::Placing if self.jobs[job].refused < MOST_REFUSALS => self.place(job),
            State::Placing => {
                self.jobs[job].refused = 0;
                self.put(job, home);
            }
            _ => self.jobs[job].refused = 0,
        }
    }

    fn count_move(&mut self, job: usize) {
        self.jobs[job].moves += 1;
        self.counts.moved += 1;
        let minute = (self.now.as_secs() / 60) as usize;
        if self.counts.by_minute.len() <= minute {
            self.counts.by_minute.resize(minute + 1, 0);
        }
        self.counts.by_minute[minute] += 1;
    }

    /// Stops a job and sends it on its way.
    fn depart(&mut self, job: usize, from: usize, to: usize, cost_s: f64) {
        if let State::At(at) = self.jobs[job].state {
            self.advance(at);
            self.nodes[at].remove(job);
            self.changed(at);
        }
        self.jobs[job].state = State::Moving { from, to };
        self.queue.push(self.now + Duration::from_secs_f64(cost_s), Event::Landed(job));
    }

    /// A job arrives. If its node is gone meanwhile, it goes on where it was.
    pub(super) fn landed(&mut self, job: usize) {
        let State::Moving { from, to } = self.jobs[job].state else { return };
        let home = self.plan.jobs[job].home;
        if to != home && self.setup.scheduler == Scheduler::Ours {
            self.forget_coming(to, job);
        }
        let there = self.nodes[to].alive && self.hears(from, to) && self.hears(home, to);
        self.put(job, if there { to } else { from });
    }

    fn forget_coming(&mut self, node: usize, job: usize) {
        let coming = &mut self.nodes[node].coming;
        // A node that began anew has forgotten them itself.
        coming.0 = coming.0.saturating_sub(1);
        coming.1 = coming.1.saturating_sub(self.plan.jobs[job].memory_mib);
    }

    /// Lets a job run at a node.
    fn put(&mut self, job: usize, node: usize) {
        self.advance(node);
        self.jobs[job].state = State::At(node);
        self.jobs[job].since = self.now;
        self.jobs[job].was_away |= node != self.plan.jobs[job].home;
        if self.plan.jobs[job].home == node {
            self.nodes[node].local.push(job);
        } else {
            self.nodes[node].guests.push(job);
        }
        self.changed(node);
    }

    pub(super) fn advance(&mut self, node: usize) {
        let (plan, costs) = (&self.plan, self.costs);
        self.nodes[node].advance(self.now, &mut self.jobs, |job| plan.jobs[job].calls_per_s, costs);
    }

    /// Computes anew when the next job here ends.
    pub(super) fn changed(&mut self, node: usize) {
        let (plan, costs) = (&self.plan, self.costs);
        self.nodes[node].version += 1;
        let version = self.nodes[node].version;
        if let Some(at) = self.nodes[node].next_end(&self.jobs, |job| plan.jobs[job].calls_per_s, costs) {
            self.queue.push(at, Event::End { node, version });
        }
    }

    /// Ends the jobs that are done.
    pub(super) fn reap(&mut self, node: usize) {
        let here = self.nodes[node].local.iter().chain(&self.nodes[node].guests);
        let ended: Vec<usize> = here.copied().filter(|job| self.jobs[*job].left_s <= 1e-7).collect();
        for job in ended {
            self.jobs[job].state = State::Done(self.now);
            self.nodes[node].remove(job);
            let spec = &self.plan.jobs[job];
            self.of_home[spec.home].retain(|other| *other != job);
            let run =
                Run { cpu_s: spec.work_s, calls_per_s: spec.calls_per_s, memory_mib: spec.memory_mib.into() };
            self.balancers[spec.home].history.ended(&program_name(spec.program), run);
        }
        self.changed(node);
    }

    pub(super) fn lose(&mut self, job: usize) {
        if let State::At(node) = self.jobs[job].state {
            self.advance(node);
            self.nodes[node].remove(job);
            self.changed(node);
        }
        self.jobs[job].state = State::Lost;
        self.of_home[self.plan.jobs[job].home].retain(|other| *other != job);
    }

    /// A partition has lasted so long that links across it are lost, and the processes with them.
    pub(super) fn lose_links(&mut self) {
        for job in 0..self.jobs.len() {
            if let State::At(node) = self.jobs[job].state
                && !self.hears(self.plan.jobs[job].home, node)
            {
                self.lose(job);
            }
        }
    }

    /// One round of a node: as a home for its processes, as a node for its guests.
    pub(super) fn think(&mut self, index: usize) {
        self.advance(index);
        let own: Vec<Process> = self.own_jobs(index).map(|job| self.process(job)).collect();
        if !own.is_empty() {
            // A job at home has its calls counted by its own kernel; where it is away, its node's rates are current.
            let decisions = self.decide(index, 0.0, |balancer, home, bulletin, rng| {
                balancer.balance(home, bulletin, &own, rng)
            });
            for decision in decisions {
                self.follow(decision.job as usize, decision);
            }
        }
        self.relieve_guests(index);
    }

    /// Running jobs of a home, wherever they are.
    fn own_jobs(&self, home: usize) -> impl Iterator<Item = usize> + '_ {
        self.of_home[home].iter().copied().filter(|job| matches!(self.jobs[*job].state, State::At(_)))
    }

    fn relieve_guests(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.guests.is_empty() {
            return;
        }
        let guests: Vec<Guest> = node
            .guests
            .iter()
            .enumerate()
            .map(|(arrival, job)| Guest {
                home: crate::Name::new(&format!("n{}", self.plan.jobs[*job].home)).expect("a good name"),
                job: *job as u64,
                memory_mib: self.plan.jobs[*job].memory_mib,
                arrival: arrival as u64,
                barred: false,
                leaving: false,
            })
            .collect();
        let (load, _, _) = node.mind.parts();
        for eviction in relieve(&self.balancers[index].params, &load, &guests) {
            let job = eviction.job as usize;
            let home = self.plan.jobs[job].home;
            if !self.nodes[home].alive || !self.hears(home, index) {
                continue;
            }
            self.advance(index);
            let process = self.process(job);
            let decision = self.decide(home, 0.0, |balancer, home, bulletin, rng| {
                balancer.rehouse(home, bulletin, &process, &eviction, rng)
            });
            if decision.place != process.place {
                self.follow(job, decision);
            }
        }
    }
}
