//! The talk between the harness and `run-keeper`, the process above every run.
//!
//! The keeper is a child subreaper: whatever the command starts, daemons included, stays below it. It starts the command
//! with its own standard descriptors, lets go of them (so that end-of-file is seen when the command's last process has
//! closed them), and reports over a socket. When the harness asks, or is gone, it kills everything below it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a keeper says, one line each.
#[derive(Debug)]
pub enum Report {
    /// The command runs with this pid.
    Started(i32),
    /// The command has ended with this wait status.
    Ended(ExitStatus),
    /// No process of the run is left; the keeper ends.
    Empty,
    /// The command could not be started.
    Failed(String),
}

impl Report {
    /// Reads one line of a keeper.
    pub fn parse(line: &str) -> Option<Report> {
        let (word, rest) = line.trim_end().split_once(' ')?;
        Some(match word {
            "started" => Report::Started(rest.parse().ok()?),
            "ended" => Report::Ended(ExitStatus::from_raw(rest.parse().ok()?)),
            "empty" => Report::Empty,
            "failed" => Report::Failed(rest.to_owned()),
            _ => return None,
        })
    }

    /// The line that says it.
    pub fn line(&self) -> String {
        match self {
            Report::Started(pid) => format!("started {pid}\n"),
            Report::Ended(status) => format!("ended {}\n", status.into_raw()),
            Report::Empty => "empty .\n".to_owned(),
            Report::Failed(why) => format!("failed {}\n", why.replace('\n', " ")),
        }
    }
}

/// A running keeper, seen from the harness. Dropping it kills the run.
pub struct Keeper {
    child: std::process::Child,
    reports: BufReader<UnixStream>,
    line: String,
}

impl Keeper {
    /// Starts `argv` below a new keeper. `socket` is a path that nobody uses.
    pub fn start(program: &Path, socket: PathBuf, start: Start) -> Result<Keeper> {
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("binding {}", socket.display()))?;
        let mut command = Command::new(program);
        command.arg(&socket);
        if start.own_group {
            command.arg("--own-group");
        }
        command.arg("--").args(&start.argv).current_dir(&start.dir);
        command.env_clear().envs(start.env.iter().map(|(k, v)| (k, v)));
        command.stdin(start.stdin).stdout(start.stdout).stderr(start.stderr).process_group(0);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        drop(command);
        let (stream, _) = listener.accept()?;
        std::fs::remove_file(&socket)?;
        Ok(Keeper { child, reports: BufReader::new(stream), line: String::new() })
    }

    /// The next report, or `None` when the deadline has passed.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Report>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.reports.get_ref().set_read_timeout(Some(left))?;
            match self.reports.read_line(&mut self.line) {
                Ok(0) => bail!("the keeper of the run has died"),
                Ok(_) if self.line.ends_with('\n') => {
                    let line = std::mem::take(&mut self.line);
                    return match Report::parse(&line) {
                        Some(report) => Ok(Some(report)),
                        None => bail!("the keeper said {line:?}"),
                    };
                }
                Ok(_) => {}
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The pid of the keeper: the root of the run's process tree.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Kills every process of the run and waits until they are gone.
    pub fn kill(&mut self) -> Result<()> {
        // A keeper that has ended by itself has nothing left to kill.
        let _ = self.reports.get_mut().write_all(b"kill\n");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.next(deadline) {
                Ok(Some(Report::Empty)) | Err(_) => break,
                Ok(Some(_)) => {}
                Ok(None) => bail!("processes of the run survive SIGKILL for 20 s"),
            }
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // What is not killed now is killed when the keeper sees the end of this stream.
            let _ = self.kill();
        }
    }
}

/// What a keeper is to start.
pub struct Start {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub dir: PathBuf,
    /// Its standard input.
    pub stdin: Stdio,
    /// Its standard output.
    pub stdout: Stdio,
    /// Its standard error.
    pub stderr: Stdio,
    /// Whether it leads a process group of its own.
    pub own_group: bool,
}
