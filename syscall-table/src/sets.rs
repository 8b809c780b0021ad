//! Sets of calls, and those that have a name: strace's `%file`, `%network` and so on.
//!
//! Who takes a path, a descriptor, a socket or a signal stands in the table. What does not, because a call does the thing by
//! other means or because strace counts it differently, is listed here by name.

use crate::kinds::{Kind, Shape};
use crate::lookup::{all, by_name};
use crate::table::LAST;
use crate::types::{Call, Ret};

const WORDS: usize = LAST as usize / 64 + 1;

/// A set of calls. Numbers that the table does not know are in it together, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CallSet {
    bits: [u64; WORDS],
    unknown: bool,
}

impl CallSet {
    /// No call.
    pub const NONE: CallSet = CallSet { bits: [0; WORDS], unknown: false };
    /// Every call.
    pub const ALL: CallSet = CallSet { bits: [u64::MAX; WORDS], unknown: true };

    /// Whether a call is in it. Constant time.
    pub fn has(&self, nr: u32) -> bool {
        self.bits.get(nr as usize / 64).map_or(self.unknown, |word| word >> (nr % 64) & 1 == 1)
    }

    /// Adds a call. One that the table does not know stands for all of them.
    pub fn add(&mut self, nr: u32) {
        match self.bits.get_mut(nr as usize / 64) {
            Some(word) => *word |= 1 << (nr % 64),
            None => self.unknown = true,
        }
    }

    /// Whether no call is in it.
    pub fn is_empty(&self) -> bool {
        *self == CallSet::NONE
    }

    /// What is in either.
    #[must_use]
    pub fn or(mut self, other: &CallSet) -> CallSet {
        self.bits.iter_mut().zip(other.bits).for_each(|(word, other)| *word |= other);
        self.unknown |= other.unknown;
        self
    }

    /// What is not in it.
    #[must_use]
    pub fn complement(mut self) -> CallSet {
        self.bits.iter_mut().for_each(|word| *word = !*word);
        self.unknown = !self.unknown;
        self
    }

    /// The calls of the table for which `is_in` holds.
    pub fn of(is_in: impl Fn(&Call) -> bool) -> CallSet {
        let mut set = CallSet::NONE;
        all().iter().filter(|call| is_in(call)).for_each(|call| set.add(call.nr));
        set
    }

    /// The calls of the table that are in it.
    pub fn calls(&self) -> impl Iterator<Item = &'static Call> + '_ {
        all().iter().filter(|call| self.has(call.nr))
    }
}

/// What a name stands for in `-e trace=%name`.
pub fn set(name: &str) -> Option<CallSet> {
    Some(match name {
        "file" => CallSet::of(takes_path).or(&listed(NAMES_A_FILE)),
        "desc" => CallSet::of(takes_descriptor).or(&listed(USES_DESCRIPTORS)),
        "net" | "network" => CallSet::of(takes_socket).or(&listed(&["sendfile", "getpmsg", "putpmsg"])),
        "ipc" => CallSet::of(|call| ["msg", "sem", "shm"].iter().any(|kind| call.name.starts_with(kind))),
        "signal" => CallSet::of(takes_signal).or(&listed(ABOUT_SIGNALS)),
        "process" => listed(PROCESS),
        "memory" => listed(MEMORY),
        "creds" => listed(CREDENTIALS),
        "clock" => listed(CLOCK),
        "stat" => listed(&["stat"]),
        "lstat" => listed(&["lstat"]),
        "fstat" => listed(&["fstat", "newfstatat", "statx"]),
        "%stat" => listed(&["stat", "lstat", "fstat", "newfstatat", "statx"]),
        "statfs" => listed(&["statfs"]),
        "fstatfs" => listed(&["fstatfs"]),
        "%statfs" => listed(&["statfs", "fstatfs", "ustat"]),
        "pure" => listed(PURE),
        _ => return None,
    })
}

