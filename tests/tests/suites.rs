//! A short selection of other people's suites, which `tests/suites/run` runs whole: natively and in each mode.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use system_tests::mode::{Mode, User};
use system_tests::sandbox::Sandbox;
use system_tests::suite::{self, Trial};
use system_tests::suites::item::Item;
use system_tests::suites::table::Difference;
use system_tests::suites::{Suite, known, runner};

/// Quick ones that differ in what they do.
const SELECTION: [(Suite, &str); 16] = [
    (Suite::StressNg, "access"),
    (Suite::StressNg, "context"),
    (Suite::StressNg, "epoll"),
    (Suite::StressNg, "fork"),
    (Suite::StressNg, "futex"),
    (Suite::StressNg, "mmap"),
    (Suite::StressNg, "pipe"),
    (Suite::StressNg, "poll"),
    (Suite::StressNg, "pthread"),
    (Suite::StressNg, "sigsuspend"),
    (Suite::StressNg, "sock"),
    (Suite::StressNg, "vfork"),
    (Suite::Python, "test_fcntl"),
    (Suite::Python, "test_select"),
    (Suite::Programs, "bash"),
    (Suite::Programs, "perl"),
];

fn main() {
    suite::run(trials());
}

fn trials() -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let modes = [Mode::Home, Mode::Loopback, Mode::Shuttle];
    for mode in Mode::enabled()?.into_iter().filter(|mode| modes.contains(mode)) {
        for user in User::all().iter().copied() {
            for (suite, name) in SELECTION {
                let title = format!("{mode}/{user}/{}/{name}", suite.name());
                trials.push(suite::trial(&title, false, move || check(suite, name, mode, user)));
            }
        }
    }
    Ok(trials)
}

fn check(suite: Suite, name: &str, mode: Mode, user: User) -> Result<()> {
    let items = suite.items(user)?;
    let item: &Item = items.iter().find(|item| item.name == name).context("no such item")?;
    let sandbox = Sandbox::new(user)?;
    let native = runner::run(item, Mode::Native, &sandbox, None, 1).context("natively")?;
    ensure!(native.results.passed().next().is_some(), "nothing passes natively:\n{}", native.log);
    let done = runner::run(item, mode, &sandbox, Some(&native.results), 1)?;
    let known = known::all()?;
    let mut unknown = Vec::new();
    for (case, what) in done.results.differences(&native.results) {
        let difference = Difference {
            suite: suite.name().to_owned(),
            item: name.to_owned(),
            case,
            mode: mode.to_string(),
            user: user.to_string(),
            what,
        };
        if !known.iter().any(|known| known.is(&difference)) {
            unknown.push(format!("{}: {}", difference.path(), difference.what));
        }
    }
    ensure!(unknown.is_empty(), "passes natively and not here:\n{}\n{}", unknown.join("\n"), done.log);
    Ok(())
}
