//! The code that is injected into deputies (to serve calls) and bodies (as a place to make injected calls from), and
//! the layout of the call area that a deputy shares with its supervisor.
#![forbid(unsafe_code)]

/// The code: position-independent, needs no stack, touches no vector register.
pub static CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.bin"));

/// Offsets into [`CODE`].
pub mod entry {
    include!(concat!(env!("OUT_DIR"), "/offsets.rs"));
}

/// Bytes of address space that the code is given.
pub const CODE_BYTES: u64 = 4096;

/// The call area: `[bell page | slots | windows]`, one shared memory object per deputy address space and its forks.
pub mod area {
    /// Offset of the bell: a u32 futex word that counts finished calls.
    pub const BELL: u64 = 0;
    /// Offset of slot 0.
    pub const SLOTS: u64 = 4096;
    /// Bytes from one slot to the next: slots of different threads share no cache line.
    pub const SLOT_STRIDE: u64 = 128;
    /// Slots in an area. The registers of so many threads (11 KiB each with AMX) still fit into one message of a move.
    pub const SLOT_COUNT: u64 = 1280;
    /// Offset of window 0.
    pub const WINDOWS: u64 = SLOTS + SLOT_STRIDE * SLOT_COUNT;
    /// Bytes of one thread's window for arguments and results: the largest call (8 MiB of data), its structs and
    /// the alignment of its buffers. Sparse: only what is used takes memory.
    pub const WINDOW_BYTES: u64 = (8 << 20) + (64 << 10);

    /// Offset of slot `index`.
    pub const fn slot(index: u64) -> u64 {
        SLOTS + index * SLOT_STRIDE
    }

    /// Offset of the window of slot `index`.
    pub const fn window(index: u64) -> u64 {
        WINDOWS + index * WINDOW_BYTES
    }

    /// Bytes to map so that the first `slots` slots have their windows.
    pub const fn bytes(slots: u64) -> u64 {
        window(slots)
    }
}

/// Offsets within a slot and the values of its state word.
pub mod slot {
    /// u32 futex word, one of the states below.
    pub const STATE: u64 = 0;
    /// u32 flags.
    pub const FLAGS: u64 = 4;
    /// u64 call number.
    pub const NR: u64 = 8;
    /// Six u64 arguments.
    pub const ARGS: u64 = 16;
    /// i64 raw result.
    pub const RET: u64 = 64;
    /// u64 signal mask while the call is made.
    pub const SERVE_MASK: u64 = 72;
    /// u64 signal mask otherwise.
    pub const IDLE_MASK: u64 = 80;

    /// The deputy waits.
    pub const IDLE: u32 = 0;
    /// A call is there to be made.
    pub const POSTED: u32 = 1;
    /// The result is there.
    pub const DONE: u32 = 2;

    /// Flag: switch to `SERVE_MASK` for the call and back to `IDLE_MASK` after it.
    pub const SWITCH_MASK: u32 = 1;
    /// Flag: report the end of the call by a trap rather than by waking the bell.
    pub const TRAP: u32 = 2;
}

/// The result a tracer gives a posted call that was not made because a signal came first. Outside the kernel's range
/// of errnos and restart codes.
pub const NOT_MADE: i64 = -4200;

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, Register};

    use super::*;

    fn instructions() -> Vec<Instruction> {
        Decoder::with_ip(64, CODE, 0, DecoderOptions::NONE).into_iter().collect()
    }

    #[test]
    fn decodes_and_touches_no_vector_register_and_no_stack() {
        let mut factory = InstructionInfoFactory::new();
        for instruction in instructions() {
            assert!(!instruction.is_invalid(), "at {:#x}", instruction.ip());
            for used in factory.info(&instruction).used_registers() {
                let register = used.register();
                assert!(
                    !register.is_vector_register()
                        && !register.is_st()
                        && !register.is_mm()
                        && !register.is_k()
                );
                assert!(
                    instruction.mnemonic() == Mnemonic::Int3 || register.full_register() != Register::RSP,
                    "stack at {:#x}",
                    instruction.ip()
                );
            }
        }
    }

    #[test]
    fn entries_are_where_they_say() {
        let at = |ip: u64| instructions().into_iter().find(|i| i.ip() == ip).unwrap();
        assert_eq!(at(entry::SITE).mnemonic(), Mnemonic::Syscall);
        assert_eq!(at(entry::CALL).mnemonic(), Mnemonic::Syscall);
        assert_eq!(entry::MADE, entry::CALL + 2);
        assert_ne!(at(entry::LOOP).mnemonic(), Mnemonic::INVALID);
        assert!(CODE.len() as u64 <= CODE_BYTES);
    }

    #[test]
    fn window_starts_on_a_page() {
        assert_eq!(area::WINDOWS % 4096, 0);
        assert_eq!(area::WINDOW_BYTES % 4096, 0);
    }
}
