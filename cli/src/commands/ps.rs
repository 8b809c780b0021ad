//! `mosix ps`: managed processes, where they compute, and why they may not move.

use std::io;

use anyhow::Result;
use home::control::client;
use home::supervisor::ProcessLine;

use crate::table::{self, Column};

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
        return Ok(table::json(&mut out, &lines)?);
    }
    let columns = [
        Column::Right("PID"),
        Column::Right("PPID"),
        Column::Left("S"),
        Column::Right("THR"),
        Column::Left("PLACE"),
        Column::Right("CPU HOME"),
        Column::Right("CPU AWAY"),
        Column::Right("CALLS/S"),
        Column::Right("MOVES"),
        Column::Left("STAYS BECAUSE"),
        Column::Left("COMMAND"),
    ];
    let rows: Vec<[String; 11]> = lines.iter().map(row).collect();
    table::write(&mut out, columns, &rows)?;
    Ok(())
}

/// CPU times are in seconds, and calls are those that were forwarded in each of those used away.
fn row(line: &ProcessLine) -> [String; 11] {
    let calls_per_s = line.calls as f64 / line.away_cpu_s;
    [
        line.pid.to_string(),
        line.ppid.to_string(),
        line.state.to_string(),
        line.threads.to_string(),
        line.place.clone(),
        format!("{:.1}", line.home_cpu_s),
        format!("{:.1}", line.away_cpu_s),
        if line.away_cpu_s > 0.0 { format!("{calls_per_s:.0}") } else { "-".to_owned() },
        line.moves.to_string(),
        line.stay.clone().unwrap_or_else(|| "-".to_owned()),
        line.command.clone(),
    ]
}
