//! What the owner set: flags over environment (MOSIXD_…) over the configuration file.

mod hours;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use cluster::record::{MAX_LABEL_BYTES, MAX_LABELS};
use cluster::{Name, Policy};
use remote::Rank;
use serde::Deserialize;
use wire::{identity, local};

/// Where sessions are accepted; daemons talk among themselves on the port after it.
const SESSION_PORT: u16 = 7413;
const MAX_SESSIONS: u16 = 4096;
const MAX_GRACE_S: u64 = 3600;
/// A hundredth of a core: cpu.max knows no less than a millisecond of a tenth of a second.
const LEAST_CORES: f64 = 0.01;
/// More than a machine has.
const MOST_CORES: f64 = 1e6;
/// Configuration files larger than this are not read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Lend this machine to the programs of other machines of its cluster, and let its own programs use theirs.
///
/// Each option can also be given in the environment or, except for --config, in the configuration file; options win over the
/// environment, and that over the file. SIGHUP reads [guests] of the file again. SIGTERM and SIGINT send guests
/// home and end it; a second one ends it at once.
#[derive(Parser, Clone, Debug, Default)]
#[command(name = "mosixd", version)]
pub(crate) struct Arguments {
    /// Configuration file [default: /etc/mosix/mosixd.toml for root, else $XDG_CONFIG_HOME/mosix/mosixd.toml]
    #[arg(long, value_name = "FILE", env = "MOSIXD_CONFIG")]
    config: Option<PathBuf>,
    /// The UDP address for sessions [default: [::]:7413]
    #[arg(long, value_name = "HOST:PORT", env = "MOSIXD_LISTEN")]
    listen: Option<String>,
    /// The UDP address for other daemons [default: --listen's with the next port]
    #[arg(long, value_name = "HOST:PORT", env = "MOSIXD_PEER_LISTEN")]
    peer_listen: Option<String>,
    /// The address at which other daemons reach this one [default: found out]
    #[arg(long, value_name = "HOST[:PORT]", env = "MOSIXD_ADVERTISE")]
    advertise: Option<String>,
    /// Directory of this machine's identity [default: $XDG_CONFIG_HOME/mosix or ~/.config/mosix]
    #[arg(long, value_name = "DIR", env = "MOSIXD_IDENTITY")]
    identity: Option<PathBuf>,
    /// Directory for the contents of files that programs map [default: $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", env = "MOSIXD_CACHE")]
    cache: Option<PathBuf>,
    /// Directory for what outlives the daemon [default: /var/lib/mosix for root, else $XDG_STATE_HOME/mosix]
    #[arg(long, value_name = "DIR", env = "MOSIXD_STATE")]
    state: Option<PathBuf>,
    /// The control socket [default: /run/mosix/mosixd.sock for root, else $XDG_RUNTIME_DIR/mosix/mosixd.sock]
    #[arg(long, value_name = "PATH", env = "MOSIXD_SOCKET")]
    socket: Option<PathBuf>,
    /// The name that home machines see in a session [default: the one in the certificate]
    #[arg(long, env = "MOSIXD_NAME")]
    name: Option<String>,
    /// A daemon of the cluster; may be given several times
    #[arg(long = "seed", value_name = "HOST[:PORT]", env = "MOSIXD_SEEDS", value_delimiter = ',')]
    seeds: Vec<String>,
    /// The most sessions (runs of mosix-run) at a time [default: 64]
    #[arg(long, value_name = "N", env = "MOSIXD_MAX_SESSIONS")]
    max_sessions: Option<u16>,
    /// Seconds that guests have to leave when the daemon stops [default: 10]
    #[arg(long, value_name = "SECONDS", env = "MOSIXD_GRACE")]
    grace: Option<u64>,
    /// The most guests at a time
    #[arg(long, value_name = "N", env = "MOSIXD_GUESTS_MAX")]
    guests_max: Option<u16>,
    /// The most memory of all guests, in MiB
    #[arg(long, value_name = "MIB", env = "MOSIXD_GUESTS_MEMORY")]
    guests_memory: Option<u32>,
    /// Cores that all guests together may use, such as 1.5 [default: all]
    #[arg(long, value_name = "CORES", env = "MOSIXD_GUESTS_CORES")]
    guests_cores: Option<f64>,
    /// How guests compete with programs of this machine: a nice value from 0 to 19, or idle [default: 19, or 10 where
    /// the daemon may not raise priorities again]
    #[arg(long, value_name = "NICE|idle", env = "MOSIXD_GUESTS_PRIORITY")]
    guests_priority: Option<String>,
    /// A user who may send processes, USER of any home or USER@HOME; may be given several times [default: all]
    #[arg(
        long = "guests-user",
        value_name = "USER[@HOME]",
        env = "MOSIXD_GUESTS_USERS",
        value_delimiter = ','
    )]
    guests_users: Vec<String>,
    /// A home whose processes may come; may be given several times [default: all]
    #[arg(long = "guests-home", value_name = "NAME", env = "MOSIXD_GUESTS_HOMES", value_delimiter = ',')]
    guests_homes: Vec<String>,
    /// When guests may come, such as "mon-fri 18-8" or "sat-sun"; may be given several times [default: always]
    #[arg(long = "guests-hours", value_name = "HOURS", env = "MOSIXD_GUESTS_HOURS", value_delimiter = ',')]
    guests_hours: Vec<String>,
    /// How other daemons on this network are found besides seeds: mdns or off [default: mdns]
    #[arg(long, value_name = "HOW", env = "MOSIXD_DISCOVERY", value_enum)]
    discovery: Option<Discovery>,
    /// What --label of mosix-run may ask for; may be given several times
    #[arg(long = "label", value_name = "LABEL", env = "MOSIXD_LABELS", value_delimiter = ',')]
    labels: Vec<String>,
    /// Print the manual page and end
    #[arg(long, hide = true)]
    pub(crate) man: bool,
    /// Print a shell's completion script and end
    #[arg(long, hide = true, value_name = "SHELL", value_enum)]
    pub(crate) completions: Option<clap_complete::Shell>,
}

