//! The node daemon: lends this machine's CPU and memory to the programs of other machines of its cluster.
#![forbid(unsafe_code)]

mod daemon;
mod log;
mod session;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use wire::identity::{self, Role};

use daemon::{Daemon, Settings};

/// Lend this machine to the programs of other machines of its cluster.
///
/// Logs one line for each session on standard error. SIGTERM ends it and every program that computes here.
#[derive(Parser)]
#[command(name = "mosixd", version)]
struct Arguments {
    /// The UDP address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "[::]:7413")]
    listen: String,
    /// Directory of this machine's identity [default: $XDG_CONFIG_HOME/mosix or ~/.config/mosix]
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// Directory for the contents of files that programs map [default: $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The name that home machines see [default: the one in the certificate]
    #[arg(long)]
    name: Option<String>,
    /// The most sessions (runs of mosix-run) at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_sessions: u16,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let address = resolve(&arguments.listen)?;
    let dir = arguments
        .identity
        .or_else(identity::default_dir)
        .context("neither XDG_CONFIG_HOME nor HOME is set: say --identity DIR")?;
    let identity = identity::load(&dir, Role::Node)?;
    let name = arguments.name.unwrap_or_else(|| identity.name().name.clone());
    if name == "home" || name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        bail!("{name:?} cannot be a node's name: choose one without spaces that is not \"home\"");
    }
    let cache = arguments.cache.unwrap_or_else(remote::Cache::default_dir);
    // Found out here rather than in the first session.
    remote::Cache::open(&cache)
        .with_context(|| format!("cannot use {} for file contents (see --cache)", cache.display()))?;
    let settings = Settings { identity, name, cache, max_sessions: usize::from(arguments.max_sessions) };
    Daemon::open(address, settings)?.work()
}

fn resolve(listen: &str) -> Result<SocketAddr> {
    listen
        .to_socket_addrs()
        .with_context(|| format!("cannot listen on {listen} (give --listen as HOST:PORT)"))?
        .next()
        .with_context(|| format!("{listen} has no address"))
}
