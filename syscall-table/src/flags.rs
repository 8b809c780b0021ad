//! Symbolic names of bits and values, in the order in which strace prints them.

/// The names of an argument's bits or values.
#[derive(Debug, PartialEq, Eq)]
pub struct FlagSet {
    /// What stands beside a value without a name: `0x8000 /* O_??? */`. If it is empty, others are plain numbers.
    pub unknown: &'static str,
    /// Enumerated fields, shown first: (mask, values).
    pub fields: &'static [(u64, &'static [(u64, &'static str)])],
    /// Single bits, or values for an enumeration; a 0 names the absence of all others.
    pub bits: &'static [(u64, &'static str)],
}

macro_rules! set {
    ($(#[$doc:meta])* $name:ident $unknown:literal : $($value:literal $label:ident)*) => {
        $(#[$doc])*
        pub static $name: FlagSet =
            FlagSet { unknown: $unknown, fields: &[], bits: &[$(($value, stringify!($label))),*] };
    };
    ($(#[$doc:meta])* $name:ident $unknown:literal : $([$mask:literal $($fv:literal $fl:ident)*])+ $($value:literal $label:ident)*) => {
        $(#[$doc])*
        pub static $name: FlagSet = FlagSet {
            unknown: $unknown,
            fields: &[$(($mask, &[$(($fv, stringify!($fl))),*])),+],
            bits: &[$(($value, stringify!($label))),*],
        };
    };
}

mod file;
mod memory;
mod net;
mod netlink;
mod process;
mod tty;

pub use file::*;
pub use memory::*;
pub use net::*;
pub use netlink::*;
pub use process::*;
pub use tty::*;
