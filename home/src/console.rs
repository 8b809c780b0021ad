//! Where the supervisor's own lines go.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tracee::Tid;

/// The supervisor holds no descriptor of the terminal or pipe it was started on, or `mosix-run a | b` would never
/// see its end. A line for the user goes to the standard error of a managed process that still runs, borrowed for
/// that line. With `-v` it holds standard error itself, as strace does.
#[derive(Debug, Default)]
pub struct Console {
    held: Option<File>,
}

impl Console {
    /// `held` is the standard error to keep open, if any.
    pub fn new(held: Option<OwnedFd>) -> Console {
        Console { held: held.map(File::from) }
    }

    /// Lets go of standard error: the command has ended, and a pipe there must be able to end too.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// One line for the user who asked for them (`-v`).
    pub fn verbose(&mut self, line: std::fmt::Arguments<'_>) {
        if let Some(file) = &mut self.held {
            // Nobody is left to tell if this fails.
            let _ = file.write_all(format!("mosix-run: {line}\n").as_bytes());
        }
    }

    /// One line that the user must see, by way of `process` if it is not held here.
    pub fn say(&mut self, process: Tid, line: std::fmt::Arguments<'_>) {
        let text = format!("mosix-run: {line}\n");
        if let Some(file) = &mut self.held {
            let _ = file.write_all(text.as_bytes());
        } else if let Some(mut file) = standard_error_of(process) {
            let _ = file.write_all(text.as_bytes());
        }
    }
}

fn standard_error_of(process: Tid) -> Option<File> {
    let pidfd = pidfd_open(Pid::from_raw(process)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, 2, PidfdGetfdFlags::empty()).ok().map(File::from)
}
