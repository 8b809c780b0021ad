//! The command lines of mosix-run and mosix.

#![forbid(unsafe_code)]

pub mod advice;
pub mod commands;
pub mod node;
pub mod run;
