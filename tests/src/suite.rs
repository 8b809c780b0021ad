//! Cases times modes times users, as tests with names: `loopback/nobody/fork_wait`.

use std::sync::RwLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
pub use libtest_mimic::Trial;
use libtest_mimic::{Arguments, Failed};

use crate::case::{Away, Case};
use crate::hosts::{self, Hosts};
use crate::mode::{Mode, User};
use crate::run::{Outcome, Run};
use crate::sandbox::Sandbox;
use crate::shuttle::{Control, Shuttle};
use crate::stats::Stats;
use crate::{compare, programs};

/// Between the rounds of the shuttle.
const SHUTTLE_PERIOD: Duration = Duration::from_millis(50);

/// A run this long must have been moved by the shuttle.
const SHUTTLED_FROM: Duration = Duration::from_millis(1500);

/// Where a run's report goes, in its sandbox.
pub const STATS: &str = "report/stats";

/// Cases that measure time hold it alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// The tests of these cases, in each of `modes` that is switched on.
pub fn trials(cases: &[Case], modes: &[Mode]) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for mode in Mode::enabled()?.into_iter().filter(|mode| modes.contains(mode)) {
        for user in User::all() {
            for case in cases {
                let (case, user) = (case.clone(), *user);
                trials.push(trial(&format!("{mode}/{user}/{}", case.name), case.quiet, move || {
                    check(&case, mode, user)
                }));
            }
        }
    }
    Ok(trials)
}

/// One test. A `quiet` one has the machine for itself, as far as this process goes.
pub fn trial(name: &str, quiet: bool, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        // A test that panicked says so itself.
        let (mut shared, mut alone) = (None, None);
        if quiet {
            alone = Some(MACHINE.write().unwrap_or_else(|e| e.into_inner()));
        } else {
            shared = Some(MACHINE.read().unwrap_or_else(|e| e.into_inner()));
        }
        let result = test().map_err(|e| Failed::from(format!("{e:#}")));
        drop((shared.take(), alone.take()));
        result
    })
}

