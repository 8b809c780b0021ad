//! The programs that tests need and the Debian packages they come from.

use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};

/// `PATH` of every run, and where programs are looked for: the system's, so that every user can run them.
pub const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Program and package. `./tests/run` installs the packages of this list.
pub const PACKAGES: &[(&str, &str)] = &[
    ("awk", "mawk"),
    ("bash", "bash"),
    ("find", "findutils"),
    ("gcc", "gcc"),
    ("git", "git"),
    ("grep", "grep"),
    ("gzip", "gzip"),
    ("ip", "iproute2"),
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
    ("make", "make"),
    ("node", "nodejs"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("perl", "perl"),
    ("ps", "procps"),
    ("python3", "python3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("sed", "sed"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sqlite3", "sqlite3"),
    ("strace", "strace"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("vim", "vim"),
    ("xz", "xz-utils"),
];

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
    match PACKAGES.iter().find(|(name, _)| *name == program) {
        Some((_, package)) => {
            anyhow!(
                "{program} is not installed: apt-get install {package} (./tests/run does it where it may)"
            )
        }
        None => anyhow!("{program} is not installed, and no package is known for it"),
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
