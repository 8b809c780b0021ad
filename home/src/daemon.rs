//! The connection to this machine's node daemon: lines of [`wire::local`] over a unix stream socket. Nothing here waits
//! unless it says so.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use wire::local::{MAX_LINE_BYTES, Reply, Request};

use crate::control::may_control;

/// Lines that the daemon has not taken, in bytes. A daemon that is so far behind is as good as none.
const UNSENT_MAX_BYTES: usize = MAX_LINE_BYTES;

/// One connection.
#[derive(Debug)]
pub struct Daemon {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Daemon {
    /// Connects to the first of `paths` where a daemon listens, of root or of this user: a stranger could send processes
    /// anywhere.
    pub fn connect(paths: &[PathBuf]) -> io::Result<Daemon> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in paths {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let connected = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .and_then(|socket| connect(&socket, &SocketAddrUnix::new(path)?).map(|()| socket));
            match connected.map(UnixStream::from) {
                Ok(stream) if may_control(&stream) => {
                    return Ok(Daemon { stream, input: Vec::new(), output: Vec::new() });
                }
                Ok(_) => {
                    let message = format!("{} is another user's", path.display());
                    last = io::Error::new(io::ErrorKind::PermissionDenied, message);
                }
                Err(errno) => last = io::Error::other(format!("{}: {errno}", path.display())),
            }
        }
        Err(last)
    }

    /// For the poll loop.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Says something. An error is the end of the connection.
    pub fn say(&mut self, request: &Request) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, request)?;
        self.output.push(b'\n');
        self.flush()
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.output.len() > UNSENT_MAX_BYTES {
            return Err(io::Error::other("it does not read what it is told"));
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes what it has said. An error is the end of the connection; what came before it is in `replies`.
    pub fn hear(&mut self, replies: &mut Vec<Reply>) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.input.extend_from_slice(&chunk[..count]);
                    if count < chunk.len() {
                        break Ok(());
                    }
                    if self.input.len() > MAX_LINE_BYTES {
                        break Err(io::Error::other("a line of it is too long"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let mut taken = 0;
        while let Some(length) = self.input[taken..].iter().position(|byte| *byte == b'\n') {
            replies.push(serde_json::from_slice(&self.input[taken..taken + length])?);
            taken += length + 1;
        }
        self.input.drain(..taken);
        ended
    }

    /// Waits for what it says next, so long: for a supervisor that has nothing else to do yet.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Reply> {
        let until = Instant::now() + timeout;
        let mut replies = Vec::new();
        loop {
            self.hear(&mut replies)?;
            if !replies.is_empty() {
                return Ok(replies.remove(0));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Daemon, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Daemon { stream: ours, input: Vec::new(), output: Vec::new() }, theirs)
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let (mut daemon, mut theirs) = pair();
        let mut replies = Vec::new();
        for part in ["\"do", "ne\"\n{\"failed\":\"no\"}", "\n\"done\"\n"] {
            theirs.write_all(part.as_bytes()).unwrap();
            daemon.hear(&mut replies).unwrap();
        }
        assert_eq!(replies, [Reply::Done, Reply::Failed("no".into()), Reply::Done]);
        drop(theirs);
        assert!(daemon.hear(&mut replies).is_err());
    }

    #[test]
    fn one_that_does_not_read_is_given_up() {
        let (mut daemon, theirs) = pair();
        let told = (0..1_000_000).find(|_| daemon.say(&Request::Nodes).is_err());
        assert!(told.is_some(), "everything was taken");
        drop(theirs);
    }
}
