//! Unwinding this machine's own vDSO. The kernel builds it with -fasynchronous-unwind-tables: its tables hold at
//! every instruction.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, LittleEndian, Register, RegisterRule, UnwindContext, UnwindSection,
};
use object::{Object, ObjectSection};

use super::symbols::Elf;
use super::{LiftError, VdsoError};
use crate::Errno;
use crate::regs::Regs;

/// Numbers of the x86-64 psABI's figure 3.36.
const RETURN_ADDRESS: Register = Register(16);
/// What a function must leave as it found it, but for the stack pointer.
const KEPT: [Register; 6] =
    [Register(3), Register(6), Register(12), Register(13), Register(14), Register(15)];

/// The unwind tables of a vDSO, without which nothing of it can be used.
#[derive(Debug)]
pub(super) struct Frames {
    tables: Vec<u8>,
    bases: BaseAddresses,
}

impl Frames {
    /// Of no vDSO.
    pub(super) fn none() -> Frames {
        Frames { tables: Vec::new(), bases: BaseAddresses::default() }
    }

    /// Of a vDSO.
    pub(super) fn of(code: &[u8]) -> Result<Frames, VdsoError> {
        let elf = Elf::parse(code)?;
        let Some(section) = elf.section_by_name(".eh_frame") else { return Ok(Frames::none()) };
        let text = elf.section_by_name(".text").map_or(0, |text| text.address());
        let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
        Ok(Frames { tables: section.data()?.to_vec(), bases })
    }

    /// Whether a function is in the tables.
    pub(super) fn cover(&self, at: u64) -> bool {
        let tables = EhFrame::new(&self.tables, LittleEndian);
        tables.fde_for_address(&self.bases, at, EhFrame::cie_from_offset).is_ok()
    }

    /// Makes the registers in a function at offset `at` those of its caller, after the return but for the result.
    pub(super) fn leave(
        &self,
        at: u64,
        regs: &mut Regs,
        read: impl Fn(u64) -> Result<u64, Errno>,
    ) -> Result<(), LiftError> {
        let tables = EhFrame::new(&self.tables, LittleEndian);
        let mut context = UnwindContext::new();
        let row = tables.unwind_info_for_address(&self.bases, &mut context, at, EhFrame::cie_from_offset)?;
        let frame = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                value(regs, *register).ok_or(LiftError::Unknown)?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(_) => return Err(LiftError::Unknown),
        };
        let saved = |register: Register| match row.register(register) {
            None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => Ok(None),
            Some(RegisterRule::Offset(offset)) => Ok(Some(read(frame.wrapping_add_signed(offset))?)),
            Some(_) => Err(LiftError::Unknown),
        };
        let mut caller = *regs;
        for register in KEPT {
            if let (Some(old), Some(slot)) = (saved(register)?, slot(&mut caller, register)) {
                *slot = old;
            }
        }
        caller.rip = saved(RETURN_ADDRESS)?.ok_or(LiftError::Unknown)?;
        caller.rsp = frame;
        *regs = caller;
        Ok(())
    }
}

fn slot(regs: &mut Regs, register: Register) -> Option<&mut u64> {
    Some(match register.0 {
        3 => &mut regs.rbx,
        6 => &mut regs.rbp,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        15 => &mut regs.r15,
        _ => return None,
    })
}

/// A register that a frame may be measured from: those above, the stack pointer, and r10, which holds the former one
/// where a function aligns its stack.
fn value(regs: &Regs, register: Register) -> Option<u64> {
    match register.0 {
        7 => Some(regs.rsp),
        10 => Some(regs.r10),
        _ => slot(&mut regs.clone(), register).copied(),
    }
}
