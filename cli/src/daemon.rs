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
        if let Some(path) = given() {
            return match open(&path) {
                Ok(Some(daemon)) => Ok(daemon),
                Ok(None) => bail!("no mosixd listens at {} ($MOSIX_SOCKET): {HOW_TO_START}", path.display()),
                Err(error) => Err(error),
            };
        }
        match Daemon::own()? {
            Some(daemon) => Ok(daemon),
            None => open(Path::new(SYSTEM_SOCKET))?
                .with_context(|| format!("no mosixd runs on this machine: {HOW_TO_START}")),
        }
    }

    /// The daemon of this user, if it runs.
    pub(crate) fn own() -> Result<Option<Daemon>> {
        open(&given().unwrap_or_else(own_path))
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

fn given() -> Option<PathBuf> {
    std::env::var_os("MOSIX_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn own_path() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    socket_path(geteuid().as_raw(), runtime.map(|dir| dir.join("mosix")))
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
