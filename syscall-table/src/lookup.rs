//! Finding a row, and evaluating it for the arguments at hand.

use crate::kinds::*;
use crate::table::{CALLS, COUNT, LAST};
use crate::types::*;

/// Row of each number; `NONE` where there is no such call.
static INDEX: [u16; LAST as usize + 1] = index();
const NONE: u16 = u16::MAX;

const fn index() -> [u16; LAST as usize + 1] {
    let mut index = [NONE; LAST as usize + 1];
    let mut row = 0;
    while row < COUNT {
        let nr = CALLS[row].nr as usize;
        assert!(index[nr] == NONE, "a number appears twice");
        assert!(row == 0 || CALLS[row - 1].nr < CALLS[row].nr, "rows are in the order of their numbers");
        assert!(CALLS[row].args.len() <= 6);
        index[nr] = row as u16;
        row += 1;
    }
    index
}

/// The call with this number, in constant time.
pub fn by_number(nr: u32) -> Option<&'static Call> {
    let row = *INDEX.get(nr as usize)?;
    CALLS.get(row as usize)
}

/// The call with this name, by looking through the table: for people, not for the fast path.
pub fn by_name(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

/// All calls, in the order of their numbers.
pub fn all() -> &'static [Call] {
    CALLS
}

/// What a seccomp filter is made of. A number that is not among these traps like `Home`.
pub fn seccomp_rules() -> impl Iterator<Item = (u32, Place)> {
    CALLS.iter().map(|call| (call.nr, call.place))
}

/// Where this call with these arguments runs. A call that the table does not know goes home.
pub fn place_of(nr: u32, args: [u64; 6]) -> Where {
    by_number(nr).map_or(Where::Home, |call| resolve(call, &args).place)
}

/// Why this call goes home: the stay reason.
pub fn home_reason(nr: u32, args: &[u64; 6]) -> &'static str {
    by_number(nr).map_or("unknown system call", |call| resolve(call, args).note)
}

/// Whether this call may block, sub-tables looked at: fcntl(F_SETLKW) may, fcntl(F_GETFL) may not. One that is asked not to
/// block never answers EINTR either.
pub fn wait_of(nr: u32, args: &[u64; 6]) -> Wait {
    let Some(call) = by_number(nr) else { return Wait::Plain };
    if asks_not_to_block(call.name, args) { Wait::No } else { resolve(call, args).wait }
}

fn asks_not_to_block(name: &str, args: &[u64; 6]) -> bool {
    const WNOHANG: u64 = 1;
    const LOCK_NB: u64 = 4;
    const MSG_DONTWAIT: u64 = 0x40;
    const IPC_NOWAIT: u64 = 0x800;
    match name {
        "wait4" => args[2] & WNOHANG != 0,
        "waitid" => args[3] & WNOHANG != 0,
        "flock" => args[1] & LOCK_NB != 0,
        "recvfrom" | "sendto" => args[3] & MSG_DONTWAIT != 0,
        "recvmsg" | "sendmsg" => args[2] & MSG_DONTWAIT != 0,
        "msgsnd" => args[3] & IPC_NOWAIT != 0,
        "msgrcv" => args[4] & IPC_NOWAIT != 0,
        "poll" => args[2] as i32 == 0,
        "epoll_wait" => args[3] as i32 == 0,
        _ => false,
    }
}

/// A call with every decision that depends on its arguments taken.
#[derive(Debug, Clone, Copy)]
pub struct Resolved {
    /// The row.
    pub call: &'static Call,
    /// The operation of a multiplexed call, if it is known.
    pub op: Option<&'static Op>,
    /// Where it runs.
    pub place: Where,
    /// What a successful return value means.
    pub ret: Ret,
    /// Whether it may block.
    pub wait: Wait,
    /// Why it runs there; for [`Where::Home`] the stay reason.
    pub note: &'static str,
    args: [Option<Arg>; 6],
}

impl Resolved {
    /// The arguments that this call has, shapes of sub-tables put in.
    pub fn args(&self) -> impl Iterator<Item = (usize, Arg)> + '_ {
        self.args.iter().enumerate().filter_map(|(i, arg)| Some((i, (*arg)?)))
    }

    /// Argument `n`.
    pub fn arg(&self, n: u8) -> Option<Arg> {
        *self.args.get(n as usize)?
    }
}

