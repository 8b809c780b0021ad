//! The table: what passed natively, what passed under mosix-run, and each difference by name.

use std::fmt::Write;

use anyhow::Result;

use super::item::Item;
use super::known::Known;
use super::store::Store;

/// The share of what passes natively that must pass under mosix-run.
const SHARE_WANTED: f64 = 0.99;

/// A case that passes natively and not in this mode, or what was wrong with a whole run.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The suite.
    pub suite: String,
    /// The item.
    pub item: String,
    /// The case; empty for the whole run.
    pub case: String,
    /// The mode.
    pub mode: String,
    /// The user.
    pub user: String,
    /// What was seen.
    pub what: String,
}

impl Difference {
    /// Its name, as `tests/suites/known` has it.
    pub fn path(&self) -> String {
        let case = if self.case.is_empty() { "" } else { "/" };
        format!("{}/{}{case}{}", self.suite, self.item, self.case)
    }
}

/// One line of the table.
struct Row {
    head: String,
    native: usize,
    ours: usize,
    lost: usize,
}

/// All results of these items.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    differences: Vec<Difference>,
    /// Entries of the list of known differences that concern a run that is in the table.
    expected: Vec<Known>,
}

impl Table {
    /// Reads the results of `items` in `modes`, compared with native ones of the same user.
    pub fn add(
        &mut self,
        (items, user): (&[Item], &str),
        modes: &[String],
        store: &Store,
        known: &[Known],
    ) -> Result<()> {
        for mode in modes {
            for item in items {
                let suite = item.suite.name();
                let (Some(native), Some(results)) =
                    (store.get(item, "native", user)?, store.get(item, mode, user)?)
                else {
                    continue;
                };
                let head = format!("| {suite} | {user} | {mode} |");
                let row = match self.rows.iter_mut().find(|row| row.head == head) {
                    Some(row) => row,
                    None => {
                        self.rows.push(Row { head, native: 0, ours: 0, lost: 0 });
                        self.rows.last_mut().ok_or_else(|| anyhow::anyhow!("no row"))?
                    }
                };
                row.native += native.passed().count();
                row.ours += native.passed().filter(|name| results.passed().any(|own| own == *name)).count();
                let differences = results.differences(&native);
                row.lost += differences.len();
                self.differences.extend(differences.into_iter().map(|(case, what)| Difference {
                    suite: suite.to_owned(),
                    item: item.name.clone(),
                    case,
                    mode: mode.clone(),
                    user: user.to_owned(),
                    what,
                }));
                let path = format!("{suite}/{}", item.name);
                let of_item = |known: &&Known| {
                    let rest = known.path.strip_prefix(&path);
                    known.concerns(mode, user)
                        && rest.is_some_and(|rest| {
                            rest.is_empty()
                                || rest
                                    .strip_prefix('/')
                                    .is_some_and(|case| native.passed().any(|name| name == case))
                        })
                };
                for entry in known.iter().filter(of_item) {
                    let was = self.differences.iter().any(|difference| {
                        difference.mode == *mode && difference.user == user && entry.is(difference)
                    });
                    if !was {
                        self.expected.push(entry.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// As Markdown.
    pub fn render(&self, known: &[Known]) -> String {
        let mut text = String::from(
            "| suite | user | mode | passed natively | of these under mosix-run | share | differences |\n\
             | --- | --- | --- | ---: | ---: | ---: | ---: |\n",
        );
        for row in &self.rows {
            let share = 100.0 * row.share();
            let _ =
                writeln!(text, "{} {} | {} | {share:.1} % | {} |", row.head, row.native, row.ours, row.lost);
        }
        if !self.differences.is_empty() {
            text += "\n| difference | user | mode | seen | root cause; decision |\n| --- | --- | --- | --- | --- |\n";
        }
        for difference in &self.differences {
            let why = match known.iter().find(|known| known.is(difference)) {
                Some(known) => format!("{}; {}", known.cause, known.decision),
                None => "**not known**".to_owned(),
            };
            let what = difference.what.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| {} | {} | {} | {what:.200} | {why} |",
                difference.path(),
                difference.user,
                difference.mode
            );
        }
        for entry in &self.expected {
            let _ = writeln!(text, "\nstale in tests/suites/known: {}", entry.path);
        }
        text
    }

    /// Whether everything is as it should be: nothing unknown, nothing stale, and enough passes.
    pub fn is_good(&self, known: &[Known]) -> bool {
        self.expected.is_empty()
            && self.rows.iter().all(|row| row.share() >= SHARE_WANTED)
            && self.differences.iter().all(|difference| known.iter().any(|known| known.is(difference)))
    }
}

impl Row {
    fn share(&self) -> f64 {
        if self.native == 0 { 1.0 } else { self.ours as f64 / self.native as f64 }
    }
}
