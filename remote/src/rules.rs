//! From the table to the filter of bodies.

use syscall_table::Place;
use tracee::seccomp::{Allow, Bits, Filter};

/// The filter: what runs in the body's own kernel is allowed, all else stops for the executor. With `all` nothing is
/// allowed, so that every call is seen.
pub(crate) fn filter(all: bool) -> Filter {
    // Bodies wait in pause(2) until they are taken over.
    const PAUSE: u32 = 34;
    if all {
        return Filter::new(&[(PAUSE, Allow::Always)]);
    }
    let rules: Vec<_> = syscall_table::seccomp_rules()
        .filter_map(|(nr, place)| match place {
            Place::Local => Some((nr, Allow::Always)),
            Place::LocalIf { tests, .. } => {
                let bits =
                    |test: &syscall_table::Test| Bits { arg: test.arg, mask: test.mask, value: test.value };
                Some((nr, Allow::If(tests.iter().map(|group| group.iter().map(bits).collect()).collect())))
            }
            _ => None,
        })
        .collect();
    Filter::new(&rules)
}
