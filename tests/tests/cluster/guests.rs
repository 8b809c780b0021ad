//! Guests, and owners who direct them by `mosix`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use system_tests::cluster::{SESSIONS, wait};
use system_tests::mode::User;

use crate::pair::{Pair, STEP, ends};
use crate::{CONVERGENCE, LIMIT};

/// Four equal jobs are ready sooner with two machines than at home alone: the balancer has them computed at both.
pub(crate) fn offload(user: User) -> Result<()> {
    const JOBS: usize = 4;
    const ROUNDS: u64 = 1_200_000_000;
    let mut pair = Pair::apart(user)?;
    let (worker, jobs) = (&pair.worker, "1 2 3 4");
    let script = format!(
        "for n in {jobs}; do {worker} {ROUNDS} > $n & all=\"$all $!\"; done; for one in $all; do wait $one || exit 1; done; \
         for n in {jobs}; do cat $n; rm $n; done"
    );
    let command = ["sh", "-c", &script];
    let right = |outcome: &system_tests::run::Outcome| {
        ensure!(outcome.status.success() && ends(&outcome.stdout)? == [ROUNDS; JOBS], "{outcome:?}");
        anyhow::Ok(())
    };
    let alone = pair.a.run_natively(&command)?.finish(&pair.a.sandbox, LIMIT)?;
    right(&alone).context("natively")?;
    pair.unite()?;
    // What else runs on this machine is work of theirs, for which guests stand back.
    wait("both machines to be idle", LIMIT, || {
        let idle = pair.a.nodes()?.iter().all(|node| node.local < 0.2);
        Ok(idle.then_some(()))
    })?;
    let shared = pair.a.run("offload", &["-v"], &command)?.finish(&pair.a.sandbox, LIMIT)?;
    right(&shared)?;
    let ratio = shared.took.as_secs_f64() / alone.took.as_secs_f64();
    let stats = pair.a.stats("offload")?;
    let cpu = &stats.cpu_seconds;
    eprintln!(
        "offload: {:.2?} at home alone, {:.2?} with another: {ratio:.2}; {cpu:?}",
        alone.took, shared.took
    );
    let decisions = String::from_utf8_lossy(&shared.stderr);
    ensure!(ratio < 0.8, "{ratio:.2} of the time at home alone: {decisions}\n{stats:?}");
    // Most of one job at least.
    let job = (cpu.home + cpu.remote) / JOBS as f64;
    ensure!(cpu.remote > 0.8 * job, "{stats:?}");
    // What one daemon has sent, the other has seen.
    let (sent, came) = (pair.a.control.call(&["events"])?, pair.b.control.call(&["events"])?);
    let workers: BTreeSet<&str> =
        sent.lines().filter(|line| line.contains("/worker to=b ")).filter_map(pid_in).collect();
    let guests: BTreeSet<&str> =
        came.lines().filter(|line| line.contains(" guest-came ")).filter_map(pid_in).collect();
    ensure!(!workers.is_empty() && workers.is_subset(&guests), "A: {sent}\nB: {came}");
    pair.b.wait_for_guests(0, LIMIT)?;
    pair.end()
}

/// The process that a line of `mosix events` is about.
fn pid_in(line: &str) -> Option<&str> {
    line.split(' ').find_map(|field| field.strip_prefix("pid="))
}

/// `mosix bring` returns when everything is home, where it stays until `mosix nostay`.
pub(crate) fn bring(user: User) -> Result<()> {
    let pair = Pair::new(user)?;
    let run = pair.worker_at_b("bring", "go")?;
    pair.a.control.call(&["bring"])?;
    let list = pair.a.control.list()?;
    let line = list.iter().find(|listed| listed.pid == run.pid()).context("mosix ps does not list it")?;
    ensure!((line.place.as_str(), line.moves) == ("home", 2) && line.away_cpu_s > 0.0, "{line:?}");
    pair.b.wait_for_guests(0, LIMIT)?;
    let pid = run.pid().to_string();
    // After the time that every move is followed by.
    wait("its daemon to keep it home", LIMIT, || {
        let why = pair.a.control.call(&["why", &pid])?;
        Ok(why.contains("mosix stay").then_some(()))
    })?;
    pair.a.control.call(&["nostay"])?;
    pair.a.wait_for_place(run.pid(), "b", LIMIT)?;
    let moves = pair.finish(run, "bring", "go")?;
    ensure!(moves == ["b", "home", "b"], "{moves:?}");
    pair.end()
}

/// `mosix block`: no guest comes, whoever asks, and is told why.
pub(crate) fn block(user: User) -> Result<()> {
    let pair = Pair::new(user)?;
    pair.b.control.call(&["block"])?;
    let address = format!("{}:{SESSIONS}", pair.b.address);
    let identity = pair.a.sandbox.text("config/identity");
    let by_address: &[&str] = &["-v", "--on", &address, "--identity", &identity];
    pair.assert_stays(by_address, "the node takes no guests now")?;
    pair.assert_stays(&["-v", "--on", "b"], "1 closed")?;
    pair.b.control.call(&["unblock"])?;
    let run = pair.worker_at_b("unblock", "go")?;
    let moves = pair.finish(run, "unblock", "go")?;
    ensure!(moves == ["b"], "{moves:?}");
    pair.end()
}

