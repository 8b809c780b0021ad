//! Sub-tables of the smaller multiplexed calls: futex, System V IPC, socket options, keyrings and others.

use crate::flags::KEY_SPEC;
use crate::kinds::Kind::*;
use crate::kinds::{Len, Shape, bytes, got, ins, outs};
use crate::types::Deadline::*;
use crate::types::Ret::*;
use crate::types::Wait::*;
use crate::types::Where::*;
use crate::types::{Key, Op, SubTable, ops};

/// futex(2). What the filter did not let through is not private: home may hold the same word in a shared mapping.
pub static FUTEX: SubTable = SubTable {
    unknown: "unknown futex operation",
    key: Key::Arg { arg: 1, mask: 0x7f },
    other: None,
    ops: FUTEX_OPS,
};

/// Relative for FUTEX_WAIT.
const FUTEX_REL: crate::types::Wait = Timed(RelTimespec(3));
/// Absolute, CLOCK_MONOTONIC unless FUTEX_CLOCK_REALTIME says otherwise (LOCK_PI: always CLOCK_REALTIME).
const FUTEX_ABS: crate::types::Wait = Timed(AbsTimespec { arg: 3, clock_arg: None, flag_arg: None });

#[rustfmt::skip]
static FUTEX_OPS: &[Op] = ops! {
    0 FUTEX_WAIT(val: Uint, timeout: ins(Shape::Timespec)) -> Zero, Special, FUTEX_REL, "not private";
    1 FUTEX_WAKE(val: Int) -> Count, Special, No, "not private";
    3 FUTEX_REQUEUE(val: Int, val2: Int, uaddr2: Addr) -> Count, Special, No, "not private";
    4 FUTEX_CMP_REQUEUE(val: Int, val2: Int, uaddr2: Addr, val3: Uint) -> Count, Special, No, "not private";
    5 FUTEX_WAKE_OP(val: Int, val2: Int, uaddr2: Addr, val3: Hex) -> Count, Special, No, "not private";
    6 FUTEX_LOCK_PI(val: Addr, timeout: ins(Shape::Timespec)) -> Zero, Special, FUTEX_ABS, "not private";
    7 FUTEX_UNLOCK_PI() -> Zero, Special, No, "not private";
    8 FUTEX_TRYLOCK_PI() -> Zero, Special, No, "not private";
    9 FUTEX_WAIT_BITSET(val: Uint, timeout: ins(Shape::Timespec), uaddr2: Addr, val3: Hex) -> Zero, Special, FUTEX_ABS, "not private";
    10 FUTEX_WAKE_BITSET(val: Int, timeout: Addr, uaddr2: Addr, val3: Hex) -> Count, Special, No, "not private";
    11 FUTEX_WAIT_REQUEUE_PI(val: Uint, timeout: ins(Shape::Timespec), uaddr2: Addr) -> Zero, Special, FUTEX_ABS, "not private";
    12 FUTEX_CMP_REQUEUE_PI(val: Int, val2: Int, uaddr2: Addr, val3: Uint) -> Count, Special, No, "not private";
    13 FUTEX_LOCK_PI2(val: Addr, timeout: ins(Shape::Timespec)) -> Zero, Special, FUTEX_ABS, "not private";
};

/// The command of semctl, msgctl and shmctl may carry IPC_64 (0x100), which means nothing on x86-64.
const IPC_MASK: u64 = 0xffff_feff;

/// semctl(2). GETALL writes as many words as the set has semaphores, which no argument says.
pub static SEMCTL: SubTable = SubTable {
    unknown: "unknown semctl command",
    key: Key::Arg { arg: 2, mask: IPC_MASK },
    other: None,
    ops: SEMCTL_OPS,
};

#[rustfmt::skip]
static SEMCTL_OPS: &[Op] = ops! {
    0 IPC_RMID(arg: Addr) -> Zero, Forward, No, "";
    1 IPC_SET(buf: ins(Shape::SemidDs)) -> Zero, Forward, No, "struct semid_ds";
    2 IPC_STAT(buf: outs(Shape::SemidDs)) -> Zero, Forward, No, "struct semid_ds";
    3 IPC_INFO(buf: outs(Shape::Opaque(40))) -> Value, Forward, No, "struct seminfo";
    11 GETPID(arg: Addr) -> NewPid, Forward, No, "";
    12 GETVAL(arg: Addr) -> Count, Forward, No, "";
    13 GETALL(array: Addr) -> Zero, Home, No, "semctl(GETALL): its length is not in the arguments";
    14 GETNCNT(arg: Addr) -> Count, Forward, No, "";
    15 GETZCNT(arg: Addr) -> Count, Forward, No, "";
    16 SETVAL(val: Addr) -> Zero, Forward, No, "";
    17 SETALL(array: Prefix(64_000)) -> Zero, Forward, No, "at most SEMMSL (32,000) words, the kernel takes what it needs";
    18 SEM_STAT(buf: outs(Shape::SemidDs)) -> Value, Forward, No, "struct semid_ds";
    19 SEM_INFO(buf: outs(Shape::Opaque(40))) -> Value, Forward, No, "struct seminfo";
    20 SEM_STAT_ANY(buf: outs(Shape::SemidDs)) -> Value, Forward, No, "struct semid_ds";
};

