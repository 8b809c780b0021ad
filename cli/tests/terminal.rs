//! Job control of programs at home, in a pseudo-terminal under an interactive bash.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A bash with a terminal of its own, which prints `[STATUS]` when it wants a command.
struct Terminal {
    master: File,
    bash: Child,
    seen: String,
    /// Everything that came, for messages.
    all: String,
    run: &'static str,
}

impl Terminal {
    fn new(run: &'static str) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
            Stdio::from(slave)
        };
        let bash = Command::new("setsid")
            .args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "--noediting", "-i"])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TERM", "dumb")
            .env("PS1", "[$?]")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let mut terminal =
            Terminal { master: File::from(master), bash, seen: String::new(), all: String::new(), run };
        terminal.expect("[0]");
        terminal.send("stty -echo\n");
        terminal.expect("[0]");
        terminal
    }

    fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for `text`, and forgets everything up to its end; returns what came before it.
    fn expect(&mut self, text: &str) -> String {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                let before = self.seen[..at].to_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait)).unwrap();
            assert!(Instant::now() < limit, "{:?}: no {text:?} at the end of {:?}", self.run, self.all);
            let mut chunk = [0; 4096];
            if let Ok(1..) = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&Timespec::default()))
            {
                let count = self.master.read(&mut chunk).unwrap();
                let text = String::from_utf8_lossy(&chunk[..count]);
                self.seen.push_str(&text);
                self.all.push_str(&text);
            }
        }
    }

    /// Waits until everything in the terminal but its shell is stopped. The shell prompts when its own children are:
    /// a grandchild that has not left its read yet would still take what is typed next.
    fn expect_all_stopped(&self) {
        let limit = Instant::now() + Duration::from_secs(30);
        let session = self.bash.id() as i32;
        let runs = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
            let fields: Vec<&str> = rest.split(' ').collect();
            fields.len() > 3 && fields[3] == session.to_string() && !["T", "t", "Z"].contains(&fields[0])
        };
        let pids = || {
            let names = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
            names.filter_map(|name| name.to_str()?.parse().ok()).filter(|pid| *pid != session)
        };
        while pids().any(runs) {
            assert!(Instant::now() < limit, "{:?}: not all stopped: {:?}", self.run, self.all);
            std::thread::yield_now();
        }
    }

    /// A command and the status that the prompt then shows.
    fn run(&mut self, command: &str, status: u8) -> String {
        self.send(&format!("{command}\n"));
        self.expect(&format!("[{status}]"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}

const STOPPED: u8 = 128 + 20;

#[test]
fn stop_continue_and_interrupt() {
    for run in ["", support::MOSIX_RUN] {
        let mut terminal = Terminal::new(run);
        terminal.send(&format!("{run} cat\n"));
        terminal.send("one\n");
        terminal.expect("one");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(&format!("[{STOPPED}]"));
        terminal.run("jobs -s | grep -c Stopped", 0);
        terminal.send("fg\n");
        terminal.expect("cat");
        terminal.send("two\n");
        terminal.expect("two");
        terminal.send("\x1a");
        terminal.expect(&format!("[{STOPPED}]"));
        // In the background it may not read the terminal.
        terminal.run("bg; until jobs -s | grep -q Stopped; do :; done", 0);
        terminal.send("fg\n");
        terminal.send("three\n");
        terminal.expect("three");
        terminal.send("\x03");
        terminal.expect("[130]");
        terminal.send(&format!("{run} sh -c 'echo up; exec sleep 1000'\n"));
        terminal.expect("up");
        terminal.send("\x1a");
        terminal.expect(&format!("[{STOPPED}]"));
        terminal.run("bg", 0);
        terminal.run("kill %1; wait %1", 143);
        terminal.send(&format!("{run} sh -c 'echo up; sleep 1000'\n"));
        terminal.expect("up");
        terminal.send("\x1c");
        terminal.expect("[131]");
    }
}

#[test]
fn stops_from_outside() {
    for run in ["", support::MOSIX_RUN] {
        let mut terminal = Terminal::new(run);
        terminal.run(&format!("{run} sh -c 'while :; do (true); done' &"), 0);
        for _ in 0..5 {
            terminal.run("kill -STOP %1; until jobs -s | grep -q Stopped; do :; done", 0);
            terminal.run("kill -CONT %1; until jobs -r | grep -q Running; do :; done", 0);
        }
        terminal.run("kill -STOP %1; until jobs -s | grep -q Stopped; do :; done", 0);
        terminal.run("kill -KILL %1; while kill -0 $! 2>/dev/null; do :; done", 0);
    }
}

#[test]
fn a_pipeline_and_a_group_stop_together() {
    for run in ["", support::MOSIX_RUN] {
        let mut terminal = Terminal::new(run);
        terminal.send(&format!("{run} sh -c 'cat | cat' | {run} cat\n"));
        for word in ["alpha", "beta"] {
            terminal.send(&format!("{word}\n"));
            terminal.expect(word);
            terminal.send("\x1a");
            terminal.expect(&format!("[{STOPPED}]"));
            terminal.expect_all_stopped();
            terminal.send("fg\n");
        }
        terminal.send("gamma\n");
        terminal.expect("gamma");
        terminal.send("\x04");
        terminal.expect("[0]");
    }
}

#[test]
fn a_resize_reaches_the_program() {
    for run in ["", support::MOSIX_RUN] {
        let mut terminal = Terminal::new(run);
        let script = r#"trap "stty size" WINCH; echo up; while :; do read line && exit; done"#;
        terminal.send(&format!("{run} bash -c '{script}'\n"));
        terminal.expect("up");
        let size = Winsize { ws_row: 31, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal.master, size).unwrap();
        // bash runs its trap when read returns.
        terminal.send("\n");
        terminal.expect("31 97");
        terminal.expect("[0]");
    }
}
