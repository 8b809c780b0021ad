//! The loop over all nodes and jobs.

mod jobs;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::events::Queue;
use super::mind::Mind;
use super::node::{Costs, Job, Node, State};
use super::reference::{fastest, slowdown_of};
use super::work::Plan;
use super::{Membership, Report, Scheduler, Setup};
use crate::cluster::{Cluster, GOSSIP_PERIOD, Input, Output};
use crate::load::Own;
use crate::name::{Name, NodeId};
use crate::placement::{Balancer, Offer, Run};
use crate::record::{Features, LoadRecord, Terms};

/// How often a node measures itself and thinks.
const SAMPLE_PERIOD: Duration = Duration::from_millis(500);
/// How long a dead node stays dead.
const DEAD_FOR: Duration = Duration::from_secs(30);
/// After which time without a word a link between a home and a body is lost, and the process with it.
const LINK_LOST_AFTER: Duration = Duration::from_secs(10);
/// After which time the dead are known to be so where membership is modelled.
const MODELLED_DETECTION: Duration = Duration::from_secs(8);
/// Jobs are given up, unfinished, so long after the last arrival: only a broken scheduler gets there.
const PATIENCE: Duration = Duration::from_secs(4000);

/// What happens.
enum Event {
    Arrive(usize),
    End { node: usize, version: u64 },
    Sample(usize),
    Wake(usize),
    Gossip(usize),
    Datagram { to: usize, payload: Vec<u8> },
    Offered { to: usize, job: usize, offer: Offer },
    Answered { job: usize, by: usize, taken: bool, record: Option<Box<LoadRecord>> },
    Landed(usize),
    Die(usize),
    Revive(usize),
    LinksLost,
}

/// A simulated cluster.
pub struct World {
    setup: Setup,
    plan: Plan,
    now: Duration,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    jobs: Vec<Job>,
    balancers: Vec<Balancer>,
    /// Jobs of each home that have neither ended nor died.
    of_home: Vec<Vec<usize>>,
    rng: SmallRng,
    costs: Costs,
    died_at: Vec<Option<Duration>>,
    next_node: usize,
    counts: Counts,
    out: Vec<Output>,
}

#[derive(Default)]
struct Counts {
    placed: u64,
    moved: u64,
    refused: u64,
    bytes: u64,
    largest: usize,
    by_minute: Vec<u32>,
    most_guests_per_core: f64,
    out_of_memory: u64,
    events: u64,
}

impl World {
    /// Sets everything up at time zero: all nodes know each other and have measured themselves.
    pub fn new(setup: &Setup) -> World {
        let plan = Plan::new(setup);
        Self::with_plan(setup, plan)
    }

    /// The same with given machines and jobs.
    pub fn with_plan(setup: &Setup, plan: Plan) -> World {
        let balancer = Balancer::default();
        let costs = Costs::new(&balancer.params, setup.rtt, setup.scheduler == Scheduler::Ours);
        let future = |work_s: f64| Job {
            left_s: work_s,
            ran_s: 0.0,
            was_away: false,
            state: State::Future,
            since: Duration::ZERO,
            moves: 0,
            refused: 0,
        };
        let mut world = World {
            setup: setup.clone(),
            now: Duration::ZERO,
            queue: Queue::new(),
            nodes: Vec::new(),
            jobs: plan.jobs.iter().map(|job| future(job.work_s)).collect(),
            balancers: vec![balancer; plan.machines.len()],
            of_home: vec![Vec::new(); plan.machines.len()],
            rng: SmallRng::seed_from_u64(setup.seed ^ 0x5eed),
            costs,
            died_at: vec![None; plan.machines.len()],
            next_node: 0,
            counts: Counts::default(),
            plan,
            out: Vec::new(),
        };
        for index in 0..world.plan.machines.len() {
            let node = world.fresh_node(index, 1);
            world.nodes.push(node);
        }
        world.introduce_all();
        for (index, job) in world.plan.jobs.iter().enumerate() {
            world.queue.push(job.at, Event::Arrive(index));
        }
        for index in 0..world.nodes.len() {
            world.start(index);
            world.draw_death(index);
        }
        if let Some((from, to)) = setup.partition
            && to.saturating_sub(from) > LINK_LOST_AFTER
        {
            world.queue.push(from + LINK_LOST_AFTER, Event::LinksLost);
        }
        world
    }

