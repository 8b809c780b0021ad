//! The home side of a cluster: mosix-run with a node daemon that does what a test says, and real nodes.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use system_tests::hosts::{Hosts, NAMES, NODE, NODE_B, Node};
use system_tests::mode::{Mode, User};
use system_tests::run::Run;
use system_tests::sandbox::Sandbox;
use system_tests::script::Daemon;
use system_tests::shuttle::Control;
use system_tests::stats::Stats;
use system_tests::{programs, suite};
use wire::identity::{self, Role};
use wire::local::{Advice, Job, Reply, Request, Target};

const LIMIT: Duration = Duration::from_secs(60);
/// How long mosix-run says that it waits for the daemon's greeting, and for its word on a process.
const GREETING: Duration = Duration::from_millis(200);
const WORD: Duration = Duration::from_millis(250);
/// What a loaded machine may add to a wait.
const SLACK: Duration = Duration::from_millis(400);

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<suite::Trial>> {
    let modes = Mode::enabled()?;
    let mut trials = Vec::new();
    for user in User::all() {
        if modes.contains(&Mode::Home) {
            for (name, test) in AT_HOME {
                trials.push(suite::trial(&format!("home/{user}/{name}"), true, move || {
                    let sandbox = Sandbox::new(*user)?;
                    test(&sandbox)?;
                    sandbox.assert_clean()
                }));
            }
        }
        if modes.contains(&Mode::TwoHosts) && User::am_root() {
            for (name, test) in WITH_NODES {
                trials.push(suite::trial(&format!("two_hosts/{user}/{name}"), false, move || {
                    with_nodes(*user, test)
                }));
            }
        }
    }
    Ok(trials)
}

type AtHomeTest = fn(&Sandbox) -> Result<()>;

const AT_HOME: [(&str, AtHomeTest); 5] = [
    ("nobody_there", nobody_there),
    ("advice", advice),
    ("mute_from_the_start", mute_from_the_start),
    ("mute_later", mute_later),
    ("short_programs", short_programs),
];

fn start(sandbox: &Sandbox, daemon: &Daemon, options: &[&str], command: &[&str]) -> Result<Run> {
    Run::start(sandbox, words(sandbox, options, command)?, &daemon.env())
}

