//! The cluster as a whole in simulated time.

use std::time::Duration;

use cluster::sim::{JobSpec, Machine, Membership, Plan, Scheduler, Setup, World, reference};
use cluster::{MAX_DATAGRAM_BYTES, Terms};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everybody agrees on who is alive.
fn views_agree(world: &World, nodes: usize) -> bool {
    let living: Vec<usize> = (0..nodes).filter(|node| world.is_alive(*node)).collect();
    living.iter().all(|viewer| {
        (0..nodes).all(|node| node == *viewer || world.sees(*viewer, node) == world.is_alive(node))
    })
}

/// Runs on until it is so, and says when that was.
fn when(world: &mut World, from: u64, within: u64, so: impl Fn(&World) -> bool) -> Option<u64> {
    (0..=within).find(|passed| {
        world.run_until(s(from + passed));
        so(world)
    })
}

fn idle(seed: u64, nodes: usize) -> Setup {
    Setup { utilisation: 0.0, alike: true, ..Setup::new(seed, nodes, 1) }
}

fn jobs(specs: impl IntoIterator<Item = (f64, usize, f64, u32)>, machines: Vec<Machine>) -> Plan {
    let spec = |(at_s, home, work_s, memory_mib)| JobSpec {
        at: Duration::from_secs_f64(at_s),
        home,
        work_s,
        program: 0,
        calls_per_s: 10.0,
        memory_mib,
    };
    Plan { jobs: specs.into_iter().map(spec).collect(), machines }
}

fn machine(cores: u32) -> Machine {
    Machine { cores: cores.into(), speed_milli: 1000, memory_mib: 4096 }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let setup = Setup { deaths_per_hour: 20.0, loss: 0.05, ..Setup::new(7, 16, 30) };
    let report = World::new(&setup).run();
    assert_eq!(report, World::new(&setup).run());
    assert_ne!(report, World::new(&Setup { seed: 8, ..setup }).run());
}

#[test]
fn a_dead_node_leaves_all_views_and_comes_back() {
    for (nodes, within) in [(5, 10), (48, 20)] {
        let mut world = World::new(&idle(3, nodes));
        world.run_until(s(5));
        assert!(views_agree(&world, nodes));
        world.kill(2);
        let gone = when(&mut world, 5, within, |world| views_agree(world, nodes));
        assert!(gone.is_some_and(|after| after > 0), "{nodes} nodes: {gone:?}");
        // It comes back after 30 s by way of its seeds, as a new node does.
        world.run_until(s(35));
        let back = when(&mut world, 35, 15, |world| world.is_alive(2) && views_agree(world, nodes));
        assert!(back.is_some(), "{nodes} nodes");
    }
}

#[test]
fn lost_datagrams_alone_kill_nobody_for_long() {
    let nodes = 24;
    let mut world = World::new(&Setup { loss: 0.1, ..idle(4, nodes) });
    let disagreements = (1..60).filter(|second| {
        world.run_until(s(*second));
        !views_agree(&world, nodes)
    });
    assert!(disagreements.count() <= 3);
}

#[test]
fn a_partition_is_noticed_and_heals() {
    let nodes = 16;
    let setup = Setup { partition: Some((s(5), s(45))), ..idle(5, nodes) };
    let mut world = World::new(&setup);
    world.run_until(s(44));
    for viewer in 0..nodes {
        let seen = (0..nodes).filter(|node| *node != viewer && world.sees(viewer, *node)).count();
        assert_eq!(seen, nodes / 2 - 1, "node {viewer} sees its own half");
    }
    let healed = when(&mut world, 45, 30, |world| views_agree(world, nodes));
    assert!(healed.is_some(), "after 30 s");
}

#[test]
fn everything_hears_of_everything_in_a_small_cluster() {
    let mut world = World::new(&idle(6, 32));
    world.run_until(s(20));
    for node in 0..32 {
        let ages = world.ages(node);
        assert_eq!(ages.len(), 31);
        assert!(ages[15] < s(5), "half of them fresher than 5 s: {:?}", ages[15]);
    }
}

