//! Other people's test suites, natively and under `mosix-run`: what passes natively must pass there too.
//!
//! A suite has items, each one command; an item has cases, each with a verdict of its own. `tests/suites/run` is the way in.

pub mod item;
pub mod known;
pub mod programs;
pub mod python;
pub mod runner;
pub mod store;
pub mod stress_ng;
pub mod table;

use anyhow::{Result, bail};

use crate::mode::User;
use crate::run::Ended;
use crate::sandbox::Sandbox;
use item::{Cases, Item};

/// Where the suites keep their own files.
pub const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suites");

/// One suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// stress-ng with `--verify`, an item for each stressor.
    StressNg,
    /// Python's own regression tests, an item for each module.
    Python,
    /// Scripts of ours that run well-known programs and check their results.
    Programs,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Suite; 3] = [Suite::StressNg, Suite::Python, Suite::Programs];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Suite::StressNg => "stress-ng",
            Suite::Python => "python",
            Suite::Programs => "programs",
        }
    }

    /// The suite of that name.
    pub fn by_name(name: &str) -> Result<Suite> {
        match Suite::ALL.into_iter().find(|suite| suite.name() == name) {
            Some(suite) => Ok(suite),
            None => bail!("no suite {name:?}; there are stress-ng, python, programs"),
        }
    }

    /// Its items, as far as they may be run by this user.
    pub fn items(self, user: User) -> Result<Vec<Item>> {
        match self {
            Suite::StressNg => stress_ng::items(user),
            Suite::Python => python::items(),
            Suite::Programs => programs::items(),
        }
    }

    /// The words of an item's command.
    pub fn argv(self, item: &Item, sandbox: &Sandbox) -> Result<Vec<String>> {
        match self {
            Suite::StressNg => Ok(stress_ng::argv(&item.name)),
            Suite::Python => python::argv(&item.name, sandbox),
            Suite::Programs => programs::argv(&item.name, sandbox),
        }
    }

    /// The verdicts of a run.
    pub fn cases(self, item: &Item, sandbox: &Sandbox, ended: &Ended) -> Result<Cases> {
        match self {
            Suite::StressNg => Ok(stress_ng::cases(&item.name, ended)),
            Suite::Python => python::cases(sandbox),
            Suite::Programs => Ok(programs::cases(ended)),
        }
    }
}
