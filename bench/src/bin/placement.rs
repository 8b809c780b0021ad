//! What it costs to start `true` on the embedded node, with the content cache warm.

#![forbid(unsafe_code)]

use std::fs;

use anyhow::{Context, Result};
use bench::guest::{Cores, Side, beside, command, in_turns, row, wall_ms};

const STARTS: usize = 21;

fn main() -> Result<()> {
    let stats = std::env::temp_dir().join(format!("mosix-bench-{}.stats", std::process::id()));
    let words = ["/bin/true".into()];
    let mut moves = Vec::new();
    // The first fills the cache.
    wall_ms(command(Side::Loopback, Cores::All, &words)?)?;
    let native = || wall_ms(command(Side::Native, Cores::All, &words)?);
    let ours = || {
        let mut command = std::process::Command::new(beside("mosix-run")?);
        command.arg("--loopback").arg("--stats").arg(&stats).arg("--").arg(&words[0]);
        let ms = wall_ms(command)?;
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(&stats)?).context("read the --stats file")?;
        moves.push(report["moves"][0]["total_ms"].as_f64().context("no move in the --stats file")?);
        Ok(ms)
    };
    let pair = in_turns(STARTS, native, ours);
    fs::remove_file(&stats).ok();
    let (base, placed) = pair?;
    row("start of `true` with placement / native", "ms", (base, placed), 2, "< 10 ms more");
    let of_it = bench::figure::Figure::from(moves);
    println!("| – of it the move itself (`moves[0].total_ms`) | ms |  | {} |  |  |", of_it.text(2));
    Ok(())
}
