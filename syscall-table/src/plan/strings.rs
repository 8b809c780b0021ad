//! Paths, names, argument lists.

use super::{At, Out, PlanError, Planner, put64, word64};

/// PATH_MAX and one more, so that the kernel sees a path that is too long as such and says ENAMETOOLONG.
pub(super) const MAX_STRING_BYTES: u32 = 4097;
/// MAX_ARG_STRLEN and one more, so that the kernel says E2BIG (execve(2)).
const MAX_ARG_BYTES: u32 = (128 << 10) + 1;
/// Most strings of a path's usual length; they are read with one call.
const FIRST_BYTES: u32 = 256;

impl Planner<'_> {
    /// A NUL-terminated string.
    pub(super) fn string(&mut self, at: At, addr: u64, max: u32) -> Result<(), PlanError> {
        match self.fetch_string(addr, max) {
            Some(data) => {
                let room = data.len() as u32;
                self.attach(at, addr, data, room, Out::Never)
            }
            None => {
                self.bad(at);
                Ok(())
            }
        }
    }

    /// The string with its NUL, or `max` bytes without one; None if a bad page comes first.
    fn fetch_string(&mut self, addr: u64, max: u32) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        let mut want = FIRST_BYTES.min(max);
        loop {
            let start = data.len();
            let chunk = self.fetch(addr.checked_add(start as u64)?, want);
            let short = chunk.len() < want as usize;
            data.extend_from_slice(&chunk);
            if let Some(nul) = data[start..].iter().position(|&byte| byte == 0) {
                data.truncate(start + nul + 1);
                return Some(data);
            }
            if short {
                return None;
            }
            if data.len() as u32 >= max {
                return Some(data);
            }
            want = (max - data.len() as u32).min(4096);
        }
    }

    /// A NULL-terminated array of strings.
    pub(super) fn string_array(&mut self, at: At, addr: u64) -> Result<(), PlanError> {
        let mut pointers = Vec::new();
        loop {
            let Some(next) = addr.checked_add(pointers.len() as u64) else {
                self.bad(at);
                return Ok(());
            };
            let chunk = self.fetch(next, 512);
            let whole = chunk.len() & !7;
            let end = (0..whole).step_by(8).find(|&i| word64(&chunk, i) == 0);
            pointers.extend_from_slice(&chunk[..end.map_or(whole, |i| i + 8)]);
            if end.is_some() {
                break;
            }
            if whole < 512 {
                self.bad(at);
                return Ok(());
            }
            if pointers.len() > super::MAX_BUFS * 8 {
                return Err(PlanError::TooBig);
            }
        }
        let buf = self.plan.bufs.len() as u16;
        let strings: Vec<u64> = (0..pointers.len() / 8).map(|i| word64(&pointers, i * 8)).collect();
        for i in 0..strings.len() {
            put64(&mut pointers, i * 8, 0);
        }
        let room = pointers.len() as u32;
        self.attach(at, addr, pointers, room, Out::Never)?;
        for (i, &string) in strings.iter().enumerate().filter(|(_, s)| **s != 0) {
            self.string(At::Buf { buf, offset: i as u32 * 8 }, string, MAX_ARG_BYTES)?;
        }
        Ok(())
    }
}
