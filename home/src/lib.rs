//! The home side: supervisor, deputies, placement at exec, trace.
#![forbid(unsafe_code)]

pub mod away;
pub mod content;
