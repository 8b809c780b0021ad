//! The kernel's texts.

/// `procs_running` of /proc/stat.
pub(super) fn procs_running(text: &str) -> Option<usize> {
    text.lines().find_map(|line| line.strip_prefix("procs_running ")?.trim().parse().ok())
}

/// MemTotal and MemAvailable of /proc/meminfo, in KiB.
pub(super) fn meminfo(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse().ok()
        })
    };
    Some((field("MemTotal")?, field("MemAvailable")?))
}

/// `some avg10` of a file in /proc/pressure, 0 to 1.
pub(super) fn some_avg10(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 = some.split(' ').find_map(|word| word.strip_prefix("avg10=")?.parse().ok())?;
    percent.is_finite().then(|| (percent / 100.0).clamp(0.0, 1.0))
}

/// How many numbers a list such as `0-3,8` has.
pub(super) fn list_len(text: &str) -> Option<usize> {
    text.trim().split(',').try_fold(0usize, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

/// What of /proc/PID/stat, or of a thread's, matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// R, S, t …
    pub(super) state: u8,
    /// Threads of the process.
    pub(super) threads: usize,
    /// The core that it last ran on.
    pub(super) core: usize,
}

/// Reads one. The command may hold anything, so what follows its last parenthesis counts: field 3 of proc(5) on.
pub(super) fn stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // num_threads is field 20, processor field 39.
    let threads = fields.nth(16)?.parse().ok()?;
    let core = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, threads, core })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  1164 0 2209 7083466 40 0 57 0 0 0\nintr 5 0\nctxt 91\nbtime 1790000000\n\
                        processes 94\nprocs_running 3\nprocs_blocked 0\n";
    const MEMINFO: &str = "MemTotal:       16381944 kB\nMemFree:        12000000 kB\n\
                           MemAvailable:   14023552 kB\nHugePages_Total:       0\n";
    const PRESSURE: &str = "some avg10=12.50 avg60=3.00 avg300=0.10 total=123456\n\
                            full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n";
    const PID_STAT: &[u8] = b"42 (a) R 9 (b)) R 1 42 42 0 -1 4194304 100 0 0 0 7 3 0 0 20 0 4 0 8888 1000 \
        200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn texts_of_a_kernel() {
        assert_eq!(procs_running(STAT), Some(3));
        assert_eq!(meminfo(MEMINFO), Some((16_381_944, 14_023_552)));
        assert_eq!(some_avg10(PRESSURE), Some(0.125));
        assert_eq!((list_len("0-3,8\n"), list_len("0"), list_len("")), (Some(5), Some(1), None));
        assert_eq!(stat(PID_STAT), Some(Stat { state: b'R', threads: 4, core: 1 }));
    }

    #[test]
    fn texts_of_none() {
        assert_eq!(procs_running("procs_running many"), None);
        assert_eq!(meminfo("MemTotal: 5 kB\n"), None);
        assert_eq!(some_avg10("some avg10=NaN"), None);
        assert_eq!(list_len("3-1"), None);
        for cut in 0..PID_STAT.len() - 40 {
            let _ = stat(&PID_STAT[..cut]);
        }
        assert_eq!(stat(b"42 (x) R 1 2"), None);
    }
}
