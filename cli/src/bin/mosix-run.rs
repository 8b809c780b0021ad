//! Runs a program with its computation on another node.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    cli::run::main().into()
}
