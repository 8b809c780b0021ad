//! prctl(2): options by what they are about. What concerns memory, CPU or traps belongs to the body, what
//! concerns the process in the eyes of others to the deputy, the name to both.

use crate::flags::{
    CAP, CAP_AMBIENT, DUMPABLE, MCE_KILL, MCE_POLICY, PR_TSC, PR_VMA, PTRACER, SECBIT, SECCOMP_MODE,
};
use crate::kinds::Kind::*;
use crate::kinds::{Len, Shape, outs};
use crate::types::Ret::*;
use crate::types::Wait::*;
use crate::types::Where::*;
use crate::types::{Key, Op, SubTable, Test, ops, test};

const INT: u64 = 0xffff_ffff;

/// Options that the filter lets through: PR_SET_VMA (names of anonymous mappings), PR_SET_THP_DISABLE and
/// GET_THP_DISABLE, PR_FUTEX_HASH (private futexes are the body's).
pub const PRCTL_LOCAL: &[&[Test]] =
    &[&[test(0, INT, 0x5356_4d41)], &[test(0, INT, 41)], &[test(0, INT, 42)], &[test(0, INT, 78)]];

/// The options that trap.
pub static PRCTL: SubTable = SubTable {
    unknown: "unknown prctl option",
    key: Key::Arg { arg: 0, mask: INT },
    other: None,
    ops: PRCTL_OPS,
};

