//! Runs an item in one mode as one user.

use std::time::Duration;

use anyhow::{Context, Result};

use super::item::{Item, Results};
use crate::mode::{Mode, User};
use crate::run::{Ended, Run};
use crate::sandbox::Sandbox;
use crate::shuttle::{Control, Shuttle};
use crate::stats::Stats;
use crate::suite;

/// How much longer than its own native run an item may take, and what is added: a small one is mostly start-up.
const SLOWER: u32 = 10;
const SLOWER_SHUTTLED: u32 = 20;
const ADDED: Duration = Duration::from_secs(30);

/// What an item gave and what it wrote.
pub struct Done {
    /// The results.
    pub results: Results,
    /// Its output and, if it did not end well, what was found then.
    pub log: String,
}

/// The time limit of an item in a mode.
fn limit(item: &Item, mode: Mode, native: Option<&Results>) -> Duration {
    match native {
        None => item.limit,
        Some(native) => {
            let slower = if mode.is_shuttled() { SLOWER_SHUTTLED } else { SLOWER };
            ADDED + Duration::from_secs_f64(native.took_s) * slower
        }
    }
}

/// Runs an item in a sandbox that is fresh or was used for runs before. `native` is what it gave natively, `seed` decides
/// when a shuttle moves what.
pub fn run(item: &Item, mode: Mode, sandbox: &Sandbox, native: Option<&Results>, seed: u64) -> Result<Done> {
    sandbox.reset()?;
    let mut argv = sandbox.user().launcher();
    argv.extend(suite::prefix(sandbox, mode)?);
    argv.extend(item.suite.argv(item, sandbox)?);
    let shuttle = match mode {
        Mode::Shuttle => Some(Shuttle::start_random(Control::new(sandbox)?, "loopback".to_owned(), seed)),
        _ => suite::while_shuttled(sandbox, mode)?,
    };
    let ended = Run::start(sandbox, argv, &[]).map(|run| run.finish_with_output(limit(item, mode, native)));
    let shuttled = shuttle.map(Shuttle::stop).transpose()?;
    let ended = ended?;
    let cases = item.suite.cases(item, sandbox, &ended)?;
    let stats = (mode != Mode::Native).then(|| Stats::read(&sandbox.path(suite::STATS)));
    let trouble = trouble(&ended, sandbox, stats.as_ref());
    let stats = stats.and_then(Result::ok);
    let results = Results {
        cases,
        trouble,
        took_s: ended.took.as_secs_f64(),
        gone_home: stats.as_ref().map(|stats| stats.calls.gone_home.clone()).unwrap_or_default(),
        moves: stats.as_ref().map_or(0, |stats| stats.moves.len()),
    };
    let status = match &ended.status {
        Ok(status) => crate::run::show(*status),
        Err(e) => format!("{e:#}"),
    };
    let log = format!(
        "{}\n--- end ---\n{status}\n--- shuttle ---\n{shuttled:?}\n--- standard output ---\n{}\n--- standard error ---\n{}\n",
        serde_json::to_string_pretty(&results).context("results as JSON")?,
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(Done { results, log })
}

/// What no run may do, whatever its verdicts: hang, leave something, or be a matter for mosix-run's own voice.
fn trouble(ended: &Ended, sandbox: &Sandbox, stats: Option<&Result<Stats>>) -> Option<String> {
    if let Err(e) = &ended.status {
        let text = format!("{e:#}");
        // After the command's words.
        return Some(
            text.lines().next().map_or("", |line| line.rsplit(": ").next().unwrap_or(line)).to_owned(),
        );
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    if let Some(line) = stderr.lines().find(|line| line.starts_with("mosix-run: ")) {
        return Some(line.to_owned());
    }
    if let Err(e) = sandbox.assert_clean() {
        return Some(e.to_string());
    }
    match stats {
        Some(Err(e)) => Some(format!("{e:#}").lines().next().unwrap_or_default().to_owned()),
        _ => None,
    }
}

/// The users that are meant by these names; all without any.
pub fn users(names: &[String]) -> Result<Vec<User>> {
    if names.is_empty() {
        return Ok(User::all().to_vec());
    }
    let by_name = |name: &String| User::all().iter().copied().find(|user| user.to_string() == *name);
    names.iter().map(|name| by_name(name).with_context(|| format!("nobody here may run as {name}"))).collect()
}
