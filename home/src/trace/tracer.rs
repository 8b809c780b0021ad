//! The events of one trace.

use std::borrow::Cow;
use std::collections::HashMap;

use syscall_table::render::{Entry, MARK};
use tracee::errno::restart;
use tracee::ptrace::SigInfo;
use tracee::{Event as Report, Stopped, Tid};
use wire::trace::{Ends, Traced, Wanted};

use super::event::{CallPlace, End, Event, Left, What};
use super::{Sink, now_ns, render};
use crate::procfs;

/// A call that has begun.
#[derive(Debug)]
struct Open {
    nr: u32,
    args: [u64; 6],
    began_ns: u64,
    entry: Begun,
    place: CallPlace,
    /// The restart code with which it has left the kernel. If no signal is delivered now, it goes on (after a move, or when
    /// the supervisor wanted the thread to stop), and nobody sees that.
    interrupted: Option<i64>,
}

impl Open {
    fn is(&self, nr: u32, args: &[u64; 6]) -> bool {
        self.nr == nr && self.args == *args
    }
}

/// Its first half.
#[derive(Debug)]
enum Begun {
    /// Nobody wants to read it.
    Unseen,
    /// Rendered here.
    Here(Entry),
    /// Rendered on a node.
    There(String),
}

impl Begun {
    fn text(&self) -> &str {
        match self {
            Begun::Unseen => "",
            Begun::Here(entry) => &entry.text,
            Begun::There(text) => text,
        }
    }

    fn into_text(self) -> String {
        match self {
            Begun::Unseen => String::new(),
            Begun::Here(entry) => entry.text,
            Begun::There(text) => text,
        }
    }
}

/// What a call of a body has cost here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Time in which the deputy had it, in nanoseconds.
    pub ns: u64,
    /// Bytes of requests and answers.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Tracer {
    wanted: Wanted,
    sinks: Vec<Box<dyn Sink>>,
    open: HashMap<Tid, Open>,
    /// Where the next call of a thread that comes home for it is made.
    next_place: HashMap<Tid, CallPlace>,
    /// Until the command's own image is in place, the calls are ours.
    begun: bool,
    /// Something was said since the last flush.
    dirty: bool,
    finished: bool,
}

impl Tracer {
    /// Of a process that is to become the command.
    pub fn of_command(wanted: Wanted, sinks: Vec<Box<dyn Sink>>) -> Tracer {
        Tracer {
            wanted,
            sinks,
            open: HashMap::new(),
            next_place: HashMap::new(),
            begun: false,
            dirty: false,
            finished: false,
        }
    }

    /// Of processes that run.
    pub fn of_running(wanted: Wanted, sink: Box<dyn Sink>) -> Tracer {
        Tracer { begun: true, ..Tracer::of_command(wanted, vec![sink]) }
    }