/// `mosix expel` returns when all guests are gone; they go on at home, and new ones come only after `mosix unblock`.
pub(crate) fn expel(user: User) -> Result<()> {
    let pair = Pair::new(user)?;
    let run = pair.worker_at_b("expel", "go")?;
    pair.b.control.call(&["expel"])?;
    pair.b.wait_for_guests(0, Duration::ZERO)?;
    pair.a.wait_for_place(run.pid(), "home", LIMIT)?;
    let moves = pair.finish(run, "expel", "go")?;
    ensure!(moves == ["b", "home"], "{moves:?}");
    pair.assert_stays(&["-v", "--on", "b"], "1 closed")?;
    pair.b.control.call(&["unblock"])?;
    let run = pair.worker_at_b("unblock", "end")?;
    let moves = pair.finish(run, "unblock", "end")?;
    ensure!(moves == ["b"], "{moves:?}");
    pair.end()
}

/// A daemon that is to end sends its guests home first.
pub(crate) fn daemon_ends(user: User) -> Result<()> {
    let mut pair = Pair::new(user)?;
    let run = pair.worker_at_b("ends", "go")?;
    let log = pair.b.stop()?;
    ensure!(log.contains(" stops guests=1 ") && !log.contains("guests-lost"), "{log}");
    pair.a.wait_for_place(run.pid(), "home", LIMIT)?;
    let moves = pair.finish(run, "ends", "go")?;
    ensure!(moves == ["b", "home"], "{moves:?}");
    pair.a.stop().map(drop)
}

/// Guests that the balancer has sent leave a node whose owner computes.
pub(crate) fn owner_works(user: User) -> Result<()> {
    const GUESTS_LEAVE: Duration = Duration::from_secs(20);
    let pair = Pair::new(user)?;
    let run = pair.a.run("works", &[], &[&pair.worker, STEP, "go"])?;
    wait("the worker to go where it is told to", LIMIT, || {
        Ok(pair.a.control.migrate(run.pid(), "b").is_ok().then_some(()))
    })?;
    let theirs = pair.b.guest("worker")?;
    let begin = || pair.b.run_natively(&[&theirs, STEP, "go"]);
    let (began, busy) = (Instant::now(), [begin()?, begin()?]);
    pair.b.wait_for_guests(0, GUESTS_LEAVE)?;
    eprintln!("owner_works: the guest has left {:.1?} after its node's owner began", began.elapsed());
    std::fs::write(pair.b.sandbox.path("work/go"), "")?;
    for run in busy {
        ends(&run.finish(&pair.b.sandbox, LIMIT)?.stdout)?;
    }
    let moves = pair.finish(run, "works", "go")?;
    ensure!(moves.len() >= 2 && moves[..2] == ["b", "home"], "{moves:?}");
    pair.end()
}

/// A home's daemon is killed: what is away stays there, and ends as if nothing had been.
pub(crate) fn daemon_killed(user: User) -> Result<()> {
    let mut pair = Pair::new(user)?;
    let run = pair.worker_at_b("killed", "go")?;
    pair.a.kill()?;
    // B has noticed, and keeps its guest.
    pair.b.wait_for_nodes(&["b"], CONVERGENCE)?;
    pair.b.wait_for_guests(1, Duration::ZERO)?;
    pair.a.wait_for_place(run.pid(), "b", Duration::ZERO)?;
    let moves = pair.finish(run, "killed", "go")?;
    ensure!(moves == ["b"], "{moves:?}");
    pair.b.wait_for_guests(0, LIMIT)?;
    pair.a.sandbox.assert_clean()?;
    pair.b.stop().map(drop)
}

/// What reads and writes stays at home, although that is busy: it would be done no sooner elsewhere.
pub(crate) fn io_stays(user: User) -> Result<()> {
    const COUNTS: Duration = Duration::from_secs(2);
    let pair = Pair::new(user)?;
    // A program that nobody has seen yet may be sent at its exec; this is about one that runs.
    pair.a.control.call(&["stay"])?;
    let copies = pair.a.run("io", &[], &["dd", "if=/dev/zero", "of=/dev/null", "bs=512"])?;
    let busy = pair.a.run_natively(&[&pair.worker, STEP, "go"])?;
    std::thread::sleep(COUNTS);
    pair.a.control.call(&["nostay"])?;
    // The balancer looks once a second.
    std::thread::sleep(2 * COUNTS);
    eprintln!("io_stays: {}", pair.a.control.call(&["why", &copies.pid().to_string()])?);
    let list = pair.a.control.list()?;
    let line = list.iter().find(|listed| listed.pid == copies.pid()).context("mosix ps does not list it")?;
    let events = pair.a.control.call(&["events"])?;
    ensure!((line.place.as_str(), line.moves) == ("home", 0), "{line:?}: {events}");
    copies.signal(rustix::process::Signal::TERM)?;
    copies.finish(&pair.a.sandbox, LIMIT)?;
    std::fs::write(pair.a.sandbox.path("work/go"), "")?;
    ends(&busy.finish(&pair.a.sandbox, LIMIT)?.stdout)?;
    pair.end()
}
