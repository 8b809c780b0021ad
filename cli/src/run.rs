//! The command line of mosix-run.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::advice::Wishes;
use crate::node::{self, Node};
use crate::trace::TraceArguments;
use clap::Parser;
use home::{DaemonOptions, Options};
use tracee::launch::{self, Failure, Handshake, STATUS_OWN_FAILURE};

/// Run a program with its computation on another node.
///
/// The program stays in this process, with this terminal, these files and this parent; only its computation moves. Where to,
/// the node daemon of this machine (mosixd) decides for each program when it begins and while it runs; without a daemon
/// everything computes here.
#[derive(Parser, Debug)]
#[command(name = "mosix-run", version, override_usage = "mosix-run [OPTIONS] [--] COMMAND [ARGUMENT]...")]
pub struct Arguments {
    /// Compute on an embedded node in this machine: nothing to set up, for trying and testing
    #[arg(long, conflicts_with_all = ["on", "home"])]
    pub loopback: bool,
    /// Compute on this node: the name of one that the node daemon knows, or the address where its mosixd listens, for which no
    /// daemon is needed here
    #[arg(long, value_name = "NODE|HOST:PORT", conflicts_with = "home")]
    pub on: Option<String>,
    /// Compute here; nothing moves
    #[arg(long)]
    pub home: bool,
    /// Run at a lower priority while at home, so that whoever sits here is not disturbed
    #[arg(long)]
    pub nice_home: bool,
    /// Directory of this machine's identity [default: $XDG_CONFIG_HOME/mosix or ~/.config/mosix]
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Print every system call and where it was made, as strace prints them (see docs/TRACE.md)
    #[arg(long)]
    pub trace_syscalls: bool,
    /// Write a report (JSON) to FILE; it is complete when the command has ended
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Take the node's vDSO for another kernel's, as between nodes whose kernels differ: for tests
    #[arg(long, hide = true)]
    pub foreign_vdso: bool,
    /// Copy processes while they run from so many MiB of memory on: for tests and measurements
    #[arg(long, hide = true, value_name = "MIB")]
    pub precopy_from: Option<u64>,
    /// Say on standard error what is decided and why
    #[arg(short, long)]
    pub verbose: bool,
    /// How --trace-syscalls looks and what it is of
    #[command(flatten, next_help_heading = "Tracing of system calls (with --trace-syscalls)")]
    pub trace: TraceArguments,
    /// What the node daemon is told
    #[command(flatten)]
    pub wishes: Wishes,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Runs it all; returns the exit status of a command line that started nothing.
pub fn main() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let status = if error.use_stderr() { STATUS_OWN_FAILURE } else { 0 };
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return status;
        }
    };
    let failure = start(arguments);
    // Not eprintln: it panics when standard error is closed.
    let _ = writeln!(std::io::stderr(), "mosix-run: {failure}");
    failure.status
}

fn start(arguments: Arguments) -> Failure {
    if let Some(supervisor) = outer_supervisor() {
        // `mosix-run make` whose makefile says mosix-run: the outer one manages this process and its choices hold.
        if arguments.verbose {
            let _ = writeln!(std::io::stderr(), "mosix-run: managed by supervisor {supervisor} already");
        }
        return launch::execute_alone(&arguments.command);
    }
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(failure) => return failure,
    };
    let node = match (&arguments.on, arguments.loopback) {
        (Some(address), _) if address.contains(':') => {
            Some(Node::At(address.clone(), arguments.identity.clone()))
        }
        (_, true) => Some(Node::Loopback),
        (_, false) => None,
    };
    let supervise = |handshake: Handshake| {
        let mut options = options;
        match node.as_ref().map(node::connect).transpose() {
            Ok(link) => {
                options.node = link;
                home::run(handshake, options)
            }
            Err(message) => {
                handshake.fail(&message);
                STATUS_OWN_FAILURE
            }
        }
    };
    launch::launch(&arguments.command, supervise, home::control::sweep)
}

/// The supervisor that traces this process because an outer mosix-run has started it.
fn outer_supervisor() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{tracer}/comm")).ok()?;
    (name.trim_end() == "mosix-run").then_some(tracer)
}

/// What `--nice-home` adds to the nice value, as nice(1) does.
const NICE_HOME: i32 = 10;

/// Whom to ask where processes go: nobody if it is said already.
fn daemon(arguments: &Arguments) -> Result<Option<DaemonOptions>, String> {
    let by_name = arguments.on.as_ref().filter(|on| !on.contains(':'));
    if arguments.home || arguments.loopback || arguments.on.is_some() && by_name.is_none() {
        let said = if arguments.home {
            "--home"
        } else if arguments.loopback {
            "--loopback"
        } else {
            "--on HOST:PORT"
        };
        if arguments.wishes.are_some() {
            return Err(format!(
                "{said} says where the program computes: there is nothing to ask of the node daemon"
            ));
        }
        return Ok(None);
    }
    let advice = arguments.wishes.clone().advice(by_name.cloned());
    Ok(Some(DaemonOptions { sockets: crate::daemon::sockets(), advice, required: by_name.is_some() }))
}

fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let own = |message: String| Failure { status: STATUS_OWN_FAILURE, message };
    let daemon = daemon(arguments).map_err(own)?;
    let create = |path: &Path| {
        File::create(path).map_err(|error| own(format!("cannot write {}: {error}", path.display())))
    };
    let stderr = || rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3).ok();
    if arguments.trace.are_some() && !arguments.trace_syscalls {
        return Err(own(
            "the options for tracing (-e, -o, -c and so on) say how --trace-syscalls looks: give that, too"
                .into(),
        ));
    }
    let trace = arguments.trace_syscalls.then(|| arguments.trace.setup(|| stderr().map(File::from)));
    let trace = trace.transpose().map_err(own)?.map(|(setup, _)| setup);
    Ok(Options {
        home_only: arguments.home,
        nice: if arguments.nice_home { NICE_HOME } else { 0 },
        daemon,
        node: None,
        identity: arguments.identity.clone(),
        foreign_vdso: arguments.foreign_vdso,
        precopy_bytes: arguments.precopy_from.map(|mib| mib.saturating_mul(1 << 20)),
        trace,
        stats_file: arguments.stats.as_deref().map(create).transpose()?,
        verbose: if arguments.verbose { stderr() } else { None },
    })
}
