//! The command lines of mosix-run and mosix.

#![forbid(unsafe_code)]

mod addresses;
pub mod advice;
pub mod commands;
mod daemon;
pub mod mosix;
pub mod node;
pub mod run;
mod table;
mod trace;
