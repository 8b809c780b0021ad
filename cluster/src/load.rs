//! From measurements to load: asymmetric smoothing, and the record that comes of it.

use std::time::Duration;

use crate::name::Name;
use crate::record::{Features, LoadRecord, Terms};

/// Time constant with which load rises, in seconds: a node that gets busy says so at once.
pub const RISE_S: f64 = 0.5;
/// Time constant with which load falls, in seconds. It is longer than a round of gossip, so that a node which is idle
/// between two jobs does not invite a crowd.
pub const FALL_S: f64 = 2.0;

/// What a node measures of itself, once or twice a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadSample {
    /// Runnable tasks of the node's own users, waiting or running, guests not counted.
    pub local_runnable: f64,
    /// Runnable guests, and those admitted that have not arrived.
    pub guests_runnable: f64,
    /// PSI `cpu some avg10`, 0 to 1.
    pub psi_cpu: f64,
    /// PSI `memory some avg10`, 0 to 1.
    pub psi_memory: f64,
    /// Cores that tasks may use, as affinity and cgroups allow.
    pub cores: f64,
    /// Speed of a core in thousandths of the unit, see [`speed`](crate::speed).
    pub speed_milli: u32,
    /// Memory that processes may use, in MiB.
    pub memory_total_mib: u32,
    /// Of it available without swapping, in MiB, less what admitted guests will bring.
    pub memory_free_mib: u32,
    /// Memory of all guests, admitted ones included, in MiB.
    pub guest_memory_mib: u32,
    /// Guests, runnable or not, admitted ones included.
    pub guests: u16,
    /// What the policy says at this moment.
    pub terms: Terms,
}

impl LoadSample {
    /// An idle machine, for simulation and tests.
    pub fn idle(cores: f64, speed_milli: u32, memory_mib: u32) -> LoadSample {
        LoadSample {
            local_runnable: 0.0,
            guests_runnable: 0.0,
            psi_cpu: 0.0,
            psi_memory: 0.0,
            cores,
            speed_milli,
            memory_total_mib: memory_mib,
            memory_free_mib: memory_mib,
            guest_memory_mib: 0,
            guests: 0,
            terms: Terms::default(),
        }
    }
}

/// One quantity that rises fast and falls slowly.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Smoothed {
    value: f64,
    at: Option<Duration>,
}

impl Smoothed {
    /// The value now.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Takes a measurement: exponential smoothing with [`RISE_S`] or [`FALL_S`], exact for uneven intervals. The first
    /// one counts in full.
    pub fn update(&mut self, now: Duration, measured: f64) {
        let tau = if measured > self.value { RISE_S } else { FALL_S };
        let weight = match self.at {
            Some(at) => 1.0 - (-now.saturating_sub(at).as_secs_f64() / tau).exp(),
            None => 1.0,
        };
        self.value += weight * (measured - self.value);
        self.at = Some(now);
    }
}

/// A node's own load: the last sample and what it smooths to.
#[derive(Debug, Clone)]
pub struct OwnLoad {
    sample: LoadSample,
    local: Smoothed,
    guests: Smoothed,
}

impl OwnLoad {
    /// Begins with a first sample.
    pub fn new(now: Duration, sample: LoadSample) -> OwnLoad {
        let mut load = OwnLoad { sample, local: Smoothed::default(), guests: Smoothed::default() };
        load.update(now, sample);
        load
    }

    /// Takes a sample.
    pub fn update(&mut self, now: Duration, sample: LoadSample) {
        self.local.update(now, sample.local_runnable);
        self.guests.update(now, sample.guests_runnable);
        self.sample = sample;
    }

    /// The last sample.
    pub fn sample(&self) -> &LoadSample {
        &self.sample
    }

    /// Runnable local tasks, smoothed.
    pub fn local(&self) -> f64 {
        self.local.value()
    }

    /// Runnable guests, smoothed.
    pub fn guests(&self) -> f64 {
        self.guests.value()
    }

    /// The record that says this.
    pub fn record(&self, who: &Own, incarnation: u64, sequence: u32) -> LoadRecord {
        let sample = &self.sample;
        let milli = |value: f64| (value * 1e3).round() as u32;
        let permille = |share: f64| (share.clamp(0.0, 1.0) * 1e3).round() as u16;
        LoadRecord {
            name: who.name.clone(),
            incarnation,
            sequence,
            speed_milli: sample.speed_milli.clamp(10, 1_000_000),
            cores_milli: milli(sample.cores).clamp(10, 1_000_000_000),
            local_milli: milli(self.local()),
            guests_milli: milli(self.guests()),
            runnable_milli: milli(sample.local_runnable + sample.guests_runnable),
            psi_cpu_permille: permille(sample.psi_cpu),
            psi_memory_permille: permille(sample.psi_memory),
            memory_total_mib: sample.memory_total_mib.max(1),
            memory_free_mib: sample.memory_free_mib.min(sample.memory_total_mib),
            guest_memory_mib: sample.guest_memory_mib,
            guests: sample.guests,
            terms: sample.terms,
            features: who.features,
            labels: who.labels.clone(),
        }
    }
}

/// What of a node does not change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its name.
    pub name: Name,
    /// Its CPU.
    pub features: Features,
    /// Its labels; those beyond [`MAX_LABELS`](crate::record::MAX_LABELS) or
    /// [`MAX_LABEL_BYTES`](crate::record::MAX_LABEL_BYTES) are dropped by [`Own::new`].
    labels: Vec<Name>,
}

impl Own {
    /// Takes what fits of the labels.
    pub fn new(name: Name, features: Features, labels: impl IntoIterator<Item = Name>) -> Own {
        let short = |label: &Name| label.as_str().len() <= crate::record::MAX_LABEL_BYTES;
        let labels = labels.into_iter().filter(short).take(crate::record::MAX_LABELS).collect();
        Own { name, features, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_rises_fast_and_falls_slowly() {
        let mut load = Smoothed::default();
        load.update(Duration::ZERO, 0.0);
        load.update(Duration::from_secs(1), 4.0);
        let risen = load.value();
        assert!(risen > 3.0 && risen < 4.0);
        load.update(Duration::from_secs(2), 0.0);
        assert!(load.value() > risen / 2.0, "fell as fast as it rose");
        load.update(Duration::from_secs(60), 0.0);
        assert!(load.value() < 0.001);
    }

    #[test]
    fn uneven_intervals_smooth_alike() {
        let (mut coarse, mut fine) = (Smoothed::default(), Smoothed::default());
        coarse.update(Duration::ZERO, 0.0);
        fine.update(Duration::ZERO, 0.0);
        coarse.update(Duration::from_secs(1), 2.0);
        (1..=10).for_each(|n| fine.update(Duration::from_millis(n * 100), 2.0));
        assert!((coarse.value() - fine.value()).abs() < 1e-9);
    }

    #[test]
    fn hostile_or_absent_measurements_make_a_record_that_decodes() {
        let name = Name::new("a").unwrap();
        let sample = LoadSample {
            cores: 0.0,
            memory_total_mib: 0,
            psi_cpu: 7.0,
            local_runnable: f64::MAX,
            ..LoadSample::idle(1.0, 0, 5)
        };
        let own = Own::new(name, Features::default(), []);
        let mut bytes = Vec::new();
        OwnLoad::new(Duration::ZERO, sample).record(&own, 1, 1).encode_to(&mut bytes);
        assert!(LoadRecord::decode_from(&bytes).is_ok());
    }
}
