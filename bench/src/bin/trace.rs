//! What a traced call costs at home and away, beside strace.

#![forbid(unsafe_code)]

use anyhow::Result;
use bench::figure::ROUNDS;
use bench::guest::{Cores, Side, figure, in_turns, row};

fn main() -> Result<()> {
    for (what, count) in [("getppid", 8_000), ("pread", 6_000), ("mmap", 4_000)] {
        let side = |side| move || figure(side, Cores::All, what, count);
        for (ours, name) in [(Side::TracedHome, "at home"), (Side::TracedLoopback, "away")] {
            let pair = in_turns(ROUNDS, side(Side::Strace), side(ours))?;
            row(&format!("traced {what} {name} / under strace -f"), "µs", pair, 1, "≤ 1");
        }
    }
    Ok(())
}
