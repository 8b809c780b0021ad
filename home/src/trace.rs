//! The trace of system calls in strace's shape, with a last column that says where a call ran.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use tracee::ptrace::SigInfo;
use tracee::{Event, Stopped, Tid};
use wire::session::Traced;

mod render;

/// Kept in memory before it is written.
const BUFFER_MAX_BYTES: usize = 64 << 10;

/// A call that has begun.
#[derive(Debug)]
struct Open {
    nr: u32,
    args: [u64; 6],
    entry: render::Entry,
    place: String,
}

const HOME: &str = "home";
const REMOTE: &str = "remote";
const FORWARDED: &str = "forwarded";

/// One trace of one managed tree.
#[derive(Debug)]
pub struct Trace {
    output: Option<File>,
    to_file: bool,
    buffer: Vec<u8>,
    /// Whose line is open.
    line: Option<Tid>,
    open: HashMap<Tid, Open>,
    /// Where the next call of a thread that comes home for it runs.
    next_place: HashMap<Tid, String>,
    /// Threads that are alive.
    alive: usize,
    /// Until the command's own image is in place, the calls are ours.
    begun: bool,
}

impl Trace {
    /// Writes to `file`, or to the copy of standard error.
    pub fn new(file: Option<File>, stderr: Option<OwnedFd>) -> Trace {
        let to_file = file.is_some();
        Trace {
            output: file.or_else(|| stderr.map(File::from)),
            to_file,
            buffer: Vec::new(),
            line: None,
            open: HashMap::new(),
            next_place: HashMap::new(),
            alive: 1,
            begun: false,
        }
    }

    /// A thread is at the entry to or the exit from a call.
    pub fn syscall(&mut self, at: &Stopped) {
        let (Ok(regs), Ok(entry)) = (at.regs(), at.at_syscall_entry()) else { return };
        let tid = at.tid();
        if entry {
            let nr = regs.orig_rax as u32;
            if !self.begun && !render::is_exec(nr) {
                return;
            }
            let entry = render::entry(tid, nr, regs.args());
            let place = self.next_place.remove(&tid).unwrap_or_else(|| HOME.into());
            // A call that began on a node and is made again here goes on in its line.
            let goes_on =
                self.open.remove(&tid).is_some_and(|open| (open.nr, open.args) == (nr, regs.args()));
            if self.begun && !goes_on {
                self.start_line(tid);
                self.put(&entry.text);
            }
            self.open.insert(tid, Open { nr, args: regs.args(), entry, place });
        } else if let Some(open) = self.open.remove(&tid) {
            if !self.begun {
                // A search of PATH tries several; only the one that succeeds is the command's.
                if regs.ret() != 0 {
                    return;
                }
                self.begun = true;
                self.start_line(tid);
                self.put(&open.entry.text);
            }
            self.resume_line(tid, &open);
            let rest = render::exit(tid, &open.entry, open.nr, open.args, regs.ret());
            self.finish_call(&rest, &open.place);
        }
    }

    /// What a node says of a thread.
    pub fn away(&mut self, tid: Tid, traced: Traced) {
        match traced {
            Traced::Entry { nr, args, text } => {
                self.start_line(tid);
                self.put(&text);
                let mut entry = render::entry_without_memory(nr, args);
                entry.text = text;
                self.open.insert(tid, Open { nr, args, entry, place: REMOTE.into() });
            }
            Traced::Exit { rest, forwarded } => {
                if let Some(open) = self.open.remove(&tid) {
                    self.resume_line(tid, &open);
                    self.finish_call(&rest, if forwarded { FORWARDED } else { REMOTE });
                }
            }
            Traced::GoesHome(reason) => {
                self.next_place.insert(tid, format!("gone home: {reason}"));
            }
            Traced::Signal { number, info } => {
                let mut bytes = [0; 128];
                let len = info.len().min(bytes.len());
                bytes[..len].copy_from_slice(&info[..len]);
                let info = render::siginfo(&SigInfo(bytes));
                self.whole_line(tid, &format!("--- {} {info} ---", render::signal(number)));
            }
        }
    }

    /// A deputy has executed its body's execve.
    pub fn executed_away(&mut self, tid: Tid) {
        self.exec_returned(tid, FORWARDED);
    }

    /// The execve of a process that leaves home before its call returns.
    pub fn executed_home(&mut self, tid: Tid) {
        self.exec_returned(tid, HOME);
    }

