//! A node's side of a session: bodies in their sandbox, the executor that intercepts their calls, and the cache of
//! file contents.
#![forbid(unsafe_code)]

mod body;
mod build;
mod cache;
mod calls;
mod cpu;
mod daemon;
mod hello;
mod marshal;
mod moves;
mod nearness;
mod priority;
mod rules;
pub mod session;
mod signals;
mod special;
mod trace;
mod usage;
mod vdso;

pub use cache::Cache;
pub use daemon::{Alone, Daemon, Guest, Order};
pub use priority::{Group, Priority, Rank, Standing};
pub use session::{SessionError, serve};
