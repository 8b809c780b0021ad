//! Becoming a command with a supervisor beside it.
//!
//! The calling process makes a supervisor that is not its child (a child would make `wait(-1)` in the command hang
//! where it should fail), lets it seize this process, and then executes the command in its own pid. Everything a
//! command inherits passes unchanged: what the Rust runtime and this module change is put back before execve.
//!
//! - Rust's runtime ignores SIGPIPE and opens /dev/null for closed standard descriptors before `main`; what was
//!   inherited is noted in `.init_array`, which runs earlier.
//! - The go-between of the double fork ends while SIGCHLD is ignored: it is then reaped by the kernel, sends no
//!   signal that could stay pending across execve, and adds nothing to RUSAGE_CHILDREN (wait(2), NOTES).
//! - The supervisor has a parent of its own that outlives it, also after SIGKILL, and removes what it has left.
//! - pid 1 and subreapers inherit orphans, so a double fork would give them that parent as a child. There it is a direct
//!   child with exit signal 0, which wait without __WCLONE or __WALL does not see (`eligible_child` in the kernel's
//!   exit.c): `wait(-1)` says ECHILD as it should.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::{Errno, Tid};

/// Exit status when something of ours fails, as env(1) and nohup(1) have it.
pub const STATUS_OWN_FAILURE: u8 = 125;
/// Exit status when the command is found but cannot be executed.
pub const STATUS_CANNOT_EXECUTE: u8 = 126;
/// Exit status when the command is not found.
pub const STATUS_NOT_FOUND: u8 = 127;

/// Longest failure message that the supervisor sends to the process it serves, in bytes.
const MESSAGE_MAX_BYTES: usize = 4096;

/// Why there is no command running, in one line for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What mosix-run exits with.
    pub status: u8,
    /// One line without a newline.
    pub message: String,
}

impl Failure {
    fn own(what: &str, errno: Errno) -> Failure {
        Failure { status: STATUS_OWN_FAILURE, message: format!("{what}: {errno}") }
    }
}

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
/// Bit n: standard descriptor n was closed.
static CLOSED_STANDARD: AtomicU8 = AtomicU8::new(0);

#[used]
// SAFETY: .init_array holds pointers to functions that the C runtime calls once, before main.
#[unsafe(link_section = ".init_array")]
static NOTE_INHERITED: extern "C" fn() = note_inherited;

extern "C" fn note_inherited() {
    // SAFETY: sigaction only fills `action`, for which all zeroes is valid.
    let ignored = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_WAS_IGNORED.store(ignored, Ordering::Relaxed);
    let mut closed = 0;
    for fd in 0..3 {
        // SAFETY: F_GETFD has no further argument and touches no memory.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            closed |= 1 << fd;
        }
    }
    CLOSED_STANDARD.store(closed, Ordering::Relaxed);
}

/// The supervisor's end of the launch: the process `first` waits until [`Handshake::go`].
#[derive(Debug)]
pub struct Handshake {
    socket: OwnedFd,
    first: Tid,
}

impl Handshake {
    /// The process that is about to execute the command.
    pub fn first(&self) -> Tid {
        self.first
    }

    /// Lets the process execute the command.
    pub fn go(self) {
        send(&self.socket, b"g");
    }

    /// Makes the process print `message` and exit 125.
    pub fn fail(self, message: &str) {
        let mut bytes = vec![b'f'];
        bytes.extend_from_slice(&message.as_bytes()[..message.len().min(MESSAGE_MAX_BYTES - 1)]);
        send(&self.socket, &bytes);
    }
}

