//! Stopping the threads of a process at home for a move.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracee::clock::{self, Asleep};
use tracee::{Event, Running, Stop, Stopped, Tid, wait};

use super::Supervisor;
use crate::process::ThreadState;

/// How long a thread may take to stop before a move is given up: one in an uninterruptible sleep cannot.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Which threads sleep; to be asked before they are stopped.
    pub(super) fn asleep(&self, pid: Tid) -> HashMap<Tid, Asleep> {
        let threads = self.table.processes.get(&pid).map_or(&[][..], |process| &process.threads);
        threads.iter().filter_map(|tid| Some((*tid, clock::asleep(*tid)?))).collect()
    }

    /// Stops all threads of a process at home, leader first: those that stopped, and why not all did.
    pub(super) fn stop_process(&mut self, pid: Tid) -> (Vec<Stopped>, Result<(), String>) {
        let mut stopped = Vec::new();
        let result = self.stop_threads(pid, &mut stopped);
        (stopped, result)
    }

    fn stop_threads(&mut self, pid: Tid, stopped: &mut Vec<Stopped>) -> Result<(), String> {
        let Some(process) = self.table.processes.get(&pid) else { return Err("it has ended".into()) };
        let execs = process.execs;
        let mut tids = process.threads.clone();
        tids.sort_by_key(|tid| *tid != pid);
        for tid in &tids {
            match self.table.threads.get(tid).map(|thread| &thread.state) {
                Some(ThreadState::Running(running)) => drop(running.interrupt()),
                Some(ThreadState::Listening(_)) => return Err("it is stopped".into()),
                _ => return Err("one of its threads is held".into()),
            }
        }
        let until = Instant::now() + STOP_TIMEOUT;
        for tid in &tids {
            stopped.push(self.stop_thread(*tid, until)?);
        }
        let process = self.table.processes.get(&pid);
        let same = process.is_some_and(|p| p.execs == execs && p.threads.len() == stopped.len());
        if same { Ok(()) } else { Err("it changed meanwhile".into()) }
    }

    /// Waits for a thread that was interrupted. Other stops that come first are handled as ever.
    fn stop_thread(&mut self, tid: Tid, until: Instant) -> Result<Stopped, String> {
        self.stopping = Some(tid);
        let stopped = self.await_stop(tid, until);
        self.stopping = None;
        stopped
    }

    fn await_stop(&mut self, tid: Tid, until: Instant) -> Result<Stopped, String> {
        loop {
            match wait::next_of_thread(tid, |tid, event| self.before_reaping(tid, event)) {
                Ok(Some((_, Event::Stopped(Stop::Interrupt), _))) => {
                    let stopped = Running::attached(tid).stopped();
                    // It may have to stay: then its call must not end for our interrupt.
                    if self.table.threads.get(&tid).is_some_and(|thread| !thread.group_stopped) {
                        self.repair(&stopped, 0);
                    }
                    return Ok(stopped);
                }
                Ok(Some((_, event, _))) => {
                    self.report(tid, event);
                    if event == Event::Stopped(Stop::Syscall)
                        && let Some(ThreadState::Running(running)) =
                            self.table.threads.get(&tid).map(|thread| &thread.state)
                    {
                        // That stop may have taken the place of ours. ESRCH: killed meanwhile.
                        running.interrupt().ok();
                    }
                    if !matches!(event, Event::Stopped(_)) {
                        return Err("a thread of it has ended".into());
                    }
                }
                Ok(None) if Instant::now() < until => {
                    // Its stop signals this process: nothing to do but to let it run.
                    rustix::thread::sched_yield();
                }
                Ok(None) => return Err("one of its threads sleeps and cannot be stopped".into()),
                Err(_) => return Err("a thread of it has ended".into()),
            }
        }
    }
}
