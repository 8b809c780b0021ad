//! Limits of the control groups (version 2) that this process is in; Documentation/admin-guide/cgroup-v2.rst.

use std::fs;
use std::path::{Path, PathBuf};

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// This process's group and those above it, as far as they can be seen.
#[derive(Debug)]
pub(super) struct Cgroups(Vec<PathBuf>);

/// One group's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// `memory.max`.
    pub(super) most_kib: u64,
    /// What is left of it; page cache that can be dropped counts as left.
    pub(super) free_kib: u64,
}

impl Cgroups {
    pub(super) fn own() -> Cgroups {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let root = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.controllers").exists());
        match (root, own_path(&text)) {
            (Some(root), Some(path)) => Cgroups(ancestry(root, path)),
            _ => Cgroups(Vec::new()),
        }
    }

    /// This process's group first, then those above it.
    pub(super) fn into_dirs(self) -> Vec<PathBuf> {
        self.0
    }

    /// Cores that the tightest `cpu.max` leaves, if any does.
    pub(super) fn cpu_limit(&self) -> Option<f64> {
        let limits = self.0.iter().filter_map(|dir| cpu_max(&fs::read_to_string(dir.join("cpu.max")).ok()?));
        limits.min_by(f64::total_cmp)
    }

    /// Every limit on memory.
    pub(super) fn memory_limits(&self) -> impl Iterator<Item = Memory> {
        self.0.iter().filter_map(|dir| {
            let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
            memory(&text("memory.max")?, &text("memory.current")?, &text("memory.stat").unwrap_or_default())
        })
    }
}

/// The path in the line `0::PATH` of /proc/self/cgroup.
fn own_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn ancestry(root: &Path, path: &str) -> Vec<PathBuf> {
    let own = root.join(path);
    own.ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned).collect()
}

/// `QUOTA PERIOD` or `max PERIOD`, in microseconds.
fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn memory(max: &str, current: &str, stat: &str) -> Option<Memory> {
    let (max, current): (u64, u64) = (max.trim().parse().ok()?, current.trim().parse().ok()?);
    let cache: u64 = ["inactive_file ", "active_file "]
        .iter()
        .filter_map(|name| stat.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()))
        .sum();
    let used = current.saturating_sub(cache);
    Some(Memory { most_kib: max / 1024, free_kib: max.saturating_sub(used) / 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_the_kernel_writes_them() {
        assert_eq!(cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!((cpu_max("max 100000\n"), cpu_max(""), cpu_max("5 0")), (None, None, None));
        let stat = "anon 1048576\nfile 4194304\ninactive_file 2097152\nactive_file 1048576\n";
        let limit = memory("8388608\n", "5242880\n", stat);
        assert_eq!(limit, Some(Memory { most_kib: 8192, free_kib: 6144 }));
        assert_eq!(memory("max\n", "5\n", stat), None);
    }

    #[test]
    fn groups_above_count_too() {
        let text = "4:memory:/x\n0::/system.slice/mosixd.service\n";
        let dirs = ancestry(Path::new("/sys/fs/cgroup"), own_path(text).unwrap());
        let names: Vec<_> = dirs.iter().map(|dir| dir.to_str().unwrap()).collect();
        assert_eq!(
            names,
            ["/sys/fs/cgroup/system.slice/mosixd.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"]
        );
        assert_eq!(ancestry(Path::new("/sys/fs/cgroup"), "").len(), 1);
    }
}
