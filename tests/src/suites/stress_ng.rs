//! stress-ng: an item for each stressor, with its own verification.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Suite;
use super::item::{Cases, Item, Verdict};
use crate::mode::User;
use crate::programs;
use crate::run::{Ended, show};

/// Operations of a stressor that looks at its threads only when all are made: the first, with a real-time priority, must not do
/// them all before that.
const OPS_OF_MUTEX: &str = "3000";
/// Operations of a stressor, and the seconds after which it ends whatever it has done.
const OPS: &str = "30";
const SECONDS: &str = "5";

/// Stressors that, when root runs them, change the machine itself or reach for its devices.
const NOT_AS_ROOT: [&str; 26] = [
    "apparmor",
    "binderfs",
    "clock",
    "cpu-online",
    "dev",
    "dev-shm",
    "enosys",
    "fanotify",
    "klog",
    "loop",
    "memhotplug",
    "module",
    "netdev",
    "netlink-proc",
    "oom-pipe",
    "pci",
    "procfs",
    "quota",
    "ramfs",
    "rtc",
    "smi",
    "swap",
    "sysbadaddr",
    "sysfs",
    "sysinval",
    "watchdog",
];

/// Stressors whose purpose is to use up all memory or all processes of the machine, which others use too.
const NEVER: [&str; 4] = ["bigheap", "forkheavy", "oom-pipe", "zombie"];

/// All stressors that this user may run.
pub fn items(user: User) -> Result<Vec<Item>> {
    programs::need("stress-ng")?;
    let output =
        Command::new("/usr/bin/stress-ng").arg("--stressors").output().context("starting stress-ng")?;
    ensure!(output.status.success(), "stress-ng --stressors: {}", show(output.status));
    let names = String::from_utf8(output.stdout)?;
    let root = user == User::Me && User::am_root();
    let may = |name: &&str| !(NEVER.contains(name) || root && NOT_AS_ROOT.contains(name));
    let item =
        |name: &str| Item { suite: Suite::StressNg, name: name.to_owned(), limit: Duration::from_secs(30) };
    Ok(names.split_whitespace().filter(may).map(item).collect())
}

/// The command for a stressor.
pub fn argv(name: &str) -> Vec<String> {
    let stressor = format!("--{name}");
    let ops = format!("--{name}-ops");
    let count = if name == "mutex" { OPS_OF_MUTEX } else { OPS };
    [
        "stress-ng",
        &stressor,
        "1",
        &ops,
        count,
        "--timeout",
        SECONDS,
        "--verify",
        "--no-rand-seed",
        "--temp-path",
        ".",
    ]
    .map(String::from)
    .to_vec()
}

/// The verdict on a stressor: its exit status, unless it was skipped.
pub fn cases(name: &str, ended: &Ended) -> Cases {
    let Ok(status) = &ended.status else { return Cases::new() };
    let text = [ended.stdout.as_slice(), ended.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines = || text.lines().filter(|line| !line.contains(" info: "));
    let verdict = if !status.success() {
        let words = lines().find(|line| line.contains(" fail: ") || line.contains(" error: "));
        Verdict::Fail(words.map_or_else(|| show(*status), |line| after_pid(line).to_owned()))
    } else if text.contains("skipped: 1:") || text.contains("skipping stressor") {
        Verdict::Skip
    } else {
        Verdict::Pass
    };
    Cases::from([(name.to_owned(), verdict)])
}

/// A line without `stress-ng: fail:  [1234] `, which differs from run to run.
fn after_pid(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, rest)| rest)
}
