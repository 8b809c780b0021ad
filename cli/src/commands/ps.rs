//! `mosix ps`: managed processes, where they compute, and why they may not move.

use std::io::{self, Write};

use anyhow::Result;
use home::control::client;
use home::supervisor::ProcessLine;

/// Prints the processes of every supervisor of this user (of everybody, for root).
pub fn ps(json: bool) -> Result<()> {
    let mut lines: Vec<ProcessLine> = Vec::new();
    for mut supervisor in client::supervisors() {
        // One that ends meanwhile has no processes left.
        lines.extend(supervisor.processes().unwrap_or_default());
    }
    lines.sort_by_key(|line| line.pid);
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &lines)?;
        writeln!(out)?;
        return Ok(());
    }
    let header = ["PID", "PPID", "S", "THR", "PLACE", "STAYS BECAUSE", "COMMAND"];
    let rows: Vec<[String; 7]> = lines.iter().map(row).collect();
    let mut widths = header.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut print = |cells: [&str; 7]| {
        let [pid, ppid, state, threads, place, stay, command] = cells;
        let [w0, w1, w2, w3, w4, w5, _] = widths;
        writeln!(out, "{pid:>w0$} {ppid:>w1$} {state:w2$} {threads:>w3$} {place:w4$} {stay:w5$} {command}")
    };
    print(header)?;
    for row in &rows {
        print(row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn row(line: &ProcessLine) -> [String; 7] {
    [
        line.pid.to_string(),
        line.ppid.to_string(),
        line.state.to_string(),
        line.threads.to_string(),
        line.place.clone(),
        line.stay.clone().unwrap_or_else(|| "-".to_owned()),
        line.command.clone(),
    ]
}
