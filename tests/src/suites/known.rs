//! `tests/suites/known`: the differences whose root cause is known, and what was decided about each.
//!
//! One a line: `suite/item/case | modes | users | root cause | decision`. A whole run's difference (a hang, a message) has
//! `suite/item`. Each entry must still be true: one whose case passes is stale.

use anyhow::{Result, bail, ensure};

use super::table::Difference;

const TEXT: &str = include_str!("../../suites/known");

/// One known difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `suite/item` or `suite/item/case`.
    pub path: String,
    modes: Vec<String>,
    users: Vec<String>,
    /// Why it differs.
    pub cause: String,
    /// What was decided.
    pub decision: String,
}

impl Known {
    /// Whether this mode and user are meant.
    pub fn concerns(&self, mode: &str, user: &str) -> bool {
        let has = |names: &[String], name| names.iter().any(|other| other == name);
        has(&self.modes, mode) && has(&self.users, user)
    }

    /// Whether this is that difference.
    pub fn is(&self, difference: &Difference) -> bool {
        self.path == difference.path() && self.concerns(&difference.mode, &difference.user)
    }
}

/// All that are known.
pub fn all() -> Result<Vec<Known>> {
    parse(TEXT)
}

fn parse(text: &str) -> Result<Vec<Known>> {
    let mut known: Vec<Known> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [path, modes, users, cause, decision] = fields.as_slice() else {
            bail!("tests/suites/known: five fields wanted: {line:?}");
        };
        ensure!(
            !cause.is_empty() && !decision.is_empty(),
            "tests/suites/known: no cause or decision: {line:?}"
        );
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        known.push(Known {
            path: (*path).to_owned(),
            modes: names(modes),
            users: names(users),
            cause: (*cause).to_owned(),
            decision: (*decision).to_owned(),
        });
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::{all, parse};

    #[test]
    fn the_file_is_well_formed() {
        all().unwrap();
    }

    #[test]
    fn entries() {
        let known =
            parse("# text\n\npython/test_os/a.b | loopback shuttle | root | because | so be it\n").unwrap();
        assert_eq!(known[0].path, "python/test_os/a.b");
        assert!(known[0].concerns("shuttle", "root") && !known[0].concerns("shuttle", "nobody"));
        assert!(parse("python/test_os | loopback | root | because\n").is_err());
        assert!(parse("python/test_os | loopback | root | because | \n").is_err());
    }
}
