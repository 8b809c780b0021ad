//! What /proc says of a process, see proc(5). Every function answers `None` for a process that is gone.

use std::fs;
use std::path::PathBuf;

use tracee::Tid;

/// Some fields of /proc/PID/stat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Command name, at most 15 bytes.
    pub comm: String,
    /// R, S, D, T, t, Z, …
    pub state: char,
    /// Parent.
    pub ppid: Tid,
    /// Start time in clock ticks since boot: with the pid it identifies a process for good.
    pub start_ticks: u64,
    /// CPU on which the thread ran last.
    pub cpu: usize,
}

/// Reads /proc/PID/stat, for a thread /proc/TID/stat.
pub fn stat(pid: Tid) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name is in parentheses and may itself hold parentheses and spaces.
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let comm = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
    let fields: Vec<&str> =
        std::str::from_utf8(text.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    // `fields[0]` is field 3 of the manual page.
    Some(Stat {
        comm,
        state: fields.first()?.chars().next()?,
        ppid: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        cpu: fields.get(36)?.parse().ok()?,
    })
}

/// The command line with its arguments separated by spaces; empty for a zombie.
pub fn cmdline(pid: Tid) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<_> = text.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(arguments.join(" ").trim_end().to_owned())
}

/// The file that a process runs. A deputy's is its body's too; a zombie has none.
pub fn program(pid: Tid) -> Option<String> {
    Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
}

/// Resident memory of a process in MiB, rounded up.
pub fn resident_mib(pid: Tid) -> Option<u32> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    u32::try_from((pages * rustix::param::page_size() as u64).div_ceil(1 << 20)).ok()
}

/// The process that a thread belongs to.
pub fn process_of(tid: Tid) -> Option<Tid> {
    status_field(&status(tid)?, "Tgid:")?.parse().ok()
}

/// Whether somebody traces a thread. A tracee whose end its tracer has taken is traced no more.
pub fn is_traced(tid: Tid) -> bool {
    status(tid).is_some_and(|status| status_field(&status, "TracerPid:").is_some_and(|tracer| tracer != "0"))
}

/// The ignored signals of a process, bit n-1 for signal n.
pub fn ignored_signals(tid: Tid) -> Option<u64> {
    u64::from_str_radix(status_field(&status(tid)?, "SigIgn:")?, 16).ok()
}

/// The signals of a process that have a handler, bit n-1 for signal n.
pub fn caught_signals(tid: Tid) -> Option<u64> {
    u64::from_str_radix(status_field(&status(tid)?, "SigCgt:")?, 16).ok()
}

/// Where a process's vDSO begins: AT_SYSINFO_EHDR of /proc/PID/auxv, see getauxval(3).
pub fn vdso(pid: Tid) -> Option<u64> {
    const AT_SYSINFO_EHDR: u64 = 33;
    let words = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    words.chunks_exact(16).find(|pair| word(&pair[..8]) == AT_SYSINFO_EHDR).map(|pair| word(&pair[8..]))
}

/// Bytes of memory that a process has of its own: what is resident, less what files and shared memory back.
pub fn own_bytes(pid: Tid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * 4096)
}

/// How often a process has called read(2), write(2) and their like (`syscr` and `syscw` of /proc/PID/io, proc(5)), its
/// threads that have ended included. `None` where the kernel does not count (CONFIG_TASK_IO_ACCOUNTING).
pub fn reads_and_writes(pid: Tid) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let count = |name: &str| status_field(&io, name)?.parse::<u64>().ok();
    Some(count("syscr:")? + count("syscw:")?)
}

/// What the descriptors of a process refer to, as readlink shows it.
fn descriptors(pid: Tid) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok())
}

/// A file of its own in /proc that a process has open: it shows the process only where the process is.
pub fn open_view(pid: Tid) -> Option<String> {
    let own = format!("/proc/{pid}/");
    descriptors(pid).find_map(|path| {
        let path = path.to_str()?;
        let name = path.strip_prefix(&own)?.rsplit('/').next()?;
        // These are the same of a deputy.
        (!["comm", "cmdline", "environ", "cgroup", "limits", "fd", "fdinfo"].contains(&name))
            .then(|| path.to_owned())
    })
}

/// Whether a process has a signalfd open: what it reads by that must be pending where the descriptor is.
pub fn has_signalfd(pid: Tid) -> bool {
    descriptors(pid).any(|path| path.as_os_str() == "anon_inode:[signalfd]")
}

/// The O_* flags of an open descriptor.
pub fn descriptor_flags(pid: Tid, fd: i32) -> Option<u32> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(flags.trim(), 8).ok()
}

/// Whether a timer of a process signals one thread (SIGEV_THREAD_ID), see /proc/PID/timers.
pub fn timer_of_thread(pid: Tid, timer: i32) -> bool {
    let timers = fs::read_to_string(format!("/proc/{pid}/timers")).unwrap_or_default();
    let mut lines = timers.lines().skip_while(|line| line.strip_prefix("ID: ") != Some(&timer.to_string()));
    lines.find_map(|line| line.strip_prefix("notify: ")).is_some_and(|how| how.contains("/tid."))
}

/// Whether a process has a timer (timer_create(2)) that counts CPU time, see /proc/PID/timers.
pub fn has_cpu_timer(pid: Tid) -> bool {
    let timers = fs::read_to_string(format!("/proc/{pid}/timers")).unwrap_or_default();
    let clocks = timers.lines().filter_map(|line| line.strip_prefix("ClockID:")?.trim().parse::<i32>().ok());
    // CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, and those of clock_getcpuclockid(3).
    clocks.into_iter().any(|clock| matches!(clock, 2 | 3) || clock < 0)
}

/// Whether a thread belongs to a process. Also true of a zombie that nobody has waited for.
pub fn is_thread_of(tid: Tid, pid: Tid) -> bool {
    rustix::fs::access(format!("/proc/{pid}/task/{tid}"), rustix::fs::Access::EXISTS).is_ok()
}

/// The threads of a process that have not ended.
pub fn threads(pid: Tid) -> Vec<Tid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    tids.filter(|tid| stat(*tid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))).collect()
}

fn status(tid: Tid) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(format!("/proc/{tid}/status")).ok()?).into_owned())
}

fn status_field<'text>(status: &'text str, name: &str) -> Option<&'text str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let mut line = b"42 (a) b (c) S 7".to_vec();
        for field in 5..=52 {
            line.extend_from_slice(format!(" {field}").as_bytes());
        }
        let stat = parse_stat(&line).unwrap();
        assert_eq!((stat.comm.as_str(), stat.state, stat.ppid), ("a) b (c", 'S', 7));
        assert_eq!((stat.start_ticks, stat.cpu), (22, 39));
    }

    #[test]
    fn knows_itself() {
        let pid = std::process::id() as Tid;
        assert_eq!(process_of(pid), Some(pid));
        assert!(is_thread_of(pid, pid));
        assert!(!is_thread_of(1, pid) || pid == 1);
        assert!(stat(pid).unwrap().start_ticks > 0);
        assert!(cmdline(pid).unwrap().contains("home"));
    }

    #[test]
    fn calls_that_read_are_counted() {
        let pid = std::process::id() as Tid;
        let before = reads_and_writes(pid).unwrap();
        for _ in 0..1000 {
            std::io::Read::read(&mut std::io::empty(), &mut [0]).unwrap();
            fs::read("/proc/self/comm").unwrap();
        }
        let made = reads_and_writes(pid).unwrap() - before;
        assert!(made >= 1000, "{made}");
    }
}
