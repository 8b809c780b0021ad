//! strace's `-e` expressions.

use regex::Regex;
use syscall_table::sets::{self, CallSet};
use syscall_table::{by_name, by_number, flags};
use wire::trace::{Ends, Wanted};

/// What strace has that would change what the program does, or what it is shown.
const TAMPERING: [&str; 2] = ["inject", "fault"];
/// strace's other qualifiers.
const UNKNOWN_HERE: [&str; 9] =
    ["abbrev", "verbose", "raw", "read", "write", "reads", "writes", "kvm", "decode-fds"];

/// Takes one expression, as `-e` has it, into `wanted`: the last one of a kind holds. A qualifier that is about the output
/// alone, `quiet`, is given back with its value.
pub fn expression(text: &str, wanted: &mut Wanted) -> Result<Option<String>, String> {
    // A regular expression may hold a = of its own.
    let (kind, value) = match text.split_once('=') {
        Some((kind, value)) if !kind.contains('/') => (kind, value),
        _ => ("trace", text),
    };
    match kind {
        "trace" | "t" => wanted.calls = calls(value)?,
        "status" => wanted.ends = ends(value)?,
        "signal" | "signals" | "s" => wanted.signals = signals(value)?,
        "quiet" | "silent" | "silence" | "q" => return Ok(Some(value.to_owned())),
        kind if TAMPERING.contains(&kind) => {
            return Err(format!("-e {kind} would change what the program sees: there is no such thing here"));
        }
        kind if UNKNOWN_HERE.contains(&kind) => {
            return Err(format!("-e {kind} is strace's and not to be had here"));
        }
        _ => return Err(format!("invalid system call '{text}'")),
    }
    Ok(None)
}

/// Takes `!`s off the beginning; whether what remains is to be negated.
fn negation(text: &str) -> (bool, &str) {
    let rest = text.trim_start_matches('!');
    ((text.len() - rest.len()) % 2 == 1, rest)
}

/// `[!]all`, `[!]none`, or a list of calls, sets and regular expressions.
fn calls(text: &str) -> Result<CallSet, String> {
    let (negated, list) = negation(text);
    let mut set = CallSet::NONE;
    if list != "none" {
        let mut empty = true;
        for token in list.split(',').filter(|token| !token.is_empty()) {
            set = set.or(&call(token)?);
            empty = false;
        }
        if empty {
            return Err(format!("invalid system call '{list}'"));
        }
    }
    Ok(if negated { set.complement() } else { set })
}

fn call(token: &str) -> Result<CallSet, String> {
    // What is marked so need not exist.
    let (optional, name) = match token.strip_prefix('?') {
        Some(name) => (true, name),
        None => (false, token),
    };
    // There is one personality here.
    let name = name.strip_suffix("@64").unwrap_or(name);
    let found = if name == "all" {
        Some(CallSet::ALL)
    } else if let Some(pattern) = name.strip_prefix('/') {
        let regex = Regex::new(pattern).map_err(|error| format!("-e trace={token}: {error}"))?;
        let matching = CallSet::of(|call| regex.is_match(call.name));
        (!matching.is_empty()).then_some(matching)
    } else if let Some(set) = name.strip_prefix('%').and_then(sets::set) {
        Some(set)
    } else {
        let nr = match name.parse() {
            Ok(nr) => by_number(nr).map(|call| call.nr),
            Err(_) => by_name(name).map(|call| call.nr),
        };
        let set = nr.map(|nr| {
            let mut set = CallSet::NONE;
            set.add(nr);
            set
        });
        // Without the % as strace once had it, where no call is called so.
        set.or_else(|| sets::set(name).filter(|_| OLD_SETS.contains(&name)))
    };
    match found {
        Some(set) => Ok(set),
        None if optional => Ok(CallSet::NONE),
        None => Err(format!("invalid system call '{token}'")),
    }
}