fn words(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Result<Vec<String>> {
    let mut words = sandbox.user().launcher();
    words.extend([sandbox.ours("mosix-run")?, "--stats".into(), sandbox.text("report/stats")]);
    words.extend(options.iter().chain(&["--"]).chain(command).map(|word| (*word).to_owned()));
    Ok(words)
}

/// A greeting that lets nobody in anywhere.
fn welcome() -> Reply {
    Reply::Welcome { node: "here".into(), identity: Vec::new().into() }
}

/// Greets, and leaves everything at home.
fn keeps_at_home(request: &Request) -> Vec<Reply> {
    match request {
        Request::Supervisor { .. } => vec![welcome()],
        Request::Place { job } => {
            vec![Reply::Place { pid: job.pid, to: Target::Home, why: "a test says so".into() }]
        }
        _ => Vec::new(),
    }
}

fn places(daemon: &Daemon) -> usize {
    daemon.heard().iter().filter(|(_, heard)| matches!(heard, Request::Place { .. })).count()
}

/// Without a daemon everything computes at home, and `-v` says so once. Who names a node of the cluster is told.
fn nobody_there(sandbox: &Sandbox) -> Result<()> {
    let env = [("MOSIX_SOCKET".to_owned(), sandbox.text("config/nobody.sock"))];
    let run = Run::start(sandbox, words(sandbox, &["-v"], &["bash", "-c", "/bin/true; echo done"])?, &env)?;
    let outcome = run.finish(sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.success() && outcome.stdout == b"done\n", "{outcome:?}");
    ensure!(error.matches("no node daemon here").count() == 1, "{error}");
    Stats::read(&sandbox.path("report/stats"))?.assert_stayed()?;
    let run = Run::start(sandbox, words(sandbox, &["--on", "far"], &["touch", "ran"])?, &env)?;
    let outcome = run.finish(sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.code() == Some(125) && error.lines().count() == 1, "{outcome:?}");
    ensure!(error.contains("nobody.sock") && !sandbox.path("work/ran").exists(), "{error}");
    Ok(())
}

/// Options arrive as advice, and a daemon that will not have them is obeyed where the user insists.
fn advice(sandbox: &Sandbox) -> Result<()> {
    let daemon = Daemon::start(sandbox, |request| match request {
        Request::Supervisor { advice: Advice { on: Some(on), .. }, .. } if on == "far" => {
            vec![Reply::Failed("no node is called far".into())]
        }
        Request::Supervisor { advice, .. } if advice.nodes == ["bad"] => {
            vec![Reply::Failed("no node can be called bad".into())]
        }
        request => keeps_at_home(request),
    })?;
    let advice = |options: &[&str]| -> Result<Advice> {
        let skip = daemon.heard().len();
        let outcome = start(sandbox, &daemon, options, &["true"])?.finish(sandbox, LIMIT)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        let find = |heard: &Request| match heard {
            Request::Supervisor { advice, .. } => Some(advice.clone()),
            _ => None,
        };
        Ok(daemon.wait(skip, "who it is", LIMIT, find)?.1)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    ensure!(advice(&[])? == Advice::default());
    let given = advice(&["--nodes", "a,b", "--exclude", "c", "--label", "x", "--label", "y", "--mem", "2G"])?;
    let expected = Advice {
        nodes: names(&["a", "b"]),
        exclude: names(&["c"]),
        labels: names(&["x", "y"]),
        memory_mib: Some(2048),
        ..Advice::default()
    };
    ensure!(given == expected, "{given:?}");
    ensure!(advice(&["--cpu-job"])?.cpu_job && advice(&["--on", "near"])?.on == Some("near".into()));
    // What stays at home anyway is not asked about.
    let before = places(&daemon);
    ensure!(before == 4, "{before} questions of 4 programs");
    ensure!(advice(&["--no-migrate"])?.no_migrate && advice(&["--io-job"])?.io_job);
    ensure!(places(&daemon) == before, "asked where to go although it stays");

    // One that it will not have is no reason not to run, unless the user insists.
    let refused =
        start(sandbox, &daemon, &["-v", "--nodes", "bad"], &["echo", "ran"])?.finish(sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.success() && refused.stdout == b"ran\n", "{refused:?}");
    ensure!(error.contains("the node daemon refuses (no node can be called bad)"), "{error}");
    let outcome = start(sandbox, &daemon, &["--on", "far"], &["touch", "ran"])?.finish(sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.code() == Some(125) && error.contains("no node is called far"), "{outcome:?}");
    ensure!(!sandbox.path("work/ran").exists(), "the command ran");
    let outcome = start(sandbox, &daemon, &["--home", "--mem", "2G"], &["true"])?.finish(sandbox, LIMIT)?;
    ensure!(outcome.status.code() == Some(125), "{outcome:?}");
    Ok(())
}

/// One that takes the connection and says nothing, not even a greeting: the first program waits for it, for the time of the
/// greeting, and none after it.
fn mute_from_the_start(sandbox: &Sandbox) -> Result<()> {
    let daemon = Daemon::start(sandbox, |_| Vec::new())?;
    let since = Instant::now();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; echo done";
    let outcome = start(sandbox, &daemon, &[], &["bash", "-c", script])?.finish(sandbox, LIMIT)?;
    let took = since.elapsed();
    ensure!(outcome.status.success() && outcome.stdout == b"done\n", "{outcome:?}");
    ensure!(took >= GREETING && took < GREETING + WORD + SLACK, "it took {took:?}");
    Ok(())
}

/// One that greets and never places: a program waits for its bound, those after it not at all while an answer is owed.
fn mute_later(sandbox: &Sandbox) -> Result<()> {
    let daemon = Daemon::start(sandbox, |request| match request {
        Request::Supervisor { .. } => vec![welcome()],
        _ => Vec::new(),
    })?;
    let since = Instant::now();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; echo done";
    let outcome = start(sandbox, &daemon, &[], &["bash", "-c", script])?.finish(sandbox, LIMIT)?;
    let took = since.elapsed();
    ensure!(outcome.status.success() && outcome.stdout == b"done\n", "{outcome:?}");
    ensure!(took >= WORD && took < WORD + SLACK, "it took {took:?}");
    ensure!(places(&daemon) == 1, "asked {} times", places(&daemon));
    Ok(())
}

/// Hundreds of programs that end at once: each is asked about, and its time is not that of a wait.
fn short_programs(sandbox: &Sandbox) -> Result<()> {
    let daemon = Daemon::start(sandbox, keeps_at_home)?;
    let since = Instant::now();
    let script = "for ((i = 0; i < 300; i++)); do /bin/true; done; echo done";
    let outcome = start(sandbox, &daemon, &[], &["bash", "-c", script])?.finish(sandbox, LIMIT)?;
    let took = since.elapsed();
    ensure!(outcome.status.success() && outcome.stdout == b"done\n", "{outcome:?}");
    ensure!(places(&daemon) == 301, "asked {} times", places(&daemon));
    ensure!(took < WORD * 30, "300 programs took {took:?}");
    Stats::read(&sandbox.path("report/stats"))?.assert_stayed()
}

/// A home with two nodes.
struct WithNodes {
    sandbox: Sandbox,
    hosts: Hosts,
    identity: Vec<u8>,
    nodes: [Node; 2],
}

type WithNodesTest = fn(&WithNodes) -> Result<()>;

const WITH_NODES: [(&str, WithNodesTest); 7] = [
    ("placed", placed),
    ("ordered_about", ordered_about),
    ("the_daemon_dies", the_daemon_dies),
    ("an_exec_goes_elsewhere", an_exec_goes_elsewhere),
    ("a_scattered_build", a_scattered_build),
    ("nobody_at_the_address", nobody_at_the_address),
    ("free_again", free_again),
];

fn with_nodes(user: User, test: WithNodesTest) -> Result<()> {
    let hosts = Hosts::with_two_nodes()?;
    let sandbox = Sandbox::new(user)?;
    let (ours, of_a) = hosts.identities(&sandbox)?;
    let of_b = hosts.invite(&sandbox, &ours, NAMES[1])?;
    let identity = identity::load(ours.as_ref(), Role::User)?.to_bytes();
    let nodes = [hosts.start_node(&sandbox, &of_a)?, hosts.start_second(&sandbox, &of_b)?];
    let with = WithNodes { sandbox, hosts, identity, nodes };
    test(&with)?;
    with.sandbox.assert_clean()?;
    with.nodes.into_iter().try_for_each(Node::stop)
}

impl WithNodes {
    /// A daemon that greets; what else it answers, `script` says.
    fn daemon(&self, script: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static) -> Result<Daemon> {
        let identity = self.identity.clone();
        Daemon::start(&self.sandbox, move |request| match request {
            Request::Supervisor { .. } => {
                vec![Reply::Welcome { node: "home".into(), identity: identity.clone().into() }]
            }
            request => script(request),
        })
    }

    fn start(&self, daemon: &Daemon, command: &[&str]) -> Result<Run> {
        let mut argv = self.hosts.home.enter();
        argv.extend(words(&self.sandbox, &["-v"], command)?);
        Run::start(&self.sandbox, argv, &daemon.env())
    }

    fn stats(&self) -> Result<Stats> {
        Stats::read(&self.sandbox.path("report/stats"))
    }
}

/// The first node (0) or the second.
fn node(n: usize) -> Target {
    let address = [NODE, NODE_B][n].parse().expect("an address");
    Target::Node { name: NAMES[n].into(), address }
}

fn place(job: &Job, to: Target) -> Vec<Reply> {
    vec![Reply::Place { pid: job.pid, to, why: "a test says so".into() }]
}

/// What `Moved` says, if it is about this process.
fn moved(heard: &Request, of: i32) -> Option<(String, Option<String>)> {
    match heard {
        Request::Moved { pid, place, failed } if *pid == of => Some((place.clone(), failed.clone())),
        _ => None,
    }
}

/// The job of this process, in a report that holds.
fn job_where(heard: &Request, of: i32, holds: impl Fn(&Job) -> bool) -> Option<Job> {
    let Request::Jobs { jobs, .. } = heard else { return None };
    jobs.iter().find(|job| job.pid == of && holds(job)).cloned()
}

/// Programs called perl go to a node at their exec, others stay; the daemon is told what becomes of them.
fn placed(with: &WithNodes) -> Result<()> {
    let daemon = with.daemon(|request| match request {
        Request::Place { job } if job.program.contains("perl") => place(job, node(0)),
        Request::Place { job } => place(job, Target::Home),
        _ => Vec::new(),
    })?;
    let perl =
        "$| = 1; my @m = (7) x 4e6; print qq($$\\n); until (-e q(go)) {$x++ for 1..300000} print qq(end\\n)";
    let script = format!("perl -e '{perl}'; echo status $?");
    let mut run = with.start(&daemon, &["bash", "-c", &script])?;
    run.wait_for("\n", LIMIT)?;
    let find = |heard: &Request| match heard {
        Request::Place { job } if job.program.contains("perl") => Some(job.clone()),
        _ => None,
    };
    let (_, asked) = daemon.wait(0, "where perl goes", LIMIT, find)?;
    ensure!(asked.place == "home" && asked.calls == Some(0) && asked.pid != run.pid(), "{asked:?}");
    let (n, there) = daemon.wait(0, "where perl is", LIMIT, |heard| moved(heard, asked.pid))?;
    ensure!(there == (NAMES[0].into(), None), "{there:?}");
    // What its node tells of it: more time each second, and memory that no deputy has.
    let first = |job: &Job| job.place == NAMES[0] && job.cpu_s > 0.5 && job.memory_mib > 60;
    let (n, seen) = daemon.wait(n, "what it uses", LIMIT, |heard| job_where(heard, asked.pid, first))?;
    let later =
        |job: &Job| job.cpu_s > seen.cpu_s + 0.5 && job.calls > seen.calls && job.here_s > seen.here_s;
    let (_, last) = daemon.wait(n, "that it goes on", LIMIT, |heard| job_where(heard, asked.pid, later))?;
    std::fs::write(with.sandbox.path("work/go"), "")?;
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.stdout.ends_with(b"end\nstatus 0\n"), "{outcome:?}");
    let find = |heard: &Request| match heard {
        Request::Ended { job } if job.pid == asked.pid => Some(job.clone()),
        _ => None,
    };
    let (_, ended) = daemon.wait(0, "that it ended", LIMIT, find)?;
    ensure!(ended.cpu_s >= last.cpu_s && ended.program == asked.program, "{ended:?} after {last:?}");
    let stats = with.stats()?;
    ensure!(stats.moves.len() == 1 && stats.moves[0].to == NAMES[0], "{stats:?}");
    Ok(())
}

/// Orders and wishes: from node to node, home and out, each answered, and the output as natively.
fn ordered_about(with: &WithNodes) -> Result<()> {
    let daemon = with.daemon(|request| match request {
        Request::Place { job } => place(job, Target::Home),
        Request::Wish { pid, node: name } if name == NAMES[0] => {
            vec![Reply::Move { pid: *pid, to: node(0), why: "its user wants it".into() }]
        }
        Request::Wish { pid, node } => vec![Reply::Refused { pid: *pid, why: format!("{node} is full") }],
        _ => Vec::new(),
    })?;
    let script = "$| = 1; print qq(ready\\n); while (my $n = <>) {$x = ($x * 31 + $n) % 65521 for 1..1000; print qq($x\\n)}";
    let mut run = with.start(&daemon, &["perl", "-e", script])?;
    run.wait_for("ready\n", LIMIT)?;
    let pid = run.pid();
    let mut heard = 0;
    let mut expected = String::from("ready\n");
    let mut x = 0u64;
    for (n, to) in
        [node(0), node(1), Target::Home, node(1), node(0), node(0), Target::Home].into_iter().enumerate()
    {
        let name = match &to {
            Target::Home => "home".to_owned(),
            Target::Node { name, .. } => name.clone(),
        };
        daemon.say(&Reply::Move { pid, to, why: "a test says so".into() })?;
        let (seen, there) = daemon.wait(heard, "where it is", LIMIT, |heard| moved(heard, pid))?;
        ensure!(there == (name.clone(), None), "to {name}: {there:?}");
        heard = seen;
        run.send(format!("{n}\n").as_bytes())?;
        (0..1000).for_each(|_| x = (x * 31 + n as u64) % 65521);
        expected.push_str(&format!("{x}\n"));
        run.wait_for(&expected, LIMIT)?;
    }
    let control = Control::new(&with.sandbox)?;
    control.migrate(pid, NAMES[0])?;
    let list = control.list()?;
    ensure!(list.iter().any(|listed| listed.pid == pid && listed.place == NAMES[0]), "{list:?}");
    // Not the name of one that it knows already.
    let refused = control.migrate(pid, "node-c").err().context("a full node took it")?.to_string();
    ensure!(refused.contains("node-c is full"), "{refused}");
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && outcome.stdout == expected.as_bytes(), "{outcome:?}");
    let between = with.stats()?.moves.iter().filter(|m| m.from != "home" && m.to != "home").count();
    ensure!(between == 2, "{between} moves from node to node");
    Ok(())
}

