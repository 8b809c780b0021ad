//! mosix-run --home against native: whatever a program, its parent and its terminal see must be the same.

mod support;

use support::{Run, as_nobody, mosix_run, same_as_native, shell};

#[test]
fn inherited_signal_state_passes_unchanged() {
    let show = "grep -E '^(SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt):' /proc/self/status";
    for before in ["", "trap '' INT;", "trap '' PIPE;", "trap '' CHLD HUP TTOU TTIN;"] {
        same_as_native(&format!("{before} exec $RUN {show}"));
    }
    for options in [
        "--default-signal=PIPE",
        "--ignore-signal=PIPE",
        "--block-signal=CHLD --ignore-signal=PIPE",
        "--block-signal=INT --block-signal=USR1 --ignore-signal=CHLD",
    ] {
        same_as_native(&format!("exec env {options} $RUN {show}"));
    }
    // A signal that is pending and blocked stays so across both execs.
    same_as_native(&format!(
        "exec env --block-signal=USR1 --block-signal=CHLD sh -c \"kill -USR1 \\$\\$; exec $RUN {show}\""
    ));
}

#[test]
fn inherited_process_state_passes_unchanged() {
    same_as_native(
        "cd /usr/bin; umask 027; $RUN sh -c 'pwd; umask; ulimit -a; id; ls /proc/self/fd; ps -o ni= $$'",
    );
    same_as_native("ulimit -n 50; ulimit -f 100; ulimit -v 4000000; ulimit -t 9; $RUN sh -c 'ulimit -a'");
    same_as_native("exec 5</dev/null 7</etc/passwd; $RUN ls /proc/self/fd");
    same_as_native("$RUN sh -c 'echo $0 \"$@\"' '' 'a b' -- -x --home");
    same_as_native("$RUN env | grep -v ^_=");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        same_as_native(&format!("$RUN sh -c 'ls /proc/$$/fd >&9' 9>&1 {closed}"));
    }
    // The shell's child is the command: same pid, parent, group and session.
    same_as_native(
        "$RUN sh -c 'echo $$ $PPID >$DIR/out' & wait; [ \"$(cat $DIR/out)\" = \"$! $$\" ]; echo $?",
    );
    same_as_native("$RUN sh -c '[ $(ps -o ppid= -p $$) = '$$' ]'; echo $?");
    same_as_native("$RUN sh -c '[ $(ps -o pgid= -p $$) = '$(ps -o pgid= -p $$)' ]'; echo $?");
}

#[test]
fn the_end_is_the_programs_own() {
    for script in [
        "true",
        "exit 3",
        "exit 255",
        "kill -TERM $$",
        "kill -KILL $$",
        "kill -SEGV $$",
        "ulimit -c 0; kill -ABRT $$",
        "sleep 0.01 & wait; exit 7",
    ] {
        // bash says which of its children was killed, with its pid.
        same_as_native(&format!("{{ $RUN sh -c '{script}'; echo $?; }} 2>/dev/null"));
    }
}

#[test]
fn our_own_failures_have_statuses_of_their_own() {
    let failing = |arguments: &[&str]| {
        let run = Run::new(mosix_run().args(arguments));
        assert_eq!(run.stderr.lines().count().min(1), 1, "one line at least for {arguments:?}");
        (run.status.code(), run.stderr)
    };
    assert_eq!(failing(&["--home", "/nonexistent/x"]).0, Some(127));
    assert_eq!(
        failing(&["no-such-command-anywhere"]),
        (Some(127), "mosix-run: no-such-command-anywhere: command not found\n".into())
    );
    assert_eq!(failing(&["/etc/passwd"]).0, Some(126));
    assert_eq!(failing(&["/tmp"]).0, Some(126));
    assert_eq!(failing(&[]).0, Some(125));
    assert_eq!(failing(&["--no-such-option", "true"]).0, Some(125));
    assert_eq!(failing(&["--stats", "/nonexistent/x", "true"]).0, Some(125));
    // Under another tracer there is nobody to seize it.
    let traced = Run::new(
        std::process::Command::new("strace")
            .args(["-f", "-o", "/dev/null"])
            .arg(support::MOSIX_RUN)
            .arg("true"),
    );
    assert_eq!(traced.status.code(), Some(125), "{}", traced.stderr);
    assert!(traced.stderr.contains("cannot trace"), "{}", traced.stderr);
}

