//! Two hosts. The namespaces themselves are proved first, whatever modes are on: natively, a program in one talks to a
//! program in the other, and nothing else.

#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use system_tests::case::Case;
use system_tests::hosts::{Hosts, NAMES, NODE, NODE_B, Node};
use system_tests::mode::{Mode, User};
use system_tests::run::Run;
use system_tests::sandbox::Sandbox;
use system_tests::shuttle::Control;
use system_tests::stats::Stats;
use system_tests::{guests, suite};

const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<suite::Trial>> {
    let mut cases = guests::cases()?;
    cases.push(
        Case::bash("pipeline", "seq 1 50000 | sort -rn | awk '{s += $1} END {print s}'")
            .needs(&["awk"])
            .shows("1250025000"),
    );
    cases.push(
        Case::bash("compile", "printf 'int main(void) {return 6;}' > m.c; gcc -o m m.c; ./m; echo $?; rm m")
            .needs(&["gcc"])
            .shows("6"),
    );
    let mut trials = suite::trials(&cases, &[Mode::TwoHosts])?;
    // Everybody can run the rest of the suite; a pair of network namespaces takes root.
    if User::am_root() {
        trials.push(suite::trial("hosts_are_joined_and_alone", false, hosts_are_joined_and_alone));
        trials.push(suite::trial("hosts_leave_nothing", false, hosts_leave_nothing));
        if Mode::enabled()?.contains(&Mode::TwoHosts) {
            trials.push(suite::trial("a_stranger_is_refused", false, a_stranger_is_refused));
            for (name, test) in TWO_NODES {
                for user in User::all() {
                    let name = format!("two_nodes/{user}/{name}");
                    trials.push(suite::trial(&name, false, move || two_nodes(*user, test)));
                }
            }
        }
    }
    Ok(trials)
}

/// Python in one namespace answers Python in the other; neither reaches the machine's own loopback.
fn hosts_are_joined_and_alone() -> Result<()> {
    let hosts = Hosts::new()?;
    let sandbox = Sandbox::new(User::Me)?;
    let (address, port) = NODE.split_once(':').expect("an address with a port");
    let server = format!(
        "import socket; s = socket.create_server(('{address}', {port})); print('up', flush=True); \
         c = s.accept()[0]; c.sendall(c.recv(100).upper())"
    );
    let mut argv = hosts.node.enter();
    argv.extend(["python3", "-c", &server].map(String::from));
    let mut server = Run::start(&sandbox, argv, &[])?;
    server.wait_for("up", std::time::Duration::from_secs(20))?;

    // Of the machine's own network, nothing is seen from inside.
    let outside = std::net::TcpListener::bind("127.0.0.1:0")?;
    let client = format!(
        "import socket\nc = socket.create_connection(('{address}', {port}))\nc.sendall(b'over the pair')\nprint(c.recv(100))\n\
         try: socket.create_connection(('127.0.0.1', {}))\nexcept ConnectionRefusedError: print('alone')",
        outside.local_addr()?.port()
    );
    let enter = hosts.home.enter();
    let output = Command::new(&enter[0]).args(&enter[1..]).args(["python3", "-c", &client]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text == "b'OVER THE PAIR'\nalone\n", "{text}{}", String::from_utf8_lossy(&output.stderr));
    let outcome = server.finish(&sandbox, std::time::Duration::from_secs(20))?;
    ensure!(outcome.status.success(), "{outcome:?}");
    Ok(())
}

/// When they are dropped, their processes are gone, and with them the namespaces and the pair.
fn hosts_leave_nothing() -> Result<()> {
    let hosts = Hosts::new()?;
    let inside =
        |words: &[String]| Command::new(&words[0]).args(&words[1..]).args(["ip", "-br", "link"]).output();
    let enter = hosts.home.enter();
    let links = String::from_utf8(inside(&enter)?.stdout)?;
    ensure!(links.contains("veth0"), "{links}");
    drop(hosts);
    ensure!(!inside(&enter)?.status.success(), "the namespace can still be entered");
    Ok(())
}

