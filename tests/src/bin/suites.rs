//! `suites [SUITE[/FILTER]]…`: runs other people's suites and prints what differs. `tests/suites/run` starts it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use system_tests::mode::{Mode, User};
use system_tests::sandbox::Sandbox;
use system_tests::suites::item::{Item, Results};
use system_tests::suites::store::Store;
use system_tests::suites::table::Table;
use system_tests::suites::{Suite, known, runner};

/// Runs other people's test suites natively and under mosix-run, and prints what differs.
#[derive(Parser)]
#[command(name = "tests/suites/run")]
struct Arguments {
    /// Suites, or `SUITE/TEXT` for those of its items whose names hold the text; `SUITE/=NAME` for one item
    selection: Vec<String>,
    /// Modes besides the native one: home, loopback, shuttle (moved at random times), foreign, precopy
    #[arg(long, value_delimiter = ',', default_value = "loopback,shuttle")]
    mode: Vec<String>,
    /// Users: root and nobody, if it is started by root
    #[arg(long, value_delimiter = ',')]
    user: Vec<String>,
    /// Only the I-th of N pieces
    #[arg(long, value_name = "I/N")]
    piece: Option<String>,
    /// Items that run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Decides when the shuttle moves what
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Takes native results that are there from earlier runs
    #[arg(long)]
    keep_native: bool,
    /// Lists the items and runs nothing
    #[arg(long)]
    list: bool,
    /// Runs nothing, and prints the table of all results that are there
    #[arg(long)]
    table: bool,
    /// Where results and logs are kept
    #[arg(long, default_value = "target/suites")]
    results: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("tests/suites/run: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let modes = modes(&arguments.mode)?;
    let users = runner::users(&arguments.user)?;
    let piece = arguments.piece.as_deref().map(piece).transpose()?;
    let store = Store::open(&arguments.results);
    let known = known::all()?;
    let mut table = Table::default();
    let names: Vec<String> = modes.iter().map(Mode::to_string).collect();
    for user in users {
        let items = select(&arguments.selection, user, piece)?;
        if arguments.list {
            items.iter().for_each(|item| println!("{}/{} as {user}", item.suite.name(), item.name));
            continue;
        }
        if !arguments.table {
            run_all(arguments, (&items, user), &modes, &store)?;
        }
        table.add((&items, &user.to_string()), &names, &store, &known)?;
    }
    if arguments.list {
        return Ok(true);
    }
    print!("{}", table.render(&known));
    Ok(table.is_good(&known))
}

/// The modes besides the native one.
fn modes(names: &[String]) -> Result<Vec<Mode>> {
    let mut modes = Vec::new();
    for name in names.iter().filter(|name| *name != "native") {
        match Mode::ALL.into_iter().find(|mode| mode.to_string() == *name) {
            Some(Mode::TwoHosts | Mode::Cluster) | None => bail!("no mode {name:?} for suites"),
            Some(mode) => modes.push(mode),
        }
    }
    Ok(modes)
}

fn piece(text: &str) -> Result<(usize, usize)> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let (i, n): (usize, usize) = numbers.context("a piece is I/N")?;
    ensure!(1 <= i && i <= n, "there is no piece {text}");
    Ok((i - 1, n))
}

/// The items that are meant, of a user.
fn select(selection: &[String], user: User, piece: Option<(usize, usize)>) -> Result<Vec<Item>> {
    let everything: Vec<String> = Suite::ALL.iter().map(|suite| suite.name().to_owned()).collect();
    let selection = if selection.is_empty() { &everything } else { selection };
    let mut items = Vec::new();
    for words in selection {
        let (suite, filter) = words.split_once('/').unwrap_or((words, ""));
        let wanted = |item: &Item| match filter.strip_prefix('=') {
            Some(name) => item.name == name,
            None => item.name.contains(filter),
        };
        let of_suite = Suite::by_name(suite)?.items(user)?;
        let before = items.len();
        items.extend(of_suite.into_iter().filter(wanted));
        ensure!(items.len() > before || filter.is_empty(), "no item is meant by {words:?}");
    }
    items.sort();
    items.dedup();
    if let Some((i, n)) = piece {
        let mut index = 0..;
        items.retain(|_| index.next().is_some_and(|at: usize| at % n == i));
    }
    Ok(items)
}

/// Runs the items, some at a time, each natively and then in every mode.
fn run_all(
    arguments: &Arguments,
    (items, user): (&[Item], User),
    modes: &[Mode],
    store: &Store,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || -> Result<()> {
        let sandbox = Sandbox::new(user)?;
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            run_item(arguments, item, modes, &sandbox, store)
                .with_context(|| format!("{}/{}", item.suite.name(), item.name))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                if let Err(e) = work() {
                    // The others finish what they are at.
                    next.store(items.len(), Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(|e| e.into_inner()) = Some(e);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn run_item(
    arguments: &Arguments,
    item: &Item,
    modes: &[Mode],
    sandbox: &Sandbox,
    store: &Store,
) -> Result<()> {
    let user = sandbox.user().to_string();
    let before = if arguments.keep_native { store.get(item, "native", &user)? } else { None };
    let native = match before {
        Some(native) => native,
        None => {
            let done = runner::run(item, Mode::Native, sandbox, None, arguments.seed)?;
            store.put(item, "native", &user, &done)?;
            say(item, &user, "native", &done.results, None);
            done.results
        }
    };
    if native.passed().next().is_none() {
        return Ok(());
    }
    for mode in modes {
        let done = runner::run(item, *mode, sandbox, Some(&native), arguments.seed)?;
        let mode = mode.to_string();
        store.put(item, &mode, &user, &done)?;
        say(item, &user, &mode, &done.results, Some(&native));
    }
    Ok(())
}

/// A line for each run, as it ends.
fn say(item: &Item, user: &str, mode: &str, results: &Results, native: Option<&Results>) {
    let differences = native.map(|native| results.differences(native)).unwrap_or_default();
    eprintln!(
        "{}/{} {user} {mode}: {} passed in {:.1} s, {} moves{}",
        item.suite.name(),
        item.name,
        results.passed().count(),
        results.took_s,
        results.moves,
        if results.gone_home.is_empty() {
            String::new()
        } else {
            format!(", home for {:?}", results.gone_home)
        }
    );
    if let (None, Some(trouble)) = (native, &results.trouble) {
        eprintln!("    natively: {trouble}");
    }
    for (case, what) in differences {
        eprintln!("    {case}: {what}");
    }
}