    /// What is wanted.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    fn emit(&mut self, at_ns: u64, pid: Tid, tid: Tid, what: What<'_>) {
        let event = Event { at_ns, pid, tid, what };
        self.sinks.iter_mut().for_each(|sink| sink.event(&event));
        self.dirty = true;
    }

    /// Something happens now.
    pub fn say(&mut self, pid: Tid, tid: Tid, what: What<'_>) {
        if self.begun {
            self.emit(now_ns(), pid, tid, what);
        }
    }

    /// A thread is in it from now on.
    pub fn born(&mut self, pid: Tid, tid: Tid) {
        self.say(pid, tid, What::Born);
        if pid == tid {
            self.runs(pid);
        }
    }

    fn runs(&mut self, pid: Tid) {
        if let Some(stat) = procfs::stat(pid) {
            self.say(pid, pid, What::Runs(Cow::Owned(stat.comm)));
        }
    }

    fn tell_entry(&mut self, pid: Tid, tid: Tid) {
        if !self.wanted.tells_entries() {
            return;
        }
        if let Some(Open { nr, began_ns, entry, .. }) = self.open.get(&tid) {
            // Sinks and calls are apart from each other.
            let what = What::Entered { nr: *nr, text: Cow::Borrowed(entry.text()) };
            let event = Event { at_ns: *began_ns, pid, tid, what };
            self.sinks.iter_mut().for_each(|sink| sink.event(&event));
            self.dirty = true;
        }
    }

    /// A thread at home is about to make a call.
    pub fn entered(&mut self, pid: Tid, tid: Tid, nr: u32, args: [u64; 6]) {
        if let Some(open) = self.open.get_mut(&tid)
            && render::is_restart(nr)
            && open.interrupted.take().is_some()
        {
            return;
        }
        let place = self.next_place.remove(&tid).unwrap_or(CallPlace::Home);
        if self.open.get(&tid).is_some_and(|open| !open.is(nr, &args)) {
            self.end_interrupted(pid, tid);
        }
        let before = self.open.remove(&tid);
        if !self.wanted.calls.has(nr) || !self.begun && !render::is_exec(nr) {
            return;
        }
        let entry = match &self.wanted.style {
            Some(style) => {
                let mut entry = render::entry(tid, nr, args, style);
                self.put_paths(pid, &mut entry.text);
                Begun::Here(entry)
            }
            None => Begun::Unseen,
        };
        // A call that is made again goes on in its line, also one that began on a node.
        let again = before.filter(|open| open.is(nr, &args)).map(|open| open.began_ns);
        let began_ns = again.unwrap_or_else(now_ns);
        self.open.insert(tid, Open { nr, args, began_ns, entry, place, interrupted: None });
        if self.begun && again.is_none() {
            self.tell_entry(pid, tid);
        }
    }

    /// A thread at home has made a call, or it was interrupted.
    pub fn left(&mut self, pid: Tid, tid: Tid, ret: i64) {
        match self.open.get_mut(&tid) {
            Some(open) if restart::is_code(ret) => open.interrupted = Some(ret),
            _ => self.returned(pid, tid, ret),
        }
    }

    /// An interrupted call does not go on at once.
    fn end_interrupted(&mut self, pid: Tid, tid: Tid) {
        if let Some(ret) = self.open.get(&tid).and_then(|open| open.interrupted) {
            self.returned(pid, tid, ret);
        }
    }

    fn returned(&mut self, pid: Tid, tid: Tid, ret: i64) {
        let Some(open) = self.open.remove(&tid) else { return };
        // A search of PATH tries several; only the one that succeeds is the command's.
        if !self.begun || !self.wanted.ends.has(Ends::of(ret)) {
            return;
        }
        let now = now_ns();
        let (mut rest, mut result) = match (&self.wanted.style, &open.entry) {
            (Some(style), Begun::Here(entry)) => render::exit(tid, entry, (open.nr, open.args), ret, style),
            _ => Default::default(),
        };
        self.put_paths(pid, &mut rest);
        self.put_paths(pid, &mut result);
        self.over(pid, tid, open, Over { now, ret: Some(ret), rest, result, ..Over::default() });
    }

    /// Puts in the paths of descriptors, if they are wanted.
    fn put_paths(&self, pid: Tid, text: &mut String) {
        if self.wanted.style.is_some_and(|style| style.paths) && text.contains(MARK) {
            *text = render::with_paths(pid, text);
        }
    }

    /// What a node has rendered. Its words are not to be trusted: they may end on a terminal.
    fn words(&self, pid: Tid, text: String) -> String {
        let mut text = printable(text);
        self.put_paths(pid, &mut text);
        if text.contains(MARK) { text.replace(MARK, "?") } else { text }
    }

    fn over(&mut self, pid: Tid, tid: Tid, open: Open, over: Over) {
        let Open { nr, began_ns, entry, place, .. } = open;
        let Over { now, ret, rest, result, took_ns, wire_ns, served } = over;
        let took_ns = took_ns.unwrap_or(u64::MAX).min(now.saturating_sub(began_ns));
        let wire_ns = wire_ns.min(took_ns);
        let left = Left {
            nr,
            began_ns,
            entry: entry.into_text(),
            rest,
            result,
            ret,
            place,
            took_ns,
            served_ns: served.ns.min(took_ns - wire_ns),
            wire_ns,
            bytes: served.bytes,
        };
        self.emit(now, pid, tid, What::Left(Box::new(left)));
    }

    /// What a node says of a thread.
    pub fn away(&mut self, pid: Tid, tid: Tid, traced: Traced, served: Served) {
        let now = now_ns();
        match traced {
            Traced::Entry(entry) => {
                if !self.entered_away(pid, tid, entry, now) {
                    self.tell_entry(pid, tid);
                }
            }
            Traced::Exit(exit) => {
                if let Some(entry) = exit.entry {
                    self.entered_away(pid, tid, entry, now);
                }
                let Some(mut open) = self.open.remove(&tid) else { return };
                open.place = if exit.forwarded { CallPlace::Forwarded } else { CallPlace::Remote };
                let (rest, result) = (self.words(pid, exit.rest), self.words(pid, exit.result));
                let (took_ns, wire_ns) = (Some(exit.took_ns), exit.asked_ns.saturating_sub(served.ns));
                let over = Over { now, ret: Some(exit.ret), rest, result, took_ns, wire_ns, served };
                self.over(pid, tid, open, over);
            }
            Traced::GoesHome(reason) => {
                self.next_place.insert(tid, CallPlace::GoneHome(printable(reason).replace(MARK, "?")));
            }
            Traced::Signal { at_ns, number, info } => {
                let mut bytes = [0; 128];
                let len = info.len().min(bytes.len());
                bytes[..len].copy_from_slice(&info[..len]);
                let info = render::siginfo(&SigInfo(bytes));
                self.emit(at_ns.min(now), pid, tid, What::Signal { number, info });
            }
        }
    }

    /// Whether a call goes on that began before a move.
    fn entered_away(&mut self, pid: Tid, tid: Tid, entry: wire::trace::Entry, now: u64) -> bool {
        let wire::trace::Entry { at_ns, nr, args, text } = entry;
        let entry = Begun::There(self.words(pid, text));
        let again = self.open.get(&tid).filter(|open| open.interrupted.is_some() && open.is(nr, &args));
        let again = again.map(|open| open.began_ns);
        if again.is_none() {
            self.end_interrupted(pid, tid);
        }
        let began_ns = again.unwrap_or(at_ns).min(now);
        let place = CallPlace::Remote;
        self.open.insert(tid, Open { nr, args, began_ns, entry, place, interrupted: None });
        again.is_some()
    }

    /// execve has succeeded, and its line is complete with that; `place` is where it was made if not where it began.
    pub fn exec_returned(&mut self, pid: Tid, tid: Tid, place: Option<CallPlace>) {
        self.next_place.remove(&tid);
        self.begin(pid, tid);
        if place.is_some() {
            self.runs(pid);
        }
        let Some(mut open) = self.open.remove(&tid) else { return };
        if !self.wanted.ends.has(Ends::SUCCESSFUL) {
            return;
        }
        open.place = place.unwrap_or(open.place);
        let (rest, result) = match (&self.wanted.style, &open.entry) {
            (None, _) | (_, Begun::Unseen) => Default::default(),
            (Some(style), Begun::Here(entry)) => {
                render::exit_without_memory(entry, (open.nr, open.args), 0, style)
            }
            (Some(style), Begun::There(_)) => {
                let entry = render::entry_without_memory(open.nr, open.args, style);
                render::exit_without_memory(&entry, (open.nr, open.args), 0, style)
            }
        };
        self.over(pid, tid, open, Over { now: now_ns(), ret: Some(0), rest, result, ..Over::default() });
    }

    /// The command's image is in place.
    fn begin(&mut self, pid: Tid, tid: Tid) {
        if !std::mem::replace(&mut self.begun, true) {
            self.say(pid, tid, What::Born);
            self.tell_entry(pid, tid);
        }
    }

    /// execve has succeeded in thread `former`, which has its leader's id from now on; the call has yet to return.
    pub fn executed(&mut self, leader: Tid, former: Tid) {
        if former != leader {
            if let Some(open) = self.open.remove(&former) {
                self.open.insert(leader, open);
            }
            self.say(leader, former, What::Superseded { by: leader });
        }
        self.begin(leader, leader);
        self.runs(leader);
    }

    /// A signal is about to be delivered.
    pub fn signal(&mut self, pid: Tid, at: &Stopped, number: i32) {
        self.end_interrupted(pid, at.tid());
        if self.begun && self.wanted.signal(number) {
            let info = render::siginfo(&at.siginfo().unwrap_or(SigInfo([0; 128])));
            self.say(pid, at.tid(), What::Signal { number, info });
        }
    }

    /// A thread has ended.
    pub fn ended(&mut self, pid: Tid, tid: Tid, report: Report) {
        self.next_place.remove(&tid);
        let open = self.open.remove(&tid);
        if !self.begun {
            return;
        }
        if let Some(open) = open.filter(|_| self.wanted.ends.has(Ends::UNFINISHED)) {
            // exit(2) and calls cut short by SIGKILL have no end.
            let (rest, result) = match (&self.wanted.style, &open.entry) {
                (None, _) | (_, Begun::Unseen) => Default::default(),
                (Some(style), Begun::Here(entry)) => render::no_exit(entry, (open.nr, open.args), style),
                (Some(style), Begun::There(_)) => {
                    let entry = render::entry_without_memory(open.nr, open.args, style);
                    render::no_exit(&entry, (open.nr, open.args), style)
                }
            };
            self.over(pid, tid, open, Over { now: now_ns(), rest, result, ..Over::default() });
        }
        let end = match report {
            Report::Exited(status) => End::Exited(status),
            Report::Killed { signal, core } => End::Killed { signal, core },
            Report::Stopped(_) => return,
        };
        self.say(pid, tid, What::Ended(end));
    }

    /// A thread is let go of.
    pub fn detached(&mut self, pid: Tid, tid: Tid) {
        self.open.remove(&tid);
        self.next_place.remove(&tid);
        self.say(pid, tid, What::Detached);
    }

    /// Whether something was said since this was asked last.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Writes what its sinks have kept. Answers whether something is left that could not be written yet.
    pub fn flush(&mut self) -> bool {
        let mut left = false;
        for sink in &mut self.sinks {
            left |= sink.flush();
        }
        left
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.sinks.iter_mut().for_each(|sink| sink.finish());
        }
    }
}

/// What is known when a call is over.
#[derive(Default)]
struct Over {
    now: u64,
    ret: Option<i64>,
    rest: String,
    result: String,
    /// If it is known better than from the clock.
    took_ns: Option<u64>,
    wire_ns: u64,
    served: Served,
}

/// Without what a terminal might take for orders. Rendered calls have printable characters only, and marks.
fn printable(text: String) -> String {
    let is_printable = |byte: u8| byte == b' ' || byte == MARK as u8 || byte.is_ascii_graphic();
    if text.bytes().all(is_printable) {
        return text;
    }
    text.chars().map(|c| if matches!(c, ' ' | MARK) || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_nodes_do_nothing_to_terminals() {
        assert_eq!(printable("write(1, \"a\\n\", 2".into()), "write(1, \"a\\n\", 2");
        assert_eq!(printable("\u{1b}[2Jx\ny é".into()), "?[2Jx?y ?");
    }
}
