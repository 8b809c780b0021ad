//! The nodes that this supervisor has a session with, or is about to.

mod removed;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use syscall_table::sets::CallSet;
use tracee::Tid;
use wire::local::RoundTrip;
use wire::session::Begin;
use wire::{Identity, Link, Role};

use self::removed::Ending;
pub(super) use self::removed::REMOVED;
use super::{Source, Supervisor};
use crate::away::{Action, Away, Counts, Meeting};
use crate::control::Reply;
use crate::stats::{Bytes, NodeStats, Stats};

/// Sessions at a time. Each is a socket, and a process on its node.
const SESSIONS_MAX: usize = 64;
/// A session that was begun for a process and has none any more ends after this time: its node has only so many.
const UNUSED: Duration = Duration::from_secs(60);
/// A link's smoothed round trip takes an eighth of each new sample: after so many calls the handshake is forgotten.
const MEASURED_CALLS: u64 = 64;
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// A session's number in this supervisor's life. It is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(pub u32);

/// One node.
struct Node {
    /// Where its sessions are accepted.
    address: SocketAddr,
    /// The name that it was looked for by, if it was.
    name: Option<String>,
    session: Session,
    /// Since when no process is there.
    unused_since: Option<Instant>,
    /// It was removed from the cluster.
    ending: Option<Ending>,
    /// Calls it had forwarded when its link's round trip was asked for last.
    measured: u64,
}

enum Session {
    /// Connecting, and being told who wants what.
    Meeting(Box<Meeting>),
    /// Ready for processes.
    Ready(Box<Away>),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<NodeIndex, Node>,
    last: u32,
    /// What those have counted that are there no more.
    past: Stats,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.values().map(Node::shown)).finish()
    }
}

impl Node {
    fn new(address: SocketAddr, name: Option<String>, session: Session) -> Node {
        Node { address, name, session, unused_since: None, ending: None, measured: 0 }
    }

