//! Lines on standard error.

use std::fmt::Arguments;
use std::io::Write;

/// Writes one line, whole, so that those of several processes do not mix.
pub(crate) fn line(text: Arguments<'_>) {
    let line = format!("mosixd: {text}\n");
    // Not eprintln: it panics when standard error is gone, and a daemon outlives its terminal.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