/// An identity of another cluster gets a message that says what to do, and nothing runs.
fn a_stranger_is_refused() -> Result<()> {
    let hosts = Hosts::new()?;
    let (ours, theirs) = (Sandbox::new(User::Me)?, Sandbox::new(User::Me)?);
    let (_, node_identity) = hosts.identities(&theirs)?;
    let (stranger, _) = hosts.identities(&ours)?;
    let node = hosts.start_node(&theirs, &node_identity)?;
    let mut argv = hosts.home.enter();
    argv.push(ours.ours("mosix-run")?);
    argv.extend(["--on", NODE, "--identity", &stranger, "--", "touch", "ran"].map(String::from));
    let outcome = Run::start(&ours, argv, &[])?.finish(&ours, std::time::Duration::from_secs(60))?;
    let error = String::from_utf8_lossy(&outcome.stderr);
    ensure!(
        outcome.status.code() == Some(125) && error.lines().count() == 1 && error.contains("mosix join"),
        "{outcome:?}"
    );
    ensure!(!ours.path("work/ran").exists(), "the command ran");
    node.stop()
}

/// A home and two nodes, A and B; processes go to A at their exec.
struct TwoNodes {
    sandbox: Sandbox,
    hosts: Hosts,
    identity: String,
    a: Node,
    b: Node,
}

type TwoNodesTest = fn(&mut TwoNodes) -> Result<()>;

const TWO_NODES: [(&str, TwoNodesTest); 5] = [
    ("moved_from_node_to_node", moved_from_node_to_node),
    ("parent_and_child_apart", parent_and_child_apart),
    ("a_lost_node_takes_its_own", a_lost_node_takes_its_own),
    ("a_node_that_is_not_there", a_node_that_is_not_there),
    ("guests_stand_back", guests_stand_back),
];

fn two_nodes(user: User, test: TwoNodesTest) -> Result<()> {
    let hosts = Hosts::with_two_nodes()?;
    let sandbox = Sandbox::new(user)?;
    let (identity, of_a) = hosts.identities(&sandbox)?;
    let of_b = hosts.invite(&sandbox, &identity, NAMES[1])?;
    let a = hosts.start_node(&sandbox, &of_a)?;
    let b = hosts.start_second(&sandbox, &of_b)?;
    let mut nodes = TwoNodes { sandbox, hosts, identity, a, b };
    test(&mut nodes)?;
    nodes.sandbox.assert_clean()?;
    nodes.a.stop()?;
    nodes.b.stop()
}

impl TwoNodes {
    fn start(&self, argv: &[&str]) -> Result<Run> {
        let mut words = self.hosts.home.enter();
        words.extend(self.sandbox.user().launcher());
        words.push(self.sandbox.ours("mosix-run")?);
        let stats = self.sandbox.text("report/stats");
        words.extend(["--stats", &stats, "--on", NODE, "--identity", &self.identity, "--"].map(String::from));
        words.extend(argv.iter().map(|word| (*word).to_owned()));
        Run::start(&self.sandbox, words, &[])
    }

    fn stats(&self) -> Result<Stats> {
        Stats::read(&self.sandbox.path("report/stats"))
    }
}

