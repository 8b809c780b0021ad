//! What a process is, apart from what stays at home: mappings, registers, signal state and the pointers it has
//! registered with the kernel. Page contents travel beside it.

use serde::{Deserialize, Serialize};

use crate::Tid;
use crate::clock::Cpu;
use crate::ptrace::Rseq;
use crate::regs::Regs;

/// BLAKE3 hash of a whole file.
pub type ContentId = [u8; 32];

/// A process without its pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Mappings in address order.
    pub vmas: Vec<Vma>,
    /// Kernel's idea of code, data, heap, stack and argument addresses.
    pub layout: Layout,
    /// Threads, leader first.
    pub threads: Vec<ThreadImage>,
    /// Caught signals: number and `struct kernel_sigaction` (handler, flags, restorer, mask).
    pub actions: Vec<(i32, [u64; 4])>,
    /// Signals with disposition SIG_IGN, bit n-1 for signal n.
    pub ignored: u64,
    /// Process-directed pending signals as raw siginfo.
    pub pending: Vec<Vec<u8>>,
    /// [vvar]… and [vdso] as one range, if there are any.
    pub vdso: Option<(u64, u64)>,
    /// Resource limits that are enforced where the memory is: number, soft, hard.
    pub limits: Vec<(i32, u64, u64)>,
    /// CPU time that the process has used so far.
    pub cpu: CpuUsed,
    /// Interval timers on CPU time that run: number and `struct itimerval` (interval and value, seconds and microseconds
    /// of each). They count where the process computes.
    pub cpu_timers: Vec<(u64, [u64; 4])>,
}

/// CPU time that a process or a thread has used up to the moment of its image. What it uses where the image goes
/// comes on top: no kernel can be told to count from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuUsed {
    /// By its bodies.
    pub away: Cpu,
    /// At home, where the kernel goes on counting.
    pub home: Cpu,
}

impl CpuUsed {
    /// Everywhere.
    pub fn total(self) -> Cpu {
        self.away + self.home
    }
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// PROT_* bits.
    pub prot: i32,
    /// [`vma`] bits.
    pub flags: u32,
    /// What is under its clean pages.
    pub backing: Backing,
}

/// Bits of [`Vma::flags`].
pub mod vma {
    /// Grows downward.
    pub const GROWS_DOWN: u32 = 1;
    /// MAP_NORESERVE.
    pub const NO_RESERVE: u32 = 2;
    /// MADV_DONTFORK.
    pub const DONT_FORK: u32 = 4;
    /// MADV_WIPEONFORK.
    pub const WIPE_ON_FORK: u32 = 8;
    /// MADV_HUGEPAGE.
    pub const HUGE: u32 = 16;
    /// MADV_NOHUGEPAGE.
    pub const NO_HUGE: u32 = 32;
    /// MADV_DONTDUMP.
    pub const DONT_DUMP: u32 = 64;
    /// mlock(2).
    pub const LOCKED: u32 = 128;
}

/// What is under the clean pages of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// Zeroes.
    Anonymous,
    /// A file's content, mapped privately.
    File(FileRef),
}

/// A file as content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its content.
    pub content: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// Offset of the mapping in bytes.
    pub offset: u64,
    /// Its path at home, for maps and messages.
    pub path: Vec<u8>,
}

/// Addresses that PR_SET_MM_MAP sets, in the order of `struct prctl_mm_map`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Layout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadImage {
    /// Its id at home.
    pub tid: Tid,
    /// General-purpose registers, ready to run: never in the middle of a call.
    pub regs: Regs,
    /// Uncompacted XSAVE area.
    #[serde(with = "serde_bytes")]
    pub xstate: Vec<u8>,
    /// Blocked signals.
    pub sigmask: u64,
    /// `stack_t`: pointer, flags, size.
    pub altstack: [u64; 3],
    /// Restartable sequence area.
    pub rseq: Option<Rseq>,
    /// Robust futex list: head and length.
    pub robust_list: (u64, u64),
    /// Address that the kernel clears and wakes when the thread ends.
    pub clear_tid: u64,
    /// Thread-directed pending signals as raw siginfo.
    pub pending: Vec<Vec<u8>>,
    /// CPU time that the thread has used so far.
    pub cpu: CpuUsed,
    /// The registers are those before a call that has begun already.
    pub unfinished: Option<Unfinished>,
    /// Number of the last signal from home that is in this image or was delivered before it was taken.
    pub seen: u64,
}

