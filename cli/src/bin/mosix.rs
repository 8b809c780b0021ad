//! Looks at and directs managed processes and the cluster's nodes, and makes and joins clusters.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use cli::mosix::{Arguments, run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mosix: {error:#}");
            ExitCode::FAILURE
        }
    }
}
