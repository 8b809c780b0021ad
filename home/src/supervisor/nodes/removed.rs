//! Nodes that were removed from the cluster: what is there comes home, and then their sessions end.
//!
//! A node that computes for a process could make any call in its name all the while. To fetch the image gives it nothing
//! more, and loses nobody's work; but it is asked for once and for a bounded time.

use std::time::{Duration, Instant};

use wire::identity::Revoked;

use super::super::Supervisor;
use super::super::orders::Destination;
use super::{Node, NodeIndex, Nodes, Session};

/// How long processes have to come home.
const LEAVE: Duration = Duration::from_secs(10);
/// Between attempts: one that shares its memory with a vfork child cannot come at this moment.
const ATTEMPT_PERIOD: Duration = Duration::from_millis(250);
/// Why a process comes home, or cannot go there.
pub(in crate::supervisor) const REMOVED: &str = "the node was removed from the cluster";

/// When a session ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// At the latest.
    by: Instant,
    /// Who is still there is asked to come home then.
    attempt_at: Instant,
}

impl Ending {
    pub(super) fn deadline(&self) -> Instant {
        self.by.min(self.attempt_at)
    }
}

impl Node {
    fn is_revoked(&self, revoked: &Revoked) -> bool {
        revoked.has_any(match &self.session {
            Session::Meeting(meeting) => meeting.link().peer_keys(),
            Session::Ready(away) => away.link().peer_keys(),
        })
    }
}

impl Nodes {
    /// Whether nothing goes there any more.
    pub(in crate::supervisor) fn is_removed(&self, index: NodeIndex) -> bool {
        self.nodes.get(&index).is_some_and(|node| node.ending.is_some())
    }
}

impl Supervisor {
    /// These keys are no longer of the cluster.
    pub(in crate::supervisor) fn distrust(&mut self, revoked: &Revoked) {
        let now = Instant::now();
        let nodes = self.elsewhere.nodes.nodes.iter();
        let removed = nodes.filter(|(_, node)| node.ending.is_none() && node.is_revoked(revoked));
        for index in removed.map(|(index, _)| *index).collect::<Vec<_>>() {
            let Some(node) = self.elsewhere.nodes.nodes.get_mut(&index) else { continue };
            let Session::Ready(away) = &mut node.session else {
                self.lose(index, REMOVED);
                continue;
            };
            away.stop_copies(REMOVED);
            node.ending = Some(Ending { by: now + LEAVE, attempt_at: now });
            let name = node.shown();
            if self.elsewhere.default == Some(index) {
                self.elsewhere.default = None;
            }
            self.console.verbose(format_args!("node {name} was removed from the cluster: all comes home"));
            self.away_actions();
            self.leave_removed(index);
        }
    }

    /// Brings home what is still on a node that was removed; ends its session when nothing is, or when it is time.
    pub(super) fn leave_removed(&mut self, index: NodeIndex) {
        let now = Instant::now();
        let Some(node) = self.elsewhere.nodes.nodes.get_mut(&index) else { return };
        let (Some(ending), Session::Ready(away)) = (&mut node.ending, &mut node.session) else { return };
        if !away.is_used() {
            away.farewell();
            self.elsewhere.nodes.remove(index);
            return self.give_up_orders(index, REMOVED);
        }
        if ending.by <= now {
            return self.lose(index, "it was removed from the cluster");
        }
        if ending.attempt_at <= now {
            ending.attempt_at = now + ATTEMPT_PERIOD;
            for pid in away.pids() {
                // It may be on its way already.
                let _ = self.order(pid, Destination::Home, REMOVED);
            }
            self.away_actions();
        }
    }
}
