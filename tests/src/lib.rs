//! The harness of the whole-system tests: a program is run natively and under `mosix-run`, each time in the same fresh
//! directory, and nobody may be able to tell the two apart: standard output, standard error, exit status and the
//! files left are compared, and so is what is left running (nothing).
//!
//! A test is a [`Case`](case::Case); [`suite`] multiplies cases by the [`Mode`](mode::Mode)s that are switched on and by
//! the users. Every process of a run is a descendant of one `run-keeper`, which is how a run is ended and how leftovers
//! are found.

#![forbid(unsafe_code)]

pub mod binaries;
pub mod case;
pub mod cluster;
pub mod compare;
pub mod guests;
pub mod hosts;
pub mod keeper;
pub mod mode;
pub mod processes;
pub mod programs;
pub mod pty;
pub mod run;
pub mod sandbox;
pub mod script;
pub mod shuttle;
pub mod stats;
pub mod suite;
pub mod suites;
