//! Options of --trace-syscalls, each beside strace's own where strace has it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use support::{Dir, MOSIX_RUN, Run, shell};

/// A command with calls of every kind, the same ones each time.
const COMMAND: &str = "sh -c 'cat /etc/passwd /nonexistent | wc -l; cd /; ls -d .; exit 3'";

/// Lines of a traced command's first process, by strace and by mosix-run with the same options.
fn both(options: &str, mode: &str, command: &str) -> (Vec<String>, Vec<String>) {
    let dir = Dir::new();
    let (ours, theirs) = (dir.0.join("ours"), dir.0.join("theirs"));
    shell(&format!("{MOSIX_RUN} {mode} --trace-syscalls {options} -o {} {command}", ours.display()));
    shell(&format!("strace -f {options} -o {} {command}", theirs.display()));
    let lines = |path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    (lines(&ours), lines(&theirs))
}

/// What a line is of: the call's name, or what stands in its place.
fn subject(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    if line.starts_with("<...") || line.starts_with("+++") || line.starts_with("---") {
        return None;
    }
    // strace leaves out the first half of some lines that it has to cut.
    line.split_once('(')
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

fn counted(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    // What a signal has interrupted is there twice.
    for name in lines.iter().filter(|line| !line.contains(" = ? ERESTART")).filter_map(|line| subject(line)) {
        *counts.entry(name).or_default() += 1;
    }
    // One child more or less may be there when the shell looks.
    counts.remove("wait4");
    counts.remove("rt_sigreturn");
    counts
}

#[test]
fn the_same_calls_are_chosen() {
    for expression in [
        "trace=openat,read",
        "trace=%file",
        "%desc",
        "trace=%process,%creds",
        "trace=%memory",
        "trace=!%memory,%file,read",
        "trace=/^(open|.*stat)",
        "trace=?nosuch,getpid",
        "openat",
        "trace=none",
        "status=failed",
        "status=!successful",
        "status=successful",
    ] {
        let (ours, theirs) = both(&format!("-e '{expression}'"), "--home", COMMAND);
        assert_eq!(counted(&ours), counted(&theirs), "{expression}");
    }
}

#[test]
fn the_same_calls_are_chosen_away() {
    for expression in ["trace=openat,mprotect", "%file", "trace=!openat", "status=failed", "trace=none"] {
        let (ours, theirs) = both(&format!("-e '{expression}'"), "--loopback", COMMAND);
        assert_eq!(counted(&ours), counted(&theirs), "{expression}");
    }
}

/// Makes every call, each with nonsense, under a filter that refuses them all.
const EVERY_CALL: &str = r#"
my @code = ([0x20,0,0,0],[0x15,0,1,231],[0x06,0,0,0x7fff0000],[0x06,0,0,0x00050026]);
my $code = join '', map { pack 'SCCL', @$_ } @code;
my $program = pack 'S x6 P', scalar @code, $code;
syscall(157, 38, 1, 0, 0, 0) == 0 or die;
syscall(157, 22, 2, $program) == 0 or die;
my $n = -1;
for my $nr (0..334, 424..450) { $nr == 231 or syscall($nr, $n, $n, $n, $n, $n, $n) }
syscall(231, 0);
"#;

#[test]
fn sets_are_straces() {
    let dir = Dir::new();
    let (script, out) = (dir.0.join("every-call"), dir.0.join("out"));
    fs::write(&script, EVERY_CALL).unwrap();
    for name in [
        "clock", "creds", "desc", "file", "fstat", "fstatfs", "ipc", "lstat", "memory", "net", "network",
        "process", "pure", "signal", "stat", "%stat", "statfs", "%statfs",
    ] {
        let run = Run::new(
            Command::new("strace")
                .args(["-qqq", "-e", "raw=all", "-e", "signal=none", "-e", &format!("trace=%{name}"), "-o"])
                .arg(&out)
                .arg("perl")
                .arg(&script),
        );
        assert!(run.status.success(), "{name}: {}", run.stderr);
        let text = fs::read_to_string(&out).unwrap();
        let mut theirs: Vec<&str> = text.lines().filter_map(subject).collect();
        theirs.sort_unstable();
        theirs.dedup();
        // strace 6.1 knows the calls up to this one.
        let newest = 450;
        let set = syscall_table::sets::set(name).unwrap();
        let mut ours: Vec<&str> =
            set.calls().filter(|call| call.nr <= newest).map(|call| call.name).collect();
        ours.sort_unstable();
        // Those that the kernel refuses before anybody sees them by name.
        ours.retain(|name| !matches!(*name, "uretprobe" | "uprobe"));
        assert_eq!(ours, theirs, "%{name}");
    }
}

#[test]
fn a_table_counts_what_straces_counts() {
    let rows = |lines: &[String]| -> BTreeMap<String, (u64, u64)> {
        let mut rows = BTreeMap::new();
        let dashes = |line: &&String| line.starts_with("------");
        for line in lines.iter().skip_while(|line| !dashes(line)).skip(1).take_while(|line| !dashes(line)) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let name = fields.last().unwrap().to_string();
            let errors = if line[41..50].trim().is_empty() { "0" } else { line[41..50].trim() };
            rows.insert(name, (fields[3].parse().unwrap(), errors.parse().unwrap()));
        }
        rows
    };
    for mode in ["--home", "--loopback"] {
        let (ours, theirs) = both("-c", mode, "ls -l /etc /nonexistent");
        assert_eq!(rows(&ours), rows(&theirs), "{mode}: {ours:#?}");
        assert!(ours[0].starts_with("% time     seconds  usecs/call     calls    errors "));
        assert!(ours.last().unwrap().ends_with(" total"));
    }
    // With the lines before it.
    let (ours, theirs) = both("-C -e trace=openat", "--home", "ls /");
    assert_eq!(rows(&ours), rows(&theirs));
    assert_eq!(counted(&ours).get("openat"), counted(&theirs).get("openat"));
}