/// Becomes `argv` under a supervisor: `supervise` runs in a new process (own session, every signal blocked but
/// SIGKILL and SIGSTOP, standard descriptors on /dev/null, of the others only those with FD_CLOEXEC, which are ours)
/// and its result is that process's exit status. It must seize [`Handshake::first`] before it says go. `afterwards` runs
/// in the supervisor's parent when the supervisor has ended, also by SIGKILL, and cleans up after it.
///
/// Returns only when the command could not be started. Must be called while the process has one thread.
pub fn launch(
    argv: &[OsString],
    supervise: impl FnOnce(Handshake) -> u8,
    afterwards: impl FnOnce(),
) -> Failure {
    match prepare(argv, supervise, afterwards) {
        Ok(argv) => execute(&argv),
        Err(failure) => failure,
    }
}

/// Becomes `argv` without a supervisor. Returns only when the command could not be started.
pub fn execute_alone(argv: &[OsString]) -> Failure {
    match c_strings(argv) {
        Ok(argv) => {
            restore_what_the_runtime_changed();
            execute(&argv)
        }
        Err(failure) => failure,
    }
}

fn c_strings(argv: &[OsString]) -> Result<Vec<CString>, Failure> {
    let strings =
        argv.iter().map(|argument| CString::new(argument.as_bytes())).collect::<Result<Vec<_>, _>>();
    strings.map_err(|_| Failure { status: STATUS_OWN_FAILURE, message: "an argument has a NUL byte".into() })
}

fn prepare(
    argv: &[OsString],
    supervise: impl FnOnce(Handshake) -> u8,
    afterwards: impl FnOnce(),
) -> Result<Vec<CString>, Failure> {
    let argv = c_strings(argv)?;
    // Each thread is a subdirectory, and . and .. count too.
    if std::fs::metadata("/proc/self/task").is_ok_and(|task| task.nlink() > 3) {
        return Err(Failure {
            status: STATUS_OWN_FAILURE,
            message: "launched from a process with several threads".into(),
        });
    }
    let (ours, theirs) = socket_pair().map_err(|errno| Failure::own("socketpair", errno))?;
    // Only with Yama does this request exist (prctl(2)); 0 withdraws an exception that nobody made.
    // SAFETY: PR_SET_PTRACER takes a pid and touches no memory.
    let yama = unsafe { libc::prctl(libc::PR_SET_PTRACER, 0, 0, 0, 0) } == 0;
    let mask = block_all();
    let forked = fork_supervisor(&ours, theirs, yama, supervise, afterwards);
    let ready = forked.and_then(|()| await_ready(&ours, yama));
    if yama {
        // SAFETY: as above. The supervisor has seized this process; nobody else may.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, 0, 0, 0, 0) };
    }
    restore_what_the_runtime_changed();
    // SAFETY: `mask` is what sigprocmask gave.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) };
    ready.map(|()| argv)
}

fn fork_supervisor(
    ours: &OwnedFd,
    theirs: OwnedFd,
    yama: bool,
    supervise: impl FnOnce(Handshake) -> u8,
    afterwards: impl FnOnce(),
) -> Result<(), Failure> {
    let first = std::process::id() as Tid;
    let run = |theirs: OwnedFd| -> ! {
        // SAFETY: closes this process's copy of the other end, which the borrow only names.
        unsafe { libc::close(ours.as_raw_fd()) };
        be_parent(theirs, first, yama, supervise, afterwards)
    };
    if inherits_orphans() {
        // A bare clone: exit signal 0. glibc's cached thread id stays the parent's; nothing here uses it.
        // SAFETY: without CLONE_VM the child has its own copy of a single-threaded process.
        return match unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) } {
            0 => run(theirs),
            -1 => Err(Failure::own("cannot fork the supervisor", Errno::last())),
            _ => Ok(()),
        };
    }
    let before = set_handler(libc::SIGCHLD, libc::SIG_IGN);
    // SAFETY: the process has one thread, so the child may do anything.
    let between = unsafe { libc::fork() };
    if between == 0 {
        // SAFETY: as above.
        match unsafe { libc::fork() } {
            0 => run(theirs),
            // SAFETY: ends this process at once.
            pid => unsafe { libc::_exit(i32::from(pid < 0)) },
        }
    }
    let result = if between < 0 {
        Err(Failure::own("cannot fork the supervisor", Errno::last()))
    } else {
        // With SIGCHLD ignored this waits for the end and then says ECHILD.
        // SAFETY: a null status pointer is allowed.
        unsafe { libc::waitpid(between, std::ptr::null_mut(), 0) };
        Ok(())
    };
    if let Some(before) = before {
        // SAFETY: `before` is what sigaction gave.
        unsafe { libc::sigaction(libc::SIGCHLD, &before, std::ptr::null_mut()) };
    }
    result
}

