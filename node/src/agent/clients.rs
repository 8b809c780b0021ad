//! What may be asked over the control socket, and by whom: a user sees and directs what is its own; the owner, who is
//! root and the daemon's user, directs the node.

use std::time::Duration;

use serde_bytes::ByteBuf;
use tokio::sync::mpsc;
use wire::identity::user_name;
use wire::local::{self, NodeLine, Owner, Reply, Request};

use super::socket::Client;
use super::{Agent, Connection, JobKey, jobs};
use crate::log;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 1024;
/// How long `bring` and `expel` wait.
const OWNER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is to come true before an owner is told that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// All processes of this home are here.
    Home,
    /// There are no guests.
    NoGuests,
}

/// Who waits, for what, and until when.
#[derive(Debug)]
pub(super) struct Waiting {
    client: u64,
    wait: Wait,
    until: Duration,
}

impl Agent {
    pub(super) fn on_client(&mut self, client: Client, replies: mpsc::Sender<Reply>) {
        if self.connections.len() >= MAX_CONNECTIONS {
            // Dropping its replies ends it.
            return log::warn("client-refused", &[("uid", &client.uid), ("max", &MAX_CONNECTIONS)]);
        }
        self.connections.insert(client.id, Connection { client, replies, supervisor: None });
    }

    pub(super) fn on_client_gone(&mut self, client: Client) {
        self.connections.remove(&client.id);
        self.jobs.retain(|(of, _), _| *of != client.id);
        self.waiting.retain(|waiting| waiting.client != client.id);
        self.tell_waiting();
    }

    pub(super) fn on_nonsense(&mut self, client: Client, why: &str) {
        self.fail(client.id, format!("mosixd does not understand that: {why}"));
    }

    /// Answers a client. One that does not read is let go.
    pub(super) fn reply(&mut self, client: u64, reply: Reply) {
        let Some(connection) = self.connections.get(&client) else { return };
        if connection.replies.try_send(reply).is_err() {
            let who = connection.client;
            self.on_client_gone(who);
        }
    }

    fn fail(&mut self, client: u64, why: impl Into<String>) {
        self.reply(client, Reply::Failed(why.into()));
    }

    pub(super) fn on_request(&mut self, client: Client, request: Request) {
        let Some(connection) = self.connections.get(&client.id) else { return };
        let presented = connection.supervisor.is_some();
        match request {
            Request::Supervisor { version, advice } => self.on_supervisor(client, version, &advice),
            Request::Wish { .. }
            | Request::Place { .. }
            | Request::Jobs { .. }
            | Request::Ended { .. }
            | Request::Moved { .. }
                if !presented =>
            {
                self.fail(client.id, "present yourself as a supervisor first");
            }
            Request::Place { job } => self.on_place(client.id, job),
            Request::Jobs { jobs, round_trips } => {
                self.on_round_trips(&round_trips);
                self.on_jobs(client.id, jobs);
            }
            Request::Ended { job } => self.on_ended((client.id, job.pid), job),
            Request::Moved { pid, place, failed } => self.on_moved(client.id, pid, place, failed),
            Request::Wish { pid, node } => self.on_wish((client.id, pid), &node),
            Request::Nodes => {
                let lines = self.node_lines();
                self.reply(client.id, Reply::Nodes(lines));
            }
            Request::Why { pid } => self.on_why(client, pid),
            Request::Events => {
                let lines = self.journal.lines((!is_owner(client)).then_some(client.uid));
                self.reply(client.id, Reply::Lines(lines));
            }
            Request::Owner(owner) if is_owner(client) => self.on_owner(client, owner),
            Request::Owner(_) => {
                let owner = user_name(rustix::process::geteuid().as_raw());
                self.fail(client.id, format!("only {owner}, whose daemon this is, and root may do that"));
            }
            Request::Lock { pid, locked } => self.on_lock(client, pid, locked),
        }
    }

    fn on_supervisor(&mut self, client: Client, version: u32, advice: &local::Advice) {
        if version != local::VERSION {
            let own = local::VERSION;
            return self.fail(
                client.id,
                format!(
                    "mosixd speaks version {own} and mosix-run {version}: restart mosixd after an upgrade"
                ),
            );
        }
        let advice = match jobs::advice(advice) {
            Ok(advice) => advice,
            Err(error) => return self.fail(client.id, format!("{error:#}")),
        };
        // An ordinary user's daemon vouches for that user alone; its socket is closed to others but root.
        match self.identity.issue_user(&user_name(client.uid)) {
            Ok(identity) => {
                if let Some(connection) = self.connections.get_mut(&client.id) {
                    connection.supervisor = Some(advice);
                }
                let identity = ByteBuf::from(identity.to_bytes());
                self.reply(client.id, Reply::Welcome { node: self.own.name.to_string(), identity });
                self.tell_supervisor_revoked(client.id);
            }
            Err(error) => self.fail(client.id, format!("no certificate for this user: {error}")),
        }
    }

    /// Processes of that pid which a client may see and direct.
    fn of_client(&self, client: Client, pid: i32) -> Vec<JobKey> {
        let may = |key: &JobKey| {
            is_owner(client) || self.jobs.get(key).is_some_and(|tracked| tracked.uid == client.uid)
        };
        self.keys_of(pid).into_iter().filter(may).collect()
    }

