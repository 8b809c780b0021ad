//! The injected code, as one position-independent piece without relocations, stack use or vector registers.
//! build.rs compiles this file by itself and takes its `.text`.
#![no_std]
#![no_main]

use core::arch::global_asm;

// The deputy's loop. rbx: the thread's slot, r12: the area's bell. Both survive system calls, and nothing else is
// assumed: a thread can be put at `shim_loop` from any state. Slot offsets are those of `Slot` in lib.rs.
//
// A signal that comes while the state is POSTED and rip is anywhere from `shim_loop` up to and including
// `shim_call` finds the call not yet made; the tracer then moves rip to `shim_made` with a result of its own. So does
// one from `shim_done` to the end: the call before is done, and the next one may be posted before the thread has left.
global_asm!(
    ".globl shim_site",
    "shim_site:",
    "syscall",
    "int3",
    ".balign 16",
    ".globl shim_loop",
    "shim_loop:",
    "7:",
    "mov edx, [rbx]",
    "cmp edx, 1",
    "je 2f",
    "mov eax, 202", // futex(slot.state, FUTEX_WAIT, state, NULL)
    "mov rdi, rbx",
    "xor esi, esi",
    "xor r10d, r10d",
    "syscall",
    "jmp 7b",
    "2:",
    "test dword ptr [rbx + 4], 1",
    "jz 3f",
    "mov eax, 14", // rt_sigprocmask(SIG_SETMASK, &slot.serve_mask, NULL, 8)
    "mov edi, 2",
    "lea rsi, [rbx + 72]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "3:",
    "mov rax, [rbx + 8]",
    "mov rdi, [rbx + 16]",
    "mov rsi, [rbx + 24]",
    "mov rdx, [rbx + 32]",
    "mov r10, [rbx + 40]",
    "mov r8, [rbx + 48]",
    "mov r9, [rbx + 56]",
    ".globl shim_call",
    "shim_call:",
    "syscall",
    ".globl shim_made",
    "shim_made:",
    "mov [rbx + 64], rax",
    "test dword ptr [rbx + 4], 1",
    "jz 4f",
    "mov eax, 14", // rt_sigprocmask(SIG_SETMASK, &slot.idle_mask, NULL, 8)
    "mov edi, 2",
    "lea rsi, [rbx + 80]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "4:",
    "mov dword ptr [rbx], 2",
    ".globl shim_done",
    "shim_done:",
    "lock inc dword ptr [r12]",
    "test dword ptr [rbx + 4], 2", // after the locked instruction, so ordered after the state
    "jnz 5f",
    "mov eax, 202", // futex(bell, FUTEX_WAKE, 1)
    "mov rdi, r12",
    "mov esi, 1",
    "mov edx, 1",
    "syscall",
    "jmp 7b",
    "5:",
    ".globl shim_trap",
    "shim_trap:",
    "int3", // the supervisor sleeps in its poll loop, where a ptrace stop reaches it
    "jmp 7b",
    ".globl shim_end",
    "shim_end:",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
