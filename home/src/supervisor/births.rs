//! New processes and threads. A child's first stop may come before its maker's event or after it, and either may
//! never come because one of them was killed; so whichever comes first makes the entry.

use tracee::{Running, Stopped, Tid};

use super::{Next, Supervisor};
use crate::process::ThreadState;
use crate::procfs;

impl Supervisor {
    /// A fork, vfork or clone has made a child.
    pub(super) fn made_child(&mut self, at: &Stopped) -> Next {
        let Ok(child) = at.event_message() else { return Next::Go(0) };
        let child = child as Tid;
        let Some(maker) = self.table.threads.get(&at.tid()).map(|thread| thread.pid) else {
            return Next::Go(0);
        };
        match self.table.threads.get(&child).map(|thread| thread.pid) {
            // It has ended and was reaped here before its maker's event was looked at. Its zombie may still be there for
            // its parent.
            None if !procfs::is_traced(child) => return Next::Go(0),
            None => {
                // clone(2) makes threads and processes; the id stays visible under the process until we reap it.
                let thread_of = procfs::is_thread_of(child, maker).then_some(maker);
                self.add(child, thread_of, maker);
            }
            // Its first stop came before this event, when only its parent was known.
            Some(pid) if pid == child => {
                if let Some(process) = self.table.processes.get_mut(&child) {
                    process.maker = maker;
                }
            }
            Some(_) => {}
        }
        if let Some(process) = self.table.processes.get_mut(&child)
            && tracee::memory::is_one(maker, child)
        {
            process.memory_of = Some(maker);
        }
        self.on_made_child(at, child)
    }

    /// The first stop of a thread whose maker's event has not come (yet).
    pub(super) fn born_unannounced(&mut self, tid: Tid) {
        let pid = procfs::process_of(tid).unwrap_or(tid);
        let thread_of = (pid != tid && self.table.processes.contains_key(&pid)).then_some(pid);
        let maker = thread_of.or_else(|| procfs::stat(tid).map(|stat| stat.ppid)).unwrap_or(0);
        self.add(tid, thread_of, maker);
    }

    fn add(&mut self, tid: Tid, thread_of: Option<Tid>, maker: Tid) {
        let state = ThreadState::Running(Running::attached(tid));
        match thread_of {
            Some(pid) => self.table.add_thread(tid, pid, state),
            None => {
                // A child's image is its maker's, and so is the reason for which it may not move.
                let stay = self.table.processes.get(&maker).and_then(|process| process.stay.clone());
                self.table.add_process(tid, maker, stay, state);
                self.elsewhere.shared.born(tid);
            }
        }
        if let Some(thread) = self.table.threads.get_mut(&tid) {
            thread.newborn = true;
        }
        self.traces.born(tid, thread_of.unwrap_or(tid), thread_of.unwrap_or(maker));
    }

    /// Whether this is the thread's first stop, from now on no longer.
    pub(super) fn first_stop(&mut self, at: &Stopped) -> bool {
        self.table.threads.get_mut(&at.tid()).is_some_and(|thread| std::mem::take(&mut thread.newborn))
    }

    /// The first stop of a new thread or process, before its first instruction.
    pub(super) fn begin(&mut self, at: &Stopped) -> Next {
        let is_leader = self.table.threads.get(&at.tid()).is_some_and(|thread| thread.pid == thread.tid);
        if is_leader { self.on_new_process(at) } else { self.on_new_thread(at) }
    }
}
