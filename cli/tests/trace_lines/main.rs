//! --trace-syscalls prints what strace prints: many commands are run under strace, under mosix-run at home and with
//! `--loopback`, and the lines of the first process are compared.
//!
//! `TRACE_LINES=name,name` runs only these and prints what differs. `TRACE_LINES_AGAIN=1` compares strace with itself,
//! which shows what a mask has to hide.

#[path = "../support/mod.rs"]
mod support;

mod align;
mod mask;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use support::{Dir, MOSIX_RUN};

/// Of a command's lines, and of all.
const EQUAL_PERCENT: usize = 98;
const HOME: &str = "--home";
/// A signal that a program ignores, as SIGCHLD is by default, is held back at home while its computation is away: it would
/// interrupt the deputy's calls. So it has no line.
const AWAY: &str = "--loopback";
const MODES: [&str; 2] = [HOME, AWAY];

/// What chance has made different, on a machine that does much else, is not so every time.
const TRIES: usize = 3;
/// A command that takes longer has hung.
const LONGEST_S: u32 = 60;

const COMMANDS: &str = include_str!("commands");
const GUESTS: [&str; 7] = ["files", "signals", "sockets", "waiting", "processes", "memory", "terminals"];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trace_lines")
}

/// How much of a command's trace is strace's.
struct Outcome {
    name: String,
    mode: &'static str,
    equal: usize,
    lines: usize,
    different: Vec<String>,
}

impl Outcome {
    fn percent(&self) -> f64 {
        100.0 * self.equal as f64 / self.lines.max(1) as f64
    }

    fn enough(&self) -> bool {
        self.lines > 0 && self.equal * 100 >= self.lines * EQUAL_PERCENT
    }
}

