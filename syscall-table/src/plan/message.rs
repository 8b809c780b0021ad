//! Vectors and socket messages: readv(2), sendmsg(2), recvmmsg(2).

use super::{At, BAD_ADDRESS, Out, PlanError, Planner, put64, word32, word64};
use crate::kinds::Dir;

/// sizeof(struct sockaddr_storage): the kernel neither takes nor gives more.
pub(super) const MAX_SOCKADDR_BYTES: u32 = 128;
/// UIO_MAXIOV: more parts are refused, more messages are ignored.
const MAX_PARTS: u64 = 1024;
/// Room for control data. net.core.optmem_max is 128 KiB by default.
const MAX_CONTROL_BYTES: u64 = 256 << 10;

/// sizeof(struct msghdr), and of struct mmsghdr, which adds a `u32` and padding.
const MSGHDR_BYTES: u32 = 56;
const MMSGHDR_BYTES: u32 = 64;
/// Fields of `struct msghdr`.
const NAME: usize = 0;
const NAMELEN: usize = 8;
const IOV: usize = 16;
const IOVLEN: usize = 24;
const CONTROL: usize = 32;
const CONTROLLEN: usize = 40;
const FLAGS: usize = 48;
/// The field of `struct mmsghdr` after its header.
const MSG_LEN: usize = 56;

/// How many bytes of a vector come back.
#[derive(Clone, Copy)]
pub(super) enum Scatter {
    /// As many as the return value says.
    Ret,
    /// As many as the `msg_len` of message `index` in this buffer says.
    Message { buf: u16, index: u32 },
}

impl Scatter {
    fn out(self, before: u32) -> Out {
        match self {
            Scatter::Ret => Out::Ret { before },
            Scatter::Message { buf, index } => Out::LenFrom {
                buf,
                offset: index * MMSGHDR_BYTES + MSG_LEN as u32,
                before,
                min_ret: index + 1,
            },
        }
    }
}

