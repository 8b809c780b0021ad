//! What the user asked for, on the command line or for one process.

use crate::name::Name;
use crate::record::LoadRecord;

/// Whether a process is known to compute or to make calls, before that has been measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Measurements decide.
    #[default]
    Unknown,
    /// `--cpu-job`: its forwarded calls do not count.
    Cpu,
    /// `--io-job`: it stays at home.
    Io,
}

/// Advice to the balancer. What it says is obeyed before any price.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// `--no-migrate`, `mosix lock`: stay where it is.
    pub no_migrate: bool,
    /// `--on`: this node, whatever it costs; at home while it cannot be there.
    pub on: Option<Name>,
    /// `--nodes`: only these; none named means all.
    pub nodes: Vec<Name>,
    /// `--exclude`: not these.
    pub exclude: Vec<Name>,
    /// `--label`: only nodes that have all of these.
    pub labels: Vec<Name>,
    /// `--cpu-job`, `--io-job`.
    pub kind: Kind,
    /// `--mem`: memory that it will need, in MiB.
    pub memory_mib: Option<u32>,
}

impl Advice {
    /// Whether that node may be chosen.
    pub fn allows(&self, record: &LoadRecord) -> bool {
        let name = &record.name;
        self.on.as_ref().is_none_or(|on| on == name)
            && (self.nodes.is_empty() || self.nodes.contains(name))
            && !self.exclude.contains(name)
            && self.labels.iter().all(|label| record.labels.contains(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::idle;

    #[test]
    fn all_conditions_hold_together() {
        let name = |text| Name::new(text).unwrap();
        let record = LoadRecord { labels: vec![name("fast"), name("big")], ..idle("a", 2) };
        let advice = Advice::default();
        assert!(advice.allows(&record));
        assert!(
            Advice { labels: vec![name("fast")], nodes: vec![name("a")], ..advice.clone() }.allows(&record)
        );
        assert!(!Advice { labels: vec![name("fast"), name("ssd")], ..advice.clone() }.allows(&record));
        assert!(
            !Advice { nodes: vec![name("a")], exclude: vec![name("a")], ..advice.clone() }.allows(&record)
        );
        assert!(!Advice { nodes: vec![name("b")], ..advice.clone() }.allows(&record));
        assert!(!Advice { on: Some(name("b")), ..advice }.allows(&record));
    }
}
