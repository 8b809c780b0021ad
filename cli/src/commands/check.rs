//! `mosix check`: what this kernel and machine can do, and what is missing.

use std::fs;
use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// One line of the answer.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    /// What is lost without it and what brings it; `None` when it is there.
    missing: Option<String>,
}

/// Prints a line for each feature.
pub fn check(json: bool) -> Result<()> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &findings(kernel_version(&release)))?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "Linux {release} {}", uname.machine().to_string_lossy())?;
    let findings = findings(kernel_version(&release));
    for Finding { what, missing } in &findings {
        match missing {
            None => writeln!(out, "  yes  {what}")?,
            Some(missing) => writeln!(out, "  no   {what}: {missing}")?,
        }
    }
    Ok(())
}

/// (5, 11) of "5.11.0-generic".
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn findings(version: (u32, u32)) -> Vec<Finding> {
    let since = |what, needed: (u32, u32), without: &str| Finding {
        what,
        missing: (version < needed).then(|| format!("since Linux {}.{}; {without}", needed.0, needed.1)),
    };
    vec![
        since("home: programs can be managed", (5, 11), "programs cannot be run here"),
        since(
            "remote: notifications that signals do not abort",
            (5, 19),
            "every call of a guest is a ptrace stop",
        ),
        since("remote: cheap wake-ups of notifications", (6, 6), "forwarded calls are slower"),
        since(
            "moves: PAGEMAP_SCAN and asynchronous write-protection",
            (6, 7),
            "moves stop the process while they copy",
        ),
        since(
            "remote: pid_max of a namespace",
            (6, 14),
            "a guest whose pid is above this machine's pid_max stays home",
        ),
        yama(),
        user_namespaces(),
        time_namespace(),
        userfaultfd(),
        control_groups(),
    ]
}

fn setting(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn yama() -> Finding {
    let missing = setting("/proc/sys/kernel/yama/ptrace_scope").filter(|scope| *scope >= 2).map(|scope| {
        format!("kernel.yama.ptrace_scope is {scope}, so programs cannot be run here; sysctl kernel.yama.ptrace_scope=1")
    });
    Finding { what: "home: ptrace of one's own programs", missing }
}

fn user_namespaces() -> Finding {
    let without = "guests of an ordinary user's node run under seccomp, Landlock and limits only";
    let off = |path: &str, name: &str, bad: i64| {
        (setting(path) == Some(bad)).then(|| format!("{name} is {bad}; {without}"))
    };
    let missing = off("/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", 0)
        .or_else(|| off("/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", 0))
        .or_else(|| {
            let name = "kernel.apparmor_restrict_unprivileged_userns";
            let path = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
            off(path, name, 1).map(|text| format!("{text}; an AppArmor profile for mosixd lifts it"))
        });
    Finding { what: "remote: user namespaces for ordinary users", missing }
}

fn time_namespace() -> Finding {
    let missing = (!fs::exists("/proc/self/ns/time").unwrap_or(false))
        .then(|| "kernel without CONFIG_TIME_NS; guests see this machine's monotonic clock".to_owned());
    Finding { what: "remote: time namespaces", missing }
}

fn userfaultfd() -> Finding {
    let missing = (!fs::exists("/proc/sys/vm/unprivileged_userfaultfd").unwrap_or(false))
        .then(|| "kernel without CONFIG_USERFAULTFD; moves stop the process while they copy".to_owned());
    Finding { what: "moves: userfaultfd", missing }
}

fn control_groups() -> Finding {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root =
        mounts.into_iter().find_map(|dir| fs::read_to_string(format!("{dir}/cgroup.controllers")).ok());
    let has = |name: &str| root.as_ref().is_some_and(|text| text.split_whitespace().any(|word| word == name));
    let missing = (!has("cpu") || !has("memory")).then(|| {
        "no cpu and memory controllers of version 2; guests stand back by their priority alone, guests.cores is kept in \
         whole cores and guests.memory by sending guests away; on systemd: systemd.unified_cgroup_hierarchy=1 at boot"
            .to_owned()
    });
    Finding { what: "remote: limits on guests by control groups", missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(kernel_version("6.18.44-fc-v669"), (6, 18));
        assert!(kernel_version("5.9.1") < (5, 11));
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let missing = findings((5, 10)).into_iter().filter(|finding| finding.missing.is_some()).count();
        assert!(missing >= 5);
    }
}
