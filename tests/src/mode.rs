//! How a case is run, and as whom.

use std::fmt;

use anyhow::{Result, bail};

/// One way of running a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is. Run twice, so that a case that differs from run to run is found here and not blamed on a move.
    Native,
    /// `mosix-run --home`: managed, never moved.
    Home,
    /// `mosix-run --loopback`: away from the start, on the embedded node.
    Loopback,
    /// As `Loopback`, every process moved home and out again every 50 ms.
    Shuttle,
    /// As `Shuttle`, with the vDSO of each side taken for another kernel's.
    Foreign,
    /// As `Shuttle`, with the pages of every process copied while it runs.
    Precopy,
    /// `mosix-run --on`, the node in another network namespace.
    TwoHosts,
    /// `mosix-run` alone, its node daemon and others in network namespaces on one switch.
    Cluster,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 8] = [
        Mode::Native,
        Mode::Home,
        Mode::Loopback,
        Mode::Shuttle,
        Mode::Foreign,
        Mode::Precopy,
        Mode::TwoHosts,
        Mode::Cluster,
    ];

    /// The modes that run when `MOSIX_TEST_MODES` is not set.
    pub const SWITCHED_ON: &'static [Mode] = &[Mode::Native, Mode::Home, Mode::Loopback, Mode::Cluster];

    /// Whether processes leave home in this mode.
    pub fn is_away(self) -> bool {
        !matches!(self, Mode::Native | Mode::Home)
    }

    /// Whether processes are moved all the time in this mode.
    pub fn is_shuttled(self) -> bool {
        matches!(self, Mode::Shuttle | Mode::Foreign | Mode::Precopy)
    }

    /// The modes to run: `MOSIX_TEST_MODES`, names with commas between or `all`, or [`Mode::SWITCHED_ON`].
    pub fn enabled() -> Result<Vec<Mode>> {
        match std::env::var("MOSIX_TEST_MODES") {
            Ok(names) => Mode::parse_list(&names),
            Err(_) => Ok(Mode::SWITCHED_ON.to_vec()),
        }
    }

    fn parse_list(names: &str) -> Result<Vec<Mode>> {
        if names == "all" {
            return Ok(Mode::ALL.to_vec());
        }
        names
            .split(',')
            .map(|name| match Mode::ALL.iter().find(|mode| mode.to_string() == name) {
                Some(mode) => Ok(*mode),
                None => bail!(
                    "MOSIX_TEST_MODES: no mode {name:?}; there are native, home, loopback, shuttle, foreign, precopy, two_hosts, cluster"
                ),
            })
            .collect()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Native => "native",
            Mode::Home => "home",
            Mode::Loopback => "loopback",
            Mode::Shuttle => "shuttle",
            Mode::Foreign => "foreign",
            Mode::Precopy => "precopy",
            Mode::TwoHosts => "two_hosts",
            Mode::Cluster => "cluster",
        })
    }
}

/// As whom a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Me,
    /// `nobody`, from root, with no group and no capability.
    Nobody,
}

/// The numeric user and group of `nobody`.
pub const NOBODY: u32 = 65534;

impl User {
    /// The users that cases are run as.
    pub fn all() -> &'static [User] {
        if User::am_root() { &[User::Me, User::Nobody] } else { &[User::Me] }
    }

    /// Whether the tests are run by root.
    pub fn am_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// The words before a command that make this user run it, in the same process.
    pub fn launcher(self) -> Vec<String> {
        match self {
            User::Me => Vec::new(),
            User::Nobody => {
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
                    .map(String::from)
                    .to_vec()
            }
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            User::Me if User::am_root() => "root",
            User::Me => "user",
            User::Nobody => "nobody",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn lists_of_modes() {
        assert_eq!(Mode::parse_list("native,two_hosts").unwrap(), [Mode::Native, Mode::TwoHosts]);
        assert_eq!(Mode::parse_list("all").unwrap().len(), Mode::ALL.len());
        assert!(Mode::parse_list("nativ").is_err());
        assert!(Mode::parse_list("").is_err());
    }
}
