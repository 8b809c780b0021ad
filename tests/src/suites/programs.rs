//! Scripts of ours, `tests/suites/programs/NAME.sh`: each runs a well-known program, checks its results, and prints `ok CASE` or
//! `FAIL CASE: why` for each case. `# packages: …` names the Debian packages that it needs, `# limit: N` the seconds that a native
//! run may take.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::item::{Cases, Item, Verdict};
use super::{DIR, Suite};
use crate::run::{Ended, show};
use crate::sandbox::Sandbox;

/// For a script that says nothing.
const LIMIT_S: u64 = 60;

fn dir() -> PathBuf {
    Path::new(DIR).join("programs")
}

/// One for each script.
pub fn items() -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for entry in fs::read_dir(dir())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "sh") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let limit = text.lines().find_map(|line| line.strip_prefix("# limit: "));
        let limit = limit.map_or(Ok(LIMIT_S), |text| text.trim().parse()).context("a script's limit")?;
        let name = path.file_stem().context("a script without a name")?.to_string_lossy().into_owned();
        items.push(Item { suite: Suite::Programs, name, limit: Duration::from_secs(limit) });
    }
    items.sort();
    Ok(items)
}

/// The command for a script.
pub fn argv(name: &str, sandbox: &Sandbox) -> Result<Vec<String>> {
    let script = sandbox.program(&dir().join(format!("{name}.sh")))?;
    // What scripts source is beside them.
    for entry in fs::read_dir(dir())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bash") {
            sandbox.program(&path)?;
        }
    }
    Ok(vec!["bash".to_owned(), script])
}

/// The verdicts that it printed, and one on how it ended.
pub fn cases(ended: &Ended) -> Cases {
    let text = String::from_utf8_lossy(&ended.stdout);
    let mut cases = Cases::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            cases.entry(name.to_owned()).or_insert(Verdict::Pass);
        } else if let Some(words) = line.strip_prefix("FAIL ") {
            let (name, why) = words.split_once(": ").unwrap_or((words, ""));
            cases.insert(name.to_owned(), Verdict::Fail(why.to_owned()));
        }
    }
    if let Ok(status) = &ended.status {
        let verdict = if status.success() { Verdict::Pass } else { Verdict::Fail(show(*status)) };
        cases.insert("exit status".to_owned(), verdict);
    }
    cases
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::{Ended, Verdict, cases};

    #[test]
    fn what_a_script_says() {
        let ended = Ended {
            status: Ok(ExitStatus::from_raw(0)),
            stdout: b"ok one\nnoise\nFAIL two: 1 is not 2\nok two\n".to_vec(),
            stderr: Vec::new(),
            took: Default::default(),
        };
        let cases = cases(&ended);
        assert_eq!(cases["one"], Verdict::Pass);
        assert_eq!(cases["two"], Verdict::Fail("1 is not 2".into()));
        assert_eq!(cases["exit status"], Verdict::Pass);
        assert_eq!(cases.len(), 3);
    }
}