/// A call that a move interrupted and that is made again, and what it has used up by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its number.
    pub nr: u32,
    /// How it ends if a handler runs before it is made again: SYS, NOINTR or NOHAND of [`crate::errno::restart`].
    pub code: i64,
    /// What it has used up.
    pub used: Used,
}

/// See [`Unfinished`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Used {
    /// Nothing that counts.
    Nothing,
    /// Time: it ends at this time of the process's CLOCK_MONOTONIC, in nanoseconds.
    Until(u64),
    /// Data: this many bytes are written.
    Bytes(u64),
}

/// A process's mappings while it still runs elsewhere: what a body is prepared with before there is an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Its pid at home.
    pub pid: Tid,
    /// Mappings in address order.
    pub vmas: Vec<Vma>,
    /// [vvar]… and [vdso] as one range.
    pub vdso: Option<(u64, u64)>,
}

/// The ranges in which two lists of mappings, each in address order, map the same in the same way: there pages of one are
/// good for the other.
pub fn alike(old: &[Vma], new: &[Vma]) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    while let (Some(a), Some(b)) = (olds.peek(), news.peek()) {
        let (start, end) = (a.start.max(b.start), a.end.min(b.end));
        if start < end && a.is_like(b) {
            ranges.push((start, end));
        }
        if a.end <= b.end {
            olds.next();
        } else {
            news.next();
        }
    }
    ranges
}

/// The parts of mappings that lie outside of `ranges`, which are in address order.
pub fn outside(vmas: &[Vma], ranges: &[(u64, u64)]) -> Vec<Vma> {
    let mut parts = Vec::new();
    for vma in vmas {
        let mut at = vma.start;
        let within = ranges.iter().filter(|(start, end)| *start < vma.end && vma.start < *end);
        for (start, end) in within.copied().chain([(vma.end, vma.end)]) {
            if at < start {
                parts.push(vma.part(at, start));
            }
            at = at.max(end);
        }
    }
    parts
}

impl Vma {
    /// Whether, where both are, they are the same.
    fn is_like(&self, other: &Vma) -> bool {
        if self.prot != other.prot || self.flags != other.flags {
            return false;
        }
        // What grows by itself is one thing.
        if self.flags & vma::GROWS_DOWN != 0 && (self.start, self.end) != (other.start, other.end) {
            return false;
        }
        match (&self.backing, &other.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(a), Backing::File(b)) => {
                let origin = |vma: &Vma, file: &FileRef| vma.start.wrapping_sub(file.offset);
                a.content == b.content && a.path == b.path && origin(self, a) == origin(other, b)
            }
            _ => false,
        }
    }

    /// A part of it.
    fn part(&self, start: u64, end: u64) -> Vma {
        let mut part = Vma { start, end, ..self.clone() };
        if let Backing::File(file) = &mut part.backing {
            file.offset += start - self.start;
        }
        part
    }
}

impl Image {
    /// Whether `address` is within a mapping.
    pub fn maps(&self, address: u64) -> bool {
        self.vmas.iter().any(|vma| (vma.start..vma.end).contains(&address))
    }
}

/// Where holes are looked for first: no allocator, sanitizer or loader is known to use this part of the address
/// space by default.
const GUARD: u64 = 4096;
const HOLES_FROM: u64 = 0x3f00_0000_0000;
const HOLES_TO: u64 = 0x7000_0000_0000;

/// A free range of `bytes` outside of mappings and of `avoid`, far from where the kernel, the heap and usual allocators
/// place things.
pub fn hole_beside(vmas: &[Vma], bytes: u64, avoid: &[(u64, u64)]) -> Option<u64> {
    let taken = vmas.iter().map(|vma| (vma.start, vma.end)).chain(avoid.iter().copied());
    hole(&taken.collect::<Vec<_>>(), bytes)
}

