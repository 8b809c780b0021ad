//! The supervisor's control socket: a unix stream socket that belongs to the user alone, one for each supervisor.
//! Requests are JSON values, one a line; so are the answers, which come when the work is done: a client may have
//! several requests under way and each answer says which one it is for.

pub mod client;
mod place;

pub(crate) use place::may_control;
pub use place::sweep;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::supervisor::{Command, Events, ProcessLine, Source};

/// Longest request in bytes; a longer one ends the connection.
const REQUEST_MAX_BYTES: usize = 64 << 10;
/// Connections at a time; a program that opens more is refused.
const CLIENTS_MAX: usize = 64;
/// Answers that a client does not read; beyond it the connection ends.
const UNREAD_MAX_BYTES: usize = 8 << 20;

/// A request with the number that its answer carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client.
    pub id: u64,
    /// What is asked.
    pub command: Command,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's number; 0 if it could not be read.
    pub id: u64,
    /// What came of it.
    pub reply: Reply,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The managed processes.
    Processes(Vec<ProcessLine>),
    /// It is done.
    Done,
    /// It was not done, in the user's words.
    Failed(String),
}

/// Who waits for an answer. It may be used after the client has gone: then nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    client: u32,
    id: u64,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
}

/// The server's side.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: HashMap<u32, Client>,
    last_client: u32,
}

impl Control {
    /// Opens this supervisor's socket.
    pub fn open(events: &mut Events) -> io::Result<Control> {
        let directory = place::own_directory()?;
        place::sweep();
        let (unready, ready) = place::names(std::process::id());
        let (unready, path) = (directory.join(unready), directory.join(ready));
        let listener = UnixListener::bind(&unready)?;
        // What has the final name listens: that one which refuses a connection is dead has no exception.
        fs::set_permissions(&unready, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&unready, &path))
            .inspect_err(|_| drop(fs::remove_file(&unready)))?;
        listener.set_nonblocking(true)?;
        events.add(&listener, Source::ControlListener)?;
        Ok(Control { listener, path, clients: HashMap::new(), last_client: 0 })
    }

    /// Takes new connections.
    pub fn accept(&mut self, events: &mut Events) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() >= CLIENTS_MAX || !place::may_control(&stream) {
                continue;
            }
            self.last_client += 1;
            let source = Source::ControlClient(self.last_client);
            if stream.set_nonblocking(true).is_ok() && events.add(&stream, source).is_ok() {
                self.clients.insert(self.last_client, Client { stream, input: Vec::new() });
            }
        }
    }

    /// Reads what a client has sent.
    pub fn read(&mut self, number: u32, events: &mut Events) -> Vec<(Ticket, Command)> {
        let mut requests = Vec::new();
        let Some(client) = self.clients.get_mut(&number) else { return requests };
        let mut chunk = [0; 4096];
        let mut open = true;
        loop {
            match client.stream.read(&mut chunk) {
                Ok(0) => open = false,
                Ok(count) => {
                    client.input.extend_from_slice(&chunk[..count]);
                    if client.input.len() <= REQUEST_MAX_BYTES {
                        continue;
                    }
                    open = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => open = false,
            }
            break;
        }
        let mut unreadable = Vec::new();
        while let Some(end) = client.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.input.drain(..=end).collect();
            match serde_json::from_slice::<Request>(&line) {
                Ok(Request { id, command }) => requests.push((Ticket { client: number, id }, command)),
                Err(error) => unreadable.push(format!("unreadable request: {error}")),
            }
        }
        for message in unreadable {
            self.reply(Ticket { client: number, id: 0 }, &Reply::Failed(message), events);
        }
        if !open {
            self.drop_client(number, events);
        }
        requests
    }

    /// Sends an answer. A client that does not read what it asked for is dropped.
    pub fn reply(&mut self, ticket: Ticket, reply: &Reply, events: &mut Events) {
        let Some(client) = self.clients.get_mut(&ticket.client) else { return };
        let Ok(mut line) = serde_json::to_vec(&Answer { id: ticket.id, reply: reply.clone() }) else {
            return;
        };
        line.push(b'\n');
        if line.len() > UNREAD_MAX_BYTES || client.stream.write_all(&line).is_err() {
            self.drop_client(ticket.client, events);
        }
    }

    fn drop_client(&mut self, number: u32, events: &mut Events) {
        if let Some(client) = self.clients.remove(&number) {
            events.remove(&client.stream);
        }
    }

    /// Removes the socket's name.
    pub fn close(self) {
        // Somebody may have cleaned up already.
        let _ = fs::remove_file(&self.path);
    }
}
