//! The agent: this node's part in the cluster, the supervisors of this machine, and the guests on it. One task owns all of it;
//! sockets and questions to others are tasks of their own that tell it what happened.
//!
//! | module | holds |
//! | --- | --- |
//! | [`run`] | the loop |
//! | [`members`] | membership, records, distances |
//! | [`guests`] | sessions and guests here: admission, relief, doors |
//! | [`jobs`] | this machine's processes as supervisors report them |
//! | [`placing`] | where they go |
//! | [`clients`] | what may be asked over the control socket, and by whom |
//! | [`socket`] | the control socket |
//! | [`peers`] | what agents ask each other |
//! | [`trust`] | who is let in, who is no longer trusted |
//! | [`discovery`] | multicast DNS |
//! | [`journal`] | what has happened lately |

mod clients;
mod discovery;
mod guests;
mod jobs;
mod journal;
mod members;
mod peers;
mod placing;
mod run;
mod socket;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::placement::{Advice, Balancer};
use cluster::{Cluster, Features, LoadSample, Name, Own, Policy};
use rand::rngs::SmallRng;
use remote::Rank;
use tokio::sync::mpsc;
use wire::Identity;
use wire::identity::RevokedFile;
use wire::local::{Reply, Request};
use wire::peer::Endpoint;

use crate::config::Arguments;
use crate::limits::Limits;
use crate::log;
use crate::probe::{Ours, Probe};
use crate::state::State;
use crate::talk::ToServer;

use self::clients::Waiting;
use self::guests::{Coming, Session};
use self::jobs::Tracked;
use self::journal::Journal;
use self::peers::Answer;
use self::socket::Client;

pub(crate) use run::{Start, run};

/// What has happened outside.
enum Happening {
    /// A connection to the control socket, and where its replies go.
    Client(Client, mpsc::Sender<Reply>),
    /// It asks something.
    Request(Client, Request),
    /// It wrote what is no request.
    Nonsense(Client, String),
    /// It is closed.
    Gone(Client),
    /// A node has answered an offer, or not.
    Offered(placing::Asked, Result<Answer, String>),
    /// A home has answered that a guest of its is to leave, or not.
    Evicted { session: i32, pid: i32, answer: Result<Answer, String> },
    /// Some daemon of this cluster says that it is there.
    Found(SocketAddr),
}

/// A process of this machine: the connection of its supervisor, and its pid.
type JobKey = (u64, i32);

/// A connection.
struct Connection {
    client: Client,
    replies: mpsc::Sender<Reply>,
    /// What its user asked for, of a supervisor.
    supervisor: Option<Advice>,
}

/// What the owner has said by `mosix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    /// `stay` or `bring`: processes do not leave this home by themselves.
    stay: bool,
    /// `bring`: those that are away, or on their way, come home.
    bring: bool,
    /// The daemon is about to end.
    stopping: bool,
}

/// See the module's text.
struct Agent {
    began: Instant,
    arguments: Arguments,
    identity: Identity,
    identity_dir: PathBuf,
    own: Own,
    features: Features,
    session_port: u16,
    cluster: Cluster,
    balancer: Balancer,
    policy: Policy,
    limits: Limits,
    said: Said,
    probe: Probe,
    /// The session server's pid.
    server: i32,
    sessions: BTreeMap<i32, Session>,
    coming: Vec<Coming>,
    arrivals: u64,
    /// What all sessions were last told.
    doors: Option<String>,
    connections: HashMap<u64, Connection>,
    jobs: BTreeMap<JobKey, Tracked>,
    waiting: Vec<Waiting>,
    /// When a supervisor last told how far a node is.
    told_distances: BTreeMap<Name, Duration>,
    /// Where nodes accept sessions, as they said last.
    ports: BTreeMap<Name, u16>,
    revoked: RevokedFile,
    seeds: Vec<SocketAddr>,
    found: Vec<SocketAddr>,
    state: State,
    journal: Journal,
    endpoint: Endpoint,
    happenings: mpsc::Sender<Happening>,
    /// For the session server, in order.
    orders: Vec<ToServer>,
    rng: SmallRng,
}