/// The lowest free range of `bytes` that starts at or above a fixed part of the address space and touches none of
/// `taken`: a page stays free on either side, so that the kernel merges it with nothing.
pub fn hole(taken: &[(u64, u64)], bytes: u64) -> Option<u64> {
    let bytes = bytes + 2 * GUARD;
    let mut taken: Vec<_> = taken.to_vec();
    taken.sort_unstable();
    for (from, to) in [(HOLES_FROM, HOLES_TO), (1 << 20, HOLES_FROM)] {
        let mut at = from;
        for (start, end) in &taken {
            if *end <= at {
                continue;
            }
            if at + bytes <= *start {
                break;
            }
            at = *end;
        }
        if at + bytes <= to {
            return Some(at + GUARD);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous(start: u64, end: u64, prot: i32) -> Vma {
        Vma { start, end, prot, flags: 0, backing: Backing::Anonymous }
    }

    #[test]
    fn what_maps_alike_keeps_its_pages() {
        let old = [anonymous(0x1000, 0x5000, 3), anonymous(0x8000, 0x9000, 1), anonymous(0xa000, 0xb000, 3)];
        // Grown; split by a change of protection; with another after it.
        let new = [anonymous(0x1000, 0x2000, 3), anonymous(0x2000, 0x3000, 1), anonymous(0x3000, 0x6000, 3)];
        let kept = alike(&old, &new);
        assert_eq!(kept, [(0x1000, 0x2000), (0x3000, 0x5000)]);
        let rest = |vmas: &[Vma]| outside(vmas, &kept).iter().map(|v| (v.start, v.end)).collect::<Vec<_>>();
        assert_eq!(rest(&new), [(0x2000, 0x3000), (0x5000, 0x6000)]);
        assert_eq!(rest(&old), [(0x2000, 0x3000), (0x8000, 0x9000), (0xa000, 0xb000)]);
        assert_eq!(alike(&new, &new).iter().map(|(start, end)| end - start).sum::<u64>(), 0x5000);
    }

    #[test]
    fn a_file_is_alike_at_the_same_offset_only() {
        let at = |start, end, offset| {
            let file = FileRef { content: [1; 32], size: 1 << 20, offset, path: b"/f".to_vec() };
            Vma { start, end, prot: 1, flags: 0, backing: Backing::File(file) }
        };
        assert_eq!(alike(&[at(0x1000, 0x4000, 0)], &[at(0x2000, 0x5000, 0x1000)]), [(0x2000, 0x4000)]);
        assert_eq!(alike(&[at(0x1000, 0x4000, 0)], &[at(0x2000, 0x5000, 0)]), []);
        assert_eq!(alike(&[at(0x1000, 0x4000, 0)], &[anonymous(0x1000, 0x4000, 1)]), []);
        assert_eq!(outside(&[at(0x1000, 0x4000, 0)], &[(0x1000, 0x3000)]), [at(0x3000, 0x4000, 0x2000)]);
        let stack = |start| Vma { flags: vma::GROWS_DOWN, ..anonymous(start, 0x9000, 3) };
        assert_eq!(alike(&[stack(0x5000)], &[stack(0x4000)]), []);
        assert_eq!(alike(&[stack(0x5000)], &[stack(0x5000)]), [(0x5000, 0x9000)]);
    }

    #[test]
    fn holes_avoid_what_is_taken() {
        assert_eq!(hole(&[], 4096), Some(HOLES_FROM + GUARD));
        let taken = [(HOLES_FROM - 4096, HOLES_FROM + 4096), (HOLES_FROM + 0x4000, HOLES_FROM + 0x6000)];
        assert_eq!(hole(&taken, 4096), Some(HOLES_FROM + 4096 + GUARD));
        assert_eq!(hole(&taken, 8192), Some(HOLES_FROM + 0x6000 + GUARD));
        assert!(hole(&[(HOLES_FROM, u64::MAX / 2)], 4096).unwrap() < HOLES_FROM);
    }
}
