//! What a node daemon says to the programs of its own machine over its control socket: supervisors ask it where processes
//! should be, and `mosix` looks and directs.
//!
//! The socket is a unix stream socket; each line is one JSON value, [`Request`] from the client and [`Reply`] from the
//! daemon. Who the client is comes from the socket's credentials alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Version of these lines. Daemon and client of one machine are of one version: there is no negotiation.
pub const VERSION: u32 = 2;

/// Longest line in bytes; a longer one ends the connection.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The socket of the system's daemon.
pub const SYSTEM_SOCKET: &str = "/run/mosix/mosixd.sock";

/// Where a daemon of user `uid` listens: root's at [`SYSTEM_SOCKET`], an ordinary user's own beside the sockets of
/// supervisors, in `runtime` ($XDG_RUNTIME_DIR) or in /tmp.
pub fn socket_path(uid: u32, runtime: Option<PathBuf>) -> PathBuf {
    if uid == 0 {
        return SYSTEM_SOCKET.into();
    }
    runtime.unwrap_or_else(|| format!("/tmp/mosix-{uid}").into()).join("mosixd.sock")
}

/// From a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A supervisor presents itself; answered with [`Reply::Welcome`] or [`Reply::Failed`].
    Supervisor {
        /// [`VERSION`].
        version: u32,
        /// What its user asked for, for all its processes.
        advice: Advice,
    },
    /// Where should this process go, which has just exec'ed and is held until [`Reply::Place`] comes?
    Place {
        /// The process.
        job: Job,
    },
    /// All processes of this supervisor, once or twice a second.
    Jobs {
        /// Those that are not listed are gone.
        jobs: Vec<Job>,
        /// Of the nodes that its processes have called home from since the last report.
        round_trips: Vec<RoundTrip>,
    },
    /// A process has ended.
    Ended {
        /// As it was last.
        job: Job,
    },
    /// A move that the daemon asked for, or another, has ended: the process is there now.
    Moved {
        /// Which process.
        pid: i32,
        /// The place where it is, `home` or a node's name.
        place: String,
        /// Why it is not where it was to be.
        failed: Option<String>,
    },
    /// Nodes with their load; answered with [`Reply::Nodes`].
    Nodes,
    /// Why is a process where it is; answered with [`Reply::Lines`].
    Why {
        /// Its pid at home.
        pid: i32,
    },
    /// What has happened, the latest last; answered with [`Reply::Lines`].
    Events,
    /// What the owner wants; answered with [`Reply::Done`] when it is so.
    Owner(Owner),
    /// From a supervisor: its user wants this process on that node (`mosix migrate`). Answered with [`Reply::Move`], when
    /// the node takes it, or with [`Reply::Refused`].
    Wish {
        /// Which process.
        pid: i32,
        /// The node's name.
        node: String,
    },
    /// A process stays where it is, or may move again.
    Lock {
        /// Its pid at home.
        pid: i32,
        /// Whether it stays.
        locked: bool,
    },
}

/// What the owner of a node wants of its daemon. As openMosix's mosctl has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// All processes of this home come back; done when they are here. They may go again after `nostay`.
    Bring,
    /// All guests leave; done when they are gone. New ones may come after `unblock`.
    Expel,
    /// No new guests.
    Block,
    /// Guests may come again.
    Unblock,
    /// Processes of this home do not leave by themselves.
    Stay,
    /// They do.
    Nostay,
}

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To a supervisor.
    Welcome {
        /// This node's name.
        node: String,
        /// A certificate and its key for the user of this connection, as [`crate::Identity::to_bytes`] makes them, with
        /// which nodes of the cluster are reached.
        identity: ByteBuf,
    },
    /// The answer to [`Request::Place`].
    Place {
        /// Which process.
        pid: i32,
        /// Where it goes.
        to: Target,
        /// In one line.
        why: String,
    },
    /// A running process is to move. Answered with [`Request::Moved`].
    Move {
        /// Which process.
        pid: i32,
        /// Where it goes.
        to: Target,
        /// In one line.
        why: String,
    },
    /// The answer to [`Request::Wish`] when there will be no move.
    Refused {
        /// Which process.
        pid: i32,
        /// In the user's words.
        why: String,
    },
    /// To a supervisor: whoever has shown one of these keys is no longer of the cluster. All of them, whenever there are
    /// more.
    Revoked {
        /// As [`crate::identity::KeyId`] is written.
        keys: Vec<String>,
    },
    /// The nodes that this one knows.
    Nodes(Vec<NodeLine>),
    /// Text.
    Lines(Vec<String>),
    /// It is done.
    Done,
    /// It was not done, in the user's words.
    Failed(String),
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Where the program was started.
    Home,
    /// A node of the cluster.
    Node {
        /// Its name.
        name: String,
        /// Where its sessions are accepted.
        address: SocketAddr,
    },
}

