//! The guests as cases: all of `tests/guests/*.c` and the one in Rust, with what is special about some.

use anyhow::Result;

use crate::binaries;
use crate::case::{Away, Case};

/// Guests that measure time in hundredths of seconds.
const QUIET: [&str; 2] = ["deadlines", "interrupted_reader"];

/// Guests that do what may keep a process at home (D3): shared memory between processes, a signalfd, a filter.
const MAY_STAY: [&str; 5] = ["maps", "robust_pi", "own_filter", "signal_fd", "blocked_calls"];

/// A case for every guest.
pub fn cases() -> Result<Vec<Case>> {
    let names = binaries::guest_names()?;
    for special in QUIET.iter().chain(&MAY_STAY) {
        anyhow::ensure!(names.iter().any(|name| name == special), "no guest {special}");
    }
    let in_c = names.iter().map(|name| {
        let mut case = Case::guest(name);
        if QUIET.contains(&name.as_str()) {
            case = case.quiet();
        }
        if MAY_STAY.contains(&name.as_str()) {
            case = case.away(Away::MayStay);
        }
        case
    });
    Ok(in_c.chain([Case::rust_guest("rust_std", "rust-guest")]).collect())
}