/// The supervisor's parent: it does nothing but outlive the supervisor.
fn be_parent(
    theirs: OwnedFd,
    first: Tid,
    yama: bool,
    supervise: impl FnOnce(Handshake) -> u8,
    afterwards: impl FnOnce(),
) -> ! {
    // SAFETY: these touch no memory; a failure of setsid is impossible for a fresh child.
    unsafe {
        libc::setsid();
        libc::umask(0o077);
    }
    set_handler(libc::SIGCHLD, libc::SIG_DFL);
    let handshake = Handshake { socket: theirs, first };
    if let Err(errno) = leave_inherited_descriptors() {
        handshake.fail(&format!("the supervisor cannot close inherited descriptors: {errno}"));
        end_with(|| STATUS_OWN_FAILURE);
    }
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => {
            handshake.fail(&format!("cannot fork the supervisor: {}", Errno::last()));
            end_with(|| STATUS_OWN_FAILURE)
        }
        0 => end_with(|| be_supervisor(handshake, yama, supervise)),
        supervisor => {
            // The supervisor's end of the handshake, its files, its copies of standard error.
            // SAFETY: closes descriptors of this process only, and nothing here uses them any more.
            unsafe {
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
                std::mem::forget(handshake);
                while libc::waitpid(supervisor, std::ptr::null_mut(), 0) < 0 && Errno::last() == Errno::EINTR
                {
                }
            }
            end_with(|| {
                afterwards();
                0
            })
        }
    }
}

fn end_with(work: impl FnOnce() -> u8) -> ! {
    let status = catch_unwind(AssertUnwindSafe(work)).unwrap_or(STATUS_OWN_FAILURE);
    // SAFETY: ends this process; the exit handlers of the one that it was forked from are not for it.
    unsafe { libc::_exit(i32::from(status)) }
}

fn be_supervisor(handshake: Handshake, yama: bool, supervise: impl FnOnce(Handshake) -> u8) -> u8 {
    raise_limits();
    if yama {
        send(&handshake.socket, &[&b"p"[..], &std::process::id().to_le_bytes()].concat());
        let mut allowed = [0; 1];
        if !matches!(receive(&handshake.socket, &mut allowed), Ok(1)) {
            return STATUS_OWN_FAILURE;
        }
    }
    supervise(handshake)
}

/// Whether a process that loses its parent may become a child of this one.
fn inherits_orphans() -> bool {
    let mut subreaper: libc::c_int = 0;
    // SAFETY: PR_GET_CHILD_SUBREAPER writes one int.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper, 0, 0, 0) };
    std::process::id() == 1 || subreaper != 0
}

/// Puts /dev/null at 0, 1 and 2 and closes every other descriptor without FD_CLOEXEC: it was inherited (execve has
/// closed those with it), and a pipe among them would never see its end while the supervisor lives.
fn leave_inherited_descriptors() -> Result<(), Errno> {
    // SAFETY: the path is a C string; the descriptor is checked.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if null < 0 {
        return Err(Errno::last());
    }
    for fd in 0..3 {
        // SAFETY: dup2 touches no memory; the standard descriptors belong to nobody in this process.
        if unsafe { libc::dup2(null, fd) } < 0 {
            return Err(Errno::last());
        }
    }
    let listing =
        std::fs::read_dir("/proc/self/fd").map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let open: Vec<i32> = listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // SAFETY: F_GETFD touches no memory.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: only descriptors that this program did not open lack FD_CLOEXEC.
            unsafe { libc::close(fd) };
        }
    }
    // SAFETY: ours, and no longer needed.
    unsafe { libc::close(null) };
    Ok(())
}

