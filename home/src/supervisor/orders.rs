//! Moves that somebody has asked for, until they are done.

use std::collections::HashMap;
use std::net::SocketAddr;

use tracee::Tid;

use super::Supervisor;
use super::nodes::{NodeIndex, REMOVED};
use crate::away::Move;
use crate::control::{Reply, Ticket};
use crate::process::Place;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Who waits for which process to be where it was sent.
    waiting: Vec<(Tid, Asker)>,
    /// Moves to nodes that are not ready yet.
    pending: Vec<Order>,
    /// Processes on their way from one node to another.
    onward: HashMap<Tid, Onward>,
}

#[derive(Debug)]
struct Order {
    pid: Tid,
    /// Tells the process from another with that pid.
    serial: u64,
    to: NodeIndex,
    reason: String,
}

/// A process comes home, and goes on at once.
#[derive(Debug)]
struct Onward {
    to: NodeIndex,
    reason: String,
    /// The move home, when it is made.
    first: Option<Move>,
}

/// Who has asked for a move.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// `mosix migrate`.
    Control(Ticket),
    /// The daemon, which is told in any case.
    Daemon,
}

/// Where a process shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Home,
    Node(NodeIndex),
}

const MOVING: &str = "it is moving already";

impl Orders {
    /// Joins the two halves of a move between nodes: what is to be recorded before `report`, and `report` itself unless
    /// it is the first half.
    pub(super) fn leg(&mut self, mut report: Move) -> (Option<Move>, Option<Move>) {
        if let Some(onward) = self.onward.get_mut(&report.pid)
            && onward.first.is_none()
            && report.failed.is_none()
        {
            onward.first = Some(report);
            return (None, None);
        }
        let first = self.onward.remove(&report.pid).and_then(|onward| onward.first);
        match first {
            Some(first) if report.failed.is_none() => {
                report.from = first.from;
                report.freeze_ms += first.freeze_ms;
                report.total_ms += first.total_ms;
                report.bytes += first.bytes;
                (None, Some(report))
            }
            first => (first, Some(report)),
        }
    }

    /// Where a process that has come home goes on to.
    pub(super) fn onward(&self, pid: Tid) -> Option<(NodeIndex, String)> {
        let onward = self.onward.get(&pid).filter(|onward| onward.first.is_some())?;
        Some((onward.to, onward.reason.clone()))
    }
}

impl Supervisor {
    /// `mosix migrate`.
    pub(super) fn migrate(&mut self, ticket: Ticket, pid: Tid, to: &str) {
        let asked = "asked for by `mosix migrate`";
        if self.is_unknown(to) {
            match self.wish(pid, to) {
                Ok(()) => self.elsewhere.orders.wait(pid, Asker::Control(ticket)),
                Err(why) => self.reply(ticket, &Reply::Failed(format!("not possible: {why}"))),
            }
            return;
        }
        match self.destination(to) {
            Ok(Destination::Node(node)) if self.is_on(pid, node) => self.reply(ticket, &Reply::Done),
            to => match to.and_then(|to| self.order(pid, to, asked)) {
                Ok(()) => self.elsewhere.orders.wait(pid, Asker::Control(ticket)),
                Err(why) => self.reply(ticket, &Reply::Failed(format!("not possible: {why}"))),
            },
        }
        self.away_actions();
    }

    /// Whether a place is the name of a node that is not met yet.
    fn is_unknown(&self, to: &str) -> bool {
        to != "home" && self.elsewhere.nodes.named(to).is_none() && to.parse::<SocketAddr>().is_err()
    }

    /// What a user means by a place: `home`, the name of a node, or the address of one.
    fn destination(&mut self, to: &str) -> Result<Destination, String> {
        if to == "home" {
            return Ok(Destination::Home);
        }
        if let Some(node) = self.elsewhere.nodes.named(to) {
            return Ok(Destination::Node(node));
        }
        let Ok(address) = to.parse::<SocketAddr>() else { return Err(format!("no link to {to}")) };
        let identity = self.identity()?;
        self.approach(address, None, &identity).map(Destination::Node)
    }

    /// Whether a process computes on a node, by its name or by another address of it.
    fn is_on(&self, pid: Tid, node: NodeIndex) -> bool {
        let place = Place::Node(self.elsewhere.nodes.name(node));
        self.table.processes.get(&pid).is_some_and(|process| process.place == place)
    }

    /// Begins to move a process. What comes of it is told by [`Supervisor::answer_waiting`].
    pub(super) fn order(&mut self, pid: Tid, to: Destination, reason: &str) -> Result<(), String> {
        let Some(process) = self.table.processes.get(&pid) else { return Err("it has ended".into()) };
        let serial = process.serial;
        let at = self.elsewhere.nodes.holder(pid);
        match (to, at) {
            (Destination::Home, None) => Err("it is at home".into()),
            (Destination::Node(to), _) if self.elsewhere.nodes.is_removed(to) => Err(REMOVED.into()),
            (Destination::Node(to), Some(at)) if to == at => Err(MOVING.into()),
            (Destination::Node(to), _) if self.elsewhere.nodes.get(to).is_none() => {
                let reason = reason.into();
                self.elsewhere.orders.pending.push(Order { pid, serial, to, reason });
                Ok(())
            }
            (Destination::Node(to), None) => {
                if let Some(process) = self.table.processes.get_mut(&pid) {
                    process.stay = None;
                }
                let sent = self.send_running(pid, to, reason);
                if let Err(why) = &sent {
                    self.stay_if_directed(pid, why);
                }
                sent
            }
            (to, Some(at)) => {
                let Some(away) = self.elsewhere.nodes.get(at) else { return Err(MOVING.into()) };
                if !away.bring(pid, reason, None) {
                    return Err(MOVING.into());
                }
                if let Destination::Node(to) = to {
                    let onward = Onward { to, reason: reason.into(), first: None };
                    self.elsewhere.orders.onward.insert(pid, onward);
                }
                Ok(())
            }
        }
    }

