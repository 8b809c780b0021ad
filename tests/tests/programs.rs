//! Real programs, each the same as natively: output, errors, exit status, files left.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use system_tests::case::{Away, Case, End};
use system_tests::mode::{Mode, User};
use system_tests::pty::Terminal;
use system_tests::sandbox::Sandbox;
use system_tests::suite;

const MODES: [Mode; 6] =
    [Mode::Native, Mode::Home, Mode::Loopback, Mode::Shuttle, Mode::Foreign, Mode::Precopy];

type Test = fn(&Sandbox, Mode) -> Result<()>;

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<system_tests::suite::Trial>> {
    let mut trials = suite::trials(&cases(), &MODES)?;
    for mode in Mode::enabled()?.into_iter().filter(|mode| MODES.contains(mode)) {
        for user in User::all() {
            let interactive: [(&str, Test); 2] =
                [("interactive_bash", interactive_bash), ("interactive_vim", interactive_vim)];
            for (name, test) in interactive {
                trials.push(suite::trial(&format!("{mode}/{user}/{name}"), false, move || {
                    test(&Sandbox::new(*user)?, mode)
                }));
            }
        }
    }
    Ok(trials)
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::bash("coreutils", include_str!("scripts/coreutils.sh")).needs(&["awk"]).shows("coreutils done"),
        Case::bash("bash", include_str!("scripts/bash.sh")).shows("bash done"),
        Case::bash("bash_jobs", include_str!("scripts/jobs.sh")).shows("jobs done"),
        Case::bash("text_tools", include_str!("scripts/text.sh"))
            .needs(&["find", "grep", "sed", "awk", "perl"])
            .setup(text_files)
            .shows("text done"),
        Case::bash("archives", include_str!("scripts/archives.sh"))
            .needs(&["tar", "gzip", "xz"])
            .setup(text_files)
            .shows("archives done")
            .limit(Duration::from_secs(120)),
        Case::bash(
            "xz",
            "xz -9e -k -c random | sha256sum; xz -T2 -6 -c random | xz -dc | cmp - random && echo same",
        )
        .needs(&["xz"])
        .setup(|dir| Ok(fs::write(dir.join("random"), noise(6 << 20, 7))?))
        .shows("same")
        .away(Away::Computing),
        Case::bash("make", include_str!("scripts/make.sh"))
            .needs(&["gcc", "make"])
            .setup(c_project)
            .shows("60 modules, sum 1830")
            .limit(Duration::from_secs(180)),
        Case::bash("git", include_str!("scripts/git.sh"))
            .needs(&["git"])
            .setup(text_files)
            // The index holds inode numbers and times.
            .unlike(&["work/repo/.git/index", "work/clone/.git/index"])
            .shows("git done"),
        python("python_threads", include_str!("scripts/threads.py")),
        python("python_processes", include_str!("scripts/processes.py")).away(Away::MayStay),
        python("python_asyncio", include_str!("scripts/sockets.py")),
        python("python_files", include_str!("scripts/files.py")).away(Away::MayStay),
        python("python_compute", include_str!("scripts/compute.py")).away(Away::Computing),
        Case::bash("sqlite", include_str!("scripts/sqlite.sh")).needs(&["sqlite3"]).shows("sqlite done"),
        Case::bash("openssl", include_str!("scripts/openssl.sh"))
            .needs(&["openssl"])
            .setup(|dir| Ok(fs::write(dir.join("random"), noise(16 << 20, 3))?))
            .shows("openssl done"),
        // What it measures differs from run to run; that it ends well does not.
        Case::bash(
            "openssl_compute",
            "openssl speed -seconds 2 -bytes 1024 -evp sha3-512 >/dev/null 2>&1 && echo computed",
        )
        .needs(&["openssl"])
        .shows("computed")
        .away(Away::Computing),
        Case::bash("redis", include_str!("scripts/redis.sh"))
            .needs(&["redis-server", "redis-benchmark", "redis-cli"])
            .shows("redis done")
            .limit(Duration::from_secs(60)),
        Case::command("node", &["node", "main.js"])
            .needs(&["node"])
            .setup(|dir| Ok(fs::write(dir.join("main.js"), include_str!("scripts/main.js"))?))
            .shows("node done")
            .away(Away::MayStay),
        Case::bash("java", "javac Main.java && java -Xshare:auto Main")
            .needs(&["java", "javac"])
            .setup(java_source)
            .shows("java done")
            // hsperfdata is a shared file mapping.
            .away(Away::MayStay)
            .limit(Duration::from_secs(120)),
        Case::bash("java_compute", "javac -J-XX:-UsePerfData Compute.java && java -XX:-UsePerfData Compute")
            .needs(&["java", "javac"])
            .setup(|dir| Ok(fs::write(dir.join("Compute.java"), include_str!("scripts/Compute.java"))?))
            .shows("java done")
            .away(Away::Computing)
            .limit(Duration::from_secs(120)),
    ];
    cases.extend(ends());
    cases
}

