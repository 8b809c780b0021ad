//! Two machines of one core each, and what is demanded of workers.

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity};
use system_tests::cluster::{Lan, Machine};
use system_tests::mode::User;
use system_tests::run::Run;

use crate::{CONVERGENCE, LIMIT};

/// Rounds of a worker that asks after each such many whether it is to end: some hundredths of a second.
pub(crate) const STEP: &str = "20000000";

/// Two machines of one core each and of one cluster.
pub(crate) struct Pair {
    _lan: Lan,
    pub(crate) a: Machine,
    pub(crate) b: Machine,
    pub(crate) worker: String,
}

impl Pair {
    /// Without daemons.
    pub(crate) fn apart(user: User) -> Result<Pair> {
        let [one, other] = two_cores()?;
        let mut lan = Lan::new(user)?;
        let (a, b) = (lan.machine("a", Some(one))?, lan.machine("b", Some(other))?);
        let worker = a.guest("worker")?;
        Ok(Pair { _lan: lan, a, b, worker })
    }

    pub(crate) fn new(user: User) -> Result<Pair> {
        let mut pair = Pair::apart(user)?;
        pair.unite()?;
        Ok(pair)
    }

    pub(crate) fn unite(&mut self) -> Result<()> {
        self.a.found()?;
        self.b.join(&self.a)?;
        self.a.wait_for_nodes(&["a", "b"], CONVERGENCE)?;
        self.b.wait_for_nodes(&["a", "b"], CONVERGENCE)
    }

    /// Starts a worker at B that goes on until the file `go` is there.
    pub(crate) fn worker_at_b(&self, report: &str, go: &str) -> Result<Run> {
        let run = self.a.run(report, &["--on", "b"], &[&self.worker, STEP, go])?;
        self.a.wait_for_place(run.pid(), "b", LIMIT)?;
        self.b.wait_for_guests(1, LIMIT)?;
        Ok(run)
    }

    /// Ends such a worker; its output must be right. Its moves, by destination.
    pub(crate) fn finish(&self, run: Run, report: &str, go: &str) -> Result<Vec<String>> {
        std::fs::write(self.a.sandbox.path("work").join(go), "")?;
        let outcome = run.finish(&self.a.sandbox, LIMIT)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        ensure!(ends(&outcome.stdout)?.len() == 1, "{outcome:?}");
        Ok(self.a.stats(report)?.moves.into_iter().map(|m| m.to).collect())
    }

    /// Demands that a program which is to go to B computes at home and that its user is told why.
    pub(crate) fn assert_stays(&self, options: &[&str], why: &str) -> Result<()> {
        let outcome = self.a.run("stays", options, &["echo", "ran"])?.finish(&self.a.sandbox, LIMIT)?;
        let error = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.stdout == b"ran\n" && error.contains(why), "{options:?}: {error}, wanted {why:?}");
        self.a.stats("stays")?.assert_stayed()
    }

    pub(crate) fn end(mut self) -> Result<()> {
        self.a.sandbox.assert_clean()?;
        self.b.stop()?;
        self.a.stop().map(drop)
    }
}

/// Two cores of this machine.
pub(crate) fn two_cores() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let two = cores.next().zip(cores.next()).context("this takes two cores")?;
    Ok(two.into())
}

/// The x of `rounds` rounds of a worker. Maps x → a·x + c are squared, bit by bit (Brown, Random number generation with
/// arbitrary strides, 1994).
fn chain(mut rounds: u64) -> u64 {
    let (mut a, mut c, mut x) = (6364136223846793005_u64, 1442695040888963407_u64, 1_u64);
    while rounds > 0 {
        if rounds & 1 == 1 {
            x = x.wrapping_mul(a).wrapping_add(c);
        }
        c = c.wrapping_mul(a.wrapping_add(1));
        a = a.wrapping_mul(a);
        rounds >>= 1;
    }
    x
}

/// The rounds of the workers that printed this, each of which must have computed rightly.
pub(crate) fn ends(output: &[u8]) -> Result<Vec<u64>> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .map(|line| {
            let numbers = line.strip_prefix("ok worker ").and_then(|rest| rest.split_once(' '));
            let (rounds, x) = numbers.with_context(|| format!("a worker printed {line:?}"))?;
            let (rounds, x): (u64, u64) = (rounds.parse()?, x.parse()?);
            ensure!(rounds > 0 && chain(rounds) == x, "{line:?}, wanted {}", chain(rounds));
            Ok(rounds)
        })
        .collect()
}
