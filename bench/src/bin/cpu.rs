//! Programs that compute: a digest-like loop that times itself, and `xz -9` from start to end.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};
use bench::figure::ROUNDS;
use bench::guest::{Cores, Side, command, figure, in_turns, row, wall_ms};

/// What xz compresses.
const XZ_BYTES: usize = 6 << 20;

fn main() -> Result<()> {
    let side = |side| move || figure(side, Cores::All, "mix", 8_000);
    row(
        "digest loop / native",
        "s",
        in_turns(ROUNDS, side(Side::Native), side(Side::Loopback))?,
        4,
        "≤ 1.01",
    );
    let file = std::env::temp_dir().join(format!("mosix-bench-{}.data", std::process::id()));
    fs::write(&file, words(XZ_BYTES)).context("write what xz compresses")?;
    let line: Vec<OsString> = ["xz", "-9", "-T1", "-k", "-c"]
        .map(OsString::from)
        .into_iter()
        .chain([file.clone().into()])
        .collect();
    let timed = |side| {
        let line = line.clone();
        move || Ok(wall_ms(command(side, Cores::All, &line)?)? / 1e3)
    };
    let pair = in_turns(ROUNDS, timed(Side::Native), timed(Side::Loopback));
    fs::remove_file(&file).ok();
    row("`xz -9` of 6 MiB with start and placement / native", "s", pair?, 3, "≤ 1.01");
    Ok(())
}

/// Text of made-up words, the same every time: compresses about as English does.
fn words(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let lexicon: Vec<Vec<u8>> =
        (0..4096).map(|_| (0..2 + next() % 9).map(|_| b'a' + (next() % 26) as u8).collect()).collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        // The product prefers small numbers, as word frequencies do.
        let pick = (next() % 4096) * (next() % 4096) / 4096;
        text.extend_from_slice(&lexicon[pick as usize]);
        text.push(b' ');
    }
    text
}
