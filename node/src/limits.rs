//! The control group of guests (version 2; Documentation/admin-guide/cgroup-v2.rst): cores and memory that all of them
//! together may use.
//!
//! It is made below the group that the daemon was started in, if that was given to it (systemd's `Delegate=`). A group with
//! processes of its own cannot limit groups below it, so the daemon then moves into one beside the guests'.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cluster::Policy;
use remote::Group;

use crate::probe::cgroups_of_daemon;

/// Names of the two groups.
const GUESTS: &str = "mosix-guests";
const DAEMON: &str = "mosix-daemon";
/// Against each other, the least and the most that `cpu.weight` can be: guests wait for us and not we for guests.
const WEIGHTS: [(&str, &str); 2] = [(GUESTS, "1"), (DAEMON, "10000")];
/// A group of this weight stands back behind one of the usual 100 as nice 10 does behind 0.
const LOW_WEIGHT: u64 = 10;
/// Period of `cpu.max` in microseconds, the kernel's own.
const PERIOD_US: f64 = 100_000.0;

/// What of the limits is kept by the kernel, and why the rest is not.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// If guests have one.
    pub(crate) group: Option<Group>,
    /// It keeps them to their share of the cores.
    keeps_cores: bool,
    /// In words for the log.
    pub(crate) missing: Vec<String>,
}

impl Limits {
    /// Makes the group, if the policy limits anything. To be called before the daemon has other processes.
    pub(crate) fn make(policy: &Policy) -> Limits {
        let groups = cgroups_of_daemon();
        let mut limits = match groups.first() {
            _ if !is_limited(policy) => Limits::default(),
            Some(own) => Limits::below(own, policy),
            None => Limits::without("control groups of version 2 are not mounted"),
        };
        limits.missing.extend(equal_to_others(&groups));
        limits
    }

    fn without(why: &str) -> Limits {
        Limits { missing: vec![why.to_owned()], ..Limits::default() }
    }

    fn below(own: &Path, policy: &Policy) -> Limits {
        let group = Group { guests: own.join(GUESTS), ours: own.to_owned() };
        if let Err(error) = make_dir(&group.guests) {
            return Limits::without(&format!("cannot make {}: {error}", group.guests.display()));
        }
        let mut limits = Limits { group: Some(group), ..Limits::default() };
        for controller in ["cpu", "memory"] {
            match limits.enable(own, controller) {
                Ok(()) => limits.keeps_cores |= controller == "cpu",
                Err(why) => limits.missing.push(why),
            }
        }
        let closed = limits.group.as_ref().and_then(|group| group.beget(|| ()).err());
        limits.missing.extend(closed.as_ref().map(|error| format!("cannot move into a group: {error}")));
        if closed.is_some() || limits.missing.len() == 2 {
            // Nothing can be limited there. It may be somebody's who runs beside us.
            let _ = limits.group.take().map(|group| fs::remove_dir(group.guests));
            limits.keeps_cores = false;
        }
        limits.set(policy);
        for (group, weight) in WEIGHTS {
            let path = own.join(group).join("cpu.weight");
            if path.exists()
                && let Err(error) = fs::write(&path, weight)
            {
                limits.missing.push(cannot(&path, &error));
            }
        }
        limits
    }

    fn enable(&mut self, own: &Path, controller: &str) -> Result<(), String> {
        let there = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        if !there.split_whitespace().any(|name| name == controller) {
            return Err(format!("{} has no {controller} controller", own.display()));
        }
        let switch = own.join("cgroup.subtree_control");
        let on = || fs::write(&switch, format!("+{controller}"));
        let busy = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
        match on() {
            // This process is in it, and perhaps no other.
            Err(error) if busy(&error) => {
                let ours = own.join(DAEMON);
                let moved = make_dir(&ours).and_then(|()| fs::write(ours.join("cgroup.procs"), "0"));
                moved.and_then(|()| on()).map_err(|error| cannot(&switch, &error))?;
                if let Some(group) = &mut self.group {
                    group.ours = ours;
                }
                Ok(())
            }
            other => other.map_err(|error| cannot(&switch, &error)),
        }
    }

    /// Whole cores that sessions are to be confined to, since no group keeps them to their share.
    pub(crate) fn confined(&self, policy: &Policy) -> Option<u16> {
        // config::MOST_CORES is larger, but no machine.
        policy.guest_cores.filter(|_| !self.keeps_cores).map(|cores| cores.ceil() as u16)
    }

    /// Writes what the policy says into the group.
    pub(crate) fn set(&mut self, policy: &Policy) {
        let Some(group) = &self.group else {
            if is_limited(policy) && self.missing.is_empty() {
                self.missing
                    .push("guests have had no control group since mosixd began: begin it anew".into());
            }
            return;
        };
        for (file, value) in values(policy) {
            let path = group.guests.join(file);
            // Of a controller that is missing there is no file, and that was said.
            if path.exists()
                && let Err(error) = fs::write(&path, value)
            {
                self.missing.push(cannot(&path, &error));
            }
        }
    }
}

