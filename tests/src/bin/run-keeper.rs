//! `run-keeper SOCKET [--own-group] -- CMD ARGS…`: see `system_tests::keeper`.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use system_tests::keeper::Report;
use system_tests::processes;

enum Event {
    Reaped(Pid, i32),
    NoChildren,
    Kill,
}

/// Reaps until nothing is left; the subreaper gets every orphan, so this is true of the whole tree.
fn reap(events: mpsc::Sender<Event>) {
    loop {
        let event = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => Event::Reaped(pid, status.as_raw()),
            Ok(None) | Err(Errno::INTR) => continue,
            Err(_) => Event::NoChildren,
        };
        let last = matches!(event, Event::NoChildren);
        if events.send(event).is_err() || last {
            return;
        }
    }
}

fn kill_all() {
    for pid in processes::below(std::process::id() as i32) {
        // By pidfd, and only if it is still below us: the number may be somebody else's by now.
        let Some(raw) = Pid::from_raw(pid) else { continue };
        let Ok(fd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else { continue };
        if processes::below(std::process::id() as i32).contains(&pid) {
            // It may have died in between.
            let _ = rustix::process::pidfd_send_signal(&fd, Signal::KILL);
        }
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let socket = args.next().context("no socket")?;
    let mut own_group = false;
    loop {
        match args.next().as_deref() {
            Some("--own-group") => own_group = true,
            Some("--") => break,
            other => bail!("unexpected argument {other:?}"),
        }
    }
    let program = args.next().context("no command")?;
    let mut talk = UnixStream::connect(&socket).with_context(|| format!("connecting to {socket}"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;

    let mut command = Command::new(&program);
    command.args(args);
    if own_group {
        command.process_group(0);
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            talk.write_all(Report::Failed(format!("{program}: {e}")).line().as_bytes())?;
            talk.write_all(Report::Empty.line().as_bytes())?;
            return Ok(());
        }
    };
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    talk.write_all(Report::Started(child.id() as i32).line().as_bytes())?;

    let (sender, events) = mpsc::channel();
    let reaper = sender.clone();
    std::thread::spawn(move || reap(reaper));
    let mut listen = talk.try_clone()?;
    std::thread::spawn(move || {
        // A word or the end of the stream: both mean that the run is over.
        let _ = listen.read(&mut [0; 16]);
        let _ = sender.send(Event::Kill);
    });
    let mut killing = false;
    loop {
        // While killing, a process that forked during the last pass is found by the next.
        let event = if killing {
            match events.recv_timeout(Duration::from_millis(20)) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => Event::Kill,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        } else {
            events.recv()?
        };
        match event {
            Event::Reaped(pid, raw) if pid.as_raw_nonzero().get() == child.id() as i32 => {
                // The harness may be gone; the run is ended all the same.
                let _ = talk.write_all(Report::Ended(ExitStatus::from_raw(raw)).line().as_bytes());
            }
            Event::Reaped(..) => {}
            Event::NoChildren => {
                let _ = talk.write_all(Report::Empty.line().as_bytes());
                return Ok(());
            }
            Event::Kill => {
                killing = true;
                kill_all();
            }
        }
    }
}
