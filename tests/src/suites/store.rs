//! Results on disk, so that a suite can be run in pieces and the table made of all of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::item::{Item, Results};
use super::runner::Done;

/// A directory of results: `SUITE/ITEM.USER.MODE.json`, and the logs beside them.
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens it; it need not be there.
    pub fn open(dir: &Path) -> Store {
        Store { dir: dir.to_owned() }
    }

    fn path(&self, item: &Item, mode: &str, user: &str, extension: &str) -> PathBuf {
        self.dir.join(item.suite.name()).join(format!("{}.{user}.{mode}.{extension}", item.name))
    }

    /// What an item gave last.
    pub fn get(&self, item: &Item, mode: &str, user: &str) -> Result<Option<Results>> {
        let path = self.path(item, mode, user, "json");
        match fs::read(&path) {
            Ok(bytes) => {
                Ok(Some(serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| path.display().to_string()),
        }
    }

    /// Keeps what it gave now.
    pub fn put(&self, item: &Item, mode: &str, user: &str, done: &Done) -> Result<()> {
        let path = self.path(item, mode, user, "json");
        fs::create_dir_all(self.dir.join(item.suite.name()))?;
        fs::write(&path, serde_json::to_vec(&done.results)?).with_context(|| path.display().to_string())?;
        fs::write(self.path(item, mode, user, "log"), &done.log)?;
        Ok(())
    }
}
