//! How runs end: our own failures, signals from outside, terminals, and the death of what a run depends on.
//!
//! What a shell or a terminal does natively is proved natively; what only mosix-run can do runs in the modes that have it.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};
use system_tests::hosts::{self, Hosts};
use system_tests::mode::{Mode, User};
use system_tests::pty::Terminal;
use system_tests::run::{Outcome, Run, show};
use system_tests::sandbox::Sandbox;
use system_tests::shuttle::Control;
use system_tests::stats::Stats;
use system_tests::{binaries, processes, suite};

const LIMIT: Duration = Duration::from_secs(60);

/// How soon everything of a run must be gone when its node, link or supervisor is.
const GONE: Duration = Duration::from_secs(10);

type Test = fn(&Sandbox, Mode) -> Result<()>;

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<suite::Trial>> {
    use Mode::{Home, Loopback, Native, Shuttle, TwoHosts};
    let every: &[Mode] = &[Native, Home, Loopback, Shuttle];
    let managed: &[Mode] = &[Home, Loopback];
    let away: &[Mode] = &[Loopback];
    let tests: [(&str, &[Mode], Test); 17] = [
        ("killed_from_outside", every, killed_from_outside),
        ("signals_from_outside", every, signals_from_outside),
        ("stopped_from_outside", every, stopped_from_outside),
        ("calls_once_while_stopped", every, calls_once_while_stopped),
        ("calls_once_while_frozen", every, calls_once_while_frozen),
        ("keys", every, keys),
        ("suspended_and_resumed", every, suspended_and_resumed),
        ("a_daemon_and_a_pipe", every, a_daemon_and_a_pipe),
        ("as_first_process", every, as_first_process),
        ("inherited_dispositions", every, inherited_dispositions),
        ("fork_storm_in_a_small_pid_range", &[Native, Home, Loopback], small_pid_range),
        ("cannot_execute", managed, cannot_execute),
        ("bad_options", managed, bad_options),
        ("report_is_complete", managed, report_is_complete),
        ("supervisor_killed", managed, supervisor_killed),
        ("sockets_of_the_dead", managed, sockets_of_the_dead),
        ("report_after_sigkill", away, report_after_sigkill),
    ];
    let mut trials = Vec::new();
    for mode in Mode::enabled()? {
        for user in User::all() {
            for (name, modes, test) in tests {
                // Only root may make a control group.
                let may = User::am_root() || name != "calls_once_while_frozen";
                if modes.contains(&mode) && may {
                    trials.push(suite::trial(&format!("{mode}/{user}/{name}"), false, move || {
                        let sandbox = Sandbox::new(*user)?;
                        test(&sandbox, mode)?;
                        sandbox.assert_clean()
                    }));
                }
            }
            if mode == TwoHosts {
                trials
                    .push(suite::trial(&format!("{mode}/{user}/node_killed"), false, || node_killed(*user)));
            }
        }
    }
    Ok(trials)
}

/// The words that run `argv` as the sandbox's user in this mode.
fn words(sandbox: &Sandbox, mode: Mode, argv: &[&str]) -> Result<Vec<String>> {
    let mut words = sandbox.user().launcher();
    words.extend(suite::prefix(sandbox, mode)?);
    words.extend(argv.iter().map(|s| (*s).to_owned()));
    Ok(words)
}

fn start(sandbox: &Sandbox, mode: Mode, argv: &[&str]) -> Result<Run> {
    Run::start(sandbox, words(sandbox, mode, argv)?, &[])
}

fn bash(sandbox: &Sandbox, mode: Mode, script: &str) -> Result<Run> {
    start(sandbox, mode, &["bash", "-c", script])
}

fn expect_signal(outcome: &Outcome, signal: Signal) -> Result<()> {
    let died = outcome.status.signal() == Some(signal.as_raw());
    ensure!(died, "{}, wanted signal {}: {outcome:?}", show(outcome.status), signal.as_raw());
    Ok(())
}