/// The command's limits on CPU time, file size, descriptors and memory are not the supervisor's.
fn raise_limits() {
    for resource in
        [libc::RLIMIT_CPU, libc::RLIMIT_FSIZE, libc::RLIMIT_NOFILE, libc::RLIMIT_AS, libc::RLIMIT_DATA]
    {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both calls take a live rlimit. A soft limit may always be raised to the hard one.
        unsafe {
            if libc::getrlimit(resource, &mut limit) == 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(resource, &limit);
            }
        }
    }
}

fn await_ready(socket: &OwnedFd, yama: bool) -> Result<(), Failure> {
    let failed = |message: String| Failure { status: STATUS_OWN_FAILURE, message };
    let mut buffer = [0u8; MESSAGE_MAX_BYTES];
    loop {
        let got = receive(socket, &mut buffer).map_err(|errno| Failure::own("the supervisor", errno))?;
        match buffer[..got].split_first() {
            Some((b'g', _)) => return Ok(()),
            Some((b'p', pid)) if yama && pid.len() == 4 => {
                let pid = u32::from_le_bytes([pid[0], pid[1], pid[2], pid[3]]);
                // SAFETY: PR_SET_PTRACER takes a pid and touches no memory.
                unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::c_ulong::from(pid), 0, 0, 0) };
                send(socket, b"a");
            }
            Some((b'f', message)) => return Err(failed(String::from_utf8_lossy(message).into_owned())),
            _ => return Err(failed("the supervisor ended before it was ready".into())),
        }
    }
}

/// Searches PATH and executes as execvp(3) does, except that what execve refuses as ENOEXEC goes to /bin/sh only if it
/// is text: a shell says of anything else that it cannot be executed (XCU 2.9.1.4), where execvp lets sh read it.
fn execute(argv: &[CString]) -> Failure {
    let Some(file) = argv.first() else {
        return Failure { status: STATUS_OWN_FAILURE, message: "no command".into() };
    };
    let name = OsStr::from_bytes(file.as_bytes()).display();
    let is_path = file.as_bytes().contains(&b'/');
    let mut errno = Errno(libc::ENOENT);
    for path in candidates(file) {
        let failed = execute_at(&path, argv);
        match failed.0 {
            _ if is_path => errno = failed,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            // A directory of PATH that may not be searched; no shell would say "permission denied" for that.
            libc::EACCES if !path_exists(&path) => {}
            libc::EACCES => errno = failed,
            _ => {
                errno = failed;
                break;
            }
        }
    }
    let status = if errno.0 == libc::ENOENT { STATUS_NOT_FOUND } else { STATUS_CANNOT_EXECUTE };
    let message = if status == STATUS_NOT_FOUND && !is_path {
        format!("{name}: command not found")
    } else {
        format!("{name}: {errno}")
    };
    Failure { status, message }
}

/// Where a command may be: a name with a slash is a path itself, an empty part of PATH is the working directory.
fn candidates(file: &CString) -> Vec<CString> {
    let name = file.as_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return vec![file.clone()];
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let join = |directory: &[u8]| match directory {
        [] => name.to_vec(),
        directory => [directory, b"/", name].concat(),
    };
    path.as_bytes().split(|byte| *byte == b':').filter_map(|part| CString::new(join(part)).ok()).collect()
}

/// Returns only when it failed.
fn execute_at(path: &CStr, argv: &[CString]) -> Errno {
    let errno = execv(path, argv);
    if errno.0 != libc::ENOEXEC || !is_text(path) {
        return errno;
    }
    let mut words = vec![c"/bin/sh".to_owned(), path.to_owned()];
    words.extend_from_slice(&argv[1..]);
    execv(c"/bin/sh", &words)
}

