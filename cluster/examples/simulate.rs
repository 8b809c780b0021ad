//! Runs the simulator and prints what came of it, beside other schedulers on the same jobs.
//!
//! ```sh
//! cargo run -p cluster --example simulate -- --nodes 64 --compare
//! ```

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use cluster::sim::{Membership, Plan, Report, Scheduler, Setup, World, reference};

#[derive(Parser)]
#[command(about = "Simulate a cluster of mosix-run nodes")]
struct Arguments {
    /// Nodes, 4 to 5000
    #[arg(long, default_value_t = 64)]
    nodes: usize,
    /// Simulated seconds in which jobs arrive
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Seed of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Work that arrives, as a share of what all cores can do
    #[arg(long, default_value_t = 0.6)]
    utilisation: f64,
    /// CPU seconds of the longest job
    #[arg(long, default_value_t = 300.0)]
    longest: f64,
    /// Share of nodes at which jobs arrive
    #[arg(long, default_value_t = 0.2)]
    homes: f64,
    /// Share of jobs bound by calls
    #[arg(long, default_value_t = 0.1)]
    io: f64,
    /// Share of calls that are counted before a job was ever away
    #[arg(long, default_value_t = 1.0)]
    counted_at_home: f64,
    /// All jobs arrive in the first second
    #[arg(long)]
    burst: bool,
    /// All machines alike
    #[arg(long)]
    alike: bool,
    /// Deaths per node and hour
    #[arg(long, default_value_t = 0.0)]
    deaths: f64,
    /// Cut the nodes in two from this second…
    #[arg(long, requires = "part_for")]
    part_at: Option<u64>,
    /// … for so many seconds
    #[arg(long, requires = "part_at")]
    part_for: Option<u64>,
    /// Share of datagrams lost
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Round trip in microseconds
    #[arg(long, default_value_t = 200)]
    rtt_us: u64,
    /// Model the membership instead of running foca on each node
    #[arg(long)]
    modelled: bool,
    /// Also run round-robin, no migration and the references
    #[arg(long)]
    compare: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !(4..=5000).contains(&arguments.nodes) {
        bail!("--nodes is 4 to 5000");
    }
    if !(5.0..=3600.0).contains(&arguments.longest) {
        bail!("--longest is 5 to 3600");
    }
    if !(0.0..=2.0).contains(&arguments.utilisation) || !(0.0..=1.0).contains(&arguments.homes) {
        bail!("--utilisation is 0 to 2, --homes 0 to 1");
    }
    let setup = Setup {
        utilisation: arguments.utilisation,
        longest_s: arguments.longest,
        homes: arguments.homes,
        io_share: arguments.io,
        counted_at_home: arguments.counted_at_home,
        burst: arguments.burst,
        alike: arguments.alike,
        deaths_per_hour: arguments.deaths,
        partition: arguments.part_at.zip(arguments.part_for).map(|(at, lasts)| {
            let at = Duration::from_secs(at);
            (at, at + Duration::from_secs(lasts))
        }),
        loss: arguments.loss,
        rtt: Duration::from_micros(arguments.rtt_us),
        membership: if arguments.modelled { Membership::Modelled } else { Membership::Swim },
        ..Setup::new(arguments.seed, arguments.nodes, arguments.seconds)
    };
    let plan = Plan::new(&setup);
    let cores: f64 = plan.machines.iter().map(|machine| machine.cores).sum();
    println!("{} nodes, {cores} cores, {} jobs", setup.nodes, plan.jobs.len());
    let began = Instant::now();
    let ours = World::new(&setup).run();
    println!("{ours}\nsimulated in     {:.1} s, {} events", began.elapsed().as_secs_f64(), ours.events);
    if arguments.compare {
        compare(&setup, &plan, &ours);
    }
    Ok(())
}

fn compare(setup: &Setup, plan: &Plan, ours: &Report) {
    println!("\n| scheduler | mean slowdown | ours / it | makespan s |\n| --- | --- | --- | --- |");
    let row = |name: &str, slowdown: f64, makespan: f64| {
        println!("| {name} | {slowdown:.3} | {:.3} | {makespan:.1} |", ours.mean_slowdown / slowdown);
    };
    row("ours", ours.mean_slowdown, ours.makespan_s);
    for (name, scheduler) in [("round-robin", Scheduler::RoundRobin), ("no migration", Scheduler::Stay)] {
        // These have no use for gossip.
        let setup = Setup { scheduler, membership: Membership::Modelled, ..setup.clone() };
        let report = World::new(&setup).run();
        row(name, report.mean_slowdown, report.makespan_s);
    }
    let fair = reference::full_knowledge(plan);
    row("full knowledge, fair shares, free moves", fair.mean_slowdown, fair.makespan_s);
    let omniscient = reference::omniscient(plan);
    row("omniscient: sizes known, interrupts, free moves", omniscient.mean_slowdown, omniscient.makespan_s);
    println!(
        "| proven bound | 1.000 | {:.3} | {:.1} |",
        ours.mean_slowdown,
        reference::least_makespan_s(plan)
    );
}
