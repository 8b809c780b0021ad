//! Taking the image of a process whose threads are all stopped.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use crate::clock::Cpu;
use crate::foothold::Foothold;
use crate::image::{Backing, CpuUsed, FileRef, Layout, ThreadImage, Vma, vma};
use crate::inject::{InjectError, Injector};
use crate::maps::Mapping;
use crate::pagemap::Pagemap;
use crate::{Errno, Tid, memory};

/// Why an image could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The process has something that cannot be elsewhere: the stay reason.
    #[error("{0}")]
    Stay(String),
    /// The process could not be read.
    #[error("reading the process: {0}")]
    Io(#[from] io::Error),
    /// A call injected into the process failed.
    #[error(transparent)]
    Inject(#[from] InjectError),
}

impl From<Errno> for CaptureError {
    fn from(errno: Errno) -> Self {
        CaptureError::Io(errno.into())
    }
}

/// Turns mappings into [`Vma`]s. `resolve` names the content of a privately mapped file, or says why it cannot;
/// `skip` are ranges of our own.
pub fn vmas(
    mappings: &[Mapping],
    skip: &[(u64, u64)],
    mut resolve: impl FnMut(&Mapping) -> Result<Backing, CaptureError>,
) -> Result<Vec<Vma>, CaptureError> {
    let mut vmas = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        if is_special(mapping) || skip.iter().any(|(start, end)| mapping.start < *end && *start < mapping.end)
        {
            continue;
        }
        if let Some(reason) = stay_reason(mapping) {
            return Err(CaptureError::Stay(reason));
        }
        let backing = if mapping.inode != 0 { resolve(mapping)? } else { Backing::Anonymous };
        vmas.push(Vma {
            start: mapping.start,
            end: mapping.end,
            prot: mapping.prot,
            flags: flags(mapping),
            backing,
        });
    }
    Ok(vmas)
}

/// Whether the kernel itself keeps this mapping.
pub fn is_special(mapping: &Mapping) -> bool {
    is_vdso(mapping) || mapping.path == b"[vsyscall]" || mapping.path == b"[uprobes]"
}

fn is_vdso(mapping: &Mapping) -> bool {
    mapping.path == b"[vdso]" || mapping.path.starts_with(b"[vvar")
}

/// The range of [vvar]… and [vdso], which lie side by side.
pub fn vdso_range(mappings: &[Mapping]) -> Option<(u64, u64)> {
    let mut all = mappings.iter().filter(|mapping| is_vdso(mapping));
    let first = all.next()?;
    Some((first.start, all.next_back().unwrap_or(first).end))
}

fn stay_reason(mapping: &Mapping) -> Option<String> {
    let name = || String::from_utf8_lossy(&mapping.path).into_owned();
    if mapping.has_flag(b"io") || mapping.has_flag(b"pf") {
        return Some(format!("device mapping {}", name()));
    }
    if mapping.has_flag(b"sl") {
        return Some("sealed mapping".into());
    }
    if mapping.has_flag(b"ht") {
        return Some("huge TLB pages".into());
    }
    if mapping.shared && !mapping.is_view() {
        let what = if mapping.inode == 0 { "anonymous memory".to_string() } else { name() };
        return Some(format!("shared mapping of {what}"));
    }
    None
}

fn flags(mapping: &Mapping) -> u32 {
    let mut bits = 0;
    for (name, bit) in [
        (b"gd", vma::GROWS_DOWN),
        (b"nr", vma::NO_RESERVE),
        (b"dc", vma::DONT_FORK),
        (b"wf", vma::WIPE_ON_FORK),
        (b"hg", vma::HUGE),
        (b"nh", vma::NO_HUGE),
        (b"dd", vma::DONT_DUMP),
        (b"lo", vma::LOCKED),
    ] {
        if mapping.has_flag(name) {
            bits |= bit;
        }
    }
    if mapping.path == b"[stack]" {
        bits |= vma::GROWS_DOWN;
    }
    bits
}

/// Reads the addresses that PR_SET_MM_MAP sets from /proc/PID/stat (proc_pid_stat(5)); `brk` is left 0.
pub fn layout(pid: Tid) -> io::Result<Layout> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "unreadable stat line");
    // The second field is the command in parentheses and may hold anything; what follows the last one is regular.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(bad)?;
    let fields: Vec<u64> = rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().ok_or_else(bad);
    Ok(Layout {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: 0,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
    })
}