fn execv(path: &CStr, argv: &[CString]) -> Errno {
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the array is NULL-terminated and its strings live in `argv`.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
    Errno::last()
}

/// Whether a file can be a shell's: no NUL byte in its first line and no ELF header, as bash has it.
fn is_text(path: &CStr) -> bool {
    const SAMPLE_BYTES: u64 = 128;
    let mut sample = Vec::new();
    let read = File::open(OsStr::from_bytes(path.to_bytes()))
        .and_then(|file| file.take(SAMPLE_BYTES).read_to_end(&mut sample));
    // What cannot be read is for sh to complain about.
    let first_line = sample.split(|byte| *byte == b'\n').next().unwrap_or_default();
    read.is_err() || !(sample.starts_with(b"\x7fELF") || first_line.contains(&0))
}

fn path_exists(path: &CStr) -> bool {
    std::fs::metadata(OsStr::from_bytes(path.to_bytes())).is_ok()
}

fn restore_what_the_runtime_changed() {
    let handler = if SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    set_handler(libc::SIGPIPE, handler);
    let closed = CLOSED_STANDARD.load(Ordering::Relaxed);
    for fd in (0..3).filter(|fd| closed & (1 << fd) != 0) {
        // SAFETY: it is the /dev/null that Rust's runtime opened; only the message of a failed execve could miss it.
        unsafe { libc::close(fd) };
    }
}

fn block_all() -> libc::sigset_t {
    // SAFETY: an all-zero sigset_t is valid; the calls only write the two sets.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

fn set_handler(signal: i32, handler: libc::sighandler_t) -> Option<libc::sigaction> {
    // SAFETY: all zeroes is a valid sigaction (default action, empty mask), and only SIG_IGN or SIG_DFL is put in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        (libc::sigaction(signal, &action, &mut before) == 0).then_some(before)
    }
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: both are fresh and owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A failure means that the other end is gone, which its reader or its tracer learns anyway.
fn send(socket: &OwnedFd, bytes: &[u8]) {
    // SAFETY: the buffer is live.
    unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the buffer is live.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => return Ok(got),
            Err(_) if Errno::last() == Errno::EINTR => continue,
            Err(_) => return Err(Errno::last()),
        }
    }
}

/// Forks a child that runs `work` and ends with its status; it is killed when the calling thread ends. The calling
/// process must have a single thread.
pub fn fork(work: impl FnOnce() -> u8) -> Result<Tid, Errno> {
    let parent = std::process::id() as Tid;
    // SAFETY: this process has one thread, so the child's copy of memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => {
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
            // SAFETY: getppid cannot fail. The parent may have died before the line above.
            let status = if unsafe { libc::getppid() } == parent { work() } else { 1 };
            // SAFETY: ends the process without running what the parent registered.
            unsafe { libc::_exit(i32::from(status)) }
        }
        pid => Ok(pid),
    }
}

/// For tests: a child of the calling process that is stopped in pause(2), and the address of that `syscall`. It ends with its
/// tracer.
#[cfg(test)]
pub(crate) fn in_pause() -> (crate::Stopped, u64) {
    use crate::ptrace::{Options, Resume};
    let pid = fork(|| {
        // SAFETY: pause takes nothing.
        unsafe { libc::syscall(libc::SYS_pause) };
        0
    })
    .unwrap();
    let options = Options { exit_kill: true, exit_event: false, seccomp: false };
    let mut running = crate::Running::seize(pid, options).unwrap();
    loop {
        running.interrupt().unwrap();
        assert!(matches!(crate::wait::block(pid).unwrap().1, crate::Event::Stopped(_)));
        let stopped = running.stopped();
        let regs = stopped.regs().unwrap();
        if regs.call() == Some(libc::SYS_pause as u32) {
            return (stopped, regs.rip - crate::regs::SYSCALL_LEN);
        }
        running = stopped.resume(Resume::Syscall, 0).unwrap();
    }
}
