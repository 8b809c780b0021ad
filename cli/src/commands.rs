//! The subcommands of mosix.

pub mod check;
pub mod migrate;
pub mod ps;
