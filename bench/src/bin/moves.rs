//! A move of 512 MiB out and home, beside a bulk stream of the same link between the same two cores.

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

fn main() -> Result<()> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(512), |arg| arg.parse()).context("MIB is a number")?;
    let stats = std::env::temp_dir().join(format!("mosix-bench-{}.stats", std::process::id()));
    let mut child = Command::new(beside("mosix-run")?)
        .args(["--loopback", "--stats"])
        .arg(&stats)
        .arg("--")
        .arg(guest()?)
        .args(["hold", &mib.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start mosix-run")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let mut bulk = Vec::new();
    for _ in 0..MOVES {
        bulk.push(link_bulk(CORES[1], mib)?);
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
    let speeds = |to: &str| -> Vec<f64> {
        let moves = report["moves"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let asked =
            moves.filter(|one| one["reason"].as_str().is_some_and(|reason| reason.contains("migrate")));
        let asked = asked.filter(|one| one["to"] == to);
        asked.filter_map(|one| Some(mib as f64 / one["total_ms"].as_f64()? * 1e3)).collect()
    };
    let bulk = Figure::from(bulk);
    for (to, name) in [("home", "home"), ("loopback", "out")] {
        let pair = (bulk, Figure::from(speeds(to)));
        row(&format!("move of {mib} MiB {name} / bulk of the link, two cores"), "MiB/s", pair, 0, "≥ 0.7");
    }
    Ok(())
}