/// What a user asks of placement; see `mosix-run --help`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advice {
    /// Stay at home.
    pub no_migrate: bool,
    /// Only this node.
    pub on: Option<String>,
    /// Only these nodes; none named means all.
    pub nodes: Vec<String>,
    /// Not these.
    pub exclude: Vec<String>,
    /// Only nodes with all of these labels.
    pub labels: Vec<String>,
    /// It computes: its calls do not count against a move.
    pub cpu_job: bool,
    /// It makes calls: it stays at home.
    pub io_job: bool,
    /// Memory that it will need, in MiB.
    pub memory_mib: Option<u32>,
}

/// How far a node is from a supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The node's name.
    pub node: String,
    /// Round trip of the session's link in microseconds, smoothed.
    pub us: f64,
}

/// A managed process as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its pid.
    pub pid: i32,
    /// The file it runs.
    pub program: String,
    /// `home` or a node's name.
    pub place: String,
    /// CPU seconds it has used, wherever that was.
    pub cpu_s: f64,
    /// System calls that were forwarded so far. At home, where there are none to count, None, but in
    /// [`Request::Place`].
    pub calls: Option<u64>,
    /// Reads and writes that it has made, where it is at home: of the calls that would be forwarded, those that the kernel
    /// counts.
    pub reads_writes: Option<u64>,
    /// Resident memory in MiB.
    pub memory_mib: u32,
    /// Seconds since it came to where it is.
    pub here_s: f64,
    /// Why it may not move now.
    pub stay: Option<String>,
}

/// A node as another knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// Where daemons reach it; none for this node itself.
    pub address: Option<SocketAddr>,
    /// Seconds since what follows was measured there.
    pub age_s: f64,
    /// Cores that tasks may use.
    pub cores: f64,
    /// Speed of a core, 1.0 as docs/CLUSTER.md defines it.
    pub speed: f64,
    /// Runnable tasks of its own users.
    pub local: f64,
    /// Runnable guests.
    pub guests_runnable: f64,
    /// Guests.
    pub guests: u32,
    /// Memory that processes may use, in MiB.
    pub memory_total_mib: u32,
    /// Of it available, in MiB.
    pub memory_free_mib: u32,
    /// Round trip in microseconds, if measured.
    pub rtt_us: Option<f64>,
    /// Why no guests may come, if so.
    pub closed: Option<String>,
    /// What its owner calls it.
    pub labels: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_they_look_like() {
        let line = serde_json::to_string(&Request::Owner(Owner::Bring)).unwrap();
        assert_eq!(line, r#"{"owner":"bring"}"#);
        let to = Target::Node { name: "b".into(), address: "10.0.0.2:7413".parse().unwrap() };
        let reply = Reply::Place { pid: 7, to, why: "sooner".into() };
        let back: Reply = serde_json::from_str(&serde_json::to_string(&reply).unwrap()).unwrap();
        assert_eq!(back, reply);
    }

    #[test]
    fn each_daemon_has_its_place() {
        assert_eq!(socket_path(0, Some("/run/user/0".into())), PathBuf::from("/run/mosix/mosixd.sock"));
        assert_eq!(
            socket_path(7, Some("/run/user/7/mosix".into())),
            PathBuf::from("/run/user/7/mosix/mosixd.sock")
        );
        assert_eq!(socket_path(7, None), PathBuf::from("/tmp/mosix-7/mosixd.sock"));
    }
}