    fn exec_returned(&mut self, tid: Tid, place: &str) {
        self.next_place.remove(&tid);
        let Some(open) = self.open.remove(&tid) else { return };
        if !self.begun {
            self.begun = true;
            self.start_line(tid);
            self.put(&open.entry.text);
        }
        self.resume_line(tid, &open);
        let rest = render::no_memory_exit(&open.entry, open.nr, open.args, 0);
        self.finish_call(&rest, place);
    }

    /// A process has moved, or could not.
    pub fn moved(&mut self, tid: Tid, text: &str) {
        self.whole_line(tid, &format!("+++ {text} +++"));
    }

    /// A signal is about to be delivered.
    pub fn signal(&mut self, at: &Stopped, number: i32) {
        if !self.begun {
            return;
        }
        let info = at.siginfo().unwrap_or(SigInfo([0; 128]));
        self.whole_line(at.tid(), &format!("--- {} {} ---", render::signal(number), render::siginfo(&info)));
    }

    /// A group-stop.
    pub fn stopped_by(&mut self, tid: Tid, number: i32) {
        self.whole_line(tid, &format!("--- stopped by {} ---", render::signal(number)));
    }

    /// A thread or process that `tid` names exists from now on.
    pub fn born(&mut self, _tid: Tid) {
        self.alive += 1;
    }

    /// execve has succeeded; the calls of the other threads will not be heard of again.
    pub fn executed(&mut self, tid: Tid, former: Tid) {
        if former == tid {
            return;
        }
        if let Some(open) = self.open.remove(&former) {
            if self.line == Some(former) {
                self.end_open_line();
            }
            self.open.insert(tid, open);
        }
        self.whole_line(former, &format!("+++ superseded by execve in pid {former} +++"));
        self.alive = self.alive.saturating_sub(1);
    }

    /// A thread has ended.
    pub fn ended(&mut self, tid: Tid, event: Event) {
        self.next_place.remove(&tid);
        if self.begun {
            if let Some(open) = self.open.remove(&tid) {
                // exit(2) and calls cut short by SIGKILL have no end.
                self.resume_line(tid, &open);
                let rest = render::no_exit(&open.entry, open.nr, open.args);
                self.finish_call(&rest, &open.place);
            }
            let how = match event {
                Event::Exited(status) => format!("exited with {status}"),
                Event::Killed { signal: number, core } => {
                    format!(
                        "killed by {}{}",
                        render::signal(number),
                        if core { " (core dumped)" } else { "" }
                    )
                }
                Event::Stopped(_) => return,
            };
            self.whole_line(tid, &format!("+++ {how} +++"));
        }
        self.alive = self.alive.saturating_sub(1);
    }

    /// A thread is not traced any more.
    pub fn forgotten(&mut self, tid: Tid) {
        self.end_open_line();
        self.open.remove(&tid);
        self.alive = self.alive.saturating_sub(1);
    }

    /// A line of ours about a process, such as a move.
    pub fn note(&mut self, tid: Tid, text: &str) {
        self.whole_line(tid, &format!("*** {text} ***"));
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) {
        if let Some(output) = &mut self.output
            && output.write_all(&self.buffer).is_err()
        {
            // A trace nobody can read any more (EPIPE, ENOSPC) must not stop the program: strace goes on, too.
            self.output = None;
        }
        self.buffer.clear();
    }

    fn put(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        if self.buffer.len() > BUFFER_MAX_BYTES {
            self.flush();
        }
    }

    fn end_open_line(&mut self) {
        if self.line.take().is_some() {
            self.put(" <unfinished ...>\n");
        }
    }

    /// Ends another thread's open line and begins one for `tid`.
    fn start_line(&mut self, tid: Tid) {
        self.end_open_line();
        if self.to_file {
            self.put(&format!("{tid:<5} "));
        } else if self.alive > 1 {
            self.put(&format!("[pid {tid:>5}] "));
        }
        self.line = Some(tid);
    }

    fn resume_line(&mut self, tid: Tid, open: &Open) {
        if self.line != Some(tid) {
            self.start_line(tid);
            self.put(&format!("<... {} resumed>", render::name(open.nr)));
        }
    }

    fn finish_call(&mut self, rest: &str, place: &str) {
        self.put(rest);
        self.put(&format!("\t{place}\n"));
        self.line = None;
    }

    fn whole_line(&mut self, tid: Tid, text: &str) {
        self.start_line(tid);
        self.put(text);
        self.put("\n");
        self.line = None;
    }
}
