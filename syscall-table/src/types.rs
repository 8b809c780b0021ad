//! The vocabulary of the table: what a call and a decision are made of. Arguments are in `kinds`.

use crate::flags::FlagSet;
use crate::kinds::Arg;

/// One system call: one row of the table.
#[derive(Debug)]
pub struct Call {
    /// The x86-64 number (`rax`).
    pub nr: u32,
    /// The name as in `asm/unistd_64.h`, without `__NR_`.
    pub name: &'static str,
    /// At most six arguments, in register order (rdi, rsi, rdx, r10, r8, r9).
    pub args: &'static [Arg],
    /// Where the call runs when the computation is away from home.
    pub place: Place,
    /// What a successful return value means.
    pub ret: Ret,
    /// Whether the call may sleep for an unbounded time, and which argument bounds it.
    pub wait: Wait,
    /// Why it runs there, for people.
    pub note: &'static str,
}

/// Where a call runs, as the seccomp filter of a body sees it: by number and argument bits alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The body's own kernel, untraced, allowed by number only.
    Local,
    /// As `Local` if *any* group has *all* its tests hold; else it traps.
    LocalIf {
        /// Groups of tests (a disjunction of conjunctions).
        tests: &'static [&'static [Test]],
        /// What the executor does with a call that trapped.
        otherwise: Otherwise,
    },
    /// The deputy executes it; [`mod@crate::plan`] marshals it.
    Forward,
    /// As `Forward` if any group has all its tests hold; always traps.
    ForwardIf {
        /// Groups of tests (a disjunction of conjunctions).
        tests: &'static [&'static [Test]],
        /// What the executor does with the rest.
        otherwise: Otherwise,
    },
    /// The executor has code of its own for it.
    Special,
    /// The process is brought home and the call runs there.
    Home,
}

/// What becomes of a call whose tests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The deputy executes it.
    Forward,
    /// The executor has code of its own for it.
    Special,
    /// The process is brought home first.
    Home,
}

/// `(args[arg] & mask) == value`: what a seccomp filter can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Argument, from 0.
    pub arg: u8,
    /// Bits that are looked at. Arguments that the kernel takes as `int` are tested in their low 32 bits.
    pub mask: u64,
    /// What these bits must be.
    pub value: u64,
}

impl Test {
    /// Whether the test holds for these arguments.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        args[self.arg as usize] & self.mask == self.value
    }
}

/// Whether any group of tests has all its tests hold.
pub fn any_group_holds(groups: &[&[Test]], args: &[u64; 6]) -> bool {
    groups.iter().any(|group| group.iter().all(|test| test.holds(args)))
}

/// The decision for one call with its arguments at hand: [`Place`] with every test evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Where {
    /// The body's own kernel.
    Local,
    /// The deputy.
    Forward,
    /// Code of its own in the executor.
    Special,
    /// Bring the process home.
    Home,
}

impl From<Otherwise> for Where {
    fn from(o: Otherwise) -> Where {
        match o {
            Otherwise::Forward => Where::Forward,
            Otherwise::Special => Where::Special,
            Otherwise::Home => Where::Home,
        }
    }
}

/// What a successful return value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// Always 0.
    Zero,
    /// A number of bytes, elements or whatever.
    Count,
    /// A plain signed number.
    Value,
    /// A new file descriptor.
    NewFd,
    /// A process, thread or process group.
    NewPid,
    /// A user address.
    Address,
    /// A file mode mask, in octal.
    Octal,
    /// Bits, in hexadecimal.
    Bits,
    /// One value out of a set with names.
    Named(&'static FlagSet),
    /// Bits with names, and what stands before them.
    NamedBits(&'static str, &'static FlagSet),
    /// The call does not return.
    Never,
}

/// Whether a call may sleep interruptibly for an unbounded time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It answers promptly (disk I/O counts as prompt: it cannot be interrupted anyway).
    No,
    /// It may block.
    Plain,
    /// It may block until a deadline that an argument gives.
    Timed(Deadline),
}

