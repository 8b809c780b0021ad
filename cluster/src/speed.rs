//! The unit of speed: **1.0 is one core that does [`ROUNDS_PER_SECOND`] rounds of [`compute`] a second.**
//!
//! openMosix compared bogus MIPS or a table of processor names. Here a node runs a loop and times it: the same
//! machine code everywhere, with dependent multiplications, shifts and loads that no compiler can remove.

use std::hint::black_box;
use std::time::Duration;

/// Rounds of [`compute`] per second of a core of speed 1.0, about that of a server core of 2020 at 3 GHz.
pub const ROUNDS_PER_SECOND: u64 = 400_000_000;

/// Slots of the table that the loop reads: 32 KiB, the first-level cache of every x86-64 in use.
const SLOTS: usize = 4096;

/// Computes so many rounds and returns what came of it. The caller times it: a few milliseconds, repeated, of which
/// the fastest counts, since others on the core only slow it.
pub fn compute(rounds: u64) -> u64 {
    let mut table = [0u64; SLOTS];
    let mut state = black_box(0x9e37_79b9_7f4a_7c15u64);
    for round in 0..rounds {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(round);
        let slot = &mut table[(state >> 52) as usize];
        *slot = slot.rotate_left(7) ^ state;
        state ^= *slot >> 29;
    }
    black_box(state)
}

/// Speed in thousandths of the unit, of a core that did so many rounds in that time; at least 10.
pub fn milli(rounds: u64, took: Duration) -> u32 {
    let per_second = rounds as f64 / took.as_secs_f64().max(1e-9);
    (per_second / ROUNDS_PER_SECOND as f64 * 1e3).clamp(10.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_follows_the_time_taken_and_stays_in_range() {
        assert_eq!(milli(ROUNDS_PER_SECOND, Duration::from_secs(1)), 1000);
        assert_eq!(milli(ROUNDS_PER_SECOND, Duration::from_millis(500)), 2000);
        assert_eq!(milli(1, Duration::from_secs(9)), 10);
        assert_eq!(milli(u64::MAX, Duration::ZERO), 1_000_000);
    }

    #[test]
    fn the_work_is_the_same_every_time_and_grows() {
        assert_eq!(compute(1000), compute(1000));
        assert_ne!(compute(1000), compute(1001));
    }
}
