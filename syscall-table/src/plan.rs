//! Marshalling: which bytes of a program go home with a call, and which come back.
//!
//! [`plan()`] reads the program's memory as the table says and makes a [`Plan`]: arguments, buffers, and patches that
//! tell home where to write the addresses that the buffers get there. After the call [`outputs()`] says which bytes of
//! which buffer the kernel has written. Neither does any I/O, so both ends and the tests share one rule.
//!
//! What the kernel would refuse is not refused here: home's kernel must do it, in its own order of checks. A pointer
//! that cannot be read is therefore passed as [`BAD_ADDRESS`], and an absurd count as it is, with a bad pointer.

use crate::kinds::*;
use crate::lookup::{Resolved, by_number, resolve};
use crate::types::*;

mod deadline;
mod message;
mod outputs;
mod parts;
mod strings;
#[cfg(test)]
mod tests;

pub use deadline::{at_deadline, set_timeout, timeout, timeout_of};
pub use outputs::{Range, outputs};
pub use parts::{At, Buf, Out, Patch, Plan, PlanError};

/// Most bytes that all buffers of one call have room for. Alignment between them comes on top.
pub const MAX_ROOM_BYTES: u32 = 8 << 20;
/// What counts that may be cut are cut to: leaves room for the headers, addresses and vectors of the same call.
pub const MAX_DATA_BYTES: u32 = MAX_ROOM_BYTES - (128 << 10);
/// Most buffers of one call; the long argument lists of execve(2) need many.
pub const MAX_BUFS: usize = 0xfff0;
/// An address that no user process has: the kernel answers EFAULT wherever it would look at it.
pub const BAD_ADDRESS: u64 = 1 << 63;

/// A program's memory.
pub trait GuestRead {
    /// Reads from `addr` on until `buf` is full or a page cannot be read; returns how many bytes were read.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize;

    /// The stack pointer at the call, for what lies there and has no pointer to it (rt_sigreturn(2)).
    fn stack_pointer(&mut self) -> Option<u64> {
        None
    }
}

/// Reads what the call needs out of the program's memory.
///
/// Places are not looked at but for `Home`: the executor may forward a `Special` call, too, and a `Local` one.
pub fn plan(nr: u32, args: [u64; 6], mem: &mut dyn GuestRead) -> Result<Plan, PlanError> {
    let call = by_number(nr).ok_or(PlanError::GoHome("unknown system call"))?;
    let resolved = resolve(call, &args);
    if resolved.place == Where::Home {
        return Err(PlanError::GoHome(resolved.note));
    }
    let mut planner = Planner {
        mem,
        resolved,
        plan: Plan { nr, args, bufs: Vec::new(), patches: Vec::new() },
        used: 0,
        done: [false; 6],
    };
    planner.run()?;
    planner.refuse_cut_waitall(&args)?;
    Ok(planner.plan)
}

struct Planner<'m> {
    mem: &'m mut dyn GuestRead,
    resolved: Resolved,
    plan: Plan,
    /// Sum of the rooms so far.
    used: u64,
    /// Pointers that another argument has taken care of.
    done: [bool; 6],
}

/// A length that an argument gives.
enum Count {
    Bytes(u64),
    /// Negative, or beyond what the kernel takes for a size: it refuses before it looks at the buffer.
    Absurd,
}

