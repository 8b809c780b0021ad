//! CPU time that processes use away. The kernel here counts only what their deputies use, so what it says of them and
//! of their children is too little by what is kept here.

use std::collections::HashMap;

use serde_bytes::ByteBuf;
use tracee::Tid;
use tracee::clock::{Cpu, TICK_NS};
use wire::session::ProcessKey;

use super::Away;
use super::deputy::Serving;

const WAIT4: u32 = 61;
const GETRUSAGE: u32 = 98;
const TIMES: u32 = 100;
const WAITID: u32 = 247;
const RUSAGE_CHILDREN: i32 = -1;
const P_PID: u64 = 1;
/// Offset of the pid in the `siginfo_t` of waitid(2).
const SI_PID: u32 = 16;
/// So many processes are remembered before those that are gone are looked for.
const PROCESSES: usize = 1024;

/// What a process has used away, and had made for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// User and system time in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in KiB, of one that is away.
    pub memory_kib: Option<u64>,
    /// Calls that its deputy has made.
    pub forwarded: u64,
}

type Outs = Vec<(u16, u32, ByteBuf)>;

/// What is known of processes that are or have been away. Outlives them, until they are waited for.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    processes: HashMap<Tid, Account>,
    /// Bodies that end after home has let go of them.
    late: HashMap<ProcessKey, Late>,
    look_at: usize,
}

/// One process.
#[derive(Clone, Debug, Default)]
struct Account {
    own: Cpu,
    /// Of its children that it has waited for, and theirs.
    children: Cpu,
    /// Of its threads, as of its last image.
    threads: Vec<(Tid, Cpu)>,
    /// Calls that were made for it by its deputy.
    forwarded: u64,
    /// What its node has told of its CPU time, in nanoseconds: this is known before `own` has it.
    told_ns: u64,
}

#[derive(Debug)]
struct Late {
    pid: Tid,
    from: Cpu,
    /// Who has waited for the process meanwhile.
    waiter: Option<Tid>,
}

impl Ledger {
    /// There is a new process by this number.
    pub(super) fn born(&mut self, pid: Tid) {
        self.processes.remove(&pid);
        self.late.retain(|_, late| late.pid != pid);
        // Children of processes at home are waited for unseen.
        if self.processes.len() >= self.look_at.max(PROCESSES) {
            self.processes.retain(|pid, _| exists(*pid));
            self.look_at = 2 * self.processes.len();
        }
    }

    /// What a process has used away in all.
    pub(super) fn own(&self, pid: Tid) -> Cpu {
        self.processes.get(&pid).map_or_else(Cpu::default, |account| account.own)
    }

    /// What a thread had used away when it last came home.
    pub(super) fn thread(&self, pid: Tid, tid: Tid) -> Cpu {
        let known =
            self.processes.get(&pid).and_then(|account| account.threads.iter().find(|(t, _)| *t == tid));
        known.map_or_else(Cpu::default, |(_, cpu)| *cpu)
    }

    fn children(&self, pid: Tid) -> Cpu {
        self.processes.get(&pid).map_or_else(Cpu::default, |account| account.children)
    }

    /// A body, placed when its process had used `from`, says what it is now.
    pub(super) fn report(&mut self, pid: Tid, from: Cpu, away: Cpu) {
        self.processes.entry(pid).or_default().own += away.since(from);
    }

    /// A process has come home: what each of its threads has used away.
    pub(super) fn came_home(&mut self, pid: Tid, threads: Vec<(Tid, Cpu)>) {
        self.processes.entry(pid).or_default().threads = threads;
    }

    /// A process that is not away any more had this many calls made for it, and its node has told of so much CPU time.
    pub(super) fn left(&mut self, pid: Tid, calls: u64, told_ns: u64) {
        let account = self.processes.entry(pid).or_default();
        account.forwarded += calls;
        account.told_ns = account.told_ns.max(told_ns);
    }

