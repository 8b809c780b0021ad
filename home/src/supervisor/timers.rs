//! What the poll loop does at a given time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracee::Tid;

/// Something to do when its time has come. A timer is not cancelled: it carries what tells whether it still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The deadline of a call that was restarted after an ignored signal.
    CallDeadline {
        /// The thread in the call.
        tid: Tid,
        /// Which of its repaired calls.
        sequence: u64,
    },
    /// A process that stays at home may be able to leave again.
    Revisit {
        /// Its pid.
        pid: Tid,
        /// Tells it from another with that pid.
        serial: u64,
        /// How long it was left alone.
        after: Duration,
    },
}

/// Timers by time, first set first among equals.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeMap<(Instant, u64), Timer>,
    sequence: u64,
}

impl Timers {
    /// Has `timer` come out of [`Timers::due`] once `when` is past.
    pub fn set(&mut self, when: Instant, timer: Timer) {
        self.sequence += 1;
        self.by_time.insert((when, self.sequence), timer);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((when, _), _)| *when)
    }

    /// Takes one that is due.
    pub fn due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.by_time.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn come_out_in_order_and_not_early() {
        let now = Instant::now();
        let timer = |sequence| Timer::CallDeadline { tid: 1, sequence };
        let mut timers = Timers::default();
        timers.set(now + Duration::from_secs(2), timer(2));
        timers.set(now, timer(0));
        timers.set(now, timer(1));
        assert_eq!(timers.due(now), Some(timer(0)));
        assert_eq!(timers.due(now), Some(timer(1)));
        assert_eq!(timers.due(now), None);
        assert_eq!(timers.next(), Some(now + Duration::from_secs(2)));
    }
}