fn listed(names: &[&str]) -> CallSet {
    let mut set = CallSet::NONE;
    for call in names.iter().filter_map(|name| by_name(name)) {
        set.add(call.nr);
    }
    set
}

fn any_argument(call: &Call, is: impl Fn(Kind) -> bool) -> bool {
    call.args.iter().any(|arg| is(arg.kind))
}

/// Message queues have names of their own, which look like paths (mq_overview(7)).
fn takes_path(call: &Call) -> bool {
    any_argument(call, |kind| kind == Kind::Path) && !call.name.starts_with("mq_")
}

/// Sockets have a set of their own.
fn takes_descriptor(call: &Call) -> bool {
    let descriptor = |kind: Kind| {
        matches!(kind, Kind::Fd | Kind::DirFd | Kind::FdSet { .. } | Kind::PollFds { .. })
            || matches!(kind, Kind::Out(_, Shape::FdPair))
    };
    (any_argument(call, descriptor) || call.ret == Ret::NewFd) && !takes_socket(call)
}

fn takes_socket(call: &Call) -> bool {
    call.name.starts_with("socket") || call.args.first().is_some_and(|arg| arg.name == "sockfd")
}

fn takes_signal(call: &Call) -> bool {
    call.name.starts_with("rt_") || any_argument(call, |kind| kind == Kind::Signal)
}

const NAMES_A_FILE: &[&str] = &["fsconfig", "getcwd"];
const USES_DESCRIPTORS: &[&str] = &["bpf"];
const ABOUT_SIGNALS: &[&str] = &["io_uring_enter", "pause", "sigaltstack", "signalfd", "signalfd4"];
const PROCESS: &[&str] = &[
    "clone",
    "clone3",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "kill",
    "pidfd_send_signal",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "tgkill",
    "tkill",
    "vfork",
    "wait4",
    "waitid",
];
const MEMORY: &[&str] = &[
    "brk",
    "get_mempolicy",
    "io_destroy",
    "io_setup",
    "io_uring_register",
    "madvise",
    "map_shadow_stack",
    "mbind",
    "migrate_pages",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "move_pages",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_mprotect",
    "remap_file_pages",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "shmat",
    "shmdt",
];
const CREDENTIALS: &[&str] = &[
    "capget",
    "capset",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "prctl",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
];
const CLOCK: &[&str] = &[
    "adjtimex",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_settime",
    "gettimeofday",
    "settimeofday",
    "time",
];
const PURE: &[&str] = &["getegid", "geteuid", "getgid", "getpgrp", "getpid", "getppid", "gettid", "getuid"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_listed_is_a_call() {
        let lists =
            [NAMES_A_FILE, USES_DESCRIPTORS, ABOUT_SIGNALS, PROCESS, MEMORY, CREDENTIALS, CLOCK, PURE];
        for name in lists.into_iter().flatten() {
            assert!(by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn sets_are_what_they_are_called() {
        let file = set("file").unwrap();
        let names: Vec<&str> = file.calls().map(|call| call.name).collect();
        assert!(names.contains(&"openat") && names.contains(&"execve") && !names.contains(&"read"));
        assert!(set("desc").unwrap().has(0) && !set("desc").unwrap().has(by_name("listen").unwrap().nr));
        assert_eq!(set("net"), set("network"));
        assert!(set("nosuch").is_none());
    }

    #[test]
    fn sets_add_up() {
        let one = set("stat").unwrap().or(&set("lstat").unwrap());
        assert_eq!(one.calls().map(|call| call.name).collect::<Vec<_>>(), ["stat", "lstat"]);
        let rest = one.complement();
        assert!(!rest.has(4) && rest.has(0) && rest.has(100_000) && !one.has(100_000));
        assert_eq!(one.or(&rest), CallSet::ALL);
        assert!(CallSet::NONE.is_empty() && !rest.is_empty() && CallSet::ALL.complement().is_empty());
        let mut unknown = CallSet::NONE;
        unknown.add(100_000);
        assert!(unknown.has(200_000) && !unknown.has(0));
    }
}
