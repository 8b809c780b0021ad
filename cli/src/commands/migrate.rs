//! `mosix migrate`: moves one process.

use std::net::ToSocketAddrs;

use anyhow::{Context, Result, bail};
use home::control::{Reply, client};
use home::supervisor::Command;

/// Moves process `pid` to node `to`, a name or an address, or `home`, and returns when it is there.
pub fn migrate(pid: i32, to: &str) -> Result<()> {
    let place = place(to)?;
    for mut supervisor in client::supervisors() {
        // One that ends meanwhile does not have it.
        if !supervisor.processes().unwrap_or_default().iter().any(|line| line.pid == pid) {
            continue;
        }
        return match supervisor.ask(Command::Migrate { pid, to: place })? {
            Reply::Done => Ok(()),
            Reply::Failed(message) => bail!("cannot move {pid} to {to}: {message}"),
            Reply::Processes(_) | Reply::Traced(_) => {
                bail!("the supervisor of {pid} gave an answer to something else")
            }
        };
    }
    bail!("{pid} is not a process that mosix-run manages here (see mosix ps)")
}

/// A supervisor waits for nobody, so host names are looked up here.
fn place(to: &str) -> Result<String> {
    if !to.contains(':') {
        return Ok(to.to_owned());
    }
    let mut found = to.to_socket_addrs().with_context(|| format!("cannot find {to} (say HOST:PORT)"))?;
    Ok(found.next().with_context(|| format!("{to} has no address"))?.to_string())
}
