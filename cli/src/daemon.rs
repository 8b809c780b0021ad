//! The connection to this machine's node daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;
use wire::local::{MAX_LINE_BYTES, NodeLine, Reply, Request, SYSTEM_SOCKET, socket_path};

/// What to do when nothing listens.
const HOW_TO_START: &str = "start it with `mosixd` (or, as a service, `systemctl start mosixd`)";

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    stream: BufReader<UnixStream>,
}

impl Daemon {
    /// Connects to the daemon at $MOSIX_SOCKET, or else to the user's own, or else to the system's.
    pub(crate) fn connect() -> Result<Daemon> {
        let sockets = sockets();
        for path in &sockets {
            if let Some(daemon) = open(path)? {
                return Ok(daemon);
            }
        }
        let paths: Vec<_> = sockets.iter().map(|path| path.display().to_string()).collect();
        bail!("no mosixd listens at {}: {HOW_TO_START}", paths.join(" or "))
    }

    /// The daemon of this user, if it runs.
    pub(crate) fn own() -> Result<Option<Daemon>> {
        sockets().first().map_or(Ok(None), |path| open(path))
    }

    /// Asks, and waits for the answer for as long as it takes. What the daemon could not do is an error.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply> {
        const WHAT: &str = "mosixd ended the connection";
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).context(WHAT)?;
        line.clear();
        (&mut self.stream).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line).context(WHAT)?;
        if line.pop() != Some(b'\n') {
            bail!(WHAT);
        }
        let reply = serde_json::from_slice(&line)
            .context("mosixd speaks another language: it and mosix must be of the same version")?;
        match reply {
            Reply::Failed(why) => bail!("{why}"),
            reply => Ok(reply),
        }
    }

    /// The nodes that the daemon knows, itself included.
    pub(crate) fn nodes(&mut self) -> Result<Vec<NodeLine>> {
        match self.ask(&Request::Nodes)? {
            Reply::Nodes(nodes) => Ok(nodes),
            _ => Err(unexpected()),
        }
    }

    /// Lines of text.
    pub(crate) fn lines(&mut self, request: &Request) -> Result<Vec<String>> {
        match self.ask(request)? {
            Reply::Lines(lines) => Ok(lines),
            _ => Err(unexpected()),
        }
    }

    /// Nothing but that it is done.
    pub(crate) fn order(&mut self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

/// Not with the answer itself, which may hold a key.
fn unexpected() -> anyhow::Error {
    anyhow::anyhow!("mosixd gave an answer to something else")
}

/// Where daemons of this machine listen, the one to try first in front: $MOSIX_SOCKET alone if it is set, or the user's own
/// and the system's.
pub(crate) fn sockets() -> Vec<PathBuf> {
    if let Some(given) = std::env::var_os("MOSIX_SOCKET").filter(|path| !path.is_empty()) {
        return vec![given.into()];
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = socket_path(geteuid().as_raw(), runtime.map(|dir| dir.join("mosix")));
    let mut sockets = vec![own, SYSTEM_SOCKET.into()];
    sockets.dedup();
    sockets
}

/// None if nothing listens there.
fn open(path: &Path) -> Result<Option<Daemon>> {
    let cannot = || format!("cannot speak with mosixd at {}", path.display());
    match std::fs::symlink_metadata(path) {
        // In /tmp anybody could have made it, and would read what is asked and answer what they like.
        Ok(meta) if meta.uid() != geteuid().as_raw() && meta.uid() != 0 => {
            bail!("{} belongs to user {}: nothing is asked there", path.display(), meta.uid())
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(cannot),
    }
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(Daemon { stream: BufReader::new(stream) })),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error).with_context(cannot),
    }
}
