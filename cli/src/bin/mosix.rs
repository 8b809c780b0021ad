//! Looks at and directs managed processes.
#![forbid(unsafe_code)]
fn main() {}