#[test]
fn a_table_says_what_went_over_the_wire() {
    let dir = Dir::new();
    let out = dir.0.join("out");
    shell(&format!(
        "{MOSIX_RUN} --loopback --trace-syscalls -c -S name -o {} cat /etc/passwd",
        out.display()
    ));
    let text = fs::read_to_string(&out).unwrap();
    let row = |name: &str| -> Vec<String> {
        let line =
            text.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap_or_else(|| panic!("{text}"));
        line.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let (write, brk) = (row("write"), row("brk"));
    let passwd = fs::metadata("/etc/passwd").unwrap().len();
    // …, wire s, forwarded, bytes, name
    let [wire, forwarded, bytes] = [4, 3, 2].map(|from| write[write.len() - from].parse::<f64>().unwrap());
    assert!(wire > 0.0 && forwarded == 1.0 && bytes > passwd as f64, "{write:?}");
    assert_eq!(brk[brk.len() - 3..brk.len() - 1], ["0", "0"], "{brk:?}");
    let names: Vec<&str> = text.lines().skip(2).filter_map(|line| line.rsplit(' ').next()).collect();
    let names: Vec<&str> = names.into_iter().take_while(|name| !name.starts_with('-')).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn strings_are_as_long_as_asked_for() {
    let (ours, theirs) = both("-s 5 -a 20 -e trace=read,write", "--home", "sh -c 'echo a longer line'");
    let is_write = |line: &&String| line.contains("write(");
    let ours = ours.iter().find(is_write).unwrap();
    let theirs = theirs.iter().find(is_write).unwrap();
    let text = |line: &str| line.split_once(' ').unwrap().1.trim_start().to_owned();
    assert_eq!(text(ours).strip_suffix("\thome").unwrap(), text(theirs));
    assert!(ours.contains("write(1, \"a lon\"..., 14) = 14"), "{ours}");
}

/// Digits as `0`, runs of them as one.
fn shape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('0') => {}
            '0'..='9' => out.push('0'),
            c => out.push(c),
        }
    }
    out
}

#[test]
fn times_look_like_straces() {
    for (options, end) in [
        ("-t", ""),
        ("-tt", ""),
        ("-ttt", ""),
        ("-r", ""),
        ("-r -t", ""),
        ("-T", " <0.0>"),
        ("-n", ""),
        ("-n -tt -r -T", " <0.0>"),
    ] {
        let (ours, theirs) = both(&format!("{options} -e trace=close"), "--home", "true");
        let first = |lines: &[String]| lines.iter().find(|line| line.contains("close(3)")).cloned().unwrap();
        let (ours, theirs) = (first(&ours), first(&theirs));
        let cut = ours.strip_suffix("\thome").unwrap_or_else(|| panic!("{ours}"));
        assert_eq!(shape(cut), shape(&theirs), "{options}");
        assert!(shape(cut).ends_with(&format!(" = 0{end}")), "{cut}");
    }
}

#[test]
fn the_wire_has_its_part_of_a_calls_time() {
    let (ours, _) = both("-T -e trace=openat,getpid,nanosleep,clock_nanosleep", "--loopback", "sleep 0.02");
    let line = ours.iter().rfind(|line| line.contains("nanosleep(")).unwrap();
    let (call, place) = line.split_once('\t').unwrap();
    let seconds =
        |text: &str| text.trim_end_matches('>').rsplit(['<', ' ']).next().unwrap().parse::<f64>().unwrap();
    let (took, wire) = (seconds(call), seconds(place));
    assert!(place.starts_with("forwarded <wire 0."), "{line}");
    assert!(took >= 0.02 && wire > 0.0 && wire < took - 0.019, "{line}");
}

