//! Events carry CLOCK_MONOTONIC, people read the time of day.

use tracee::clock;

/// How long the difference between the clocks is taken to be the same: CLOCK_MONOTONIC does not count a suspension, and
/// CLOCK_REALTIME may be set.
const CHECK_NS: u64 = 1_000_000_000;
const NS: i64 = 1_000_000_000;

/// From one clock to the other.
#[derive(Debug, Default)]
pub struct Wall {
    ahead_ns: i64,
    offset_s: i64,
    /// CLOCK_MONOTONIC when that is to be looked up again.
    due_ns: u64,
}

/// A time of day, by seconds and nanoseconds.
pub type Time = (i64, u32);

impl Wall {
    fn check(&mut self, at_ns: u64) {
        if at_ns >= self.due_ns {
            self.ahead_ns = clock::realtime_ahead_ns();
            self.offset_s = clock::local_offset_s(self.unix_of(at_ns).0);
            self.due_ns = clock::monotonic_ns() + CHECK_NS;
        }
    }

    fn unix_of(&self, at_ns: u64) -> Time {
        let ns = self.ahead_ns.saturating_add_unsigned(at_ns);
        (ns.div_euclid(NS), ns.rem_euclid(NS) as u32)
    }

    /// Since the epoch.
    pub fn unix(&mut self, at_ns: u64) -> Time {
        self.check(at_ns);
        self.unix_of(at_ns)
    }

    /// Since midnight, by this machine's time zone.
    pub fn local(&mut self, at_ns: u64) -> Time {
        let (s, ns) = self.unix(at_ns);
        ((s + self.offset_s).rem_euclid(86_400), ns)
    }
}
