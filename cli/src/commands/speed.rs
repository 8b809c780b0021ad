//! `mosix speed`: how fast this machine's cores are.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::Result;
use cluster::speed::{ROUNDS_PER_SECOND, compute, milli};
use serde::Serialize;

/// A few milliseconds each.
const ROUNDS: u64 = ROUNDS_PER_SECOND / 200;

/// Enough for one that nobody disturbs.
const TRIES: usize = 60;

#[derive(Serialize)]
struct Speed {
    /// In units of [`cluster::speed`].
    speed: f64,
    /// That this process may use.
    cores: usize,
}

/// Prints it. Takes a third of a second.
pub fn speed(json: bool) -> Result<()> {
    let tries = std::iter::repeat_with(|| {
        let begun = Instant::now();
        compute(ROUNDS);
        milli(ROUNDS, begun.elapsed())
    });
    let best = tries.take(TRIES).max().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let speed = Speed { speed: f64::from(best) / 1e3, cores };
    let mut out = io::stdout().lock();
    if json {
        return Ok(crate::table::json(&mut out, &speed)?);
    }
    writeln!(out, "{:.2} on each of {cores} cores", speed.speed)?;
    writeln!(
        out,
        "1.0 is {} million rounds of a loop per second, about a server core of 2020 at 3 GHz",
        ROUNDS_PER_SECOND / 1_000_000
    )?;
    Ok(())
}