#[test]
fn each_process_has_its_file() {
    let dir = Dir::new();
    for (who, command) in [
        ("ours", format!("{MOSIX_RUN} --home --trace-syscalls -ff -o {}/ours {COMMAND}", dir.0.display())),
        (
            "away",
            format!("{MOSIX_RUN} --loopback --trace-syscalls -ff -o {}/away {COMMAND}", dir.0.display()),
        ),
        ("theirs", format!("strace -ff -o {}/theirs {COMMAND}", dir.0.display())),
    ] {
        let run = shell(&command);
        assert_eq!(run.status.code(), Some(3), "{who}: {}", run.stderr);
    }
    let files = |who: &str| -> Vec<String> {
        let names = fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path());
        let names = names.filter(|path| path.file_stem().is_some_and(|stem| stem == who));
        names.map(|path| fs::read_to_string(path).unwrap()).collect()
    };
    assert_eq!(files("ours").len(), files("theirs").len());
    assert_eq!(files("away").len(), files("theirs").len());
    for text in files("ours").into_iter().chain(files("away")) {
        assert!(text.lines().last().unwrap().starts_with("+++ exited with "), "{text}");
        assert!(!text.contains("unfinished") && !text.contains("resumed"), "{text}");
    }
}

#[test]
fn descriptors_have_straces_paths() {
    let dir = Dir::new();
    let out = dir.0.join("out");
    let script =
        format!("exec 7>{0}; rm {0}; echo x >&7; read line </etc/passwd; cd /; true <&-", out.display());
    for mode in ["--home", "--loopback"] {
        let (ours, theirs) =
            both("-y -qqq -e trace=openat,read,write,close,fcntl", mode, &format!("sh -c '{script}'"));
        let text = |line: &String| {
            let line = line.split_once(' ').unwrap().1.trim_start();
            // Each run has its own pipes, and what fills a line up after their numbers.
            let line = line.split('\t').next().unwrap().replace("  ", "");
            if line.contains("pipe:[") || line.starts_with("---") { shape(&line) } else { line }
        };
        let same: Vec<String> = theirs.iter().map(text).collect();
        assert_eq!(ours.iter().map(text).collect::<Vec<_>>(), same, "{mode}");
        assert!(same.iter().any(|line| line.contains("</etc/passwd>")), "{same:#?}");
    }
}

#[test]
fn a_call_that_is_made_at_home_says_why() {
    let script = "import mmap; mmap.mmap(-1, 4096)";
    let (ours, _) = both("-e mmap", "--loopback", &format!("python3 -c '{script}'"));
    let line = ours.iter().find(|line| line.contains("MAP_SHARED|MAP_ANONYMOUS")).unwrap();
    assert!(line.ends_with("\tgone home: shared anonymous mapping"), "{line}");
    assert!(ours.iter().any(|line| line.contains("+++ moved loopback -> home (shared anonymous mapping), ")));
}

#[test]
fn signals_can_be_left_out() {
    for (options, usr1, chld) in [
        ("-e signal=!chld", true, false),
        ("-e signal=USR1,SIGTERM", true, false),
        ("-e signal=17", false, true),
        ("-e signal=none", false, false),
    ] {
        for mode in ["--home", "--loopback"] {
            let command = "sh -c 'trap : USR1; kill -USR1 $$; (exit 1); exit 0'";
            let (ours, _) = both(&format!("-e trace=none {options}"), mode, command);
            let has = |name: &str| ours.iter().any(|line| line.contains(&format!("--- {name} ")));
            assert_eq!((has("SIGUSR1"), has("SIGCHLD")), (usr1, chld), "{options} {mode}: {ours:#?}");
        }
    }
}

#[test]
fn it_can_be_quiet() {
    for (options, ends) in [("-q", true), ("-qq", false), ("-e quiet=exit", false), ("-e quiet=attach", true)]
    {
        let (ours, theirs) = both(&format!("{options} -e trace=getpid"), "--home", "true");
        let has = |lines: &[String]| lines.iter().any(|line| line.contains("+++ exited"));
        assert_eq!((has(&ours), has(&theirs)), (ends, ends), "{options}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    for (options, message) in [
        ("--trace-syscalls -e trace=nosuch", "invalid system call 'nosuch'"),
        ("--trace-syscalls -e status=x", "invalid status 'x'"),
        ("--trace-syscalls -e signal=x", "invalid signal 'x'"),
        ("--trace-syscalls -e inject=read:error=EIO", "would change what the program sees"),
        ("--trace-syscalls -e trace=/[", "/["),
        ("--trace-syscalls -c -ff -o /tmp/x", "exclude each other"),
        ("--trace-syscalls -yy", "-yy, what descriptors are besides their paths"),
        ("--trace-syscalls -s 100000", "100000 is not in 0..=65536"),
        ("--trace-syscalls -c -C", "cannot be used with"),
        ("--trace-syscalls -z -Z", "cannot be used with"),
        ("--trace-syscalls -S foo", "possible values: time,"),
        ("--trace-syscalls -o /nonexistent/x", "cannot write /nonexistent/x"),
        ("--trace-syscalls --format json -C", "cannot be used with"),
        ("-e trace=read", "say how --trace-syscalls looks"),
        ("-c", "say how --trace-syscalls looks"),
    ] {
        let run = shell(&format!("$RUN {options} true"));
        assert_eq!(run.status.code(), Some(125), "{options}");
        assert!(run.stderr.contains(message), "{options}: {}", run.stderr);
    }
}
