//! fcntl(2): every command of Linux 6.18.

use crate::flags::{DN, FD_FLAGS, LEASE, OPEN, SEALS, SIGNAL};
use crate::kinds::Kind::*;
use crate::kinds::{Shape, inouts, ins, outs};
use crate::types::Ret::*;
use crate::types::Wait::*;
use crate::types::Where::*;
use crate::types::{Key, Op, SubTable, ops};

/// Locks, owners and leases belong to the deputy; so does everything else here.
pub static FCNTL: SubTable = SubTable {
    unknown: "unknown fcntl command",
    key: Key::Arg { arg: 1, mask: 0xffff_ffff },
    other: None,
    ops: FCNTL_OPS,
};

#[rustfmt::skip]
static FCNTL_OPS: &[Op] = ops! {
    0 F_DUPFD(arg: Int) -> NewFd, Forward, No, "";
    1 F_GETFD() -> NamedBits("flags ", &FD_FLAGS), Forward, No, "";
    2 F_SETFD(arg: Flags(&FD_FLAGS)) -> Zero, Forward, No, "";
    3 F_GETFL() -> NamedBits("flags ", &OPEN), Forward, No, "";
    4 F_SETFL(arg: Flags(&OPEN)) -> Zero, Forward, No, "";
    5 F_GETLK(lock: inouts(Shape::Flock)) -> Zero, Forward, No, "";
    6 F_SETLK(lock: ins(Shape::Flock)) -> Zero, Forward, No, "";
    7 F_SETLKW(lock: ins(Shape::Flock)) -> Zero, Forward, Plain, "";
    8 F_SETOWN(arg: Pid) -> Zero, Forward, No, "";
    9 F_GETOWN() -> NewPid, Forward, No, "";
    10 F_SETSIG(arg: Signal) -> Zero, Forward, No, "";
    11 F_GETSIG() -> Named(&SIGNAL), Forward, No, "";
    15 F_SETOWN_EX(arg: ins(Shape::OwnerEx)) -> Zero, Forward, No, "";
    16 F_GETOWN_EX(arg: outs(Shape::OwnerEx)) -> Zero, Forward, No, "";
    17 F_GETOWNER_UIDS(arg: outs(Shape::Opaque(8))) -> Zero, Forward, No, "";
    36 F_OFD_GETLK(lock: inouts(Shape::Flock)) -> Zero, Forward, No, "";
    37 F_OFD_SETLK(lock: ins(Shape::Flock)) -> Zero, Forward, No, "";
    38 F_OFD_SETLKW(lock: ins(Shape::Flock)) -> Zero, Forward, Plain, "";
    1024 F_SETLEASE(arg: Enum(&LEASE)) -> Zero, Forward, No, "";
    1025 F_GETLEASE() -> Named(&LEASE), Forward, No, "";
    1026 F_NOTIFY(arg: Flags(&DN)) -> Zero, Forward, No, "";
    1027 F_DUPFD_QUERY(arg: Int) -> Count, Forward, No, "";
    1028 F_CREATED_QUERY() -> Count, Forward, No, "";
    1030 F_DUPFD_CLOEXEC(arg: Int) -> NewFd, Forward, No, "";
    1031 F_SETPIPE_SZ(arg: Uint) -> Count, Forward, No, "";
    1032 F_GETPIPE_SZ() -> Count, Forward, No, "";
    1033 F_ADD_SEALS(arg: Flags(&SEALS)) -> Zero, Forward, No, "";
    1034 F_GET_SEALS() -> NamedBits("seals ", &SEALS), Forward, No, "";
    1035 F_GET_RW_HINT(arg: outs(Shape::U64)) -> Zero, Forward, No, "";
    1036 F_SET_RW_HINT(arg: ins(Shape::U64)) -> Zero, Forward, No, "";
    1037 F_GET_FILE_RW_HINT(arg: outs(Shape::U64)) -> Zero, Forward, No, "";
    1038 F_SET_FILE_RW_HINT(arg: ins(Shape::U64)) -> Zero, Forward, No, "";
};
