//! Traces that begin and end while processes run (`mosix trace`).
//!
//! A thread at home that is to be traced is interrupted once, and from then on goes from call to call; a body's node does the
//! like. When the trace ends nobody is interrupted: at its next stop a thread is let go as ever.

use tracee::Tid;
use wire::trace::Wanted;

use super::Supervisor;
use crate::control::{Reply, Ticket};
use crate::process::ThreadState;
use crate::trace::Client;

impl Supervisor {
    /// Traces a process and its descendants for a client.
    pub(super) fn begin_trace(&mut self, ticket: Ticket, pid: Tid, wanted: Wanted) {
        if !self.table.processes.contains_key(&pid) {
            return self.reply(ticket, &Reply::Failed(format!("{pid} is not a managed process")));
        }
        let tree = self.tree(pid);
        if let Some(other) = tree.iter().find(|pid| self.traces.has(**pid)) {
            return self.reply(ticket, &Reply::Failed(format!("process {other} is traced already")));
        }
        let stream = self.control.as_ref().map(|control| control.stream(ticket.client()));
        let Some(Ok(stream)) = stream else { return };
        let threads: Vec<(Tid, Tid)> =
            tree.iter().flat_map(|pid| self.threads_of(*pid).into_iter().map(|tid| (tid, *pid))).collect();
        let sink = Box::new(Client::new(stream, ticket.id()));
        self.traces.begin(ticket.client(), wanted.bounded(), sink, &threads);
        for (tid, _) in threads {
            if let Some(ThreadState::Running(running)) =
                self.table.threads.get(&tid).map(|thread| &thread.state)
                && self.traces.stops(tid)
            {
                // ESRCH: it is ending.
                running.interrupt().ok();
            }
        }
        for pid in tree {
            self.tell_trace(pid);
        }
    }

    /// A client has gone: what it had traced runs on untraced.
    pub(super) fn end_trace(&mut self, client: u32) {
        if self.traces.is_empty() {
            return;
        }
        for pid in self.traces.end(client) {
            self.tell_trace(pid);
        }
    }

    /// Tells the node where a process is what is wanted of it. A node has to be told of an end only what it was told of.
    pub(super) fn tell_trace(&mut self, pid: Tid) {
        let wanted = self.traces.wanted(pid).cloned();
        if let Some(away) = self.elsewhere.nodes.holding(pid)
            && (wanted.is_some() || away.is_traced(pid))
        {
            away.trace(pid, wanted);
        }
    }

    /// A process and its descendants.
    fn tree(&self, root: Tid) -> Vec<Tid> {
        let processes = &self.table.processes;
        let comes_from_root = |pid: &Tid| {
            let mut at = *pid;
            // A maker's number may have become a descendant's.
            for _ in 0..processes.len() {
                if at == root {
                    return true;
                }
                match processes.get(&at) {
                    Some(process) => at = process.maker,
                    None => return false,
                }
            }
            false
        };
        let mut tree: Vec<Tid> = processes.keys().copied().filter(comes_from_root).collect();
        tree.sort_unstable();
        tree
    }

    fn threads_of(&mut self, pid: Tid) -> Vec<Tid> {
        let Some(process) = self.table.processes.get(&pid) else { return Vec::new() };
        let at_home = || process.threads.clone();
        self.elsewhere.nodes.holding(pid).map_or_else(at_home, |away| away.threads_of(pid))
    }
}
