//! What a user asks of placement, and whom to ask for it.

use std::path::PathBuf;

use clap::Args;
use wire::local::{self, Advice};

/// Options that the cluster's daemon is told.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Placement by the node daemon")]
pub struct Wishes {
    /// Compute where the command begins: nothing moves unless it is told to (mosix migrate)
    #[arg(long)]
    pub no_migrate: bool,
    /// Only on these nodes, or at home
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Not on these nodes
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Only on nodes with this label; with several, all of them
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// It computes: its system calls do not keep it at home
    #[arg(long, conflicts_with = "io_job")]
    pub cpu_job: bool,
    /// It makes system calls: it stays at home
    #[arg(long)]
    pub io_job: bool,
    /// Memory that it will need, such as 800M or 4G
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    pub mem: Option<u32>,
}

impl Wishes {
    /// Whether anything is asked for.
    pub fn are_some(&self) -> bool {
        self.clone().advice(None) != Advice::default()
    }

    /// For the daemon; `on` is the name of a node.
    pub fn advice(self, on: Option<String>) -> Advice {
        Advice {
            no_migrate: self.no_migrate,
            on,
            nodes: self.nodes,
            exclude: self.exclude,
            labels: self.label,
            cpu_job: self.cpu_job,
            io_job: self.io_job,
            memory_mib: self.mem,
        }
    }
}

/// A size with a unit, in MiB and rounded up.
fn mebibytes(text: &str) -> Result<u32, String> {
    let wrong = || "say it as 800M or 4G (K, M, G and T are powers of 1024)".to_owned();
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let shift = match unit {
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let mib = (number * f64::from(1 << (shift - 10)) / 1024.0).ceil();
    if mib >= 1.0 && mib <= f64::from(u32::MAX) { Ok(mib as u32) } else { Err(wrong()) }
}

/// Sockets of daemons, the one to try first in front: what $MOSIX_SOCKET says alone, or the user's own and the system's.
pub fn sockets() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("MOSIX_SOCKET") {
        return vec![named.into()];
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("mosix"));
    let own = local::socket_path(rustix::process::geteuid().as_raw(), runtime);
    let mut sockets = vec![own, local::SYSTEM_SOCKET.into()];
    sockets.dedup();
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        for (text, mib) in [("800M", 800), ("4G", 4096), ("1.5g", 1536), ("1K", 1), ("2T", 2 << 20)] {
            assert_eq!(mebibytes(text), Ok(mib), "{text}");
        }
        for text in ["", "4", "G", "-1G", "0M", "99999999T", "4é", "nanG", "infM"] {
            assert!(mebibytes(text).is_err(), "{text}");
        }
    }
}
