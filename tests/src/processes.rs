//! Looking at processes through /proc.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// (parent, state) of a process, from /proc/PID/stat.
fn stat(pid: i32) -> Option<(i32, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// The state letter of a process: `R`, `S`, `D`, `T`, `t`, `Z`, …; `None` when it is gone.
pub fn state(pid: i32) -> Option<char> {
    stat(pid).map(|(_, state)| state)
}

/// CPU seconds that a process has used, by ticks of the kernel; 0 when it is gone.
pub fn cpu_seconds(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // utime and stime are fields 14 and 15 (proc(5)); the first here is field 3.
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Every process number in /proc.
fn all() -> Vec<i32> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Every live process whose ancestor is `root`, without `root` itself and without zombies.
pub fn below(root: i32) -> Vec<i32> {
    let stats: BTreeMap<i32, (i32, char)> =
        all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let is_below = |mut pid: i32| {
        // Bounded: the parents read here are not one snapshot and could form a loop.
        for _ in 0..stats.len() {
            match stats.get(&pid) {
                Some((parent, _)) if *parent == root => return true,
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    stats.iter().filter(|(pid, (_, state))| *state != 'Z' && is_below(**pid)).map(|(pid, _)| *pid).collect()
}

/// What the kernel tells of these processes and their threads: what they are, where they sleep, who traces them.
pub fn dump(pids: &[i32]) -> String {
    let mut out = String::new();
    for pid in pids {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        let _ = writeln!(out, "--- {pid}: {cmdline:.200}");
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten().take(16) {
            let dir = task.path();
            let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
            let _ = writeln!(out, "  task {}", task.file_name().to_string_lossy());
            for line in read("status").lines() {
                const SHOWN: [&str; 10] = [
                    "Name:",
                    "State:",
                    "PPid:",
                    "TracerPid:",
                    "NSpid:",
                    "SigQ:",
                    "SigPnd:",
                    "ShdPnd:",
                    "SigBlk:",
                    "SigCgt:",
                ];
                if SHOWN.iter().any(|name| line.starts_with(name)) {
                    let _ = writeln!(out, "    {line}");
                }
            }
            for name in ["wchan", "syscall", "stack"] {
                let text = read(name);
                let _ = writeln!(out, "    {name}: {}", text.trim().replace('\n', "\n      "));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    #[test]
    fn finds_grandchildren_and_forgets_the_dead() {
        let mut shell = Command::new("sh")
            .args(["-c", "cat & cat; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let root = std::process::id() as i32;
        // The shell is below us at once; both its children are when the foreground one has echoed a line.
        assert!(super::below(root).contains(&(shell.id() as i32)));
        let mut stdin = shell.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"x\n").unwrap();
        let mut line = [0; 2];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let cats = super::below(shell.id() as i32);
        assert!(!cats.is_empty());
        let text = super::dump(&cats);
        assert!(text.contains("State:") && text.contains("syscall:"), "{text}");
        drop(stdin);
        shell.wait().unwrap();
        assert!(!super::below(root).contains(&(shell.id() as i32)));
        assert_eq!(super::state(shell.id() as i32), None);
    }
}