/// The heap's end, by an injected brk(2).
pub fn brk(injector: &mut Injector) -> Result<u64, InjectError> {
    Ok(injector.raw(libc::SYS_brk, [0; 6])? as u64)
}

/// Whose CPU time [`cpu`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The whole process's.
    Process,
    /// The thread's.
    Thread,
}

/// CPU time that the kernel has counted for a stopped thread or its process. getrusage(2) rounds down to microseconds:
/// rounded up here, so that no clock that goes on from it goes back.
pub fn cpu(injector: &mut Injector, foothold: &Foothold, whose: Whose) -> Result<Cpu, InjectError> {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    let scratch = foothold.scratch();
    injector.call("getrusage", libc::SYS_getrusage, [who as u64, scratch, 0, 0, 0, 0])?;
    let mut times = [0; 32];
    memory::read_exact(injector.tid(), scratch, &mut times)?;
    let word = |at: usize| u64::from_le_bytes(times[at..at + 8].try_into().unwrap_or_default());
    let ns = |at: usize| (word(at) * 1_000_000 + word(at + 8) + 1) * 1000;
    Ok(Cpu { user_ns: ns(0), system_ns: ns(16) })
}

/// The interval timers on CPU time that run.
pub fn cpu_timers(injector: &mut Injector, foothold: &Foothold) -> Result<Vec<(u64, [u64; 4])>, InjectError> {
    let mut running = Vec::new();
    for which in CPU_TIMERS {
        injector.call("getitimer", libc::SYS_getitimer, [which, foothold.scratch(), 0, 0, 0, 0])?;
        let mut value = [0u64; 4];
        for (i, word) in value.iter_mut().enumerate() {
            *word = memory::read_u64(injector.tid(), foothold.scratch() + 8 * i as u64)?;
        }
        if value[2..] != [0, 0] {
            running.push((which, value));
        }
    }
    Ok(running)
}

/// ITIMER_VIRTUAL and ITIMER_PROF; ITIMER_REAL is the deputy's.
const CPU_TIMERS: [u64; 2] = [1, 2];

/// Takes the state of one thread. Its registers are those that the injector will put back; the caller makes them
/// ready to run, and knows its CPU time. With `fresh` (just exec'ed) nothing is registered with the kernel yet and
/// nothing is asked.
pub fn thread(
    injector: &mut Injector,
    foothold: &Foothold,
    tid: Tid,
    fresh: bool,
) -> Result<ThreadImage, CaptureError> {
    let stopped = injector.thread();
    let host = stopped.tid();
    let mut image = ThreadImage {
        tid,
        regs: *injector.saved_mut(),
        xstate: injector.thread().xstate()?,
        sigmask: *injector.mask_mut(),
        altstack: [0, DISABLED, 0],
        rseq: None,
        robust_list: (0, 0),
        clear_tid: 0,
        pending: Vec::new(),
        cpu: CpuUsed::default(),
        unfinished: None,
        seen: 0,
    };
    image.pending = injector.thread().pending(false)?.iter().map(|info| info.0.to_vec()).collect();
    if fresh {
        return Ok(image);
    }
    image.rseq = injector.thread().rseq()?;
    image.robust_list = robust_list(host)?;
    let scratch = foothold.scratch();
    injector.call("sigaltstack", libc::SYS_sigaltstack, [0, scratch, 0, 0, 0, 0])?;
    let mut words = [0u8; 24];
    memory::read_exact(host, scratch, &mut words)?;
    for (word, bytes) in image.altstack.iter_mut().zip(words.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    image.altstack[1] &= 0xffff_ffff;
    injector.call("prctl", libc::SYS_prctl, [PR_GET_TID_ADDRESS, scratch, 0, 0, 0, 0])?;
    image.clear_tid = memory::read_u64(host, scratch)?;
    Ok(image)
}

const DISABLED: u64 = libc::SS_DISABLE as u64;
const PR_GET_TID_ADDRESS: u64 = 40;

/// get_robust_list(2) of another thread; ptrace access is enough.
fn robust_list(tid: Tid) -> Result<(u64, u64), Errno> {
    let (mut head, mut len) = (0u64, 0u64);
    // SAFETY: both pointers are to live words that the call fills.
    let got = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) };
    if got < 0 { Err(Errno::last()) } else { Ok((head, len)) }
}

