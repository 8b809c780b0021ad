//! What differs between any two runs of a command under strace is made the same: addresses, pids, times, random bytes,
//! what else happens on the machine.

use std::collections::HashSet;

/// Calls whose results are processes.
const GIVE_PIDS: [&str; 13] = [
    "set_tid_address",
    "getpid",
    "getppid",
    "gettid",
    "getpgrp",
    "getpgid",
    "getsid",
    "setsid",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "wait4",
];

/// Calls that have processes among their arguments.
const TAKE_PIDS: [&str; 26] = [
    "kill",
    "tkill",
    "tgkill",
    "getpgid",
    "getsid",
    "setpgid",
    "waitid",
    "prlimit64",
    "pidfd_open",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "kcmp",
    "process_vm_readv",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getscheduler",
    "sched_setscheduler",
    "sched_getparam",
    "sched_rr_get_interval",
    "getpriority",
    "setpriority",
    "get_robust_list",
    "ioctl",
    "fcntl",
    "capget",
    "futex",
];

/// Fields that hold a process.
const PID_FIELDS: [&str; 8] =
    ["si_pid", "pid", "l_pid", "msg_lspid", "msg_lrpid", "shm_cpid", "shm_lpid", "parent_tid"];

/// Calls whose results, and whose first arguments, are numbers of System V objects.
const GIVE_IPC: [&str; 3] = ["semget", "msgget", "shmget"];
const TAKE_IPC: [&str; 9] =
    ["semop", "semtimedop", "semctl", "msgsnd", "msgrcv", "msgctl", "shmat", "shmctl", "shmdt"];

/// Calls of which nothing but the name is compared: all that they bring is random, or the time.
const BY_NAME: [&str; 5] = ["getrandom", "time", "times", "getcpu", "add_key"];

/// Fields that say how much something has run, or how full the machine is.
const VARYING: [&str; 31] = [
    "si_utime",
    "si_stime",
    "uptime",
    "freeram",
    "sharedram",
    "bufferram",
    "freeswap",
    "procs",
    "f_bfree",
    "f_bavail",
    "f_ffree",
    "st_ino",
    "d_ino",
    "nl_pid",
    "sigev_value",
    "si_overrun",
    "shm_atime",
    "shm_dtime",
    "shm_ctime",
    "msg_stime",
    "msg_rtime",
    "msg_ctime",
    "sem_otime",
    "sem_ctime",
    "max_file_handle",
    "nlmsg_pid",
    "nlmsg_seq",
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
];

/// Lists that vary, by how they begin and end: an inode's number and generation, the machine's load.
const VARYING_LISTS: [(&str, char); 2] = [("f_handle=\"", '"'), ("loads=[", ']')];

/// Names that programs make up, by what stands before the random part and its length.
const MADE_UP: [(&str, usize); 4] = [("/tmp/cc", 6), ("tmp_obj_", 6), ("tree/sed", 6), ("/tmp/v", 7)];

/// Files whose contents are random, or about the process and the machine.
const VARYING_FILES: [&str; 3] = ["\"/dev/urandom\"", "\"/proc/", "\"/dev/random\""];

/// Lower numbers in hexadecimal are flags.
const LOWEST_ADDRESS: u64 = 0x10_0000;

/// Pointers in a union with a number.
const LOWEST_ADDRESS_IN_DECIMAL: u64 = 0x5500_0000_0000;

/// Ports from here on are the kernel's choice (net.ipv4.ip_local_port_range).
const LOWEST_FREE_PORT: u64 = 32768;

/// All lines of one process.
pub fn lines(trace: &[String]) -> Vec<String> {
    let mut pids = HashSet::new();
    for line in trace {
        if let (Some(name), Some(result)) = (name_of(line), result_of(line))
            && GIVE_PIDS.contains(&name)
            && let Ok(pid) = result.parse::<u64>()
            && pid > 1
            && !result.starts_with('0')
        {
            pids.insert(pid);
        }
    }
    let mut varying = HashSet::new();
    let (children, mut lines): (Vec<String>, Vec<String>) = trace
        .iter()
        .map(|line| masked(&contents(line, &mut varying), &pids))
        // A child's end comes when it comes.
        .partition(|line| line.starts_with("--- SIGCHLD "));
    if trace.iter().any(|line| line.contains("CLONE_THREAD")) {
        // Who waits for whom is a race.
        lines.retain(|line| !line.starts_with("futex("));
    }
    lines.extend(children);
    lines
}

/// What is read from some files is not compared; `varying` holds their descriptors.
fn contents(line: &str, varying: &mut HashSet<String>) -> String {
    let argument =
        || line.split_once('(').and_then(|(_, rest)| rest.split([',', ')']).next()).unwrap_or_default();
    match name_of(line) {
        Some("openat" | "open") => {
            if let Some(fd) = result_of(line).filter(|_| VARYING_FILES.iter().any(|file| line.contains(file)))
            {
                varying.insert(fd.to_owned());
            }
        }
        Some("close") => {
            varying.remove(argument());
        }
        Some(name @ ("read" | "pread64" | "getdents64" | "lseek")) if varying.contains(argument()) => {
            return format!("{name}({})", argument());
        }
        _ => {}
    }
    line.to_owned()
}

fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('(')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(name)
}

fn result_of(line: &str) -> Option<&str> {
    line.rsplit_once(" = ")?.1.split(' ').next()
}

fn masked(line: &str, pids: &HashSet<u64>) -> String {
    let (call, result) = match line.rsplit_once(") ") {
        // Padding before the result depends on the length of what is masked.
        Some((call, result)) if result.trim_start().starts_with("= ") => {
            (format!("{call})"), Some(result.trim_start()[2..].to_owned()))
        }
        _ => (line.to_owned(), None),
    };
    let name = name_of(line).unwrap_or_default();
    if BY_NAME.contains(&name) {
        return name.to_owned();
    }
    let call = if TAKE_IPC.contains(&name) {
        let rest = call.find(", ").map_or("", |at| &call[at..]);
        format!("{name}(IPC{rest}")
    } else {
        call
    };
    let result = match result {
        Some(number) if GIVE_IPC.contains(&name) && !number.starts_with('-') => Some("IPC".to_owned()),
        other => other,
    };
    let text = match result {
        Some(result) => format!("{call} = {result}"),
        None => call,
    };
    let processes = GIVE_PIDS.contains(&name) || TAKE_PIDS.contains(&name);
    times(&names(&words(&text, pids, processes)))
}

/// Addresses, pids and fields, word by word; `processes` says that any number may be a pid.
fn words(text: &str, pids: &HashSet<u64>, processes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut quoted) = (text, false);
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !word(first) {
            if first == '\\' && quoted {
                let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..len]);
                rest = &rest[len..];
                continue;
            }
            quoted ^= first == '"';
            out.push(first);
            rest = &rest[first.len_utf8()..];
            if let Some((_, end)) = VARYING_LISTS.iter().find(|(head, _)| out.ends_with(head)) {
                rest = rest.find(*end).map_or("", |end| &rest[end..]);
            }
            continue;
        }
        let end = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
        let (this, after) = rest.split_at(end);
        rest = after;
        let before = out.strip_suffix(['-', '[']).unwrap_or(&out);
        let label = before.strip_suffix('=').map(|out| {
            let begin = out.rfind(|c: char| !word(c)).map_or(0, |at| at + 1);
            &out[begin..]
        });
        if label.is_some_and(|label| VARYING.contains(&label)) {
            out.push('?');
            // A time in ticks has the same in seconds beside it.
            if let Some((_, after)) = rest.strip_prefix(" /* ").and_then(|comment| comment.split_once(" */"))
            {
                rest = after;
            }
        } else if let Some(digits) = this.strip_prefix("0x")
            && !quoted
            && u64::from_str_radix(digits, 16).is_ok_and(|value| value >= LOWEST_ADDRESS)
        {
            out.push_str("0x?");
        } else if let Ok(number) = this.parse::<u64>()
            && (number >= LOWEST_ADDRESS_IN_DECIMAL
                || pids.contains(&number)
                    && (processes
                        || out.ends_with("\"/proc/")
                        || label.is_some_and(|label| PID_FIELDS.contains(&label)))
                || out.ends_with("htons(") && number >= LOWEST_FREE_PORT)
        {
            out.push_str("PID");
        } else {
            out.push_str(this);
        }
    }
    out
}

fn names(text: &str) -> String {
    let mut out = text.to_owned();
    for (before, len) in MADE_UP {
        let mut from = 0;
        while let Some(at) = out[from..].find(before) {
            let begin = from + at + before.len();
            let made_up = out.get(begin..begin + len);
            if made_up.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())) {
                out.replace_range(begin..begin + len, "?");
            }
            from = begin;
        }
    }
    out
}

/// What stands before a time that is read from a clock, whatever it is.
const VARYING_BEFORE: [&str; 3] = ["left ", "ru_utime=", "ru_stime="];

/// Times from here on (2025) are of the test's run; the files are older.
const EARLIEST_NOW: u64 = 1_750_000_000;

/// A time that is no whole number of milliseconds has been read from a clock, and so has what is left of a timeout.
fn times(text: &str) -> String {
    const HEAD: &str = "{tv_sec=";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(HEAD) {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}').map(|end| at + end + 1) else { break };
        let time = &rest[at..end];
        let unit = if time.contains("nsec") { 1_000_000 } else { 1_000 };
        let fraction = time[..time.len() - 1].rsplit('=').next().and_then(|f| f.parse::<u64>().ok());
        let seconds = time[HEAD.len()..].split(',').next().and_then(|s| s.parse::<u64>().ok());
        let clock = fraction.is_some_and(|fraction| fraction % unit != 0)
            || seconds.is_some_and(|seconds| seconds >= EARLIEST_NOW)
            || VARYING_BEFORE.iter().any(|before| out.ends_with(before));
        rest = &rest[end..];
        if !clock {
            out.push_str(time);
            continue;
        }
        out.push_str("TIME");
        if let Some(date) = rest.strip_prefix(" /* ") {
            rest = date.split_once(" */").map_or(date, |(_, rest)| rest);
        }
    }
    out.push_str(rest);
    out
}