/// Which argument holds a timeout, so that a call that is forwarded again can be given what remains.
/// A NULL pointer or a negative number of milliseconds means "for ever".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Points to a relative `struct timespec`.
    RelTimespec(u8),
    /// Points to a relative `struct timeval`.
    RelTimeval(u8),
    /// An `int` of milliseconds.
    RelMillis(u8),
    /// Points to an absolute `struct timespec`.
    AbsTimespec {
        /// The pointer.
        arg: u8,
        /// The argument that names the clock; without one it is CLOCK_REALTIME.
        clock_arg: Option<u8>,
        /// (argument, bit): absolute only if the bit is set there, relative otherwise.
        flag_arg: Option<(u8, u64)>,
    },
}

/// The pointer to a temporary signal mask, for calls that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TempMask {
    /// `args[ptr_arg]` points to the mask, `args[size_arg]` is its size in bytes.
    Direct {
        /// Argument with the pointer.
        ptr_arg: u8,
        /// Argument with the size.
        size_arg: u8,
    },
    /// `args[arg]` points to `{ const sigset_t *mask; size_t size; }`.
    Pair {
        /// Argument with the pointer.
        arg: u8,
    },
}

/// How a sub-table is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `args[arg] & mask`
    Arg {
        /// The argument that selects.
        arg: u8,
        /// Its bits that count.
        mask: u64,
    },
    /// `args[high] << 32 | args[low]`, both as `u32` (level and option of setsockopt(2)).
    Pair {
        /// The argument in the upper half.
        high: u8,
        /// The argument in the lower half.
        low: u8,
    },
}

/// The operations of a multiplexed call: ioctl, fcntl, prctl, futex and their like.
#[derive(Debug, PartialEq, Eq)]
pub struct SubTable {
    /// The stay reason for an operation that is not in it: "unknown ioctl request".
    pub unknown: &'static str,
    /// What selects one.
    pub key: Key,
    /// The operations that are known.
    pub ops: &'static [Op],
    /// What all others do; without it the process goes home.
    pub other: Option<&'static Op>,
}

/// One operation of a multiplexed call.
#[derive(Debug, PartialEq, Eq)]
pub struct Op {
    /// The selecting value, see [`Key`].
    pub value: u64,
    /// Its name in the headers.
    pub name: &'static str,
    /// The arguments from the call's first `Sub` argument on.
    pub args: &'static [Arg],
    /// Where it runs once it has trapped. (What the filter lets through never gets here.)
    pub place: Where,
    /// What a successful return value means.
    pub ret: Ret,
    /// Whether it may block.
    pub wait: Wait,
    /// Why it runs there.
    pub note: &'static str,
}

impl SubTable {
    /// The value that selects the operation.
    pub fn key_of(&self, args: &[u64; 6]) -> u64 {
        match self.key {
            Key::Arg { arg, mask } => args[arg as usize] & mask,
            Key::Pair { high, low } => {
                (args[high as usize] & 0xffff_ffff) << 32 | args[low as usize] & 0xffff_ffff
            }
        }
    }

    /// The operation that these arguments select, if it is known.
    pub fn op(&self, args: &[u64; 6]) -> Option<&'static Op> {
        let key = self.key_of(args);
        self.ops.iter().find(|op| op.value == key).or(self.other)
    }
}

/// Rows of a sub-table: `value NAME(arg: kind, …) -> Ret, Where, Wait, "why";`.
macro_rules! ops {
    ($($value:literal $name:ident ( $($arg:ident : $kind:expr),* $(,)? ) -> $ret:expr, $place:expr, $wait:expr, $note:literal;)*) => {
        &[$($crate::types::Op {
            value: $value,
            name: stringify!($name),
            args: &[$($crate::kinds::Arg { name: stringify!($arg), kind: $kind }),*],
            place: $place,
            ret: $ret,
            wait: $wait,
            note: $note,
        }),*]
    };
}
pub(crate) use ops;

/// `args[arg] & mask == value`, in short.
pub(crate) const fn test(arg: u8, mask: u64, value: u64) -> Test {
    Test { arg, mask, value }
}
