//! Every x86-64 Linux system call, described once.
//!
//! One flat table ([`all`]) says of each call its number, its arguments, where it runs while the computation is
//! away from home, and why. Everything that must know a call comes from here:
//!
//! - [`by_number`], [`by_name`]: the rows;
//! - [`place_of`]: where this very call, with these arguments, runs; [`seccomp_rules`]: what a filter needs;
//! - [`plan()`]: which bytes of the program go home with a call, and which come back ([`outputs()`]);
//! - [`mod@render`]: a call as strace would print it;
//! - [`docs`]: the page for people.

#![forbid(unsafe_code)]

mod ctl;
pub mod docs;
mod fcntl;
pub mod flags;
mod ioctl;
mod kinds;
mod lookup;
pub mod plan;
mod prctl;
pub mod render;
pub mod sets;
mod table;
mod types;

pub use kinds::{Arg, Dir, Kind, Len, Shape};
pub use lookup::{
    Resolved, all, by_name, by_number, home_reason, place_of, resolve, seccomp_rules, temp_mask_arg, wait_of,
};
pub use plan::{
    At, Buf, GuestRead, Out, Patch, Plan, PlanError, Range, at_deadline, outputs, plan, set_timeout, timeout,
    timeout_of,
};
pub use table::{COUNT, LAST};
pub use types::*;