/// msgctl(2).
pub static MSGCTL: SubTable = SubTable {
    unknown: "unknown msgctl command",
    key: Key::Arg { arg: 1, mask: IPC_MASK },
    other: None,
    ops: MSGCTL_OPS,
};

#[rustfmt::skip]
static MSGCTL_OPS: &[Op] = ops! {
    0 IPC_RMID(arg: Addr) -> Zero, Forward, No, "";
    1 IPC_SET(buf: ins(Shape::MsqidDs)) -> Zero, Forward, No, "struct msqid_ds";
    2 IPC_STAT(buf: outs(Shape::MsqidDs)) -> Zero, Forward, No, "struct msqid_ds";
    3 IPC_INFO(buf: outs(Shape::Opaque(32))) -> Value, Forward, No, "struct msginfo";
    11 MSG_STAT(buf: outs(Shape::MsqidDs)) -> Value, Forward, No, "struct msqid_ds";
    12 MSG_INFO(buf: outs(Shape::Opaque(32))) -> Value, Forward, No, "struct msginfo";
    13 MSG_STAT_ANY(buf: outs(Shape::MsqidDs)) -> Value, Forward, No, "struct msqid_ds";
};

/// shmctl(2).
pub static SHMCTL: SubTable = SubTable {
    unknown: "unknown shmctl command",
    key: Key::Arg { arg: 1, mask: IPC_MASK },
    other: None,
    ops: SHMCTL_OPS,
};

#[rustfmt::skip]
static SHMCTL_OPS: &[Op] = ops! {
    0 IPC_RMID(arg: Addr) -> Zero, Forward, No, "";
    1 IPC_SET(buf: ins(Shape::ShmidDs)) -> Zero, Forward, No, "struct shmid_ds";
    2 IPC_STAT(buf: outs(Shape::ShmidDs)) -> Zero, Forward, No, "struct shmid_ds";
    3 IPC_INFO(buf: outs(Shape::Opaque(72))) -> Value, Forward, No, "struct shminfo";
    11 SHM_LOCK(arg: Addr) -> Zero, Forward, No, "";
    12 SHM_UNLOCK(arg: Addr) -> Zero, Forward, No, "";
    13 SHM_STAT(buf: outs(Shape::ShmidDs)) -> Value, Forward, No, "struct shmid_ds";
    14 SHM_INFO(buf: outs(Shape::Opaque(48))) -> Value, Forward, No, "struct shm_info";
    15 SHM_STAT_ANY(buf: outs(Shape::ShmidDs)) -> Value, Forward, No, "struct shmid_ds";
};

/// setsockopt(2), by level and option. Listed are those that are not a flat value.
pub static SETSOCKOPT: SubTable = SubTable {
    unknown: "unknown socket option",
    key: Key::Pair { high: 1, low: 2 },
    other: Some(&SETSOCKOPT_FLAT[0]),
    ops: SETSOCKOPT_OPS,
};

#[rustfmt::skip]
static SETSOCKOPT_FLAT: &[Op] = ops! {
    0 FLAT(optval: bytes(4), optlen: Int) -> Zero, Forward, No, "a flat value";
};

