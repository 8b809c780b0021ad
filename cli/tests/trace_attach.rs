//! mosix trace: a process that runs is traced, and then goes on as if nothing had been.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::{MOSIX, MOSIX_RUN, Run, line_within, tracer_of};

/// A managed program that answers each line with one of its own.
struct Echo {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pid: String,
}

const ECHO: &str = "echo $$; while read line; do echo \"got $line\"; done; echo over";

impl Echo {
    fn start(options: &[&str], script: &str) -> Echo {
        let mut child = Command::new(MOSIX_RUN)
            .args(options)
            .args(["bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut echo = Echo { child, stdin, stdout, pid: String::new() };
        echo.pid = echo.line();
        echo
    }

    fn line(&mut self) -> String {
        line_within(&mut self.stdout)
    }

    /// Has it answer.
    fn ask(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("a pipe"), "{line}").expect("it reads");
        assert_eq!(self.line(), format!("got {line}"));
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert_eq!(self.line(), "over");
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// A mosix trace that has begun.
struct Tracing {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Tracing {
    fn begin(pid: &str, options: &[&str]) -> Tracing {
        let mut child = Command::new(MOSIX)
            .args(["trace", pid])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, format!("mosix: process {pid} attached\n"));
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Tracing { child, stdout }
    }

    /// Reads until there is a line with all of this.
    fn await_line(&mut self, parts: &[&str]) -> String {
        loop {
            let line = line_within(&mut self.stdout);
            assert_ne!(line, "", "no line with {parts:?}");
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("it ends").success());
        rest
    }
}

#[test]
fn a_trace_begins_and_ends_while_a_process_runs() {
    for (options, place) in [(["--home"], "home"), (["--loopback"], "forwarded")] {
        let mut echo = Echo::start(&options, ECHO);
        let (pid, supervisor) = (echo.pid.clone(), tracer_of(&echo.pid));
        for round in ["one", "two"] {
            let mut tracing = Tracing::begin(&pid, &[]);
            echo.ask(round);
            let line = tracing.await_line(&["write(1, ", round]);
            assert!(line.contains(" = 8\t") && line.ends_with(place), "{line}");
            tracing.signal(Signal::INT);
            tracing.rest();
            echo.ask("nobody looks");
        }
        // It waits in a call: that is what there is to be seen of it.
        let mut tracing = Tracing::begin(&pid, &["-e", "read"]);
        let mut first = [0; 8];
        tracing.stdout.read_exact(&mut first).expect("it says so");
        assert_eq!(&first, b"read(0, ");
        tracing.signal(Signal::INT);
        assert_eq!(tracing.rest(), " <detached ...>\n");
        let mut tracing = Tracing::begin(&pid, &["-e", "trace=write", "-T"]);
        echo.ask("three");
        tracing.await_line(&["write(1, \"got three\\n\", 10) ", "= 10 <0.", place]);
        tracing.signal(Signal::KILL);
        tracing.child.wait().expect("it ends");
        echo.ask("nobody looks");
        // Whoever was killed does not stand in the way of the next.
        let tracing = Tracing::begin(&pid, &["-e", "trace=write"]);
        assert_eq!(tracer_of(&pid), supervisor);
        echo.end();
        let rest = tracing.rest();
        assert!(rest.contains("write(1, \"over\\n\", 5)"), "{rest}");
        assert!(rest.ends_with("+++ exited with 0 +++\n"), "{rest}");
    }
}

#[test]
fn what_is_away_shows_its_local_calls_too() {
    let script = "import os, sys
print(os.getpid(), flush=True)
for line in sys.stdin:
    os.sched_yield()
    os.write(1, b'got ' + line.encode())
print('over')";
    let mut echo = Echo::start(&["--loopback"], &format!("exec python3 -c \"{script}\""));
    echo.ask("before");
    let mut tracing = Tracing::begin(&echo.pid, &["-e", "sched_yield"]);
    echo.ask("while");
    assert_eq!(
        tracing.await_line(&["sched_yield()"]).trim_end(),
        "sched_yield()                           = 0\tremote"
    );
    tracing.signal(Signal::TERM);
    assert_eq!(tracing.rest(), "");
    echo.ask("after");
    echo.end();
}

#[test]
fn it_follows_moves_children_and_threads() {
    let script = "import os, sys, threading
print(os.getpid(), flush=True)
for line in sys.stdin:
    thread = threading.Thread(target=lambda: os.stat('/etc'))
    thread.start(); thread.join()
    os.system('true')
    os.getppid()
    os.write(1, b'got ' + line.encode())
print('over')";
    let mut echo = Echo::start(&["--loopback"], &format!("exec python3 -c \"{script}\""));
    let migrate = |pid: &str, to: &str| {
        let run = Run::new(Command::new(MOSIX).args(["migrate", pid, to]));
        assert!(run.status.success(), "{}", run.stderr);
    };
    let mut tracing = Tracing::begin(&echo.pid, &["-s", "9"]);
    echo.ask("away");
    tracing.await_line(&["stat", "\"/etc\""]);
    tracing.await_line(&["execve(\"/bin/sh\", [\"sh\", \"-c\", \"true\"]"]);
    // Now there is nobody else whose line could come in between.
    tracing.await_line(&["getppid()", "\tforwarded"]);
    tracing.await_line(&["write(1, \"got away\\n\""]);
    migrate(&echo.pid, "home");
    tracing.await_line(&["+++ moved loopback -> home (asked for by"]);
    echo.ask("home");
    tracing.await_line(&["stat", "\"/etc\""]);
    tracing.await_line(&["getppid()", "\thome"]);
    tracing.await_line(&["write(1, \"got home\\n\""]);
    migrate(&echo.pid, "loopback");
    tracing.await_line(&["+++ moved home -> loopback (asked for by"]);
    echo.ask("away");
    tracing.await_line(&["stat", "\"/etc\""]);
    tracing.await_line(&["getppid()", "\tforwarded"]);
    echo.end();
    assert!(tracing.rest().ends_with("+++ exited with 0 +++\n"));
}

#[test]
fn a_trace_does_not_keep_a_process_from_moving() {
    let script = "import os, sys, threading
lock = threading.Lock()
lock.acquire()
def compute():
    n = 0
    while True: n = n * 5 + 1 & 0xffff
for work in [lock.acquire, compute]:
    threading.Thread(target=work, daemon=True).start()
print(os.getpid(), flush=True)
for line in sys.stdin:
    os.write(1, b'got ' + line.encode())
os.write(1, b'over\\n')
os._exit(0)";
    let migrate = |pid: &str, to: &str| {
        let run = Run::new(Command::new("timeout").args(["60", MOSIX, "migrate", pid, to]));
        assert!(run.status.success(), "{to}: {} {}", run.status, run.stderr);
    };
    let traced = ["--loopback", "--trace-syscalls", "-o", "/dev/null"];
    for options in [&["--loopback"][..], &traced] {
        let mut echo = Echo::start(options, &format!("exec python3 -c \"{script}\""));
        let tracing = (options.len() == 1).then(|| Tracing::begin(&echo.pid, &["-o", "/dev/null"]));
        for round in ["one", "two", "three"] {
            migrate(&echo.pid, "home");
            echo.ask(round);
            migrate(&echo.pid, "loopback");
            echo.ask(round);
        }
        echo.end();
        tracing.map(Tracing::rest);
    }
}

/// Waits of every kind, of half a second each; says what is not as it should be.
const WAITS: &str = "import os, select, signal, sys, threading, time
print(os.getpid(), flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
read, write = os.pipe()
epoll = select.epoll(); epoll.register(read, select.EPOLLIN)
poll = select.poll(); poll.register(read, select.POLLIN)
lock = threading.Lock(); lock.acquire()
for wait, answer in [
    (lambda: signal.sigtimedwait([signal.SIGUSR1], 0.5), None),
    (lambda: epoll.poll(0.5), []),
    (lambda: poll.poll(500), []),
    (lambda: select.select([read], [], [], 0.5), ([], [], [])),
    (lambda: lock.acquire(timeout=0.5), False),
    (lambda: time.sleep(0.5), None),
]:
    begin = time.monotonic()
    got = wait()
    took = time.monotonic() - begin
    if got != answer or not 0.5 <= took < 2:
        print('wrong:', got, took, flush=True)
print('over', flush=True)";

#[test]
fn waits_are_not_disturbed() {
    for options in [["--home"], ["--loopback"]] {
        let mut echo = Echo::start(&options, &format!("exec python3 -c \"{WAITS}\""));
        let (pid, mut rounds) = (echo.pid.clone(), 0);
        let over = std::thread::spawn(move || {
            let line = echo.line();
            (echo, line)
        });
        while !over.is_finished() {
            let mut child = Command::new(MOSIX)
                .args(["trace", &pid, "-e", "trace=all"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it runs");
            let line = line_within(&mut BufReader::new(child.stdout.take().expect("a pipe")));
            kill_process(Pid::from_child(&child), Signal::INT).ok();
            child.wait().expect("it ends");
            rounds += usize::from(!line.is_empty());
        }
        let (mut echo, line) = over.join().expect("it reads");
        assert_eq!(line, "over", "{options:?}");
        assert!(rounds > 2, "traced {rounds} times only");
        assert!(echo.child.wait().expect("it ends").success());
    }
}

#[test]
fn a_reader_that_does_not_read_has_no_power() {
    let script = "import os, sys
print(os.getpid(), flush=True)
for line in sys.stdin:
    for i in range(int(line)): os.getppid()
    os.write(1, b'got ' + line.encode())
print('over')";
    let mut echo = Echo::start(&["--home"], &format!("exec python3 -c \"{script}\""));
    let tracing = Tracing::begin(&echo.pid, &[]);
    tracing.signal(Signal::STOP);
    // More than any buffer between holds.
    echo.ask("30000");
    tracing.signal(Signal::CONT);
    let reader = std::thread::spawn(move || tracing.rest());
    echo.end();
    let text = reader.join().expect("it reads");
    assert!(text.contains(" events are lost ***\n"), "nothing is lost of {} lines", text.lines().count());
}

#[test]
fn what_cannot_be_traced_is_said() {
    let refused = |pid: &str, why: &str| {
        let run = Run::new(Command::new(MOSIX).args(["trace", "-p", pid]));
        assert!(!run.status.success() && run.stderr.contains(why), "{}", run.stderr);
    };
    refused("1", "1 is not a process that mosix-run manages here");
    let echo = Echo::start(&["--home"], ECHO);
    let tracing = Tracing::begin(&echo.pid, &[]);
    refused(&echo.pid, "is traced already");
    tracing.signal(Signal::HUP);
    tracing.rest();
    echo.end();
    let echo = Echo::start(&["--home", "--trace-syscalls", "-o", "/dev/null"], ECHO);
    refused(&echo.pid, "is traced already");
    echo.end();
}
