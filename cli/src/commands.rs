//! The subcommands of mosix.

pub mod check;
pub mod cluster;
pub mod migrate;
pub mod nodes;
pub mod owner;
pub mod pages;
pub mod ps;
pub mod speed;
pub mod top;
pub mod trace;
pub mod why;
