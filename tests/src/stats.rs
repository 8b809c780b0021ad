//! What `mosix-run --stats FILE` writes, and what tests demand of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One run's report.
#[derive(Clone, Debug, Deserialize)]
pub struct Stats {
    /// System calls by where they ran.
    pub calls: Calls,
    /// CPU time by place.
    pub cpu_seconds: CpuSeconds,
    /// Bytes on the link.
    pub bytes: Bytes,
    /// Of all this, what each node did.
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeStats>,
    /// Every move, in order.
    pub moves: Vec<Move>,
}

/// What was on one node.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeStats {
    /// Calls from there that the deputy executed.
    pub forwarded: u64,
    /// CPU seconds there.
    pub cpu_s: f64,
    /// Bytes on its link.
    pub bytes: Bytes,
}

/// Counts of system calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Calls {
    /// Executed natively on the remote node.
    pub local: u64,
    /// Executed by the deputy.
    pub forwarded: u64,
    /// For which the process was brought home, by stay reason.
    pub gone_home: BTreeMap<String, u64>,
}

/// CPU time in seconds, user and system together.
#[derive(Clone, Debug, Deserialize)]
pub struct CpuSeconds {
    /// At home.
    pub home: f64,
    /// On remote nodes.
    pub remote: f64,
}

/// Bytes on the link, headers included.
#[derive(Clone, Debug, Deserialize)]
pub struct Bytes {
    /// Home to nodes.
    pub sent: u64,
    /// Nodes to home.
    pub received: u64,
}

/// One move of an address space.
#[derive(Clone, Debug, Deserialize)]
pub struct Move {
    /// The process.
    pub pid: i32,
    /// The place it left: `home`, `loopback` or a node's name.
    pub from: String,
    /// The place it came to.
    pub to: String,
    /// Why.
    pub reason: String,
    /// From the last instruction at the source to the first at the destination.
    pub freeze_ms: f64,
    /// From the decision to the end.
    pub total_ms: f64,
    /// What crossed the link for it.
    pub bytes: u64,
}

impl Stats {
    /// Reads a report; a truncated one is an error.
    pub fn read(path: &Path) -> Result<Stats> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Stats::parse(&text)
    }

    /// Parses a report.
    pub fn parse(text: &str) -> Result<Stats> {
        serde_json::from_str(text).with_context(|| format!("the report is not what it should be:\n{text}"))
    }

    /// Demands that the computation really left home: a move out, calls that came back, bytes both ways.
    pub fn assert_was_away(&self) -> Result<()> {
        self.assert_left_home()?;
        ensure!(self.calls.forwarded > 0, "no call was forwarded: {self:?}");
        Ok(())
    }

    /// Demands a move out and bytes both ways.
    pub fn assert_left_home(&self) -> Result<()> {
        ensure!(
            self.moves.iter().any(|m| m.from == "home" && m.to != "home"),
            "no move out of home: {self:?}"
        );
        ensure!(self.bytes.sent > 0 && self.bytes.received > 0, "nothing crossed the link: {self:?}");
        Ok(())
    }

    /// Demands that nothing left home.
    pub fn assert_stayed(&self) -> Result<()> {
        ensure!(self.moves.is_empty(), "moved: {self:?}");
        ensure!(
            self.calls.forwarded == 0 && self.calls.local == 0,
            "calls were made away from home: {self:?}"
        );
        Ok(())
    }

    /// Demands that nothing was brought home by a call.
    pub fn assert_never_gone_home(&self) -> Result<()> {
        ensure!(self.calls.gone_home.values().all(|n| *n == 0), "gone home: {:?}", self.calls.gone_home);
        Ok(())
    }

    /// Demands that at least this share (0 to 1) of the CPU time was spent away.
    pub fn assert_remote_cpu(&self, share: f64) -> Result<()> {
        let total = self.cpu_seconds.home + self.cpu_seconds.remote;
        ensure!(total > 0.0, "no CPU time was counted: {self:?}");
        let away = self.cpu_seconds.remote / total;
        ensure!(
            away >= share,
            "{:.1} % of the CPU time was away, wanted {:.1} %: {self:?}",
            away * 100.0,
            share * 100.0
        );
        Ok(())
    }

    /// Moves that came home and moves that went out.
    pub fn round_trips(&self) -> (usize, usize) {
        let home = self.moves.iter().filter(|m| m.to == "home").count();
        (home, self.moves.len() - home)
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    const AWAY: &str = r#"{"calls":{"local":5,"forwarded":7,"gone_home":{"io_uring":1}},
        "cpu_seconds":{"home":0.1,"remote":1.9},"bytes":{"sent":10,"received":20},
        "moves":[{"pid":3,"from":"home","to":"loopback","reason":"exec","freeze_ms":1.5,"total_ms":2,"bytes":9}]}"#;

    #[test]
    fn a_run_that_was_away() {
        let stats = Stats::parse(AWAY).unwrap();
        stats.assert_was_away().unwrap();
        stats.assert_remote_cpu(0.95).unwrap();
        assert!(stats.assert_remote_cpu(0.96).is_err());
        assert!(stats.assert_stayed().is_err());
        assert!(stats.assert_never_gone_home().is_err());
        assert_eq!(stats.round_trips(), (0, 1));
    }

    #[test]
    fn a_run_that_went_nowhere() {
        let text = AWAY.replace(r#""forwarded":7"#, r#""forwarded":0"#);
        assert!(Stats::parse(&text).unwrap().assert_was_away().is_err());
        let text = AWAY.replace(r#""to":"loopback""#, r#""to":"home""#);
        assert!(Stats::parse(&text).unwrap().assert_was_away().is_err());
    }

    #[test]
    fn a_truncated_report() {
        for n in 0..AWAY.len() {
            assert!(Stats::parse(&AWAY[..n]).is_err(), "{n}");
        }
    }
}
