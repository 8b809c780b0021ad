//! Programs that trace. A process has one tracer (ptrace(2)), so what they start must not be ours: they are let go
//! when they are executed, and run unmanaged with everything they start.
//!
//! They are known by name. Looking for the `ptrace` call itself would need a filter or a stop on every call, which no
//! process at home is to pay for.

use std::fs;

use tracee::Tid;

use super::{Next, Supervisor};

const NAMES: [&str; 12] = [
    "strace",
    "ltrace",
    "gdb",
    "gdb-multiarch",
    "gdbserver",
    "lldb",
    "lldb-server",
    "rr",
    "criu",
    "reptyr",
    "proot",
    "sysdig",
];

impl Supervisor {
    /// At an exec event: lets a program go that traces others.
    pub(super) fn let_tracer_go(&mut self, pid: Tid) -> Option<Next> {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let name = exe.file_name()?.to_str()?;
        if !NAMES.contains(&name) {
            return None;
        }
        self.console
            .verbose(format_args!("{pid} is {name}, which traces, so it runs unmanaged with what it starts"));
        self.traces.note(pid, "unmanaged from here: it traces others");
        Some(Next::Detach(0))
    }
}