/// A program with a child, a pipe between them, is sent from A to B, home, to B again and to A all the time, parent and
/// child each for itself, and prints what it prints natively.
fn moved_from_node_to_node(nodes: &mut TwoNodes) -> Result<()> {
    let script = "use strict; $| = 1; pipe(my $r, my $w) or die; my $pid = fork;\n\
         if (!$pid) {close $r; my $x = 1; for my $n (1..300) {$x = ($x * 1103515245 + 12345) & 0x7fffffff for 1..30000;\n\
             syswrite $w, qq($n $x\\n)} exit 7}\n\
         close $w; my $s = 0; while (<$r>) {my ($n, $x) = split; $s = ($s * 31 + $x) % 1000003;\n\
             $s = ($s * 7 + $_) % 1000003 for 1..30000; print qq($n $s\\n)}\n\
         waitpid $pid, 0; print 'child ', $? >> 8, qq(\\n)";
    let native = Run::start(&nodes.sandbox, ["perl", "-e", script].map(String::from).to_vec(), &[])?;
    let native = native.finish(&nodes.sandbox, LIMIT)?;
    ensure!(native.status.success() && native.stdout.ends_with(b"\nchild 7\n"), "natively: {native:?}");
    let mut run = nodes.start(&["perl", "-e", script])?;
    run.wait_for("1 ", LIMIT)?;
    let control = Control::new(&nodes.sandbox)?;
    // The first time by its address: nobody knows its name yet.
    control.migrate(run.pid(), NODE_B)?;
    let route = ["home", NAMES[1], NAMES[0], NAMES[1], "home", NAMES[0], NAMES[1]];
    for (round, _) in std::iter::repeat_n((), 200).enumerate() {
        let Ok(list) = control.list() else { break };
        if list.is_empty() {
            break;
        }
        for (n, process) in list.iter().enumerate() {
            // It may have ended or be on its way meanwhile.
            let _ = control.migrate(process.pid, route[(round + 3 * n) % route.len()]);
        }
    }
    let outcome = run.finish(&nodes.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && outcome.stdout == native.stdout, "not as natively: {outcome:?}");
    let stats = nodes.stats()?;
    let [a, b] = NAMES;
    for (from, to) in [(a, b), (b, "home"), ("home", b), (b, a), ("home", a)] {
        let made = stats.moves.iter().filter(|m| m.from == from && m.to == to).count();
        ensure!(made > 0, "no move {from} -> {to}: {stats:?}");
    }
    let sum: f64 = stats.nodes.values().map(|node| node.cpu_s).sum();
    ensure!((sum - stats.cpu_seconds.remote).abs() < 1e-6 && stats.nodes.len() == 2, "{stats:?}");
    ensure!(stats.nodes.values().all(|node| node.cpu_s > 0.0 && node.forwarded > 0), "{stats:?}");
    Ok(())
}

/// A parent on B waits for its child on A, and gets its status and its CPU time.
fn parent_and_child_apart(nodes: &mut TwoNodes) -> Result<()> {
    let script = "use strict; $| = 1; my $pid = fork;\n\
         if (!$pid) {print qq(child $$\\n); <STDIN>; my $x; do {$x++ for 1..1000000} while (times)[0] < 0.5; exit 3}\n\
         print qq(parent $$\\n); waitpid $pid, 0; my @t = times;\n\
         print 'status ', $? >> 8, ' own ', ($t[0] < 0.3 ? 1 : 0), ' child ', ($t[2] >= 0.5 ? 1 : 0), qq(\\n)";
    let mut run = nodes.start(&["perl", "-e", script])?;
    run.wait_for("parent ", LIMIT)?;
    let control = Control::new(&nodes.sandbox)?;
    control.migrate(run.pid(), NODE_B)?;
    let list = control.list()?;
    let place = |parent: bool| list.iter().find(|p| (p.pid == run.pid()) == parent).map(|p| p.place.as_str());
    ensure!((place(true), place(false)) == (Some(NAMES[1]), Some(NAMES[0])), "{list:?}");
    run.send(b"go\n")?;
    let outcome = run.finish(&nodes.sandbox, LIMIT)?;
    ensure!(outcome.stdout.ends_with(b"status 3 own 1 child 1\n"), "{outcome:?}");
    Ok(())
}

/// One process on each node and their parent at home: with B go those that are there, and no other.
fn a_lost_node_takes_its_own(nodes: &mut TwoNodes) -> Result<()> {
    let script = "perl -e '1 until -e q(go); print qq(ended\\n)' & a=$!; perl -e '$| = 1; print qq(b runs\\n); 1 until -e q(go)' & b=$!; \
         echo $b > b; echo ready; wait $b; echo b $?; wait $a; echo a $?";
    let mut run = nodes.start(&["bash", "-c", script])?;
    run.wait_for("ready\n", LIMIT)?;
    // One that is on its way when the node is lost does not go down with it.
    run.wait_for("b runs\n", LIMIT)?;
    let b: i32 = std::fs::read_to_string(nodes.sandbox.path("work/b"))?.trim().parse()?;
    let control = Control::new(&nodes.sandbox)?;
    control.migrate(run.pid(), "home")?;
    control.migrate(b, NODE_B)?;
    nodes.b.signal(Signal::KILL)?;
    run.wait_for("b 137\n", LIMIT)?;
    let list = control.list()?;
    ensure!(list.iter().any(|process| process.place == NAMES[0]), "{list:?}");
    std::fs::write(nodes.sandbox.path("work/go"), "")?;
    let outcome = run.finish(&nodes.sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.success() && outcome.stdout.ends_with(b"ended\na 0\n"), "{outcome:?}");
    ensure!(error.contains(&format!("node {} is lost", NAMES[1])), "{error:?}");
    // It is to be stopped at the end like the other.
    let of_b = nodes.sandbox.text(&format!("config/{}-identity", NAMES[1]));
    nodes.b = nodes.hosts.start_second(&nodes.sandbox, &of_b)?;
    Ok(())
}