fn python(name: &str, script: &'static str) -> Case {
    Case::command(name, &["/usr/bin/python3", "-E", "main.py"])
        .needs(&["python3"])
        .setup(move |dir| Ok(fs::write(dir.join("main.py"), script)?))
        .shows("python done")
}

/// Every way in which a program ends is the way in which the command ends.
fn ends() -> Vec<Case> {
    let guest = |how: &str, n: &str, end| {
        Case::guest_with(&format!("end_{how}{}{n}", if n.is_empty() { "" } else { "_" }), "exits", &[how, n])
            .end(end)
            .away(Away::Yes)
    };
    let mut cases: Vec<Case> =
        [0, 1, 2, 77, 125, 126, 127, 128, 255].map(|n| guest("code", &n.to_string(), End::Code(n))).to_vec();
    for signal in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 31, 34, 64] {
        cases.push(guest("signal", &signal.to_string(), End::Signal(signal)));
    }
    for (how, signal) in
        [("abort", 6), ("segv", 11), ("fpe", 8), ("ill", 4), ("trap", 5), ("privileged", 11), ("noexec", 11)]
    {
        cases.push(guest(how, "", End::Signal(signal)));
    }
    cases.push(guest("thread", "21", End::Code(21)));
    cases.push(guest("group", "22", End::Code(22)));
    cases.push(guest("raw", "23", End::Code(23)));
    cases.push(guest("last", "", End::Code(0)));
    cases.push(Case::command("end_true", &["true"]));
    cases.push(Case::command("end_false", &["false"]).end(End::Code(1)));
    cases.push(Case::bash("end_closed_pipe", "yes | head -1; echo ${PIPESTATUS[*]}").shows("141 0"));
    cases.push(Case::command("stdin", &["sha256sum"]).stdin(noise(300_000, 5)).shows("  -"));
    cases
}

/// The same bytes everywhere, incompressible.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    })
    .take(size)
    .collect()
}

/// Three hundred small files of words in twenty directories.
fn text_files(dir: &Path) -> Result<()> {
    const WORDS: [&str; 12] = [
        "home", "deputy", "body", "image", "freeze", "node", "guest", "stay", "move", "page", "call",
        "signal",
    ];
    for i in 0..300_usize {
        let sub = dir.join(format!("tree/d{:02}", i % 20));
        fs::create_dir_all(&sub)?;
        let line = |k: usize| format!("{} {} {}\n", WORDS[(i + k) % 12], WORDS[(i * k) % 12], i * 1000 + k);
        fs::write(sub.join(format!("file{i:03}.txt")), (0..40 + i % 50).map(line).collect::<String>())?;
    }
    Ok(())
}

/// Sixty modules, a header each, and a main that calls them all.
fn c_project(dir: &Path) -> Result<()> {
    fs::write(dir.join("Makefile"), include_str!("scripts/project.mk"))?;
    let (mut main, mut calls) = (String::from("#include <stdio.h>\n"), String::new());
    for i in 1..=60 {
        fs::write(dir.join(format!("m{i}.h")), format!("int f{i}(int);\n"))?;
        let body = format!(
            "#include \"m{i}.h\"\n#include <stdlib.h>\n#include <string.h>\nstatic int g(int x) {{ char b[64]; \
             memset(b, x, sizeof b); return b[x % 64] == (char)x ? {i} : 0; }}\nint f{i}(int x) {{ return g(x); }}\n"
        );
        fs::write(dir.join(format!("m{i}.c")), body)?;
        main += &format!("#include \"m{i}.h\"\n");
        calls += &format!("    sum += f{i}({i});\n");
    }
    main += &format!(
        "int main(void)\n{{\n    int sum = 0;\n{calls}    printf(\"60 modules, sum %d\\n\", sum);\n    return 0;\n}}\n"
    );
    fs::write(dir.join("main.c"), main)?;
    Ok(())
}