/// How other daemons are found besides seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Discovery {
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// Not at all.
    Off,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    peer_listen: Option<String>,
    advertise: Option<String>,
    identity: Option<PathBuf>,
    cache: Option<PathBuf>,
    state: Option<PathBuf>,
    socket: Option<PathBuf>,
    name: Option<String>,
    seeds: Vec<String>,
    max_sessions: Option<u16>,
    grace: Option<u64>,
    guests: Guests,
    cluster: ClusterKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Guests {
    max: Option<u16>,
    memory: Option<u32>,
    cores: Option<f64>,
    priority: Option<Priority>,
    homes: Vec<String>,
    users: Vec<String>,
    hours: Vec<String>,
}

/// As it stands in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Priority {
    Nice(u8),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClusterKeys {
    discovery: Option<Discovery>,
    labels: Vec<String>,
}

/// All that was set or is so by default.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) peer_listen: SocketAddr,
    /// Port 0: the one that daemons are listened to at.
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) identity: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) name: Option<String>,
    /// `HOST:PORT` each.
    pub(crate) seeds: Vec<String>,
    pub(crate) max_sessions: usize,
    pub(crate) grace: Duration,
    pub(crate) discovery: Discovery,
    pub(crate) labels: Vec<Name>,
    pub(crate) policy: Policy,
    pub(crate) rank: Rank,
}

/// What of the environment decides defaults.
struct Surroundings {
    uid: u32,
    variable: fn(&str) -> Option<PathBuf>,
}

impl Surroundings {
    fn here() -> Surroundings {
        // XDG Base Directory Specification 0.8: a relative path is ignored.
        let variable =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Surroundings { uid: rustix::process::geteuid().as_raw(), variable }
    }

    fn get(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name)
    }

    fn file(&self) -> Option<PathBuf> {
        if self.uid == 0 {
            return Some("/etc/mosix/mosixd.toml".into());
        }
        Some(identity::default_dir()?.join("mosixd.toml"))
    }

    fn state(&self) -> Option<PathBuf> {
        // systemd.exec(5), StateDirectory=.
        if let Some(given) = self.get("STATE_DIRECTORY") {
            return Some(given);
        }
        if self.uid == 0 {
            return Some("/var/lib/mosix".into());
        }
        let base = self.get("XDG_STATE_HOME").or_else(|| Some(self.get("HOME")?.join(".local/state")));
        Some(base?.join("mosix"))
    }

    fn socket(&self) -> PathBuf {
        local::socket_path(self.uid, self.get("XDG_RUNTIME_DIR").map(|dir| dir.join("mosix")))
    }
}

impl Config {
    /// Everything, from what was given on the command line and in the environment and what the file says.
    pub(crate) fn load(arguments: &Arguments) -> Result<Config> {
        let around = Surroundings::here();
        let file = read_file(arguments, &around)?;
        Config::merge(arguments.clone(), file, &around)
    }

