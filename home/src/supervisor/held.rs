//! Processes that have exec'ed and are stopped until it is known where they go on.

use std::collections::HashMap;
use std::time::Instant;

use tracee::{Running, Stopped, Tid};

use super::Supervisor;
use super::nodes::NodeIndex;
use crate::away::settle_exec;
use crate::process::{Place, ThreadState};

/// By pid.
#[derive(Debug, Default)]
pub(crate) struct Holding(HashMap<Tid, Held>);

#[derive(Debug)]
pub(super) struct Held {
    thread: Stopped,
    /// It is at the first instruction of its image; otherwise inside execve.
    settled: bool,
    /// Where the process that called execve computed.
    from: Option<NodeIndex>,
    waits: Waits,
}

/// What one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For the daemon's word, so long.
    Word { until: Instant },
    /// For this node to be ready.
    Node(NodeIndex),
    /// For a body on another node to say what CPU time it has used: its follower at `to` counts on.
    Count { to: NodeIndex },
}

impl Holding {
    /// When the first of those gives up that wait for the daemon.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(Held::until).min()
    }

    fn all(&self, which: impl Fn(&Held) -> bool) -> Vec<Tid> {
        self.0.iter().filter(|(_, held)| which(held)).map(|(pid, _)| *pid).collect()
    }

    /// Those that have waited for the daemon's word until `now`; all of them without a time.
    pub(super) fn without_word(&self, now: Option<Instant>) -> Vec<Tid> {
        self.all(|held| held.until().is_some_and(|until| now.is_none_or(|now| until <= now)))
    }

    /// Whether one waits for the daemon's word.
    pub(super) fn awaits_word(&self, pid: Tid) -> bool {
        self.0.get(&pid).is_some_and(|held| held.until().is_some())
    }

    /// It has ended.
    pub(super) fn forget(&mut self, pid: Tid) {
        self.0.remove(&pid);
    }
}

impl Held {
    fn until(&self) -> Option<Instant> {
        match self.waits {
            Waits::Word { until } => Some(until),
            _ => None,
        }
    }
}

impl Supervisor {
    /// Keeps a process that has exec'ed until the daemon says where it goes, at most so long. `from` is where it computed;
    /// a process of home is still inside execve.
    pub(super) fn hold(&mut self, thread: Stopped, from: Option<NodeIndex>, until: Instant) {
        let pid = thread.tid();
        if let Some(thread) = self.table.threads.get_mut(&pid) {
            thread.state = ThreadState::Away;
        }
        let held = Held { thread, settled: from.is_some(), from, waits: Waits::Word { until } };
        self.elsewhere.held.0.insert(pid, held);
    }

    /// A held process goes on where it was.
    pub(super) fn let_go(&mut self, pid: Tid) {
        let from = self.elsewhere.held.0.get(&pid).and_then(|held| held.from);
        match from.filter(|from| self.elsewhere.nodes.get(*from).is_some()) {
            Some(from) => self.go_to(pid, from),
            None => self.go_home(pid),
        }
    }

    /// A held process goes on at home.
    pub(super) fn go_home(&mut self, pid: Tid) {
        let Some(held) = self.elsewhere.held.0.remove(&pid) else { return };
        self.elsewhere.nodes.leave(pid, None);
        self.set_place(pid, Place::Home);
        if held.from.is_some() {
            self.tell_place(pid, None);
        }
        self.resume(held.thread, 0);
    }

    /// A held process goes to a node, as soon as that is ready.
    pub(super) fn go_to(&mut self, pid: Tid, to: NodeIndex) {
        let ready = self.elsewhere.nodes.get(to).is_some();
        let Some(held) = self.elsewhere.held.0.get_mut(&pid) else { return };
        if !ready {
            held.waits = Waits::Node(to);
        } else if self.elsewhere.nodes.leave(pid, Some(to)) {
            held.waits = Waits::Count { to };
        } else {
            self.send_held(pid, to);
        }
    }

    fn send_held(&mut self, pid: Tid, to: NodeIndex) {
        let Some(held) = self.elsewhere.held.0.remove(&pid) else { return };
        let thread = if held.settled {
            held.thread
        } else {
            match settle_exec(Running::attached(pid).stopped(), Vec::new()) {
                Ok(thread) => thread,
                Err((event, _)) => {
                    self.before_reaping(pid, event);
                    return self.reaped(pid);
                }
            }
        };
        if !held.settled {
            self.traces.executed_home(pid);
        }
        self.send_fresh(pid, thread, to);
    }

    /// The body that a held process has left on another node has been counted.
    pub(super) fn counted(&mut self, pid: Tid) {
        if let Some(Waits::Count { to }) = self.elsewhere.held.0.get(&pid).map(|held| held.waits) {
            self.send_held(pid, to);
        }
    }

    /// A node that some wait for is ready, as `node`.
    pub(super) fn go_to_ready(&mut self, former: NodeIndex, node: NodeIndex) {
        for pid in self.elsewhere.held.all(|held| held.waits == Waits::Node(former)) {
            self.go_to(pid, node);
        }
    }

    /// A node is not there: who waits for it stays at home, and who waits for a body there waits no longer.
    pub(super) fn go_without(&mut self, node: NodeIndex, why: &str) {
        let wait_for_it =
            |held: &Held| matches!(held.waits, Waits::Node(to) | Waits::Count { to } if to == node);
        for pid in self.elsewhere.held.all(wait_for_it) {
            self.tell_place(pid, Some(why.to_owned()));
            self.go_home(pid);
        }
        let counts_there = |held: &Held| held.from == Some(node) && matches!(held.waits, Waits::Count { .. });
        for pid in self.elsewhere.held.all(counts_there) {
            self.counted(pid);
        }
    }
}