/// Takes what is pending for the thread off its queue, or, `shared`, for its process, of which it then has none of its own
/// left: a pending signal is in one place. To ignore a signal for a moment would drop it too, but also what comes
/// meanwhile; and a periodic timer's is pending again as soon as it is no longer ignored (kernels from 6.13), while a
/// timer whose signal is taken is armed again, as if it had been delivered.
pub fn take_pending(
    injector: &mut Injector,
    foothold: &Foothold,
    shared: bool,
) -> Result<Vec<Vec<u8>>, CaptureError> {
    let (scratch, tid) = (foothold.scratch(), injector.tid());
    let (time, info) = (scratch + 8, scratch + 64);
    let mut taken = Vec::new();
    for peeked in injector.thread().pending(shared)? {
        let set = 1u64 << (peeked.signal() - 1);
        let words: Vec<u8> = [set, 0, 0].iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        memory::write_all(tid, scratch, &words)?;
        let got = injector.raw(libc::SYS_rt_sigtimedwait, [scratch, info, time, 8, 0, 0])?;
        // EAGAIN: SIGCONT has removed a stop signal, or the other way round.
        if got == i64::from(peeked.signal()) {
            let mut bytes = vec![0; size_of::<crate::ptrace::SigInfo>()];
            memory::read_exact(tid, info, &mut bytes)?;
            taken.push(bytes);
        }
    }
    Ok(taken)
}

/// Caught signals with their `struct kernel_sigaction`.
pub type Actions = Vec<(i32, [u64; 4])>;

/// The dispositions: caught signals with their actions, and the set of ignored ones.
pub fn actions(injector: &mut Injector, foothold: &Foothold) -> Result<(Actions, u64), CaptureError> {
    let tid = injector.tid();
    let sets = signal_sets(tid)?;
    let mut actions = Vec::new();
    // SIGCHLD's flags count even when it has its default action: SA_NOCLDWAIT reaps.
    let looked_at = sets.caught | (1 << (libc::SIGCHLD - 1)) & !sets.ignored;
    for signal in (1..=64).filter(|signal| looked_at >> (signal - 1) & 1 == 1) {
        let scratch = foothold.scratch();
        let args = [signal as u64, 0, scratch, 8, 0, 0];
        injector.call("rt_sigaction", libc::SYS_rt_sigaction, args)?;
        let mut action = [0u64; 4];
        for (i, word) in action.iter_mut().enumerate() {
            *word = memory::read_u64(tid, scratch + 8 * i as u64)?;
        }
        if sets.caught >> (signal - 1) & 1 == 1 || action[1] != 0 {
            actions.push((signal, action));
        }
    }
    Ok((actions, sets.ignored))
}

/// Signal sets of /proc/TID/status, bit n-1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSets {
    /// Blocked in the thread.
    pub blocked: u64,
    /// Disposition SIG_IGN.
    pub ignored: u64,
    /// Has a handler.
    pub caught: u64,
    /// Pending for the thread.
    pub pending: u64,
    /// Pending for the process.
    pub shared_pending: u64,
}

/// Reads the signal sets of a thread; about 2 µs.
pub fn signal_sets(tid: Tid) -> io::Result<SignalSets> {
    let status = fs::read_to_string(format!("/proc/{tid}/status"))?;
    let mut sets = SignalSets::default();
    for line in status.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let target = match key {
            "SigBlk" => &mut sets.blocked,
            "SigIgn" => &mut sets.ignored,
            "SigCgt" => &mut sets.caught,
            "SigPnd" => &mut sets.pending,
            "ShdPnd" => &mut sets.shared_pending,
            _ => continue,
        };
        *target = u64::from_str_radix(value.trim(), 16).unwrap_or(0);
    }
    Ok(sets)
}

