//! Where control sockets are, and who may use them.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Uid, geteuid, test_kill_process};
use rustix::time::{ClockId, clock_gettime};

/// The names of a supervisor's socket before and after it listens. A supervisor in another pid namespace may have the
/// same pid, so that the pid alone would not do.
pub fn names(pid: u32) -> (String, String) {
    let now = clock_gettime(ClockId::Boottime);
    let unique = now.tv_sec.wrapping_mul(1_000_000).wrapping_add(now.tv_nsec / 1000) as u32;
    (format!(".{pid}-{unique:x}"), format!("{pid}-{unique:x}.sock"))
}

/// Removes the sockets of this user's supervisors that were killed.
pub fn sweep() {
    let directory = user_directory();
    if !is_private(&directory, geteuid()) {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.trim_start_matches('.').split_once('-')?.0.parse().ok());
        // A pid that is nobody's here may be one in another pid namespace: the socket itself says whether it is dead.
        if pid.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
            && is_dead(&entry.path())
        {
            // If it cannot be removed it is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody listens at a socket any more.
fn is_dead(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let tried = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| connect(&socket, &SocketAddrUnix::new(path)?));
    tried == Err(Errno::CONNREFUSED)
}

fn user_directory() -> PathBuf {
    match runtime_directory() {
        Some(runtime) => runtime.join("mosix"),
        None => shared_directory(geteuid()),
    }
}

/// The user's directory, made if it is not there: $XDG_RUNTIME_DIR/mosix or /tmp/mosix-UID.
pub fn own_directory() -> io::Result<PathBuf> {
    let directory = user_directory();
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private(&directory, geteuid()) {
        Ok(directory)
    } else {
        let message = format!("{} is not a directory of this user alone (mode 0700)", directory.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// Where this user's supervisors may be; for root, everybody's.
pub fn directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if geteuid().is_root() {
        let matching = |parent: &str, suffix: &str, prefix: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path().join(suffix))
                .collect()
        };
        found.extend(matching("/run/user", "mosix", ""));
        found.extend(matching("/tmp", "", "mosix-").into_iter().map(|path| path.components().collect()));
    } else {
        found.push(shared_directory(geteuid()));
    }
    found.extend(runtime_directory().map(|runtime| runtime.join("mosix")));
    found.sort();
    found.dedup();
    // Whoever owns a directory may have put anything there: only root looks into those of others.
    found.retain(|directory| {
        fs::symlink_metadata(directory).is_ok_and(|meta| is_private(directory, Uid::from_raw(meta.uid())))
    });
    found
}

/// Only the supervisor's own user, and root.
pub fn may_control(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

fn runtime_directory() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    (directory.is_absolute() && fs::metadata(&directory).is_ok_and(|meta| meta.uid() == geteuid().as_raw()))
        .then_some(directory)
}

fn shared_directory(user: Uid) -> PathBuf {
    format!("/tmp/mosix-{}", user.as_raw()).into()
}

/// Whether it is a real directory (not a link) of `user` with no access for others.
fn is_private(directory: &Path, user: Uid) -> bool {
    fs::symlink_metadata(directory)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == user.as_raw() && meta.mode() & 0o077 == 0)
}
