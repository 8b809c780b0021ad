//! One run of one command: started, watched, ended, and everything it gave.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal};

use crate::keeper::{Keeper, Report, Start};
use crate::sandbox::{Sandbox, Tree};
use crate::{binaries, processes};

/// How long what is still running after the command's own end may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A running command with pipes to its standard descriptors.
pub struct Run {
    keeper: Keeper,
    pid: i32,
    name: String,
    stdin: Option<std::io::PipeWriter>,
    out: Stream,
    err: Stream,
    started: Instant,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The wait status of the command.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// The files it left.
    pub tree: Tree,
    /// From start to the end of its last process.
    pub took: Duration,
}

/// What a run gave that may not have ended as it should.
#[derive(Debug)]
pub struct Ended {
    /// The wait status of the command, or what was wrong: it did not end, or something of it was left.
    pub status: Result<ExitStatus>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// From start to the end of its last process.
    pub took: Duration,
}

/// A pipe that is read as fast as it is written.
struct Stream {
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Stream {
    fn new(mut pipe: std::io::PipeReader) -> Stream {
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Stream { chunks, seen: Vec::new() }
    }

    /// Takes in what comes until `enough` says so or the writers are gone. Whether the stream has ended.
    fn read_until(&mut self, deadline: Instant, enough: impl Fn(&[u8]) -> bool) -> Result<bool> {
        loop {
            if enough(&self.seen) {
                return Ok(false);
            }
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(true),
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("nothing more came in time"),
            }
        }
    }
}

impl Run {
    /// Starts `argv` in the sandbox's working directory, as the sandbox's user is said by `argv` itself.
    pub fn start(sandbox: &Sandbox, argv: Vec<String>, env: &[(String, String)]) -> Result<Run> {
        let name = argv.join(" ");
        let (stdin, stdin_write) = std::io::pipe()?;
        let (out, stdout) = std::io::pipe()?;
        let (err, stderr) = std::io::pipe()?;
        let start = Start {
            argv,
            env: sandbox.env().into_iter().chain(env.iter().cloned()).collect(),
            dir: sandbox.path("work"),
            stdin: Stdio::from(stdin),
            stdout: Stdio::from(stdout),
            stderr: Stdio::from(stderr),
            own_group: true,
        };
        let started = Instant::now();
        let mut keeper = Keeper::start(&binaries::find("run-keeper")?, sandbox.path("keeper"), start)?;
        let pid = first_pid(&mut keeper)?;
        let (out, err) = (Stream::new(out), Stream::new(err));
        Ok(Run { keeper, pid, name, stdin: Some(stdin_write), out, err, started })
    }

    /// The pid of the command.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Writes to its standard input.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdin.as_mut().context("standard input is closed")?.write_all(bytes)?;
        Ok(())
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until its standard output holds `text`.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        self.wait_in(|run| &mut run.out, text, limit)
    }

    /// Waits until its standard error holds `text`.
    pub fn wait_for_error(&mut self, text: &str, limit: Duration) -> Result<()> {
        self.wait_in(|run| &mut run.err, text, limit)
    }

    fn wait_in(&mut self, stream: fn(&mut Run) -> &mut Stream, text: &str, limit: Duration) -> Result<()> {
        let has = |seen: &[u8]| String::from_utf8_lossy(seen).contains(text);
        let result = stream(self).read_until(Instant::now() + limit, has);
        let ended = result.map_err(|_| self.stuck(&format!("{text:?} never came")))?;
        if ended && !has(&stream(self).seen) {
            let output = self.output();
            bail!("{}: ended without {text:?}: {output}", self.name);
        }
        Ok(())
    }

    /// Sends a signal to the command's process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_raw(self.pid).context("pid 0")?, signal)?)
    }

    /// Sends a signal to the command's process group.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process_group(Pid::from_raw(self.pid).context("pid 0")?, signal)?)
    }

    /// Every process of the run.
    pub fn processes(&self) -> Vec<i32> {
        processes::below(self.keeper.pid())
    }

    /// Waits for the command's end, for the end of its output, and for the end of every process of the run.
    pub fn finish(mut self, sandbox: &Sandbox, limit: Duration) -> Result<Outcome> {
        let status = self.end(limit)?;
        let took = self.started.elapsed();
        let tree = sandbox.tree()?;
        Ok(Outcome { status, stdout: self.out.seen, stderr: self.err.seen, tree, took })
    }

    /// As [`Run::finish`], but keeps what the run has said also if it did not end as it should.
    pub fn finish_with_output(mut self, limit: Duration) -> Ended {
        let status = self.end(limit);
        Ended { status, stdout: self.out.seen, stderr: self.err.seen, took: self.started.elapsed() }
    }

    fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = self.started + limit;
        self.stdin = None;
        let status = self.wait_status(deadline)?;
        let deadline = Instant::now() + GRACE;
        if self.out.read_until(deadline, |_| false).is_err()
            || self.err.read_until(deadline, |_| false).is_err()
        {
            return Err(self.stuck("the command has ended, and its output is still held open"));
        }
        match self.keeper.next(deadline)? {
            Some(Report::Empty) => Ok(status),
            Some(other) => bail!("{}: the keeper said {other:?}", self.name),
            None => Err(self.stuck("the command has ended, and processes are left")),
        }
    }

    /// Waits for the end of the command alone.
    pub fn wait_status(&mut self, deadline: Instant) -> Result<ExitStatus> {
        match self.keeper.next(deadline)? {
            Some(Report::Ended(status)) => Ok(status),
            Some(other) => bail!("{}: the keeper said {other:?}", self.name),
            None => Err(self.stuck("not ended in time")),
        }
    }

    fn output(&mut self) -> String {
        let _ = self.out.read_until(Instant::now(), |_| false);
        let _ = self.err.read_until(Instant::now(), |_| false);
        format!(
            "\n--- standard output ---\n{}\n--- standard error ---\n{}",
            tail(&self.out.seen),
            tail(&self.err.seen)
        )
    }

    fn stuck(&mut self, what: &str) -> anyhow::Error {
        let dump = processes::dump(&self.processes());
        let killed = match self.keeper.kill() {
            Ok(()) => String::new(),
            Err(e) => format!("\n{e}"),
        };
        let output = self.output();
        anyhow!("{}: {what}{killed}\n{dump}{output}", self.name)
    }
}

/// Waits for a keeper's first report.
pub fn first_pid(keeper: &mut Keeper) -> Result<i32> {
    match keeper.next(Instant::now() + Duration::from_secs(20))? {
        Some(Report::Started(pid)) => Ok(pid),
        Some(Report::Failed(why)) => bail!("{why}"),
        Some(other) => bail!("the keeper said {other:?} first"),
        None => bail!("the keeper did not start the command in 20 s"),
    }
}

/// The last 4,000 bytes, readable.
pub fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(4000);
    let cut = if from > 0 { "[…] " } else { "" };
    format!("{cut}{}", String::from_utf8_lossy(&bytes[from..]))
}

/// A wait status in words.
pub fn show(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => {
            format!("signal {signal}{}", if status.core_dumped() { ", core dumped" } else { "" })
        }
        _ => format!("wait status {:#x}", status.into_raw()),
    }
}
