//! How long a process will go on.
//!
//! CPU times of UNIX processes are heavy-tailed: of those that have run t, half run another t (Harchol-Balter and Downey,
//! *Exploiting process lifetime distributions for dynamic load balancing*, ACM TOCS 15(3), 1997). So age alone tells what
//! is worth moving. At exec age is zero for all, and there the program's history tells `true` from `cc1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Programs remembered, at most; about 100 bytes each.
const MAX_PROGRAMS: usize = 2048;
/// Weight of the newest run.
const NEWEST: f64 = 0.25;
/// Longest program name kept, in bytes; longer ones are cut, which only mixes histories.
const MAX_PROGRAM_BYTES: usize = 64;

/// What one run of a program came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// CPU seconds, of a core of speed 1.
    pub cpu_s: f64,
    /// Forwarded calls per CPU second, or calls that would have been.
    pub calls_per_s: f64,
    /// Most memory, in MiB.
    pub memory_mib: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    run: Run,
    runs: u32,
    last_use: u64,
}

/// What programs have needed so far. It serializes so that it outlives its daemon.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    programs: BTreeMap<String, Remembered>,
    uses: u64,
}

impl History {
    /// Takes the end of a run of a program: its file's name, by preference with its directory.
    pub fn ended(&mut self, program: &str, run: Run) {
        self.uses += 1;
        let (program, last_use) = (cut(program), self.uses);
        if let Some(old) = self.programs.get_mut(program) {
            old.runs = old.runs.saturating_add(1);
            // The average of the first few, then a moving one.
            let weight = NEWEST.max(1.0 / f64::from(old.runs));
            let mix = |old: &mut f64, new: f64| *old += weight * (new - *old);
            mix(&mut old.run.cpu_s, run.cpu_s);
            mix(&mut old.run.calls_per_s, run.calls_per_s);
            mix(&mut old.run.memory_mib, run.memory_mib);
            old.last_use = last_use;
            return;
        }
        if self.programs.len() == MAX_PROGRAMS {
            let oldest = self.programs.iter().min_by_key(|(_, remembered)| remembered.last_use);
            if let Some(oldest) = oldest.map(|(program, _)| program.clone()) {
                self.programs.remove(&oldest);
            }
        }
        self.programs.insert(program.to_owned(), Remembered { run, runs: 1, last_use });
    }

    /// What a run of that program is expected to come to.
    pub fn expect(&self, program: &str) -> Option<Run> {
        self.programs.get(cut(program)).map(|remembered| remembered.run)
    }

    /// CPU seconds that a process will still need, having had `ran_s`. Before it has run as long as its program does on
    /// average, the rest of that; later, or of an unknown program, as long again.
    pub fn life_s(&self, program: &str, ran_s: f64, unknown_s: f64) -> f64 {
        let expected_s = self.expect(program).map_or(unknown_s, |run| run.cpu_s);
        ran_s.max(expected_s - ran_s)
    }
}

fn cut(program: &str) -> &str {
    let mut end = program.len().min(MAX_PROGRAM_BYTES);
    while !program.is_char_boundary(end) {
        end -= 1;
    }
    &program[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cpu_s: f64) -> Run {
        Run { cpu_s, ..Run::default() }
    }

    #[test]
    fn history_tells_true_from_cc1_and_age_tells_the_rest() {
        let mut history = History::default();
        (0..20).for_each(|_| history.ended("/bin/true", run(0.001)));
        (0..20).for_each(|n| history.ended("cc1", run(if n % 2 == 0 { 1.5 } else { 2.5 })));
        assert!(history.life_s("/bin/true", 0.0, 1.0) < 0.01);
        assert!((1.6..2.4).contains(&history.life_s("cc1", 0.0, 1.0)));
        assert_eq!(history.life_s("cc1", 30.0, 1.0), 30.0);
        assert_eq!(history.life_s("new", 0.0, 1.0), 1.0);
        assert_eq!(history.life_s("new", 7.0, 1.0), 7.0);
    }

    #[test]
    fn a_program_that_changes_is_learned_again() {
        let mut history = History::default();
        (0..50).for_each(|_| history.ended("a", run(10.0)));
        (0..12).for_each(|_| history.ended("a", run(0.1)));
        assert!(history.life_s("a", 0.0, 1.0) < 0.6);
    }

    #[test]
    fn memory_of_programs_is_bounded() {
        let mut history = History::default();
        (0..MAX_PROGRAMS + 500).for_each(|n| history.ended(&format!("program-{n}"), run(1.0)));
        assert_eq!(history.programs.len(), MAX_PROGRAMS);
        assert!(history.expect("program-0").is_none() && history.expect("program-2500").is_some());
        history.ended(&"ä".repeat(100), run(1.0));
        assert!(history.expect(&"ä".repeat(100)).is_some());
    }
}
