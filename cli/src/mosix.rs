//! The command line of mosix. Manual pages and shell completions are made from the same definitions.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use wire::identity;
use wire::local::Owner;

use crate::commands::{check, cluster, migrate, nodes, owner, pages, ps, speed, top, trace, why};
use crate::trace::TraceArguments;

/// Look at and direct managed processes and nodes; make and join clusters.
#[derive(Parser, Debug)]
#[command(name = "mosix", version)]
pub struct Arguments {
    /// Directory of this machine's identity [default: $XDG_CONFIG_HOME/mosix or ~/.config/mosix]
    #[arg(long, global = true, value_name = "DIR")]
    identity: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
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
    /// Print a token with which one machine joins (where the cluster was made; mosixd must run here)
    ///
    /// The token is a secret until it has been used or has expired.
    Token {
        /// How long it is good for: a number and s, m, h or d
        #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = duration)]
        lifetime: Duration,
        /// Where the other machine reaches this one's mosixd; may be given several times [default: this machine's addresses,
        /// port 7414]
        #[arg(long, value_name = "HOST[:PORT]")]
        address: Vec<String>,
    },
    /// Make the file with which another machine joins (where the cluster was made)
    ///
    /// For machines that do not reach each other yet. The file holds the other machine's keys.
    Invite {
        /// The name that the other machine will have
        machine: String,
        /// The file to write; secret until it has been used [default: MACHINE.mosix]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Join a cluster, with a token or with a file made by `mosix invite`
    ///
    /// Other users of this machine can see a token on a command line as long as the command runs; `mosix join -` reads it
    /// from standard input.
    Join {
        /// The token or the file, or - for standard input
        #[arg(value_name = "TOKEN|FILE")]
        invitation: PathBuf,
        /// Where to ask, instead of where the token says
        #[arg(value_name = "HOST[:PORT]")]
        daemon: Option<String>,
        /// This machine's name in the cluster, for a token [default: its host name]
        #[arg(long)]
        machine: Option<String>,
    },
    /// Leave the cluster: remove this machine's identity
    Leave {
        /// Also where the cluster was made, whose key nobody else has
        #[arg(long)]
        even_ca: bool,
    },
    /// List or remove the cluster's machines (where it was made)
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// List the nodes that this one knows, with their load
    Nodes {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the programs that mosix-run manages here, where they compute and why they stay
    Ps {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show nodes and processes as they change, with keys to direct them
    Top,
    /// Move a process to a node, or home
    Migrate {
        /// Its process id at home
        pid: i32,
        /// A node's name, or the address where its mosixd listens (HOST:PORT), or home
        #[arg(value_name = "NODE|home")]
        to: String,
    },
    /// Say why a process is where it is
    Why {
        /// Its process id at home
        pid: i32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the system calls of a process that mosix-run manages, and of those that it makes, until they end or Ctrl-C
    ///
    /// The process goes on as before, whether the trace ends by Ctrl-C or otherwise. The trace is written to standard output.
    Trace {
        /// Its process id at home
        #[arg(required_unless_present = "attach")]
        pid: Option<i32>,
        /// The same, as strace has it
        #[arg(short = 'p', long, value_name = "PID", conflicts_with = "pid")]
        attach: Option<i32>,
        /// How it looks and what it is of
        #[command(flatten, next_help_heading = "The trace")]
        arguments: TraceArguments,
    },
    /// Print what mosixd has done lately, the latest last
    Events {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring all processes of this home back; they may go again after `mosix nostay`
    Bring,
    /// Send all guests away and take no new ones until `mosix unblock`
    Expel,
    /// Take no new guests
    Block,
    /// Take guests again
    Unblock,
    /// Let no process of this home leave by itself
    Stay,
    /// Let them leave again
    Nostay,
    /// Keep a process where it is
    Lock {
        /// Its process id at home
        pid: i32,
    },
    /// Let a process move again
    Unlock {
        /// Its process id at home
        pid: i32,
    },
    /// Measure the speed of this machine's cores
    Speed {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what this kernel and machine can do, and what is missing
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script
    Completions {
        /// Of which shell
        shell: Shell,
        /// For which program
        #[arg(default_value = "mosix", value_parser = ["mosix", "mosix-run"])]
        program: String,
    },
    /// Write manual pages
    #[command(hide = true)]
    Man {
        /// To which directory
        dir: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
enum NodeCommand {
    /// List all machines that were ever let in
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a machine and its users out of the cluster, at once
    Remove {
        /// Its name
        name: String,
    },
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> Result<()> {
    let dir = || {
        let given = arguments.identity.clone().or_else(identity::default_dir);
        given.context("neither XDG_CONFIG_HOME nor HOME is set: say --identity DIR")
    };
    match arguments.command {
        Command::Init { name, machine } => cluster::init(&dir()?, &name, machine),
        Command::Token { lifetime, address } => cluster::token(&dir()?, lifetime, &address),
        Command::Invite { machine, output } => cluster::invite(&dir()?, &machine, output),
        Command::Join { invitation, daemon, machine } => {
            cluster::join(&dir()?, &invitation, daemon.as_deref(), machine)
        }
        Command::Leave { even_ca } => cluster::leave(&dir()?, even_ca),
        Command::Node { command: NodeCommand::List { json } } => cluster::list(&dir()?, json),
        Command::Node { command: NodeCommand::Remove { name } } => cluster::remove(&dir()?, &name),
        Command::Nodes { json } => nodes::nodes(json),
        Command::Ps { json } => ps::ps(json),
        Command::Top => top::top(),
        Command::Migrate { pid, to } => migrate::migrate(pid, &to),
        Command::Why { pid, json } => why::why(pid, json),
        Command::Trace { pid, attach, arguments } => {
            trace::trace(pid.or(attach).context("say the id of a process")?, &arguments)
        }
        Command::Events { json } => why::events(json),
        Command::Bring => owner::owner(Owner::Bring),
        Command::Expel => owner::owner(Owner::Expel),
        Command::Block => owner::owner(Owner::Block),
        Command::Unblock => owner::owner(Owner::Unblock),
        Command::Stay => owner::owner(Owner::Stay),
        Command::Nostay => owner::owner(Owner::Nostay),
        Command::Lock { pid } => owner::lock(pid, true),
        Command::Unlock { pid } => owner::lock(pid, false),
        Command::Speed { json } => speed::speed(json),
        Command::Check { json } => check::check(json),
        Command::Completions { shell, program } => pages::completions(shell, &program),
        Command::Man { dir } => pages::manual(&dir),
    }
}

/// Most that `--for` takes: a secret that lies about longer is better an invitation file.
const MAX_DURATION_S: u64 = 30 * 86_400;

/// "15m" and the like.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let unit = units.iter().find_map(|(unit, s)| Some((text.strip_suffix(*unit)?, s)));
    let seconds = unit.and_then(|(number, s)| number.parse::<u64>().ok()?.checked_mul(*s));
    match seconds {
        Some(s @ 1..=MAX_DURATION_S) => Ok(Duration::from_secs(s)),
        _ => Err("say a number and s, m, h or d, up to 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "15", "m", "0m", "-1s", "1.5h", "31d", "99999999999999999999d", "ß"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