#[test]
fn five_thousand_nodes_stay_within_the_bytes() {
    let setup = Setup { membership: Membership::Modelled, homes: 1.0, ..Setup::new(9, 5000, 3) };
    let mut world = World::new(&setup);
    world.run_until(s(6));
    let report = world.report();
    assert!(report.largest_datagram <= MAX_DATAGRAM_BYTES);
    assert!(report.gossip_bytes_per_node_s < 2.3 * MAX_DATAGRAM_BYTES as f64, "{report}");
    assert!((0..5000).all(|node| world.heard_of(node) <= 128));
    assert!(world.heard_of(0) > 100);
}

#[test]
fn every_process_is_accounted_for_while_nodes_die() {
    let setup = Setup { deaths_per_hour: 60.0, utilisation: 0.8, ..Setup::new(11, 24, 120) };
    let report = World::new(&setup).run();
    assert!(report.lost > 0, "nothing died: {report}");
    assert_eq!(report.done + report.lost, report.jobs, "{report}");
}

#[test]
fn it_is_near_full_knowledge_and_far_from_the_simple_ways() {
    for seed in 1..=3 {
        let setup = Setup { alike: true, io_share: 0.0, ..Setup::new(seed, 48, 60) };
        // The simple ways have no use for gossip.
        let simple = Setup { membership: Membership::Modelled, ..setup.clone() };
        let run = |scheduler| World::new(&Setup { scheduler, ..simple.clone() }).run();
        let ours = World::new(&setup).run();
        let full = reference::full_knowledge(&Plan::new(&setup));
        assert!(ours.mean_slowdown < 1.10 * full.mean_slowdown, "{} against {full:?}", ours.mean_slowdown);
        assert!(ours.mean_slowdown < 0.5 * run(Scheduler::Stay).mean_slowdown);
        assert!(ours.mean_slowdown < run(Scheduler::RoundRobin).mean_slowdown);
        assert!(ours.placed_per_job + ours.moves_per_job < 1.2, "{ours}");
    }
}

#[test]
fn with_all_nodes_sending_at_once_it_comes_to_rest() {
    let burst = Setup { burst: true, homes: 1.0, utilisation: 1.5, io_share: 0.0, ..Setup::new(13, 64, 60) };
    let report = World::new(&burst).run();
    assert!(report.placed_per_job + report.moves_per_job < 1.2, "{report}");
    let moves = &report.moves_by_minute;
    assert!(moves[1..].iter().all(|minute| *minute <= moves[0]), "more moves than at the start: {report}");
    assert!(report.most_moves <= 12, "{report}");
    assert_eq!(report.done, report.jobs);
}

#[test]
fn equal_loads_everywhere_move_nothing() {
    // Two long jobs for each core: nobody gains by going anywhere.
    let nodes = 20;
    let specs = (0..nodes).flat_map(|home| (0..4).map(move |n| (f64::from(n) * 0.01, home, 60.0, 20)));
    let plan = jobs(specs, vec![machine(2); nodes]);
    let report = World::with_plan(&Setup { alike: true, ..Setup::new(17, nodes, 1) }, plan).run();
    assert!(report.moves_per_job <= 0.05, "{report}");
    assert!(report.mean_slowdown < 2.1, "{report}");
}

#[test]
fn a_herd_does_not_flood_the_one_idle_node() {
    // Thirty homes with six long jobs each on two cores, and one idle node that all of them see.
    let nodes = 31;
    let specs = (0..30).flat_map(|home| (0..6).map(move |n| (2.0 + f64::from(n) * 0.001, home, 40.0, 20)));
    let plan = jobs(specs, vec![machine(2); nodes]);
    let report = World::with_plan(&Setup { alike: true, ..Setup::new(19, nodes, 1) }, plan).run();
    assert!(report.most_guests_per_core <= 3.0, "{report}");
    assert!(report.moves_per_job < 0.5, "{report}");
}

