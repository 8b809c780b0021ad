//! strace's lines, with a last column that says where a call was made.
//!
//! Up to the tab a line is strace's; what is ours stands after it, so that programs that read strace's lines can cut it off.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use tracee::Tid;

use super::event::{CallPlace, End, Event, Left, What};
use super::output::Writer;
use super::wall::Wall;
use super::{Sink, render};

/// How lines look.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What time stands before a line.
    pub times: Times,
    /// The time since the line before stands before a line.
    pub relative: bool,
    /// The time that a call took stands after it.
    pub took: bool,
    /// A call's number stands before it.
    pub numbers: bool,
    /// Column of the `=`.
    pub column: usize,
    /// Lines that are left out.
    pub quiet: Quiet,
}

impl Default for Layout {
    fn default() -> Layout {
        let (times, quiet) = (Times::None, Quiet::default());
        Layout { times, relative: false, took: false, numbers: false, column: 40, quiet }
    }
}

/// See [`Layout::times`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// None.
    None,
    /// Of the day, in seconds.
    Seconds,
    /// Of the day, in microseconds.
    Micros,
    /// Since the epoch, in microseconds.
    Unix,
}

/// See [`Layout::quiet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// `Process 1 attached`.
    pub attach: bool,
    /// `+++ exited with 0 +++`
    pub exit: bool,
    /// `+++ superseded by execve in pid 1 +++`
    pub superseded: bool,
    /// `+++ moved home -> node +++`
    pub moves: bool,
}

/// Where lines go.
#[derive(Debug)]
pub enum Pages {
    /// All to the same, each with its thread's number if `prefix` says so, else if there are several threads.
    One {
        /// Where to.
        file: Option<File>,
        /// Also when there is one thread.
        prefix: bool,
    },
    /// Each thread's to a file of its own: this name, a dot, its number.
    Separate(PathBuf),
}

/// One output, and the line on it that is not complete.
#[derive(Debug)]
struct Page {
    writer: Writer,
    line: Option<Tid>,
    /// Characters of the line so far.
    column: usize,
}

impl Page {
    fn new(file: Option<File>) -> Page {
        Page { writer: Writer::new(file), line: None, column: 0 }
    }

    fn put(&mut self, text: &str) {
        self.column += text.chars().count();
        self.writer.put(text);
    }

    fn end_open_line(&mut self) {
        if self.line.take().is_some() {
            self.writer.put(" <unfinished ...>\n");
        }
    }
}

#[derive(Debug)]
enum Output {
    One { page: Page, prefix: bool },
    Separate { base: PathBuf, pages: HashMap<Tid, Page> },
}

/// The lines of a trace.
#[derive(Debug)]
pub struct Text {
    layout: Layout,
    output: Output,
    wall: Wall,
    /// When the line before was begun.
    before_ns: Option<u64>,
    /// Threads in a call whose first half is there to be read.
    entered: HashSet<Tid>,
    /// Threads that are alive, and the last call of each.
    alive: HashMap<Tid, u32>,
}

impl Text {
    /// Lines that look like `layout`, to `pages`.
    pub fn new(layout: Layout, pages: Pages) -> Text {
        let output = match pages {
            Pages::One { file, prefix } => Output::One { page: Page::new(file), prefix },
            Pages::Separate(base) => Output::Separate { base, pages: HashMap::new() },
        };
        Text {
            layout,
            output,
            wall: Wall::default(),
            before_ns: None,
            entered: HashSet::new(),
            alive: HashMap::new(),
        }
    }

    fn page(&mut self, tid: Tid) -> &mut Page {
        match &mut self.output {
            Output::One { page, .. } => page,
            Output::Separate { base, pages } => pages.entry(tid).or_insert_with(|| {
                let mut path = base.clone().into_os_string();
                path.push(format!(".{tid}"));
                // Without it the thread's lines are lost, as on a full disk.
                Page::new(OpenOptions::new().write(true).create(true).truncate(true).open(path).ok())
            }),
        }
    }

    /// Ends another thread's open line and begins one for a thread.
    fn start_line(&mut self, tid: Tid, at_ns: u64) {
        let mut leader = match &self.output {
            Output::One { prefix: true, .. } => format!("{tid:<5} "),
            Output::One { .. } if self.alive.len() > 1 => format!("[pid {tid:>5}] "),
            _ => String::new(),
        };
        self.put_times(&mut leader, at_ns);
        if self.layout.numbers {
            let _ = write!(leader, "[{:>4}] ", self.alive.get(&tid).copied().unwrap_or(0));
        }
        let page = self.page(tid);
        page.end_open_line();
        page.column = 0;
        page.put(&leader);
        page.line = Some(tid);
    }

