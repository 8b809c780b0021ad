//! Ends of threads and processes.

use tracee::ptrace::Resume;
use tracee::{Event, Stopped, Tid, clock, wait};

use super::Supervisor;
use crate::control::Reply;
use crate::process::INIT;
use crate::procfs;

impl Supervisor {
    /// A thread has ended, and what waits for it does not know yet: while it is not reaped here, its process is a
    /// zombie that its parent cannot see. So what is written now is complete before a shell goes on.
    /// An end may be seen both here and by the away side: it counts once.
    pub(super) fn before_reaping(&mut self, tid: Tid, event: Event) {
        if let Some(process) = self.table.processes.get_mut(&tid)
            && std::mem::replace(&mut process.ended, true)
        {
            return;
        }
        self.traces.ended(tid, event);
        if !self.table.processes.contains_key(&tid) {
            return;
        }
        if let Ok(time) = clock::process_cpu_time(tid) {
            self.stats.cpu_seconds.home += time.as_secs_f64();
            self.tell_end(tid, time);
        }
        self.on_process_end(tid, event);
        if (self.table.processes.len() == 1 || tid == INIT)
            && let Some(control) = self.control.take()
        {
            // The last one, or the end of all: nobody shall find a socket that is about to go.
            control.close();
        }
        if tid == self.first && !self.first_has_ended {
            self.first_has_ended = true;
            self.traces.flush(true);
            self.write_stats();
            self.console.release();
        }
    }

    /// A thread is about to end (see [`crate::process::options`]). What is written when the first process ends is written
    /// before pid 1's last thread goes on: afterwards nobody here does anything.
    pub(super) fn leaving(&mut self, at: Stopped) {
        let tid = at.tid();
        // Children that pid 1 makes have its options.
        if procfs::is_thread_of(tid, INIT) {
            self.leaving.insert(tid);
            if procfs::threads(INIT).iter().all(|thread| self.leaving.contains(thread)) {
                let status = at.event_message().unwrap_or(0);
                self.before_reaping(INIT, wait::decode(status as i32));
            }
        }
        // ESRCH: killed meanwhile.
        let _ = at.resume(Resume::Cont, 0);
    }

    /// The end has been taken from the kernel. A leader's end is reported when all other threads are gone: it is
    /// the process's end.
    pub(super) fn reaped(&mut self, tid: Tid) {
        self.leaving.remove(&tid);
        if self.table.remove_process(tid).is_none() {
            self.on_thread_end(tid);
            self.table.remove_thread(tid);
        } else {
            self.forget_moves(tid);
            let ended = "it has ended";
            if self.answer_askers(tid, &Reply::Failed(format!("not possible: {ended}"))) {
                self.tell_place(tid, Some(ended.into()));
            }
        }
    }
}
