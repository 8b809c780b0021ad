//! Same as native: two outcomes side by side.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Result, bail, ensure};

use crate::case::{Case, End};
use crate::run::{Outcome, show, tail};

/// Differences that are printed; a missing directory is hundreds.
const SHOWN: usize = 20;

/// Demands the end and the output that the case names, of a native run.
pub fn as_expected(case: &Case, outcome: &Outcome) -> Result<()> {
    let good = match case.end {
        End::Code(code) => outcome.status.code() == Some(code),
        End::Signal(signal) => outcome.status.signal() == Some(signal),
    };
    let output = || format!("\n{}\n--- standard error ---\n{}", tail(&outcome.stdout), tail(&outcome.stderr));
    ensure!(good, "{}, wanted {:?}{}", show(outcome.status), case.end, output());
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    ensure!(!stdout.lines().any(|line| line.starts_with("FAIL ")), "failed{}", output());
    if let Some(text) = &case.shows {
        ensure!(stdout.contains(text.as_str()), "no {text:?} in the output{}", output());
    }
    Ok(())
}

/// Demands that everything that can be seen of `run` is as in `native`.
pub fn same(case: &Case, native: Outcome, run: Outcome) -> Result<()> {
    let mut differences = Vec::new();
    // A core file is written or not by what the limits and the machine say; the status keeps the flag.
    if native.status != run.status {
        differences.push(format!("{}, natively {}", show(run.status), show(native.status)));
    }
    let mask = |bytes: Vec<u8>| match case.mask {
        Some(mask) => mask(String::from_utf8_lossy(&bytes).into_owned()).into_bytes(),
        None => bytes,
    };
    for (name, ours, theirs) in [
        ("standard output", mask(native.stdout), mask(run.stdout)),
        ("standard error", native.stderr, run.stderr),
    ] {
        if ours != theirs {
            differences.push(format!("{name}: {}", first_difference(&ours, &theirs)));
        }
    }
    differences.extend(native.tree.without(&case.unlike).differences(&run.tree.without(&case.unlike)));
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(SHOWN);
        differences.truncate(SHOWN);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        bail!("not as natively:\n{}", differences.join("\n"));
    }
    Ok(())
}

/// The first line that differs, and what is around it.
fn first_difference(native: &[u8], run: &[u8]) -> String {
    let (native, run) = (String::from_utf8_lossy(native), String::from_utf8_lossy(run));
    let (ours, theirs) = (native.lines().collect::<Vec<_>>(), run.lines().collect::<Vec<_>>());
    let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str]| match lines.get(at) {
        Some(_) => lines[at..lines.len().min(at + 10)].join("\n    "),
        None => "(ends)".to_owned(),
    };
    format!(
        "{} lines, natively {}; from line {}:\n    {}\n  natively:\n    {}",
        theirs.len(),
        ours.len(),
        at + 1,
        show(&theirs),
        show(&ours)
    )
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_line_that_differs() {
        let text = first_difference(b"a\nb\nc\n", b"a\nx\nc\n");
        assert!(text.contains("from line 2:\n    x\n    c\n  natively:\n    b\n    c"), "{text}");
        assert!(first_difference(b"a\n", b"").contains("(ends)"));
    }
}
