//! From the table to the filter of bodies.

use syscall_table::Place;
use syscall_table::sets::CallSet;
use tracee::sandbox::PAUSE_MARK;
use tracee::seccomp::{Allow, Bits, Filter};

/// The filter: what runs in the body's own kernel is allowed, all else stops for the executor, and so do the calls that are
/// `traced`.
pub(crate) fn filter(traced: &CallSet) -> Filter {
    // Bodies wait in pause(2) until they are taken over.
    const PAUSE: u32 = 34;
    let marked = || Allow::If(vec![vec![Bits { arg: 0, mask: !0, value: PAUSE_MARK }]]);
    let rules: Vec<_> = syscall_table::seccomp_rules()
        .filter(|(nr, _)| !traced.has(*nr))
        .filter_map(|(nr, place)| match place {
            Place::Local => Some((nr, Allow::Always)),
            Place::LocalIf { tests, .. } => {
                let bits =
                    |test: &syscall_table::Test| Bits { arg: test.arg, mask: test.mask, value: test.value };
                Some((nr, Allow::If(tests.iter().map(|group| group.iter().map(bits).collect()).collect())))
            }
            _ => None,
        })
        .chain(traced.has(PAUSE).then(|| (PAUSE, marked())))
        .collect();
    Filter::new(&rules)
}