/// While nobody answers there the process goes on, and whoever asked for the move is told in time.
fn a_node_that_is_not_there(nodes: &mut TwoNodes) -> Result<()> {
    let mut run = nodes.start(&["perl", "-e", "$| = 1; print qq(ready\\n); print qq(got $_) while <>"])?;
    run.wait_for("ready\n", LIMIT)?;
    let control = Control::new(&nodes.sandbox)?;
    let pid = run.pid();
    let since = Instant::now();
    // No machine has this address.
    let asked = std::thread::spawn(move || control.migrate(pid, "10.77.0.9:7450"));
    for n in 0..100 {
        run.send(format!("{n}\n").as_bytes())?;
        run.wait_for(&format!("got {n}\n"), LIMIT)?;
    }
    let went_on = since.elapsed();
    let Ok(answer) = asked.join() else { anyhow::bail!("asking failed") };
    ensure!(answer.is_err(), "it went where nobody is");
    ensure!(went_on < since.elapsed() && since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    run.close_stdin();
    let outcome = run.finish(&nodes.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && outcome.status.signal().is_none(), "{outcome:?}");
    Ok(())
}

/// Bodies have a low priority on their node, threads and children too; the guest sees the one that it has at home.
fn guests_stand_back(nodes: &mut TwoNodes) -> Result<()> {
    // sched_getscheduler(2)
    let script = "$| = 1; fork; print getpriority(0, 0), q( ), syscall(145, 0), qq( ready\\n); <STDIN>;\n\
         print getpriority(0, 0), qq( end\\n); wait";
    let mut run = nodes.start(&["nice", "-n", "5", "perl", "-e", script])?;
    run.wait_for("5 0 ready\n5 0 ready\n", LIMIT)?;
    let nice = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Field 19, after the name.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(16)?.parse::<i32>().ok())
    };
    // The lowest, where it can be raised again.
    let lent = if nodes.sandbox.user() == User::Me { 19 } else { 10 };
    let bodies = nodes.a.processes().into_iter().filter(|pid| is_body(*pid)).collect::<Vec<_>>();
    ensure!(bodies.len() == 2, "bodies: {bodies:?}");
    for body in &bodies {
        ensure!(nice(*body) == Some(lent), "{body} has {:?}", nice(*body));
        // Where the kernel groups tasks by session, their group stands back as well, as soon as an ordinary user may have it
        // do so.
        let group = || std::fs::read_to_string(format!("/proc/{body}/autogroup"));
        let since = Instant::now();
        while group().is_ok_and(|group| !group.ends_with(&format!("nice {lent}\n"))) {
            ensure!(since.elapsed() < Duration::from_secs(5), "{:?}", group());
            std::thread::yield_now();
        }
    }
    ensure!(nice(run.pid()) == Some(5), "at home {:?}", nice(run.pid()));
    let control = Control::new(&nodes.sandbox)?;
    control.migrate(run.pid(), "home")?;
    run.close_stdin();
    let outcome = run.finish(&nodes.sandbox, LIMIT)?;
    ensure!(outcome.stdout.ends_with(b"5 end\n5 end\n"), "{outcome:?}");
    Ok(())
}

/// A process of a sandbox that is traced: everything else there belongs to the node.
fn is_body(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}
