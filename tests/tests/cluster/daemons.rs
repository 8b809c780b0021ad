//! Who is of the cluster.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use system_tests::cluster::{Lan, Machine, SESSIONS, wait};
use system_tests::mode::User;
use wire::identity::{TOKEN_PREFIX, Token};

use crate::pair::{STEP, ends};
use crate::{CONVERGENCE, LIMIT};

/// Daemons find each other; one more comes; one dies; one is cut off and comes back.
pub(crate) fn members(user: User) -> Result<()> {
    const FORMATION: Duration = Duration::from_secs(20);
    let mut lan = Lan::new(user)?;
    let mut machines = Vec::new();
    let began = Instant::now();
    for name in ["a", "b", "c", "d", "e"] {
        let mut machine = lan.machine(name, None)?;
        match machines.first() {
            None => machine.found()?,
            Some(first) => machine.join(first)?,
        }
        machines.push(machine);
    }
    let started = began.elapsed();
    let agree = |machines: &[Machine], names: &[&str], limit| {
        machines.iter().try_for_each(|machine| machine.wait_for_nodes(names, limit))
    };
    agree(&machines, &["a", "b", "c", "d", "e"], FORMATION)?;
    ensure!(began.elapsed() - started < FORMATION, "{:?}", began.elapsed() - started);
    eprintln!("members: 5 made and started in {started:.1?}, one cluster after {:.1?}", began.elapsed());

    let mut sixth = lan.machine("f", None)?;
    sixth.enrol(&machines[0].token("15m")?)?;
    sixth.start(&[&machines[3]])?;
    machines.push(sixth);
    agree(&machines, &["a", "b", "c", "d", "e", "f"], CONVERGENCE)?;

    let since = Instant::now();
    machines.remove(2).kill()?;
    agree(&machines, &["a", "b", "d", "e", "f"], CONVERGENCE)?;
    eprintln!("members: one that was killed is forgotten after {:.1?}", since.elapsed());

    let since = Instant::now();
    lan.plug(&machines[1], false)?;
    let cut = machines.remove(1);
    agree(&machines, &["a", "d", "e", "f"], CONVERGENCE)?;
    cut.wait_for_nodes(&["b"], CONVERGENCE)?;
    eprintln!("members: one that was cut off is forgotten after {:.1?}", since.elapsed());
    let since = Instant::now();
    lan.plug(&cut, true)?;
    machines.push(cut);
    agree(&machines, &["a", "b", "d", "e", "f"], CONVERGENCE)?;
    eprintln!("members: it is back after {:.1?}", since.elapsed());
    machines.iter_mut().try_for_each(|machine| machine.stop().map(drop))
}

/// Demands that a machine is not let in with a token, and is told why.
fn assert_not_let_in(machine: &Machine, token: &str, why: &str) -> Result<()> {
    let said = machine.enrol(token).err().with_context(|| format!("let in, although {why}"))?.to_string();
    ensure!(said.contains(why), "{said:?}, wanted {why:?}");
    Ok(())
}