    /// The session that was to be `former` is ready, as `node`.
    pub(super) fn go_on_with_orders(&mut self, former: NodeIndex, node: NodeIndex) {
        for Order { pid, serial, reason, .. } in self.elsewhere.orders.take_pending(former) {
            let same = self.table.processes.get(&pid).is_some_and(|process| process.serial == serial);
            if !same {
                continue;
            }
            if self.is_on(pid, node) {
                self.answer_waiting(pid, &Reply::Done);
            } else if let Err(why) = self.order(pid, Destination::Node(node), &reason) {
                self.answer_waiting(pid, &Reply::Failed(format!("not possible: {why}")));
            }
        }
        self.away_actions();
    }

    /// That node is not there.
    pub(super) fn give_up_orders(&mut self, node: NodeIndex, why: &str) {
        self.go_without(node, why);
        for Order { pid, .. } in self.elsewhere.orders.take_pending(node) {
            self.answer_waiting(pid, &Reply::Failed(format!("not possible: {why}")));
        }
    }

    /// A process that came home to go on could not, and stays.
    pub(super) fn not_onward(&mut self, pid: Tid, why: &str) {
        let first = self.elsewhere.orders.onward.remove(&pid).and_then(|onward| onward.first);
        if let Some(first) = first {
            self.record(first);
        }
        self.console.verbose(format_args!("process {pid} stays at home: {why}"));
        self.answer_waiting(pid, &Reply::Failed(format!("not possible: {why}")));
    }

    /// A process has ended.
    pub(super) fn forget_moves(&mut self, pid: Tid) {
        self.elsewhere.nodes.leave(pid, None);
        self.elsewhere.held.forget(pid);
        self.elsewhere.orders.pending.retain(|order| order.pid != pid);
        if let Some(first) = self.elsewhere.orders.onward.remove(&pid).and_then(|onward| onward.first) {
            self.record(first);
        }
    }

    /// A move of this process has ended. The daemon is told of every failure, whoever asked for what has failed: it may count
    /// on the process.
    pub(super) fn answer_waiting(&mut self, pid: Tid, reply: &Reply) {
        self.answer_askers(pid, reply);
        if let Reply::Failed(why) = reply {
            self.tell_place(pid, Some(why.clone()));
        }
    }

    /// Answers those who wait for a move of this process; whether the daemon is one of them.
    pub(super) fn answer_askers(&mut self, pid: Tid, reply: &Reply) -> bool {
        let answered = self.elsewhere.orders.waiting.extract_if(.., |(waits, _)| *waits == pid);
        let mut daemon_waits = false;
        for (_, asker) in answered.collect::<Vec<_>>() {
            match asker {
                Asker::Control(ticket) => self.reply(ticket, reply),
                Asker::Daemon => daemon_waits = true,
            }
        }
        daemon_waits
    }
}

impl Orders {
    /// Somebody waits for a process to be where it was sent.
    pub(super) fn wait(&mut self, pid: Tid, asker: Asker) {
        self.waiting.push((pid, asker));
    }

    fn take_pending(&mut self, node: NodeIndex) -> Vec<Order> {
        self.pending.extract_if(.., |order| order.to == node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(from: &str, to: &str, failed: Option<&str>) -> Move {
        Move {
            pid: 7,
            from: from.into(),
            to: to.into(),
            reason: "asked".into(),
            freeze_ms: 2.0,
            total_ms: 3.0,
            bytes: 10,
            failed: failed.map(str::to_owned),
        }
    }

    fn onward() -> Orders {
        let onward = Onward { to: NodeIndex(2), reason: "asked".into(), first: None };
        Orders { onward: HashMap::from([(7, onward)]), ..Orders::default() }
    }

    #[test]
    fn two_legs_are_one_move() {
        let mut orders = onward();
        assert!(orders.onward(7).is_none());
        assert!(matches!(orders.leg(leg("a", "home", None)), (None, None)));
        assert_eq!(orders.onward(7), Some((NodeIndex(2), "asked".into())));
        let (None, Some(whole)) = orders.leg(leg("home", "b", None)) else { panic!("two reports") };
        assert_eq!((whole.from.as_str(), whole.to.as_str()), ("a", "b"));
        assert_eq!((whole.freeze_ms, whole.total_ms, whole.bytes), (4.0, 6.0, 20));
        assert!(orders.onward.is_empty());
    }

    #[test]
    fn a_second_leg_that_fails_leaves_the_first() {
        let mut orders = onward();
        orders.leg(leg("a", "home", None));
        let (Some(first), Some(second)) = orders.leg(leg("home", "b", Some("no"))) else { panic!() };
        assert_eq!((first.from.as_str(), first.to.as_str()), ("a", "home"));
        assert_eq!(second.failed.as_deref(), Some("no"));
    }

    #[test]
    fn a_first_leg_that_fails_is_the_end_of_it() {
        let mut orders = onward();
        assert!(matches!(orders.leg(leg("a", "home", Some("no"))), (None, Some(_))));
        assert!(orders.onward.is_empty());
    }
}
