//! --trace-syscalls: every process to its end, and no change of behaviour. `trace_lines` compares the lines with strace.

mod support;

use std::fs;
use std::process::Command;
use support::{Dir, MOSIX_RUN, Run, same_as_native};

#[test]
fn every_process_is_followed_to_its_end() {
    let dir = Dir::new();
    let trace = dir.0.join("trace");
    let script = "trap 'echo usr' USR1; kill -USR1 $$; (exit 4); (kill -TERM $(sh -c 'echo $PPID')); true | cat; exit 5";
    let run = Run::new(
        Command::new(MOSIX_RUN).args(["--trace-syscalls", "-o"]).arg(&trace).args(["bash", "-c", script]),
    );
    assert_eq!((run.status.code(), run.stdout.as_str()), (Some(5), "usr\n"));
    let text = fs::read_to_string(&trace).unwrap();
    for line in [
        "+++ exited with 4 +++",
        "+++ killed by SIGTERM +++",
        "+++ exited with 5 +++",
        "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, ",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let ends = text.lines().filter(|line| line.contains("+++ ")).count();
    let begun: std::collections::HashSet<_> =
        text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ends, begun.len());
    // Every line that was interrupted by another goes on later, or its thread has ended.
    assert_eq!(text.matches("<unfinished ...>\n").count(), text.matches(" resumed>").count());
}

#[test]
fn tracing_changes_nothing() {
    for script in [
        "sh -c 'kill -TERM $$'; echo $?",
        "sh -c 'sleep 0.01 & wait; (exit 3) | cat; echo $?'",
        "python3 -c 'import threading, os; t = threading.Thread(target=lambda: os.execv(\"/bin/echo\", [\"echo\", \"x\"])); t.start(); threading.Event().wait()'",
        "perl -e 'print wait(), $!{ECHILD} ? \"none\" : \"some\"'",
        "timeout -s INT 0.05 sleep 10; echo $?",
    ] {
        same_as_native(&format!("{{ $TRACE {script}; }} 2>/dev/null"));
        same_as_native(&format!("{{ $AWAY {script}; }} 2>/dev/null"));
    }
}

#[test]
fn without_a_file_it_goes_to_standard_error() {
    let run = Run::new(Command::new(MOSIX_RUN).args([
        "--trace-syscalls",
        "sh",
        "-c",
        "exec 2>/dev/null; true & wait",
    ]));
    assert!(run.stderr.starts_with("execve("), "{}", run.stderr);
    assert!(run.stderr.lines().any(|line| line.starts_with("[pid ")), "{}", run.stderr);
    assert!(run.stderr.ends_with("+++ exited with 0 +++\n"), "{}", run.stderr);
}
