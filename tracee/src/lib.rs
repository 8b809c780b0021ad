//! Owning a Linux process from outside: a typestate over ptrace, registers, memory, injected calls, maps, seccomp
//! filters, the sandbox of a node's guests, and capture and restore of whole images.
//!
//! All `unsafe` of the system lives here and in `shim`. Everything is safe to call from a single tracing thread:
//! ptrace belongs to the thread that attached, so none of these types is `Send`.

pub mod area;
pub mod capture;
pub mod clock;
pub mod dirty;
pub mod errno;
pub mod foothold;
pub mod image;
pub mod inject;
pub mod launch;
pub mod machine;
pub mod maps;
pub mod memory;
pub mod pagemap;
pub mod ptrace;
pub mod regs;
pub mod restore;
pub mod sandbox;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod signals;
mod sys;
pub mod vdso;
pub mod wait;

pub use errno::Errno;
pub use ptrace::{Running, Stopped};
pub use wait::{Event, Stop};

/// A thread id as the tracer's pid namespace numbers it.
pub type Tid = i32;
