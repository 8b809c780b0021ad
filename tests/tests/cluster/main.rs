//! Clusters: machines that join by tokens, share their work, obey their owners, and let no stranger in.

#![forbid(unsafe_code)]

mod daemons;
mod guests;
mod owners;
mod pair;
mod sharing;

use std::time::Duration;

use anyhow::Result;
use system_tests::mode::{Mode, User};
use system_tests::suite;

/// For what takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
/// For daemons to learn of each other: failure detection takes about 6 s (docs/CLUSTER.md).
const CONVERGENCE: Duration = Duration::from_secs(30);

fn main() {
    suite::run(trials());
}

type Test = fn(User) -> Result<()>;

/// About daemons. What they do depends on no user.
const OF_DAEMONS: [(&str, Test); 6] = [
    ("members", daemons::members),
    ("strangers_with_tokens", daemons::strangers_with_tokens),
    ("strangers_with_daemons", daemons::strangers_with_daemons),
    ("found_by_multicast", daemons::found_by_multicast),
    ("removed", daemons::removed),
    ("removed_at_work", daemons::removed_at_work),
];

/// About where guests are: these have the machine for themselves.
const OF_GUESTS: [(&str, Test); 8] = [
    ("offload", guests::offload),
    ("bring", guests::bring),
    ("block", guests::block),
    ("expel", guests::expel),
    ("daemon_ends", guests::daemon_ends),
    ("owner_works", guests::owner_works),
    ("daemon_killed", guests::daemon_killed),
    ("owner_comes_first", owners::comes_first),
];

/// The same, where one user tells as much as two.
const OF_POLICY: [(&str, Test); 7] = [
    ("cores_are_lent_no_further", owners::cores_are_lent_no_further),
    ("io_stays", guests::io_stays),
    ("policy_changes", owners::policy_changes),
    ("memory_is_lent_no_further", owners::memory_is_lent_no_further),
    ("third_node_helps", sharing::third_node_helps),
    ("daemon_comes_later", sharing::daemon_comes_later),
    ("system_daemon_and_users", sharing::system_daemon_and_users),
];

fn trials() -> Result<Vec<suite::Trial>> {
    let mut trials = Vec::new();
    // Joined network namespaces take root.
    if !Mode::enabled()?.contains(&Mode::Cluster) || !User::am_root() {
        return Ok(trials);
    }
    let mode = Mode::Cluster;
    let mut add = |name: &str, alone, user: User, test: Test| {
        trials.push(suite::trial(&format!("{mode}/{user}/{name}"), alone, move || test(user)));
    };
    for (name, test) in OF_DAEMONS {
        add(name, false, User::Me, test);
    }
    for (name, test) in OF_POLICY {
        add(name, true, User::Me, test);
    }
    for user in User::all() {
        for (name, test) in OF_GUESTS {
            add(name, true, *user, test);
        }
    }
    Ok(trials)
}