#[test]
fn io_bound_jobs_stay_at_home() {
    let setup = Setup { io_share: 1.0, utilisation: 0.4, homes: 0.5, ..Setup::new(23, 16, 40) };
    let report = World::new(&setup).run();
    // Only a home's first runs of a program are sent, before anybody has counted their calls, and all come back.
    assert!(report.placed_per_job < 0.25, "{report}");
    assert!((report.placed_per_job - report.moves_per_job).abs() < 0.03, "{report}");
    // The same jobs without the calls are sent by the dozen.
    let computing = World::new(&Setup { io_share: 0.0, ..setup.clone() }).run();
    assert!(computing.placed_per_job > 0.25, "{computing}");
    let mut taught = World::new(&setup);
    for (home, program) in (0..16).flat_map(|home| (4..8).map(move |program| (home, program))) {
        let run = cluster::placement::Run { cpu_s: 3.0, calls_per_s: 20_000.0, memory_mib: 50.0 };
        taught.teach(home, program, run);
    }
    let report = taught.run();
    assert!(report.placed_per_job == 0.0 && report.moves_per_job == 0.0, "{report}");
}

/// Who has never been away has had no calls forwarded. What the kernel counts of them at home tells enough.
#[test]
fn reads_and_writes_keep_a_job_at_home() {
    let with = |counted_at_home| {
        let io = Setup { io_share: 1.0, utilisation: 0.5, homes: 0.5, alike: true, ..Setup::new(31, 16, 60) };
        World::new(&Setup { counted_at_home, ..io }).run()
    };
    let (none, some) = (with(0.0), with(0.3));
    assert!(some.moves_per_job < 0.7 * none.moves_per_job, "{some}\n{none}");
    assert!(some.mean_slowdown < none.mean_slowdown, "{some}\n{none}");
}

#[test]
fn a_blocked_node_gets_nothing() {
    let setup = Setup { utilisation: 1.2, homes: 0.3, ..Setup::new(29, 10, 30) };
    let mut world = World::new(&setup);
    let node = 9;
    world.set_terms(node, Terms { open: false, ..Terms::default() });
    for half in 1..120 {
        world.run_until(Duration::from_millis(half * 500));
        assert_eq!(world.guests(node), 0);
    }
    assert!(world.report().placed_per_job > 0.2, "others get much");
}

#[test]
fn guests_leave_within_ten_seconds_when_the_owner_claims_his_machine() {
    let specs = (0..40).map(|n| (1.0 + f64::from(n) * 0.01, 0, 200.0, 50));
    let plan = jobs(specs, vec![machine(4); 6]);
    let mut world = World::with_plan(&Setup { alike: true, ..Setup::new(31, 6, 1) }, plan);
    world.run_until(s(20));
    assert!(world.guests(3) > 0);
    world.set_terms(3, Terms { claimed: true, ..Terms::default() });
    world.run_until(s(30));
    assert_eq!(world.guests(3), 0);
    // Local work alone, without a word of the owner's, does nearly the same.
    let before = world.guests(4);
    assert!(before > 0);
    world.set_owner(4, 4.0, 0);
    world.run_until(s(45));
    assert!(world.guests(4) < before);
}

#[test]
fn memory_is_ushered_before_it_runs_out() {
    // Six jobs of 500 MiB fill a home of 4 GiB; its owner then uses another gigabyte, little by little.
    let specs = || (0..6).map(|n| (f64::from(n) * 0.01, 0, 100.0, 500));
    let run = |scheduler| {
        let mut machines = vec![machine(8); 4];
        machines[1..].iter_mut().for_each(|machine| machine.memory_mib = 16_384);
        let setup = Setup { alike: true, scheduler, ..Setup::new(37, 4, 1) };
        let mut world = World::with_plan(&setup, jobs(specs(), machines));
        for second in 0..60u64 {
            world.set_owner(0, 0.0, (second * 20) as u32);
            world.run_until(s(second));
        }
        world.report()
    };
    let (ours, stay) = (run(Scheduler::Ours), run(Scheduler::Stay));
    assert!(stay.out_of_memory > 0, "the test itself: {stay}");
    assert_eq!(ours.out_of_memory, 0, "{ours}");
    assert!(ours.moves_per_job > 0.0 && ours.moves_per_job <= 0.5, "{ours}");
}
