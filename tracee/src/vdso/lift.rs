//! Taking a thread out of what only one body has.

use super::{Place, STUB_BYTES, Stub, Trampolines};
use crate::Errno;
use crate::errno::restart;
use crate::regs::Regs;

/// Why a thread cannot be taken out. It never happens to one that came in by a function of home's vDSO.
#[derive(Debug, thiserror::Error)]
pub enum LiftError {
    /// The unwind tables of this machine's vDSO.
    #[error("inside the node's vDSO: {0}")]
    Tables(#[from] gimli::Error),
    /// Its stack.
    #[error("reading its stack: {0}")]
    Memory(#[from] Errno),
    /// Not by our doors.
    #[error("inside the node's vDSO, and not by way of home's")]
    Unknown,
}

/// Calls within this machine's vDSO. The deepest has two.
const DEPTH_MAX: usize = 8;

impl Trampolines {
    /// The registers of a stopped thread as they are before its call of a vDSO function, or after it if the result is
    /// there already; `None` if it is in none. The functions only look at things, so that one is called again makes no
    /// difference but in time. `read` reads a word of its memory.
    pub fn lift(
        &self,
        place: Place,
        regs: &Regs,
        read: impl Fn(u64) -> Result<u64, Errno>,
    ) -> Result<Option<Regs>, LiftError> {
        let mut now = *regs;
        let home_code = place.home.1 - self.home.code.len() as u64;
        if (home_code..place.home.1).contains(&now.rip) {
            let at = now.rip - home_code;
            let door =
                self.doors.iter().find(|door| (door.at + 1..door.at + super::JUMP_BYTES).contains(&at));
            let Some(door) = door else { return Ok(None) };
            now.rip = home_code + door.at;
            return Ok(Some(now));
        }
        if !(place.own.0..place.own.1).contains(&now.rip) {
            return Ok(None);
        }
        // A return address may be just behind its function; where a thread is interrupted is not.
        let mut back = 0;
        for _ in 0..DEPTH_MAX {
            if now.rip >= place.stubs() {
                break;
            }
            let at = now.rip.checked_sub(place.own_code(self.code_bytes)).ok_or(LiftError::Unknown)?;
            self.frames.leave(at.saturating_sub(back), &mut now, &read)?;
            back = 1;
        }
        let at = now.rip.checked_sub(place.stubs()).ok_or(LiftError::Unknown)?;
        let door = self.doors.get(at as usize / STUB_BYTES).ok_or(LiftError::Unknown)?;
        let stub = self.stub(door, place);
        let entry = home_code + door.at;
        // After leaving a function of this machine's, the stub's next instruction has no result yet.
        out_of_stub(&stub, at % STUB_BYTES as u64, back == 1, entry, &mut now, read)?;
        Ok(Some(now))
    }
}

fn out_of_stub(
    stub: &Stub,
    at: u64,
    called: bool,
    entry: u64,
    now: &mut Regs,
    read: impl Fn(u64) -> Result<u64, Errno>,
) -> Result<(), LiftError> {
    let ended = stub.code.len() as u64;
    if at >= ended {
        return Err(LiftError::Unknown);
    }
    // A call that was interrupted has no result, and is made again from the function's beginning. None of these waits
    // once random numbers can be had at all, so none has to end with EINTR instead.
    let interrupted = now.call().is_some() && restart::is_code(now.ret());
    if at >= stub.done && !called && !interrupted {
        let pushed = if at == stub.done { stub.pushes } else { 0 };
        now.rsp = now.rsp.wrapping_add(8 * pushed);
        now.rip = read(now.rsp)?;
        now.rsp = now.rsp.wrapping_add(8);
        now.orig_rax = u64::MAX;
        return Ok(());
    }
    let pushed = at.min(stub.pushes);
    if called {
        now.rdx = read(now.rsp)?;
        now.rsi = read(now.rsp.wrapping_add(8))?;
        now.rdi = read(now.rsp.wrapping_add(16))?;
    }
    now.rsp = now.rsp.wrapping_add(8 * pushed);
    if at >= stub.fourth_kept {
        now.rcx = now.r10;
    }
    now.rip = entry;
    now.orig_rax = u64::MAX;
    Ok(())
}
