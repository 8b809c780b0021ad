//! Finding what is tested, and building the guests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FlockOperation;

/// `target/<profile>` of the running program, which is there or, if it is a test, in `deps` there.
fn profile_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let dir = program.parent().context("a program that is nowhere")?;
    let is_test = dir.file_name().is_some_and(|name| name == "deps");
    let dir = if is_test { dir.parent().context("deps is the root")? } else { dir };
    Ok(dir.to_owned())
}

/// `mosix-run`, `mosix`, `mosixd`, or a binary of this package: in `MOSIX_BIN_DIR`, else where this test was built.
pub fn find(name: &str) -> Result<PathBuf> {
    let beside = profile_dir()?;
    let mut dirs = Vec::new();
    // The harness's own stay with it.
    if !matches!(name, "run-keeper" | "rust-guest") {
        dirs.extend(std::env::var_os("MOSIX_BIN_DIR").map(PathBuf::from));
    }
    dirs.push(beside);
    for dir in &dirs {
        let path = dir.join(name);
        if path.is_file() {
            return Ok(fs::canonicalize(path)?);
        }
    }
    bail!(
        "{name} is neither in MOSIX_BIN_DIR nor beside this test: run `cargo build --workspace`, or ./tests/run"
    )
}

/// The names of all guests: `tests/guests/NAME.c`.
pub fn guest_names() -> Result<Vec<String>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "c") {
            names.push(path.file_stem().context("a guest without a name")?.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Paths of the guests that this process knows to be fresh.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The compiled guest, built in `target/guests` at first use and when its source is newer.
pub fn guest(name: &str) -> Result<PathBuf> {
    let mut built =
        BUILT.lock().map_err(|_| anyhow::anyhow!("another test failed while it built a guest"))?;
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let source = sources.join(format!("{name}.c"));
    let dir = profile_dir()?.parent().context("no target directory")?.join("guests");
    fs::create_dir_all(&dir)?;
    let path = dir.join(name);
    // Test binaries of one `cargo test` may run side by side.
    let lock = File::create(dir.join(".lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let newest = changed(&source)
        .with_context(|| source.display().to_string())?
        .max(changed(&sources.join("guest.h"))?);
    if !changed(&path).is_ok_and(|built| built > newest) {
        compile(&source, &path)?;
    }
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// The flags every guest is built with.
const CFLAGS: [&str; 7] = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"];

fn compile(source: &Path, path: &Path) -> Result<()> {
    crate::programs::need("gcc")?;
    let fresh = path.with_extension("new");
    let output =
        Command::new("gcc").args(CFLAGS).arg("-o").arg(&fresh).arg(source).args(["-lrt", "-lm"]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gcc {}: {}\n{errors}", source.display(), output.status);
    fs::rename(&fresh, path)?;
    Ok(())
}