    fn merge(flags: Arguments, file: File, around: &Surroundings) -> Result<Config> {
        let (policy, rank) = (policy(&flags, &file.guests)?, rank(&flags, &file.guests)?);
        let default_listen = format!("[::]:{SESSION_PORT}");
        let listen =
            resolve("listen", flags.listen.or(file.listen).as_deref().unwrap_or(&default_listen), None)?;
        let peer_listen = match flags.peer_listen.or(file.peer_listen) {
            Some(text) => resolve("peer-listen", &text, None)?,
            None => {
                let port = listen.port().checked_add(u16::from(listen.port() != 0));
                SocketAddr::new(
                    listen.ip(),
                    port.context("--listen: there is no port after 65535 for --peer-listen")?,
                )
            }
        };
        let advertise = flags.advertise.or(file.advertise);
        let advertise = advertise.map(|text| resolve("advertise", &text, Some(0))).transpose()?;
        let identity = flags.identity.or(file.identity).or_else(identity::default_dir);
        let state = flags.state.or(file.state).or_else(|| around.state());
        let max_sessions = flags.max_sessions.or(file.max_sessions).unwrap_or(64);
        ensure!((1..=MAX_SESSIONS).contains(&max_sessions), "max_sessions is 1 to {MAX_SESSIONS}");
        let grace = flags.grace.or(file.grace).unwrap_or(10);
        ensure!(grace <= MAX_GRACE_S, "grace is at most {MAX_GRACE_S} seconds");
        let seeds = first_given(flags.seeds, file.seeds);
        Ok(Config {
            listen,
            peer_listen,
            advertise,
            identity: identity.context("neither XDG_CONFIG_HOME nor HOME is set: say --identity DIR")?,
            cache: flags.cache.or(file.cache).unwrap_or_else(remote::Cache::default_dir),
            state: state.context("neither XDG_STATE_HOME nor HOME is set: say --state DIR")?,
            socket: flags.socket.or(file.socket).unwrap_or_else(|| around.socket()),
            name: flags.name.or(file.name),
            seeds: seeds.into_iter().map(|seed| with_port(&seed, SESSION_PORT + 1)).collect(),
            max_sessions: usize::from(max_sessions),
            grace: Duration::from_secs(grace),
            discovery: flags.discovery.or(file.cluster.discovery).unwrap_or(Discovery::Mdns),
            labels: labels(&first_given(flags.labels, file.cluster.labels))?,
            policy,
            rank,
        })
    }
}

/// What the owner allows guests, as it is written now: on SIGHUP.
pub(crate) fn reload_guests(arguments: &Arguments) -> Result<(Policy, Rank)> {
    let guests = read_file(arguments, &Surroundings::here())?.guests;
    Ok((policy(arguments, &guests)?, rank(arguments, &guests)?))
}

/// A list that was given replaces one of less authority.
fn first_given(flags: Vec<String>, file: Vec<String>) -> Vec<String> {
    if flags.is_empty() { file } else { flags }
}

