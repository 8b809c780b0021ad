//! The directory that a run gets, and what it left there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::mode::{NOBODY, User};
use crate::{binaries, programs};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh directory of one user, removed when dropped. The same path serves a native run and the run it is compared
/// with, one after the other, because programs print their paths.
pub struct Sandbox {
    root: PathBuf,
    user: User,
}

/// What a run may write and is compared: its working directory, its home directory and its temporary files.
const COMPARED: [&str; 3] = ["work", "home", "tmp"];

/// What belongs to the run and not to the program.
const OWN: [&str; 5] = ["bin", "run", "cache", "config", "report"];

impl Sandbox {
    /// Makes one, empty.
    pub fn new(user: User) -> Result<Sandbox> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("mosix-tests-{}-{n}", std::process::id()));
        fs::create_dir(&root).with_context(|| format!("creating {}", root.display()))?;
        let sandbox = Sandbox { root, user };
        fs::set_permissions(&sandbox.root, fs::Permissions::from_mode(0o755))?;
        sandbox.reset()?;
        Ok(sandbox)
    }

    /// Empties everything but the programs and the content cache.
    pub fn reset(&self) -> Result<()> {
        for name in COMPARED.iter().chain(&OWN) {
            let dir = self.root.join(name);
            if dir.exists() && !matches!(*name, "bin" | "cache") {
                fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
            }
            if !dir.exists() {
                fs::create_dir(&dir)?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
                self.own(&dir)?;
            }
        }
        fs::set_permissions(self.root.join("bin"), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Gives a path to the sandbox's user.
    pub fn own(&self, path: &Path) -> Result<()> {
        if self.user == User::Nobody {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    /// Gives everything in the working directory to the sandbox's user.
    pub fn own_work(&self) -> Result<()> {
        fn walk(sandbox: &Sandbox, dir: &Path) -> Result<()> {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                let meta = fs::symlink_metadata(&path)?;
                if sandbox.user == User::Nobody {
                    std::os::unix::fs::lchown(&path, Some(NOBODY), Some(NOBODY))?;
                }
                if meta.is_dir() {
                    walk(sandbox, &path)?;
                }
            }
            Ok(())
        }
        walk(self, &self.path("work"))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A path in it, as text.
    pub fn text(&self, name: &str) -> String {
        self.root.join(name).to_string_lossy().into_owned()
    }

    /// The user it is for.
    pub fn user(&self) -> User {
        self.user
    }

    /// A copy of one of our programs that the user can reach: the target directory may be closed to others.
    pub fn program(&self, path: &Path) -> Result<String> {
        let name = path.file_name().context("a program without a name")?;
        let copy = self.root.join("bin").join(name);
        if !copy.exists() {
            // Not by this process: a child that another test makes meanwhile would hold the descriptor for writing until
            // its own exec, and the copy could not be executed before that (ETXTBSY, execve(2)).
            let output = Command::new("cp").arg("--").args([path, &copy]).output().context("starting cp")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        }
        Ok(copy.to_string_lossy().into_owned())
    }

    /// `mosix-run`, `mosix` or `mosixd`, reachable by the user.
    pub fn ours(&self, name: &str) -> Result<String> {
        self.program(&binaries::find(name)?)
    }

    /// The environment of every run in this sandbox.
    pub fn env(&self) -> Vec<(String, String)> {
        let pair = |key: &str, value: String| (key.to_owned(), value);
        vec![
            pair("PATH", format!("{}:{}", self.text("bin"), programs::PATH)),
            pair("HOME", self.text("home")),
            pair("TMPDIR", self.text("tmp")),
            pair("XDG_RUNTIME_DIR", self.text("run")),
            pair("XDG_CACHE_HOME", self.text("cache")),
            pair("XDG_CONFIG_HOME", self.text("config")),
            pair("LANG", "C.UTF-8".to_owned()),
            pair("TZ", "UTC".to_owned()),
            pair("TERM", "xterm".to_owned()),
            pair("USER", self.user.to_string()),
        ]
    }

    /// Everything the program left.
    pub fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        for name in COMPARED {
            walk(&self.root, &self.root.join(name), &mut tree)?;
        }
        Ok(tree)
    }

    /// Demands that the supervisor's own directory (control sockets) is empty again.
    pub fn assert_clean(&self) -> Result<()> {
        let mut tree = Tree::default();
        walk(&self.root, &self.root.join("run"), &mut tree)?;
        tree.0.remove("run");
        ensure!(tree.0.keys().all(|k| k == "run/mosix"), "left in XDG_RUNTIME_DIR: {:?}", tree.0);
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::env::var_os("MOSIX_TEST_KEEP").is_some() {
            eprintln!("kept {}", self.root.display());
        } else if let Err(e) = fs::remove_dir_all(&self.root) {
            eprintln!("removing {}: {e}", self.root.display());
        }
    }
}

/// Files by path: kind, mode, owner, size and content of each. Times are left out, and so is the size of a directory.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, String>);

fn walk(root: &Path, path: &Path, tree: &mut Tree) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let mode = meta.permissions().mode() & 0o7777;
    let text = if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(root, &entry?.path(), tree)?;
        }
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path)?.display())
    } else if kind.is_file() {
        let mut hash = blake3::Hasher::new();
        std::io::copy(&mut fs::File::open(path)?, &mut hash)?;
        format!("file of {} bytes, {} links, {}", meta.len(), meta.nlink(), &hash.finalize().to_hex()[..16])
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_socket() {
        "socket".to_owned()
    } else {
        "device".to_owned()
    };
    let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
    tree.0.insert(name, format!("{text}, mode {mode:o}, owner {}:{}", meta.uid(), meta.gid()));
    Ok(())
}

impl Tree {
    /// Forgets what is under these paths (relative to the sandbox): files that differ between two native runs.
    pub fn without(mut self, prefixes: &[&str]) -> Tree {
        self.0.retain(|path, _| !prefixes.iter().any(|prefix| path.starts_with(prefix)));
        self
    }

    /// What is different in `other`, a line each.
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, text) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("{path}: missing ({text})")),
                Some(theirs) if theirs != text => lines.push(format!("{path}: {theirs}; natively {text}")),
                Some(_) => {}
            }
        }
        lines.extend(
            other
                .0
                .iter()
                .filter(|(path, _)| !self.0.contains_key(*path))
                .map(|(p, t)| format!("{p}: too much ({t})")),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::Sandbox;
    use crate::mode::User;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let sandbox = Sandbox::new(User::Me).unwrap();
        let file = sandbox.path("work/file");
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink("file", sandbox.path("work/link")).unwrap();
        let before = sandbox.tree().unwrap();
        assert!(before.differences(&sandbox.tree().unwrap()).is_empty());

        fs::write(&file, "two").unwrap();
        assert_eq!(before.differences(&sandbox.tree().unwrap()).len(), 1);
        fs::write(&file, "one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(before.differences(&sandbox.tree().unwrap()).len(), 1);
        fs::remove_file(sandbox.path("work/link")).unwrap();
        fs::write(sandbox.path("tmp/new"), "").unwrap();
        assert_eq!(before.differences(&sandbox.tree().unwrap()).len(), 3);
        let masked = sandbox.tree().unwrap().without(&["tmp/", "work/"]);
        assert!(masked.differences(&sandbox.tree().unwrap().without(&["tmp/", "work/"])).is_empty());

        assert!(sandbox.assert_clean().is_ok());
        fs::write(sandbox.path("run/socket"), "").unwrap();
        assert!(sandbox.assert_clean().is_err());
        let root = sandbox.path("");
        drop(sandbox);
        assert!(!root.exists());
    }
}