    /// What a process has used away, and had made for it, until its last image.
    pub(super) fn used(&self, pid: Tid) -> Used {
        let Some(account) = self.processes.get(&pid) else { return Used::default() };
        let cpu_ns = account.own.total_ns().max(account.told_ns);
        Used { cpu_ns, memory_kib: None, forwarded: account.forwarded }
    }

    /// A body that home lets go of will say what it has used.
    pub(super) fn expect(&mut self, key: ProcessKey, pid: Tid, from: Cpu) {
        self.late.insert(key, Late { pid, from, waiter: None });
    }

    /// It says so: whose it was, unless that has been waited for.
    pub(super) fn late(&mut self, key: ProcessKey, away: Cpu) -> Option<Tid> {
        let late = self.late.remove(&key)?;
        match late.waiter {
            Some(waiter) => self.processes.entry(waiter).or_default().children += away.since(late.from),
            None => self.report(late.pid, late.from, away),
        }
        late.waiter.is_none().then_some(late.pid)
    }

    /// A child is gone, because `parent` has waited for it.
    fn waited(&mut self, parent: Tid, child: Tid) {
        let account = self.processes.remove(&child).unwrap_or_default();
        self.processes.entry(parent).or_default().children += account.own + account.children;
        for late in self.late.values_mut().filter(|late| late.pid == child) {
            late.waiter = Some(parent);
        }
    }
}

impl Away {
    /// A deputy's call has succeeded: adds to its answer what was used away.
    pub(super) fn count_cpu(&mut self, pid: Tid, serving: &Serving, window: u64, ret: i64, outs: &mut Outs) {
        let buffer = |arg: usize| {
            let at = serving.args[arg];
            serving.places.iter().position(|place| window + place == at).map(|buf| buf as u16)
        };
        match serving.nr {
            WAIT4 if ret > 0 => self.on_waited(pid, ret as Tid, buffer(3), outs),
            WAITID => {
                let told = buffer(2).map(|buf| word(outs, buf, SI_PID).unwrap_or(0));
                // It need not be told.
                let named = (serving.args[0] == P_PID).then_some(serving.args[1] as Tid);
                if let Some(child) = told.or(named).filter(|child| *child > 0) {
                    self.on_waited(pid, child, buffer(4), outs);
                }
            }
            GETRUSAGE if serving.args[0] as i32 == RUSAGE_CHILDREN => {
                add_usage(outs, buffer(1), self.shared.cpu.borrow().children(pid));
            }
            TIMES => add_times(outs, buffer(0), self.shared.cpu.borrow().children(pid)),
            _ => {}
        }
    }

    fn on_waited(&mut self, parent: Tid, child: Tid, usage: Option<u16>, outs: &mut Outs) {
        // The kernel counts what the child has waited for as well.
        let mut cpu = self.shared.cpu.borrow_mut();
        add_usage(outs, usage, cpu.own(child) + cpu.children(child));
        // WNOWAIT leaves it, and one that has stopped or gone on is still there.
        if !exists(child) {
            cpu.waited(parent, child);
        }
    }
}

