//! Finding a row, and evaluating it for the arguments at hand.

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
    match table.op(args) {
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

    /// The temporary signal mask that the call carries, if it is one of those: see pselect(2), ppoll(2), epoll_pwait(2).
    pub fn temp_mask_arg(&self) -> Option<TempMask> {
        match self.name {
            "ppoll" => Some(TempMask::Direct { ptr_arg: 3, size_arg: 4 }),
            "epoll_pwait" | "epoll_pwait2" => Some(TempMask::Direct { ptr_arg: 4, size_arg: 5 }),
            "pselect6" => Some(TempMask::Pair { arg: 5 }),
            _ => None,
        }
    }
}