/// Limits that are enforced where the memory is.
pub fn limits(pid: Tid) -> Vec<(i32, u64, u64)> {
    [libc::RLIMIT_STACK, libc::RLIMIT_DATA, libc::RLIMIT_AS, libc::RLIMIT_MEMLOCK, libc::RLIMIT_CPU]
        .into_iter()
        .filter_map(|resource| {
            let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the old-limit pointer is to a live struct; no new limit is set.
            let got = unsafe { libc::prlimit64(pid, resource, std::ptr::null(), &mut limit) };
            (got == 0).then_some((resource as i32, limit.rlim_cur, limit.rlim_max))
        })
        .collect()
}

/// Reads pages of a process, whatever their protection.
#[derive(Debug)]
pub struct PageReader {
    pid: Tid,
    pagemap: Pagemap,
    mem: File,
}

/// Pages as they travel.
#[derive(Debug)]
pub struct PageFrame {
    /// Address of the first.
    pub start: u64,
    /// A message's head and the pages.
    pub bytes: Vec<u8>,
    /// Bytes of pages.
    pub len: usize,
}

/// Most bytes in one run of pages, so that a run fits a frame.
pub const RUN_BYTES: u64 = 256 << 10;

impl PageReader {
    /// Opens a process for reading.
    pub fn open(pid: Tid) -> io::Result<PageReader> {
        Ok(PageReader { pid, pagemap: Pagemap::open(pid)?, mem: File::open(format!("/proc/{pid}/mem"))? })
    }

    /// The runs of `vma` that must travel, none longer than [`RUN_BYTES`].
    pub fn runs(&mut self, vma: &Vma) -> io::Result<Vec<(u64, u64)>> {
        Ok(self.own_pages(vma)?.into_iter().flat_map(runs_of).collect())
    }

    /// The ranges of `vma` that hold pages of the process's own.
    pub fn own_pages(&mut self, vma: &Vma) -> io::Result<Vec<(u64, u64)>> {
        self.pagemap.own_pages(vma.start, vma.end)
    }

    /// Reads one run as frames: `head` makes a frame's beginning from an address and a length. Pages that are all zero do not travel where they are `fresh` at the other end, but for those of
    /// a file, which would show the file again.
    pub fn frames(
        &self,
        vma: &Vma,
        (start, end): (u64, u64),
        fresh: bool,
        head: impl Fn(u64, usize) -> Vec<u8>,
    ) -> io::Result<Vec<PageFrame>> {
        let len = (end - start) as usize;
        let mut frame = head(start, len);
        let at = frame.len();
        let readable = vma.prot & libc::PROT_READ != 0;
        if !(readable && memory::read_onto(self.pid, start, len, &mut frame)) {
            frame.resize(at + len, 0);
            self.mem.read_exact_at(&mut frame[at..], start)?;
        }
        if !fresh || file_of(vma).is_some() {
            return Ok(vec![PageFrame { start, bytes: frame, len }]);
        }
        match nonzero_parts(start, &frame[at..]).as_slice() {
            [(_, whole)] if whole.len() == len => Ok(vec![PageFrame { start, bytes: frame, len }]),
            parts => {
                let frame_of = |(start, part): &(u64, &[u8])| {
                    let mut frame = head(*start, part.len());
                    frame.extend_from_slice(part);
                    PageFrame { start: *start, bytes: frame, len: part.len() }
                };
                Ok(parts.iter().map(frame_of).collect())
            }
        }
    }
}

/// Splits a range into runs of at most [`RUN_BYTES`].
pub fn runs_of((start, end): (u64, u64)) -> impl Iterator<Item = (u64, u64)> {
    (start..end).step_by(RUN_BYTES as usize).map(move |at| (at, end.min(at + RUN_BYTES)))
}

/// Splits a run into the parts that are not all zero, in units of pages.
fn nonzero_parts(start: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (i, page) in bytes.chunks(ZEROES.len()).enumerate() {
        if page == &ZEROES[..page.len()] {
            continue;
        }
        let at = i * ZEROES.len();
        match parts.last_mut() {
            Some(last) if last.1 == at => last.1 = at + page.len(),
            _ => parts.push((at, at + page.len())),
        }
    }
    parts.into_iter().map(|(from, to)| (start + from as u64, &bytes[from..to])).collect()
}

static ZEROES: [u8; 4096] = [0; 4096];

/// Whether clean pages come from a file.
pub fn file_of(vma: &Vma) -> Option<&FileRef> {
    match &vma.backing {
        Backing::File(file) => Some(file),
        Backing::Anonymous => None,
    }
}
