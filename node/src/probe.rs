//! What this machine has and does at a moment: cores, runnable tasks, memory, pressure, speed.

mod cgroup;
mod parse;
mod speed;
mod tasks;

use std::fs;

use cluster::record::FEATURE_WORDS;
use cluster::{Features, LoadSample, Terms};
use rustix::thread::{CpuSet, sched_getaffinity};

pub(crate) use speed::measure as measure_speed;
pub(crate) use tasks::is_traced_and_stopped;

/// The control group of version 2 that this process is in, and those above it.
pub(crate) fn cgroups_of_daemon() -> Vec<std::path::PathBuf> {
    cgroup::Cgroups::own().into_dirs()
}

/// Processes that a count of runnable tasks is about.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    /// Guests: their processes on this machine.
    pub(crate) guests: Vec<i32>,
    /// Our own besides the caller: executors, supervisors. They work for processes that are counted elsewhere.
    pub(crate) own: Vec<i32>,
}

/// Runnable tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Runnable {
    /// Of this machine's users.
    pub(crate) local: f64,
    /// Of guests.
    pub(crate) guests: f64,
}

/// This machine's measuring instruments.
#[derive(Debug)]
pub(crate) struct Probe {
    allowed: CpuSet,
    /// The daemon may use every core, so that the kernel's own count of runnable tasks is that of these cores.
    all_cores: bool,
    cgroups: cgroup::Cgroups,
    speed_milli: u32,
}

impl Probe {
    /// Looks at the machine. The speed is measured by the caller, once.
    pub(crate) fn new(speed_milli: u32) -> Probe {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        let online = fs::read_to_string("/sys/devices/system/cpu/online");
        let online = online.ok().and_then(|text| parse::list_len(&text));
        let all_cores = online.is_some_and(|online| allowed.count() as usize >= online);
        Probe { allowed, all_cores, cgroups: cgroup::Cgroups::own(), speed_milli }
    }

    /// Cores that tasks may use.
    fn cores(&self) -> f64 {
        let cores = f64::from(self.allowed.count().max(1));
        self.cgroups.cpu_limit().map_or(cores, |limit| cores.min(limit))
    }

    /// Tasks that run or wait for a core at this moment, the caller not among them.
    pub(crate) fn runnable(&self, ours: &Ours) -> Runnable {
        if self.all_cores
            && let Some(all) =
                fs::read_to_string("/proc/stat").ok().and_then(|text| parse::procs_running(&text))
        {
            // One of them reads this.
            let guests: usize = ours.guests.iter().map(|pid| tasks::runnable_of(*pid, &|_| true)).sum();
            let own: usize = ours.own.iter().map(|pid| tasks::runnable_of(*pid, &|_| true)).sum();
            let local = all.saturating_sub(1).saturating_sub(guests + own);
            return Runnable { local: local as f64, guests: guests as f64 };
        }
        // Others of the machine's tasks run on other cores. A task's core is where it last ran or waits to run (proc(5),
        // `processor`).
        tasks::scan(ours, &|core| self.allowed.is_set(core))
    }

    /// Everything, but for guests that are on their way, which are the caller's to add.
    pub(crate) fn sample(&self, ours: &Ours, guest_memory_mib: u32, terms: Terms) -> LoadSample {
        let runnable = self.runnable(ours);
        let (total, free) = self.memory_mib();
        let pressure = |name: &str| {
            let text = fs::read_to_string(format!("/proc/pressure/{name}"));
            // Kernels without PSI say nothing.
            text.ok().and_then(|text| parse::some_avg10(&text)).unwrap_or(0.0)
        };
        LoadSample {
            local_runnable: runnable.local,
            guests_runnable: runnable.guests,
            psi_cpu: pressure("cpu"),
            psi_memory: pressure("memory"),
            cores: self.cores(),
            speed_milli: self.speed_milli,
            memory_total_mib: total,
            memory_free_mib: free,
            guest_memory_mib,
            guests: u16::try_from(ours.guests.len()).unwrap_or(u16::MAX),
            terms,
        }
    }

    /// Memory that processes may use and what of it is available, in MiB.
    fn memory_mib(&self) -> (u32, u32) {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (mut total_kib, mut free_kib) = parse::meminfo(&text).unwrap_or((1024, 0));
        for limit in self.cgroups.memory_limits() {
            total_kib = total_kib.min(limit.most_kib);
            free_kib = free_kib.min(limit.free_kib);
        }
        let mib = |kib: u64| u32::try_from(kib / 1024).unwrap_or(u32::MAX);
        (mib(total_kib).max(1), mib(free_kib.min(total_kib)))
    }
}

/// This CPU as records have it.
pub(crate) fn features() -> Features {
    let cpu = tracee::machine::cpu();
    let mut cpuid = [0; FEATURE_WORDS];
    for (word, seen) in cpuid.iter_mut().zip(&cpu.features) {
        *word = *seen;
    }
    Features { cpuid, xcr0: cpu.xcr0, xsave_bytes: cpu.xsave_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_measured_both_ways() {
        let mut probe = Probe::new(1000);
        let me = std::process::id() as i32;
        // A thread of this process that computes is seen, whoever it is counted for.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let guest = Ours { guests: vec![me], own: Vec::new() };
            let mut seen = Vec::new();
            for all_cores in [true, false] {
                probe.all_cores = all_cores;
                seen.push(probe.runnable(&guest).guests);
            }
            // Before anything is demanded: a failure must not leave it computing.
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(seen.iter().all(|guests| *guests >= 1.0), "{seen:?}");
        });
        let sample = probe.sample(&Ours::default(), 0, Terms::default());
        assert!(sample.cores > 0.0 && sample.memory_total_mib > 100);
        assert!(sample.memory_free_mib <= sample.memory_total_mib);
        assert!((0.0..=1.0).contains(&sample.psi_cpu));
        assert!(features().cpuid.iter().any(|word| *word != 0));
    }
}