/// A token with another time to live, as whoever has it can make it.
fn prolonged(token: &str) -> Result<String> {
    type Fields = ([u8; 32], [u8; 16], u64, Vec<std::net::SocketAddr>);
    const CHECK_BYTES: usize = 4;
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(TOKEN_PREFIX).context("no token")?)?;
    let body = bytes.get(..bytes.len() - CHECK_BYTES).context("a short token")?;
    let (ca, secret, expires, addresses): Fields = wire::message::decode(body)?;
    let mut bytes = wire::message::encode(&(ca, secret, expires + 3600, addresses));
    let check = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend(&check.as_ref()[..CHECK_BYTES]);
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Tokens that are wrong, used or old let nobody in; both sides say so.
pub(crate) fn strangers_with_tokens(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let (mut a, b, c) = (lan.machine("a", None)?, lan.machine("b", None)?, lan.machine("c", None)?);
    a.found()?;

    // Another cluster's, with A's address: the machine that joins does not trust A.
    let (other, copy) = (lan.machine("other", None)?, lan.machine("copy", None)?);
    other.control.call(&["init", "--machine", "other"])?;
    let theirs = other.control.call(&["token", "--address", &a.address])?;
    assert_not_let_in(&c, theirs.trim(), "not of the cluster that the token is for")?;
    a.wait_for_log("refused this machine: node a")?;

    // This cluster's, with a secret that A does not know.
    let (from, to) = (a.sandbox.text("config/identity"), copy.sandbox.text("config/identity"));
    let copied = std::process::Command::new("cp").args(["-a", &from, &to]).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let forged = copy.control.call(&["token", "--address", &a.address])?;
    assert_not_let_in(&c, forged.trim(), "not known or has expired")?;

    let token = a.token("15m")?;
    b.enrol(&token)?;
    assert_not_let_in(&c, &token, "has been used")?;

    let token = a.token("1s")?;
    let known = Token::parse(&token)?;
    wait("a token to expire", LIMIT, || Ok(known.is_expired().then_some(())))?;
    // `mosix join` does not even ask; but not every stranger's clock is right.
    assert_not_let_in(&c, &token, "has expired by this machine's clock")?;
    assert_not_let_in(&c, &prolonged(&token)?, "not known or has expired")?;
    let log = a.stop()?;
    for (why, times) in [("not known or has expired", 2), ("has been used", 1)] {
        let lines = log.lines().filter(|line| line.contains(" enrolment-refused ") && line.contains(why));
        ensure!(lines.count() == times, "not {times} times {why:?}: {log}");
    }
    Ok(())
}

/// Two clusters on one wire; the daemons of one have addresses of the other.
pub(crate) fn strangers_with_daemons(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let (mut a, mut b) = (lan.machine("a", None)?, lan.machine("b", None)?);
    let (mut x, mut y) = (lan.machine("x", None)?, lan.machine("y", None)?);
    a.found()?;
    b.join(&a)?;
    x.found()?;
    y.enrol(&x.token("15m")?)?;
    // Alone with them, it calls them all.
    y.start(&[&a, &b])?;
    for machine in [&a, &b] {
        y.wait_for_log(&format!("refused {}:", machine.address))?;
    }
    for machine in [&mut a, &mut b] {
        machine.wait_for_log(&format!("{}:{} refused this machine", y.address, SESSIONS + 1))?;
    }
    y.wait_for_nodes(&["y"], Duration::ZERO)?;
    y.stop()?;
    // With one of its own beside them, each keeps to its own.
    y.start(&[&a, &b, &x])?;
    y.wait_for_nodes(&["x", "y"], CONVERGENCE)?;
    x.wait_for_nodes(&["x", "y"], CONVERGENCE)?;
    for machine in [&mut y, &mut x, &mut b, &mut a] {
        let ours: &[&str] =
            if ["a", "b"].contains(&machine.name.as_str()) { &["a", "b"] } else { &["x", "y"] };
        let log = machine.stop()?;
        let up = log.lines().filter_map(|line| line.split_once(" node-up node=")?.1.split(' ').next());
        let up: BTreeSet<&str> = up.collect();
        ensure!(!up.is_empty() && up.iter().all(|name| ours.contains(name)), "{}: {log}", machine.name);
    }
    Ok(())
}

/// A cluster of three that know each other.
fn three(lan: &mut Lan) -> Result<[Machine; 3]> {
    let (mut a, mut b, mut c) = (lan.machine("a", None)?, lan.machine("b", None)?, lan.machine("c", None)?);
    a.found()?;
    b.join(&a)?;
    c.join(&a)?;
    for machine in [&a, &b, &c] {
        machine.wait_for_nodes(&["a", "b", "c"], CONVERGENCE)?;
    }
    Ok([a, b, c])
}

