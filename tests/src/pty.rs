//! A terminal with a program on it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::keeper::{Keeper, Report, Start};
use crate::mode::NOBODY;
use crate::run::{first_pid, tail};
use crate::sandbox::Sandbox;
use crate::{binaries, processes};

/// How long a program may take to print what is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that leads a session on a new terminal of 80 by 24.
pub struct Terminal {
    keeper: Keeper,
    pid: i32,
    master: std::fs::File,
    chunks: Receiver<Vec<u8>>,
    seen: String,
    at: usize,
}

impl Terminal {
    /// Starts `argv` on it.
    pub fn start(sandbox: &Sandbox, argv: Vec<String>, env: &[(&str, &str)]) -> Result<Terminal> {
        crate::programs::need("setsid")?;
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?.into_string()?;
        let slave: OwnedFd = std::fs::File::options().read(true).write(true).open(&name)?.into();
        if sandbox.user() == crate::mode::User::Nobody {
            std::os::unix::fs::chown(&name, Some(NOBODY), None)?;
        }
        resize(&master, 80, 24)?;
        let mut words = ["setsid", "--ctty", "--"].map(String::from).to_vec();
        words.extend(argv);
        let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let start = Start {
            argv: words,
            env: sandbox.env().into_iter().chain(env.iter().map(pair)).collect(),
            dir: sandbox.path("work"),
            stdin: slave.try_clone()?.into(),
            stdout: slave.try_clone()?.into(),
            stderr: slave.into(),
            own_group: false,
        };
        let mut keeper = Keeper::start(&binaries::find("run-keeper")?, sandbox.path("keeper"), start)?;
        let pid = first_pid(&mut keeper)?;
        let master = std::fs::File::from(master);
        let mut reader = master.try_clone()?;
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            // EIO: nobody has the terminal open any more.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Terminal { keeper, pid, master, chunks, seen: String::new(), at: 0 })
    }

    /// The session leader.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Every process on it.
    pub fn processes(&self) -> Vec<i32> {
        processes::below(self.keeper.pid())
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Changes its size; the foreground process group gets SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        resize(&self.master, columns, rows)
    }

    /// Waits until `text` is printed after what was waited for last; gives what came before it.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                let before = self.seen[self.at..self.at + found].to_owned();
                self.at += found + text.len();
                return Ok(before);
            }
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                // A character may be cut in two between chunks; what is waited for is ASCII.
                Ok(chunk) => self.seen.push_str(&String::from_utf8_lossy(&chunk)),
                Err(e) => {
                    let why = match e {
                        RecvTimeoutError::Timeout => "never came",
                        RecvTimeoutError::Disconnected => "did not come before the end",
                    };
                    let dump = processes::dump(&self.processes());
                    bail!("{text:?} {why}; the terminal shows:\n{}\n{dump}", tail(self.seen.as_bytes()));
                }
            }
        }
    }

    /// Everything printed so far.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Waits for the end of the leader, and demands that nothing is left.
    pub fn finish(mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + LIMIT;
        let mut status = None;
        loop {
            match self.keeper.next(deadline)? {
                Some(Report::Ended(ended)) => status = Some(ended),
                Some(Report::Empty) => return status.context("no status before the end"),
                Some(other) => bail!("the keeper said {other:?}"),
                None => {
                    let dump = processes::dump(&self.processes());
                    self.keeper.kill()?;
                    bail!("not ended in time; the terminal shows:\n{}\n{dump}", tail(self.seen.as_bytes()));
                }
            }
        }
    }
}

fn resize(master: impl AsFd, columns: u16, rows: u16) -> Result<()> {
    Ok(rustix::termios::tcsetwinsize(
        master,
        Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 },
    )?)
}