    fn on_why(&mut self, client: Client, pid: i32) {
        let Some(key) = self.of_client(client, pid).into_iter().next() else {
            return self.fail(client.id, format!("{pid} is no process of yours that this daemon knows"));
        };
        let Some(tracked) = self.jobs.get(&key) else { return };
        let mut lines = vec![
            format!("{pid} ({}) is at {}", tracked.job.program, tracked.job.place),
            format!("last decision: {}", tracked.why),
        ];
        if let Some(stay) = &tracked.job.stay {
            lines.push(format!("held: {stay}"));
        } else if let Some((to, _)) = &tracked.moving {
            lines.push(format!("now: on its way to {to}"));
        } else if let Some(why) = self.explain(key) {
            lines.push(format!("now: {why}"));
        }
        self.reply(client.id, Reply::Lines(lines));
    }

    fn on_lock(&mut self, client: Client, pid: i32, locked: bool) {
        let keys = self.of_client(client, pid);
        if keys.is_empty() {
            return self.fail(client.id, format!("{pid} is no process of yours that this daemon knows"));
        }
        for key in keys {
            if let Some(tracked) = self.jobs.get_mut(&key) {
                tracked.locked = locked;
            }
        }
        self.reply(client.id, Reply::Done);
    }

    fn on_owner(&mut self, client: Client, owner: Owner) {
        let word = format!("{owner:?}").to_lowercase();
        self.journal.note("owner", &[("says", &word), ("uid", &client.uid)]);
        let wait = match owner {
            Owner::Bring => {
                (self.said.stay, self.said.bring) = (true, true);
                self.bring_all();
                Some(Wait::Home)
            }
            Owner::Expel => {
                self.policy.blocked = true;
                self.claim();
                Some(Wait::NoGuests)
            }
            Owner::Block | Owner::Unblock => {
                self.policy.blocked = owner == Owner::Block;
                self.policy.claimed &= self.policy.blocked || self.said.stopping;
                self.measure();
                self.tend_doors();
                None
            }
            Owner::Stay | Owner::Nostay => {
                self.said.stay = owner == Owner::Stay;
                self.said.bring &= self.said.stay;
                None
            }
        };
        match wait {
            Some(wait) => {
                let until = self.now() + OWNER_TIMEOUT;
                self.waiting.push(Waiting { client: client.id, wait, until });
                self.tell_waiting();
            }
            None => self.reply(client.id, Reply::Done),
        }
    }

    /// Answers owners whose wish has come true, or will not in time.
    pub(super) fn tell_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let away = self.jobs.values().filter(|tracked| tracked.is_away()).count();
        let (now, guests) = (self.now(), self.guest_count());
        let mut replies = Vec::new();
        self.waiting.retain(|waiting| {
            let (left, what) = match waiting.wait {
                Wait::Home => (away, "processes are still away"),
                Wait::NoGuests => (guests, "guests are still here"),
            };
            let reply = match left {
                0 => Reply::Done,
                left if waiting.until <= now => Reply::Failed(format!("{left} {what}; see mosix events")),
                _ => return true,
            };
            replies.push((waiting.client, reply));
            false
        });
        for (client, reply) in replies {
            self.reply(client, reply);
        }
    }

    fn node_lines(&self) -> Vec<NodeLine> {
        let now = self.now();
        let bulletin = self.cluster.bulletin();
        let own = bulletin.own().map(|record| line(record, None, Duration::ZERO, None));
        let others = self.cluster.members().iter().filter_map(|member| {
            let known = bulletin.get(&member.name)?;
            let rtt = self.endpoint.rtt(member.addr);
            Some(line(&known.record, Some(member.addr), known.age(now), rtt))
        });
        own.into_iter().chain(others).collect()
    }
}

/// Root, and whoever runs the daemon.
fn is_owner(client: Client) -> bool {
    client.uid == 0 || client.uid == rustix::process::geteuid().as_raw()
}

fn line(
    record: &cluster::LoadRecord,
    address: Option<std::net::SocketAddr>,
    age: Duration,
    rtt: Option<Duration>,
) -> NodeLine {
    let terms = record.terms;
    let closed = if terms.claimed {
        Some("its owner needs it")
    } else if !terms.open {
        Some("it is blocked or outside its hours")
    } else if record.guests >= terms.max_guests {
        Some("it has as many guests as it may")
    } else {
        None
    };
    NodeLine {
        name: record.name.to_string(),
        address,
        age_s: age.as_secs_f64(),
        cores: record.cores(),
        speed: record.speed(),
        local: f64::from(record.local_milli) / 1e3,
        guests_runnable: f64::from(record.guests_milli) / 1e3,
        guests: record.guests.into(),
        memory_total_mib: record.memory_total_mib,
        memory_free_mib: record.memory_free_mib,
        rtt_us: rtt.map(|rtt| rtt.as_secs_f64() * 1e6),
        closed: closed.map(str::to_owned),
        labels: record.labels.iter().map(ToString::to_string).collect(),
    }
}
