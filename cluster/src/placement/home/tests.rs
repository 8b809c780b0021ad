use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::load::LoadSample;
use crate::placement::Run;
use crate::record::tests::idle;
use crate::record::{LoadRecord, Terms};

const NOW: Duration = Duration::from_secs(1000);

/// A home with two cores of speed 1, and what it has heard.
struct Scene {
    load: OwnLoad,
    tasks: f64,
    features: Features,
    latencies: Latencies,
    bulletin: Bulletin,
    balancer: Balancer,
    rng: SmallRng,
}

impl Scene {
    fn new(tasks: f64, others: impl IntoIterator<Item = LoadRecord>) -> Scene {
        let mut bulletin = Bulletin::new(name("home"), 64);
        others.into_iter().for_each(|record| assert!(bulletin.learn(NOW, record, Duration::ZERO)));
        let sample = LoadSample { local_runnable: tasks, ..LoadSample::idle(2.0, 1000, 4096) };
        Scene {
            load: OwnLoad::new(NOW, sample),
            tasks,
            features: Features::default(),
            latencies: Latencies::default(),
            bulletin,
            balancer: Balancer::default(),
            rng: SmallRng::seed_from_u64(1),
        }
    }

    fn short_of_memory(mut self, free_mib: u32) -> Scene {
        let sample = LoadSample { memory_free_mib: free_mib, ..*self.load.sample() };
        self.load.update(NOW, sample);
        self
    }

