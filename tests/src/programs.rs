//! The programs that tests need and the Debian packages they come from.

use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};

/// `PATH` of every run, and where programs are looked for: the system's, so that every user can run them.
pub const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Lines of program and package; `./tests/run` installs from the same list.
const PACKAGES: &str = include_str!("../packages");

/// The program's path; when it is missing, an error that names the Debian package.
pub fn need(program: &str) -> Result<PathBuf> {
    for dir in PATH.split(':') {
        let path = PathBuf::from(dir).join(program);
        if path.is_file() {
            return Ok(path);
        }
    }
    Err(missing(program))
}

fn missing(program: &str) -> Error {
    match PACKAGES.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == program) {
        Some((_, package)) => {
            anyhow!(
                "{program} is not installed: apt-get install {package} (./tests/run does it where it may)"
            )
        }
        None => anyhow!("{program} is not installed, and tests/packages names no package for it"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_program_names_its_package() {
        assert!(super::need("sh").is_ok());
        let error = super::missing("gcc").to_string();
        assert!(error.contains("apt-get install gcc"), "{error}");
        assert!(super::need("no-such-program").is_err());
    }
}
