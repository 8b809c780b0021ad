//! CPU time of bodies. Their kernel counts from zero; what the process has used before, at home and in other bodies,
//! is added to what its calls say.

use serde_bytes::ByteBuf;
use tracee::clock::{self, Cpu, TICK_NS};
use tracee::image::CpuUsed;
use tracee::inject::{InjectError, Injector};
use tracee::ptrace::Stopped;
use tracee::regs::Regs;
use tracee::{Tid, capture, memory};
use wire::session::ProcessKey;

use crate::body::{Ask, Native, State};
use crate::session::{Session, SessionError};

const CLOCK_PROCESS: i32 = 2;
const CLOCK_THREAD: i32 = 3;
const RUSAGE_SELF: i32 = 0;
const RUSAGE_THREAD: i32 = 1;

/// What is added at the exit of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addend {
    /// Nanoseconds, to a `struct timespec`.
    Clock(u64),
    /// To the first two words of a `struct rusage`.
    Usage(Cpu),
}

impl Addend {
    /// Adds it to what the kernel has just written at `address` of a body. If that is unmapped by now, so be it.
    pub(crate) fn add(self, host: Tid, address: u64) {
        let mut words = [0; 32];
        let words = match self {
            Addend::Clock(_) => &mut words[..16],
            Addend::Usage(_) => &mut words[..],
        };
        if memory::read(host, address, words) != words.len() {
            return;
        }
        match self {
            Addend::Clock(ns) => add(words, ns, 1_000_000_000),
            Addend::Usage(cpu) => {
                add(&mut words[..16], cpu.user_ns / 1000, 1_000_000);
                add(&mut words[16..], cpu.system_ns / 1000, 1_000_000);
            }
        }
        memory::write(host, address, words);
    }
}

/// Adds `more` to two words: seconds, and parts of which `unit` make a second.
fn add(words: &mut [u8], more: u64, unit: u64) {
    let word = |at: usize| u64::from_le_bytes(words[at..at + 8].try_into().unwrap_or_default());
    let sum = word(0).saturating_mul(unit).saturating_add(word(8)).saturating_add(more);
    words[..8].copy_from_slice(&(sum / unit).to_le_bytes());
    words[8..16].copy_from_slice(&(sum % unit).to_le_bytes());
}

impl Session {
    /// getrusage(2) of the caller: the other fields are the body's.
    pub(crate) fn usage(&mut self, host: Tid, stopped: Stopped, who: i32, address: u64) {
        let used = match who {
            RUSAGE_SELF => self.used(host).map(|(process, _)| process),
            RUSAGE_THREAD => self.used(host).map(|(_, thread)| thread),
            // The kernel says what it thinks of it.
            _ => None,
        };
        let addend = Addend::Usage(used.unwrap_or_default().total());
        self.local_calls += 1;
        self.run_local(host, stopped, Native::Counted(address, addend));
    }

    /// clock_gettime(2) of a CPU clock, or of a clock that only home has.
    pub(crate) fn cpu_clock(
        &mut self,
        host: Tid,
        stopped: Stopped,
        regs: Regs,
        clock: i32,
        address: u64,
    ) -> Result<(), SessionError> {
        let Some(ns) = self.before(host, clock) else { return self.forward(host, stopped, regs) };
        self.local_calls += 1;
        self.run_local(host, stopped, Native::Counted(address, Addend::Clock(ns)));
        Ok(())
    }

    /// What the process and the thread had used before.
    fn used(&self, host: Tid) -> Option<(CpuUsed, CpuUsed)> {
        let thread = self.threads.get(&host)?;
        Some((self.processes.get(&thread.process)?.used, thread.used))
    }

    /// What a CPU clock of the caller's process stood at when this body began, or `None` for other clocks.
    fn before(&self, host: Tid, clock: i32) -> Option<u64> {
        /// The kernel's posix-timers.h: a number of a process or thread, negated, and three bits.
        const PER_THREAD: i32 = 4;
        const KIND: i32 = 3;
        const PROF: i32 = 0;
        const VIRT: i32 = 1;
        const SCHED: i32 = 2;
        let caller = self.threads.get(&host)?;
        let process = self.processes.get(&caller.process)?;
        let (id, per_thread, kind) = match clock {
            CLOCK_PROCESS => (0, false, SCHED),
            CLOCK_THREAD => (0, true, SCHED),
            clock if clock < 0 => (!(clock >> 3), clock & PER_THREAD != 0, clock & KIND),
            _ => return None,
        };
        let used = match (id, per_thread) {
            (0, true) => caller.used,
            (0, false) => process.used,
            (id, false) if id == process.pid => process.used,
            (id, true) => {
                let mut threads = process.threads.iter().filter_map(|host| self.threads.get(host));
                threads.find(|thread| thread.tid == id)?.used
            }
            _ => return None,
        };
        match kind {
            PROF | SCHED => Some(used.total().total_ns()),
            VIRT => Some(used.total().user_ns),
            _ => None,
        }
    }

    /// Home's deputy has answered times(2): adds what its bodies have used.
    pub(crate) fn add_times(&self, host: Tid, outs: &mut [(u16, u32, ByteBuf)]) {
        let Some(thread) = self.threads.get(&host) else { return };
        let Some(process) = self.processes.get(&thread.process) else { return };
        let cpu = process.used.away + clock::process_ticks(process.host).unwrap_or_default();
        let Some((_, 0, tms)) = outs.first_mut() else { return };
        for (word, ns) in tms.chunks_exact_mut(8).zip([cpu.user_ns, cpu.system_ns]) {
            let ticks = u64::from_le_bytes((&*word).try_into().unwrap_or_default());
            word.copy_from_slice(&ticks.saturating_add(ns / TICK_NS).to_le_bytes());
        }
    }

    /// What a process that execs, and the thread that does it, have used away: the next body counts on from there.
    pub(crate) fn used_until_exec(&mut self, key: ProcessKey) -> Result<Option<(Cpu, Cpu)>, SessionError> {
        let Some(process) = self.processes.get(&key) else { return Ok(None) };
        let (away, foothold) = (process.used.away, process.foothold);
        let execs = process.threads.iter().copied().find(|host| {
            matches!(self.threads.get(host).map(|thread| &thread.state), Some(State::Asking(_, _, Ask::Exec)))
        });
        let Some(host) = execs else { return Ok(None) };
        let Some(thread) = self.threads.get_mut(&host) else { return Ok(None) };
        let State::Asking(stopped, ..) = std::mem::replace(&mut thread.state, State::Busy) else {
            return Ok(None);
        };
        let thread_away = thread.used.away;
        let asked = self.lifted(host, |_| {
            let mut injector = Injector::new(stopped, foothold.site())?;
            let process = capture::cpu(&mut injector, &foothold, capture::Whose::Process)?;
            Ok((process, capture::cpu(&mut injector, &foothold, capture::Whose::Thread)?))
        });
        match asked {
            Ok((process, thread)) => Ok(Some((away + process, thread_away + thread))),
            Err(InjectError::Gone(tid, event, time)) => self.on_gone(tid, event, time).map(|()| None),
            // It is about to be ended anyway.
            Err(_) => Ok(Some((away, thread_away))),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_are_carried() {
        let mut words = [0; 16];
        words[0] = 1;
        words[8..].copy_from_slice(&999_999u64.to_le_bytes());
        super::add(&mut words, 2_000_002, 1_000_000);
        assert_eq!(u64::from_le_bytes(words[..8].try_into().unwrap()), 4);
        assert_eq!(u64::from_le_bytes(words[8..].try_into().unwrap()), 1);
    }
}