/// SIGKILL ends a computing process and a waiting one at once, with all threads.
fn killed_from_outside(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    for script in ["echo ready; while :; do :; done", "echo ready; read -r x"] {
        sandbox.reset()?;
        let mut run = bash(sandbox, mode, script)?;
        run.wait_for("ready", LIMIT)?;
        let start = Instant::now();
        run.signal(Signal::KILL)?;
        run.wait_status(Instant::now() + GONE)?;
        ensure!(start.elapsed() < Duration::from_secs(2), "SIGKILL took {:?}", start.elapsed());
    }
    Ok(())
}

/// Default actions and handlers, for a process that computes and for one that waits.
fn signals_from_outside(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::USR1, Signal::ALARM] {
        sandbox.reset()?;
        let mut run = start(sandbox, mode, &["perl", "-e", "$| = 1; print qq(ready\\n); 1 while 1"])?;
        run.wait_for("ready", LIMIT)?;
        run.signal(signal)?;
        expect_signal(&run.finish(sandbox, LIMIT)?, signal)?;
    }
    sandbox.reset()?;
    let script = "trap 'echo handled' USR1; trap 'echo bye; exit 9' TERM; echo ready; while read -r x; do echo $x; done";
    let mut run = bash(sandbox, mode, script)?;
    run.wait_for("ready", LIMIT)?;
    for n in 1..=20 {
        run.signal(Signal::USR1)?;
        run.send(format!("line{n}\n").as_bytes())?;
        run.wait_for(&format!("line{n}\n"), LIMIT)?;
    }
    run.signal(Signal::TERM)?;
    // A signal just before the read starts is handled when the read ends.
    run.close_stdin();
    run.wait_for("bye", LIMIT)?;
    let outcome = run.finish(sandbox, LIMIT)?;
    ensure!(outcome.status.code() == Some(9), "{outcome:?}");
    let text = String::from_utf8(outcome.stdout)?;
    ensure!(text.contains("handled"), "no handler ran: {text}");
    Ok(())
}

/// SIGSTOP is seen as a stop from outside, SIGCONT undoes it, SIGKILL ends a stopped one.
fn stopped_from_outside(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let mut run =
        start(sandbox, mode, &["perl", "-e", "$| = 1; print qq(ready\\n); while (<>) {print qq(got $_)}"])?;
    run.wait_for("ready", LIMIT)?;
    for n in 1..=5 {
        run.signal(Signal::STOP)?;
        until(|| matches!(processes::state(run.pid()), Some('T' | 't')), "the process did not stop")?;
        run.send(format!("{n}\n").as_bytes())?;
        run.signal(Signal::CONT)?;
        run.wait_for(&format!("got {n}"), LIMIT)?;
    }
    run.signal(Signal::STOP)?;
    until(|| matches!(processes::state(run.pid()), Some('T' | 't')), "the process did not stop")?;
    run.signal(Signal::KILL)?;
    expect_signal(&run.finish(sandbox, LIMIT)?, Signal::KILL)
}

/// A guest that counts its own calls, stopped and continued as fast as it obeys.
fn calls_once_while_stopped(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let guest = sandbox.program(&binaries::guest("call_once")?)?;
    let run = start(sandbox, mode, &[&guest, "1"])?;
    for _ in 0..100 {
        if run.signal(Signal::STOP).is_err() {
            break;
        }
        // It may end while it is waited for.
        until(
            || matches!(processes::state(run.pid()), Some('T' | 't' | 'Z') | None),
            "the process did not stop",
        )?;
        if run.signal(Signal::CONT).is_err() {
            break;
        }
    }
    counted(&run.finish(sandbox, LIMIT)?)
}

/// The same, all processes of the run frozen and thawed by a control group: a freeze interrupts calls without any signal.
fn calls_once_while_frozen(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let guest = sandbox.program(&binaries::guest("call_once")?)?;
    let group = ControlGroup::new(sandbox)?;
    let run = start(sandbox, mode, &[&guest, "1"])?;
    let mut rounds = 0;
    for _ in 0..100 {
        let members = run.processes();
        if members.is_empty() {
            break;
        }
        members.into_iter().for_each(|pid| group.add(pid));
        group.freeze(true)?;
        group.freeze(false)?;
        rounds += 1;
    }
    ensure!(rounds > 10, "frozen {rounds} times only");
    counted(&run.finish(sandbox, LIMIT)?)
}

