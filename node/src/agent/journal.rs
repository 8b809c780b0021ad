//! What has happened lately, for `mosix events`; each line also goes to the log.

use std::collections::VecDeque;

use crate::log::{self, Field};

/// Lines kept; about 150 bytes each.
const MAX_LINES: usize = 400;

/// The latest lines. One about a user's process is for that user and the owner alone.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<(Option<u32>, String)>);

impl Journal {
    /// Logs and keeps a line that is for everybody.
    pub(super) fn note(&mut self, event: &str, fields: &[Field<'_>]) {
        log::info(event, fields);
        self.keep(None, log::line(event, fields));
    }

    /// Logs and keeps a line about a process of this user.
    pub(super) fn note_of(&mut self, uid: u32, event: &str, fields: &[Field<'_>]) {
        log::info(event, fields);
        self.keep(Some(uid), log::line(event, fields));
    }

    fn keep(&mut self, uid: Option<u32>, line: String) {
        if self.0.len() == MAX_LINES {
            self.0.pop_front();
        }
        self.0.push_back((uid, line));
    }

    /// What a user may see; None is the owner.
    pub(super) fn lines(&self, user: Option<u32>) -> Vec<String> {
        let may_see = |uid: &Option<u32>| user.is_none() || uid.is_none() || *uid == user;
        self.0.iter().filter(|(uid, _)| may_see(uid)).map(|(_, line)| line.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_see_what_is_theirs_and_the_oldest_goes() {
        let mut journal = Journal::default();
        journal.keep(None, "up".into());
        journal.keep(Some(7), "seven".into());
        journal.keep(Some(8), "eight".into());
        assert_eq!(journal.lines(Some(7)), ["up", "seven"]);
        assert_eq!(journal.lines(None), ["up", "seven", "eight"]);
        (0..MAX_LINES).for_each(|n| journal.keep(None, n.to_string()));
        assert_eq!(journal.lines(None)[0], "0");
    }
}
