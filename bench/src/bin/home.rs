//! A process that is managed and never moves.

#![forbid(unsafe_code)]

use anyhow::Result;
use bench::figure::ROUNDS;
use bench::guest::{Cores, Side, figure, in_turns, row};

fn main() -> Result<()> {
    for (cores, name) in [(Cores::One, "one core"), (Cores::All, "two cores")] {
        let side = |side| move || figure(side, cores, "spawn", 100);
        let pair = in_turns(ROUNDS, side(Side::Native), side(Side::Home))?;
        row(&format!("fork+exec+wait of `true` at home / native, {name}"), "µs", pair, 0, "≤ 1.2");
    }
    Ok(())
}