impl Agent {
    /// The cluster's clock.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Processes that a count of runnable tasks tells apart.
    fn ours(&self) -> Ours {
        let guests = self.sessions.values().flat_map(|session| session.guests.values());
        let supervisors = self.connections.values().filter(|c| c.supervisor.is_some());
        let executors = self.sessions.keys().copied();
        Ours {
            guests: guests.map(|guest| guest.host).collect(),
            own: executors.chain([self.server]).chain(supervisors.map(|c| c.client.pid)).collect(),
        }
    }

    /// This moment, with guests that are on their way.
    fn sample(&self) -> LoadSample {
        let (day, hour) = tracee::clock::local_day_and_hour();
        let terms = self.policy.terms(day, hour);
        let guests = self.sessions.values().flat_map(|session| session.guests.values());
        let memory = guests.fold(0u32, |sum, guest| sum.saturating_add(guest.memory_mib));
        let mut sample = self.probe.sample(&self.ours(), memory, terms);
        for coming in &self.coming {
            sample.guests = sample.guests.saturating_add(1);
            sample.guests_runnable += 1.0;
            sample.guest_memory_mib = sample.guest_memory_mib.saturating_add(coming.memory_mib);
            sample.memory_free_mib = sample.memory_free_mib.saturating_sub(coming.memory_mib);
        }
        sample
    }

    /// Twice a second.
    fn measure(&mut self) {
        let sample = self.sample();
        self.input(cluster::Input::Load(sample));
    }

    /// Once a second.
    fn round(&mut self) {
        self.tend_revoked();
        self.measure_distances();
        self.forget_the_late();
        self.relieve();
        self.tend_doors();
        if self.said.bring {
            self.bring_all();
        }
        self.balance();
        self.tell_waiting();
    }

    /// Now and then, and at the end.
    fn save(&mut self) {
        let saved = self
            .state
            .save_history(&self.balancer.history)
            .and_then(|()| self.state.save_members(self.cluster.members()));
        if let Err(error) = saved {
            let dir = self.state.dir().display().to_string();
            crate::log::warn("state-not-saved", &[("dir", &dir), ("why", &error)]);
        }
    }

    /// Says what of the limits on guests holds, and what does not and why.
    fn say_limits(&mut self, wanted: Rank) {
        let rank = wanted.fitting();
        if rank != wanted {
            let why = "only a daemon that may raise priorities again, such as root's, can give that";
            log::warn("priority", &[("wanted", &wanted), ("is", &rank), ("why", &why)]);
        }
        for why in self.limits.missing.drain(..) {
            log::warn("limits", &[("why", &why)]);
        }
        let group =
            self.limits.group.as_ref().map_or("none".into(), |group| group.guests.display().to_string());
        let cores = self.policy.guest_cores.map_or("all".into(), |cores| cores.to_string());
        log::info("guests", &[("priority", &rank), ("cores", &cores), ("control-group", &group)]);
    }

    /// SIGHUP.
    fn reload(&mut self) {
        match crate::config::reload_guests(&self.arguments) {
            Ok((policy, rank)) => {
                // What the owner said by `mosix` holds on.
                let (blocked, claimed) = (self.policy.blocked, self.policy.claimed);
                self.policy = Policy { blocked, claimed, ..policy };
                self.journal.note("reloaded", &[("max-guests", &self.policy.max_guests)]);
                self.limits.set(&self.policy);
                let cores = self.limits.confined(&self.policy);
                self.orders.push(ToServer::Lend { rank: rank.fitting(), cores });
                self.say_limits(rank);
                self.measure();
                self.tend_doors();
                self.relieve();
            }
            Err(error) => {
                let why = format!("{error:#}");
                crate::log::error("not-reloaded", &[("why", &why)]);
            }
        }
    }
}
