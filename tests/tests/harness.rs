//! The harness itself: every way in which a run can be wrong is noticed, and what is left of it is ended.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use system_tests::case::{Case, End};
use system_tests::mode::{Mode, User};
use system_tests::run::Run;
use system_tests::sandbox::Sandbox;
use system_tests::{binaries, processes, suite};

fn error_of(case: Case) -> String {
    match suite::check(&case, Mode::Native, User::Me) {
        Ok(()) => panic!("{} passed", case.name),
        Err(e) => format!("{e:#}"),
    }
}

#[test]
fn a_good_case_passes() {
    let case = Case::bash("good", "cat; echo to stderr >&2; echo x > file; exit 3")
        .stdin("through\n")
        .end(End::Code(3));
    suite::check(&case.shows("through"), Mode::Native, User::Me).unwrap();
}

#[test]
fn differences_are_noticed() {
    for (script, sign) in [
        ("echo $$", "standard output"),
        ("echo $$ >&2", "standard error"),
        ("echo $$ > file", "work/file"),
        ("touch $$", "too much"),
        ("touch $TMPDIR/$$", "tmp/"),
        ("echo > a; [ -e ../home/seen ] || mkdir ../home/seen; echo > ../home/seen/$$", "home/seen/"),
    ] {
        let error = error_of(Case::bash(script, script));
        assert!(error.contains("two native runs differ") && error.contains(sign), "{script}: {error}");
    }
}

#[test]
fn wrong_ends_are_noticed() {
    assert!(error_of(Case::bash("code", "exit 1")).contains("exit status 1"));
    assert!(error_of(Case::bash("signal", "kill -9 $$")).contains("signal 9"));
    assert!(
        error_of(Case::bash("not by that signal", "kill -15 $$").end(End::Signal(9))).contains("signal 15")
    );
    assert!(error_of(Case::bash("says so", "echo FAIL here")).contains("FAIL here"));
    assert!(error_of(Case::bash("silent", "true").shows("done")).contains("no \"done\""));
    assert!(error_of(Case::command("missing", &["no-such-program"])).contains("no-such-program"));
    assert!(error_of(Case::guest("no_such_guest")).contains("no_such_guest.c"));
}

#[test]
fn a_broken_guest_fails() {
    // The guest as it is passes; with an expectation that does not hold it must not.
    suite::check(&Case::guest("dispositions"), Mode::Native, User::Me).unwrap();
    let error = error_of(Case::guest_with("broken", "dispositions", &["12", "1", "0", "0"]));
    assert!(error.contains("FAIL dispositions.c:") && error.contains("exit status 1"), "{error}");
}

#[test]
fn a_hang_is_shown_and_ended() {
    let marker = "4242.25";
    let script = format!("trap '' TERM INT HUP; setsid sleep {marker} & sleep {marker}");
    let start = Instant::now();
    let error = error_of(Case::bash("hang", &script).limit(Duration::from_secs(1)));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(error.contains("not ended in time") && error.contains(marker), "{error}");
    assert!(error.contains("wchan:") && error.contains("syscall:") && error.contains("State:"), "{error}");
    assert!(!running(marker));
}

#[test]
fn what_is_left_is_shown_and_ended() {
    let marker = "4242.50";
    let script = format!("setsid sleep {marker} >/dev/null 2>&1 </dev/null & echo parent ends");
    let error = error_of(Case::bash("left", &script));
    assert!(error.contains("processes are left") && error.contains(marker), "{error}");
    assert!(!running(marker));

    let marker = "4242.75";
    let error = error_of(Case::bash("open", &format!("setsid sleep {marker} & echo parent ends")));
    assert!(error.contains("still held open") && error.contains(marker), "{error}");
    assert!(!running(marker));
}

#[test]
fn a_storm_is_ended() {
    // Processes that fork as fast as they die.
    let sandbox = Sandbox::new(User::Me).unwrap();
    let storm = "echo up; while :; do (sleep 4242.10 & sleep 0.01) & sleep 0.001; done";
    let argv = ["bash", "-c", storm].map(String::from).to_vec();
    let mut run = Run::start(&sandbox, argv, &[]).unwrap();
    run.wait_for("up", Duration::from_secs(10)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !running("4242.10") {
        assert!(Instant::now() < deadline, "the storm never rose");
    }
    drop(run);
    assert!(!running("4242.10"));
}

#[test]
fn a_keeper_without_a_harness_ends_its_run() {
    let sandbox = Sandbox::new(User::Me).unwrap();
    let socket = sandbox.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut keeper = std::process::Command::new(binaries::find("run-keeper").unwrap())
        .arg(&socket)
        .args(["--", "bash", "-c", "setsid sleep 4242.60 & sleep 4242.60"])
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut lines = std::io::BufReader::new(stream);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    assert!(line.starts_with("started "), "{line}");
    drop(lines);
    assert!(keeper.wait().unwrap().success());
    assert!(!running("4242.60"));
}

#[test]
fn every_file_is_seen_with_its_mode() {
    let sandbox = Sandbox::new(User::Me).unwrap();
    let argv = ["bash", "-c", "umask 0; mkfifo -m 640 f; echo x > x; ln -s x l"].map(String::from).to_vec();
    let outcome = Run::start(&sandbox, argv, &[]).unwrap().finish(&sandbox, Duration::from_secs(20)).unwrap();
    let tree = format!("{:?}", outcome.tree);
    for sign in ["fifo, mode 640", "link to x", "file of 2 bytes"] {
        assert!(tree.contains(sign), "{tree}");
    }
    fs::set_permissions(sandbox.path("work/x"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(outcome.tree.differences(&sandbox.tree().unwrap()).len(), 1);
}

/// Whether a process of ours with this word among its arguments is there.
fn running(marker: &str) -> bool {
    processes::dump(&processes::below(1)).contains(marker)
}