impl Planner<'_> {
    fn run(&mut self) -> Result<(), PlanError> {
        let resolved = self.resolved;
        for (n, arg) in resolved.args() {
            let addr = self.plan.args[n];
            if addr == 0 || !arg.kind.is_pointer() || self.done[n] {
                continue;
            }
            self.pointer(n as u8, addr, arg.kind)?;
        }
        Ok(())
    }

    fn pointer(&mut self, n: u8, addr: u64, kind: Kind) -> Result<(), PlanError> {
        let at = At::Arg(n);
        match kind {
            Kind::Path | Kind::Str => self.string(at, addr, strings::MAX_STRING_BYTES),
            Kind::StrArray => self.string_array(at, addr),
            Kind::In(len, _) => self.input(n, addr, len),
            Kind::Out(len, _) => self.output(n, addr, len, false),
            Kind::InOut(len, _) => self.output(n, addr, len, true),
            Kind::OutPositive(shape) => self.attach(at, addr, Vec::new(), shape.size(), Out::Positive),
            Kind::Remains(shape) => self.whole(at, addr, shape.size(), Out::Always),
            Kind::Prefix(max) => {
                let data = self.fetch(addr, max);
                if data.is_empty() {
                    self.bad(at);
                    return Ok(());
                }
                self.attach(at, addr, data, max, Out::Never)
            }
            Kind::Iovec { count_arg, dir } => {
                let count = self.plan.args[count_arg as usize];
                self.vector(at, addr, count, dir, true, message::Scatter::Ret)
            }
            Kind::Msghdr(dir) => self.message(at, addr, dir),
            Kind::Mmsghdr { count_arg, dir } => self.messages(at, addr, count_arg, dir),
            Kind::SockaddrIn { len_arg } => {
                let len = self.plan.args[len_arg as usize] as u32;
                let len = if len > i32::MAX as u32 { 0 } else { len.min(message::MAX_SOCKADDR_BYTES) };
                self.whole(at, addr, len, Out::Never)
            }
            Kind::SockaddrOut { len_ptr_arg } => {
                let Some((buf, len)) = self.length_pointer(len_ptr_arg)? else {
                    self.bad(at);
                    return Ok(());
                };
                let room = if len > i32::MAX as u32 { 0 } else { len.min(message::MAX_SOCKADDR_BYTES) };
                let out = Out::LenFrom { buf, offset: 0, before: 0, min_ret: 0 };
                self.attach(at, addr, Vec::new(), room, out)
            }
            Kind::SockLen => self.whole(at, addr, 4, Out::Full),
            Kind::FdSet { nfds_arg } => {
                /// fs.nr_open's default: no process has more descriptors.
                const MAX_FDS: i32 = 1 << 20;
                let nfds = self.plan.args[nfds_arg as usize] as i32;
                if nfds < 0 {
                    self.bad(at);
                    return Ok(());
                }
                if nfds > MAX_FDS {
                    return Err(PlanError::TooBig);
                }
                self.whole(at, addr, (nfds as u32).div_ceil(64) * 8, Out::Full)
            }
            Kind::PollFds { count_arg } => {
                let count = self.plan.args[count_arg as usize] as u32;
                let room = count.checked_mul(8).ok_or(PlanError::TooBig)?;
                let out = Out::Fields { stride: 8, ranges: vec![(6, 2)], by_ret: false };
                self.whole(at, addr, room, out)
            }
            Kind::MsgBuf { size_arg, dir } => self.ipc_message(n, addr, size_arg, dir),
            Kind::FileHandle(dir) => self.file_handle(at, addr, dir),
            Kind::WaitInfo => self.attach(at, addr, Vec::new(), 128, Out::Ranges(vec![(0, 12), (16, 12)])),
            Kind::MaskPair => self.mask_pair(at, addr),
            _ => Ok(()),
        }
    }

    /// Bytes that the kernel reads.
    fn input(&mut self, n: u8, addr: u64, len: Len) -> Result<(), PlanError> {
        let at = At::Arg(n);
        let count = match len {
            Len::Own(default) => {
                let word = self.fetch(addr, 4);
                let Ok(word) = <[u8; 4]>::try_from(word) else {
                    self.bad(at);
                    return Ok(());
                };
                /// copy_struct_from_user() refuses more than a page.
                const MAX_STRUCT_BYTES: u32 = 4096;
                let own = u32::from_le_bytes(word);
                let size = if own == 0 { default } else { own.clamp(4, MAX_STRUCT_BYTES) };
                return self.whole(at, addr, size, Out::Never);
            }
            Len::ArgCut(arg) | Len::ArgShort(arg) => {
                let Count::Bytes(want) = self.count(arg) else {
                    self.bad(at);
                    return Ok(());
                };
                let size = want.min(self.data_left()) as u32;
                let data = self.fetch(addr, size);
                let short = (data.len() as u32) < size;
                if short && (data.is_empty() || matches!(len, Len::ArgCut(_))) {
                    self.bad(at);
                    return Ok(());
                }
                if (data.len() as u64) < want {
                    self.plan.args[arg as usize] = data.len() as u64;
                }
                let room = data.len() as u32;
                return self.attach(at, addr, data, room, Out::Never);
            }
            Len::Const(size) => Count::Bytes(size.into()),
            Len::ArgTimes(arg, size) => self.times(arg, size),
            Len::Arg(arg) | Len::Ret(arg) | Len::RoomOwn(arg) | Len::PtrU32(arg) => self.count(arg),
            Len::RetTimes(arg, size) => self.times(arg, size),
        };
        match count {
            Count::Bytes(size) => {
                let size = self.fits(size)?;
                self.whole(at, addr, size, Out::Never)
            }
            Count::Absurd => {
                self.bad(at);
                Ok(())
            }
        }
    }

    /// Bytes that the kernel writes, and with `also_in` reads before.
    fn output(&mut self, n: u8, addr: u64, len: Len, also_in: bool) -> Result<(), PlanError> {
        let at = At::Arg(n);
        let (count, out) = match len {
            Len::Const(size) => (Count::Bytes(size.into()), Out::Full),
            Len::Arg(arg) | Len::ArgCut(arg) | Len::ArgShort(arg) => (self.count(arg), Out::Full),
            Len::ArgTimes(arg, size) => (self.times(arg, size), Out::Full),
            Len::Own(default) => (Count::Bytes(default.into()), Out::Full),
            Len::Ret(arg) => {
                let count = self.cut(arg, 1);
                (count, Out::Ret { before: 0 })
            }
            Len::RetTimes(arg, size) => {
                let count = self.cut(arg, size);
                (count, Out::RetTimes { size })
            }
            Len::PtrU32(arg) => match self.length_pointer(arg)? {
                Some((buf, room)) if room <= i32::MAX as u32 => {
                    (Count::Bytes(room.into()), Out::LenFrom { buf, offset: 0, before: 0, min_ret: 0 })
                }
                _ => (Count::Absurd, Out::Never),
            },
            Len::RoomOwn(arg) => {
                let buf = self.plan.bufs.len() as u16;
                let count = self.count(arg);
                // Too small for its own size: the kernel writes nothing and says EOVERFLOW.
                let out = match count {
                    Count::Bytes(4..) => Out::LenFrom { buf, offset: 0, before: 0, min_ret: 0 },
                    _ => Out::Never,
                };
                (count, out)
            }
        };
        match count {
            Count::Bytes(size) => {
                let size = self.fits(size)?;
                if also_in {
                    self.whole(at, addr, size, out)
                } else {
                    self.attach(at, addr, Vec::new(), size, out)
                }
            }
            Count::Absurd => {
                self.bad(at);
                Ok(())
            }
        }
    }

    /// The length that argument `arg` gives, read with the width that the kernel reads it with.
    fn count(&self, arg: u8) -> Count {
        let value = self.plan.args[arg as usize];
        match self.resolved.arg(arg).map(|a| a.kind) {
            Some(Kind::Int | Kind::Uint) if value as u32 > i32::MAX as u32 => Count::Absurd,
            Some(Kind::Int | Kind::Uint) => Count::Bytes((value as u32).into()),
            _ if value > i64::MAX as u64 => Count::Absurd,
            _ => Count::Bytes(value),
        }
    }

    fn times(&self, arg: u8, size: u32) -> Count {
        match self.count(arg) {
            Count::Bytes(n) => n.checked_mul(size.into()).map_or(Count::Absurd, Count::Bytes),
            Count::Absurd => Count::Absurd,
        }
    }

    /// Room for as many elements as argument `arg` says, and fits: the argument is cut.
    fn cut(&mut self, arg: u8, size: u32) -> Count {
        let Count::Bytes(want) = self.count(arg) else { return Count::Absurd };
        let most = self.data_left() / u64::from(size.max(1));
        if want > most {
            self.plan.args[arg as usize] = most;
        }
        Count::Bytes(want.min(most) * u64::from(size))
    }

    /// The buffer of a value-result length, and its value; None if it cannot be read.
    fn length_pointer(&mut self, arg: u8) -> Result<Option<(u16, u32)>, PlanError> {
        self.done[arg as usize] = true;
        let addr = self.plan.args[arg as usize];
        let Ok(word) = <[u8; 4]>::try_from(self.fetch(addr, 4)) else {
            self.bad(At::Arg(arg));
            return Ok(None);
        };
        let index = self.plan.bufs.len() as u16;
        self.attach(At::Arg(arg), addr, word.to_vec(), 4, Out::Full)?;
        Ok(Some((index, u32::from_le_bytes(word))))
    }

    /// msgsnd(2) and msgrcv(2): eight bytes of type before the text.
    fn ipc_message(&mut self, n: u8, addr: u64, size_arg: u8, dir: Dir) -> Result<(), PlanError> {
        let at = At::Arg(n);
        let Count::Bytes(size) = self.count(size_arg) else {
            return self.whole(at, addr, 8, Out::Never);
        };
        match dir {
            Dir::In => {
                let size = self.fits(size.saturating_add(8))?;
                self.whole(at, addr, size, Out::Never)
            }
            Dir::Out => {
                let most = self.data_left().saturating_sub(8);
                if size > most {
                    self.plan.args[size_arg as usize] = most;
                }
                self.attach(at, addr, Vec::new(), size.min(most) as u32 + 8, Out::RetPlus { extra: 8 })
            }
        }
    }

    /// open_by_handle_at(2): the first word is the size of the tail.
    fn file_handle(&mut self, at: At, addr: u64, dir: Dir) -> Result<(), PlanError> {
        /// MAX_HANDLE_SZ; the kernel answers EINVAL to more.
        const MAX_HANDLE_BYTES: u32 = 128;
        let Ok(word) = <[u8; 4]>::try_from(self.fetch(addr, 4)) else {
            self.bad(at);
            return Ok(());
        };
        let tail = u32::from_le_bytes(word);
        let room = if tail > MAX_HANDLE_BYTES { 8 } else { 8 + tail };
        self.whole(at, addr, room, if dir == Dir::Out { Out::Always } else { Out::Never })
    }

    /// The last argument of pselect6.
    fn mask_pair(&mut self, at: At, addr: u64) -> Result<(), PlanError> {
        let mut pair = self.fetch(addr, 16);
        if pair.len() < 16 {
            self.bad(at);
            return Ok(());
        }
        let mask = word64(&pair, 0);
        put64(&mut pair, 0, 0);
        let buf = self.plan.bufs.len() as u16;
        self.attach(at, addr, pair, 16, Out::Never)?;
        if mask == 0 {
            return Ok(());
        }
        self.whole(At::Buf { buf, offset: 0 }, mask, 8, Out::Never)
    }

    /// A recv(2) with MSG_WAITALL promises all of its count, so it must not be cut.
    fn refuse_cut_waitall(&self, args: &[u64; 6]) -> Result<(), PlanError> {
        const MSG_WAITALL: u64 = 0x100;
        let cut = self.resolved.call.name == "recvfrom"
            && args[3] & MSG_WAITALL != 0
            && self.plan.args[2] != args[2];
        if cut { Err(PlanError::TooBig) } else { Ok(()) }
    }

    /// A buffer all of which must be readable.
    fn whole(&mut self, at: At, addr: u64, size: u32, out: Out) -> Result<(), PlanError> {
        self.fits(size.into())?;
        let data = self.fetch(addr, size);
        if data.len() < size as usize {
            self.bad(at);
            return Ok(());
        }
        self.attach(at, addr, data, size, out)
    }

    /// Adds a buffer and the patch that leads to it.
    fn attach(&mut self, at: At, addr: u64, data: Vec<u8>, room: u32, out: Out) -> Result<(), PlanError> {
        self.fits(room.into())?;
        if self.plan.bufs.len() >= MAX_BUFS {
            return Err(PlanError::TooBig);
        }
        let target = self.plan.bufs.len() as u16;
        self.used += u64::from(room);
        self.plan.bufs.push(Buf { addr, data, room, out });
        self.set(at, 0);
        self.plan.patches.push(Patch { at, target });
        Ok(())
    }

    fn set(&mut self, at: At, value: u64) {
        match at {
            At::Arg(n) => self.plan.args[n as usize] = value,
            At::Buf { buf, offset } => {
                put64(&mut self.plan.bufs[buf as usize].data, offset as usize, value);
            }
        }
    }

    /// Lets home's kernel find out that the pointer is bad.
    fn bad(&mut self, at: At) {
        self.set(at, BAD_ADDRESS);
    }

    /// As many of these bytes as can be read.
    fn fetch(&mut self, addr: u64, size: u32) -> Vec<u8> {
        let mut data = vec![0; size as usize];
        let n = if size == 0 { 0 } else { self.mem.read(addr, &mut data) };
        data.truncate(n);
        data
    }

    fn fits(&self, size: u64) -> Result<u32, PlanError> {
        if size > u64::from(MAX_ROOM_BYTES) - self.used { Err(PlanError::TooBig) } else { Ok(size as u32) }
    }

    fn data_left(&self) -> u64 {
        u64::from(MAX_DATA_BYTES).saturating_sub(self.used)
    }
}

/// The `u64` at `offset`; the caller has checked the length.
fn word64(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

fn word32(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}
