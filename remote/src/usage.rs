//! Telling home what its processes use, now and then while that changes.

use std::fs;
use std::time::{Duration, Instant};

use tracee::{Tid, clock};
use wire::session::{FromBody, ProcessKey};

use crate::body::Phase;
use crate::session::{Session, SessionError};

/// Between two looks while something changes; the time doubles while nothing does.
const PERIOD: Duration = Duration::from_secs(1);
const PERIOD_MAX: Duration = Duration::from_secs(8);

/// When to look next.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Never while there is no body.
    due: Option<Instant>,
    period: Duration,
}

impl Usage {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A body has begun to run.
    pub(crate) fn begin(&mut self) {
        self.period = PERIOD;
        let soon = Instant::now() + PERIOD;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }
}

impl Session {
    /// Says what has changed, if it is time to look.
    pub(crate) fn tell_usage(&mut self, now: Instant) -> Result<(), SessionError> {
        if self.usage.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.set_group();
        let alive = self.processes.values().filter(|process| matches!(process.phase, Phase::Alive));
        let keys: Vec<ProcessKey> = alive.map(|process| process.key).collect();
        let mut changed = false;
        for key in keys {
            let Some(process) = self.processes.get_mut(&key) else { continue };
            let Some(used) = used(process.host) else { continue };
            if std::mem::replace(&mut process.told, used) == used {
                continue;
            }
            changed = true;
            let cpu_ns = process.used.away.total_ns() + used.0;
            self.say(key, &FromBody::Usage { cpu_ns, memory_kib: used.1 })?;
        }
        self.usage.period = if changed { PERIOD } else { (self.usage.period * 2).min(PERIOD_MAX) };
        self.usage.due = (!self.processes.is_empty()).then(|| now + self.usage.period);
        Ok(())
    }
}

/// CPU time in nanoseconds and resident memory in KiB.
fn used(host: Tid) -> Option<(u64, u64)> {
    let cpu = clock::process_cpu_time(host).ok()?;
    let statm = fs::read_to_string(format!("/proc/{host}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some((cpu.as_nanos() as u64, pages * rustix::param::page_size() as u64 / 1024))
}
