//! Runnable tasks, counted one by one.

use std::fs::{self, File};
use std::io::Read;

use super::parse::{Stat, stat};
use super::{Ours, Runnable};

/// Longest /proc/PID/stat: 52 numbers and a command of 64 bytes.
const STAT_BYTES: usize = 2048;

fn read(path: &str) -> Option<Stat> {
    let mut bytes = [0; STAT_BYTES];
    let len = File::open(path).ok()?.read(&mut bytes).ok()?;
    stat(&bytes[..len])
}

/// Runnable threads of one process on those cores. A process that has gone has none.
pub(super) fn runnable_of(pid: i32, on: &impl Fn(usize) -> bool) -> usize {
    let Some(first) = read(&format!("/proc/{pid}/stat")) else { return 0 };
    let counts = |stat: &Stat| stat.state == b'R' && on(stat.core);
    if first.threads <= 1 {
        return usize::from(counts(&first));
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let stats = threads.filter_map(|entry| read(&format!("{}/stat", entry.ok()?.path().display())));
    stats.filter(counts).count()
}

/// Runnable threads of all processes but the caller on those cores.
pub(super) fn scan(ours: &Ours, on: &impl Fn(usize) -> bool) -> Runnable {
    let me = std::process::id() as i32;
    let mut runnable = Runnable::default();
    let Ok(processes) = fs::read_dir("/proc") else { return runnable };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == me && !ours.guests.contains(&pid) || ours.own.contains(&pid) {
            continue;
        }
        let count = runnable_of(pid, on) as f64;
        if ours.guests.contains(&pid) {
            runnable.guests += count;
        } else {
            runnable.local += count;
        }
    }
    runnable
}

/// Whether a process is held by its tracer: it computes as soon as it is let go.
pub(crate) fn is_traced_and_stopped(pid: i32) -> bool {
    read(&format!("/proc/{pid}/stat")).is_some_and(|stat| stat.state == b't')
}
