//! Python's own regression tests, as Debian packages them: an item for each module, a case for each test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::item::{Cases, Item, Verdict};
use super::{DIR, Suite};
use crate::sandbox::Sandbox;

/// Debian's, whatever else there is.
const PYTHON: &str = "/usr/bin/python3.11";

/// A module and how many seconds a native run may take.
const MODULES: [(&str, u64); 22] = [
    ("test_os", 60),
    ("test_posix", 60),
    ("test_signal", 120),
    ("test_subprocess", 180),
    ("test_threading", 120),
    ("test_thread", 60),
    ("test_mmap", 60),
    ("test_socket", 180),
    ("test_select", 60),
    ("test_selectors", 60),
    ("test_asyncio", 300),
    ("test_fcntl", 60),
    ("test_time", 60),
    ("test_tempfile", 60),
    ("test_multiprocessing_fork", 300),
    ("test_multiprocessing_spawn", 300),
    ("test_multiprocessing_forkserver", 300),
    ("test_pty", 60),
    ("test_faulthandler", 120),
    ("test_io", 180),
    ("test_sqlite3", 60),
    ("test_resource", 60),
];

/// The file that the driver writes verdicts to.
const VERDICTS: &str = "report/cases";

/// One for each module.
pub fn items() -> Result<Vec<Item>> {
    ensure!(
        Path::new("/usr/lib/python3.11/test/test_os.py").exists(),
        "Python's tests are missing: apt-get install libpython3.11-testsuite (tests/suites/run does it where it may)"
    );
    let item = |(name, limit): &(&str, u64)| Item {
        suite: Suite::Python,
        name: (*name).to_owned(),
        limit: Duration::from_secs(*limit),
    };
    Ok(MODULES.iter().map(item).collect())
}

/// The command for a module.
pub fn argv(name: &str, sandbox: &Sandbox) -> Result<Vec<String>> {
    let driver = sandbox.program(&Path::new(DIR).join("python_cases.py"))?;
    Ok([PYTHON, &driver, &sandbox.text(VERDICTS), name].map(String::from).to_vec())
}

/// The verdicts that the driver has written: a word, a test's name and perhaps a reason, with tabs between.
pub fn cases(sandbox: &Sandbox) -> Result<Cases> {
    match fs::read_to_string(sandbox.path(VERDICTS)) {
        Ok(text) => Ok(parse(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Cases::new()),
        Err(e) => Err(e).context("reading the verdicts of Python's tests"),
    }
}

fn parse(text: &str) -> Cases {
    let mut cases = Cases::new();
    let mut open = BTreeSet::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(word), Some(name)) = (fields.next(), fields.next()) else { continue };
        let why = fields.next().unwrap_or_default();
        let verdict = match word {
            "began" => {
                open.insert(name);
                continue;
            }
            "pass" => Verdict::Pass,
            "skip" => Verdict::Skip,
            _ => Verdict::Fail(why.to_owned()),
        };
        open.remove(name);
        // A test fails if any of its subtests does.
        if !matches!(cases.get(name), Some(Verdict::Fail(_))) {
            cases.insert(name.to_owned(), verdict);
        }
    }
    cases.extend(open.into_iter().map(|name| (name.to_owned(), Verdict::Fail("it never ended".to_owned()))));
    cases
}

#[cfg(test)]
mod tests {
    use super::{Verdict, parse};

    #[test]
    fn verdicts_of_the_driver() {
        let text = "began\ta\t\npass\ta\t\nbegan\tb\t\nfail\tb\tsubtest 3\npass\tb\t\nbegan\tc\t\nskip\tc\t\n\
                    fail\tsetUpClass (x)\tE\nbegan\td\t\n";
        let cases = parse(text);
        assert_eq!(cases["a"], Verdict::Pass);
        assert_eq!(cases["b"], Verdict::Fail("subtest 3".into()));
        assert_eq!(cases["c"], Verdict::Skip);
        assert_eq!(cases["setUpClass (x)"], Verdict::Fail("E".into()));
        assert_eq!(cases["d"], Verdict::Fail("it never ended".into()));
    }
}
