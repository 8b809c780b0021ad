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

/// A call's number and arguments.
type Call = (u32, [u64; 6]);
/// The remaining arguments and `)`, and what stands after the `=`.
type Rest = (String, String);

/// What can be shown before a call is made.
pub fn entry(tid: Tid, nr: u32, args: [u64; 6], style: &Style) -> Entry {
    render::entry(nr, args, &mut Memory(tid), style)
}

/// The rest of it.
pub fn exit(tid: Tid, entry: &Entry, call: Call, ret: i64, style: &Style) -> Rest {
    rest(entry, call, ret, &mut Memory(tid), style)
}

fn rest(entry: &Entry, (nr, args): Call, ret: i64, memory: &mut dyn GuestRead, style: &Style) -> Rest {
    let render::Exit { rest, result } = render::exit_parts(entry, nr, args, ret, memory, style);
    (rest, result)
}

/// Memory of a thread that is no more, or is elsewhere.
struct Gone;

impl GuestRead for Gone {
    fn read(&mut self, _: u64, _: &mut [u8]) -> usize {
        0
    }
}

/// [`entry`] of a thread whose memory is not here.
pub fn entry_without_memory(nr: u32, args: [u64; 6], style: &Style) -> Entry {
    render::entry(nr, args, &mut Gone, style)
}

/// [`exit`] of a call whose memory is gone.
pub fn exit_without_memory(entry: &Entry, call: Call, ret: i64, style: &Style) -> Rest {
    rest(entry, call, ret, &mut Gone, style)
}

/// The rest of a call that did not return: it was exit(2) or the thread was killed in it.
pub fn no_exit(entry: &Entry, call: Call, style: &Style) -> Rest {
    if by_number(call.0).is_some_and(|call| call.ret == Ret::Never) {
        exit_without_memory(entry, call, 0, style)
    } else {
        (render::cut_short(entry).to_owned(), "?".to_owned())
    }
}

/// Puts in the paths of a process's descriptors. Those of a process that is away are open here, too.
pub fn with_paths(pid: Tid, text: &str) -> String {
    render::with_paths(text, |fd| {
        let link = if fd < 0 { format!("/proc/{pid}/cwd") } else { format!("/proc/{pid}/fd/{fd}") };
        let path = std::fs::read_link(link).ok()?;
        Some(render::shown_path(path.as_os_str().as_encoded_bytes()))
    })
}

/// An error's name.
pub fn errno(number: i32) -> Option<&'static str> {
    render::errno(number).map(|(name, _)| name)
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
        let (exit_group, style) = (syscall_table::by_name("exit_group").unwrap().nr, Style::default());
        let first = entry(0, exit_group, [0; 6], &style);
        let (rest, result) = no_exit(&first, (exit_group, [0; 6]), &style);
        assert_eq!((first.text.as_str(), rest.as_str(), result.as_str()), ("exit_group(0", ")", "?"));
    }
}
