//! What a traced call costs: at home beside strace, away beside the same without a trace. A local call away, which a trace makes
//! stop twice, stands beside strace too.

#![forbid(unsafe_code)]

use anyhow::Result;
use bench::figure::ROUNDS;
use bench::guest::{Cores, Side, figure, in_turns, row};

fn main() -> Result<()> {
    for (what, count) in [("getppid", 8_000), ("pread", 6_000), ("mmap", 4_000)] {
        let side = |side| move || figure(side, Cores::All, what, count);
        let pair = in_turns(ROUNDS, side(Side::Strace), side(Side::TracedHome))?;
        row(&format!("traced {what} at home / under strace -f"), "µs", pair, 1, "≤ 1");
        let (base, name) = match what {
            "mmap" => (Side::Strace, "under strace -f"),
            _ => (Side::Loopback, "without a trace"),
        };
        let pair = in_turns(ROUNDS, side(base), side(Side::TracedLoopback))?;
        row(&format!("traced {what} away / {name}"), "µs", pair, 1, "≤ 2");
    }
    Ok(())
}