fn java_source(dir: &Path) -> Result<()> {
    Ok(fs::write(dir.join("Main.java"), include_str!("scripts/Main.java"))?)
}

fn on_terminal(sandbox: &Sandbox, mode: Mode, term: &str, argv: &[&str]) -> Result<Terminal> {
    let mut words = sandbox.user().launcher();
    words.extend(suite::prefix(sandbox, mode)?);
    words.extend(argv.iter().map(|s| (*s).to_owned()));
    Terminal::start(
        sandbox,
        words,
        &[("PS1", "$ "), ("HISTFILE", "/dev/null"), ("INPUTRC", "/dev/null"), ("TERM", term)],
    )
}

/// Prompts, editing, jobs, Ctrl-C, Ctrl-Z, Ctrl-D, a resize: the shell's own answers say whether it is all there.
fn interactive_bash(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let mut t = on_terminal(sandbox, mode, "dumb", &["bash", "--norc", "--noprofile", "-i"])?;
    let away = suite::while_shuttled(sandbox, mode)?;
    t.expect("$ ")?;
    t.send("echo wrod\x17word $((6*7))\r")?;
    t.expect("word 42\r\n")?;
    t.expect("$ ")?;
    t.send("tty | sed 's/[0-9]*$/N/'; test -t 0 && echo is a tty; stty size\r")?;
    t.expect("/dev/pts/N\r\nis a tty\r\n24 80\r\n")?;
    // What it prints, it prints in the foreground; before that Ctrl-Z would be the shell's.
    t.send("sh -c 'echo asleep; exec sleep 1000'\r")?;
    t.expect("\nasleep\r\n")?;
    t.send("\x1a")?;
    t.expect("Stopped")?;
    t.expect("$ ")?;
    t.send("jobs -s; bg; jobs -r; kill %1; wait $!; echo state $?\r")?;
    t.expect("Stopped")?;
    t.expect("Running")?;
    // Whether bash also writes "Terminated" depends on whether the job has ended before it waits.
    t.expect("state 143\r\n")?;
    t.expect("$ ")?;
    t.send("sh -c 'echo reading; exec cat'\r")?;
    t.expect("\nreading\r\n")?;
    t.send("through\r")?;
    t.expect("through\r\nthrough\r\n")?;
    t.send("\x03")?;
    t.expect("^C")?;
    t.expect("$ ")?;
    t.send("echo status $?\r")?;
    t.expect("status 130\r\n")?;
    t.send("trap 'echo size $(stty size)' WINCH; echo armed\r")?;
    t.expect("\narmed\r\n")?;
    t.expect("$ ")?;
    t.resize(100, 30)?;
    t.send("true\r")?;
    t.expect("size 30 100")?;
    t.expect("$ ")?;
    t.send("sh -c 'echo again; exec sleep 1000'\r")?;
    t.expect("\nagain\r\n")?;
    t.send("\x1c")?;
    t.expect("Quit")?;
    t.send("exit 7\r")?;
    let status = t.finish()?;
    anyhow::ensure!(status.code() == Some(7), "{status:?}");
    suite::after_terminal(sandbox, mode, away)
}

/// Opens, edits, searches, substitutes, suspends nothing, writes.
fn interactive_vim(sandbox: &Sandbox, mode: Mode) -> Result<()> {
    let vim = system_tests::programs::need("vim")?;
    fs::write(sandbox.path("work/text"), "one\ntwo\nthree\n")?;
    sandbox.own_work()?;
    let mut t =
        on_terminal(sandbox, mode, "xterm", &[&vim.to_string_lossy(), "-u", "NONE", "-N", "-n", "text"])?;
    let away = suite::while_shuttled(sandbox, mode)?;
    t.expect("three")?;
    t.send("Gofour\x1b")?;
    t.expect("four")?;
    t.send(":%s/o/0/g\r")?;
    t.expect("3 substitutions")?;
    t.resize(60, 20)?;
    t.send("ggdd:w\r")?;
    t.expect("written")?;
    t.send(":r !echo from shell\r")?;
    t.expect("from shell")?;
    t.send(":wq\r")?;
    let status = t.finish()?;
    anyhow::ensure!(status.code() == Some(0), "{status:?}");
    let text = fs::read_to_string(sandbox.path("work/text"))?;
    anyhow::ensure!(text == "tw0\nfrom shell\nthree\nf0ur\n", "vim left {text:?}");
    suite::after_terminal(sandbox, mode, away)
}