    fn put_times(&mut self, leader: &mut String, at_ns: u64) {
        // Writing to a String does not fail.
        let _ = match self.layout.times {
            Times::None => Ok(()),
            Times::Unix => {
                let (s, ns) = self.wall.unix(at_ns);
                write!(leader, "{s}.{:06} ", ns / 1000)
            }
            Times::Seconds | Times::Micros => {
                let (s, ns) = self.wall.local(at_ns);
                let micros = if self.layout.times == Times::Micros {
                    format!(".{:06}", ns / 1000)
                } else {
                    String::new()
                };
                write!(leader, "{:02}:{:02}:{:02}{micros} ", s / 3600, s / 60 % 60, s % 60)
            }
        };
        if self.layout.relative {
            // What a node tells may be earlier than what came before.
            let since = at_ns.saturating_sub(self.before_ns.unwrap_or(at_ns)) / 1000;
            let since = format!("{:6}.{:06}", since / 1_000_000, since % 1_000_000);
            let _ = match self.layout.times {
                Times::None => write!(leader, "{since} "),
                _ => write!(leader, "(+{since}) "),
            };
            self.before_ns = Some(at_ns);
        }
    }

    fn whole_line(&mut self, event: &Event<'_>, text: &str) {
        self.start_line(event.tid, event.at_ns);
        let page = self.page(event.tid);
        page.put(text);
        page.put("\n");
        page.line = None;
    }

    fn left(&mut self, event: &Event<'_>, left: &Left) {
        let tid = event.tid;
        self.alive.insert(tid, left.nr);
        if !self.entered.remove(&tid) {
            self.start_line(tid, left.began_ns);
            self.page(tid).put(&left.entry);
        } else if self.page(tid).line != Some(tid) {
            self.start_line(tid, event.at_ns);
            let resumed = format!("<... {} resumed>", render::name(left.nr));
            self.page(tid).put(&resumed);
        }
        let Layout { column, took, .. } = self.layout;
        let page = self.page(tid);
        page.put(&left.rest);
        let pad = column.saturating_sub(1).saturating_sub(page.column);
        let mut end = format!("{:pad$} = {}", "", left.result);
        if took && left.ret.is_some() {
            let _ = write!(end, " <{}>", seconds(left.took_ns));
        }
        let _ = write!(end, "\t{}", left.place);
        if took && left.place == CallPlace::Forwarded {
            let _ = write!(end, " <wire {}>", seconds(left.wire_ns));
        }
        end.push('\n');
        page.put(&end);
        page.line = None;
    }
}

/// In seconds, to the microsecond.
fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000)
}

impl Sink for Text {
    fn event(&mut self, event: &Event<'_>) {
        let quiet = self.layout.quiet;
        match &event.what {
            What::Born => {
                self.alive.insert(event.tid, 0);
            }
            What::Entered { nr, text } => {
                self.alive.insert(event.tid, *nr);
                self.start_line(event.tid, event.at_ns);
                self.page(event.tid).put(text);
                self.entered.insert(event.tid);
            }
            What::Left(left) => self.left(event, left),
            What::Signal { number, info } => {
                self.whole_line(event, &format!("--- {} {info} ---", render::signal(*number)));
            }
            What::Stopped(number) => {
                self.whole_line(event, &format!("--- stopped by {} ---", render::signal(*number)));
            }
            What::Superseded { by } => {
                self.entered.remove(by);
                if self.entered.remove(&event.tid) {
                    self.page(event.tid).end_open_line();
                    self.entered.insert(*by);
                }
                if !quiet.superseded {
                    let text = format!("+++ superseded by execve in pid {} +++", event.tid);
                    self.whole_line(event, &text);
                }
                self.alive.remove(&event.tid);
            }
            What::Ended(end) => {
                if !quiet.exit {
                    self.whole_line(event, &format!("+++ {} +++", how(*end)));
                }
                self.gone(event.tid);
            }
            What::Moved(moved) if !quiet.moves => {
                let super::event::Moved { from, to, reason, freeze_ms, bytes, .. } = moved;
                let text = if moved.failed {
                    format!("+++ not moved {from} -> {to}: {reason} +++")
                } else {
                    format!("+++ moved {from} -> {to} ({reason}), {freeze_ms:.1} ms, {bytes} bytes +++")
                };
                self.whole_line(event, &text);
            }
            What::Detached => {
                if self.entered.remove(&event.tid) {
                    let page = self.page(event.tid);
                    if page.line == Some(event.tid) {
                        page.put(" <detached ...>\n");
                        page.line = None;
                    }
                }
                self.gone(event.tid);
            }
            What::Note(text) => self.whole_line(event, &format!("*** {text} ***")),
            What::Lost(events) => self.whole_line(event, &format!("*** {events} events are lost ***")),
            What::Runs(_) | What::Moved(_) => {}
        }
    }

    fn flush(&mut self) -> bool {
        match &mut self.output {
            Output::One { page, .. } => page.writer.flush(),
            Output::Separate { pages, .. } => pages.values_mut().for_each(|page| page.writer.flush()),
        }
        false
    }
}

