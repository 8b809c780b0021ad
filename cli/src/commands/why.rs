//! `mosix why` and `mosix events`: what the daemon has decided.

use std::io::{self, Write};

use anyhow::Result;
use wire::local::Request;

use crate::daemon::Daemon;
use crate::table::{json as json_to, printable};

/// Prints why a process is where it is.
pub fn why(pid: i32, json: bool) -> Result<()> {
    print(&Daemon::connect()?.lines(&Request::Why { pid })?, json)
}

/// Prints what has happened, the latest last.
pub fn events(json: bool) -> Result<()> {
    print(&Daemon::connect()?.lines(&Request::Events)?, json)
}

fn print(lines: &[String], json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if json {
        json_to(&mut out, lines)?;
    } else {
        lines.iter().try_for_each(|line| writeln!(out, "{}", printable(line)))?;
    }
    Ok(())
}
