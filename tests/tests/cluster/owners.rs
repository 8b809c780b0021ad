//! What owners allow, and that guests keep to it.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use system_tests::cluster::{Lan, Machine, wait};
use system_tests::mode::User;
use system_tests::processes::cpu_seconds;
use system_tests::run::Run;

use crate::pair::{Pair, STEP, ends, two_cores};
use crate::{CONVERGENCE, LIMIT};

/// In the first second of its life a program of the node's owner has the core nearly for itself, and guests can be sent
/// away while it runs.
pub(crate) fn comes_first(user: User) -> Result<()> {
    const FIRST: Duration = Duration::from_secs(1);
    const SHARE: f64 = 0.8;
    const LEAVE: Duration = Duration::from_secs(10);
    let mut pair = Pair::apart(user)?;
    // Who may raise priorities again can give guests the lowest; else one of them has a tenth of what is wanted by others.
    let reports = match user {
        User::Me => &["first", "second", "third"][..],
        User::Nobody => &["first"],
    };
    if user == User::Me {
        pair.b.options = vec!["--guests-priority".into(), "idle".into()];
    }
    pair.unite()?;
    let runs: Vec<Run> = reports
        .iter()
        .map(|report| pair.a.run(report, &["--on", "b"], &[&pair.worker, STEP, "go"]))
        .collect::<Result<_>>()?;
    pair.b.wait_for_guests(runs.len() as u32, LIMIT)?;
    for run in &runs {
        pair.a.wait_for_place(run.pid(), "b", LIMIT)?;
    }
    let theirs = pair.b.guest("worker")?;
    let of_guests = |b: &Machine| -> Result<f64> { Ok(b.processes()?.into_iter().map(cpu_seconds).sum()) };
    let before = of_guests(&pair.b)?;
    let own = pair.b.run_natively(&[&theirs, STEP, "go"])?;
    std::thread::sleep(FIRST);
    let (own_s, guests_s) = (cpu_seconds(own.pid()), of_guests(&pair.b)? - before);
    // Others of this machine may want that core as well: what counts is how these two share what they get.
    let share = own_s / (own_s + guests_s);
    let since = Instant::now();
    pair.b.control.call(&["expel"])?;
    let left = since.elapsed();
    eprintln!(
        "owner_comes_first: {own_s:.2} s of {:.2} s: {share:.2}; {} guests have left after {left:.1?}",
        own_s + guests_s,
        runs.len()
    );
    fs::write(pair.b.sandbox.path("work/go"), "")?;
    ends(&own.finish(&pair.b.sandbox, LIMIT)?.stdout)?;
    for (run, report) in runs.into_iter().zip(reports) {
        let moves = pair.finish(run, report, "go")?;
        ensure!(moves == ["b", "home"], "{moves:?}");
    }
    ensure!(own_s > 0.1 && share >= SHARE, "{share:.2} of the core: {own_s:.2} s beside {guests_s:.2} s");
    ensure!(left < LEAVE, "{left:?}");
    pair.end()
}

/// Guests have the cores that are lent to them, however many they are and whatever else is idle.
pub(crate) fn cores_are_lent_no_further(user: User) -> Result<()> {
    const LOOK: Duration = Duration::from_secs(2);
    let mut lan = Lan::new(user)?;
    let (mut a, mut b) = (lan.machine("a", None)?, lan.machine("b", None)?);
    // As anybody's programs otherwise, so that what else runs on this machine does not keep them from more.
    b.options = ["--guests-cores", "1", "--guests-priority", "0"].map(String::from).to_vec();
    a.found()?;
    b.join(&a)?;
    a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
    let worker = a.guest("worker")?;
    let start = |report: &str| a.run(report, &["--on", "b"], &[&worker, STEP, "go"]);
    let runs = ["one", "two", "three"].into_iter().map(start).collect::<Result<Vec<Run>>>()?;
    for run in &runs {
        a.wait_for_place(run.pid(), "b", LIMIT)?;
    }
    let used = || -> Result<f64> { Ok(b.processes()?.into_iter().map(cpu_seconds).sum()) };
    let (before, since) = (used()?, Instant::now());
    std::thread::sleep(LOOK);
    let cores = (used()? - before) / since.elapsed().as_secs_f64();
    eprintln!("cores_are_lent_no_further: {} guests use {cores:.2} cores", runs.len());
    fs::write(a.sandbox.path("work/go"), "")?;
    for run in runs {
        ends(&run.finish(&a.sandbox, LIMIT)?.stdout)?;
    }
    ensure!((0.2..1.2).contains(&cores), "{cores:.2} cores");
    b.stop()?;
    a.stop().map(drop)
}

/// Day of the week `ahead` days from now, UTC, as the daemon's policy has it.
fn weekday(ahead: u64) -> Result<&'static str> {
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    Ok(DAYS[((days + ahead) % 7) as usize])
}

