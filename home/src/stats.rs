//! The report that `--stats` writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;

use serde::Serialize;

/// What a run did, in the shape of the JSON object.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// System calls of processes that were away.
    pub calls: Calls,
    /// CPU time of all managed processes that have ended.
    pub cpu_seconds: CpuSeconds,
    /// On the links to remote nodes.
    pub bytes: Bytes,
    /// Of these, what each node did, by its name.
    pub nodes: BTreeMap<String, NodeStats>,
    /// Every move, in order.
    pub moves: Vec<Move>,
}

/// System calls of processes that were away, by where they ran.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    /// On the remote node, as far as it counted them.
    pub local: u64,
    /// By the deputy.
    pub forwarded: u64,
    /// Processes brought home by a call, by reason.
    pub gone_home: BTreeMap<String, u64>,
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CpuSeconds {
    /// At home.
    pub home: f64,
    /// On remote nodes.
    pub remote: f64,
}

/// Bytes on the links.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Bytes {
    /// To remote nodes.
    pub sent: u64,
    /// From remote nodes.
    pub received: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// What the processes on one node did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct NodeStats {
    /// Calls that came from there.
    pub forwarded: u64,
    /// CPU seconds there.
    pub cpu_s: f64,
    /// On its links.
    pub bytes: Bytes,
}

impl AddAssign for NodeStats {
    fn add_assign(&mut self, other: NodeStats) {
        self.forwarded += other.forwarded;
        self.cpu_s += other.cpu_s;
        self.bytes += other.bytes;
    }
}

/// One move of one process.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// Its pid at home.
    pub pid: i32,
    /// Node it left, or `home`.
    pub from: String,
    /// Node it went to, or `home`.
    pub to: String,
    /// Why.
    pub reason: String,
    /// From the last user instruction there to the first here, in milliseconds.
    pub freeze_ms: f64,
    /// From the decision to the end, in milliseconds.
    pub total_ms: f64,
    /// Bytes that crossed the link.
    pub bytes: u64,
}

impl Stats {
    /// Writes the object into `file` as its only content. A regular file is replaced; anything else is appended to.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        if file.metadata()?.is_file() {
            file.write_all_at(&text, 0)?;
            file.set_len(text.len() as u64)
        } else {
            io::Write::write_all(&mut &*file, &text)
        }
    }
}