impl Text {
    fn gone(&mut self, tid: Tid) {
        self.alive.remove(&tid);
        self.entered.remove(&tid);
        if let Output::Separate { pages, .. } = &mut self.output
            && let Some(mut page) = pages.remove(&tid)
        {
            page.writer.flush();
        }
    }
}

/// `exited with 0`, `killed by SIGTERM`.
pub fn how(end: End) -> String {
    match end {
        End::Exited(status) => format!("exited with {status}"),
        End::Killed { signal, core } => {
            format!("killed by {}{}", render::signal(signal), if core { " (core dumped)" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    const SLEEP: u32 = 35;
    const GETPID: u32 = 39;

    fn entered(nr: u32, text: &'static str) -> What<'static> {
        What::Entered { nr, text: text.into() }
    }

    fn left(nr: u32, entry: &str, rest: &str, result: &str) -> What<'static> {
        What::Left(Box::new(Left {
            nr,
            began_ns: 0,
            entry: entry.into(),
            rest: rest.into(),
            result: result.into(),
            ret: (result != "?").then_some(0),
            place: CallPlace::Remote,
            took_ns: 1_234_567_000,
            served_ns: 0,
            wire_ns: 0,
            bytes: 0,
        }))
    }

    /// The lines of what happens to threads of process 1.
    fn lines(layout: Layout, prefix: bool, events: Vec<(Tid, What<'static>)>) -> String {
        let mut file =
            File::from(rustix::fs::memfd_create("lines", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let pages = Pages::One { file: Some(file.try_clone().unwrap()), prefix };
        let mut text = Text::new(layout, pages);
        for (tid, what) in events {
            text.event(&Event { at_ns: 5_000_000_000, pid: 1, tid, what });
        }
        text.finish();
        let mut lines = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn calls_of_two_threads_are_cut_and_resumed() {
        let events = vec![
            (1, What::Born),
            (1, left(GETPID, "getpid(", ")", "1")),
            (2, What::Born),
            (1, entered(SLEEP, "nanosleep({tv_sec=1, tv_nsec=0}, ")),
            (2, left(GETPID, "getpid(", ")", "1")),
            (1, left(SLEEP, "nanosleep({tv_sec=1, tv_nsec=0}, ", "NULL)", "0")),
            (2, What::Ended(End::Exited(3))),
            (1, entered(SLEEP, "nanosleep(NULL, ")),
            (1, What::Signal { number: 9, info: "{}".into() }),
            (1, left(SLEEP, "nanosleep(NULL, ", " <unfinished ...>)", "?")),
            (1, What::Ended(End::Killed { signal: 9, core: false })),
        ];
        let expected = "getpid()                                = 1\tremote
[pid     1] nanosleep({tv_sec=1, tv_nsec=0},  <unfinished ...>
[pid     2] getpid()                    = 1\tremote
[pid     1] <... nanosleep resumed>NULL) = 0\tremote
[pid     2] +++ exited with 3 +++
nanosleep(NULL,  <unfinished ...>
--- SIGKILL {} ---
<... nanosleep resumed> <unfinished ...>) = ?\tremote
+++ killed by SIGKILL +++
";
        assert_eq!(lines(Layout::default(), false, events), expected);
    }

    #[test]
    fn what_stands_before_a_call_counts_for_its_column() {
        let layout = Layout { took: true, numbers: true, relative: true, ..Layout::default() };
        let events = vec![(7, left(GETPID, "getpid(", ")", "7"))];
        let expected = "7          0.000000 [  39] getpid()     = 7 <1.234567>\tremote\n";
        assert_eq!(lines(layout, true, events), expected);
    }

    #[test]
    fn an_execve_goes_on_in_its_leaders_name() {
        let events = vec![
            (1, What::Born),
            (2, What::Born),
            (2, entered(59, "execve(\"/bin/true\", [\"true\"], NULL")),
            (2, What::Superseded { by: 1 }),
            (1, left(59, "execve(\"/bin/true\", [\"true\"], NULL", ")", "0")),
        ];
        let expected = "2     execve(\"/bin/true\", [\"true\"], NULL <unfinished ...>
2     +++ superseded by execve in pid 2 +++
1     <... execve resumed>)             = 0\tremote
";
        assert_eq!(lines(Layout::default(), true, events), expected);
    }

    #[test]
    fn quiet_is_quiet() {
        let quiet = Quiet { exit: true, moves: true, ..Quiet::default() };
        let moved = super::super::event::Moved {
            from: "home".into(),
            to: "x".into(),
            reason: "exec".into(),
            failed: false,
            freeze_ms: 1.0,
            bytes: 2,
        };
        let events = || vec![(1, What::Moved(moved.clone())), (1, What::Ended(End::Exited(0)))];
        assert_eq!(lines(Layout { quiet, ..Layout::default() }, false, events()), "");
        let all = "+++ moved home -> x (exec), 1.0 ms, 2 bytes +++\n+++ exited with 0 +++\n";
        assert_eq!(lines(Layout::default(), false, events()), all);
    }
}
