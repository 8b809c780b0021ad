//! How often each call was made, how long it took, and what that cost on the wire: strace's `-c`.

use std::collections::HashMap;
use std::fs::File;

use wire::trace::Ends;

use super::event::{CallPlace, Event, Left, What};
use super::output::Writer;
use super::{Sink, render};

/// By what the table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Time in all, most first.
    #[default]
    Time,
    /// Shortest time, longest first.
    MinTime,
    /// Longest time, longest first.
    MaxTime,
    /// Mean time, longest first.
    AvgTime,
    /// Calls, most first.
    Calls,
    /// Errors, most first.
    Errors,
    /// Name.
    Name,
    /// Number of the call.
    Nothing,
    /// Time on the wire, most first.
    Wire,
    /// Bytes on the wire, most first.
    Bytes,
}

impl SortBy {
    /// All, with the names that users give them.
    pub const NAMES: [(&str, SortBy); 10] = [
        ("time", SortBy::Time),
        ("min-time", SortBy::MinTime),
        ("max-time", SortBy::MaxTime),
        ("avg-time", SortBy::AvgTime),
        ("calls", SortBy::Calls),
        ("errors", SortBy::Errors),
        ("name", SortBy::Name),
        ("nothing", SortBy::Nothing),
        ("wire", SortBy::Wire),
        ("bytes", SortBy::Bytes),
    ];
}

/// A table at the end.
#[derive(Debug)]
pub struct Summary {
    writer: Writer,
    sort: SortBy,
    rows: HashMap<u32, Row>,
}

/// What is counted of one call.
#[derive(Clone, Debug, Default)]
struct Row {
    calls: u64,
    errors: u64,
    forwarded: u64,
    wire_ns: u64,
    bytes: u64,
    times: Times,
}

impl Summary {
    /// A table sorted by `sort`, to `file`.
    pub fn new(sort: SortBy, file: Option<File>) -> Summary {
        Summary { writer: Writer::new(file), sort, rows: HashMap::new() }
    }

    fn count(&mut self, left: &Left) {
        let row = self.rows.entry(left.nr).or_default();
        // As strace does: a call that does not return is not counted.
        if left.ret.is_none() {
            return;
        }
        row.calls += 1;
        row.errors += u64::from(left.end() == Ends::FAILED);
        row.forwarded += u64::from(left.place == CallPlace::Forwarded);
        row.wire_ns = row.wire_ns.saturating_add(left.wire_ns);
        row.bytes = row.bytes.saturating_add(left.bytes);
        row.times.add(left.took_ns);
    }

    fn sorted(&self) -> Vec<(u32, &Row)> {
        let mut rows: Vec<_> =
            self.rows.iter().filter(|(_, row)| row.calls > 0).map(|(nr, row)| (*nr, row)).collect();
        rows.sort_by_key(|(nr, _)| *nr);
        if self.sort == SortBy::Name {
            rows.sort_by_key(|(nr, _)| render::name(*nr));
        } else {
            let most_first = |row: &Row| match self.sort {
                SortBy::Time => row.times.total_ns,
                SortBy::MinTime => row.times.min_ns,
                SortBy::MaxTime => row.times.max_ns,
                SortBy::AvgTime => row.times.total_ns / row.calls,
                SortBy::Calls => row.calls,
                SortBy::Errors => row.errors,
                SortBy::Wire => row.wire_ns,
                SortBy::Bytes => row.bytes,
                SortBy::Name | SortBy::Nothing => 0,
            };
            rows.sort_by_key(|(_, row)| std::cmp::Reverse(most_first(row)));
        }
        rows
    }

    fn table(&self) -> String {
        let rows = self.sorted();
        let total = rows.iter().fold(Row::default(), |total, (_, row)| total.with(row));
        let rule = RULE.map(|width| "-".repeat(width)).join(" ");
        let mut text = String::from(
            "% time     seconds  usecs/call     calls    errors    median   wire s forwarded      bytes syscall\n",
        );
        text.push_str(&rule);
        text.push('\n');
        for (nr, row) in rows {
            let of_all = match total.times.total_ns {
                0 => 0.0,
                all => row.times.total_ns as f64 / all as f64 * 100.0,
            };
            text.push_str(&row.line(of_all, &render::name(nr)));
        }
        text.push_str(&rule);
        text.push('\n');
        text.push_str(&total.line(100.0, "total"));
        text
    }
}

