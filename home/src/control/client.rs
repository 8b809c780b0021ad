//! The command line's side of the control sockets.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use tracee::Tid;
use wire::trace::Wanted;

use super::{Answer, Reply, Request, place};
use crate::supervisor::{Command, ProcessLine};

/// A connection to one supervisor.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    last_id: u64,
}

impl Connection {
    /// Asks, and waits for the answer for as long as it takes.
    pub fn ask(&mut self, command: Command) -> io::Result<Reply> {
        self.send(command)?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let answer: Answer = serde_json::from_str(&line)?;
            if answer.id == self.last_id || answer.id == 0 {
                return Ok(answer.reply);
            }
        }
    }

    fn send(&mut self, command: Command) -> io::Result<()> {
        self.last_id += 1;
        let mut line = serde_json::to_vec(&Request { id: self.last_id, command })?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    /// Asks for a trace of a process.
    pub fn trace(mut self, pid: Tid, wanted: Wanted) -> io::Result<Tracing> {
        self.send(Command::Trace { pid, wanted })?;
        let (id, input) = (self.last_id, self.stream.buffer().to_vec());
        Ok(Tracing { stream: self.stream.into_inner(), id, input, taken: 0 })
    }

    /// The processes that the supervisor manages.
    pub fn processes(&mut self) -> io::Result<Vec<ProcessLine>> {
        match self.ask(Command::Ps)? {
            Reply::Processes(lines) => Ok(lines),
            Reply::Failed(message) => Err(io::Error::other(message)),
            Reply::Done | Reply::Traced(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A trace that is being told.
#[derive(Debug)]
pub struct Tracing {
    stream: UnixStream,
    id: u64,
    input: Vec<u8>,
    /// Bytes of `input` that have been taken.
    taken: usize,
}

impl Tracing {
    /// The next answer, if it is there.
    pub fn take(&mut self) -> io::Result<Option<Reply>> {
        loop {
            let rest = &self.input[self.taken..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.input.drain(..self.taken);
                self.taken = 0;
                return Ok(None);
            };
            let answer: Answer = serde_json::from_slice(&rest[..end])?;
            self.taken += end + 1;
            if answer.id == self.id || answer.id == 0 {
                return Ok(Some(answer.reply));
            }
        }
    }

    /// Waits for more; whether the supervisor is still there.
    pub fn read(&mut self) -> io::Result<bool> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let got = loop {
            match self.stream.read(&mut self.input[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.input.truncate(before + got.as_ref().map_or(0, |got| *got));
        Ok(got? > 0)
    }
}

/// Taken from the socket at once.
const READ_BYTES: usize = 64 << 10;

impl AsFd for Tracing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connects to every supervisor of this user (of everybody, for root). The socket of one that was killed is
/// removed.
pub fn supervisors() -> Vec<Connection> {
    let mut found = Vec::new();
    for directory in place::directories() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // A daemon's socket is there too.
            let is_daemon = path.file_name().is_some_and(|name| name == "mosixd.sock");
            if is_daemon || path.extension().is_none_or(|extension| extension != "sock") {
                continue;
            }
            match UnixStream::connect(&path) {
                Ok(stream) => found.push(Connection { stream: BufReader::new(stream), last_id: 0 }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    // Nobody listens any more; if it cannot be removed it is in nobody's way.
                    let _ = fs::remove_file(&path);
                }
                Err(_) => {}
            }
        }
    }
    found
}
