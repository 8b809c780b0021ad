//! What a simulated node knows: the whole [`Cluster`], or its bulletin alone where membership is modelled.

use std::time::Duration;

use crate::bulletin::Bulletin;
use crate::cluster::{Cluster, Input, MAX_DATAGRAM_BYTES, Output};
use crate::load::{LoadSample, Own, OwnLoad};
use crate::placement::Latencies;
use crate::record::LoadRecord;

/// Records kept by a node of a modelled cluster; more would only take this simulator's memory.
const MODELLED_WINDOW: usize = 128;

/// See the module's text.
pub(super) enum Mind {
    Swim(Box<Cluster>),
    Modelled(Box<Modelled>),
}

pub(super) struct Modelled {
    own: Own,
    bulletin: Bulletin,
    load: Option<OwnLoad>,
    latencies: Latencies,
    incarnation: u64,
    sequence: u32,
}

impl Mind {
    pub(super) fn modelled(own: Own, incarnation: u64) -> Mind {
        let bulletin = Bulletin::new(own.name.clone(), MODELLED_WINDOW);
        let latencies = Latencies::default();
        Mind::Modelled(Box::new(Modelled { own, bulletin, load: None, latencies, incarnation, sequence: 0 }))
    }

    /// Takes a measurement and makes the record of it.
    pub(super) fn measured(&mut self, now: Duration, sample: LoadSample, out: &mut Vec<Output>) {
        match self {
            Mind::Swim(cluster) => cluster.handle(now, Input::Load(sample), out),
            Mind::Modelled(modelled) => {
                match &mut modelled.load {
                    Some(load) => load.update(now, sample),
                    None => modelled.load = Some(OwnLoad::new(now, sample)),
                }
                modelled.sequence += 1;
                if let Some(load) = &modelled.load {
                    let record = load.record(&modelled.own, modelled.incarnation, modelled.sequence);
                    modelled.bulletin.set_own(now, record);
                }
            }
        }
    }

    pub(super) fn bulletin(&mut self) -> &mut Bulletin {
        match self {
            Mind::Swim(cluster) => cluster.bulletin_mut(),
            Mind::Modelled(modelled) => &mut modelled.bulletin,
        }
    }

    /// What placement looks at, at once.
    pub(super) fn parts(&mut self) -> (OwnLoad, Latencies, &mut Bulletin) {
        match self {
            Mind::Swim(cluster) => {
                let load = cluster.load().expect("measured before it decides").clone();
                (load, cluster.latencies().clone(), cluster.bulletin_mut())
            }
            Mind::Modelled(modelled) => {
                let load = modelled.load.clone().expect("measured before it decides");
                (load, modelled.latencies.clone(), &mut modelled.bulletin)
            }
        }
    }

    /// Its record of this moment, to send with an answer. Ages are counted from now.
    pub(super) fn record(&mut self) -> Option<LoadRecord> {
        self.bulletin().own().cloned()
    }

    /// A gossip message of a modelled node; a whole one sends its own.
    pub(super) fn message(&mut self, now: Duration) -> Option<Vec<u8>> {
        let Mind::Modelled(modelled) = self else { return None };
        let mut payload = Vec::new();
        (modelled.bulletin.write_message(now, &mut payload, MAX_DATAGRAM_BYTES - 1) > 0).then_some(payload)
    }

    /// Takes a datagram.
    pub(super) fn heard(&mut self, now: Duration, payload: &[u8], out: &mut Vec<Output>) {
        match self {
            Mind::Swim(cluster) => cluster.handle(now, Input::Datagram(payload), out),
            Mind::Modelled(modelled) => {
                let _ = modelled.bulletin.read_message(now, payload, |_, _| true);
            }
        }
    }

    pub(super) fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        if let Mind::Swim(cluster) = self {
            cluster.handle(now, Input::Tick, out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Mind::Swim(cluster) => cluster.deadline(),
            Mind::Modelled(_) => None,
        }
    }
}
