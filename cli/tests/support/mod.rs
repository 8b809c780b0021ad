//! What the tests share: bash scripts in whose text `$RUN` is mosix-run or nothing, `$TRACE` the same with a
//! trace, `$AWAY` the same with a trace and away, and `$DIR` a directory of their own.

#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test.
pub const MOSIX_RUN: &str = env!("CARGO_BIN_EXE_mosix-run");
/// The other one.
pub const MOSIX: &str = env!("CARGO_BIN_EXE_mosix");

/// What a command did.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn new(command: &mut Command) -> Run {
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        Run {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// mosix-run without arguments.
pub fn mosix_run() -> Command {
    Command::new(MOSIX_RUN)
}

/// A directory of one test, removed at its end.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mosix-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("for everybody");
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(text: &str, run: &str, dir: &Path) -> Command {
    let trace = if run.is_empty() { String::new() } else { format!("{run} --trace-syscalls -o /dev/null") };
    let away = if run.is_empty() {
        String::new()
    } else {
        format!("{run} --loopback --trace-syscalls -y -e trace=all,?nosuch -o /dev/null")
    };
    let loopback = if run.is_empty() { String::new() } else { format!("{run} --loopback") };
    let text = text
        .replace("$LOOPBACK", &loopback)
        .replace("$AWAY", &away)
        .replace("$TRACE", &trace)
        .replace("$RUN", run)
        .replace("$DIR", &dir.display().to_string());
    let mut command = Command::new("bash");
    command.args(["-c", &text]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command
}

/// Runs a script under bash with `$RUN` being mosix-run.
pub fn shell(text: &str) -> Run {
    let dir = Dir::new();
    Run::new(&mut script(text, MOSIX_RUN, &dir.0))
}

/// Runs a script natively and managed at home; everything must be the same.
pub fn same_as_native(text: &str) {
    compare(text, MOSIX_RUN, |command| command);
}

/// The same as nobody, with a copy of the program that nobody can read.
pub fn as_nobody(text: &str) {
    let dir = Dir::new();
    let copy = dir.0.join("mosix-run");
    fs::copy(MOSIX_RUN, &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("for everybody");
    let root = rustix::process::geteuid().is_root();
    compare(text, &copy.display().to_string(), |command| {
        if !root {
            return command;
        }
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        nobody.arg(command.get_program()).args(command.get_args());
        nobody.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        nobody
    });
}

fn compare(text: &str, run: &str, wrap: impl Fn(Command) -> Command) {
    let run_it = |run: &str| {
        let dir = Dir::new();
        let mut command = wrap(script(text, run, &dir.0));
        command.current_dir("/");
        let run = Run::new(&mut command);
        // Where a test prints its directory, it is another one each time.
        let neutral = |text: String| text.replace(&dir.0.display().to_string(), "DIR");
        (run.status, neutral(run.stdout), neutral(run.stderr))
    };
    let native = run_it("");
    let managed = run_it(run);
    assert_eq!(native, managed, "native and managed differ: {text}");
}

/// The next line of a child, without its end; empty at the end of all. It must come within a minute.
pub fn line_within(reader: &mut BufReader<ChildStdout>) -> String {
    let mut line = Vec::new();
    loop {
        if reader.buffer().is_empty() {
            let mut fds = [rustix::event::PollFd::new(reader.get_ref(), rustix::event::PollFlags::IN)];
            let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "nothing comes");
        }
        let had = line.len();
        let more = reader.fill_buf().expect("it can be read");
        let end = more.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&more[..end.unwrap_or(more.len())]);
        let (ended, got) = (end.is_some() || more.is_empty(), line.len() - had + usize::from(end.is_some()));
        reader.consume(got);
        if ended {
            return String::from_utf8_lossy(&line).into_owned();
        }
    }
}

/// Who traces a process; 0 for nobody.
pub fn tracer_of(pid: &str) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).expect("every status has it");
    line.trim().parse().expect("a pid")
}

/// Waits until a process that is not ours has ended (a zombie that its parent does not reap has).
pub fn await_end(pid: i32) {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return };
    if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "{} goes on", pid.as_raw_pid());
    }
}
