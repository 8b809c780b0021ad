//! `mosix migrate`: moves one process.

use anyhow::{Result, bail};
use home::control::{Reply, client};
use home::supervisor::Command;

/// Moves process `pid` to node `to`, or `home`, and returns when it is there.
pub fn migrate(pid: i32, to: &str) -> Result<()> {
    for mut supervisor in client::supervisors() {
        // One that ends meanwhile does not have it.
        if !supervisor.processes().unwrap_or_default().iter().any(|line| line.pid == pid) {
            continue;
        }
        return match supervisor.ask(Command::Migrate { pid, to: to.to_owned() })? {
            Reply::Done => Ok(()),
            Reply::Failed(message) => bail!("cannot move {pid} to {to}: {message}"),
            Reply::Processes(_) => bail!("the supervisor of {pid} gave an answer to something else"),
        };
    }
    bail!("{pid} is not a process that mosix-run manages here (see mosix ps)")
}