#[test]
fn lines_equal_straces() {
    let wanted = std::env::var("TRACE_LINES").ok();
    let commands: Vec<(&str, &str)> = COMMANDS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("a name and a command"))
        .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|one| one == *name)))
        .collect();
    let dir = Dir::new();
    build_guests(&dir.0);
    let queue = Mutex::new(commands.iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in ["a", "b"] {
            let (queue, outcomes, dir) = (&queue, &outcomes, &dir.0);
            scope.spawn(move || {
                loop {
                    let Some((name, command)) = queue.lock().expect("no panic").next() else { break };
                    let mut found = compare(dir, worker, name, command);
                    for _ in 1..TRIES {
                        if found.iter().all(Outcome::enough) {
                            break;
                        }
                        found = compare(dir, worker, name, command);
                    }
                    outcomes.lock().expect("no panic").extend(found);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no panic");
    outcomes.sort_by(|a, b| (a.mode, &a.name).cmp(&(b.mode, &b.name)));
    let mut failed = Vec::new();
    for outcome in &outcomes {
        println!(
            "{:<11} {:<18} {:>5} of {:>5} {:>6.2} %",
            outcome.mode,
            outcome.name,
            outcome.equal,
            outcome.lines,
            outcome.percent()
        );
        for line in &outcome.different {
            println!("    {line}");
        }
        if !outcome.enough() {
            failed.push(format!("{} {}\n{}", outcome.mode, outcome.name, outcome.different.join("\n")));
        }
    }
    for mode in MODES {
        let of_mode = || outcomes.iter().filter(|outcome| outcome.mode == mode);
        let (equal, lines) = of_mode().fold((0, 0), |sum, one| (sum.0 + one.equal, sum.1 + one.lines));
        println!("{mode}: {} commands, {equal} of {lines} lines", of_mode().count());
    }
    assert!(failed.is_empty(), "less than {EQUAL_PERCENT} % of lines are equal:\n{}", failed.join("\n"));
}

fn build_guests(dir: &Path) {
    thread::scope(|scope| {
        for guest in GUESTS {
            scope.spawn(move || {
                let source = here().join(format!("{guest}.c"));
                let output = Command::new("gcc")
                    .args(["-std=gnu17", "-O1", "-w", "-o"])
                    .arg(dir.join(guest))
                    .arg(source)
                    .arg("-lrt")
                    .output()
                    .expect("gcc runs");
                assert!(output.status.success(), "{guest}: {}", String::from_utf8_lossy(&output.stderr));
            });
        }
    });
}

/// Runs a command under a tracer in a directory that is always the same.
fn run(dir: &Path, worker: &str, tracer: &str, command: &str, name: &str) {
    let work = dir.join(worker);
    if work.exists() {
        fs::remove_dir_all(&work).expect("it is ours");
    }
    fs::create_dir(&work).expect("a fresh directory");
    let mut setup = include_str!("setup.sh").to_owned();
    if name.starts_with("git") {
        setup.push_str(include_str!("repo.sh"));
    }
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(&work).env_clear().stdin(Stdio::null());
        bash.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", dir).env("GUESTS", dir);
        bash.env("HERE", here()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC0");
        bash.env("GIT_AUTHOR_DATE", "1600000000").env("GIT_COMMITTER_DATE", "1600000000");
        bash.env("PERL_HASH_SEED", "0").env("PYTHONHASHSEED", "0");
        bash
    };
    let made = bash(&setup).output().expect("bash runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let out = File::create(dir.join(format!("{worker}.out"))).expect("a file");
    let quoted = command.replace(" ;", " \\;");
    bash(&format!("exec timeout --foreground -k 5 {LONGEST_S} {tracer} {quoted}"))
        .stdout(out.try_clone().expect("a copy"))
        .stderr(out)
        .status()
        .expect("bash runs");
}

fn compare(dir: &Path, worker: &str, name: &str, command: &str) -> Vec<Outcome> {
    let trace = dir.join(format!("{worker}.trace"));
    let traced = |tracer: &str| {
        let _ = fs::remove_file(&trace);
        run(dir, worker, &format!("{tracer} -o {}", trace.display()), command, name);
        fs::read(&trace).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let strace = || traced("strace").lines().map(str::to_owned).collect::<Vec<_>>();
    let again = std::env::var_os("TRACE_LINES_AGAIN").is_some();
    let theirs = mask::lines(&strace());
    MODES
        .into_iter()
        .map(|mode| {
            let ours = if again {
                strace()
            } else {
                first_process(&traced(&format!("{MOSIX_RUN} {mode} --trace-syscalls")))
            };
            let ours = mask::lines(&ours);
            let heard = |line: &&String| mode == HOME || !line.starts_with("--- SIGCHLD ");
            let ours: Vec<String> = ours.iter().filter(heard).cloned().collect();
            let theirs: Vec<String> = theirs.iter().filter(heard).cloned().collect();
            let (equal, different) = align::compare(&ours, &theirs);
            Outcome { name: name.to_owned(), mode, equal, lines: ours.len().max(theirs.len()), different }
        })
        .collect()
}

/// The lines of the process that was started, whole: those that another's had interrupted put together, without the place
/// and without what strace does not have.
fn first_process(trace: &str) -> Vec<String> {
    let Some(pid) = trace.split(' ').next() else { return Vec::new() };
    let mut lines: Vec<String> = Vec::new();
    for line in trace.lines() {
        let Some(line) = line.strip_prefix(pid).and_then(|line| line.strip_prefix(' ')) else { continue };
        let line = line.trim_start();
        if line.starts_with("+++ moved") || line.starts_with("+++ not moved") || line.starts_with("*** ") {
            continue;
        }
        let call = match line.rsplit_once('\t') {
            Some((call, _)) if !line.starts_with("+++") && !line.starts_with("---") => call,
            _ => line,
        };
        if let Some((_, rest)) =
            call.strip_prefix("<... ").and_then(|resumed| resumed.split_once(" resumed>"))
            && let Some(open) = lines.iter_mut().rfind(|open| open.ends_with(" <unfinished ...>"))
        {
            open.truncate(open.len() - " <unfinished ...>".len());
            open.push_str(rest);
        } else {
            lines.push(call.to_owned());
        }
    }
    lines
}