fn counted(outcome: &Outcome) -> Result<()> {
    let text = String::from_utf8_lossy(&outcome.stdout);
    ensure!(
        outcome.status.success() && text == "ok EINTR\nok SA_RESTART\n",
        "{}\n{text}",
        show(outcome.status)
    );
    Ok(())
}

/// A control group of version 2, removed when dropped.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(sandbox: &Sandbox) -> Result<ControlGroup> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|f| f.get(2) == Some(&"cgroup2"));
        let mount = mount.context("no control groups of version 2 are mounted here")?[1];
        let name = sandbox.path("").file_name().context("a sandbox without a name")?.to_owned();
        let path = PathBuf::from(mount).join(name);
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(ControlGroup(path))
    }

    /// Takes in a process, which may have ended meanwhile.
    fn add(&self, pid: i32) {
        let _ = fs::write(self.0.join("cgroup.procs"), pid.to_string());
    }

    fn freeze(&self, frozen: bool) -> Result<()> {
        fs::write(self.0.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
        let sign = format!("frozen {}", u8::from(frozen));
        until(
            || fs::read_to_string(self.0.join("cgroup.events")).is_ok_and(|text| text.contains(&sign)),
            "the group did not freeze or thaw",
        )
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A group with a process in it cannot be removed, and a frozen one cannot end.
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        if let Err(e) = until(|| fs::remove_dir(&self.0).is_ok(), "still has processes") {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

/// Polls for a state of another process that nobody reports, at most ten seconds.
fn until(mut is: impl FnMut() -> bool, what: &str) -> Result<()> {
    let deadline = Instant::now() + GONE;
    while !is() {
        ensure!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
    Ok(())
}

fn terminal(sandbox: &Sandbox, mode: Mode, command: &[&str]) -> Result<Terminal> {
    Terminal::start(sandbox, words(sandbox, mode, command)?, &[])
}

/// Ctrl-C and Ctrl-\ end the foreground program, or reach its handler.
fn keys(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let computing = "$| = 1; print qq(ready\\n); 1 while 1";
    for (key, signal) in [("\x03", Signal::INT), ("\x1c", Signal::QUIT)] {
        sandbox.reset()?;
        let mut t = terminal(sandbox, mode, &["perl", "-e", computing])?;
        t.expect("ready")?;
        t.send(key)?;
        let status = t.finish()?;
        ensure!(status.signal() == Some(signal.as_raw()), "{}", show(status));
    }
    sandbox.reset()?;
    // A handler that runs at once: a shell's or perl's own would wait for the read if it came just before it.
    let script = "use POSIX; $| = 1; sigaction(SIGINT, POSIX::SigAction->new(sub {syswrite(STDOUT, qq(caught\\n))})); \
                  print qq(ready\\n); while (1) {my $n = sysread(STDIN, my $x, 100); next if !defined $n; \
                  print qq(got $n\\n); last if !$n}";
    let mut t = terminal(sandbox, mode, &["perl", "-e", script])?;
    t.expect("ready")?;
    t.send("\x03")?;
    t.expect("caught")?;
    t.send("line\r")?;
    t.expect("got 5")?;
    t.send("\x04")?;
    t.expect("got 0")?;
    let status = t.finish()?;
    ensure!(status.code() == Some(0), "{}", show(status));
    Ok(())
}

/// The shell outside the run: Ctrl-Z stops mosix-run's program, `bg` and `fg` resume it, and the shell sees each state.
fn suspended_and_resumed(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let program = "$| = 1; print qq(ready\\n); while (<>) {print qq(got $_); exit 5 if /end/}";
    fs::write(sandbox.path("work/program"), program)?;
    sandbox.own_work()?;
    let mut shell = sandbox.user().launcher();
    shell.extend(["bash", "--norc", "--noprofile", "-i"].map(String::from));
    let mut t =
        Terminal::start(sandbox, shell, &[("PS1", "$ "), ("HISTFILE", "/dev/null"), ("TERM", "dumb")])?;
    t.expect("$ ")?;
    let mut command = suite::prefix(sandbox, mode)?.join(" ");
    command.push_str(" perl program\r");
    t.send(&command)?;
    t.expect("\nready\r\n")?;
    for n in 1..=3 {
        t.send("\x1a")?;
        t.expect("Stopped")?;
        t.expect("$ ")?;
        if n == 2 {
            // In the background it may not read: the terminal stops it again.
            t.send("bg; until jobs -s | grep -q perl; do :; done; echo again it $((1 + 1))\r")?;
            t.expect("again it 2\r\n")?;
            t.expect("$ ")?;
        }
        t.send("fg\r")?;
        t.expect("perl program\r\n")?;
        t.send(&format!("line{n}\r"))?;
        t.expect(&format!("got line{n}\r\n"))?;
    }
    t.send("end\r")?;
    t.expect("got end\r\n")?;
    t.expect("$ ")?;
    t.send("echo status $?; exit 0\r")?;
    t.expect("status 5\r\n")?;
    let status = t.finish()?;
    ensure!(status.code() == Some(0), "{}", show(status));
    Ok(())
}

/// `CMD | cat` ends when the program's own descriptors are closed: nobody of ours keeps the pipe, and a daemon that has
/// closed it does not either.
fn a_daemon_and_a_pipe(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let daemon = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > pid; echo parent done";
    fs::write(sandbox.path("work/daemon"), daemon)?;
    sandbox.own_work()?;
    let prefix = suite::prefix(sandbox, mode)?.join(" ");
    // The outer shell ends the daemon when the pipe has come to its end.
    let script = format!("{prefix} bash daemon | cat; echo after the pipe; kill \"$(cat pid)\"");
    let mut argv = sandbox.user().launcher();
    argv.extend(["bash", "-c", &script].map(String::from));
    let outcome = Run::start(sandbox, argv, &[])?.finish(sandbox, LIMIT)?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    ensure!(outcome.status.success() && text == "parent done\nafter the pipe\n", "{outcome:?}");
    Ok(())
}

/// As pid 1 of a pid namespace, the program has no child that it did not make.
fn as_first_process(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let guest = sandbox.program(&binaries::guest("waiting")?)?;
    let mut argv = sandbox.user().launcher();
    argv.extend(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"].map(String::from),
    );
    argv.extend(suite::prefix(sandbox, mode)?);
    argv.push(guest);
    let outcome = Run::start(sandbox, argv, &[])?.finish(sandbox, LIMIT)?;
    ensure!(
        outcome.status.success(),
        "{}\n{}",
        show(outcome.status),
        String::from_utf8_lossy(&outcome.stdout)
    );
    if mode == Mode::Native {
        return Ok(());
    }
    // The report is written before pid 1 takes everything along. It stays at home: a body has its process's pid.
    Stats::read(&sandbox.path("report/stats"))?.assert_stayed()
}

/// Ignored and default dispositions and limits reach the program as the shell set them.
fn inherited_dispositions(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let prefix = suite::prefix(sandbox, mode)?.join(" ");
    let show = "grep -E '^Sig(Ign|Blk|Pnd|Cgt)|^ShdPnd' /proc/self/status";
    let mut seen = Vec::new();
    for prefix in ["", &prefix] {
        sandbox.reset()?;
        let script = format!(
            "{prefix} {show}; (trap '' INT PIPE TSTP; {prefix} {show}); (trap '' CHLD; {prefix} {show}); \
             (ulimit -n 77; umask 031; {prefix} bash -c 'ulimit -n; umask'); (trap '' PIPE; {prefix} bash -c 'yes | head -1; \
             echo ${{PIPESTATUS[0]}}') 2>/dev/null"
        );
        let mut argv = sandbox.user().launcher();
        argv.extend(["bash", "-c", &script].map(String::from));
        seen.push(String::from_utf8(Run::start(sandbox, argv, &[])?.finish(sandbox, LIMIT)?.stdout)?);
    }
    ensure!(seen[0].lines().count() == 19 && seen[0].contains("77\n0031\ny\n1\n"), "natively: {}", seen[0]);
    ensure!(seen[0] == seen[1], "not as natively:\n{}\nnatively:\n{}", seen[1], seen[0]);
    Ok(())
}

/// Pids that come round again while the run goes on.
fn small_pid_range(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let guest = sandbox.program(&binaries::guest("fork_storm")?)?;
    let mut argv = sandbox.user().launcher();
    argv.extend(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"].map(String::from),
    );
    // Since Linux 6.14 every pid namespace has a range of its own.
    let run =
        format!("echo 400 > /proc/sys/kernel/pid_max && {} {guest}", suite::prefix(sandbox, mode)?.join(" "));
    argv.extend(["bash", "-c", &run].map(String::from));
    let outcome = Run::start(sandbox, argv, &[])?.finish(sandbox, LIMIT)?;
    ensure!(outcome.status.success(), "{outcome:?}");
    suite::after_terminal(sandbox, mode, None)
}

/// 127 for what is not found, 126 for what cannot be executed, with one line each.
fn cannot_execute(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    fs::write(sandbox.path("work/plain"), "text")?;
    fs::write(sandbox.path("work/garbage"), b"\x7fELF but not really")?;
    sandbox.own_work()?;
    fs::set_permissions(sandbox.path("work/garbage"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for (command, code) in [
        ("no-such-program", 127),
        ("./missing/program", 127),
        ("./plain", 126),
        ("./plain/below", 126),
        ("/", 126),
        ("./garbage", 126),
    ] {
        own_failure(sandbox, start(sandbox, mode, &[command, "argument"])?, code, command)?;
    }
    Ok(())
}

/// 125 for mosix-run's own failures.
fn bad_options(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let program = suite::prefix(sandbox, mode)?.first().context("no mosix-run")?.clone();
    let run = |args: &[&str]| {
        let mut argv = sandbox.user().launcher();
        argv.push(program.clone());
        argv.extend(args.iter().map(|s| (*s).to_owned()));
        Run::start(sandbox, argv, &[])
    };
    // Without an identity there is nobody to be for the node, whether it answers or not.
    let on = ["--on", "127.0.0.1:1", "--", "true"];
    own_failure(sandbox, run(&on)?, 125, "mosix init")?;
    Control::new(sandbox)?.call(&["init", "--machine", "home"])?;
    own_failure(sandbox, run(&on)?, 125, "127.0.0.1:1")?;
    own_failure(
        sandbox,
        run(&["--stats", "/nonexistent/dir/stats", "--home", "--", "true"])?,
        125,
        "/nonexistent/dir/stats",
    )?;
    let outcome = run(&["--no-such-option"])?.finish(sandbox, LIMIT)?;
    ensure!(
        outcome.status.code() == Some(125) && outcome.stdout.is_empty() && !outcome.stderr.is_empty(),
        "{outcome:?}"
    );
    Ok(())
}

fn own_failure(sandbox: &Sandbox, run: Run, code: i32, names: &str) -> Result<()> {
    let outcome = run.finish(sandbox, LIMIT)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(outcome.status.code() == Some(code), "{names}: {}, wanted {code}: {error}", show(outcome.status));
    ensure!(outcome.stdout.is_empty(), "{names}: printed {:?}", outcome.stdout);
    ensure!(
        error.lines().count() == 1 && error.contains("mosix-run: ") && error.contains(names),
        "{names}: {error:?}"
    );
    Ok(())
}

/// The report is whole the moment the shell has control again, every time.
fn report_is_complete(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    // A thousand times at home, where a run is cheap.
    let rounds = if mode == Mode::Home { 1000 } else { 100 };
    let prefix = suite::prefix(sandbox, mode)?.join(" ");
    let stats = sandbox.text("report/stats");
    let script = format!(
        "for ((i = 0; i < {rounds}; i++)); do rm -f {stats}; {prefix} true; cat {stats} >> reports || exit 1; echo >> reports; done"
    );
    let mut argv = sandbox.user().launcher();
    argv.extend(["bash", "-c", &script].map(String::from));
    let outcome = Run::start(sandbox, argv, &[])?.finish(sandbox, LIMIT * 2)?;
    ensure!(outcome.status.success(), "{outcome:?}");
    let reports = fs::read_to_string(sandbox.path("work/reports"))?;
    let mut count = 0;
    for report in serde_json::Deserializer::from_str(&reports).into_iter::<Stats>() {
        report.context("a report is cut off")?;
        count += 1;
    }
    ensure!(count == rounds, "{count} reports of {rounds} runs");
    Ok(())
}

/// Also after SIGKILL the report is written and whole.
fn report_after_sigkill(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let mut run = bash(sandbox, mode, "echo ready; while :; do :; done")?;
    run.wait_for("ready", LIMIT)?;
    run.signal(Signal::KILL)?;
    expect_signal(&run.finish(sandbox, LIMIT)?, Signal::KILL)?;
    Stats::read(&sandbox.path("report/stats"))?.assert_was_away()
}

/// With its supervisor killed, a process at home goes on; bodies and hollow deputies die, and nothing is left.
fn supervisor_killed(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let mut run =
        start(sandbox, mode, &["perl", "-e", "$| = 1; print qq(ready\\n); print qq(got $_) while <>"])?;
    run.wait_for("ready", LIMIT)?;
    kill(status_pid(run.pid(), "TracerPid")?)?;
    if mode == Mode::Home {
        run.send(b"on\n")?;
        run.wait_for("got on", LIMIT)?;
        let outcome = run.finish(sandbox, LIMIT)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        return Ok(());
    }
    run.wait_status(Instant::now() + GONE)?;
    until(|| run.processes().is_empty(), "processes are left")
}

/// A pid of `/proc/PID/status`.
fn status_pid(pid: i32, field: &str) -> Result<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    Ok(value.with_context(|| format!("no {field}"))?.parse()?)
}

fn kill(pid: i32) -> Result<()> {
    Ok(rustix::process::kill_process(Pid::from_raw(pid).context("there is no such process")?, Signal::KILL)?)
}

/// A socket that nobody was left to remove goes when somebody next looks: `mosix ps`, or another run.
fn sockets_of_the_dead(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let control = Control::new(sandbox)?;
    for by_ps in [true, false] {
        let mut run = bash(sandbox, mode, "echo ready; read -r x")?;
        run.wait_for("ready", LIMIT)?;
        let supervisor = status_pid(run.pid(), "TracerPid")?;
        kill(status_pid(supervisor, "PPid")?)?;
        kill(supervisor)?;
        run.close_stdin();
        run.wait_status(Instant::now() + GONE)?;
        until(|| run.processes().is_empty(), "processes are left")?;
        ensure!(sandbox.assert_clean().is_err(), "somebody was left");
        if by_ps {
            ensure!(control.list()?.is_empty(), "the dead are listed");
        } else {
            let outcome = start(sandbox, mode, &["true"])?.finish(sandbox, LIMIT)?;
            ensure!(outcome.status.success(), "{outcome:?}");
        }
        sandbox.assert_clean()?;
    }
    Ok(())
}

/// With its node killed, the process ends by SIGKILL within ten seconds, with a line that says why.
fn node_killed(user: User) -> Result<()> {
    let sandbox = Sandbox::new(user)?;
    let hosts = Hosts::new()?;
    let (ours, theirs) = hosts.identities(&sandbox)?;
    let node = hosts.start_node(&sandbox, &theirs)?;
    let mut argv = hosts.home.enter();
    argv.extend(user.launcher());
    argv.push(sandbox.ours("mosix-run")?);
    argv.extend(["--on", hosts::NODE, "--identity", &ours, "--"].map(String::from));
    argv.extend(["bash", "-c", "echo ready; while :; do :; done"].map(String::from));
    let mut run = Run::start(&sandbox, argv, &[])?;
    run.wait_for("ready", LIMIT)?;
    let killed = Instant::now();
    node.signal(Signal::KILL)?;
    let outcome = run.finish(&sandbox, LIMIT)?;
    ensure!(killed.elapsed() < GONE + Duration::from_secs(1), "it took {:?}", killed.elapsed());
    expect_signal(&outcome, Signal::KILL)?;
    let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(error.lines().count() == 1 && error.contains(hosts::NODE), "{error:?}");
    sandbox.assert_clean()
}
