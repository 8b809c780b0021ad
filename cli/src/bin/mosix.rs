//! Looks at and directs managed processes, and makes and joins clusters.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use cli::commands;
use wire::identity;

/// An invitation is below 4 KiB; a larger file is something else.
const MAX_INVITATION_BYTES: u64 = 64 << 10;

/// Look at and direct managed processes; make and join clusters.
#[derive(Parser)]
#[command(name = "mosix", version)]
struct Arguments {
    /// Directory of this machine's identity [default: $XDG_CONFIG_HOME/mosix or ~/.config/mosix]
    #[arg(long, global = true, value_name = "DIR")]
    identity: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a cluster, with this machine as its first member
    Init {
        /// The cluster's name
        #[arg(long, default_value = "mosix")]
        name: String,
        /// This machine's name in the cluster [default: its host name]
        #[arg(long)]
        machine: Option<String>,
    },
    /// Make the file with which another machine joins (where the cluster was made)
    Invite {
        /// The name that the other machine will have
        machine: String,
        /// The file to write; secret until it has been used [default: MACHINE.mosix]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Join a cluster with a file made by `mosix invite`
    Join {
        /// The file, or - for standard input
        invitation: PathBuf,
    },
    /// List the programs that mosix-run manages here, where they compute and why they stay
    Ps {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Move a process to a node, or home
    Migrate {
        /// Its process id at home
        pid: i32,
        /// A node's name, or the address where its mosixd listens (HOST:PORT), or home
        #[arg(value_name = "NODE|home")]
        to: String,
    },
    /// Say what this kernel and machine can do, and what is missing
    Check,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mosix: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Ps { json } => commands::ps::ps(json),
        Command::Migrate { pid, to } => commands::migrate::migrate(pid, &to),
        Command::Check => commands::check::check(),
        Command::Init { .. } | Command::Invite { .. } | Command::Join { .. } => cluster(arguments),
    }
}

fn cluster(arguments: Arguments) -> Result<()> {
    let dir = arguments
        .identity
        .or_else(identity::default_dir)
        .context("neither XDG_CONFIG_HOME nor HOME is set: say --identity DIR")?;
    match arguments.command {
        Command::Init { name, machine } => init(&dir, &name, machine),
        Command::Invite { machine, output } => invite(&dir, &machine, output),
        Command::Join { invitation } => join(&dir, &invitation),
        Command::Ps { .. } | Command::Migrate { .. } | Command::Check => Ok(()),
    }
}

fn init(dir: &Path, cluster: &str, machine: Option<String>) -> Result<()> {
    let machine = machine.unwrap_or_else(host_name);
    let cluster = identity::init_cluster(dir, cluster, &machine)?;
    println!("cluster {cluster} made, with {machine} as its first member, in {}", dir.display());
    println!("keep {} safe: whoever has it can let machines in", dir.join("ca.key").display());
    println!("to add a machine B:");
    println!("  here:  mosix invite B            (writes B.mosix)");
    println!("         scp B.mosix B:");
    println!("  on B:  mosix join B.mosix");
    println!("         rm B.mosix                (here too)");
    Ok(())
}

fn invite(dir: &Path, machine: &str, output: Option<PathBuf>) -> Result<()> {
    let bundle = identity::export_bundle(dir, machine)?;
    let path = output.unwrap_or_else(|| format!("{machine}.mosix").into());
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(bundle.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} lets {machine} in. It holds {machine}'s keys: copy it over ssh, then", path.display());
    println!("  on {machine}:  mosix join {}", path.file_name().unwrap_or_default().display());
    println!("and delete it on both machines");
    Ok(())
}

fn join(dir: &Path, invitation: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = if invitation == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = std::fs::File::open(invitation);
        Box::new(file.with_context(|| format!("cannot read {}", invitation.display()))?)
    };
    input
        .take(MAX_INVITATION_BYTES)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", invitation.display()))?;
    let name = identity::import_bundle(dir, &bytes)?;
    println!("this machine is now {} of cluster {}", name.name, name.cluster);
    if invitation != Path::new("-") {
        println!("delete {} here and where it was made: it holds this machine's keys", invitation.display());
    }
    Ok(())
}

/// The host's name up to its first dot.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy();
    full.split('.').next().unwrap_or_default().to_owned()
}
