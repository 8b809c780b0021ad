//! The home side: the supervisor of a managed process tree, its table of processes, deputies of what is away, the
//! control socket, the trace and the report.

#![forbid(unsafe_code)]

pub mod away;
mod console;
mod content;
pub mod control;
mod daemon;
mod process;
pub mod procfs;
mod stats;
pub mod supervisor;
pub mod trace;

pub use process::{Place, Process, StayReason, Thread, ThreadState};
pub use stats::{Move, NodeStats, Stats};
pub use supervisor::{DaemonOptions, Options, Supervisor, run};
