//! Machines and daemons that come while programs run, and programs of several users.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use system_tests::cluster::{Lan, wait};
use system_tests::mode::User;
use system_tests::run::Run;

use crate::pair::{Pair, STEP, ends, two_cores};
use crate::{CONVERGENCE, LIMIT};

/// Jobs run on two nodes; a third comes, and gets some of them by itself.
pub(crate) fn third_node_helps(user: User) -> Result<()> {
    const HELPS: Duration = Duration::from_secs(10);
    let [shared, idle] = two_cores()?;
    let mut lan = Lan::new(user)?;
    let (mut a, mut b) = (lan.machine("a", Some(shared))?, lan.machine("b", Some(shared))?);
    a.found()?;
    b.join(&a)?;
    a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
    let worker = a.guest("worker")?;
    let reports = ["one", "two", "three"];
    let runs: Vec<Run> =
        reports.iter().map(|report| a.run(report, &[], &[&worker, STEP, "go"])).collect::<Result<_>>()?;
    wait("one to be at B", LIMIT, || Ok(a.control.migrate(runs[0].pid(), "b").is_ok().then_some(())))?;
    let mut c = lan.machine("c", Some(idle))?;
    c.join(&a)?;
    let (mut looked, mut idle) = (Instant::now(), Duration::ZERO);
    wait("one to be at the third", LIMIT * 2, || {
        if a.control.list()?.iter().any(|line| line.place == "c") {
            return Ok(Some(()));
        }
        // What else runs on this machine is work of its owner's, for which guests stand back: that time does not count.
        let own = c.nodes()?.into_iter().find(|node| node.address.is_none());
        let passed = std::mem::replace(&mut looked, Instant::now()).elapsed();
        if own.is_some_and(|own| own.local < 0.2) {
            idle += passed;
        }
        Ok((idle > HELPS).then_some(()))
    })?;
    eprintln!("third_node_helps: it has a guest after {idle:.1?} idle");
    ensure!(idle <= HELPS, "idle for {idle:.1?}, and nobody came: {}", a.control.call(&["events"])?);
    std::fs::write(a.sandbox.path("work/go"), "")?;
    let mut moves = Vec::new();
    for (run, report) in runs.into_iter().zip(reports) {
        let outcome = run.finish(&a.sandbox, LIMIT)?;
        ensure!(outcome.status.success() && ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
        moves.extend(a.stats(report)?.moves.into_iter().map(|m| m.to));
    }
    ensure!(moves.iter().any(|to| to == "c"), "{moves:?}");
    [c, b, a].iter_mut().try_for_each(|machine| machine.stop().map(drop))
}

/// Programs that began without a daemon find the one that begins later: one that execs, and one that only computes.
pub(crate) fn daemon_comes_later(user: User) -> Result<()> {
    let mut pair = Pair::apart(user)?;
    let computes = pair.a.run("computes", &[], &[&pair.worker, STEP, "go"])?;
    let script = "until [ -e go ]; do sleep 0.1; done";
    let mut execs = pair.a.run("execs", &["-v"], &["sh", "-c", script])?;
    execs.wait_for_error("no node daemon here", LIMIT)?;
    pair.unite()?;
    execs.wait_for_error("computes at home: ", LIMIT)?;
    wait("the worker to go where it is told to", LIMIT, || {
        Ok(pair.a.control.migrate(computes.pid(), "b").is_ok().then_some(()))
    })?;
    let moves = pair.finish(computes, "computes", "go")?;
    ensure!(moves == ["b"], "{moves:?}");
    let outcome = execs.finish(&pair.a.sandbox, LIMIT)?;
    ensure!(outcome.status.success(), "{outcome:?}");
    pair.end()
}

/// Root's daemon serves every user of its machine: each its own processes, by its own name.
pub(crate) fn system_daemon_and_users(user: User) -> Result<()> {
    let pair = Pair::new(user)?;
    let nobody = pair.a.visitor(User::Nobody)?;
    let run = nobody.run("theirs", &["--on", "b"], &[&nobody.guest("worker")?, STEP, "go"])?;
    let pid = run.pid();
    wait("its process to be at B", LIMIT, || {
        let events = pair.b.control.call(&["events"])?;
        Ok(events.contains(&format!("guest-came home=a pid={pid}")).then_some(()))
    })?;
    let why = nobody.control.call(&["why", &pid.to_string()])?;
    ensure!(why.contains("is at b"), "{why}");
    // What is the owner's to direct is not theirs.
    let refused = nobody.control.call(&["bring"]).err().context("nobody brings everybody home")?.to_string();
    ensure!(refused.contains("and root may do that"), "{refused}");
    let ours = pair.a.run("ours", &[], &["sleep", "60"])?;
    wait("the daemon to know a process of root's", LIMIT, || {
        Ok(pair.a.control.call(&["why", &ours.pid().to_string()]).is_ok().then_some(()))
    })?;
    let refused =
        nobody.control.call(&["why", &ours.pid().to_string()]).err().context("nobody sees root's")?;
    ensure!(refused.to_string().contains("no process of yours"), "{refused}");
    ours.signal(rustix::process::Signal::TERM)?;
    ours.finish(&pair.a.sandbox, LIMIT)?;
    // It is brought home like everybody's.
    pair.a.control.call(&["bring"])?;
    pair.b.wait_for_guests(0, LIMIT)?;
    std::fs::write(nobody.sandbox.path("work/go"), "")?;
    let outcome = run.finish(&nobody.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
    let moves: Vec<String> = nobody.stats("theirs")?.moves.into_iter().map(|m| m.to).collect();
    ensure!(moves == ["b", "home"], "{moves:?}");
    nobody.sandbox.assert_clean()?;
    pair.end()
}