/// Takes the decisions that depend on arguments. Does not allocate.
pub fn resolve(call: &'static Call, args: &[u64; 6]) -> Resolved {
    let mut resolved = Resolved {
        call,
        op: None,
        place: Where::Home,
        ret: call.ret,
        wait: call.wait,
        note: call.note,
        args: [None; 6],
    };
    let mut sub = None;
    for (slot, arg) in resolved.args.iter_mut().zip(call.args) {
        if let Kind::Sub(table) = arg.kind {
            sub = Some(table);
            break;
        }
        *slot = Some(*arg);
    }
    resolved.place = match call.place {
        Place::Local => Where::Local,
        Place::Forward => Where::Forward,
        Place::Special => Where::Special,
        Place::Home => Where::Home,
        Place::LocalIf { tests, otherwise } => {
            if any_group_holds(tests, args) {
                Where::Local
            } else {
                otherwise.into()
            }
        }
        Place::ForwardIf { tests, otherwise } => {
            if any_group_holds(tests, args) {
                Where::Forward
            } else {
                otherwise.into()
            }
        }
    };
    let Some(table) = sub else { return resolved };
    let first = call.args.iter().position(|arg| matches!(arg.kind, Kind::Sub(_))).unwrap_or(6);
    let op = table.op(args);
    if op.is_none() {
        // Nothing is known of them but that they are numbers.
        for (slot, arg) in resolved.args[first..].iter_mut().zip(&call.args[first..]) {
            let kind = if matches!(arg.kind, Kind::Sub(_)) { Kind::Hex } else { arg.kind };
            *slot = Some(Arg { kind, ..*arg });
        }
    }
    match op {
        Some(op) => {
            for (slot, arg) in resolved.args[first..].iter_mut().zip(op.args) {
                *slot = Some(*arg);
            }
            resolved.op = Some(op);
            resolved.ret = op.ret;
            resolved.wait = op.wait;
            if resolved.place != Where::Local {
                resolved.place = op.place;
            }
            if !op.note.is_empty() {
                resolved.note = op.note;
            }
        }
        None if resolved.place != Where::Local => {
            resolved.place = Where::Home;
            resolved.note = table.unknown;
        }
        None => {}
    }
    resolved
}

impl Call {
    /// Whether the call with these arguments may sleep for an unbounded time. A poll with a timeout of 0 may not.
    pub fn may_block(&'static self, args: &[u64; 6]) -> bool {
        match resolve(self, args).wait {
            Wait::No => false,
            Wait::Timed(Deadline::RelMillis(n)) => args[n as usize] as u32 != 0,
            Wait::Plain | Wait::Timed(_) => true,
        }
    }
}

