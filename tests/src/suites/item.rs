//! What a suite consists of, and what a run of a part of it gave.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Suite;

/// One command of a suite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The suite it is of.
    pub suite: Suite,
    /// Its name there.
    pub name: String,
    /// How long a native run may take.
    pub limit: Duration,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// As it should.
    Pass,
    /// The suite itself left it out.
    Skip,
    /// Not as it should; why, as far as it is known.
    Fail(String),
}

/// Verdicts by case.
pub type Cases = BTreeMap<String, Verdict>;

/// What one run of an item gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The verdicts, as far as they were reached.
    pub cases: Cases,
    /// A hang, something left over, a message of mosix-run's own.
    pub trouble: Option<String>,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Why processes were brought home, and how often.
    pub gone_home: BTreeMap<String, u64>,
    /// Moves of processes.
    pub moves: usize,
}

impl Results {
    /// Cases that passed.
    pub fn passed(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().filter(|(_, verdict)| **verdict == Verdict::Pass).map(|(name, _)| name.as_str())
    }

    /// What of `native` is not so here: name of the case and why. The name is empty for what concerns the whole run.
    pub fn differences(&self, native: &Results) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(trouble) = &self.trouble {
            found.push((String::new(), trouble.lines().next().unwrap_or_default().to_owned()));
        }
        let mut missing = Vec::new();
        for name in native.passed() {
            match self.cases.get(name) {
                Some(Verdict::Pass) => {}
                Some(Verdict::Skip) => found.push((name.to_owned(), "skipped".to_owned())),
                Some(Verdict::Fail(why)) => found.push((name.to_owned(), why.clone())),
                None => missing.push(name),
            }
        }
        // After a hang or a crash a list of all that was not reached says nothing more.
        match missing.as_slice() {
            [] => {}
            [first, ..] if self.trouble.is_some() => {
                found[0].1 += &format!("; {} not reached, first {first}", missing.len());
            }
            _ => found.extend(missing.iter().map(|name| ((*name).to_owned(), "no verdict".to_owned()))),
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Results, Verdict};

    fn results(cases: &[(&str, Verdict)], trouble: Option<&str>) -> Results {
        Results {
            cases: cases.iter().map(|(name, verdict)| ((*name).to_owned(), verdict.clone())).collect(),
            trouble: trouble.map(str::to_owned),
            took_s: 1.0,
            gone_home: Default::default(),
            moves: 0,
        }
    }

    #[test]
    fn only_what_passes_natively_counts() {
        let fail = Verdict::Fail("no".into());
        let native = results(&[("a", Verdict::Pass), ("b", Verdict::Skip), ("c", fail.clone())], None);
        assert!(native.differences(&native).is_empty());
        let other = results(&[("a", fail.clone()), ("b", fail.clone()), ("c", fail)], None);
        assert_eq!(other.differences(&native), [("a".to_owned(), "no".to_owned())]);
        assert_eq!(results(&[], None).differences(&native), [("a".to_owned(), "no verdict".to_owned())]);
        let stuck = results(&[], Some("hangs\nand more")).differences(&native);
        assert_eq!(stuck, [(String::new(), "hangs; 1 not reached, first a".to_owned())]);
    }
}