/// With the daemon dies nothing: what is away stays there, what begins begins at home. One that comes again is told
/// everything, and obeyed.
fn the_daemon_dies(with: &WithNodes) -> Result<()> {
    let daemon = with.daemon(|request| match request {
        Request::Place { job } if job.program.contains("perl") => place(job, node(0)),
        Request::Place { job } => place(job, Target::Home),
        _ => Vec::new(),
    })?;
    let perl = "$| = 1; $SIG{HUP} = q(IGNORE); print qq(perl $$\\n); print qq(got $_) while <STDIN>";
    let script = format!("perl -e '{perl}' <&0 & cat /proc/self/comm; wait");
    let mut run = with.start(&daemon, &["bash", "-c", &script])?;
    run.wait_for("perl ", LIMIT)?;
    let find = |heard: &Request| match heard {
        Request::Moved { pid, place, failed: None } if place == NAMES[0] => Some(*pid),
        _ => None,
    };
    let (_, pid) = daemon.wait(0, "where perl is", LIMIT, find)?;
    let skip = daemon.heard().len();
    daemon.die()?;
    run.send(b"1\n")?;
    run.wait_for("got 1\n", LIMIT)?;
    let control = Control::new(&with.sandbox)?;
    let list = control.list()?;
    ensure!(list.iter().any(|listed| listed.pid == pid && listed.place == NAMES[0]), "{list:?}");
    daemon.listen(&with.sandbox)?;
    let presents = |heard: &Request| matches!(heard, Request::Supervisor { .. }).then_some(());
    let (skip, ()) = daemon.wait(skip, "who it is", LIMIT, presents)?;
    let there = |job: &Job| job.place == NAMES[0];
    let (skip, _) = daemon.wait(skip, "what runs", LIMIT, |heard| job_where(heard, pid, there))?;
    daemon.say(&Reply::Move { pid, to: Target::Home, why: "a test says so".into() })?;
    let (_, at) = daemon.wait(skip, "where it is", LIMIT, |heard| moved(heard, pid))?;
    ensure!(at == ("home".into(), None), "{at:?}");
    run.send(b"2\n")?;
    run.wait_for("got 2\n", LIMIT)?;
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.status.success(), "{outcome:?}");
    Ok(())
}

