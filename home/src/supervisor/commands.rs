//! What the control socket may ask for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracee::Tid;
use wire::trace::Wanted;

use super::Supervisor;
use crate::control::{Reply, Ticket};
use crate::process::StayReason;
use crate::procfs;

/// A request, one JSON value in one line: `"ps"` or `{"migrate":{"pid":7,"to":"home"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The managed processes.
    Ps,
    /// Moves a process.
    Migrate {
        /// Its pid at home.
        pid: Tid,
        /// A node, or `home`.
        to: String,
    },
    /// Tells what a process and those that it makes do, until they have ended or the client goes.
    Trace {
        /// Its pid at home.
        pid: Tid,
        /// What of it.
        wanted: Wanted,
    },
}

/// One managed process in the answer to [`Command::Ps`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessLine {
    /// Its pid at home.
    pub pid: Tid,
    /// Its parent, from /proc.
    pub ppid: Tid,
    /// State letter of proc(5).
    pub state: char,
    /// How many threads it has.
    pub threads: usize,
    /// `home` or the node where it computes.
    pub place: String,
    /// Why it may not move, if so.
    pub stay: Option<String>,
    /// CPU seconds that it has used at home, also as a deputy.
    pub home_cpu_s: f64,
    /// CPU seconds that it has used on nodes, as far as they have told.
    pub away_cpu_s: f64,
    /// Calls that were forwarded for it.
    pub calls: u64,
    /// Moves that it has made.
    pub moves: u32,
    /// Its command line.
    pub command: String,
}

impl Supervisor {
    /// Answers a request, now or later: the ticket names who waits for the answer.
    pub(super) fn command(&mut self, ticket: Ticket, command: Command) {
        match command {
            Command::Ps => {
                let reply = Reply::Processes(self.list());
                self.reply(ticket, &reply);
            }
            Command::Trace { pid, wanted } => self.begin_trace(ticket, pid, wanted),
            Command::Migrate { pid, to } => {
                let reply = match self.table.processes.get(&pid) {
                    None => Reply::Failed(format!("{pid} is not a managed process")),
                    Some(process) if to == process.place.to_string() => {
                        self.stop_copy(pid, "it is to stay");
                        Reply::Done
                    }
                    Some(process) if process.stay == Some(StayReason::Asked) => {
                        Reply::Failed(format!("not possible: {}", StayReason::Asked))
                    }
                    Some(_) => return self.migrate(ticket, pid, &to),
                };
                self.reply(ticket, &reply);
            }
        }
    }

    /// Sends an answer to whoever waits for it.
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: &Reply) {
        if let Some(control) = &mut self.control {
            control.reply(ticket, reply, &mut self.events);
        }
    }

    fn list(&mut self) -> Vec<ProcessLine> {
        let elsewhere = &mut self.elsewhere;
        let mut lines: Vec<ProcessLine> = self
            .table
            .processes
            .values()
            .filter_map(|process| {
                let stat = procfs::stat(process.pid)?;
                let used = elsewhere.used(process.pid);
                let home = tracee::clock::process_cpu_time(process.pid).unwrap_or_default();
                let command = procfs::cmdline(process.pid).filter(|line| !line.is_empty());
                Some(ProcessLine {
                    pid: process.pid,
                    ppid: stat.ppid,
                    state: stat.state,
                    threads: process.threads.len(),
                    place: process.place.to_string(),
                    stay: process.stay.as_ref().map(ToString::to_string),
                    home_cpu_s: home.as_secs_f64(),
                    away_cpu_s: Duration::from_nanos(used.cpu_ns).as_secs_f64(),
                    calls: used.forwarded,
                    moves: process.moves,
                    command: command.unwrap_or_else(|| format!("[{}]", stat.comm)),
                })
            })
            .collect();
        lines.sort_by_key(|line| line.pid);
        lines
    }
}
