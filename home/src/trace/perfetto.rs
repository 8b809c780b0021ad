//! A timeline in the Trace Event Format (JSON), which ui.perfetto.dev opens: a track for each thread with its calls, and in
//! those that were forwarded what the wire and the deputy took; moves on a track of their process.

use std::collections::HashMap;
use std::fs::File;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tracee::Tid;

use super::event::{CallPlace, Event, Left, Moved, What};
use super::output::Writer;
use super::{Sink, json, render, text};

/// The timeline.
#[derive(Debug)]
pub struct Perfetto {
    writer: Writer,
    /// Something was written.
    begun: bool,
    /// Numbers of moves.
    moves: u64,
    /// What each process runs.
    names: HashMap<Tid, String>,
}

/// One entry of the format. Times are microseconds.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'static str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: Tid,
    tid: Tid,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl<'a> Entry<'a> {
    fn new(event: &Event<'_>, ph: &'static str, cat: &'a str, name: &'a str, at_ns: u64) -> Entry<'a> {
        let (pid, tid) = (event.pid, event.tid);
        Entry { name, cat, ph, ts: micros(at_ns), dur: None, pid, tid, id: None, s: None, args: Map::new() }
    }

    fn arg(mut self, name: &str, value: impl Into<Value>) -> Entry<'a> {
        self.args.insert(name.to_owned(), value.into());
        self
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

impl Perfetto {
    /// Writes to `file`.
    pub fn new(file: Option<File>) -> Perfetto {
        Perfetto { writer: Writer::new(file), begun: false, moves: 0, names: HashMap::new() }
    }

    fn put(&mut self, entry: &Entry<'_>) {
        let Ok(text) = serde_json::to_string(entry) else { return };
        self.writer.put(if self.begun { ",\n" } else { "[\n" });
        self.writer.put(&text);
        self.begun = true;
    }

    fn slice(&mut self, event: &Event<'_>, (cat, name): (&str, &str), from_ns: u64, took_ns: u64) {
        let mut entry = Entry::new(event, "X", cat, name, from_ns);
        entry.dur = Some(micros(took_ns));
        self.put(&entry);
    }

    fn instant(&mut self, event: &Event<'_>, (cat, name): (&str, &str), about: &str) {
        let mut entry = Entry::new(event, "i", cat, name, event.at_ns);
        entry.s = Some("t");
        self.put(&if about.is_empty() { entry } else { entry.arg("info", about) });
    }

    fn call(&mut self, event: &Event<'_>, left: &Left) {
        let text = format!("{}{}", left.entry, left.rest);
        let name = render::name(left.nr);
        let place = match left.place {
            CallPlace::Home => "home",
            CallPlace::Remote => "remote",
            CallPlace::Forwarded => "forwarded",
            CallPlace::GoneHome(_) => "gone home",
        };
        let mut entry = Entry::new(event, "X", place, &name, left.began_ns)
            .arg("arguments", json::arguments(&text))
            .arg("result", left.result.as_str())
            .arg("place", left.place.to_string());
        entry.dur = Some(micros(left.took_ns));
        if left.place != CallPlace::Forwarded {
            return self.put(&entry);
        }
        self.put(&entry.arg("bytes", left.bytes));
        // When the request was on its way and when the answer is not known, only for how long together.
        let there = left.wire_ns / 2;
        let from = left.began_ns + left.took_ns.saturating_sub(left.wire_ns + left.served_ns) / 2;
        self.slice(event, ("wire", "wire"), from, there);
        self.slice(event, ("deputy", "deputy"), from + there, left.served_ns);
        self.slice(event, ("wire", "wire"), from + there + left.served_ns, left.wire_ns - there);
    }

    fn moved(&mut self, event: &Event<'_>, moved: &Moved) {
        self.moves += 1;
        let name = format!("{} → {}", moved.from, moved.to);
        if moved.failed {
            let name = format!("not moved {name}");
            return self.instant(event, ("move", &name), &moved.reason);
        }
        let freeze_ns = (moved.freeze_ms * 1e6) as u64;
        let mut begin = Entry::new(event, "b", "move", &name, event.at_ns.saturating_sub(freeze_ns))
            .arg("reason", moved.reason.as_str())
            .arg("bytes", moved.bytes);
        begin.id = Some(self.moves);
        self.put(&begin);
        let mut end = Entry::new(event, "e", "move", &name, event.at_ns);
        end.id = Some(self.moves);
        self.put(&end);
    }

    fn name(&mut self, event: &Event<'_>, kind: &str, name: &str) {
        self.put(&Entry::new(event, "M", "__metadata", kind, event.at_ns).arg("name", json!(name)));
    }
}

impl Sink for Perfetto {
    fn event(&mut self, event: &Event<'_>) {
        match &event.what {
            What::Entered { .. } => {}
            What::Born => {
                let name = self.names.get(&event.pid).cloned();
                if let Some(name) = name {
                    self.name(event, "thread_name", &name);
                }
            }
            What::Runs(program) => {
                self.names.insert(event.pid, program.clone().into_owned());
                self.name(event, "process_name", program);
                self.name(event, "thread_name", program);
            }
            What::Left(left) => self.call(event, left),
            What::Signal { number, info } => self.instant(event, ("signal", &render::signal(*number)), info),
            What::Stopped(number) => {
                self.instant(event, ("signal", "stopped"), &render::signal(*number));
            }
            What::Superseded { .. } => self.instant(event, ("end", "superseded by execve"), ""),
            What::Ended(end) => self.instant(event, ("end", &text::how(*end)), ""),
            What::Moved(moved) => self.moved(event, moved),
            What::Note(text) => self.instant(event, ("note", "note"), text),
            What::Detached => self.instant(event, ("end", "detached"), ""),
            What::Lost(events) => {
                self.instant(event, ("lost", "events are lost"), &events.to_string());
            }
        }
    }

    fn flush(&mut self) -> bool {
        self.writer.flush();
        false
    }

    fn finish(&mut self) {
        self.writer.put(if self.begun { "\n]\n" } else { "[]\n" });
        self.writer.flush();
    }
}
