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