/// A node that was taken out of the cluster is heard no more.
pub(crate) fn removed(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let [mut a, mut b, mut c] = three(&mut lan)?;
    a.control.call(&["node", "remove", "c"])?;
    a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
    b.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
    for machine in [&mut a, &mut b] {
        machine.wait_for_log("refused node c (")?;
    }
    c.wait_for_log("refused this machine: it was removed from the cluster")?;
    c.wait_for_nodes(&["c"], CONVERGENCE)?;
    // Nor when it begins anew.
    c.stop()?;
    c.start(&[&a, &b])?;
    c.wait_for_log("refused this machine: node c was removed from cluster")?;
    for (machine, nodes) in [(&a, &["a", "b"][..]), (&b, &["a", "b"]), (&c, &["c"])] {
        machine.wait_for_nodes(nodes, Duration::ZERO)?;
    }
    [a, b, c].iter_mut().try_for_each(|machine| machine.stop().map(drop))
}

/// A node is taken out of the cluster while it computes for others and others compute for it: its guests elsewhere end at
/// once, and its users are told why; what computes there comes home.
pub(crate) fn removed_at_work(user: User) -> Result<()> {
    const AT_ONCE: Duration = Duration::from_secs(10);
    let mut lan = Lan::new(user)?;
    let [a, mut b, c] = three(&mut lan)?;
    let ours = a.run("ours", &["--on", "c"], &[&a.guest("worker")?, STEP, "go"])?;
    let theirs = c.run("theirs", &["--on", "b"], &[&c.guest("worker")?, STEP, "go"])?;
    a.wait_for_place(ours.pid(), "c", LIMIT)?;
    c.wait_for_place(theirs.pid(), "b", LIMIT)?;
    b.wait_for_guests(1, LIMIT)?;

    let since = Instant::now();
    a.control.call(&["node", "remove", "c"])?;
    b.wait_for_guests(0, AT_ONCE)?;
    eprintln!("removed_at_work: its guest is gone after {:.1?}", since.elapsed());
    a.wait_for_place(ours.pid(), "home", AT_ONCE)?;
    eprintln!("removed_at_work: what was there is home after {:.1?}", since.elapsed());
    let outcome = theirs.finish(&c.sandbox, LIMIT)?;
    let told = String::from_utf8_lossy(&outcome.stderr);
    ensure!(outcome.status.signal() == Some(9), "{outcome:?}");
    ensure!(told.contains("node b is lost") && told.contains("was removed from the cluster"), "{told}");

    std::fs::write(a.sandbox.path("work/go"), "")?;
    let outcome = ours.finish(&a.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
    let moves: Vec<String> = a.stats("ours")?.moves.into_iter().map(|m| m.to).collect();
    ensure!(moves == ["c", "home"], "{moves:?}");
    let log = b.stop()?;
    let end = log.lines().find(|line| line.contains(" session-ends ")).context(log.clone())?;
    ensure!(end.contains("was removed from the cluster"), "{end}");
    [a, c].iter_mut().try_for_each(|machine| machine.stop().map(drop))
}

/// Daemons without seeds find those of their cluster on the wire, and no others.
pub(crate) fn found_by_multicast(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let names = ["a", "b", "x", "y"];
    let mut machines = names.into_iter().map(|name| lan.machine(name, None)).collect::<Result<Vec<_>>>()?;
    for machine in &mut machines {
        machine.discovery = "mdns";
    }
    let [a, b, x, y] = &mut machines[..] else { unreachable!("four were made") };
    for (first, second) in [(a, b), (x, y)] {
        first.found()?;
        second.enrol(&first.token("15m")?)?;
        second.start(&[])?;
    }
    let since = Instant::now();
    for (machine, cluster) in machines.iter().zip([["a", "b"], ["a", "b"], ["x", "y"], ["x", "y"]]) {
        machine.wait_for_nodes(&cluster, CONVERGENCE)?;
    }
    eprintln!("found_by_multicast: all have found each other after {:.1?}", since.elapsed());
    for machine in &mut machines {
        let others = match machine.name.as_str() {
            "a" | "b" => ["node=x ", "node=y "],
            _ => ["node=a ", "node=b "],
        };
        let log = machine.stop()?;
        let own = log.lines().filter(|line| line.contains(" node-found ")).count();
        ensure!(own >= 1 && !others.iter().any(|other| log.contains(other)), "{}: {log}", machine.name);
    }
    Ok(())
}
