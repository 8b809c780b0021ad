//! Descriptors. Their paths stand in the kernel where they are open, which need not be the one where the call is rendered: so
//! a mark takes the place of each path until somebody knows it.

use super::Printer;

/// Stands after a descriptor in what is rendered with [`super::Style::paths`]. Rendered calls have no such character
/// otherwise.
pub const MARK: char = '\u{1}';

const AT_FDCWD: i32 = -100;

/// Puts in the path of each marked descriptor, as `path` has it: `3` becomes `3</etc/passwd>`. AT_FDCWD is asked for as -100.
/// Where none is known, nothing is put in.
pub fn with_paths(text: &str, mut path: impl FnMut(i32) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split(MARK);
    out.push_str(parts.next().unwrap_or(""));
    let mut before = out.clone();
    for part in parts {
        let number = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        let fd = if before.ends_with("AT_FDCWD") { Some(AT_FDCWD) } else { number.parse().ok() };
        if let Some(shown) = fd.and_then(&mut path) {
            out.push_str(&shown);
        }
        out.push_str(part);
        before.clear();
        before.push_str(part);
    }
    out
}

/// A path as strace shows it after a descriptor: in `<>`, escaped, and outside of them that it has no name any more.
pub fn shown_path(path: &[u8]) -> String {
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, "(deleted)"),
        None => (path, ""),
    };
    let quoted = super::values::quoted(path, usize::MAX);
    // Between other brackets other characters stand out.
    let inner = quoted[1..quoted.len() - 1].replace("\\\"", "\"").replace('<', "\\74").replace('>', "\\76");
    format!("<{inner}>{deleted}")
}

impl Printer<'_> {
    /// A descriptor, and the mark for its path.
    pub(super) fn descriptor(&self, fd: i32) -> String {
        let mark = if self.style.paths && (fd >= 0 || fd == AT_FDCWD) { "\u{1}" } else { "" };
        if fd == AT_FDCWD { format!("AT_FDCWD{mark}") } else { format!("{fd}{mark}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_take_the_place_of_marks() {
        let path = |fd| match fd {
            3 => Some("</etc>".to_owned()),
            -100 => Some("</tmp>".to_owned()),
            _ => None,
        };
        for (text, whole) in [
            ("close(3\u{1}", "close(3</etc>"),
            ("openat(AT_FDCWD\u{1}, \"x\"", "openat(AT_FDCWD</tmp>, \"x\""),
            ("poll([{fd=3\u{1}, events=POLLIN}, {fd=13\u{1}", "poll([{fd=3</etc>, events=POLLIN}, {fd=13"),
            ("3\u{1}", "3</etc>"),
            ("getpid(", "getpid("),
        ] {
            assert_eq!(with_paths(text, path), whole);
        }
    }

    #[test]
    fn paths_are_escaped() {
        for (path, shown) in [
            (&b"/a\nb"[..], "</a\\nb>"),
            (b"/a (deleted)", "</a>(deleted)"),
            (b"/a<b>\"c", "</a\\74b\\76\"c>"),
            (b"pipe:[7]", "<pipe:[7]>"),
        ] {
            assert_eq!(shown_path(path), shown);
        }
    }
}
