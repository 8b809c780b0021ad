//! `mosix nodes`: the nodes that this one knows.

use std::io;

use anyhow::Result;
use wire::local::NodeLine;

use crate::daemon::Daemon;
use crate::table::{self, Column};

/// Prints the nodes, this one first.
pub fn nodes(json: bool) -> Result<()> {
    let mut nodes = Daemon::connect()?.nodes()?;
    nodes.sort_by(|a, b| (a.address.is_some(), &a.name).cmp(&(b.address.is_some(), &b.name)));
    let mut out = io::stdout().lock();
    if json {
        return Ok(table::json(&mut out, &nodes)?);
    }
    let columns = [
        Column::Left("NAME"),
        Column::Right("CORES"),
        Column::Right("SPEED"),
        Column::Right("LOAD"),
        Column::Right("GUESTS"),
        Column::Right("MEMORY GiB"),
        Column::Right("RTT"),
        Column::Right("AGE"),
        Column::Left("STATE"),
    ];
    let rows: Vec<_> = nodes.iter().map(row).collect();
    table::write(&mut out, columns, &rows)?;
    Ok(())
}

fn row(node: &NodeLine) -> [String; 9] {
    let here = node.address.is_none();
    let gib = |mib: u32| f64::from(mib) / 1024.0;
    let memory = format!("{:.1} of {:.1}", gib(node.memory_free_mib), gib(node.memory_total_mib));
    [
        node.name.clone(),
        format!("{:.3}", node.cores).trim_end_matches('0').trim_end_matches('.').to_owned(),
        format!("{:.2}", node.speed),
        format!("{:.1}", node.local + node.guests_runnable),
        node.guests.to_string(),
        memory,
        node.rtt_us.map_or_else(|| "-".to_owned(), time),
        if here { "here".to_owned() } else { time(node.age_s * 1e6) },
        node.closed.clone().unwrap_or_else(|| "open".to_owned()),
    ]
}

/// A time in microseconds, with three digits at most.
pub(crate) fn time(us: f64) -> String {
    match us {
        _ if us < 1e3 => format!("{us:.0} µs"),
        _ if us < 1e4 => format!("{:.1} ms", us / 1e3),
        _ if us < 1e6 => format!("{:.0} ms", us / 1e3),
        _ if us < 1e7 => format!("{:.1} s", us / 1e6),
        _ => format!("{:.0} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_few_digits() {
        let times = [87.4, 1_234.0, 45_600.0, 2_500_000.0, 31_000_000.0];
        assert_eq!(times.map(time), ["87 µs", "1.2 ms", "46 ms", "2.5 s", "31 s"]);
    }
}