    fn shown(&self) -> String {
        match (&self.session, &self.name) {
            (Session::Ready(away), _) => away.name().to_owned(),
            (Session::Meeting(_), Some(name)) => name.clone(),
            (Session::Meeting(_), None) => self.address.to_string(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.session {
            Session::Meeting(meeting) => Some(meeting.deadline()),
            Session::Ready(away) if away.link().wants_write() || away.has_backlog() => {
                Some(Instant::now() + Duration::from_millis(1))
            }
            Session::Ready(away) => {
                let unused = self.unused_since.map(|since| since + UNUSED);
                let ending = self.ending.as_ref().map(Ending::deadline);
                [away.link().deadline(), away.move_deadline(), unused, ending].into_iter().flatten().min()
            }
        }
    }
}

impl Nodes {
    fn add(&mut self, address: SocketAddr, name: Option<String>, session: Session) -> NodeIndex {
        self.last += 1;
        let index = NodeIndex(self.last);
        self.nodes.insert(index, Node::new(address, name, session));
        index
    }

    /// The session that has a process, if it is away or on its way.
    pub(super) fn holding(&mut self, pid: Tid) -> Option<&mut Away> {
        self.holder(pid).and_then(|index| self.get(index))
    }

    /// The next node after one.
    fn after(&self, index: Option<NodeIndex>) -> Option<NodeIndex> {
        let from = index.map_or(0, |NodeIndex(number)| number + 1);
        self.nodes.range(NodeIndex(from)..).next().map(|(index, _)| *index)
    }

    /// A node's session, if it is ready.
    pub(super) fn get(&mut self, index: NodeIndex) -> Option<&mut Away> {
        match &mut self.nodes.get_mut(&index)?.session {
            Session::Ready(away) => Some(away),
            Session::Meeting(_) => None,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What a node is called.
    pub(super) fn name(&self, index: NodeIndex) -> String {
        self.nodes.get(&index).map_or_else(String::new, Node::shown)
    }

    fn ready(&self) -> impl Iterator<Item = (NodeIndex, &Away)> {
        self.nodes.iter().filter_map(|(index, node)| match &node.session {
            Session::Ready(away) => Some((*index, &**away)),
            Session::Meeting(_) => None,
        })
    }

    /// The node whose deputy a thread is.
    pub(super) fn owner(&self, tid: Tid) -> Option<NodeIndex> {
        self.ready().find(|(_, away)| away.owns(tid)).map(|(index, _)| index)
    }

    /// The node where a process is, or is on its way to.
    pub(super) fn holder(&self, pid: Tid) -> Option<NodeIndex> {
        self.ready().find(|(_, away)| away.has(pid)).map(|(index, _)| index)
    }

    /// The node that a process is being copied to while it runs.
    pub(super) fn copier(&self, pid: Tid) -> Option<NodeIndex> {
        self.ready().find(|(_, away)| away.is_copying(pid)).map(|(index, _)| index)
    }

    /// The node called so.
    pub(super) fn named(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.iter().find(|(_, node)| node.shown() == name).map(|(index, _)| *index)
    }

    fn at(&self, address: SocketAddr) -> Option<NodeIndex> {
        self.nodes.iter().find(|(_, node)| node.address == address).map(|(index, _)| *index)
    }

    /// Something for the supervisor to do.
    pub(super) fn action(&mut self) -> Option<(NodeIndex, Action)> {
        self.nodes.iter_mut().find_map(|(index, node)| match &mut node.session {
            Session::Ready(away) => away.action().map(|action| (*index, action)),
            Session::Meeting(_) => None,
        })
    }

    /// Whether tracees may have something to report that the poll loop was not told of.
    pub(super) fn take_child_came(&mut self) -> bool {
        self.nodes.values_mut().fold(false, |came, node| match &mut node.session {
            Session::Ready(away) => away.take_child_came() || came,
            Session::Meeting(_) => came,
        })
    }

    /// When a link must be driven even if nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.nodes.values().filter_map(Node::deadline).min()
    }

    /// Ends what a process that has exec'ed has left behind on its node, unless it goes on there; whether that says
    /// yet what it has used.
    pub(super) fn leave(&mut self, pid: Tid, goes_to: Option<NodeIndex>) -> bool {
        self.nodes.iter_mut().any(|(index, node)| match &mut node.session {
            Session::Ready(away) if goes_to != Some(*index) => away.leave(pid),
            _ => false,
        })
    }

    /// Round trips of the links that have carried enough calls since they were asked last. Before that a link's estimate
    /// is of its handshake.
    pub(super) fn round_trips(&mut self) -> Vec<RoundTrip> {
        let mut round_trips = Vec::new();
        for node in self.nodes.values_mut() {
            let Session::Ready(away) = &node.session else { continue };
            if away.counts.forwarded - node.measured >= MEASURED_CALLS {
                node.measured = away.counts.forwarded;
                let us = away.link().rtt().as_secs_f64() * 1e6;
                round_trips.push(RoundTrip { node: away.name().to_owned(), us });
            }
        }
        round_trips
    }

    fn remove(&mut self, index: NodeIndex) -> Option<Node> {
        let node = self.nodes.remove(&index)?;
        if let Session::Ready(away) = &node.session {
            add(&mut self.past, away);
        }
        Some(node)
    }

    fn count(&self, stats: &mut Stats) {
        stats.calls = self.past.calls.clone();
        stats.cpu_seconds.remote = self.past.cpu_seconds.remote;
        stats.bytes = self.past.bytes;
        stats.nodes = self.past.nodes.clone();
        for (_, away) in self.ready() {
            add(stats, away);
        }
    }
}

/// Adds what one node has counted.
fn add(stats: &mut Stats, away: &Away) {
    let Counts { forwarded, local, gone_home, remote_cpu_s } = &away.counts;
    let (sent, received) = away.link().bytes();
    stats.calls.forwarded += forwarded;
    stats.calls.local += local;
    for (reason, count) in gone_home {
        *stats.calls.gone_home.entry(reason.clone()).or_default() += count;
    }
    stats.cpu_seconds.remote += remote_cpu_s;
    stats.bytes += Bytes { sent, received };
    let node = stats.nodes.entry(away.name().to_owned()).or_default();
    *node += NodeStats { forwarded: *forwarded, cpu_s: *remote_cpu_s, bytes: Bytes { sent, received } };
}

impl Supervisor {
    /// With what a node is reached that the user names by its address. Read when it is wanted: most runs never do.
    pub(super) fn identity(&self) -> Result<Identity, String> {
        let dir = self.identity_dir.clone().or_else(wire::identity::default_dir);
        let dir = dir.ok_or("no home directory to look for an identity in (mosix-run --identity DIR)")?;
        let own = wire::identity::load(&dir, Role::User).map_err(|error| error.to_string());
        own.or_else(|error| self.cluster_identity().cloned().ok_or(error))
    }

    fn hello(&self) -> Begin {
        let traced = self.traces.of_command().map_or(CallSet::NONE, |wanted| wanted.calls);
        Begin { traced, foreign_vdso: self.foreign_vdso }
    }

    /// The node that is given on the command line: processes go there at their exec. Waits for it.
    pub(super) fn meet_default(&mut self, link: Link) -> Result<(), super::StartError> {
        let address = link.remote();
        let shared = self.elsewhere.shared.clone();
        let away = Meeting::new(link, &self.first.to_string(), self.hello(), shared).wait()?;
        let index = self.elsewhere.nodes.add(address, None, Session::Ready(Box::new(away)));
        if let Some(away) = self.elsewhere.nodes.get(index) {
            self.events.add(away.link().fd(), Source::Link(index))?;
        }
        self.elsewhere.default = Some(index);
        Ok(())
    }

    /// The session with the node at an address; begins one if there is none. Whether it is ready shows later.
    pub(super) fn approach(
        &mut self,
        address: SocketAddr,
        name: Option<&str>,
        identity: &Identity,
    ) -> Result<NodeIndex, String> {
        let nodes = &mut self.elsewhere.nodes;
        if let Some(index) = name.and_then(|name| nodes.named(name)).or_else(|| nodes.at(address)) {
            return if nodes.is_removed(index) { Err(REMOVED.into()) } else { Ok(index) };
        }
        if nodes.nodes.len() >= SESSIONS_MAX {
            return Err(format!("there are sessions with {SESSIONS_MAX} nodes already"));
        }
        let link = Link::connect(address, identity, Instant::now()).map_err(|error| error.to_string())?;
        let shared = self.elsewhere.shared.clone();
        let meeting = Meeting::new(link, &self.first.to_string(), self.hello(), shared);
        let source = Source::Link(NodeIndex(self.elsewhere.nodes.last + 1));
        self.events.add(meeting.link().fd(), source).map_err(|error| error.to_string())?;
        let session = Session::Meeting(Box::new(meeting));
        Ok(self.elsewhere.nodes.add(address, name.map(str::to_owned), session))
    }

    /// Sends and receives what there is. `arrived` are the links on which something may wait; `all` when that is
    /// not known.
    pub(super) fn drive_nodes(&mut self, arrived: &[NodeIndex], all: bool) {
        let mut at = None;
        while let Some(index) = self.elsewhere.nodes.after(at) {
            at = Some(index);
            self.drive_node(index, all || arrived.contains(&index));
        }
    }

    fn drive_node(&mut self, index: NodeIndex, arrived: bool) {
        let nodes = &mut self.elsewhere.nodes;
        let others =
            nodes.nodes.len() > 1 && nodes.ready().any(|(other, away)| other != index && away.has_deputies());
        let Some(node) = nodes.nodes.get_mut(&index) else { return };
        let driven = match &mut node.session {
            Session::Ready(away) => away.drive(arrived, others).map_err(|error| error.to_string()),
            Session::Meeting(meeting) if arrived || meeting.deadline() <= Instant::now() => {
                match meeting.drive() {
                    Ok(true) => return self.met(index),
                    Ok(false) => return,
                    Err(error) => Err(error.to_string()),
                }
            }
            Session::Meeting(_) => return,
        };
        match driven {
            Ok(()) => {
                self.away_actions();
                self.leave_unused(index);
                self.leave_removed(index);
            }
            Err(why) => self.lose(index, &why),
        }
    }

    fn leave_unused(&mut self, index: NodeIndex) {
        if self.elsewhere.default == Some(index) {
            return;
        }
        let Some(node) = self.elsewhere.nodes.nodes.get_mut(&index) else { return };
        let Session::Ready(away) = &mut node.session else { return };
        if away.is_used() {
            node.unused_since = None;
        } else if node.unused_since.get_or_insert_with(Instant::now).elapsed() >= UNUSED {
            away.farewell();
            self.elsewhere.nodes.remove(index);
        }
    }

    /// A node is ready.
    fn met(&mut self, index: NodeIndex) {
        let Some(node) = self.elsewhere.nodes.nodes.remove(&index) else { return };
        let Node { address, name, session: Session::Meeting(meeting), .. } = node else { return };
        let mut away = meeting.met(name.as_deref());
        let nodes = self.elsewhere.nodes.ready();
        let known = nodes.into_iter().find(|(_, other)| other.name() == away.name()).map(|(index, _)| index);
        if let Some(known) = known {
            // By another address.
            away.farewell();
            self.go_to_ready(index, known);
            return self.go_on_with_orders(index, known);
        }
        self.console.verbose(format_args!("node {} at {address} is ready", away.name()));
        let nodes = &mut self.elsewhere.nodes.nodes;
        nodes.insert(index, Node::new(address, name, Session::Ready(Box::new(away))));
        self.go_to_ready(index, index);
        self.go_on_with_orders(index, index);
    }

    /// A node or its link is gone, or it was never ready.
    fn lose(&mut self, index: NodeIndex, why: &str) {
        let name = self.elsewhere.nodes.name(index);
        let lost = match self.elsewhere.nodes.get(index) {
            Some(away) => away.lose(why),
            None => {
                self.elsewhere.nodes.remove(index);
                self.console.verbose(format_args!("node {name}: {why}"));
                return self.give_up_orders(index, &format!("node {name}: {why}"));
            }
        };
        for (pid, line) in &lost {
            self.console.say(*pid, format_args!("{line}"));
            // ESRCH: it has ended by itself.
            tracee::signal::kill(*pid, SIGKILL).ok();
        }
        self.away_actions();
        // Its deputies are dying; their ends are reported to the table.
        self.elsewhere.nodes.remove(index);
        if self.elsewhere.default == Some(index) {
            self.elsewhere.default = None;
        }
        for (pid, _) in lost {
            self.answer_waiting(pid, &Reply::Failed("the node is lost".into()));
        }
        self.give_up_orders(index, "the node is lost");
    }

    /// Takes the nodes' counts into the report.
    pub(super) fn count_away(&mut self) {
        self.elsewhere.nodes.count(&mut self.stats);
    }

    /// Says farewell to all nodes.
    pub(super) fn leave_nodes(&mut self) {
        while let Some(index) = self.elsewhere.nodes.after(None) {
            if let Some(Node { session: Session::Ready(mut away), .. }) = self.elsewhere.nodes.remove(index) {
                away.farewell();
            }
        }
    }
}