/// A program on A that executes another which is to go to B, and one that is to go home: CPU time is counted on.
fn an_exec_goes_elsewhere(with: &WithNodes) -> Result<()> {
    let next = Arc::new(Mutex::new([node(0), node(1), node(0), Target::Home].into_iter()));
    let daemon = with.daemon(move |request| match request {
        Request::Place { job } => {
            let to = next.lock().unwrap_or_else(|e| e.into_inner()).next();
            place(job, to.unwrap_or(Target::Home))
        }
        _ => Vec::new(),
    })?;
    // Away, a program sees what it has used before its exec.
    let last = "print qq(end\\n)";
    let third = format!("print((times)[0] >= 0.5 ? 1 : (times)[0], qq(\\n)); exec q(perl), q(-e), q({last})");
    let second =
        format!("print((times)[0] >= 0.5 ? 1 : (times)[0], qq(\\n)); exec q(perl), q(-e), q({third})");
    let first = format!(
        "$| = 1; do {{$x++ for 1..1000000}} while (times)[0] < 0.5; exec q(perl), q(-e), q({second})"
    );
    let run = with.start(&daemon, &["perl", "-e", &first])?;
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && outcome.stdout == b"1\n1\nend\n", "{outcome:?}");
    let asked: Vec<String> = daemon
        .heard()
        .into_iter()
        .filter_map(|(_, heard)| match heard {
            Request::Place { job } => Some(job.place),
            _ => None,
        })
        .collect();
    ensure!(asked == ["home", NAMES[0], NAMES[1], NAMES[0]], "{asked:?}");
    let stats = with.stats()?;
    let to: Vec<&str> = stats.moves.iter().map(|m| m.to.as_str()).collect();
    ensure!(to == [NAMES[0], NAMES[1], NAMES[0]], "{stats:?}");
    Ok(())
}

