//! Guests natively, under `mosix-run --loopback` and `mosix-run --home`, and traced.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::figure::Figure;

/// How a guest is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// By itself.
    Native,
    /// With its computation on the embedded node.
    Loopback,
    /// Managed and never moved.
    Home,
    /// By itself, under strace.
    Strace,
    /// As [`Side::Home`], with a trace of its calls.
    TracedHome,
    /// As [`Side::Loopback`], with a trace of its calls.
    TracedLoopback,
}

impl Side {
    /// What stands before the guest's command line.
    fn prefix(self) -> Result<Vec<OsString>> {
        let options: &[&str] = match self {
            Side::Native => return Ok(Vec::new()),
            Side::Strace => {
                return Ok(["strace", "-f", "-o", "/dev/null", "--"].map(OsString::from).to_vec());
            }
            Side::Loopback => &["--loopback"],
            Side::Home => &["--home"],
            Side::TracedHome => &["--home", "--trace-syscalls", "-o", "/dev/null"],
            Side::TracedLoopback => &["--loopback", "--trace-syscalls", "-o", "/dev/null"],
        };
        let mut words = vec![beside("mosix-run")?.into_os_string()];
        words.extend(options.iter().map(OsString::from));
        words.push("--".into());
        Ok(words)
    }
}

/// Where the scheduler may put it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The first core only.
    One,
    /// As it is started by a user.
    All,
}

/// A program beside the measuring one, by name.
pub fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the own program")?;
    Ok(own.with_file_name(name))
}

/// The guest program, which `bench/run` compiles.
pub fn guest() -> Result<OsString> {
    std::env::var_os("BENCH_GUEST").context("BENCH_GUEST names the guest program: start this by bench/run")
}

/// A command on one side.
pub fn command(side: Side, cores: Cores, words: &[OsString]) -> Result<Command> {
    let mut all: Vec<OsString> = Vec::new();
    if cores == Cores::One {
        all.extend(["taskset", "-c", "0"].map(OsString::from));
    }
    all.extend(side.prefix()?);
    all.extend_from_slice(words);
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]);
    Ok(command)
}

/// The median of the figures that the guest prints.
pub fn figure(side: Side, cores: Cores, what: &str, count: u64) -> Result<f64> {
    let words = [guest()?, what.into(), count.to_string().into()];
    let output = command(side, cores, &words)?.stderr(Stdio::inherit()).output().context("start a guest")?;
    ensure!(output.status.success(), "guest {what} on side {side:?}: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let values = text.lines().map(|line| Ok(line.parse()?)).collect::<Result<Vec<f64>>>()?;
    ensure!(!values.is_empty(), "guest {what} printed nothing");
    Ok(Figure::from(values).median)
}

/// Milliseconds from start to end.
pub fn wall_ms(mut command: Command) -> Result<f64> {
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("start a command")?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(ms)
}

/// Two sides in turns: the machine's other work meets both.
pub fn in_turns(
    rounds: usize,
    mut first: impl FnMut() -> Result<f64>,
    mut second: impl FnMut() -> Result<f64>,
) -> Result<(Figure, Figure)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(first()?);
        b.push(second()?);
    }
    Ok((Figure::from(a), Figure::from(b)))
}

/// One line of the table.
pub fn row(question: &str, unit: &str, (base, ours): (Figure, Figure), digits: usize, goal: &str) {
    println!(
        "| {question} | {unit} | {} | {} | {:.2} | {goal} |",
        base.text(digits),
        ours.text(digits),
        ours.median / base.median
    );
}