#[rustfmt::skip]
static SETSOCKOPT_OPS: &[Op] = ops! {
    0x1_0000_001a SO_ATTACH_FILTER(optval: Addr, optlen: Int) -> Zero, Home, No, "SO_ATTACH_FILTER: a pointer inside";
    0x1_0000_0033 SO_ATTACH_REUSEPORT_CBPF(optval: Addr, optlen: Int) -> Zero, Home, No, "SO_ATTACH_REUSEPORT_CBPF: a pointer inside";
    0x1_0000_003c SO_ZEROCOPY(optval: Addr, optlen: Int) -> Zero, Home, No, "SO_ZEROCOPY: the kernel keeps reading the program's pages";
    0x40 IPT_SO_SET_REPLACE(optval: Addr, optlen: Int) -> Zero, Home, No, "IPT_SO_SET_REPLACE: a pointer inside";
    0x29_0000_0040 IP6T_SO_SET_REPLACE(optval: Addr, optlen: Int) -> Zero, Home, No, "IP6T_SO_SET_REPLACE: a pointer inside";
    0x107_0000_0016 PACKET_FANOUT_DATA(optval: Addr, optlen: Int) -> Zero, Home, No, "PACKET_FANOUT_DATA: a pointer inside";
};

/// getsockopt(2), by level and option. Some options read what is there, so the buffer goes in as well.
pub static GETSOCKOPT: SubTable = SubTable {
    unknown: "unknown socket option",
    key: Key::Pair { high: 1, low: 2 },
    other: Some(&GETSOCKOPT_FLAT[0]),
    ops: GETSOCKOPT_OPS,
};

#[rustfmt::skip]
static GETSOCKOPT_FLAT: &[Op] = ops! {
    0 FLAT(optval: InOut(Len::PtrU32(4), Shape::Bytes), optlen: SockLen) -> Zero, Forward, No, "a flat value";
};

#[rustfmt::skip]
static GETSOCKOPT_OPS: &[Op] = ops! {
    0x1_0000_001a SO_GET_FILTER(optval: Addr, optlen: Addr) -> Zero, Home, No, "SO_GET_FILTER: its length counts instructions";
    0x6_0000_0023 TCP_ZEROCOPY_RECEIVE(optval: Addr, optlen: Addr) -> Zero, Home, No, "TCP_ZEROCOPY_RECEIVE: maps pages of the socket";
    0x84_0000_006f SCTP_SOCKOPT_CONNECTX3(optval: Addr, optlen: Addr) -> Zero, Home, No, "SCTP_SOCKOPT_CONNECTX3: a pointer inside";
};

/// keyctl(2), the operations without pointers inside.
pub static KEYCTL: SubTable = SubTable {
    unknown: "unknown keyctl operation",
    key: Key::Arg { arg: 0, mask: 0xffff_ffff },
    other: None,
    ops: KEYCTL_OPS,
};

#[rustfmt::skip]
static KEYCTL_OPS: &[Op] = ops! {
    0 KEYCTL_GET_KEYRING_ID(id: Enum(&KEY_SPEC), create: Int) -> Value, Forward, No, "";
    1 KEYCTL_JOIN_SESSION_KEYRING(name: Str) -> Value, Forward, No, "";
    2 KEYCTL_UPDATE(key: Enum(&KEY_SPEC), payload: bytes(3), plen: Size) -> Zero, Forward, No, "";
    3 KEYCTL_REVOKE(key: Enum(&KEY_SPEC)) -> Zero, Forward, No, "";
    4 KEYCTL_CHOWN(key: Enum(&KEY_SPEC), uid: Id, gid: Id) -> Zero, Forward, No, "";
    5 KEYCTL_SETPERM(key: Enum(&KEY_SPEC), perm: Hex) -> Zero, Forward, No, "";
    6 KEYCTL_DESCRIBE(key: Enum(&KEY_SPEC), buffer: got(3), buflen: Size) -> Count, Forward, No, "";
    7 KEYCTL_CLEAR(keyring: Enum(&KEY_SPEC)) -> Zero, Forward, No, "";
    8 KEYCTL_LINK(key: Enum(&KEY_SPEC), keyring: Enum(&KEY_SPEC)) -> Zero, Forward, No, "";
    9 KEYCTL_UNLINK(key: Enum(&KEY_SPEC), keyring: Enum(&KEY_SPEC)) -> Zero, Forward, No, "";
    10 KEYCTL_SEARCH(keyring: Enum(&KEY_SPEC), type: Str, description: Str, dest: Enum(&KEY_SPEC)) -> Value, Forward, No, "";
    11 KEYCTL_READ(key: Enum(&KEY_SPEC), buffer: got(3), buflen: Size) -> Count, Forward, No, "";
    14 KEYCTL_SET_REQKEY_KEYRING(keyring: Enum(&KEY_SPEC)) -> Value, Forward, No, "";
    15 KEYCTL_SET_TIMEOUT(key: Enum(&KEY_SPEC), seconds: Uint) -> Zero, Forward, No, "";
    17 KEYCTL_GET_SECURITY(key: Enum(&KEY_SPEC), buffer: got(3), buflen: Size) -> Count, Forward, No, "";
    21 KEYCTL_INVALIDATE(key: Enum(&KEY_SPEC)) -> Zero, Forward, No, "";
    22 KEYCTL_GET_PERSISTENT(uid: Id, keyring: Enum(&KEY_SPEC)) -> Value, Forward, No, "";
};

