//! File contents by their BLAKE3 hash, kept on disk across runs and shared by all guests through the page cache.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracee::image::{ContentId, FileRef};

/// The cache of one session; the directory may be shared with others.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    open: HashMap<ContentId, File>,
    arriving: HashMap<ContentId, Arriving>,
    names: HashMap<ContentId, FileRef>,
}

#[derive(Debug)]
struct Arriving {
    path: PathBuf,
    file: File,
    size: u64,
    got: u64,
    hasher: Box<blake3::Hasher>,
}

/// What became of a part that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More to come.
    Partial,
    /// The content is there.
    Complete,
    /// It cannot be had.
    Failed,
}

impl Cache {
    /// Uses `dir`, which is made if need be, readable by its owner alone.
    pub fn open(dir: &Path) -> io::Result<Cache> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Cache { dir: dir.into(), open: HashMap::new(), arriving: HashMap::new(), names: HashMap::new() })
    }

    /// The directory of this user's cache: XDG_CACHE_HOME, ~/.cache, or /var/cache for root.
    pub fn default_dir() -> PathBuf {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .filter(|dir| dir.is_absolute() && writable(dir))
            .unwrap_or_else(|| {
                PathBuf::from(format!("/tmp/mosix-cache-{}", rustix::process::geteuid().as_raw()))
            });
        base.join("mosix/content")
    }

    /// The content as a file to map, if it is here. Remembers where it came from.
    pub fn get(&mut self, file: &FileRef) -> Option<&File> {
        self.names.entry(file.content).or_insert_with(|| file.clone());
        if !self.open.contains_key(&file.content) {
            let opened = File::open(self.path(&file.content)).ok()?;
            if opened.metadata().ok()?.len() != file.size {
                return None;
            }
            self.open.insert(file.content, opened);
        }
        self.open.get(&file.content)
    }

    /// Starts to receive a content. False if it is on its way already.
    pub fn begin(&mut self, file: &FileRef) -> io::Result<bool> {
        if self.arriving.contains_key(&file.content) {
            return Ok(false);
        }
        let name = format!("{}.{}", hex(&file.content), std::process::id());
        let path = self.dir.join(name);
        fs::remove_file(&path).ok();
        let opened = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let hasher = Box::new(blake3::Hasher::new());
        self.arriving.insert(file.content, Arriving { path, file: opened, size: file.size, got: 0, hasher });
        Ok(true)
    }

    /// Takes a part in; the whole is checked against its name before it is used.
    pub fn part(&mut self, content: &ContentId, bytes: &[u8]) -> Progress {
        let Some(arriving) = self.arriving.get_mut(content) else { return Progress::Failed };
        arriving.hasher.update(bytes);
        arriving.got += bytes.len() as u64;
        let failed =
            arriving.file.write_all(bytes).is_err() || bytes.is_empty() && arriving.got < arriving.size;
        if !failed && arriving.got < arriving.size {
            return Progress::Partial;
        }
        let Some(arriving) = self.arriving.remove(content) else { return Progress::Failed };
        let right = arriving.hasher.finalize().as_bytes() == content;
        if failed || !right || fs::rename(&arriving.path, self.path(content)).is_err() {
            fs::remove_file(&arriving.path).ok();
            return Progress::Failed;
        }
        Progress::Complete
    }

    /// The file that a mapping of a cached content stands for, by the path that /proc/PID/maps shows.
    pub fn named(&self, path: &[u8], offset: u64) -> Option<FileRef> {
        let name = path.rsplit(|byte| *byte == b'/').next()?;
        let name = std::str::from_utf8(name).ok()?.trim_end_matches(" (deleted)");
        self.names
            .iter()
            .find(|(content, _)| hex(content.as_slice()) == name)
            .map(|(_, file)| FileRef { offset, ..file.clone() })
    }

    fn path(&self, content: &ContentId) -> PathBuf {
        self.dir.join(hex(content))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for arriving in self.arriving.values() {
            fs::remove_file(&arriving.path).ok();
        }
    }
}

fn writable(dir: &Path) -> bool {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).is_ok()
        && rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_checked_before_use() {
        let dir = std::env::temp_dir().join(format!("mosix-cache-test-{}", std::process::id()));
        let mut cache = Cache::open(&dir).unwrap();
        let content = *blake3::hash(b"hello world").as_bytes();
        let file = FileRef { content, size: 11, offset: 0, path: b"/x".to_vec() };
        assert!(cache.get(&file).is_none());
        assert!(cache.begin(&file).unwrap());
        assert!(!cache.begin(&file).unwrap());
        assert_eq!(cache.part(&content, b"hello "), Progress::Partial);
        assert_eq!(cache.part(&content, b"wOrld"), Progress::Failed);
        assert!(cache.get(&file).is_none());
        assert!(cache.begin(&file).unwrap());
        assert_eq!(cache.part(&content, b"hello world"), Progress::Complete);
        assert!(cache.get(&file).is_some());
        let named = cache.named(format!("/a/{}", hex(&content)).as_bytes(), 4096).unwrap();
        assert_eq!((named.offset, named.path.as_slice()), (4096, b"/x".as_slice()));
        fs::remove_dir_all(&dir).unwrap();
    }
}
