//! `mosix bring`, `expel`, `block`, `unblock`, `stay`, `nostay`, `lock` and `unlock`: what the owner wants.

use anyhow::Result;
use wire::local::{Owner, Request};

use crate::daemon::Daemon;

/// Returns when it is so.
pub fn owner(what: Owner) -> Result<()> {
    Daemon::connect()?.order(&Request::Owner(what))
}

/// Keeps a process where it is, or lets it move again.
pub fn lock(pid: i32, locked: bool) -> Result<()> {
    Daemon::connect()?.order(&Request::Lock { pid, locked })
}
