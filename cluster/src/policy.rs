//! What the owner of a node allows, and what of it others are told.

use crate::name::Name;
use crate::record::Terms;

/// Hours of a week in which guests may come: bit `hour` of word `day`, Monday is day 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours([u32; 7]);

impl Hours {
    /// Always.
    pub const ALWAYS: Hours = Hours([0xff_ffff; 7]);
    /// Never.
    pub const NEVER: Hours = Hours([0; 7]);

    /// Allows `from..to` on `day`. Hours beyond 23 and days beyond 6 are ignored.
    pub fn with(mut self, day: usize, from: u32, to: u32) -> Hours {
        if let Some(word) = self.0.get_mut(day) {
            (from..to.min(24)).for_each(|hour| *word |= 1 << hour);
        }
        self
    }

    /// Whether guests may come then.
    pub fn allow(&self, day: usize, hour: u32) -> bool {
        hour < 24 && self.0.get(day).is_some_and(|word| word & (1 << hour) != 0)
    }
}

/// The policy of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// No new guests (`mosix block`).
    pub blocked: bool,
    /// The owner needs the machine now: guests are sent away, none may come (`mosix expel`, or work of the owner's).
    pub claimed: bool,
    /// When guests may come.
    pub hours: Hours,
    /// Most guests at a time.
    pub max_guests: u16,
    /// Most memory of all guests, in MiB.
    pub max_guest_memory_mib: u32,
    /// Cores that all guests together may use; None is all.
    pub guest_cores: Option<f64>,
    /// Homes whose processes may come; none named means all.
    pub homes: Vec<Name>,
    /// Users who may send processes, `USER` of any home or `USER@HOME`; none named means all.
    pub users: Vec<String>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            blocked: false,
            claimed: false,
            hours: Hours::ALWAYS,
            max_guests: u16::MAX,
            max_guest_memory_mib: u32::MAX,
            guest_cores: None,
            homes: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl Policy {
    /// What others are told, on that day of the week (Monday is 0) in that hour.
    pub fn terms(&self, day: usize, hour: u32) -> Terms {
        Terms {
            open: !self.blocked && self.hours.allow(day, hour),
            claimed: self.claimed,
            max_guests: self.max_guests,
            max_guest_memory_mib: self.max_guest_memory_mib,
            guest_cores_milli: self
                .guest_cores
                .map(|cores| (cores * 1e3).clamp(10.0, u32::MAX.into()) as u32),
        }
    }

    /// Whether processes of that home may come at all.
    pub fn welcomes(&self, home: &Name) -> bool {
        self.homes.is_empty() || self.homes.contains(home)
    }

    /// Whether that user of that home may send some.
    pub fn admits(&self, user: &str, home: &Name) -> bool {
        let named = |given: &String| match given.split_once('@') {
            Some((name, of)) => name == user && of == home.as_str(),
            None => given == user,
        };
        self.welcomes(home) && (self.users.is_empty() || self.users.iter().any(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_open_and_close() {
        let nights = Hours::NEVER.with(0, 20, 99).with(1, 0, 6).with(9, 0, 24);
        assert!(nights.allow(0, 20) && nights.allow(0, 23) && nights.allow(1, 5));
        assert!(!nights.allow(0, 19) && !nights.allow(1, 6) && !nights.allow(0, 24) && !nights.allow(9, 1));
        let policy = Policy { hours: nights, ..Policy::default() };
        assert!(policy.terms(0, 21).open && !policy.terms(2, 21).open);
        assert!(!Policy { blocked: true, ..policy }.terms(0, 21).open);
    }

    #[test]
    fn named_homes_alone_are_welcome() {
        let (a, b) = (Name::new("a").unwrap(), Name::new("b").unwrap());
        let policy = Policy { homes: vec![a.clone()], ..Policy::default() };
        assert!(policy.welcomes(&a) && !policy.welcomes(&b) && Policy::default().welcomes(&b));
    }

    #[test]
    fn users_are_named_with_or_without_their_home() {
        let (a, b) = (Name::new("a").unwrap(), Name::new("b").unwrap());
        let policy = Policy { users: vec!["eve".into(), "bob@a".into()], ..Policy::default() };
        assert!(policy.admits("eve", &a) && policy.admits("eve", &b) && policy.admits("bob", &a));
        assert!(
            !policy.admits("bob", &b) && !policy.admits("ann", &a) && Policy::default().admits("ann", &a)
        );
        let homes = Policy { homes: vec![b.clone()], ..policy };
        assert!(homes.admits("eve", &b) && !homes.admits("eve", &a));
    }

    #[test]
    fn cores_of_guests_are_what_is_left_and_allowed() {
        let half = Policy { guest_cores: Some(0.5), ..Policy::default() }.terms(0, 0);
        assert_eq!((half.guest_cores(4.0), half.guest_cores(0.1)), (0.5, 0.1));
        assert_eq!(Policy::default().terms(0, 0), Terms::default());
        assert_eq!(Terms::default().guest_cores(4.0), 4.0);
    }
}