/// Where the kernel shares cores among groups first and then within them, priorities tell only within: a daemon in a group like
/// all others lends half of each core that its owner uses.
fn equal_to_others(groups: &[PathBuf]) -> Option<String> {
    let weight = |dir: &PathBuf| fs::read_to_string(dir.join("cpu.weight")).ok()?.trim().parse::<u64>().ok();
    let idle = |dir: &PathBuf| fs::read_to_string(dir.join("cpu.idle")).is_ok_and(|text| text.trim() == "1");
    let least = groups.iter().filter_map(weight).min()?;
    let stands_back = least <= LOW_WEIGHT || groups.iter().any(idle);
    (!stands_back).then(|| {
        let own = groups.first().map(|dir| dir.display().to_string()).unwrap_or_default();
        format!("priorities do not tell outside of {own}: begin mosixd in a slice of CPUWeight={LOW_WEIGHT}")
    })
}

fn is_limited(policy: &Policy) -> bool {
    policy.guest_cores.is_some() || policy.max_guest_memory_mib != u32::MAX
}

/// Guests that together have more memory than the policy says are sent away; the kernel's limit is a quarter above, for
/// what they grow by until they have left.
fn values(policy: &Policy) -> [(&'static str, String); 2] {
    let quota = policy.guest_cores.map_or("max".into(), |cores| format!("{:.0}", cores * PERIOD_US));
    let memory = match policy.max_guest_memory_mib {
        u32::MAX => "max".to_owned(),
        mib => ((u64::from(mib) << 20) / 4 * 5).to_string(),
    };
    [("cpu.max", format!("{quota} {PERIOD_US:.0}")), ("memory.max", memory)]
}

fn make_dir(path: &PathBuf) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn cannot(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(cores: impl Into<Option<f64>>, mib: u32) -> Policy {
        Policy { guest_cores: cores.into(), max_guest_memory_mib: mib, ..Policy::default() }
    }

    /// A directory with the files that a group has which was given to us.
    fn delegated(name: &str, controllers: &str) -> PathBuf {
        let own = std::env::temp_dir().join(format!("mosixd-limits-{name}-{}", std::process::id()));
        fs::create_dir_all(own.join(GUESTS)).unwrap();
        fs::write(own.join("cgroup.controllers"), controllers).unwrap();
        for file in ["cpu.max", "memory.max"] {
            fs::write(own.join(GUESTS).join(file), "max").unwrap();
        }
        own
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        assert_eq!(
            values(&policy(1.5, 1000)),
            [("cpu.max", "150000 100000".into()), ("memory.max", "1310720000".into())]
        );
        assert_eq!(
            values(&policy(None, u32::MAX)),
            [("cpu.max", "max 100000".into()), ("memory.max", "max".into())]
        );
        assert!(!is_limited(&Policy::default()) && is_limited(&policy(1.0, u32::MAX)));
    }

    #[test]
    fn a_group_that_was_given_is_used_and_changed() {
        let own = delegated("given", "cpuset cpu io memory pids\n");
        let mut limits = Limits::below(&own, &policy(0.5, 64));
        let read = |file: &str| fs::read_to_string(own.join(GUESTS).join(file)).unwrap();
        assert_eq!(
            (limits.missing.len(), read("cpu.max"), read("memory.max")),
            (0, "50000 100000".into(), "83886080".into())
        );
        limits.set(&policy(2.0, u32::MAX));
        assert_eq!((read("cpu.max"), read("memory.max")), ("200000 100000".into(), "max".into()));
        assert_eq!(limits.confined(&policy(2.0, u32::MAX)), None);
        assert_eq!(limits.group.map(|group| group.ours), Some(own.clone()));
        fs::remove_dir_all(own).unwrap();
    }

    #[test]
    fn a_group_like_all_others_is_said() {
        let own = delegated("weight", "cpu\n");
        let (slice, service) = (own.clone(), own.join(GUESTS));
        assert_eq!(equal_to_others(&[service.clone(), slice.clone()]), None, "cores are not shared by group");
        fs::write(service.join("cpu.weight"), "100\n").unwrap();
        let said = equal_to_others(&[service.clone(), slice.clone()]).unwrap();
        assert!(said.contains(&service.display().to_string()), "{said}");
        fs::write(slice.join("cpu.weight"), "10\n").unwrap();
        assert_eq!(equal_to_others(&[service.clone(), slice.clone()]), None);
        fs::remove_dir_all(own).unwrap();
    }

    #[test]
    fn what_is_missing_is_said() {
        let own = delegated("poor", "pids\n");
        let limits = Limits::below(&own, &policy(0.5, 64));
        assert!(limits.group.is_none() && limits.missing.len() == 2);
        assert_eq!((limits.confined(&policy(1.2, 64)), limits.confined(&policy(None, 64))), (Some(2), None));
        assert!(limits.missing[0].ends_with("has no cpu controller"), "{:?}", limits.missing);
        fs::remove_dir_all(own).unwrap();
        let nowhere = Limits::below(Path::new("/proc/mosix"), &policy(0.5, 64));
        assert!(nowhere.group.is_none() && nowhere.missing.len() == 1);
    }
}