/// Sets whose names are valid without `%` too.
const OLD_SETS: [&str; 7] = ["file", "process", "network", "signal", "ipc", "desc", "memory"];

fn ends(text: &str) -> Result<Ends, String> {
    let (negated, list) = negation(text);
    let mut ends = Ends::NONE;
    for token in list.split(',') {
        ends = ends.or(match token {
            "all" => Ends::ALL,
            "none" => Ends::NONE,
            "successful" => Ends::SUCCESSFUL,
            "failed" => Ends::FAILED,
            "unfinished" => Ends::UNFINISHED,
            "unavailable" => Ends::UNAVAILABLE,
            "detached" => Ends::DETACHED,
            _ => return Err(format!("invalid status '{token}'")),
        });
    }
    Ok(if negated { ends.complement() } else { ends })
}

fn signals(text: &str) -> Result<u64, String> {
    let (negated, list) = negation(text);
    let mut set = 0;
    for token in list.split(',') {
        set |= match token {
            "all" => u64::MAX,
            "none" => 0,
            name => 1 << (signal(name).ok_or_else(|| format!("invalid signal '{name}'"))? - 1),
        };
    }
    Ok(if negated { !set } else { set })
}

/// A signal's number, from 1 to 64.
fn signal(name: &str) -> Option<u64> {
    if let Ok(number) = name.parse::<u64>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if full == "SIGRTMIN" {
        return Some(32);
    }
    let real_time = full.strip_prefix("SIGRT_").and_then(|rest| rest.parse::<u64>().ok());
    if let Some(number) = real_time {
        return (1..=32).contains(&number).then_some(32 + number);
    }
    flags::SIGNAL.bits.iter().find(|(_, known)| *known == full).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        calls(text).unwrap_or_else(|error| panic!("{text}: {error}")).calls().map(|call| call.name).collect()
    }

    #[test]
    fn calls_are_chosen_as_by_strace() {
        assert_eq!(names("openat,read"), ["read", "openat"]);
        assert_eq!(names("0,write@64"), ["read", "write"]);
        assert_eq!(names("?nosuch,read"), ["read"]);
        assert_eq!(names("/^p?readv$"), ["readv", "preadv"]);
        assert_eq!(names("%clock"), names("%clock,?nosuch"));
        assert_eq!(names("file"), names("%file"));
        assert_eq!(names("stat"), ["stat"]);
        assert!(names("none").is_empty() && names("!all").is_empty());
        assert_eq!(calls("!none"), Ok(CallSet::ALL));
        assert_eq!(calls("!!all"), Ok(CallSet::ALL));
        let most = calls("!read").unwrap();
        assert!(!most.has(0) && most.has(1) && most.has(9_999));
        for wrong in ["", ",", "nosuch", "%nosuch", "9999", "/(", "/^nosuch$", "clock"] {
            assert!(calls(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn expressions_say_what_they_are_about() {
        let mut wanted = Wanted::all();
        for text in ["trace=read", "t=write", "status=failed,unfinished", "signal=!INT,SIGTERM,3,rt_2"] {
            assert_eq!(expression(text, &mut wanted), Ok(None), "{text}");
        }
        // The last one holds.
        assert_eq!(wanted.calls, calls("write").unwrap());
        assert_eq!(wanted.ends, Ends::FAILED.or(Ends::UNFINISHED));
        assert_eq!(!wanted.signals, 1 << 1 | 1 << 14 | 1 << 2 | 1 << 33);
        assert_eq!(expression("/^x=|^read$", &mut wanted), Ok(None));
        assert_eq!(wanted.calls, calls("read").unwrap());
        assert_eq!(expression("quiet=exit", &mut wanted), Ok(Some("exit".into())));
        for wrong in ["inject=read", "raw=all", "foo=bar", "status=x", "signal=0", "signal=65", "signal=x"] {
            assert!(expression(wrong, &mut wanted).is_err(), "{wrong}");
        }
    }
}
