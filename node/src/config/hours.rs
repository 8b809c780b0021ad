//! Hours of use as the owner writes them: `DAYS FROM-TO`, such as `mon-fri 18-8`, `sat-sun`, `daily 0-6`.

use anyhow::{Context, Result, ensure};
use cluster::policy::Hours;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All of them together; none given means always.
pub(super) fn parse(spans: &[String]) -> Result<Hours> {
    if spans.is_empty() {
        return Ok(Hours::ALWAYS);
    }
    spans.iter().try_fold(Hours::NEVER, |hours, span| {
        add(hours, span).with_context(|| {
            format!("{span:?} is no time of use: write it as \"mon-fri 18-8\", \"sat-sun\" or \"daily 0-6\"")
        })
    })
}

fn add(mut hours: Hours, span: &str) -> Result<Hours> {
    let mut words = span.split_whitespace();
    let days = words.next().context("it is empty")?;
    let (from, to) = match words.next() {
        Some(range) => {
            let (from, to) = range.split_once('-').context("hours are FROM-TO")?;
            (from.parse::<u32>()?, to.parse::<u32>()?)
        }
        None => (0, 24),
    };
    ensure!(words.next().is_none() && from < 24 && to <= 24 && from != to, "hours are 0 to 24");
    let (first, last) = match days.split_once('-') {
        _ if days == "daily" => (0, 6),
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(days)?, day(days)?),
    };
    for day in (0..7).map(|n| (first + n) % 7).take((last + 7 - first) % 7 + 1) {
        hours = if from < to {
            hours.with(day, from, to)
        } else {
            // Into the next morning.
            hours.with(day, from, 24).with((day + 1) % 7, 0, to)
        };
    }
    Ok(hours)
}

fn day(text: &str) -> Result<usize> {
    DAYS.iter().position(|day| *day == text).with_context(|| format!("{text:?} is no day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(spans: &[&str]) -> Result<Hours> {
        parse(&spans.iter().map(|span| (*span).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn nights_end_in_the_morning_and_weekends_are_whole() {
        let set = hours(&["mon-fri 18-8", "sat-sun"]).unwrap();
        let (mon, tue, fri, sat, sun) = (0, 1, 4, 5, 6);
        assert!(set.allow(mon, 18) && set.allow(mon, 23) && set.allow(tue, 7) && set.allow(fri, 20));
        assert!(!set.allow(mon, 7) && !set.allow(tue, 8) && !set.allow(fri, 17));
        assert!(set.allow(sat, 12) && set.allow(sun, 0));
        let around_sunday = hours(&["sun-mon 9-10"]).unwrap();
        assert!(around_sunday.allow(sun, 9) && around_sunday.allow(mon, 9) && !around_sunday.allow(tue, 9));
        assert_eq!(hours(&[]).unwrap(), Hours::ALWAYS);
        assert!((0..7).all(|day| hours(&["daily 0-6"]).unwrap().allow(day, 5)));
    }

    #[test]
    fn nonsense_is_refused() {
        for span in ["", "mon-someday", "mon 5", "mon 5-25", "mon 24-3", "mon 3-3", "mon 1-2 3"] {
            assert!(hours(&[span]).is_err(), "{span}");
        }
    }
}
