//! Calls of a body: forwarded ones beside a round trip of the same link on the same cores, local ones beside native.

#![forbid(unsafe_code)]

use anyhow::Result;
use bench::cores::CORES;
use bench::figure::ROUNDS;
use bench::guest::{Cores, Side, figure, in_turns, row};
use bench::link::link_round_trip;

fn main() -> Result<()> {
    // A lone body that calls much is kept on home's core: the link it is compared with lives there too.
    for (cores, name) in [(Cores::One, "one core"), (Cores::All, "free to use two")] {
        let ping = || link_round_trip(CORES[0], false);
        for (what, count, goal) in [("getppid", 8_000, "≤ 2"), ("pread", 6_000, "≤ 2.5")] {
            let pair = in_turns(ROUNDS, ping, || figure(Side::Loopback, cores, what, count))?;
            row(&format!("forwarded {what} / link round trip, {name}"), "µs", pair, 1, goal);
        }
    }
    for (what, count) in [("mmap", 60_000), ("futex", 300_000), ("yield", 300_000)] {
        let side = |side| move || figure(side, Cores::One, what, count);
        let pair = in_turns(ROUNDS, side(Side::Native), side(Side::Loopback))?;
        row(&format!("local {what} / native"), "µs", pair, 3, "≤ 1.15");
    }
    // What part of that any filter costs that looks at an argument.
    let side = |what| move || figure(Side::Native, Cores::One, what, 300_000);
    let pair = in_turns(ROUNDS, side("futex"), side("filtered-futex"))?;
    row("native futex under the least filter of its argument / native", "µs", pair, 3, "");
    Ok(())
}
