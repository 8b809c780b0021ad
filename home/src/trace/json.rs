//! One JSON object a line; docs/TRACE.md has the fields.

use std::fs::File;

use serde::Serialize;
use tracee::Tid;

use super::event::{CallPlace, End, Event, Left, Moved, What};
use super::output::Writer;
use super::wall::Wall;
use super::{Sink, render};

/// Objects, one a line.
#[derive(Debug)]
pub struct Json {
    writer: Writer,
    wall: Wall,
}

impl Json {
    /// Writes to `file`.
    pub fn new(file: Option<File>) -> Json {
        Json { writer: Writer::new(file), wall: Wall::default() }
    }

    fn line(&mut self, event: &Event<'_>, at_ns: u64, what: Object<'_>) {
        let (s, ns) = self.wall.unix(at_ns);
        // To the microsecond, which a double still holds.
        let time = s as f64 + f64::from(ns / 1000) / 1e6;
        let line = Line { time, pid: event.pid, tid: event.tid, what };
        // Fails for maps with odd keys only, and there are none.
        if let Ok(mut text) = serde_json::to_string(&line) {
            text.push('\n');
            self.writer.put(&text);
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: f64,
    pid: Tid,
    tid: Tid,
    #[serde(flatten)]
    what: Object<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Object<'a> {
    Call(Box<Call<'a>>),
    Signal { signal: String, info: &'a str },
    Stopped { signal: String },
    Superseded { by: Tid },
    Exited { status: i32 },
    Killed { signal: String, core: bool },
    Moved { from: &'a str, to: &'a str, reason: &'a str, freeze_ms: f64, bytes: u64 },
    NotMoved { from: &'a str, to: &'a str, reason: &'a str },
    Runs { program: &'a str },
    Note { text: &'a str },
    Detached,
    Lost { events: u64 },
}

#[derive(Serialize)]
struct Call<'a> {
    call: String,
    nr: u32,
    args: Vec<&'a str>,
    /// The number that it returned; null of a call that did not return.
    ret: Option<i64>,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'a str>,
    place: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    duration_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<Wire>,
}

#[derive(Serialize)]
struct Wire {
    ns: u64,
    served_ns: u64,
    bytes: u64,
}

impl<'a> Call<'a> {
    fn new(left: &'a Left, text: &'a str) -> Call<'a> {
        let (place, reason) = match &left.place {
            CallPlace::Home => ("home", None),
            CallPlace::Remote => ("remote", None),
            CallPlace::Forwarded => ("forwarded", None),
            CallPlace::GoneHome(reason) => ("gone home", Some(reason.as_str())),
        };
        let failed = left.ret.filter(|ret| (-4095..0).contains(ret));
        Call {
            call: render::name(left.nr),
            nr: left.nr,
            args: arguments(text),
            ret: left.ret,
            result: &left.result,
            errno: failed.and_then(|ret| render::errno(-ret as i32)),
            place,
            reason,
            duration_ns: left.took_ns,
            wire: (left.place == CallPlace::Forwarded).then_some(Wire {
                ns: left.wire_ns,
                served_ns: left.served_ns,
                bytes: left.bytes,
            }),
        }
    }
}

/// The arguments of a rendered call: what stands between its parentheses, cut at commas that are in no string and no
/// brackets.
pub fn arguments(text: &str) -> Vec<&str> {
    let inner = text.split_once('(').map_or("", |(_, rest)| rest);
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let mut all = Vec::new();
    let (mut depth, mut quoted, mut escaped, mut from) = (0i32, false, false, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                all.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    let last = inner[from..].trim();
    if !last.is_empty() {
        all.push(last);
    }
    all
}

impl Sink for Json {
    fn event(&mut self, event: &Event<'_>) {
        let at = event.at_ns;
        match &event.what {
            What::Born | What::Entered { .. } => {}
            What::Runs(program) => self.line(event, at, Object::Runs { program }),
            What::Left(left) => {
                let text = format!("{}{}", left.entry, left.rest);
                self.line(event, left.began_ns, Object::Call(Box::new(Call::new(left, &text))));
            }
            What::Signal { number, info } => {
                self.line(event, at, Object::Signal { signal: render::signal(*number), info });
            }
            What::Stopped(number) => {
                self.line(event, at, Object::Stopped { signal: render::signal(*number) })
            }
            What::Superseded { by } => self.line(event, at, Object::Superseded { by: *by }),
            What::Ended(End::Exited(status)) => self.line(event, at, Object::Exited { status: *status }),
            What::Ended(End::Killed { signal, core }) => {
                self.line(event, at, Object::Killed { signal: render::signal(*signal), core: *core });
            }
            What::Moved(Moved { from, to, reason, failed: true, .. }) => {
                self.line(event, at, Object::NotMoved { from, to, reason });
            }
            What::Moved(Moved { from, to, reason, freeze_ms, bytes, .. }) => {
                let (freeze_ms, bytes) = (*freeze_ms, *bytes);
                self.line(event, at, Object::Moved { from, to, reason, freeze_ms, bytes });
            }
            What::Note(text) => self.line(event, at, Object::Note { text }),
            What::Detached => self.line(event, at, Object::Detached),
            What::Lost(events) => self.line(event, at, Object::Lost { events: *events }),
        }
    }

    fn flush(&mut self) -> bool {
        self.writer.flush();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_at_their_commas() {
        for (text, parts) in [
            ("getpid()", vec![]),
            (r#"write(1, "a, (\"b", 7)"#, vec!["1", r#""a, (\"b""#, "7"]),
            (
                r#"wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL)"#,
                vec!["-1", "[{WIFEXITED(s) && WEXITSTATUS(s) == 0}]", "0", "NULL"],
            ),
            (
                "stat(\"x\", {st_mode=S_IFREG|0644, st_size=3, ...})",
                vec!["\"x\"", "{st_mode=S_IFREG|0644, st_size=3, ...}"],
            ),
            (
                "rt_sigprocmask(SIG_SETMASK, ~[RTMIN RT_1], NULL, 8)",
                vec!["SIG_SETMASK", "~[RTMIN RT_1]", "NULL", "8"],
            ),
        ] {
            assert_eq!(arguments(text), parts, "{text}");
        }
    }
}
