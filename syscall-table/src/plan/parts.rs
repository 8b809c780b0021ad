//! What a plan is made of. `wire` mirrors these.

use super::MAX_ROOM_BYTES;

/// A call ready to be executed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its number.
    pub nr: u32,
    /// Its arguments; pointers are 0, [`super::BAD_ADDRESS`], or to be patched. A count may be smaller than the program's:
    /// a short read or write is legal, but whoever has got all of a cut count had better go on with the rest.
    pub args: [u64; 6],
    /// What its pointers point to.
    pub bufs: Vec<Buf>,
    /// Where the addresses of the buffers must be written.
    pub patches: Vec<Patch>,
}

/// A piece of the program's memory. Home should give it the alignment within a page that `addr` has:
/// O_DIRECT cares (open(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buf {
    /// Where it is in the program.
    pub addr: u64,
    /// Bytes that go in; zeros follow up to `room`.
    pub data: Vec<u8>,
    /// Size in bytes, at least `data.len()`; may be 0 (the pointer must still be valid).
    pub room: u32,
    /// What comes back.
    pub out: Out,
}

/// Which bytes of a buffer come back. "Success" is a return value outside -4095..=-1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Out {
    /// None.
    Never,
    /// All of it on success.
    Full,
    /// All of it if the return value is positive.
    Positive,
    /// All of it, whatever the return value. The bytes that went in were the program's own. That it cannot be written
    /// back is no error: select(2) leaves a timeout in read-only memory as it is.
    Always,
    /// `clamp(ret - before, 0, room)` bytes: a part of a vector after `before` bytes of other parts.
    Ret {
        /// Bytes in the parts before this one.
        before: u32,
    },
    /// On success `min(ret + extra, room)` bytes (the `mtype` of msgrcv(2)).
    RetPlus {
        /// Bytes that the return value does not count.
        extra: u32,
    },
    /// On success `min(ret * size, room)` bytes.
    RetTimes {
        /// Bytes of an element.
        size: u32,
    },
    /// If `ret >= min_ret`: `clamp(n - before, 0, room)` bytes, where `n` is the `u32` that another buffer (or this
    /// one) holds there after the call.
    LenFrom {
        /// That buffer.
        buf: u16,
        /// The place in it.
        offset: u32,
        /// Bytes in the parts before this one.
        before: u32,
        /// The smallest return value for which this holds.
        min_ret: u32,
    },
    /// These (offset, length) on success.
    Ranges(Vec<(u32, u32)>),
    /// On success these (offset, length) of each element of `stride` bytes.
    Fields {
        /// Bytes of an element.
        stride: u32,
        /// (offset, length) within an element.
        ranges: Vec<(u32, u32)>,
        /// Only of the first `ret` elements.
        by_ret: bool,
    },
}

/// Home writes the address of buffer `target` there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Patch {
    /// The place.
    pub at: At,
    /// Index of the buffer.
    pub target: u16,
}

/// A place for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum At {
    /// An argument.
    Arg(u8),
    /// Eight bytes within a buffer's data.
    Buf {
        /// Index of the buffer.
        buf: u16,
        /// Offset of the eight bytes.
        offset: u32,
    },
}

/// Why a call cannot be forwarded. All of them mean that the process goes home and makes the call there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanError {
    /// Its shape is not known, or it must not be executed elsewhere; says why.
    GoHome(&'static str),
    /// It needs more than [`MAX_ROOM_BYTES`] or [`super::MAX_BUFS`] and cannot be cut.
    TooBig,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PlanError::GoHome(why) => f.write_str(why),
            PlanError::TooBig => {
                write!(f, "more than {} MiB of arguments in one call", MAX_ROOM_BYTES >> 20)
            }
        }
    }
}

impl std::error::Error for PlanError {}
