//! Where the bodies of one session live: user, pid, mount, network, ipc, uts and time namespaces of their own, an
//! empty read-only root, no capability but CAP_CHECKPOINT_RESTORE (for `set_tid`), and a seccomp filter.
//!
//! A process of ours is pid 1 there; it makes bodies on request and the kernel reaps them, since it ignores SIGCHLD.
//! When the socket to it closes it ends, and the kernel ends every process of its pid namespace with it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::foothold::Foothold;
use crate::inject::{InjectError, Injector};
use crate::seccomp::Filter;
use crate::{Errno, Tid, memory};

/// The namespaces of one session.
#[derive(Debug)]
pub struct Sandbox {
    /// Requests to the first process, and reports.
    socket: OwnedFd,
    /// Descriptors for bodies: the first process listens on the other one.
    passing: OwnedFd,
    keeper: Tid,
}

/// How far the clocks of bodies are ahead of this machine's, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffsets {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: i64,
    /// CLOCK_BOOTTIME.
    pub boottime_ns: i64,
}

/// Argument of the pause(2) in which a body waits to be taken over, so that a filter can tell it from a program's.
pub const PAUSE_MARK: u64 = 0x6d6f_7369_7870_6175;

/// The descriptors under which the sandbox's processes have their ends of the two sockets.
const REQUESTS: RawFd = 3;
const PASSING: RawFd = 4;
/// uid and gid of bodies when the node runs as root.
const NOBODY: u32 = 65534;
const CAP_CHECKPOINT_RESTORE: u32 = 40;

/// Which step of making the sandbox failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make the sandbox for guests: {step}: {errno} (run `mosix check` to see what this machine lacks)"
)]
pub struct SandboxError {
    step: String,
    errno: Errno,
}

impl Sandbox {
    /// Makes the namespaces. The calling process must have a single thread, since it is forked without exec. `apart` makes
    /// the sandbox a session of its own (setsid(2)), which is what the scheduler may group tasks by.
    pub fn create(filter: &Filter, clocks: ClockOffsets, apart: bool) -> Result<Sandbox, SandboxError> {
        let fail = |step: &str, errno| SandboxError { step: step.into(), errno };
        let threads = fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1);
        if threads != 1 {
            return Err(fail("the process has other threads", Errno(libc::EBUSY)));
        }
        let (ours, theirs) = socketpair().map_err(|errno| fail("socketpair", errno))?;
        let (passing, taking) = socketpair().map_err(|errno| fail("socketpair", errno))?;
        let on: libc::c_int = 1;
        // SAFETY: the option value is a live int of the size given.
        unsafe {
            let size = size_of_val(&on) as libc::socklen_t;
            libc::setsockopt(
                ours.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const on).cast(),
                size,
            );
        }
        // SAFETY: this process has one thread, so the child's copy of memory is consistent.
        match unsafe { libc::fork() } {
            -1 => Err(fail("fork", Errno::last())),
            0 => {
                drop((ours, passing));
                if apart {
                    // SAFETY: takes nothing; a process that was just forked leads no group, so it cannot fail.
                    unsafe { libc::setsid() };
                }
                keeper([theirs, taking], filter, clocks)
            }
            pid => {
                drop(theirs);
                drop(taking);
                let sandbox = Sandbox { socket: ours, passing, keeper: pid };
                match sandbox.receive() {
                    Ok((Report::Ready, _)) => Ok(sandbox),
                    Ok((Report::Failed(step, errno), _)) => Err(SandboxError { step, errno }),
                    Ok((other, _)) => Err(fail(&format!("unexpected report {other:?}"), Errno(libc::EPROTO))),
                    Err(errno) => Err(fail("its first process ended", errno)),
                }
            }
        }
    }

    /// Makes a process that waits to be seized, with pid `pid` in the sandbox. Returns its pid as this process
    /// sees it. EEXIST when the number is taken there.
    pub fn spawn(&self, pid: Tid) -> Result<Tid, Errno> {
        // SAFETY: sends four bytes of a live local.
        let sent = unsafe {
            libc::send(self.socket.as_raw_fd(), (&raw const pid).cast(), size_of::<Tid>(), libc::MSG_NOSIGNAL)
        };
        if sent < 0 {
            return Err(Errno::last());
        }
        match self.receive()? {
            (Report::Body, pid) => Ok(pid),
            (Report::Failed(_, errno), _) => Err(errno),
            (Report::Ready, _) => Err(Errno(libc::EPROTO)),
        }
    }

    /// The process of ours that waits for the namespace's end, as a child of the caller.
    pub fn keeper(&self) -> Tid {
        self.keeper
    }

    /// Gives a stopped body a descriptor; returns its number there.
    pub fn pass_fd(
        &self,
        injector: &mut Injector,
        foothold: &Foothold,
        fd: RawFd,
    ) -> Result<i32, InjectError> {
        send_fd(self.passing.as_raw_fd(), fd)?;
        // struct msghdr, then its iovec, its one byte of data and its control buffer, all in the scratch page.
        let scratch = foothold.scratch();
        let (iov, data, control) = (scratch + 64, scratch + 96, scratch + 128);
        let words = [0, 0, iov, 1, control, 64, 0, 0, data, 1];
        let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        memory::write_all(injector.tid(), scratch, &bytes)?;
        injector.call("recvmsg", libc::SYS_recvmsg, [PASSING as u64, scratch, 0, 0, 0, 0])?;
        let mut fd = [0; 4];
        // struct cmsghdr is 16 bytes long; the descriptor follows.
        memory::read_exact(injector.tid(), control + 16, &mut fd)?;
        Ok(i32::from_le_bytes(fd))
    }

    fn receive(&self) -> Result<(Report, Tid), Errno> {
        let mut data = [0u8; 256];
        let mut control = [0u64; 8];
        let mut iov = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        // SAFETY: msghdr is plain data for which all zeroes is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the msghdr names live buffers of the lengths given.
        let got = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &mut message, 0) };
        if got < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the kernel filled the control buffer with well-formed headers within msg_controllen.
        let pid = unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            if !header.is_null() && (*header).cmsg_type == libc::SCM_CREDENTIALS {
                libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned().pid
            } else {
                0
            }
        };
        Report::parse(&data[..got as usize]).map(|report| (report, pid)).ok_or(Errno(libc::ECONNRESET))
    }
}