#[test]
fn a_command_has_no_child_that_it_does_not_know() {
    let wait = r#"perl -e 'print wait(), " ", $!{ECHILD} ? "none" : "some", "\n"'"#;
    same_as_native(&format!("$RUN {wait}"));
    same_as_native("$RUN sh -c 'cat /proc/$$/task/$$/children >$DIR/c; wc -w <$DIR/c'");
    // pid 1 and subreapers inherit orphans.
    let namespace = "unshare --user --map-root-user --pid --fork --mount-proc";
    same_as_native(&format!("{namespace} $RUN {wait}; echo $?"));
    same_as_native(&format!("{namespace} $RUN sh -c 'echo $$; (true & true) | cat; exit 5'; echo $?"));
    let subreaper = r#"perl -e 'syscall(157, 36, 1, 0, 0, 0) == 0 or die; exec @ARGV'"#;
    same_as_native(&format!("{subreaper} $RUN {wait}"));
    // Children's usage is the command's children's.
    same_as_native(r#"$RUN perl -e 'my @t = times; print "$t[2] $t[3]\n"'"#);
}

#[test]
fn nothing_of_ours_keeps_a_pipe_open() {
    // A daemon that has left standard output keeps the supervisor alive; the pipe ends all the same.
    let pid =
        shell("$RUN --stats /dev/null sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 & echo $!' | cat").stdout;
    let pid = pid.trim();
    let tracer = support::tracer_of(pid);
    assert_ne!(tracer, 0, "the daemon is managed");
    assert!(shell(&format!("kill {pid}")).status.success());
    support::await_end(tracer);
}

#[test]
fn what_is_whole_at_home_survives_its_supervisor() {
    for signal in ["KILL", "TERM"] {
        let script = format!(
            r#"mkfifo $DIR/go; $RUN sh -c 'read line <$DIR/go; sleep 0; echo on $line' & pid=$!
            while ! tracer=$(awk '/TracerPid/ && $2 {{ print $2; found = 1 }} END {{ exit !found }}' /proc/$pid/status); do :; done
            kill -{signal} $tracer
            while grep -q 'TracerPid:.*[1-9]' /proc/$pid/status; do :; done
            echo and on >$DIR/go; wait $pid; echo $?"#
        );
        assert_eq!(shell(&script).stdout, "on and on\n0\n");
    }
}

#[test]
fn reports_are_complete_when_the_shell_goes_on() {
    let run = shell(
        r#"i=0; while [ $i -lt 200 ]; do
            $RUN --stats $DIR/stats --trace-syscalls -o $DIR/trace sh -c 'kill -$0 $$' $((i % 2 * 9)) 2>/dev/null
            tail -c 2 $DIR/stats | grep -q '}' || echo stats $i
            tail -n 1 $DIR/trace | grep -q '^[0-9]* *+++ .* +++$' || echo trace $i
            rm $DIR/stats $DIR/trace; i=$((i + 1)); done"#,
    );
    assert_eq!(run.stdout, "");
}

#[test]
fn stats_count_cpu_time() {
    let run = shell(
        "$RUN --stats $DIR/stats sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done & wait'; cat $DIR/stats",
    );
    let stats: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(stats["cpu_seconds"]["home"].as_f64().unwrap() > 0.02, "{stats}");
    assert_eq!(stats["cpu_seconds"]["remote"], 0.0);
    assert_eq!(stats["calls"]["forwarded"], 0);
    assert_eq!(stats["moves"].as_array().unwrap().len(), 0);
}

#[test]
fn storms_of_processes_and_threads() {
    same_as_native(
        "$RUN sh -c 'i=0; while [ $i -lt 300 ]; do (exit $((i % 7))) & i=$((i + 1)); done; wait; echo done'",
    );
    let threads = "import threading, os, sys, subprocess
def run(n):
    for i in range(20):
        assert subprocess.call([\"sh\", \"-c\", \"exit %d\" % n]) == n
ts = [threading.Thread(target=run, args=(n,)) for n in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
threading.Thread(target=lambda: os.execv(\"/bin/echo\", [\"echo\", \"from a thread\"])).start()
threading.Event().wait()";
    same_as_native(&format!("$RUN python3 -c '{threads}'"));
}

#[test]
fn a_killed_tree_leaves_nothing() {
    // The namespace's pid 1 is killed, and with it all processes, the supervisor among them.
    let script = r#"unshare --user --map-root-user --pid --fork --mount-proc --kill-child $RUN sh -c '
            (while :; do (true); done) & (while :; do (true); done) & echo >$DIR/begun; wait' & pid=$!
        until [ -s $DIR/begun ]; do :; done; kill -KILL $pid; wait $pid; echo $?"#;
    assert_eq!(shell(script).stdout, "137\n");
    // In a tree that is killed from outside nobody is left stopped.
    let script = r#"setsid $RUN sh -c 'echo $$ >$DIR/begun; (while :; do (true); done) & while :; do (true); done' & pid=$!
        until [ -s $DIR/begun ]; do :; done; kill -KILL -$(cat $DIR/begun); wait $pid; echo $?
        while pgrep -g $pid >/dev/null; do :; done"#;
    assert_eq!(shell(script).stdout, "137\n");
}

#[test]
fn as_an_ordinary_user() {
    as_nobody("$RUN id -u; $RUN sh -c 'sleep 0 & wait; exit 4'; echo $?; $RUN nosuch 2>/dev/null; echo $?");
    as_nobody(r#"$RUN perl -e 'print wait(), " ", $!{ECHILD} ? "none" : "some", "\n"'"#);
    as_nobody("trap '' INT; exec $RUN grep -E '^(SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt):' /proc/self/status");
}

/// A tracer without privilege takes a set-user-id program's away; so it runs without us, and what comes after it is
/// managed again.
#[test]
fn set_user_id_programs_keep_their_privilege() {
    as_nobody(
        "$RUN passwd -S; echo $?; $RUN sh -c 'passwd -S; passwd -S | cat; exec passwd -S extra'; echo $?",
    );
    if rustix::process::geteuid().is_root() {
        let dir = support::Dir::new();
        let id = dir.0.join("id");
        std::fs::copy("/usr/bin/id", &id).unwrap();
        std::fs::set_permissions(&id, std::os::unix::fs::PermissionsExt::from_mode(0o6755)).unwrap();
        let id = id.display();
        as_nobody(&format!("$RUN {id} -u; $RUN sh -c '{id} -gn; {id} -ur; exec {id} -u'; $TRACE {id} -u"));
        // From a shell that is away.
        as_nobody(&format!("$LOOPBACK sh -c '{id} -u; {id} -ur; (exit 3); exec {id} -u'"));
    }
}

#[test]
fn programs_that_trace_and_a_mosix_run_inside_work() {
    same_as_native("$RUN strace -f -e trace=none sh -c 'true; exit 3' 2>/dev/null; echo $?");
    same_as_native(
        "$RUN sh -c 'strace -e trace=exit_group true 2>&1 | grep -c exit_group; (exit 2) | cat; echo on'",
    );
    same_as_native(
        "$LOOPBACK sh -c 'strace -e trace=exit_group true 2>&1 | grep -c exit_group; (exit 2); echo $?'",
    );
    same_as_native("$RUN gdb -batch -nx -ex run -ex 'print $_exitcode' true 2>/dev/null | tail -n 1");
    same_as_native(
        "$RUN sh -c '$RUN --home sh -c \"exit 4\"; echo $?; $RUN nosuch 2>/dev/null; echo $?'"
            .replace("--home ", "")
            .as_str(),
    );
}

/// Ten processes with ten threads each that fork and execute while others are killed.
#[test]
fn nobody_is_left_stopped_when_makers_are_killed() {
    let run = shell(
        r#"for i in 1 2 3; do
            $RUN setsid --wait sh -c 'echo $$ >$DIR/pid; for j in 1 2 3 4 5 6; do (while :; do (true) & done) & done; wait' 2>/dev/null &
            until [ -s $DIR/pid ]; do :; done
            group=$(cat $DIR/pid); rm $DIR/pid
            while pkill -KILL -g $group; do :; done
            wait
        done 2>/dev/null; echo over"#,
    );
    assert_eq!(run.stdout, "over\n");
}

#[test]
fn ignored_signals_change_no_call() {
    // A write that the kernel cuts short with an ignored SIGPIPE of its own is over.
    same_as_native(
        "$RUN python3 -c 'import os, sys; sys.stderr.write(str(os.write(1, bytes(1000000))))' | head -c 1 >/dev/null",
    );
    // A resize storm shortens no write and ends no wait (SIGWINCH is ignored by default).
    let writer = "import os, signal, sys, threading, select, time
me = os.getpid()
over = threading.Event()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
def storm():
    while not over.wait(0.002): signal.pthread_kill(threading.main_thread().ident, signal.SIGWINCH)
threading.Thread(target=storm, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGWINCH])
wrote = [os.write(1, bytes(1 << 20)) for i in range(20)]
e = select.epoll(); start = time.monotonic(); e.poll(0.3); waited = time.monotonic() - start
over.set()
sys.stderr.write(str(set(wrote)) + str(0.299 <= waited < 0.6))";
    same_as_native(&format!(
        "$RUN python3 -c '{writer}' | (while head -c 65536 | grep -q .; do :; done; cat >/dev/null)"
    ));
}
