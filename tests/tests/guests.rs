//! Every guest of `tests/guests`, in every mode. The native mode proves the guest.

#![forbid(unsafe_code)]

use system_tests::mode::Mode;
use system_tests::{guests, suite};

fn main() {
    let modes = [Mode::Native, Mode::Home, Mode::Loopback, Mode::Shuttle, Mode::Foreign, Mode::Precopy];
    suite::run(guests::cases().and_then(|cases| suite::trials(&cases, &modes)));
}