/// What comes from the sandbox's processes: a kind byte, an errno, a text.
#[derive(Debug)]
enum Report {
    Ready,
    Body,
    Failed(String, Errno),
}

impl Report {
    fn parse(bytes: &[u8]) -> Option<Report> {
        match bytes {
            b"r" => Some(Report::Ready),
            b"b" => Some(Report::Body),
            [b'f', a, b, c, d, text @ ..] => Some(Report::Failed(
                String::from_utf8_lossy(text).into_owned(),
                Errno(i32::from_le_bytes([*a, *b, *c, *d])),
            )),
            _ => None,
        }
    }
}

fn socketpair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just made both descriptors for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn send_fd(socket: RawFd, fd: RawFd) -> Result<(), Errno> {
    let mut byte = 0u8;
    let mut control = [0u64; 4];
    let mut iov = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: msghdr is plain data for which all zeroes is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE is arithmetic; the control buffer is aligned and larger than one descriptor needs, so the
    // first header and its data lie within it; sendmsg only reads what the msghdr names.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

fn report(socket: RawFd, bytes: &[u8]) {
    // SAFETY: sends a live buffer. If the other side is gone there is nobody to tell.
    unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

fn exit(status: i32) -> ! {
    // SAFETY: _exit ends the process without running anything of the parent's.
    unsafe { libc::_exit(status) }
}

fn check(step: &str, result: libc::c_long) -> Result<(), (String, Errno)> {
    if result < 0 { Err((step.into(), Errno::last())) } else { Ok(()) }
}

fn check_io(step: &str, result: io::Result<()>) -> Result<(), (String, Errno)> {
    result.map_err(|error| (step.into(), Errno(error.raw_os_error().unwrap_or(libc::EIO))))
}

/// The outer process: makes the namespaces, then waits for their first process.
fn keeper([socket, taking]: [OwnedFd; 2], filter: &Filter, clocks: ClockOffsets) -> ! {
    if let Err((step, errno)) = make_namespaces(clocks) {
        fail(socket.as_raw_fd(), &step, errno);
    }
    // SAFETY: one thread, as in the parent.
    match unsafe { libc::fork() } {
        -1 => fail(socket.as_raw_fd(), "fork", Errno::last()),
        0 => first_process([socket, taking], filter),
        pid => {
            drop((socket, taking));
            // Hold no descriptor of the node's: the socket's other end must close with the node.
            close_all_but(&[]);
            let mut status = 0;
            // SAFETY: the status pointer is to a live local.
            while unsafe { libc::waitpid(pid, &mut status, 0) } < 0 && Errno::last() == Errno::EINTR {}
            exit(0)
        }
    }
}

fn fail(socket: RawFd, step: &str, errno: Errno) -> ! {
    let mut bytes = vec![b'f'];
    bytes.extend_from_slice(&errno.0.to_le_bytes());
    bytes.extend_from_slice(step.as_bytes());
    report(socket, &bytes);
    exit(1)
}

fn close_all_but(keep: &[RawFd]) {
    let mut from = 0;
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    for fd in keep.iter().map(|fd| *fd as u32).chain([u32::MAX]) {
        if from < fd {
            // SAFETY: closes descriptors of this process only; nothing here uses them any more.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd.saturating_add(1);
    }
}

fn make_namespaces(clocks: ClockOffsets) -> Result<(), (String, Errno)> {
    // SAFETY: every call below takes numbers and NULL only.
    unsafe {
        if libc::geteuid() == 0 && may_become_nobody() {
            check("setgroups", libc::setgroups(0, std::ptr::null()).into())?;
            check("setresgid", libc::setresgid(NOBODY, NOBODY, NOBODY).into())?;
            check("setresuid", libc::setresuid(NOBODY, NOBODY, NOBODY).into())?;
        }
        // Changing ids made us undumpable, and /proc/self/uid_map root's.
        check("prctl(PR_SET_DUMPABLE)", libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into())?;
        let (uid, gid) = (libc::geteuid(), libc::getegid());
        check("user namespace", libc::unshare(libc::CLONE_NEWUSER).into())?;
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        check_io("setgroups file", fs::write("/proc/self/setgroups", "deny"))?;
        check_io("uid_map", fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")))?;
        check_io("gid_map", fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")))?;
        let rest = libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | CLONE_NEWTIME;
        check("namespaces", libc::unshare(rest).into())?;
    }
    let offset = |ns: i64| format!("{} {}", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let text =
        format!("monotonic {}\nboottime {}\n", offset(clocks.monotonic_ns), offset(clocks.boottime_ns));
    check_io("time namespace", fs::write("/proc/self/timens_offsets", text))
}

/// Whether root may take the ids of nobody. In a user namespace that somebody without privilege made (rootless
/// containers, `unshare --map-root-user`) it may not: the maker's ids alone are mapped and groups cannot be dropped
/// (user_namespaces(7)). Such a root has no rights outside but the maker's, as if mosixd was the maker's own.
fn may_become_nobody() -> bool {
    let has_nobody = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first.saturating_add(count)).contains(&u64::from(NOBODY)))
    };
    let lacks_nobody = |map: &str| fs::read_to_string(map).is_ok_and(|text| !text.lines().any(has_nobody));
    // What cannot be read lets root try, and fail: it never stays root for want of a file.
    let keeps_groups = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    !(keeps_groups || lacks_nobody("/proc/self/uid_map") || lacks_nobody("/proc/self/gid_map"))
}

const CLONE_NEWTIME: libc::c_int = 0x80;

fn first_process([socket, taking]: [OwnedFd; 2], filter: &Filter) -> ! {
    if let Err((step, errno)) = settle(&socket, &taking) {
        fail(socket.as_raw_fd(), &step, errno);
    }
    std::mem::forget((socket, taking));
    report(REQUESTS, b"r");
    loop {
        let mut pid: Tid = 0;
        // SAFETY: receives at most four bytes into a live local.
        let got = unsafe { libc::recv(REQUESTS, (&raw mut pid).cast(), size_of::<Tid>(), 0) };
        match got {
            4 => make_body(pid, filter),
            -1 if Errno::last() == Errno::EINTR => {}
            _ => exit(0),
        }
    }
}

fn settle(socket: &OwnedFd, taking: &OwnedFd) -> Result<(), (String, Errno)> {
    // From 6.14 on the limit of pids is per namespace; before, the machine's holds.
    fs::write("/proc/sys/kernel/pid_max", "4194304").ok();
    // SAFETY: in every call below strings are NUL-terminated literals, structs are live locals of the kernel's layout.
    unsafe {
        let none = std::ptr::null();
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        check("private mounts", libc::mount(none, c"/".as_ptr(), none, flags, none.cast()).into())?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let (tmpfs, proc) = (c"tmpfs".as_ptr(), c"/proc".as_ptr());
        check("empty root", libc::mount(tmpfs, proc, tmpfs, flags, c"size=4k".as_ptr().cast()).into())?;
        check("chdir", libc::chdir(proc).into())?;
        check("pivot_root", libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check("umount", libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        let flags = flags | libc::MS_REMOUNT | libc::MS_RDONLY;
        check("read-only root", libc::mount(none, c"/".as_ptr(), none, flags, none.cast()).into())?;
        // Both out of the way first: one may have the number that the other is to get.
        let high = libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD, PASSING + 1);
        let higher = libc::fcntl(taking.as_raw_fd(), libc::F_DUPFD, PASSING + 1);
        check("dup2", libc::dup2(high, REQUESTS).into())?;
        check("dup2", libc::dup2(higher, PASSING).into())?;
        close_all_but(&[REQUESTS, PASSING]);
        check("no_new_privs", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        for capability in 0..64 {
            if capability != CAP_CHECKPOINT_RESTORE {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
        }
        let header = [0x2008_0522u32, 0];
        let high = 1u32 << (CAP_CHECKPOINT_RESTORE - 32);
        let sets = [0u32, 0, 0, high, high, 0];
        check("capset", libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()))?;
        check("prctl(PR_SET_DUMPABLE)", libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into())?;
        for signal in 1..=64 {
            set_action(signal, if signal == libc::SIGCHLD { libc::SIG_IGN } else { libc::SIG_DFL });
        }
        // Rust's runtime has one for its main thread; bodies are forks of this process and must not inherit it.
        let none = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        check("sigaltstack", libc::sigaltstack(&none, std::ptr::null_mut()).into())?;
        let core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &core);
    }
    Ok(())
}

/// Makes a disposition what it is after execve(2). The C library's calls would leave a mask, SA_RESTART and a restorer, which
/// sigaction(2) shows. SIGKILL and SIGSTOP refuse.
fn set_action(signal: i32, handler: libc::sighandler_t) {
    let action = [handler as u64, 0, 0, 0];
    // SAFETY: four live words are the kernel's `struct sigaction` (handler, flags, restorer, mask); neither SIG_DFL nor SIG_IGN
    // runs anything.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0, 8) };
}

fn make_body(pid: Tid, filter: &Filter) {
    let tids = [pid];
    // struct clone_args of CLONE_ARGS_SIZE_VER1 (80 bytes): flags, pidfd, child_tid, parent_tid, exit_signal,
    // stack, stack_size, tls, set_tid, set_tid_size.
    let args = [0u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, tids.as_ptr() as u64, 1];
    // SAFETY: a fork (no shared memory) of a process with one thread; the arguments are live.
    match unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) } {
        0 => {
            report(REQUESTS, b"b");
            set_action(libc::SIGCHLD, libc::SIG_DFL);
            if filter.install().is_err() {
                exit(1);
            }
            loop {
                // Until the executor takes over. SAFETY: pause takes nothing; the kernel does not look at the mark.
                unsafe { libc::syscall(libc::SYS_pause, PAUSE_MARK) };
            }
        }
        -1 => {
            let mut bytes = vec![b'f'];
            bytes.extend_from_slice(&Errno::last().0.to_le_bytes());
            report(REQUESTS, &bytes);
        }
        _ => {}
    }
}
