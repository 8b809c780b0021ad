//! The speed of a core, measured once for a CPU model and remembered.

use std::fs;
use std::path::Path;
use std::time::Instant;

use cluster::speed;

use crate::state;

/// Rounds of one measurement, about 5 ms on a core of speed 1.
const ROUNDS: u64 = 2_000_000;
/// Measurements; the fastest counts.
const TIMES: usize = 8;

/// Speed of a core in thousandths of the unit, from `dir` if it was measured on such a CPU before.
pub(crate) fn measure(dir: &Path) -> u32 {
    let model = model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    let path = dir.join("speed");
    let known = fs::read_to_string(&path).ok().and_then(|text| recall(&text, &model));
    known.unwrap_or_else(|| {
        let fastest = (0..TIMES).map(|_| {
            let since = Instant::now();
            speed::compute(ROUNDS);
            since.elapsed()
        });
        let milli = speed::milli(ROUNDS, fastest.min().unwrap_or_default());
        // What cannot be remembered is measured again next time.
        let _ = state::write(&path, format!("{milli} {model}\n").as_bytes());
        milli
    })
}

fn recall(text: &str, model: &str) -> Option<u32> {
    let (milli, of) = text.trim_end().split_once(' ')?;
    (of == model).then_some(())?;
    milli.parse().ok().filter(|milli| (10..=1_000_000).contains(milli))
}

fn model(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_that_of_its_cpu_alone() {
        let model = model("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu\n");
        assert_eq!(model, "Some CPU @ 3 GHz");
        assert_eq!(recall("987 Some CPU @ 3 GHz\n", &model), Some(987));
        assert_eq!(recall("987 Another CPU\n", &model), None);
        assert_eq!(recall("0 Some CPU @ 3 GHz\n", &model), None);
    }
}
