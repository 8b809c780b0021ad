//! One line an event on standard error: level, event, then `key=value` pairs. A value with spaces or quotes is quoted as in JSON.

use std::fmt::{Display, Write as _};
use std::io::Write;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use wire::utc::rfc3339;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The daemon cannot do what it is for.
    Error,
    /// Somebody should look.
    Warn,
    /// What happened.
    Info,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
        }
    }

    /// As syslog(3) numbers them.
    fn priority(self) -> u8 {
        match self {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
        }
    }
}

/// A name and its value.
pub(crate) type Field<'a> = (&'static str, &'a dyn Display);

/// What happened.
pub(crate) fn info(event: &str, fields: &[Field<'_>]) {
    write(Level::Info, event, fields);
}

/// Somebody should look.
pub(crate) fn warn(event: &str, fields: &[Field<'_>]) {
    write(Level::Warn, event, fields);
}

/// The daemon cannot do what it is for.
pub(crate) fn error(event: &str, fields: &[Field<'_>]) {
    write(Level::Error, event, fields);
}

/// A line as it is kept for those who ask what has happened.
pub(crate) fn line(event: &str, fields: &[Field<'_>]) -> String {
    format!("{} {}", rfc3339(now_s()), body(event, fields))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn write(level: Level, event: &str, fields: &[Field<'_>]) {
    let mut line = if to_journal() {
        // sd-daemon(3). The journal has the time and the program.
        format!("<{}>", level.priority())
    } else {
        format!("{} mosixd ", rfc3339(now_s()))
    };
    line += level.word();
    line.push(' ');
    line += &body(event, fields);
    line.push('\n');
    // Whole, so that lines of several processes do not mix. Not eprintln: it panics when standard error is gone, and a daemon
    // outlives its terminal.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn body(event: &str, fields: &[Field<'_>]) -> String {
    let mut line = event.to_owned();
    for (key, value) in fields {
        let value = value.to_string();
        let plain = !value.is_empty()
            && value.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '\\');
        // Writing to a String cannot fail.
        let _ = if plain { write!(line, " {key}={value}") } else { write!(line, " {key}={value:?}") };
    }
    line
}

/// Whether standard error is a stream to the journal; systemd.exec(5), JOURNAL_STREAM.
fn to_journal() -> bool {
    static TO_JOURNAL: OnceLock<bool> = OnceLock::new();
    *TO_JOURNAL.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let named = stream
            .split_once(':')
            .and_then(|(device, inode)| Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?)));
        let own = rustix::fs::fstat(std::io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino));
        named.is_some() && named == own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_taken_apart_again() {
        let line = body("refused", &[("peer", &"10.0.0.1:5"), ("why", &"no \"certificate\"\n")]);
        assert_eq!(line, r#"refused peer=10.0.0.1:5 why="no \"certificate\"\n""#);
        assert_eq!(body("stopping", &[("why", &"")]), r#"stopping why="""#);
    }
}