/// Widths of the columns.
const RULE: [usize; 10] = [6, 11, 11, 9, 9, 9, 8, 9, 10, 16];

impl Row {
    fn with(mut self, other: &Row) -> Row {
        self.calls += other.calls;
        self.errors += other.errors;
        self.forwarded += other.forwarded;
        self.wire_ns = self.wire_ns.saturating_add(other.wire_ns);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.times.merge(&other.times);
        self
    }

    fn line(&self, of_all: f64, name: &str) -> String {
        let seconds = |ns: u64| ns as f64 / 1e9;
        // strace leaves it empty, too.
        let errors = if self.errors == 0 { String::new() } else { self.errors.to_string() };
        format!(
            "{of_all:>6.2} {:>11.6} {:>11} {:>9} {errors:>9} {:>9} {:>8.6} {:>9} {:>10} {name}\n",
            seconds(self.times.total_ns),
            self.times.total_ns / 1000 / self.calls.max(1),
            self.calls,
            self.times.median_ns() / 1000,
            seconds(self.wire_ns),
            self.forwarded,
            self.bytes,
        )
    }
}

impl Sink for Summary {
    fn event(&mut self, event: &Event<'_>) {
        if let What::Left(left) = &event.what {
            self.count(left);
        }
    }

    fn finish(&mut self) {
        let table = self.table();
        self.writer.put(&table);
        self.writer.flush();
    }
}

/// Each power of two has so many steps: a median is right to 3 %.
const STEPS: usize = 16;
const STEP_BITS: u32 = STEPS.ilog2();

/// Times of a call in steps that grow with them, so that their number does not.
#[derive(Clone, Debug, Default)]
struct Times {
    total_ns: u64,
    min_ns: u64,
    max_ns: u64,
    counts: Vec<u32>,
}

impl Times {
    fn add(&mut self, ns: u64) {
        self.min_ns = if self.counts.is_empty() { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.total_ns = self.total_ns.saturating_add(ns);
        let step = step(ns);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] = self.counts[step].saturating_add(1);
    }

    fn merge(&mut self, other: &Times) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    fn median_ns(&self) -> u64 {
        let half = self.counts.iter().map(|count| u64::from(*count)).sum::<u64>().div_ceil(2);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= half
        });
        at.map_or(0, middle)
    }
}

fn step(ns: u64) -> usize {
    match ns.max(1).ilog2().checked_sub(STEP_BITS) {
        // The first ones are exact.
        None => ns as usize,
        Some(power) => (power as usize + 1) * STEPS + (ns >> power) as usize - STEPS,
    }
}

/// What is in the middle of a step.
fn middle(step: usize) -> u64 {
    match (step / STEPS).checked_sub(1) {
        None => step as u64,
        Some(power) => (((step % STEPS + STEPS) as u64) << power) + (1 << power >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_fine_enough() {
        let mut last = 0;
        for ns in (0..2_000).chain([10_000, 123_456_789, u64::MAX / 3, u64::MAX]) {
            assert!(step(ns) >= last, "{ns}");
            last = step(ns);
            assert!(middle(last).abs_diff(ns) as f64 <= ns as f64 / 32.0 + 0.5, "{ns} {}", middle(last));
        }
        assert!(last < 1_000);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let mut times = Times::default();
        for ns in [5, 1_000_000, 7, 3, 9] {
            times.add(ns);
        }
        assert_eq!(
            (times.median_ns(), times.min_ns, times.max_ns, times.total_ns),
            (7, 3, 1_000_000, 1_000_024)
        );
        assert_eq!(Times::default().median_ns(), 0);
    }
}
