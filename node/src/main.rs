//! The node daemon: lends this machine's CPU and memory to the programs of other machines of its cluster, and lets this
//! machine's programs use theirs.
//!
//! | module | holds |
//! | --- | --- |
//! | [`config`] | flags, environment, file |
//! | [`agent`] | the daemon's own process: membership, placement, admission, control socket |
//! | [`daemon`] | the session server, which forks a process for each session |
//! | [`session`] | that process |
//! | [`talk`] | what these three kinds of process say to each other |
//! | [`probe`] | this machine's load |
//! | [`limits`] | the control group of guests |
//! | [`state`] | what outlives the daemon |
//! | [`log`] | lines on standard error |
#![forbid(unsafe_code)]

mod agent;
mod config;
mod daemon;
mod limits;
mod log;
mod probe;
mod session;
mod state;
mod talk;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser};
use tracee::launch;
use wire::identity::{self, Role};

use config::{Arguments, Config};
use daemon::{Daemon, Settings};
use limits::Limits;
use remote::Standing;
use talk::End;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let why = format!("{error:#}");
            log::error("ends", &[("why", &why)]);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let mut definition = Arguments::command();
    if arguments.man {
        let page = clap_mangen::Man::new(definition)
            .section("8")
            .source(concat!("mosix-run ", env!("CARGO_PKG_VERSION")));
        return page.render(&mut std::io::stdout()).context("cannot write the manual page");
    }
    if let Some(shell) = arguments.completions {
        clap_complete::generate(shell, &mut definition, "mosixd", &mut std::io::stdout());
        return Ok(());
    }
    let config = Config::load(&arguments)?;
    let identity = identity::load(&config.identity, Role::Node)?;
    let name = config.name.clone().unwrap_or_else(|| identity.name().name.clone());
    if name == "home" || name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        bail!("{name:?} cannot be a node's name: choose one without spaces that is not \"home\"");
    }
    // Found out here rather than in the first session.
    remote::Cache::open(&config.cache)
        .with_context(|| format!("cannot use {} for file contents (see --cache)", config.cache.display()))?;
    let listener = daemon::listen(config.listen)?;
    let sessions = listener.local_addr()?;
    let limits = Limits::make(&config.policy);
    let rank = config.rank.fitting();
    let (end, theirs) = End::pair().context("socketpair")?;
    let settings = Settings {
        identity: identity.clone(),
        identity_dir: config.identity.clone(),
        name,
        cache: config.cache.clone(),
        max_sessions: config.max_sessions,
        standing: Standing { rank, group: limits.group.clone() },
        cores: limits.confined(&config.policy),
    };
    // Before the runtime begins: fork is for a process with one thread. In the parent, it drops what the child takes along.
    let server =
        launch::fork(|| match Daemon::new(listener, theirs, settings).and_then(|mut daemon| daemon.work()) {
            Ok(()) => 0,
            Err(error) => {
                let why = format!("{error:#}");
                log::error("session-server-ends", &[("why", &why)]);
                1
            }
        });
    let server = server.map_err(std::io::Error::from).context("cannot fork the session server")?;
    agent::run(agent::Start { arguments, config, identity, end, server, sessions, limits })
}