/// SIGHUP: guests leave who may not stay by what the policy says now, and come again when they may.
pub(crate) fn policy_changes(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let (mut a, mut b) = (lan.machine("a", None)?, lan.machine("b", None)?);
    let file = b.sandbox.path("config/mosixd.toml");
    b.options = vec!["--config".into(), b.sandbox.text("config/mosixd.toml")];
    fs::write(&file, "")?;
    a.found()?;
    b.join(&a)?;
    a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
    let worker = a.guest("worker")?;
    let run = a.run("policy", &["--on", "b"], &[&worker, STEP, "go"])?;
    let mut expected = vec!["b"];
    a.wait_for_place(run.pid(), "b", LIMIT)?;
    // The day after tomorrow: midnight may come while this runs.
    let hours = format!("hours = ['{}']", weekday(2)?);
    for closed in ["homes = ['c']", &hours, "users = ['somebody@a', 'root@c']", "max = 0"] {
        fs::write(&file, format!("[guests]\n{closed}\n"))?;
        b.reload()?;
        b.wait_for_guests(0, LIMIT).with_context(|| closed.to_owned())?;
        a.wait_for_place(run.pid(), "home", LIMIT)?;
        ensure!(a.control.migrate(run.pid(), "b").is_err(), "{closed}: and it came again");
        fs::write(&file, "[guests]\nhomes = ['a']\nusers = ['root@a']\nmax = 3\nhours = ['daily']\n")?;
        b.reload()?;
        wait("it to be let in again", LIMIT, || Ok(a.control.migrate(run.pid(), "b").is_ok().then_some(())))?;
        expected.extend(["home", "b"]);
    }
    // What cannot be meant changes nothing.
    fs::write(&file, "[guests]\nmost = 0\n")?;
    b.reload()?;
    b.wait_for_log(" not-reloaded ")?;
    b.wait_for_guests(1, Duration::ZERO)?;
    fs::write(a.sandbox.path("work/go"), "")?;
    let outcome = run.finish(&a.sandbox, LIMIT)?;
    ensure!(ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
    let moves: Vec<String> = a.stats("policy")?.moves.into_iter().map(|m| m.to).collect();
    ensure!(moves == expected, "{moves:?}");
    let log = b.stop()?;
    ensure!(log.contains("its owner does not allow it there now"), "{log}");
    a.stop().map(drop)
}

/// A node at its limit of memory sends guests on, with what they have.
pub(crate) fn memory_is_lent_no_further(user: User) -> Result<()> {
    const MIB: &str = "100";
    const LENT_MIB: &str = "150";
    let mut lan = Lan::new(user)?;
    let [shared, idle] = two_cores()?;
    let [mut a, mut b] = [lan.machine("a", Some(shared))?, lan.machine("b", Some(shared))?];
    let mut c = lan.machine("c", Some(idle))?;
    b.options = vec!["--guests-memory".into(), LENT_MIB.into()];
    a.found()?;
    b.join(&a)?;
    c.join(&a)?;
    a.wait_for_nodes(&["a", "b", "c"], CONVERGENCE)?;
    let worker = a.guest("worker")?;
    // A worker of a run of its own, and what becomes of it.
    let start = |report: &str| a.run(report, &["--nodes", "b,c"], &[&worker, STEP, "go", MIB, "grow"]);
    let runs: Vec<(Run, &str)> =
        ["one", "two"].into_iter().map(|report| Ok((start(report)?, report))).collect::<Result<_>>()?;
    // Both begin small, and at B.
    for (run, _) in &runs {
        wait("a worker to be let in", LIMIT, || Ok(a.control.migrate(run.pid(), "b").is_ok().then_some(())))?;
    }
    b.wait_for_guests(2, LIMIT)?;
    fs::write(a.sandbox.path("work/grow"), "")?;
    // Where to depends on what else runs on the third's core.
    let went = wait("one to have gone on", LIMIT, || {
        let list = a.control.list()?;
        let at = |place: &str| list.iter().filter(|listed| listed.place == place).count();
        let home = a.control.call(&["events"])?.contains(" to=home why=\"from b ");
        Ok((at("b") == 1 && (at("c") == 1 || home && at("home") == 1)).then_some(if home {
            "home"
        } else {
            "c"
        }))
    })?;
    eprintln!("memory_is_lent_no_further: one has gone on to {went}");
    fs::write(a.sandbox.path("work/go"), "")?;
    for (run, _) in runs {
        let outcome = run.finish(&a.sandbox, LIMIT)?;
        ensure!(outcome.status.success() && ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
    }
    let log = b.stop()?;
    // What else runs on this machine may have been a reason before memory was.
    let reasons = ["allows fewer guests", "local work needs the cores"];
    let evicted =
        |line: &str| line.contains(" guest-evicted ") && reasons.iter().any(|why| line.contains(why));
    ensure!(log.lines().any(evicted) && !log.contains(" guests-lost "), "{log}");
    c.stop()?;
    a.stop().map(drop)
}
