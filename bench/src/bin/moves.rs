//! A move of 512 MiB out and home, beside a bulk stream of the same link between the same two cores; and how long a process
//! of 1 GiB that writes 50 MiB a second stands still for a move out, with and without pre-copy.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bench::cores::CORES;
use bench::figure::Figure;
use bench::guest::{beside, guest, row};
use bench::link::link_bulk;

const MOVES: usize = 3;
/// More than any process has.
const NEVER_MIB: &str = "1000000000";
const DIRTY: (usize, &str) = (1024, "50");

fn main() -> Result<()> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(512), |arg| arg.parse()).context("MIB is a number")?;
    let mut bulk = Vec::new();
    let moved = moves(mib, "0", NEVER_MIB, || {
        bulk.push(link_bulk(CORES[1], mib)?);
        Ok(())
    })?;
    let bulk = Figure::from(bulk);
    for (to, name) in [("home", "home"), ("loopback", "out")] {
        let speeds = of(&moved, to, "total_ms").into_iter().map(|ms| mib as f64 / ms * 1e3);
        let pair = (bulk, Figure::from(speeds.collect::<Vec<_>>()));
        row(&format!("move of {mib} MiB {name} / bulk of the link, two cores"), "MiB/s", pair, 0, "≥ 0.7");
    }
    let (mib, rate) = DIRTY;
    let mut frozen = Vec::new();
    for from in [NEVER_MIB, "0"] {
        let moved = moves(mib, rate, from, || Ok(()))?;
        frozen.push(Figure::from(of(&moved, "loopback", "freeze_ms")));
    }
    let question = format!("freeze of {mib} MiB that write {rate} MiB/s: with pre-copy / without");
    row(&question, "ms", (frozen[0], frozen[1]), 1, "≤ 0.2, ≤ 100 ms");
    Ok(())
}

/// Moves a process home and out again a few times; its moves as the report has them.
fn moves(
    mib: usize,
    rate: &str,
    precopy_from: &str,
    mut between: impl FnMut() -> Result<()>,
) -> Result<Vec<serde_json::Value>> {
    let stats = std::env::temp_dir().join(format!("mosix-bench-{}.stats", std::process::id()));
    let mut child = Command::new(beside("mosix-run")?)
        .args(["--loopback", "--precopy-from", precopy_from, "--stats"])
        .arg(&stats)
        .arg("--")
        .arg(guest()?)
        .args(["hold", &mib.to_string(), rate])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start mosix-run")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
    for _ in 0..MOVES {
        between()?;
        for to in ["home", "loopback"] {
            let status = Command::new(beside("mosix")?).args(["migrate", line.trim(), to]).status()?;
            ensure!(status.success(), "mosix migrate to {to}: {status}");
        }
    }
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(status.success(), "the guest's memory changed: {status}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&stats)?)?;
    fs::remove_file(&stats).ok();
    let moves = report["moves"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let asked = |one: &&serde_json::Value| one["reason"].as_str().is_some_and(|why| why.contains("migrate"));
    Ok(moves.filter(asked).cloned().collect())
}

/// One figure of the moves to a place.
fn of(moves: &[serde_json::Value], to: &str, what: &str) -> Vec<f64> {
    moves.iter().filter(|one| one["to"] == to).filter_map(|one| one[what].as_f64()).collect()
}
