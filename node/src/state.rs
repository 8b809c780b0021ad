//! What outlives the daemon, in its state directory: the history of programs, members, the measured speed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cluster::NodeId;
use cluster::placement::History;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Files larger than this are not read: 2,048 programs are below 300 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// First byte of a file.
const VERSION: u8 = 1;
/// Members kept, at most: enough to find the others by.
const MAX_MEMBERS: usize = 256;

/// The state directory.
#[derive(Debug)]
pub(crate) struct State(PathBuf);

impl State {
    /// Makes the directory where it is not there.
    pub(crate) fn open(dir: &Path) -> io::Result<State> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(State(dir.to_owned()))
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// What programs have needed; nothing if that is unknown or unreadable.
    pub(crate) fn history(&self) -> History {
        self.load("history").unwrap_or_default()
    }

    /// Members as they were last.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.load("members").unwrap_or_default()
    }

    /// Keeps the history.
    pub(crate) fn save_history(&self, history: &History) -> io::Result<()> {
        self.save("history", history)
    }

    /// Keeps members.
    pub(crate) fn save_members(&self, members: &[NodeId]) -> io::Result<()> {
        self.save("members", &members[..members.len().min(MAX_MEMBERS)].to_vec())
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.0.join(name)).ok()?;
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        // Damage means that nothing is remembered.
        let (value, rest) = postcard::take_from_bytes(rest).ok()?;
        rest.is_empty().then_some(value)
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let bytes = postcard::to_extend(value, vec![VERSION]).map_err(io::Error::other)?;
        write(&self.0.join(name), &bytes)
    }
}

/// Replaces a file whole: who reads it sees the old or the new one, also after a crash.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use cluster::Name;
    use cluster::placement::Run;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_nothing() {
        let dir = std::env::temp_dir().join(format!("mosixd-state-{}", std::process::id()));
        let state = State::open(&dir).unwrap();
        assert!(state.members().is_empty());
        let mut history = History::default();
        history.ended("/usr/bin/cc1", Run { cpu_s: 2.0, calls_per_s: 9.0, memory_mib: 80.0 });
        state.save_history(&history).unwrap();
        let name = Name::new("a").unwrap();
        let members = [NodeId { name, addr: "10.0.0.1:7414".parse().unwrap(), incarnation: 7 }];
        state.save_members(&members).unwrap();
        assert_eq!(state.history().expect("/usr/bin/cc1"), history.expect("/usr/bin/cc1"));
        assert_eq!(state.members(), members);
        for damage in [&b""[..], b"\x02", b"\x01\xff\xff\xff\xff\xff", b"\x01\x00\x00"] {
            fs::write(dir.join("members"), damage).unwrap();
            assert!(state.members().is_empty(), "{damage:?}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