/// arch_prctl(2). The segment bases pass the filter; these do not.
pub static ARCH_PRCTL: SubTable = SubTable {
    unknown: "unknown arch_prctl code",
    key: Key::Arg { arg: 0, mask: 0xffff_ffff },
    other: None,
    ops: ARCH_PRCTL_OPS,
};

#[rustfmt::skip]
static ARCH_PRCTL_OPS: &[Op] = ops! {
    0x1001 ARCH_SET_GS(addr: Addr) -> Zero, Local, No, "the body's own";
    0x1002 ARCH_SET_FS(addr: Addr) -> Zero, Local, No, "the body's own";
    0x1003 ARCH_GET_FS(addr: outs(Shape::U64)) -> Zero, Local, No, "the body's own";
    0x1004 ARCH_GET_GS(addr: outs(Shape::U64)) -> Zero, Local, No, "the body's own";
    0x1011 ARCH_GET_CPUID(addr: Addr) -> Value, Local, No, "CPUID faulting, off in a body";
    0x1012 ARCH_SET_CPUID(addr: Addr) -> Zero, Home, No, "ARCH_SET_CPUID: CPUID faulting is in no image";
    0x1021 ARCH_GET_XCOMP_SUPP(addr: outs(Shape::U64)) -> Zero, Local, No, "of the CPU that it runs on";
    0x1022 ARCH_GET_XCOMP_PERM(addr: outs(Shape::U64)) -> Zero, Local, No, "of the CPU that it runs on";
    0x1023 ARCH_REQ_XCOMP_PERM(addr: Hex) -> Zero, Home, No, "ARCH_REQ_XCOMP_PERM: AMX state";
    0x3001 ARCH_CET_STATUS(addr: Addr) -> Zero, Local, No, "an early proposal that some C libraries still ask: EINVAL at either end";
    0x5005 ARCH_SHSTK_STATUS(addr: outs(Shape::U64)) -> Zero, Local, No, "off in a body";
};

/// fsconfig(2).
pub static FSCONFIG: SubTable = SubTable {
    unknown: "unknown fsconfig command",
    key: Key::Arg { arg: 1, mask: 0xffff_ffff },
    other: None,
    ops: FSCONFIG_OPS,
};

#[rustfmt::skip]
static FSCONFIG_OPS: &[Op] = ops! {
    0 FSCONFIG_SET_FLAG(key: Str, value: Addr, aux: Int) -> Zero, Forward, No, "";
    1 FSCONFIG_SET_STRING(key: Str, value: Str, aux: Int) -> Zero, Forward, No, "";
    2 FSCONFIG_SET_BINARY(key: Str, value: bytes(4), aux: Int) -> Zero, Forward, No, "";
    3 FSCONFIG_SET_PATH(key: Str, value: Path, aux: DirFd) -> Zero, Forward, No, "";
    4 FSCONFIG_SET_PATH_EMPTY(key: Str, value: Path, aux: DirFd) -> Zero, Forward, No, "";
    5 FSCONFIG_SET_FD(key: Str, value: Addr, aux: Fd) -> Zero, Forward, No, "";
    6 FSCONFIG_CMD_CREATE() -> Zero, Forward, No, "";
    7 FSCONFIG_CMD_RECONFIGURE() -> Zero, Forward, No, "";
    8 FSCONFIG_CMD_CREATE_EXCL() -> Zero, Forward, No, "";
};

/// landlock_add_rule(2).
pub static LANDLOCK_RULE: SubTable = SubTable {
    unknown: "unknown landlock rule",
    key: Key::Arg { arg: 1, mask: 0xffff_ffff },
    other: None,
    ops: LANDLOCK_RULES,
};

#[rustfmt::skip]
static LANDLOCK_RULES: &[Op] = ops! {
    1 LANDLOCK_RULE_PATH_BENEATH(rule_attr: ins(Shape::Opaque(12)), flags: Hex) -> Zero, Forward, No, "";
    2 LANDLOCK_RULE_NET_PORT(rule_attr: ins(Shape::Opaque(16)), flags: Hex) -> Zero, Forward, No, "";
};
