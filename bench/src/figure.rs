//! Medians: the machine's other work shows in the extremes.

use anyhow::Result;

/// Rounds of each measurement.
pub const ROUNDS: usize = 5;

/// Median and range of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Least of the rounds.
    pub least: f64,
    /// The middle one.
    pub median: f64,
    /// Most of the rounds.
    pub most: f64,
}

impl Figure {
    /// Of [`ROUNDS`] rounds.
    pub fn of(mut round: impl FnMut() -> Result<f64>) -> Result<Figure> {
        Ok(Figure::from((0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?))
    }

    /// Of these values, of which there must be one.
    pub fn from(mut values: Vec<f64>) -> Figure {
        values.sort_by(f64::total_cmp);
        Figure { least: values[0], median: values[values.len() / 2], most: values[values.len() - 1] }
    }

    /// Median (least to most).
    pub fn text(&self, digits: usize) -> String {
        let Figure { least, median, most } = self;
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