impl Planner<'_> {
    /// An array of `struct iovec` and what its elements point to. `file` says that a short transfer is legal also
    /// because of a bad page (write(2)), not only because of size: a datagram must not be sent in part.
    pub(super) fn vector(
        &mut self,
        at: At,
        addr: u64,
        count: u64,
        dir: Dir,
        file: bool,
        scatter: Scatter,
    ) -> Result<(), PlanError> {
        if addr == 0 {
            return Ok(());
        }
        if count > MAX_PARTS {
            self.bad(at);
            return Ok(());
        }
        let size = count as u32 * 16;
        let mut array = self.fetch(addr, size);
        if array.len() < size as usize {
            self.bad(at);
            return Ok(());
        }
        let parts: Vec<(u64, u64)> =
            (0..count as usize).map(|i| (word64(&array, i * 16), word64(&array, i * 16 + 8))).collect();
        // A negative length is refused before any part is looked at.
        let refused = parts.iter().any(|&(_, len)| len > i64::MAX as u64);
        for i in 0..parts.len() {
            put64(&mut array, i * 16, if refused { BAD_ADDRESS } else { 0 });
            if !refused {
                put64(&mut array, i * 16 + 8, 0);
            }
        }
        let buf = self.plan.bufs.len() as u16;
        self.attach(at, addr, array, size, Out::Never)?;
        if refused {
            return Ok(());
        }
        let mut before = 0;
        for (i, &(base, len)) in parts.iter().enumerate().filter(|(_, part)| part.1 > 0) {
            let at = At::Buf { buf, offset: i as u32 * 16 };
            let take = len.min(self.data_left()) as u32;
            if take == 0 {
                break;
            }
            let data = if dir == Dir::In { self.fetch(base, take) } else { Vec::new() };
            let short = dir == Dir::In && (data.len() as u32) < take;
            let room = if short { data.len() as u32 } else { take };
            if short && !(file && before + room > 0) {
                self.set_part_len(buf, i, len);
                self.bad(at);
                break;
            }
            self.set_part_len(buf, i, room.into());
            if room > 0 {
                let out = if dir == Dir::In { Out::Never } else { scatter.out(before) };
                self.attach(at, base, data, room, out)?;
            }
            before += room;
            if u64::from(room) < len {
                break;
            }
        }
        Ok(())
    }

    fn set_part_len(&mut self, buf: u16, part: usize, len: u64) {
        put64(&mut self.plan.bufs[buf as usize].data, part * 16 + 8, len);
    }

    /// One `struct msghdr`.
    pub(super) fn message(&mut self, at: At, addr: u64, dir: Dir) -> Result<(), PlanError> {
        let header = self.fetch(addr, MSGHDR_BYTES);
        if header.len() < MSGHDR_BYTES as usize {
            self.bad(at);
            return Ok(());
        }
        let out = match dir {
            Dir::In => Out::Never,
            Dir::Out => Out::Ranges(WRITTEN.to_vec()),
        };
        let buf = self.plan.bufs.len() as u16;
        self.attach(at, addr, header, MSGHDR_BYTES, out)?;
        self.message_parts(buf, 0, dir, Scatter::Ret, 0)
    }

    /// What the header at `base` in buffer `buf` points to.
    fn message_parts(
        &mut self,
        buf: u16,
        base: u32,
        dir: Dir,
        scatter: Scatter,
        min_ret: u32,
    ) -> Result<(), PlanError> {
        let field = |field: usize| At::Buf { buf, offset: base + field as u32 };
        let data = &self.plan.bufs[buf as usize].data[base as usize..];
        let (name, name_len) = (word64(data, NAME), word32(data, NAMELEN));
        let (iov, iov_len) = (word64(data, IOV), word64(data, IOVLEN));
        let (control, control_len) = (word64(data, CONTROL), word64(data, CONTROLLEN));
        let len_from = |field: usize| Out::LenFrom { buf, offset: base + field as u32, before: 0, min_ret };

        if name != 0 {
            let len = if name_len > i32::MAX as u32 { 0 } else { name_len.min(MAX_SOCKADDR_BYTES) };
            match dir {
                Dir::In => self.whole(field(NAME), name, len, Out::Never)?,
                Dir::Out => self.attach(field(NAME), name, Vec::new(), len, len_from(NAMELEN))?,
            }
        }
        if iov != 0 {
            self.vector(field(IOV), iov, iov_len, dir, false, scatter)?;
        }
        if control != 0 {
            let len = control_len.min(MAX_CONTROL_BYTES);
            match dir {
                // More than the kernel has memory for: ENOBUFS comes before the copy.
                Dir::In if control_len > MAX_CONTROL_BYTES => self.bad(field(CONTROL)),
                Dir::In => self.whole(field(CONTROL), control, len as u32, Out::Never)?,
                // A negative length is answered with ENOBUFS.
                Dir::Out if control_len > i32::MAX as u64 => self.bad(field(CONTROL)),
                Dir::Out => {
                    let at = (base as usize) + CONTROLLEN;
                    put64(&mut self.plan.bufs[buf as usize].data, at, len);
                    self.attach(field(CONTROL), control, Vec::new(), len as u32, len_from(CONTROLLEN))?;
                }
            }
        }
        Ok(())
    }

    /// An array of `struct mmsghdr`. A message that does not fit, or that cannot be read, ends the array: fewer
    /// messages than asked for are a legal answer.
    pub(super) fn messages(&mut self, at: At, addr: u64, count_arg: u8, dir: Dir) -> Result<(), PlanError> {
        let count = (self.plan.args[count_arg as usize] as u32).min(MAX_PARTS as u32);
        let mut headers = self.fetch(addr, count * MMSGHDR_BYTES);
        let mut count = (headers.len() as u32 / MMSGHDR_BYTES).min(count);
        if count == 0 {
            self.bad(at);
            return Ok(());
        }
        headers.truncate((count * MMSGHDR_BYTES) as usize);
        for header in headers.chunks_exact_mut(MMSGHDR_BYTES as usize) {
            header[MSG_LEN..].fill(0);
        }
        let mut ranges = vec![(MSG_LEN as u32, 4)];
        if dir == Dir::Out {
            ranges.extend_from_slice(WRITTEN);
        }
        let buf = self.plan.bufs.len() as u16;
        let out = Out::Fields { stride: MMSGHDR_BYTES, ranges, by_ret: true };
        self.attach(at, addr, headers, count * MMSGHDR_BYTES, out)?;
        for index in 0..count {
            let mark = (self.plan.bufs.len(), self.plan.patches.len(), self.used);
            let scatter = Scatter::Message { buf, index };
            match self.message_parts(buf, index * MMSGHDR_BYTES, dir, scatter, index + 1) {
                Ok(()) if index == 0 || self.data_left() > 0 => {}
                Err(error) if index == 0 => return Err(error),
                _ => {
                    self.plan.bufs.truncate(mark.0);
                    self.plan.patches.truncate(mark.1);
                    self.used = mark.2;
                    count = index;
                    break;
                }
            }
        }
        let headers = &mut self.plan.bufs[buf as usize];
        self.used -= u64::from(headers.room - count * MMSGHDR_BYTES);
        headers.room = count * MMSGHDR_BYTES;
        headers.data.truncate(headers.room as usize);
        self.plan.args[count_arg as usize] = count.into();
        Ok(())
    }
}

/// What recvmsg(2) writes into a header: the lengths of address and control data, and the flags.
const WRITTEN: &[(u32, u32)] = &[(NAMELEN as u32, 4), (CONTROLLEN as u32, 8), (FLAGS as u32, 4)];