    fn fresh_node(&mut self, index: usize, incarnation: u64) -> Node {
        let name = Name::new(&format!("n{index}")).expect("a good name");
        let own = Own::new(name.clone(), Features::default(), []);
        let mind = match self.setup.membership {
            Membership::Swim => {
                let seed = self.rng.random();
                Mind::Swim(Box::new(Cluster::new(self.now, own, addr_of(index), incarnation, seed)))
            }
            Membership::Modelled => Mind::modelled(own, incarnation),
        };
        Node {
            name,
            machine: self.plan.machines[index],
            alive: true,
            mind,
            incarnation,
            terms: Terms::default(),
            local: Vec::new(),
            guests: Vec::new(),
            coming: (0, 0),
            at: self.now,
            version: 0,
            wakes_at: Duration::MAX,
            owner_tasks: 0.0,
            owner_memory_mib: 0,
        }
    }

    /// Every node is told of all members, as after a restart of the whole cluster.
    fn introduce_all(&mut self) {
        let ids: Vec<NodeId> = (0..self.nodes.len()).map(|index| self.id_of(index)).collect();
        for index in 0..self.nodes.len() {
            if let Mind::Swim(cluster) = &mut self.nodes[index].mind {
                cluster.handle(self.now, Input::Members(&ids), &mut self.out);
                self.out.clear();
            }
        }
    }

    fn id_of(&self, index: usize) -> NodeId {
        let node = &self.nodes[index];
        NodeId { name: node.name.clone(), addr: addr_of(index), incarnation: node.incarnation }
    }

    /// Begins to measure and to speak, each node at its own moment.
    fn start(&mut self, index: usize) {
        let offset = SAMPLE_PERIOD.mul_f64(self.rng.random_range(0.0..1.0));
        self.sample(index);
        self.queue.push(self.now + offset, Event::Sample(index));
        if self.setup.membership == Membership::Modelled && self.setup.scheduler == Scheduler::Ours {
            self.queue.push(self.now + offset, Event::Gossip(index));
        }
        self.schedule_wake(index);
    }

    fn draw_death(&mut self, index: usize) {
        if self.setup.deaths_per_hour > 0.0 {
            let u: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
            let after = Duration::from_secs_f64(-u.ln() * 3600.0 / self.setup.deaths_per_hour);
            self.queue.push(self.now + after, Event::Die(index));
        }
    }