fn exists(pid: Tid) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The `int` at `offset` of a buffer that comes back.
fn word(outs: &Outs, buf: u16, offset: u32) -> Option<i32> {
    let (.., bytes) = outs.iter().find(|(b, o, _)| *b == buf && *o == offset)?;
    Some(i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn find(outs: &mut Outs, buf: Option<u16>) -> Option<&mut [u8]> {
    let (.., bytes) = outs.iter_mut().find(|(b, o, _)| Some(*b) == buf && *o == 0)?;
    Some(bytes)
}

/// Adds to the user and the system time of a `struct rusage`.
fn add_usage(outs: &mut Outs, buf: Option<u16>, cpu: Cpu) {
    let Some(usage) = find(outs, buf) else { return };
    for (time, ns) in usage.chunks_exact_mut(16).zip([cpu.user_ns, cpu.system_ns]) {
        let (seconds, micros) = time.split_at_mut(8);
        let sum =
            get(seconds).saturating_mul(1_000_000).saturating_add(get(micros)).saturating_add(ns / 1000);
        seconds.copy_from_slice(&(sum / 1_000_000).to_le_bytes());
        micros.copy_from_slice(&(sum % 1_000_000).to_le_bytes());
    }
}

/// Adds to the times of the children in a `struct tms`, whose last two words they are.
fn add_times(outs: &mut Outs, buf: Option<u16>, cpu: Cpu) {
    let Some(times) = find(outs, buf) else { return };
    for (time, ns) in times.chunks_exact_mut(8).skip(2).zip([cpu.user_ns, cpu.system_ns]) {
        let sum = get(time).saturating_add(ns / TICK_NS);
        time.copy_from_slice(&sum.to_le_bytes());
    }
}

fn get(word: &[u8]) -> u64 {
    u64::from_le_bytes(word.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(user: u64, system: u64) -> Cpu {
        Cpu { user_ns: user * 1_000_000, system_ns: system * 1_000_000 }
    }

    /// No process has this number: pid_max is 4194304.
    const GONE: Tid = 0x40_0001;

    #[test]
    fn time_goes_from_a_child_to_its_parent_once() {
        let mut ledger = Ledger::default();
        let (parent, child) = (1, GONE);
        ledger.report(child, Cpu::default(), ms(30, 3));
        ledger.report(child, ms(30, 3), ms(40, 4));
        assert_eq!(ledger.own(child), ms(40, 4));
        ledger.processes.entry(child).or_default().children = ms(5, 0);
        ledger.waited(parent, child);
        assert_eq!(ledger.children(parent), ms(45, 4));
        assert_eq!(ledger.own(child), Cpu::default());
        // A new process has nothing of an old one's.
        ledger.born(parent);
        assert_eq!(ledger.children(parent), Cpu::default());
    }

    #[test]
    fn a_late_report_follows_the_process() {
        let mut ledger = Ledger::default();
        let key = ProcessKey;
        ledger.expect(key(1), 10, ms(5, 0));
        assert_eq!(ledger.late(key(1), ms(7, 0)), Some(10));
        assert_eq!(ledger.late(key(1), ms(7, 0)), None);
        assert_eq!(ledger.own(10), ms(2, 0));
        ledger.expect(key(2), 10, ms(2, 0));
        ledger.waited(11, 10);
        ledger.late(key(2), ms(5, 1));
        assert_eq!(ledger.children(11), ms(5, 1));
    }

    #[test]
    fn the_gone_are_forgotten() {
        let mut ledger = Ledger::default();
        for n in 0..PROCESSES as Tid {
            ledger.report(GONE + n, Cpu::default(), ms(1, 1));
        }
        ledger.report(1, Cpu::default(), ms(1, 1));
        ledger.born(2);
        assert_eq!(ledger.processes.len(), 1);
    }

    #[test]
    fn answers_are_added_to() {
        let mut usage = vec![0; 144];
        usage[8..16].copy_from_slice(&999_000u64.to_le_bytes());
        let mut outs = vec![(0, 0, ByteBuf::from(vec![9; 4])), (1, 0, ByteBuf::from(usage))];
        add_usage(&mut outs, Some(1), ms(2, 1500));
        let word = |outs: &Outs, n: usize| get(&outs[1].2[8 * n..8 * n + 8]);
        assert_eq!([0, 1, 2, 3].map(|n| word(&outs, n)), [1, 1000, 1, 500_000]);
        outs[1].2 = ByteBuf::from(vec![0; 32]);
        add_times(&mut outs, Some(1), ms(20, 35));
        assert_eq!([0, 1, 2, 3].map(|n| word(&outs, n)), [0, 0, 2, 3]);
        add_usage(&mut outs, None, ms(1, 1));
        assert_eq!(outs[0].2.as_slice(), [9; 4]);
    }
}