/// A parallel build whose programs go to A, to B and home in turn, parents and children apart: it makes what it makes
/// natively.
fn a_scattered_build(with: &WithNodes) -> Result<()> {
    for program in ["gcc", "make"] {
        programs::need(program)?;
    }
    let turn = AtomicUsize::new(0);
    let daemon = with.daemon(move |request| match request {
        Request::Place { job } => match turn.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => place(job, Target::Home),
            n => place(job, node(n)),
        },
        _ => Vec::new(),
    })?;
    let work = with.sandbox.path("work");
    for n in 0..8 {
        let text = format!("int f{n}(int x) {{return x * {n} + {n};}}\n");
        std::fs::write(work.join(format!("f{n}.c")), text)?;
    }
    let calls: Vec<String> = (0..8).map(|n| format!("f{n}(2)")).collect();
    let declared: String = (0..8).map(|n| format!("int f{n}(int);\n")).collect();
    let main = format!(
        "#include <stdio.h>\n{declared}int main(void) {{printf(\"%d\\n\", {});}}\n",
        calls.join(" + ")
    );
    std::fs::write(work.join("main.c"), main)?;
    let makefile = "all: sum\n\t./sum\nsum: $(patsubst %.c,%.o,$(sort $(wildcard *.c)))\n\tgcc -o $@ $^\n";
    std::fs::write(work.join("Makefile"), makefile)?;
    with.sandbox.own_work()?;
    let outcome = with.start(&daemon, &["make", "-j4"])?.finish(&with.sandbox, LIMIT * 2)?;
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    // 3 · (0 + 1 + … + 7)
    ensure!(
        outcome.status.success() && text.ends_with("\n./sum\n84\n"),
        "{text}{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
    let stats = with.stats()?;
    ensure!(stats.nodes.len() == 2 && stats.nodes.values().all(|node| node.forwarded > 0), "{stats:?}");
    ensure!(places(&daemon) > 30, "{} programs", places(&daemon));
    Ok(())
}

