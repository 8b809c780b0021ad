//! Files as content: hashed once per device, inode, size and times, kept open so that what was named can be sent.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use tracee::Tid;
use tracee::image::{Backing, ContentId, FileRef};
use tracee::maps::Mapping;

/// What a file is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Larger files are not copied to a node: their process stays at home.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// Known contents.
#[derive(Debug, Default)]
pub struct Contents {
    ids: HashMap<Identity, ContentId>,
    files: HashMap<ContentId, File>,
}

impl Contents {
    /// Names the content of an open regular file.
    pub fn identify(&mut self, file: File) -> Result<(ContentId, u64), String> {
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("not a regular file".into());
        }
        if metadata.size() > FILE_BYTES_MAX {
            return Err(format!("larger than {} GiB", FILE_BYTES_MAX >> 30));
        }
        let identity = Identity::of(&metadata);
        if let Some(id) = self.ids.get(&identity) {
            return Ok((*id, identity.size));
        }
        let id = hash(&file, identity.size).map_err(|error| error.to_string())?;
        let after = file.metadata().map_err(|error| error.to_string())?;
        if Identity::of(&after) != identity {
            return Err("it changes while it is read".into());
        }
        self.ids.insert(identity, id);
        self.files.insert(id, file);
        Ok((id, identity.size))
    }

    /// Names the content of a privately mapped file of a process, or `None` when its file cannot be reached by its
    /// path any more.
    pub fn of_mapping(&mut self, pid: Tid, mapping: &Mapping) -> Result<Option<Backing>, String> {
        let Ok(path) = std::str::from_utf8(&mapping.path) else { return Ok(None) };
        let is_it = |file: &File| file.metadata().is_ok_and(|metadata| metadata.ino() == mapping.inode);
        let by_path = File::open(Path::new(&format!("/proc/{pid}/root{path}"))).ok().filter(is_it);
        // One that was away with the process may have been deleted since.
        let is_held = |file: &&File| {
            is_it(file) && file.metadata().is_ok_and(|metadata| metadata.dev() == mapping.device)
        };
        let held = || self.files.values().find(is_held).and_then(|file| file.try_clone().ok());
        let Some(file) = by_path.or_else(held) else { return Ok(None) };
        let (content, size) = self.identify(file).map_err(|why| format!("mapping of {path}: {why}"))?;
        Ok(Some(Backing::File(FileRef { content, size, offset: mapping.offset, path: mapping.path.clone() })))
    }

    /// Reads a part of a known content; fewer bytes at its end.
    pub fn read(&self, content: &ContentId, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let file = self.files.get(content).ok_or(io::ErrorKind::NotFound)?;
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => break,
                got => done += got,
            }
        }
        Ok(done)
    }

    /// A path by which this machine's processes of the same user reach a known content's file, whatever has become of its
    /// name.
    pub fn path(&self, content: &ContentId) -> Option<String> {
        let file = self.files.get(content)?;
        Some(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
    }

    /// The metadata of a known content's file.
    pub fn metadata(&self, content: &ContentId) -> Option<Metadata> {
        self.files.get(content)?.metadata().ok()
    }
}

fn hash(file: &File, size: u64) -> io::Result<ContentId> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; 256 << 10];
    let mut at = 0;
    while at < size {
        let got = file.read_at(&mut chunk, at)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&chunk[..got]);
        at += got as u64;
    }
    Ok(*hasher.finalize().as_bytes())
}