/// The temporary signal mask that the call carries, if it is one of those: see pselect(2), ppoll(2), epoll_pwait(2).
pub fn temp_mask_arg(call: &Call) -> Option<TempMask> {
    match call.name {
        "ppoll" => Some(TempMask::Direct { ptr_arg: 3, size_arg: 4 }),
        "epoll_pwait" | "epoll_pwait2" => Some(TempMask::Direct { ptr_arg: 4, size_arg: 5 }),
        "pselect6" => Some(TempMask::Pair { arg: 5 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_kernel_headers_is_in_the_table() {
        let header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
        let text = std::fs::read_to_string(header)
            .unwrap_or_else(|error| panic!("{header}: {error}; install the package linux-libc-dev"));
        let mut seen = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("#define __NR_")) {
            let (name, nr) = line.split_once(' ').expect(line);
            let nr: u32 = nr.trim().parse().expect(line);
            if nr <= LAST {
                let call = by_number(nr).unwrap_or_else(|| panic!("{nr} {name} is missing"));
                assert_eq!(call.name, name, "number {nr}");
                seen += 1;
            }
        }
        assert!(seen > 350, "only {seen} names in {header}");
    }

    #[test]
    fn numbers_and_names_lead_to_their_rows() {
        for call in all() {
            assert!(std::ptr::eq(call, by_number(call.nr).unwrap()));
            assert!(std::ptr::eq(call, by_name(call.name).unwrap()), "{} appears twice", call.name);
        }
        assert!([337, 423, 470, u32::MAX].iter().all(|&nr| by_number(nr).is_none()));
    }

    #[test]
    fn references_between_arguments_are_sound() {
        fn check(name: &str, kinds: &[Option<Kind>; 6]) {
            let by_value = |n: u8| kinds[n as usize].is_some_and(|k| !k.is_pointer());
            for kind in kinds.iter().flatten() {
                let ok = match *kind {
                    Kind::In(len, shape) | Kind::Out(len, shape) | Kind::InOut(len, shape) => match len {
                        Len::Arg(n) | Len::ArgCut(n) | Len::ArgShort(n) | Len::Ret(n) | Len::RoomOwn(n) => {
                            by_value(n)
                        }
                        Len::ArgTimes(n, size) | Len::RetTimes(n, size) => by_value(n) && size > 0,
                        Len::PtrU32(n) => kinds[n as usize] == Some(Kind::SockLen),
                        Len::Const(size) => size > 0 && (shape.size() == 0 || shape.size() == size),
                        Len::Own(size) => size > 0,
                    },
                    Kind::OutPositive(shape) | Kind::Remains(shape) => shape.size() > 0,
                    Kind::Iovec { count_arg: n, .. }
                    | Kind::Mmsghdr { count_arg: n, .. }
                    | Kind::SockaddrIn { len_arg: n }
                    | Kind::FdSet { nfds_arg: n }
                    | Kind::PollFds { count_arg: n }
                    | Kind::MsgBuf { size_arg: n, .. } => by_value(n),
                    Kind::SockaddrOut { len_ptr_arg: n } => kinds[n as usize] == Some(Kind::SockLen),
                    _ => true,
                };
                assert!(ok, "{name}: {kind:?}");
            }
        }
        for call in all() {
            let first = call.args.iter().position(|a| matches!(a.kind, Kind::Sub(_)));
            let mut kinds = [None; 6];
            for (slot, arg) in kinds.iter_mut().zip(call.args) {
                *slot = Some(arg.kind);
            }
            let Some(first) = first else {
                check(call.name, &kinds);
                continue;
            };
            let Kind::Sub(table) = call.args[first].kind else { unreachable!() };
            for op in table.ops.iter().chain(table.other) {
                let mut kinds = kinds;
                kinds[first..].fill(None);
                assert!(first + op.args.len() <= 6, "{}", op.name);
                for (slot, arg) in kinds[first..].iter_mut().zip(op.args) {
                    *slot = Some(arg.kind);
                }
                check(op.name, &kinds);
            }
            let mut values: Vec<u64> = table.ops.iter().map(|op| op.value).collect();
            values.sort_unstable();
            assert!(
                values.windows(2).all(|pair| pair[0] != pair[1]),
                "{}: a value appears twice",
                table.unknown
            );
        }
    }

    #[test]
    fn places_follow_the_arguments() {
        let at = |name: &str, args: [u64; 6]| place_of(by_name(name).unwrap().nr, args);
        assert_eq!(at("mmap", [0, 4096, 3, 0x22, u64::MAX, 0]), Where::Local);
        assert_eq!(at("mmap", [0, 4096, 3, 0x20022, u64::MAX, 0]), Where::Local);
        assert_eq!(at("mmap", [0, 4096, 3, 0x2, 3, 0]), Where::Special);
        assert_eq!(at("mmap", [0, 4096, 3, 0x21, 3, 0]), Where::Special);
        assert_eq!(at("mmap", [0, 4096, 3, 0x40022, 3, 0]), Where::Special);
        for op in 0..=13 {
            let private = at("futex", [0, 0x80 | op, 0, 0, 0, 0]);
            assert_eq!(private, if op == 2 { Where::Home } else { Where::Local }, "op {op}");
            assert_eq!(at("futex", [0, 0x180 | op, 0, 0, 0, 0]), private);
            assert_eq!(at("futex", [0, op, 0, 0, 0, 0]), if op == 2 { Where::Home } else { Where::Special });
        }
        for advice in (0..=4).chain([8]).chain(10..=25) {
            assert_eq!(at("madvise", [0, 0, advice, 0, 0, 0]), Where::Local, "advice {advice}");
        }
        for advice in [5, 9, 26, 100, 102, 103] {
            assert_eq!(at("madvise", [0, 0, advice, 0, 0, 0]), Where::Home, "advice {advice}");
        }
        for clock in [0, 1, 4, 5, 6, 7] {
            assert_eq!(at("clock_gettime", [clock, 0, 0, 0, 0, 0]), Where::Local);
            assert_eq!(at("clock_getres", [clock, 0, 0, 0, 0, 0]), Where::Local);
        }
        for cpu in [2, 3, -2, -6] {
            assert_eq!(at("clock_gettime", [cpu as u64, 0, 0, 0, 0, 0]), Where::Special);
            assert_eq!(at("clock_getres", [cpu as u64, 0, 0, 0, 0, 0]), Where::Local);
        }
        assert_eq!(at("clock_getres", [-14i64 as u64, 0, 0, 0, 0, 0]), Where::Forward);
        assert_eq!(at("getrusage", [u64::MAX, 0, 0, 0, 0, 0]), Where::Forward);
        assert_eq!(at("getrusage", [0, 0, 0, 0, 0, 0]), Where::Special);
        assert_eq!(at("clock_nanosleep", [2, 0, 0, 0, 0, 0]), Where::Home);
        assert_eq!(at("clock_nanosleep", [1, 1, 0, 0, 0, 0]), Where::Forward);
        assert_eq!(at("ioctl", [0, 0x5401, 0, 0, 0, 0]), Where::Forward);
        assert_eq!(at("ioctl", [0, 0x1234_5678, 0, 0, 0, 0]), Where::Home);
        assert_eq!(at("prctl", [15, 0, 0, 0, 0, 0]), Where::Special);
        assert_eq!(at("prctl", [999, 0, 0, 0, 0, 0]), Where::Home);
        assert_eq!(at("prlimit64", [0, 3, 0, 1, 0, 0]), Where::Forward);
        assert_eq!(at("prlimit64", [0, 3, 1, 1, 0, 0]), Where::Special);
        assert_eq!(at("sendto", [0, 0, 0, 0x400_0000, 0, 0]), Where::Home);
        assert_eq!(place_of(100_000, [0; 6]), Where::Home);
        assert_eq!(home_reason(72, &[0, 77, 0, 0, 0, 0]), "unknown fcntl command");
        assert_eq!(wait_of(72, &[0, 7, 0, 0, 0, 0]), Wait::Plain);
    }
}