/// Where nobody answers, the program begins at home, and the daemon is told why.
fn nobody_at_the_address(with: &WithNodes) -> Result<()> {
    let daemon = with.daemon(|request| match request {
        Request::Place { job } => {
            let address = "10.77.0.2:9".parse().expect("an address");
            place(job, Target::Node { name: "ghost".into(), address })
        }
        _ => Vec::new(),
    })?;
    let run = with.start(&daemon, &["perl", "-e", "print qq(ran\\n)"])?;
    let pid = run.pid();
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.status.success() && outcome.stdout == b"ran\n", "{outcome:?}");
    let (_, (at, failed)) = daemon.wait(0, "where it is", LIMIT, |heard| moved(heard, pid))?;
    ensure!(at == "home" && failed.is_some_and(|why| why.contains("ghost")), "no reason given");
    with.stats()?.assert_stayed()
}

/// What had to come home says so, and when its reason is gone; it leaves again only when it is told to.
fn free_again(with: &WithNodes) -> Result<()> {
    let daemon = with.daemon(|request| match request {
        Request::Place { job } => place(job, node(0)),
        _ => Vec::new(),
    })?;
    let script = "import mmap, sys\nm = mmap.mmap(-1, 4096)\nprint('mapped', flush=True)\nsys.stdin.readline()\n\
         m.close()\nprint('free', flush=True)\nsys.stdin.readline()\nprint('end')";
    let mut run = with.start(&daemon, &["python3", "-c", script])?;
    run.wait_for("mapped\n", LIMIT)?;
    let pid = run.pid();
    let held = |job: &Job| job.place == "home" && job.stay.as_ref().is_some_and(|why| why.contains("shared"));
    let (heard, _) = daemon.wait(0, "that it must stay", LIMIT, |heard| job_where(heard, pid, held))?;
    let told: Vec<_> = daemon.heard().iter().filter_map(|(_, heard)| moved(heard, pid)).collect();
    ensure!(told == [(NAMES[0].to_owned(), None), ("home".to_owned(), None)], "{told:?}");
    run.send(b"\n")?;
    run.wait_for("free\n", LIMIT)?;
    let free = |job: &Job| job.place == "home" && job.stay.is_none();
    let (heard, _) = daemon.wait(heard, "that it is free", LIMIT, |heard| job_where(heard, pid, free))?;
    daemon.say(&Reply::Move { pid, to: node(1), why: "a test says so".into() })?;
    let (_, there) = daemon.wait(heard, "where it is", LIMIT, |heard| moved(heard, pid))?;
    ensure!(there == (NAMES[1].into(), None), "{there:?}");
    let outcome = run.finish(&with.sandbox, LIMIT)?;
    ensure!(outcome.stdout.ends_with(b"end\n"), "{outcome:?}");
    Ok(())
}
