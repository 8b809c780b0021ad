//! The control socket: who connects, and their lines. What is asked is for the agent to decide.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use wire::local::{MAX_LINE_BYTES, Reply, Request};

use super::Happening;

/// Replies that a client has not read; beyond it the connection ends.
const MAX_UNREAD: usize = 256;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Counts connections.
    pub(super) id: u64,
    pub(super) uid: u32,
    pub(super) pid: i32,
}

/// The socket file, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    last: u64,
}

impl Socket {
    /// Listens. Root's daemon serves every user of the machine, another only its own.
    pub(super) fn open(path: &Path) -> Result<Socket> {
        let root = rustix::process::geteuid().is_root();
        own_directory(path, root)?;
        match Probe::connect(path) {
            Ok(_) => bail!("another mosixd listens at {}: end it, or say --socket", path.display()),
            // One that has died has left it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
                .with_context(|| format!("cannot remove the dead socket {}", path.display()))?,
            Err(_) => {}
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let mode = if root { 0o666 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot open {} to its users", path.display()))?;
        Ok(Socket { listener, path: path.to_owned(), last: 0 })
    }

    /// The next connection.
    pub(super) async fn accept(&mut self) -> io::Result<(UnixStream, Client)> {
        let (stream, _) = self.listener.accept().await?;
        let who = stream.peer_cred()?;
        self.last += 1;
        Ok((stream, Client { id: self.last, uid: who.uid(), pid: who.pid().unwrap_or(0) }))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It is gone, or somebody else's.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the socket's directory. In /tmp anybody could have made it, and would then decide what is in it.
fn own_directory(path: &Path, root: bool) -> Result<()> {
    let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) else { return Ok(()) };
    let mode = if root { 0o755 } else { 0o700 };
    let is_new = !dir.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    if root && is_new {
        // Whatever the umask is: every user of the machine passes.
        fs::set_permissions(dir, Permissions::from_mode(mode))
            .with_context(|| format!("cannot open {} to its users", dir.display()))?;
    }
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(dir)?.uid();
    ensure!(owner == own || owner == 0, "{} belongs to user {owner}: say --socket", dir.display());
    Ok(())
}

/// Carries a connection's lines both ways until it ends or the agent drops it.
pub(super) async fn serve(stream: UnixStream, client: Client, agent: mpsc::Sender<Happening>) {
    let (replies, unsent) = mpsc::channel(MAX_UNREAD);
    if agent.send(Happening::Client(client, replies)).await.is_ok() {
        // How a connection ends is the same to everybody.
        let _ = carry(stream, client, &agent, unsent).await;
        let _ = agent.send(Happening::Gone(client)).await;
    }
}

async fn carry(
    stream: UnixStream,
    client: Client,
    agent: &mpsc::Sender<Happening>,
    mut unsent: mpsc::Receiver<Reply>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let listen = async {
        let mut line = Vec::new();
        loop {
            line.clear();
            let most = MAX_LINE_BYTES as u64 + 1;
            let length = (&mut lines).take(most).read_until(b'\n', &mut line).await?;
            if length == 0 || line.last() != Some(&b'\n') {
                return Ok(());
            }
            let happening = match serde_json::from_slice::<Request>(&line) {
                Ok(request) => Happening::Request(client, request),
                Err(error) => Happening::Nonsense(client, error.to_string()),
            };
            if agent.send(happening).await.is_err() {
                return Ok(());
            }
        }
    };
    let speak = async {
        while let Some(reply) = unsent.recv().await {
            let mut line = serde_json::to_vec(&reply)?;
            line.push(b'\n');
            write.write_all(&line).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = listen => ended,
        ended = speak => ended,
    }
}
