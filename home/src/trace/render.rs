//! Where the trace's words come from: the system call table.

use syscall_table::render::{self, Style};
use syscall_table::{GuestRead, Ret, by_number, flags};
use tracee::ptrace::SigInfo;
use tracee::{Tid, memory};

pub use syscall_table::render::Entry;

/// A stopped thread's memory.
struct Memory(Tid);

impl GuestRead for Memory {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        memory::read(self.0, addr, buf)
    }

    fn stack_pointer(&mut self) -> Option<u64> {
        memory::stack_pointer(self.0)
    }
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
pub fn entry(tid: Tid, nr: u32, args: [u64; 6]) -> Entry {
    render::entry(nr, args, &mut Memory(tid), &Style::default())
}

/// The rest of it.
pub fn exit(tid: Tid, entry: &Entry, nr: u32, args: [u64; 6], ret: i64) -> String {
    render::exit(entry, nr, args, ret, &mut Memory(tid), &Style::default())
}

/// Memory of a thread that is no more, or is elsewhere.
struct Gone;

impl GuestRead for Gone {
    fn read(&mut self, _: u64, _: &mut [u8]) -> usize {
        0
    }
}

/// [`entry`] of a thread whose memory is not here.
pub fn entry_without_memory(nr: u32, args: [u64; 6]) -> Entry {
    render::entry(nr, args, &mut Gone, &Style::default())
}

/// [`exit`] of a call whose memory is gone.
pub fn no_memory_exit(entry: &Entry, nr: u32, args: [u64; 6], ret: i64) -> String {
    render::exit(entry, nr, args, ret, &mut Gone, &Style::default())
}

/// The rest of a call that did not return: it was exit(2) or the thread was killed in it.
pub fn no_exit(entry: &Entry, nr: u32, args: [u64; 6]) -> String {
    if by_number(nr).is_some_and(|call| call.ret == Ret::Never) {
        no_memory_exit(entry, nr, args, 0)
    } else {
        let rest = render::cut_short(entry);
        let used = entry.text.chars().count() + rest.len();
        let pad = Style::default().column.saturating_sub(1).saturating_sub(used);
        format!("{rest}{:pad$} = ?", "")
    }
}

/// A signal's name.
pub fn signal(number: i32) -> String {
    let known = flags::SIGNAL.bits.iter().find(|(value, _)| i32::try_from(*value) == Ok(number));
    match (known, number) {
        (Some((_, name)), _) => (*name).to_owned(),
        (None, 32) => "SIGRTMIN".to_owned(),
        (None, 33..=64) => format!("SIGRT_{}", number - 32),
        (None, _) => number.to_string(),
    }
}

/// A siginfo_t in braces.
pub fn siginfo(info: &SigInfo) -> String {
    render::siginfo_text(&info.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_strace_does() {
        assert_eq!(signal(17), "SIGCHLD");
        assert_eq!(signal(32), "SIGRTMIN");
        assert_eq!(signal(34), "SIGRT_2");
    }

    #[test]
    fn exit_has_no_result() {
        let exit_group = syscall_table::by_name("exit_group").unwrap().nr;
        let first = entry(0, exit_group, [0; 6]);
        let line = format!("{}{}", first.text, no_exit(&first, exit_group, [0; 6]));
        assert_eq!(line, "exit_group(0)                           = ?");
    }
}
