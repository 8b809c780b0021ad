//! Clusters: machines that join by tokens, share their work, obey their owners, and let no stranger in.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::thread::sched_getaffinity;
use system_tests::cluster::{Lan, Machine, SESSIONS, wait};
use system_tests::mode::{Mode, User};
use system_tests::run::Run;
use system_tests::suite;
use wire::identity::{TOKEN_PREFIX, Token};

/// For what takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
/// For daemons to learn of each other: failure detection takes about 6 s (docs/CLUSTER.md).
const CONVERGENCE: Duration = Duration::from_secs(30);
/// Rounds of a worker that asks after each such many whether it is to end: some hundredths of a second.
const STEP: &str = "20000000";

fn main() {
    suite::run(trials());
}

type Test = fn(User) -> Result<()>;

/// About who is of the cluster.
const OF_DAEMONS: [(&str, Test); 4] = [
    ("members", members),
    ("strangers_with_tokens", strangers_with_tokens),
    ("strangers_with_daemons", strangers_with_daemons),
    ("removed", removed),
];

/// About where guests are: these have the machine for themselves.
const OF_GUESTS: [(&str, Test); 7] = [
    ("offload", offload),
    ("bring", bring),
    ("block", block),
    ("expel", expel),
    ("daemon_ends", daemon_ends),
    ("owner_works", owner_works),
    ("daemon_killed", daemon_killed),
];

fn trials() -> Result<Vec<suite::Trial>> {
    let mut trials = Vec::new();
    // Joined network namespaces take root.
    if !Mode::enabled()?.contains(&Mode::Cluster) || !User::am_root() {
        return Ok(trials);
    }
    let mode = Mode::Cluster;
    for (name, test) in OF_DAEMONS {
        // What they do depends on no user.
        let user = User::Me;
        trials.push(suite::trial(&format!("{mode}/{user}/{name}"), false, move || test(user)));
    }
    for user in User::all() {
        for (name, test) in OF_GUESTS {
            trials.push(suite::trial(&format!("{mode}/{user}/{name}"), true, move || test(*user)));
        }
    }
    Ok(trials)
}

/// Two machines of one core each and of one cluster.
struct Pair {
    _lan: Lan,
    a: Machine,
    b: Machine,
    worker: String,
}

impl Pair {
    /// Without daemons.
    fn apart(user: User) -> Result<Pair> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let mut core = || cores.next().context("two machines need two cores");
        let mut lan = Lan::new(user)?;
        let (a, b) = (lan.machine("a", Some(core()?))?, lan.machine("b", Some(core()?))?);
        let worker = a.guest("worker")?;
        Ok(Pair { _lan: lan, a, b, worker })
    }

    fn new(user: User) -> Result<Pair> {
        let mut pair = Pair::apart(user)?;
        pair.unite()?;
        Ok(pair)
    }

    fn unite(&mut self) -> Result<()> {
        self.a.found()?;
        self.b.join(&self.a)?;
        self.a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
        self.b.wait_for_nodes(&["a", "b"], CONVERGENCE)
    }

    /// Starts a worker at B that goes on until the file `go` is there.
    fn worker_at_b(&self, report: &str, go: &str) -> Result<Run> {
        let run = self.a.run(report, &["--on", "b"], &[&self.worker, STEP, go])?;
        self.a.wait_for_place(run.pid(), "b", LIMIT)?;
        self.b.wait_for_guests(1, LIMIT)?;
        Ok(run)
    }

    /// Ends such a worker; its output must be right. Its moves, by destination.
    fn finish(&self, run: Run, report: &str, go: &str) -> Result<Vec<String>> {
        std::fs::write(self.a.sandbox.path("work").join(go), "")?;
        let outcome = run.finish(&self.a.sandbox, LIMIT)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        ensure!(ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
        Ok(self.a.stats(report)?.moves.into_iter().map(|m| m.to).collect())
    }

    /// Demands that a program which is to go to B computes at home and that its user is told why.
    fn assert_stays(&self, options: &[&str], why: &str) -> Result<()> {
        let outcome = self.a.run("stays", options, &["echo", "ran"])?.finish(&self.a.sandbox, LIMIT)?;
        let error = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.stdout == b"ran\n" && error.contains(why), "{options:?}: {error}, wanted {why:?}");
        self.a.stats("stays")?.assert_stayed()
    }

    fn end(mut self) -> Result<()> {
        self.a.sandbox.assert_clean()?;
        self.b.stop()?;
        self.a.stop().map(drop)
    }
}

/// The x of `rounds` rounds of a worker. Maps x → a·x + c are squared, bit by bit (Brown, Random number generation with
/// arbitrary strides, 1994).
fn chain(mut rounds: u64) -> u64 {
    let (mut a, mut c, mut x) = (6364136223846793005_u64, 1442695040888963407_u64, 1_u64);
    while rounds > 0 {
        if rounds & 1 == 1 {
            x = x.wrapping_mul(a).wrapping_add(c);
        }
        c = c.wrapping_mul(a.wrapping_add(1));
        a = a.wrapping_mul(a);
        rounds >>= 1;
    }
    x
}

/// The rounds of the workers that printed this, each of which must have computed rightly.
fn ends(output: &[u8]) -> Result<Vec<u64>> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .map(|line| {
            let numbers = line.strip_prefix("ok worker ").and_then(|rest| rest.split_once(' '));
            let (rounds, x) = numbers.with_context(|| format!("a worker printed {line:?}"))?;
            let (rounds, x): (u64, u64) = (rounds.parse()?, x.parse()?);
            ensure!(rounds > 0 && chain(rounds) == x, "{line:?}, wanted {}", chain(rounds));
            Ok(rounds)
        })
        .collect()
}

/// Four equal jobs are ready sooner with two machines than at home alone: the balancer has them computed at both.
fn offload(user: User) -> Result<()> {
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

/// Daemons find each other; one more comes; one dies; one is cut off and comes back.
fn members(user: User) -> Result<()> {
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
fn strangers_with_tokens(user: User) -> Result<()> {
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
fn strangers_with_daemons(user: User) -> Result<()> {
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

/// A node that was taken out of the cluster is heard no more.
fn removed(user: User) -> Result<()> {
    let mut lan = Lan::new(user)?;
    let (mut a, mut b, mut c) = (lan.machine("a", None)?, lan.machine("b", None)?, lan.machine("c", None)?);
    a.found()?;
    b.join(&a)?;
    c.join(&a)?;
    for machine in [&a, &b, &c] {
        machine.wait_for_nodes(&["a", "b", "c"], CONVERGENCE)?;
    }
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

/// `mosix bring` returns when everything is home, where it stays until `mosix nostay`.
fn bring(user: User) -> Result<()> {
    let pair = Pair::new(user)?;
    let run = pair.worker_at_b("bring", "go")?;
    pair.a.control.call(&["bring"])?;
    let list = pair.a.control.list()?;
    ensure!(list.iter().any(|l| l.pid == run.pid() && l.place == "home"), "{list:?}");
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
fn block(user: User) -> Result<()> {
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
fn expel(user: User) -> Result<()> {
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
fn daemon_ends(user: User) -> Result<()> {
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
fn owner_works(user: User) -> Result<()> {
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
fn daemon_killed(user: User) -> Result<()> {
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