#[rustfmt::skip]
static PRCTL_OPS: &[Op] = ops! {
    1 PR_SET_PDEATHSIG(sig: Signal) -> Zero, Forward, No, "the parent is at home";
    2 PR_GET_PDEATHSIG(sig: outs(Shape::I32)) -> Zero, Forward, No, "the parent is at home";
    3 PR_GET_DUMPABLE() -> Count, Forward, No, "home's core dumps";
    4 PR_SET_DUMPABLE(dumpable: Enum(&DUMPABLE)) -> Zero, Home, No, "PR_SET_DUMPABLE cuts off an unprivileged tracer";
    5 PR_GET_UNALIGN(bits: Addr) -> Zero, Forward, No, "EINVAL on x86-64";
    6 PR_SET_UNALIGN(bits: Addr) -> Zero, Forward, No, "EINVAL on x86-64";
    7 PR_GET_KEEPCAPS() -> Count, Forward, No, "credentials are the deputy's";
    8 PR_SET_KEEPCAPS(keep: Int) -> Zero, Forward, No, "credentials are the deputy's";
    13 PR_GET_TIMING() -> Count, Forward, No, "a constant";
    14 PR_SET_TIMING(timing: Int) -> Zero, Forward, No, "a constant";
    15 PR_SET_NAME(name: Str) -> Zero, Special, No, "ps shows the deputy's, the body's own is kept the same";
    16 PR_GET_NAME(name: Out(Len::Const(16), Shape::Bytes)) -> Zero, Special, No, "the same at both ends";
    19 PR_GET_ENDIAN(bits: Addr) -> Zero, Forward, No, "EINVAL on x86-64";
    20 PR_SET_ENDIAN(bits: Addr) -> Zero, Forward, No, "EINVAL on x86-64";
    21 PR_GET_SECCOMP() -> Count, Home, No, "PR_GET_SECCOMP: a body has a filter that home has not";
    22 PR_SET_SECCOMP(mode: Enum(&SECCOMP_MODE), filter: Addr) -> Zero, Home, No, "PR_SET_SECCOMP: a filter of the program's own is a stay reason (D1)";
    23 PR_CAPBSET_READ(cap: Enum(&CAP)) -> Count, Forward, No, "credentials are the deputy's";
    24 PR_CAPBSET_DROP(cap: Enum(&CAP)) -> Zero, Forward, No, "credentials are the deputy's";
    25 PR_GET_TSC(mode: outs(Shape::I32)) -> Zero, Local, No, "of the CPU that it runs on";
    26 PR_SET_TSC(mode: Enum(&PR_TSC)) -> Zero, Home, No, "PR_SET_TSC: rdtsc traps are in no image";
    27 PR_GET_SECUREBITS() -> NamedBits("", &SECBIT), Forward, No, "credentials are the deputy's";
    28 PR_SET_SECUREBITS(bits: Flags(&SECBIT)) -> Zero, Forward, No, "credentials are the deputy's";
    29 PR_SET_TIMERSLACK(ns: Size) -> Zero, Forward, No, "the deputy sleeps";
    30 PR_GET_TIMERSLACK() -> Count, Forward, No, "the deputy sleeps";
    33 PR_MCE_KILL(arg2: Enum(&MCE_KILL), arg3: Enum(&MCE_POLICY), arg4: Hex, arg5: Hex) -> Zero, Home, No, "PR_MCE_KILL: machine checks are in no image";
    34 PR_MCE_KILL_GET(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Forward, No, "home's policy";
    35 PR_SET_MM(option: Int, addr: Addr, arg4: Addr, arg5: Addr) -> Zero, Home, No, "PR_SET_MM: changes what ps and the image both hold";
    36 PR_SET_CHILD_SUBREAPER(set: Int) -> Zero, Forward, No, "children are home's";
    37 PR_GET_CHILD_SUBREAPER(set: outs(Shape::I32)) -> Zero, Forward, No, "children are home's";
    38 PR_SET_NO_NEW_PRIVS(set: Int, arg3: Hex, arg4: Hex, arg5: Hex) -> Zero, Forward, No, "the deputy execs";
    39 PR_GET_NO_NEW_PRIVS(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Forward, No, "a body has it always, the deputy knows";
    40 PR_GET_TID_ADDRESS(addr: outs(Shape::U64)) -> Zero, Local, No, "the body's kernel has it";
    41 PR_SET_THP_DISABLE(set: Int, flags: Hex, arg4: Hex, arg5: Hex) -> Zero, Local, No, "the body's own memory";
    42 PR_GET_THP_DISABLE(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Local, No, "the body's own memory";
    47 PR_CAP_AMBIENT(op: Enum(&CAP_AMBIENT), cap: Enum(&CAP), arg4: Hex, arg5: Hex) -> Count, Forward, No, "credentials are the deputy's";
    52 PR_GET_SPECULATION_CTRL(misfeature: Int, arg3: Hex, arg4: Hex, arg5: Hex) -> Bits, Local, No, "of the CPU that it runs on";
    53 PR_SET_SPECULATION_CTRL(misfeature: Int, control: Int, arg4: Hex, arg5: Hex) -> Zero, Home, No, "PR_SET_SPECULATION_CTRL is in no image";
    57 PR_SET_IO_FLUSHER(set: Int, arg3: Hex, arg4: Hex, arg5: Hex) -> Zero, Forward, No, "home does the I/O";
    58 PR_GET_IO_FLUSHER(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Forward, No, "home does the I/O";
    59 PR_SET_SYSCALL_USER_DISPATCH(mode: Int, offset: Addr, len: Size, selector: Addr) -> Zero, Home, No, "PR_SET_SYSCALL_USER_DISPATCH intercepts calls before we do";
    62 PR_SCHED_CORE(cmd: Int, pid: Pid, scope: Int, cookie: Addr) -> Zero, Home, No, "PR_SCHED_CORE: cores are a machine's own";
    65 PR_SET_MDWE(flags: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Zero, Home, No, "PR_SET_MDWE forbids what a restore must do";
    66 PR_GET_MDWE(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Bits, Forward, No, "the deputy knows";
    67 PR_SET_MEMORY_MERGE(set: Int, arg3: Hex, arg4: Hex, arg5: Hex) -> Zero, Local, No, "the body's own memory";
    68 PR_GET_MEMORY_MERGE(arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Local, No, "the body's own memory";
    77 PR_TIMER_CREATE_RESTORE_IDS(ctl: Int, arg3: Hex, arg4: Hex, arg5: Hex) -> Count, Forward, No, "timers are home's";
    78 PR_FUTEX_HASH(op: Int, slots: Int, flags: Hex) -> Value, Local, No, "private futexes are the body's";
    0x53564d41 PR_SET_VMA(attr: Enum(&PR_VMA), addr: Addr, size: Size, name: Str) -> Zero, Local, No, "names of the body's own mappings";
    0x59616d61 PR_SET_PTRACER(pid: Enum(&PTRACER)) -> Zero, Home, No, "PR_SET_PTRACER would let the supervisor's place be taken";
};