fn read_file(arguments: &Arguments, around: &Surroundings) -> Result<File> {
    let (path, named) = match (&arguments.config, around.file()) {
        (Some(path), _) => (path.clone(), true),
        (None, Some(path)) => (path, false),
        (None, None) => return Ok(File::default()),
    };
    match read(&path) {
        Ok(text) => parse(&text).with_context(|| format!("{} is not as it must be", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => Ok(File::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut std::io::Read::take(std::fs::File::open(path)?, MAX_FILE_BYTES),
        &mut text,
    )?;
    Ok(text)
}

fn parse(text: &str) -> Result<File> {
    Ok(toml::from_str(text)?)
}

fn policy(flags: &Arguments, file: &Guests) -> Result<Policy> {
    let homes = first_given(flags.guests_homes.clone(), file.homes.clone());
    let hours = first_given(flags.guests_hours.clone(), file.hours.clone());
    let users = first_given(flags.guests_users.clone(), file.users.clone());
    for user in &users {
        let (user, home) = user.split_once('@').unwrap_or((user, "any"));
        name(user, "a user")?;
        name(home, "a home")?;
    }
    let cores = flags.guests_cores.or(file.cores);
    ensure!(
        cores.is_none_or(|cores| (LEAST_CORES..=MOST_CORES).contains(&cores)),
        "guests.cores is {LEAST_CORES} to {MOST_CORES}"
    );
    let unlimited = Policy::default();
    Ok(Policy {
        max_guests: flags.guests_max.or(file.max).unwrap_or(unlimited.max_guests),
        max_guest_memory_mib: flags.guests_memory.or(file.memory).unwrap_or(unlimited.max_guest_memory_mib),
        guest_cores: cores,
        homes: homes.iter().map(|home| name(home, "a home")).collect::<Result<_>>()?,
        users,
        hours: hours::parse(&hours)?,
        ..unlimited
    })
}

fn rank(flags: &Arguments, file: &Guests) -> Result<Rank> {
    let given = flags.guests_priority.clone().or_else(|| {
        file.priority.clone().map(|priority| match priority {
            Priority::Nice(nice) => nice.to_string(),
            Priority::Word(word) => word,
        })
    });
    match given.as_deref() {
        None => Ok(Rank::usual()),
        Some("idle") => Ok(Rank::Idle),
        Some(text) => match text.parse() {
            Ok(nice @ 0..=19) => Ok(Rank::Nice(nice)),
            _ => bail!("guests.priority is a nice value from 0 to 19, or idle, and not {text:?}"),
        },
    }
}

fn labels(given: &[String]) -> Result<Vec<Name>> {
    ensure!(given.len() <= MAX_LABELS, "a node has at most {MAX_LABELS} labels");
    let label = |text: &String| {
        ensure!(text.len() <= MAX_LABEL_BYTES, "the label {text:?} is longer than {MAX_LABEL_BYTES} bytes");
        name(text, "a label")
    };
    given.iter().map(label).collect()
}

fn name(text: &str, what: &str) -> Result<Name> {
    Name::new(text).with_context(|| format!("{text:?} cannot be {what}"))
}

/// `HOST` and `HOST:PORT` as the latter.
fn with_port(text: &str, port: u16) -> String {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{text}]:{port}");
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { text.to_owned() } else { format!("{text}:{port}") }
}

fn resolve(key: &str, text: &str, default_port: Option<u16>) -> Result<SocketAddr> {
    let full = default_port.map_or_else(|| text.to_owned(), |port| with_port(text, port));
    let mut addresses =
        full.to_socket_addrs().with_context(|| format!("--{key} {text}: give it as HOST:PORT"))?;
    match addresses.next() {
        Some(address) => Ok(address),
        None => bail!("--{key}: {text} has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings { uid: 7, variable: |name| (name == "HOME").then(|| "/home/u".into()) }
    }

    fn flags(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["mosixd"], words].concat()).unwrap()
    }

    fn merged(words: &[&str], file: &str) -> Result<Config> {
        Config::merge(flags(words), parse(file)?, &around())
    }

    #[test]
    fn flags_win_over_the_file_and_that_over_defaults() {
        let file = "listen = '127.0.0.1:9000'\nseeds = ['a', 'b:1', 'fe80::1']\n\
                    [guests]\nmax = 3\nhomes = ['x']\ncores = 1.5\nusers = ['u', 'v@x']\npriority = 'idle'\n[cluster]\ndiscovery = 'off'\nlabels = ['fast']";
        let config = merged(&["--guests-max", "5", "--label", "slow", "--label", "old"], file).unwrap();
        assert_eq!(config.listen, "127.0.0.1:9000".parse().unwrap());
        assert_eq!(config.peer_listen, "127.0.0.1:9001".parse().unwrap());
        assert_eq!(config.seeds, ["a:7414", "b:1", "[fe80::1]:7414"]);
        assert_eq!((config.policy.max_guests, config.policy.homes.len()), (5, 1));
        assert_eq!((config.policy.guest_cores, config.policy.users.len()), (Some(1.5), 2));
        assert_eq!(config.rank, Rank::Idle);
        assert_eq!(merged(&["--guests-priority", "19"], file).unwrap().rank, Rank::Nice(19));
        assert_eq!(merged(&[], "[guests]\npriority = 5").unwrap().rank, Rank::Nice(5));
        assert_eq!((config.discovery, config.labels.len()), (Discovery::Off, 2));
        assert_eq!(config.state, PathBuf::from("/home/u/.local/state/mosix"));
        let bare = merged(&[], "").unwrap();
        assert_eq!((bare.listen.port(), bare.peer_listen.port(), bare.max_sessions), (7413, 7414, 64));
        assert_eq!((bare.discovery, bare.policy), (Discovery::Mdns, Policy::default()));
        assert_eq!(bare.rank, Rank::usual());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for file in [
            "lisen = '[::]:1'",
            "[guests]\nmost = 3",
            "[cluster]\ndiscovery = 'dns'",
            "[cluster]\nlabels = ['a b']",
            "[cluster]\nlabels = ['a', 'b', 'c', 'd', 'e']",
            "[guests]\nhours = ['someday']",
            "[guests]\npriority = 20",
            "[guests]\npriority = 'low'",
            "[guests]\ncores = 0",
            "[guests]\nusers = ['a b']",
            "[guests]\nusers = ['a@']",
            "max_sessions = 0",
            "listen = '127.0.0.1:65535'",
            "grace = 4000",
        ] {
            assert!(merged(&[], file).is_err(), "{file}");
        }
        assert!(Arguments::try_parse_from(["mosixd", "--discovery", "dns"]).is_err());
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let missing = flags(&["--config", "/nonexistent/mosixd.toml"]);
        assert!(read_file(&missing, &around()).is_err());
        assert!(read_file(&Arguments::default(), &around()).is_ok());
    }
}