/// Runs the tests as `cargo test` wants it, and ends the process.
pub fn run(trials: Result<Vec<Trial>>) -> ! {
    let trials = match trials {
        Ok(trials) => trials,
        Err(e) => {
            eprintln!("{e:#}");
            std::process::exit(1);
        }
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// `mosix-run` and its options for a mode that needs no second host; nothing for a native run.
pub fn prefix(sandbox: &Sandbox, mode: Mode) -> Result<Vec<String>> {
    let place: &[&str] = match mode {
        Mode::Native => return Ok(Vec::new()),
        Mode::Home => &["--home"],
        Mode::Loopback | Mode::Shuttle => &["--loopback"],
        Mode::Precopy => &["--loopback", "--precopy-from", "0"],
        Mode::Foreign => &["--loopback", "--foreign-vdso"],
        Mode::TwoHosts | Mode::Cluster => bail!("other hosts need a node"),
    };
    let mut words = vec![sandbox.ours("mosix-run")?, "--stats".to_owned(), sandbox.text(STATS)];
    words.extend(place.iter().chain(&["--"]).map(|word| (*word).to_owned()));
    Ok(words)
}

/// In the shuttle mode, the shuttle.
pub fn while_shuttled(sandbox: &Sandbox, mode: Mode) -> Result<Option<Shuttle>> {
    if !mode.is_shuttled() {
        return Ok(None);
    }
    Ok(Some(Shuttle::start(Control::new(sandbox)?, "loopback".to_owned(), SHUTTLE_PERIOD)))
}

/// What is checked when a program has left its terminal.
pub fn after_terminal(sandbox: &Sandbox, mode: Mode, shuttle: Option<Shuttle>) -> Result<()> {
    if mode == Mode::Native {
        return Ok(());
    }
    let moved = shuttle.map(Shuttle::stop).transpose()?;
    sandbox.assert_clean()?;
    let stats = Stats::read(&sandbox.path(STATS))?;
    if mode.is_away() {
        stats.assert_was_away().with_context(|| format!("{moved:?}"))
    } else {
        stats.assert_stayed()
    }
}

/// Runs a case natively, then in this mode, and compares.
pub fn check(case: &Case, mode: Mode, user: User) -> Result<()> {
    if user == User::Nobody {
        programs::need("setpriv")?;
    }
    let sandbox = Sandbox::new(user)?;
    let hosts = if mode == Mode::TwoHosts { Some(Hosts::new()?) } else { None };
    let net = hosts.as_ref().map(|h| h.home.enter()).unwrap_or_default();

    let moves = mode.is_shuttled().then(|| ("GUEST_MOVES".to_owned(), "1".to_owned()));
    let env: Vec<_> = moves.into_iter().collect();
    let native = once(case, &sandbox, &net, &[], &env, 1).context("natively")?;
    compare::as_expected(case, &native).context("natively")?;
    if mode == Mode::Native {
        if user != User::Me {
            return Ok(());
        }
        sandbox.reset()?;
        let second = once(case, &sandbox, &net, &[], &env, 1).context("natively, the second time")?;
        return compare::same(case, native, second).context("two native runs differ");
    }
    sandbox.reset()?;
    let mut node = None;
    let words = match &hosts {
        None => prefix(&sandbox, mode)?,
        Some(hosts) => {
            let (ours, theirs) = hosts.identities(&sandbox)?;
            node = Some(hosts.start_node(&sandbox, &theirs)?);
            let stats = sandbox.text(STATS);
            let mut words = vec![sandbox.ours("mosix-run")?];
            words.extend(
                ["--stats", &stats, "--on", hosts::NODE, "--identity", &ours, "--"].map(String::from),
            );
            words
        }
    };
    let shuttle = while_shuttled(&sandbox, mode)?;
    let outcome = once(case, &sandbox, &net, &words, &env, Case::SLOWER);
    let shuttled = shuttle.map(Shuttle::stop).transpose()?;
    let outcome = outcome?;
    let took = outcome.took;
    compare::same(case, native, outcome)?;
    sandbox.assert_clean()?;
    let stats = Stats::read(&sandbox.path(STATS))?;
    report(case, mode, &stats)?;
    if let Some(shuttled) = shuttled
        && took > SHUTTLED_FROM
        && case.away != Away::MayStay
    {
        let (home, out) = stats.round_trips();
        ensure!(
            home > 0 && out > 1,
            "in {took:?} it was never moved home and out again: {shuttled:?} {stats:?}"
        );
    }
    node.map(hosts::Node::stop).transpose()?;
    Ok(())
}

/// No test passes because everything stayed at home, or went there.
fn report(case: &Case, mode: Mode, stats: &Stats) -> Result<()> {
    if !mode.is_away() {
        return stats.assert_stayed();
    }
    match case.away {
        // It may be brought home before it has made a call.
        Away::Yes | Away::Computing if mode.is_shuttled() => stats.assert_left_home(),
        Away::Yes => stats.assert_was_away(),
        Away::Computing => {
            stats.assert_was_away()?;
            stats.assert_remote_cpu(0.95)
        }
        Away::MayStay => {
            let reasons = stats.calls.gone_home.values().sum::<u64>();
            stats.assert_was_away().or_else(|e| if reasons > 0 { Ok(()) } else { Err(e) })
        }
    }
}

/// One run of a case: `net` enters a namespace, `words` are mosix-run and its options.
fn once(
    case: &Case,
    sandbox: &Sandbox,
    net: &[String],
    words: &[String],
    env: &[(String, String)],
    slower: u32,
) -> Result<Outcome> {
    if let Some(setup) = &case.setup {
        setup(&sandbox.path("work"))?;
        sandbox.own_work()?;
    }
    let mut argv = net.to_vec();
    argv.extend(sandbox.user().launcher());
    argv.extend_from_slice(words);
    argv.extend(case.argv(sandbox)?);
    let mut run = Run::start(sandbox, argv, env)?;
    if !case.stdin.is_empty() {
        // A program may end before it has read everything.
        if let Err(e) = run.send(&case.stdin) {
            ensure!(e.to_string().contains("Broken pipe"), "writing its standard input: {e}");
        }
    }
    run.finish(sandbox, case.limit * slower)
}
