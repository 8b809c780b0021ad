//! Where the trace's words come from: the system call table.

use syscall_table::by_number;
use tracee::Tid;
use tracee::ptrace::SigInfo;

/// Column of the `=`, as strace -a has it.
const RESULT_COLUMN: usize = 40;

/// The first half of a call.
#[derive(Clone, Debug)]
pub struct Entry {
    pub text: String,
}

/// A call's name.
pub fn name(nr: u32) -> String {
    by_number(nr).map_or_else(|| format!("syscall_{nr:#x}"), |call| call.name.to_owned())
}

/// Whether it is one of the calls that make a fresh image.
pub fn is_exec(nr: u32) -> bool {
    by_number(nr).is_some_and(|call| matches!(call.name, "execve" | "execveat"))
}

/// What can be shown before a call is made.
pub fn entry(_tid: Tid, nr: u32, args: [u64; 6]) -> Entry {
    let count = by_number(nr).map_or(6, |call| call.args.len());
    let args: Vec<String> = args[..count].iter().map(|arg| format!("{arg:#x}")).collect();
    Entry { text: format!("{}({}", name(nr), args.join(", ")) }
}

/// The rest of it.
pub fn exit(_tid: Tid, entry: &Entry, _nr: u32, _args: [u64; 6], ret: i64) -> String {
    format!("{} = {ret}", closing(entry))
}

/// The rest of a call that never returned.
pub fn no_exit(entry: &Entry) -> String {
    format!("{} = ?", closing(entry))
}

fn closing(entry: &Entry) -> String {
    format!("){}", " ".repeat((RESULT_COLUMN - 2).saturating_sub(entry.text.chars().count())))
}

/// A signal's name.
pub fn signal(number: i32) -> String {
    format!("SIG{number}")
}

/// A siginfo_t in braces.
pub fn siginfo(info: &SigInfo) -> String {
    format!("{{si_signo={}, si_code={}, si_pid={}}}", signal(info.signal()), info.code(), info.pid())
}
