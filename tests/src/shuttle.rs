//! Moving everything home and out again, over the supervisor's control socket, while a run goes on.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::sandbox::Sandbox;

/// One line of `mosix ps --json`, which prints a list of these.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// The process.
    pub pid: i32,
    /// `home`, `loopback` or a node's name.
    pub place: String,
    /// Why it may not move now.
    #[serde(default)]
    pub stay: Option<String>,
    /// CPU seconds on nodes.
    pub away_cpu_s: f64,
    /// Moves so far.
    pub moves: u32,
}

/// `mosix` as the sandbox's user, with the sandbox's control sockets.
pub struct Control {
    argv: Vec<String>,
    env: Vec<(String, String)>,
}

impl Control {
    /// The control program of the runs in this sandbox.
    pub fn new(sandbox: &Sandbox) -> Result<Control> {
        let mut argv = sandbox.user().launcher();
        argv.push(sandbox.ours("mosix")?);
        Ok(Control { argv, env: sandbox.env() })
    }

    /// `argv` is `mosix` and what comes before and at once after it.
    pub fn with(argv: Vec<String>, env: Vec<(String, String)>) -> Control {
        Control { argv, env }
    }

    /// Runs `mosix ARGS…`; its standard output, or its message as an error.
    pub fn call(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .output()
            .context("starting mosix")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mosix {}: {}: {}", args.join(" "), output.status, message.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The managed processes.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let text = self.call(&["ps", "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("mosix ps --json printed {text:?}"))
    }

    /// Moves one process; `place` is `home`, `loopback` or a node.
    pub fn migrate(&self, pid: i32, place: &str) -> Result<()> {
        self.call(&["migrate", &pid.to_string(), place]).map(drop)
    }
}

/// What a shuttle did.
#[derive(Debug, Default)]
pub struct Report {
    /// Times that all processes were told to move.
    pub rounds: usize,
    /// Moves that were done.
    pub moved: usize,
    /// The last refusal; processes end while they are told to move, so some are no fault.
    pub refused: Option<String>,
}

/// The longest pause between the rounds of a shuttle that moves at random times, in milliseconds.
const RANDOM_PAUSE_MS_MAX: u64 = 150;

/// A pseudo-random sequence (xorshift64), the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}

/// A thread that moves processes home and out.
pub struct Shuttle {
    stop: Sender<()>,
    thread: JoinHandle<Report>,
}

impl Shuttle {
    /// Starts one; a new round begins `period` after the one before.
    pub fn start(control: Control, away: String, period: Duration) -> Shuttle {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut report = Report::default();
            loop {
                match stopped.recv_timeout(period) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return report,
                }
                let place = if report.rounds.is_multiple_of(2) { "home" } else { away.as_str() };
                match control.list() {
                    Ok(list) => {
                        for process in list.iter().filter(|p| p.place != place) {
                            match control.migrate(process.pid, place) {
                                Ok(()) => report.moved += 1,
                                Err(e) => report.refused = Some(e.to_string()),
                            }
                        }
                    }
                    Err(e) => report.refused = Some(e.to_string()),
                }
                report.rounds += 1;
            }
        });
        Shuttle { stop, thread }
    }

    /// Starts one that moves each process on its own, home or out, at times that `seed` decides: after up to
    /// [`RANDOM_PAUSE_MS_MAX`] ms every process by the throw of a coin.
    pub fn start_random(control: Control, away: String, seed: u64) -> Shuttle {
        let (stop, stopped) = mpsc::channel();
        let mut random = Random(seed | 1);
        let thread = std::thread::spawn(move || {
            let mut report = Report::default();
            loop {
                let pause = Duration::from_millis(random.next() % RANDOM_PAUSE_MS_MAX);
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return report,
                }
                let list = match control.list() {
                    Ok(list) => list,
                    Err(e) => {
                        report.refused = Some(e.to_string());
                        continue;
                    }
                };
                for process in list.iter().filter(|_| random.next().is_multiple_of(2)) {
                    let place = if process.place == "home" { away.as_str() } else { "home" };
                    match control.migrate(process.pid, place) {
                        Ok(()) => report.moved += 1,
                        Err(e) => report.refused = Some(e.to_string()),
                    }
                }
                report.rounds += 1;
            }
        });
        Shuttle { stop, thread }
    }

    /// Stops it.
    pub fn stop(self) -> Result<Report> {
        drop(self.stop);
        match self.thread.join() {
            Ok(report) => Ok(report),
            Err(_) => bail!("the shuttle failed"),
        }
    }
}