    fn with<T>(&mut self, ask: impl FnOnce(&Balancer, &Home<'_>, &mut Bulletin, &mut SmallRng) -> T) -> T {
        let home = Home {
            now: NOW,
            load: &self.load,
            tasks: self.tasks,
            features: &self.features,
            latencies: &self.latencies,
        };
        ask(&self.balancer, &home, &mut self.bulletin, &mut self.rng)
    }

    fn place(&mut self, job: &Job) -> Decision {
        self.with(|balancer, home, bulletin, rng| balancer.place(home, bulletin, job, rng))
    }

    fn balance(&mut self, jobs: &[Job]) -> Vec<Decision> {
        self.with(|balancer, home, bulletin, rng| balancer.balance(home, bulletin, jobs, rng))
    }

    fn rehouse(&mut self, job: &Job, because: Leaving) -> Decision {
        let eviction = Eviction { home: name("home"), job: job.id, because };
        self.with(|balancer, home, bulletin, rng| balancer.rehouse(home, bulletin, job, &eviction, rng))
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn job(id: u64, ran_s: f64) -> Job {
    Job {
        id,
        program: "cc1".into(),
        place: Place::Home,
        ran_s,
        calls_per_s: Some(10.0),
        memory_mib: 50,
        since: Duration::ZERO,
        moves: 0,
        waits: false,
        held: None,
        advice: Advice::default(),
    }
}

fn at(node: &str, job: Job) -> Job {
    Job { place: Place::Node(name(node)), ..job }
}

fn busy(node: &str, tasks: u32) -> LoadRecord {
    LoadRecord { local_milli: tasks * 1000, runnable_milli: tasks * 1000, ..idle(node, 2) }
}

#[test]
fn an_overloaded_home_sends_and_an_idle_one_keeps() {
    let mut crowded = Scene::new(6.0, [idle("a", 2), busy("b", 4)]);
    let decision = crowded.place(&job(1, 0.0));
    assert_eq!(decision.place, Place::Node(name("a")), "{}", decision.why);
    assert_eq!(decision.offer.unwrap().job, 1);
    let quiet = Scene::new(1.0, [idle("a", 2)]).place(&job(1, 0.0));
    assert_eq!((quiet.place, quiet.offer), (Place::Home, None));
}

#[test]
fn a_faster_node_is_worth_going_to_even_from_an_idle_home() {
    let fast = LoadRecord { speed_milli: 2000, ..idle("fast", 2) };
    let mut scene = Scene::new(1.0, [fast, idle("equal", 8)]);
    assert_eq!(scene.place(&job(1, 0.0)).place, Place::Node(name("fast")));
    assert_eq!(scene.balance(&[job(2, 60.0)])[0].place, Place::Node(name("fast")));
}

#[test]
fn an_io_bound_process_stays_and_says_why() {
    let mut scene = Scene::new(4.0, [idle("a", 2)]);
    let busy_with_calls = Job { calls_per_s: Some(9000.0), ..job(1, 30.0) };
    assert_eq!(scene.balance(std::slice::from_ref(&busy_with_calls)), []);
    let why = scene.with(|b, home, bulletin, rng| b.explain(home, bulletin, &busy_with_calls, rng));
    assert!(matches!(why, Why::Stays(Stay::Distance { .. }, _)), "{why}");
    // Near enough, or by the user's word, it goes.
    let told = Job { advice: Advice { kind: Kind::Cpu, ..Advice::default() }, ..busy_with_calls };
    assert_eq!(scene.balance(&[told]).len(), 1);
    let io = Job { advice: Advice { kind: Kind::Io, ..Advice::default() }, ..job(1, 30.0) };
    assert_eq!(Scene::new(9.0, [idle("a", 2)]).place(&io).place, Place::Home);
    assert_eq!(scene.balance(&[at("b", io)])[0].place, Place::Home);
}

#[test]
fn short_programs_are_not_sent_and_long_ones_are() {
    let mut scene = Scene::new(6.0, [idle("a", 8)]);
    let run = |cpu_s| Run { cpu_s, ..Run::default() };
    (0..5).for_each(|_| scene.balancer.history.ended("true", run(0.002)));
    let short = scene.place(&Job { program: "true".into(), ..job(1, 0.0) });
    assert!(matches!(short.why, Why::Stays(Stay::Short { .. }, _)), "{}", short.why);
    (0..5).for_each(|_| scene.balancer.history.ended("cc1", run(2.0)));
    assert_ne!(scene.place(&job(2, 0.0)).place, Place::Home);
}

#[test]
fn the_one_that_will_live_longest_goes_first_and_only_as_many_as_help() {
    let mut scene = Scene::new(5.0, [idle("a", 8)]);
    let jobs: Vec<Job> = (1..=5).map(|n| job(n, n as f64 * 10.0)).collect();
    let gone: Vec<u64> = scene.balance(&jobs).iter().map(|decision| decision.job).collect();
    assert_eq!(gone, [5, 4, 3], "two stay on two cores");
}

#[test]
fn a_crowd_is_spread_by_charges() {
    let nodes: Vec<LoadRecord> = (0..10).map(|n| idle(&format!("n{n}"), 2)).collect();
    let mut scene = Scene::new(40.0, nodes);
    let mut count = std::collections::BTreeMap::new();
    for id in 0..20 {
        *count.entry(scene.place(&job(id, 0.0)).place).or_insert(0) += 1;
    }
    assert_eq!(count.len(), 10, "{count:?}");
    assert!(count.values().all(|guests| *guests == 2), "{count:?}");
}

#[test]
fn the_near_best_is_drawn() {
    let chosen: std::collections::BTreeSet<Place> = (0..60)
        .map(|seed| {
            let mut scene = Scene::new(6.0, (0..6).map(|n| idle(&format!("n{n}"), 4)));
            scene.rng = SmallRng::seed_from_u64(seed);
            scene.place(&job(1, 0.0)).place
        })
        .collect();
    assert_eq!(chosen.len(), 6);
}

#[test]
fn residency_doubles_with_each_move() {
    let mut scene = Scene::new(6.0, [idle("a", 2)]);
    let lately = |moves, ago| Job { moves, since: NOW - Duration::from_secs(ago), ..job(1, 30.0) };
    assert_eq!(scene.balance(&[lately(3, 7)]), []);
    assert_eq!(scene.balance(&[lately(3, 9)]).len(), 1);
    assert_eq!(scene.balance(&[lately(60, 63)]), []);
    assert_eq!(scene.balance(&[lately(60, 65)]).len(), 1, "the doubling has an end");
}

#[test]
fn what_is_away_comes_back_when_home_is_idle_and_its_node_is_not() {
    let away = at("a", job(1, 30.0));
    assert_eq!(Scene::new(0.0, [busy("a", 3)]).balance(std::slice::from_ref(&away))[0].place, Place::Home);
    assert_eq!(Scene::new(0.0, [idle("a", 2)]).balance(std::slice::from_ref(&away)), [], "no reason to move");
    let calls = Job { calls_per_s: Some(5000.0), ..away };
    assert_eq!(
        Scene::new(0.0, [idle("a", 2)]).balance(&[calls])[0].place,
        Place::Home,
        "nearer to its files"
    );
}

#[test]
fn memory_is_ushered_out_before_it_is_gone_even_to_a_busier_node() {
    let jobs = [
        Job { memory_mib: 100, ..job(1, 5.0) },
        Job { memory_mib: 600, ..job(2, 5.0) },
        Job { memory_mib: 2000, ..job(3, 5.0) },
    ];
    let mut scene = Scene::new(1.0, [busy("a", 1)]).short_of_memory(150);
    let decisions = scene.balance(&jobs);
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].job, 2, "the smallest that suffices: {}", decisions[0].why);
    assert!(matches!(decisions[0].why, Why::Usher { .. }));
    assert_eq!(Scene::new(1.0, [busy("a", 1)]).short_of_memory(1000).balance(&jobs), []);
    let locked = Job { advice: Advice { no_migrate: true, ..Advice::default() }, ..jobs[1].clone() };
    assert_eq!(Scene::new(1.0, [busy("a", 1)]).short_of_memory(150).balance(&[locked]), []);
}

#[test]
fn an_evicted_guest_goes_on_to_another_node_or_home() {
    let guest = at("a", job(1, 30.0));
    let claimed = LoadRecord { terms: Terms { claimed: true, ..Terms::default() }, ..idle("a", 2) };
    let on = Scene::new(4.0, [claimed.clone(), idle("b", 2)]).rehouse(&guest, Leaving::Claimed);
    assert_eq!(on.place, Place::Node(name("b")), "{}", on.why);
    assert_eq!(on.offer.unwrap().worth_up_to_milli, u32::MAX);
    let back = Scene::new(9.0, [claimed.clone(), busy("b", 30)]).rehouse(&guest, Leaving::Memory);
    assert_eq!(back.place, Place::Home);
    let nowhere = Scene::new(9.0, [claimed]).short_of_memory(10).rehouse(&guest, Leaving::Claimed);
    assert_eq!(nowhere.place, Place::Home, "home has no room, but it is its home");
    let crowded = Scene::new(30.0, [busy("a", 2)]).rehouse(&guest, Leaving::Crowded);
    assert_eq!(crowded.place, guest.place, "there is nothing better");
    let starved = Job { waits: true, ..guest };
    let on = Scene::new(4.0, [busy("a", 2), idle("b", 2)]).rehouse(&starved, Leaving::Crowded);
    assert_eq!(on.place, Place::Node(name("b")), "{}", on.why);
}

#[test]
fn what_waits_is_done_no_sooner_elsewhere() {
    let waits = Job { waits: true, ..job(1, 9.0) };
    assert_eq!(Scene::new(9.0, [idle("a", 2)]).balance(std::slice::from_ref(&waits)), []);
    let computes = Job { waits: false, ..waits.clone() };
    assert_eq!(Scene::new(9.0, [idle("a", 2)]).balance(&[computes]).len(), 1);
    let asked = Job { advice: Advice { on: Some(name("a")), ..Advice::default() }, ..waits };
    assert_eq!(Scene::new(0.0, [idle("a", 2)]).balance(&[asked])[0].place, Place::Node(name("a")));
}

#[test]
fn advice_comes_before_price() {
    let asked = Job { advice: Advice { on: Some(name("b")), ..Advice::default() }, ..job(1, 0.0) };
    let mut scene = Scene::new(0.0, [idle("a", 2), busy("b", 9)]);
    assert_eq!(scene.place(&asked).place, Place::Node(name("b")));
    let elsewhere = Job { advice: Advice { on: Some(name("c")), ..Advice::default() }, ..job(1, 0.0) };
    assert_eq!(scene.place(&elsewhere).place, Place::Home);
    let big = Job { advice: Advice { memory_mib: Some(100_000), ..Advice::default() }, ..job(1, 0.0) };
    let decision = Scene::new(9.0, [idle("a", 2)]).place(&big);
    assert!(matches!(decision.why, Why::Stays(Stay::Nowhere, Passed { memory: 1, .. })), "{}", decision.why);
    let held = Job { held: Some("it uses io_uring"), ..job(1, 0.0) };
    assert_eq!(Scene::new(9.0, [idle("a", 2)]).place(&held).why.to_string(), "stays: it uses io_uring");
}

prop_compose! {
    fn node()(
        index in 0usize..12, cores in 1u32..17, speed_milli in 10u32..5000, local_milli in 0u32..20_000,
        guests in 0u16..6, free in 0u32..8192, psi in 0u16..1000, open in any::<bool>(), claimed in any::<bool>(),
        max_guests in 0u16..6, max_guest_memory_mib in 0u32..2000, guest_memory_mib in 0u32..2000,
        xcr0 in 0u64..2, bit in 0u32..2,
    ) -> LoadRecord {
        let mut features = Features { xcr0, ..Features::default() };
        features.cpuid[0] = bit;
        LoadRecord {
            speed_milli, local_milli, guests, features, guest_memory_mib,
            guests_milli: u32::from(guests) * 1000,
            memory_free_mib: free,
            psi_memory_permille: psi / 8,
            terms: Terms { open, claimed, max_guests, max_guest_memory_mib, ..Terms::default() },
            ..idle(&format!("n{index}"), cores)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is decided, for whatever reason: no node gets what its owner forbids, what its CPU lacks or what
    /// its memory cannot hold, even when several processes are sent before it speaks again.
    #[test]
    fn policy_features_and_memory_are_never_broken(
        nodes in prop::collection::vec(node(), 1..12), seed in any::<u64>(), tasks in 0u32..40, free in 0u32..4096,
        memory in prop::collection::vec(0u32..1500, 1..12), wants_bit in 0u32..2,
    ) {
        let mut nodes = nodes;
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let mut scene = Scene::new(tasks.into(), nodes).short_of_memory(free);
        scene.features.cpuid[0] = wants_bit;
        scene.rng = SmallRng::seed_from_u64(seed);
        let jobs: Vec<Job> = memory
            .iter()
            .enumerate()
            .map(|(n, mib)| Job { memory_mib: *mib, calls_per_s: None, ..job(n as u64, n as f64) })
            .collect();
        let mut decisions = scene.balance(&jobs);
        for job in &jobs {
            decisions.push(scene.place(&Job { id: job.id + 100, ..job.clone() }));
            let evicted = Job { id: job.id + 200, ..at("n0", job.clone()) };
            decisions.push(scene.rehouse(&evicted, Leaving::Memory));
        }
        let mut sent = std::collections::BTreeMap::<Name, (u16, u32)>::new();
        for decision in &decisions {
            prop_assert!(!decision.why.to_string().is_empty());
            let Some(offer) = &decision.offer else { continue };
            let Place::Node(node) = &decision.place else { panic!("an offer to home") };
            let total = sent.entry(node.clone()).or_default();
            *total = (total.0 + 1, total.1 + offer.memory_mib);
            let record = &scene.bulletin.get(node).unwrap().record;
            prop_assert!(record.terms.open && !record.terms.claimed);
            prop_assert!(record.features.hosts(&scene.features));
            prop_assert!(record.guests + total.0 <= record.terms.max_guests);
            prop_assert!(record.guest_memory_mib + total.1 <= record.terms.max_guest_memory_mib);
            prop_assert!(total.1 < record.memory_free_mib || total.1 == 0);
        }
    }
}
