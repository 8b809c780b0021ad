//! Every guest, in every mode. The native mode proves the guest.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use system_tests::binaries;
use system_tests::case::{Away, Case};
use system_tests::mode::Mode;
use system_tests::suite;

/// Guests that need something that the others do not.
fn special() -> BTreeMap<&'static str, fn(Case) -> Case> {
    BTreeMap::from([])
}

fn main() {
    let special = special();
    let cases = binaries::guest_names().map(|names| {
        let mut cases: Vec<Case> = names
            .iter()
            .map(|name| match special.get(name.as_str()) {
                Some(change) => change(Case::guest(name)),
                None => Case::guest(name),
            })
            .collect();
        let _ = Away::MayStay;
        cases.sort_by_key(|case| case.name.clone());
        cases
    });
    let modes = [Mode::Native, Mode::Home, Mode::Loopback, Mode::Shuttle];
    suite::run(cases.and_then(|cases| suite::trials(&cases, &modes)))
}