    /// Runs until that time.
    pub fn run_until(&mut self, until: Duration) {
        while let Some((at, event)) = self.queue.pop(until) {
            self.now = at;
            self.counts.events += 1;
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    /// Runs until all jobs have ended and gives the report.
    pub fn run(mut self) -> Report {
        let patience = Duration::from_secs(self.setup.seconds) + PATIENCE;
        while self.jobs.iter().any(|job| !matches!(job.state, State::Done(_) | State::Lost))
            && self.now < patience
        {
            self.run_until(self.now + Duration::from_secs(1));
        }
        self.report()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(job) => self.arrive(job),
            Event::End { node, version } => {
                if self.nodes[node].version == version {
                    self.advance(node);
                    self.reap(node);
                }
            }
            Event::Sample(index) => {
                if self.nodes[index].alive {
                    self.queue.push(self.now + SAMPLE_PERIOD, Event::Sample(index));
                    self.sample(index);
                    if self.setup.scheduler == Scheduler::Ours {
                        self.think(index);
                    }
                }
            }
            Event::Wake(index) => {
                self.nodes[index].wakes_at = Duration::MAX;
                if self.nodes[index].alive {
                    self.nodes[index].mind.tick(self.now, &mut self.out);
                    self.deliver(index);
                }
            }
            Event::Gossip(index) => self.gossip(index),
            Event::Datagram { to, payload } => {
                if self.nodes[to].alive {
                    self.nodes[to].mind.heard(self.now, &payload, &mut self.out);
                    self.deliver(to);
                }
            }
            Event::Offered { to, job, offer } => self.offered(to, job, &offer),
            Event::Answered { job, by, taken, record } => self.answered(job, by, taken, record),
            Event::Landed(job) => self.landed(job),
            Event::Die(index) => self.kill(index),
            Event::Revive(index) => self.revive(index),
            Event::LinksLost => self.lose_links(),
        }
    }

    /// A modelled round of gossip: to a random node that is not known to be dead.
    fn gossip(&mut self, index: usize) {
        if !self.nodes[index].alive {
            return;
        }
        let next = GOSSIP_PERIOD.mul_f64(self.rng.random_range(0.9..1.1));
        self.queue.push(self.now + next, Event::Gossip(index));
        for _ in 0..8 {
            let to = self.rng.random_range(0..self.nodes.len());
            let known_dead = self.died_at[to].is_some_and(|at| self.now > at + MODELLED_DETECTION);
            if to != index && !known_dead {
                if let Some(payload) = self.nodes[index].mind.message(self.now) {
                    self.send(index, to, payload);
                }
                return;
            }
        }
    }

    /// Sends what a node wants sent.
    fn deliver(&mut self, from: usize) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Send { to, payload } => {
                    if let Some(to) = index_of(to, self.nodes.len()) {
                        self.send(from, to, payload);
                    }
                }
                Output::Renewed(id) => self.nodes[from].incarnation = id.incarnation,
                Output::Up(_) | Output::Down(_) => {}
            }
        }
        self.schedule_wake(from);
    }

    fn send(&mut self, from: usize, to: usize, payload: Vec<u8>) {
        self.counts.bytes += payload.len() as u64;
        self.counts.largest = self.counts.largest.max(payload.len());
        let lost = self.setup.loss > 0.0 && self.rng.random_range(0.0..1.0) < self.setup.loss;
        if !lost && self.hears(from, to) {
            let delay = self.setup.rtt.mul_f64(self.rng.random_range(0.4..0.6));
            self.queue.push(self.now + delay, Event::Datagram { to, payload });
        }
    }

    fn schedule_wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if let Some(deadline) = node.mind.deadline()
            && deadline < node.wakes_at
        {
            node.wakes_at = deadline;
            self.queue.push(deadline.max(self.now), Event::Wake(index));
        }
    }

    /// Whether something sent now from one node gets to the other.
    fn hears(&self, from: usize, to: usize) -> bool {
        let half = self.nodes.len() / 2;
        let parted = self.setup.partition.is_some_and(|(begin, end)| (begin..end).contains(&self.now));
        !parted || (from < half) == (to < half)
    }

    fn sample(&mut self, index: usize) {
        let plan = &self.plan;
        let sample = self.nodes[index].sample(|job| plan.jobs[job].memory_mib);
        let node = &mut self.nodes[index];
        if sample.memory_free_mib == 0 {
            self.counts.out_of_memory += 1;
        }
        let guests = node.guests.len() as f64 / node.machine.cores;
        self.counts.most_guests_per_core = self.counts.most_guests_per_core.max(guests);
        node.mind.measured(self.now, sample, &mut self.out);
        self.deliver(index);
    }

    /// A node dies with all that computes there and all of its own that computes elsewhere.
    pub fn kill(&mut self, index: usize) {
        if !self.nodes[index].alive {
            return;
        }
        self.advance(index);
        self.nodes[index].alive = false;
        self.died_at[index] = Some(self.now);
        for job in 0..self.jobs.len() {
            let involved = match self.jobs[job].state {
                State::At(at) => at == index || self.plan.jobs[job].home == index,
                State::Moving { from, .. } => from == index || self.plan.jobs[job].home == index,
                State::Placing => self.plan.jobs[job].home == index,
                _ => false,
            };
            if involved {
                self.lose(job);
            }
        }
        self.queue.push(self.now + DEAD_FOR, Event::Revive(index));
    }

    fn revive(&mut self, index: usize) {
        // Larger than any incarnation that it renewed itself to.
        let incarnation = self.nodes[index].incarnation + 1000;
        let version = self.nodes[index].version;
        let mut node = self.fresh_node(index, incarnation);
        node.version = version + 1;
        self.nodes[index] = node;
        self.died_at[index] = None;
        let seeds: Vec<SocketAddr> =
            (0..3).map(|_| addr_of(self.rng.random_range(0..self.nodes.len()))).collect();
        if let Mind::Swim(cluster) = &mut self.nodes[index].mind {
            cluster.handle(self.now, Input::Seeds(&seeds), &mut self.out);
            self.deliver(index);
        }
        self.start(index);
        self.draw_death(index);
    }

    /// Whether the view of `viewer` has `node` as a member that is up.
    pub fn sees(&self, viewer: usize, node: usize) -> bool {
        match &self.nodes[viewer].mind {
            Mind::Swim(cluster) => cluster.member(&self.nodes[node].name).is_some(),
            Mind::Modelled(_) => true,
        }
    }

    /// Whether a node is alive.
    pub fn is_alive(&self, index: usize) -> bool {
        self.nodes[index].alive
    }

    /// Records that a node holds of others.
    pub fn heard_of(&mut self, index: usize) -> usize {
        self.nodes[index].mind.bulletin().len()
    }

    /// Ages of the records that a node holds, youngest first.
    pub fn ages(&mut self, index: usize) -> Vec<Duration> {
        let now = self.now;
        let mut ages: Vec<Duration> =
            self.nodes[index].mind.bulletin().iter().map(|known| known.age(now)).collect();
        ages.sort();
        ages
    }

    /// Changes on what terms a node takes guests.
    pub fn set_terms(&mut self, index: usize, terms: Terms) {
        self.nodes[index].terms = terms;
        self.sample(index);
    }

    /// The owner of a node starts so many tasks, or uses so much memory.
    pub fn set_owner(&mut self, index: usize, tasks: f64, memory_mib: u32) {
        self.advance(index);
        self.nodes[index].owner_tasks = tasks;
        self.nodes[index].owner_memory_mib = memory_mib;
        self.changed(index);
    }

    /// Guests at a node.
    pub fn guests(&self, index: usize) -> usize {
        self.nodes[index].guests.len()
    }

    /// Gives jobs of that home's and program's history, as if it had run often.
    pub fn teach(&mut self, home: usize, program: u8, run: Run) {
        self.balancers[home].history.ended(&program_name(program), run);
    }

    /// What it has come to so far.
    pub fn report(&self) -> Report {
        let fastest = fastest(&self.plan);
        let mut slowdowns = Vec::new();
        let mut makespan = Duration::ZERO;
        for (job, spec) in self.jobs.iter().zip(&self.plan.jobs) {
            if let State::Done(at) = job.state {
                slowdowns.push(slowdown_of(spec.work_s, at - spec.at, fastest));
                makespan = makespan.max(at);
            }
        }
        slowdowns.sort_by(f64::total_cmp);
        let jobs = self.jobs.iter().filter(|job| job.state != State::Future).count();
        let per_job = |count: u64| count as f64 / jobs.max(1) as f64;
        let node_seconds = self.nodes.len() as f64 * self.now.as_secs_f64().max(1e-9);
        Report {
            jobs,
            done: slowdowns.len(),
            lost: self.jobs.iter().filter(|job| job.state == State::Lost).count(),
            mean_slowdown: slowdowns.iter().sum::<f64>() / slowdowns.len().max(1) as f64,
            p95_slowdown: slowdowns.get(slowdowns.len() * 95 / 100).copied().unwrap_or(0.0),
            makespan_s: makespan.as_secs_f64(),
            placed_per_job: per_job(self.counts.placed),
            moves_per_job: per_job(self.counts.moved),
            most_moves: self.jobs.iter().map(|job| job.moves).max().unwrap_or(0),
            moves_by_minute: self.counts.by_minute.clone(),
            refusals_per_job: per_job(self.counts.refused),
            gossip_bytes_per_node_s: self.counts.bytes as f64 / node_seconds,
            largest_datagram: self.counts.largest,
            most_guests_per_core: self.counts.most_guests_per_core,
            out_of_memory: self.counts.out_of_memory,
            events: self.counts.events,
        }
    }
}

/// The address of a simulated node: 10.x.y.z:7414.
fn addr_of(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), 7414))
}

fn index_of(addr: SocketAddr, nodes: usize) -> Option<usize> {
    let SocketAddr::V4(v4) = addr else { return None };
    let [_, a, b, c] = v4.ip().octets();
    let index = u32::from_be_bytes([0, a, b, c]) as usize;
    (index < nodes).then_some(index)
}

fn program_name(program: u8) -> String {
    format!("program-{program}")
}
