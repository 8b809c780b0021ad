//! The table: one line a call, in the order of their numbers.
//!
//! `number name(arguments) -> return value, place, wait, "why";`
//!
//! Argument shapes are those of the manual pages (section 2) and of Linux 6.18's `syscall_64.tbl`, places follow
//! decisions D2 to D6 of the design. Numbers 337 to 423 do not exist on x86-64; from 424 on all architectures
//! share their numbers.

use crate::ctl::{
    ARCH_PRCTL, FSCONFIG, FUTEX, GETSOCKOPT, KEYCTL, LANDLOCK_RULE, MSGCTL, SEMCTL, SETSOCKOPT, SHMCTL,
};
use crate::fcntl::FCNTL;
use crate::flags::*;
use crate::ioctl::IOCTL;
use crate::kinds::Dir::{In as ToKernel, Out as ToUser};
use crate::kinds::Kind::*;
use crate::kinds::Len::{Arg as Bytes1, ArgCut, ArgShort, ArgTimes, Own, PtrU32, RetTimes, RoomOwn};
use crate::kinds::{Arg, Kind, Len, Shape, bytes, got, inouts, ins, outs};
use crate::prctl::{PRCTL, PRCTL_LOCAL};
use crate::types::Deadline::*;
use crate::types::Place::*;
use crate::types::Ret::*;
use crate::types::Wait::*;
use crate::types::{Call, Deadline, Otherwise, Place, Test, test};

/// The highest number in the table.
pub const LAST: u32 = 469;
/// How many calls there are: 0 to 336 and 424 to 469.
pub const COUNT: usize = 383;

const _: () = assert!(CALLS.len() == COUNT);
const _: () = assert!(CALLS[COUNT - 1].nr == LAST);

macro_rules! calls {
    ($($nr:literal $name:ident ( $($arg:ident : $kind:expr),* $(,)? ) -> $ret:expr, $place:expr, $wait:expr, $note:literal;)*) => {
        &[$(Call {
            nr: $nr,
            name: stringify!($name),
            args: &[$(Arg { name: stringify!($arg), kind: $kind }),*],
            place: $place,
            ret: $ret,
            wait: $wait,
            note: $note,
        }),*]
    };
}

/// The low half: what the kernel sees of an argument that it takes as `int`.
const INT: u64 = 0xffff_ffff;

/// mmap(2) of private anonymous memory, with flags that change nothing but where and how eagerly.
/// Where a program, a heap, libraries and stacks are by default; elsewhere a body may keep something of its own that
/// MAP_FIXED must not replace. Each area is a TiB, and so is the longest mapping: none reaches from one into another that
/// is not here too.
const MMAP_LOCAL: &[&[Test]] = &[
    &[test(3, !MMAP_HARMLESS, 0x22), test(0, !TIB, 0), test(1, !TIB, 0)],
    &[test(3, !MMAP_HARMLESS, 0x22), test(0, !TIB, 0x5500_0000_0000), test(1, !TIB, 0)],
    &[test(3, !MMAP_HARMLESS, 0x22), test(0, !TIB, 0x5600_0000_0000), test(1, !TIB, 0)],
    &[test(3, !MMAP_HARMLESS, 0x22), test(0, !TIB, 0x7e00_0000_0000), test(1, !TIB, 0)],
    &[test(3, !MMAP_HARMLESS, 0x22), test(0, !TIB, 0x7f00_0000_0000), test(1, !TIB, 0)],
];
const TIB: u64 = 0xff_ffff_ffff;
/// MAP_FIXED, 32BIT, DENYWRITE, EXECUTABLE, LOCKED, NORESERVE, POPULATE, NONBLOCK, STACK, FIXED_NOREPLACE.
const MMAP_HARMLESS: u64 =
    0x10 | 0x40 | 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x10_0000;

/// mremap(2) to wherever there is room, without MREMAP_FIXED.
const MREMAP_LOCAL: &[&[Test]] = &[&[test(3, 2, 0)]];

/// madvise(2) advice about private memory, by ranges: NORMAL..WILLNEED, DONTNEED, FREE, DONTFORK and DOFORK,
/// MERGEABLE..NOHUGEPAGE, DONTDUMP..KEEPONFORK, COLD..POPULATE_WRITE, DONTNEED_LOCKED and COLLAPSE. Not REMOVE (9).
const MADVISE_LOCAL: &[&[Test]] = &[
    &[test(2, INT & !3, 0)],
    &[test(2, INT, 4)],
    &[test(2, INT, 8)],
    &[test(2, INT & !1, 10)],
    &[test(2, INT & !3, 12)],
    &[test(2, INT & !3, 16)],
    &[test(2, INT & !3, 20)],
    &[test(2, INT & !1, 24)],
];

/// futex(2) operations with FUTEX_PRIVATE_FLAG: WAIT and WAKE, REQUEUE to UNLOCK_PI, TRYLOCK_PI to LOCK_PI2. Not FD (2).
/// FUTEX_CLOCK_REALTIME (0x100) does not matter. A WAIT with a timeout, which is relative, is seen: only then can a move
/// carry over what remains of it.
const FUTEX_LOCAL: &[&[Test]] = &[
    &[test(1, INT & !0x100, 0x80), test(3, !0, 0)],
    &[test(1, INT & !0x100, 0x81)],
    &[test(1, INT & !0x100, 0x83)],
    &[test(1, INT & !0x103, 0x84)],
    &[test(1, INT & !0x103, 0x88)],
    &[test(1, INT & !0x101, 0x8c)],
];
/// FUTEX2_PRIVATE in the flags of futex_wake (argument 3).
const FUTEX2_WAKE_LOCAL: &[&[Test]] = &[&[test(3, 0x80, 0x80)]];

/// Clocks that the body's kernel reads as home's would: REALTIME, MONOTONIC, RAW to BOOTTIME (a time namespace shifts
/// them).
const CLOCK_SAME: &[&[Test]] = &[&[test(0, INT & !1, 0)], &[test(0, INT & !3, 4)]];
/// Clocks whose resolution the body's kernel knows: 0 to 7 and the CPU clocks of the caller, -2 (thread) and -6
/// (process), see clock_getcpuclockid(3).
const CLOCK_LOCAL: &[&[Test]] =
    &[&[test(0, INT & !7, 0)], &[test(0, INT, 0xffff_fffe)], &[test(0, INT, 0xffff_fffa)]];
/// Clocks that tick the same for the deputy as for the body: all but the CPU-time clocks (2, 3 and negative ones).
const CLOCK_NOT_CPU: &[&[Test]] =
    &[&[test(0, INT & !1, 0)], &[test(0, INT & !3, 4)], &[test(0, INT & !7, 8)]];
/// arch_prctl(2): ARCH_SET_GS, SET_FS, GET_FS, GET_GS (0x1001 to 0x1004).
const ARCH_LOCAL: &[&[Test]] =
    &[&[test(0, INT & !1, 0x1002)], &[test(0, INT, 0x1001)], &[test(0, INT, 0x1004)]];
/// ITIMER_VIRTUAL and ITIMER_PROF count the CPU time of the body.
const ITIMER_LOCAL: &[&[Test]] = &[&[test(0, INT, 1)], &[test(0, INT, 2)]];
/// getrusage(2) of the children. What the caller has used is the body's, and more.
const USAGE_OF_CHILDREN: &[&[Test]] = &[&[test(0, INT, INT)]];
/// No new limit: only a question.
const NO_NEW_LIMIT: &[&[Test]] = &[&[test(2, !0, 0)]];
/// personality(0xffffffff) only asks.
const PERSONALITY_ASKS: &[&[Test]] = &[&[test(0, INT, INT)]];

/// name_to_handle_at(2) without AT_HANDLE_MNT_ID_UNIQUE.
const SHORT_MOUNT_ID: &[&[Test]] = &[&[test(4, 1, 0)]];

/// Sends whose buffer the kernel is done with when they return: no MSG_ZEROCOPY (0x4000000).
const SENDTO_COPIES: &[&[Test]] = &[&[test(3, 0x400_0000, 0)]];
const SENDMSG_COPIES: &[&[Test]] = &[&[test(2, 0x400_0000, 0)]];

const SENDTO: Place = ForwardIf { tests: SENDTO_COPIES, otherwise: Otherwise::Home };
const SENDMSG: Place = ForwardIf { tests: SENDMSG_COPIES, otherwise: Otherwise::Home };
const HANDLE: Place = ForwardIf { tests: SHORT_MOUNT_ID, otherwise: Otherwise::Home };
const CLOCK_READ: Place = LocalIf { tests: CLOCK_SAME, otherwise: Otherwise::Special };
const CLOCK_RESOLUTION: Place = LocalIf { tests: CLOCK_LOCAL, otherwise: Otherwise::Forward };
const USAGE: Place = ForwardIf { tests: USAGE_OF_CHILDREN, otherwise: Otherwise::Special };
const CLOCK_REAL: Place = ForwardIf { tests: CLOCK_NOT_CPU, otherwise: Otherwise::Home };
const ITIMER_CALL: Place = LocalIf { tests: ITIMER_LOCAL, otherwise: Otherwise::Forward };

/// clock_nanosleep(2): absolute with TIMER_ABSTIME.
const CLOCK_NANOSLEEP: Deadline = AbsTimespec { arg: 2, clock_arg: Some(0), flag_arg: Some((1, 1)) };
/// mq_timedsend(2), mq_timedreceive(2): absolute, CLOCK_REALTIME.
const MQ_DEADLINE: Deadline = AbsTimespec { arg: 4, clock_arg: None, flag_arg: None };
/// futex_wait and futex_waitv: absolute, the clock is the next argument.
const FUTEX2_WAIT: Deadline = AbsTimespec { arg: 4, clock_arg: Some(5), flag_arg: None };
const FUTEX2_WAITV: Deadline = AbsTimespec { arg: 3, clock_arg: Some(4), flag_arg: None };

/// A write-like buffer: short writes are legal, and a readable prefix counts.
const fn put(n: u8) -> Kind {
    In(ArgShort(n), Shape::Bytes)
}
/// A buffer of send(2): may be cut, but not at a bad page (it may be a datagram).
const fn sent(n: u8) -> Kind {
    In(ArgCut(n), Shape::Bytes)
}
const fn iov_in(count_arg: u8) -> Kind {
    Iovec { count_arg, dir: ToKernel }
}
const fn iov_out(count_arg: u8) -> Kind {
    Iovec { count_arg, dir: ToUser }
}
const fn addr_in(len_arg: u8) -> Kind {
    SockaddrIn { len_arg }
}
const fn addr_out(len_ptr_arg: u8) -> Kind {
    SockaddrOut { len_ptr_arg }
}

/// Every system call of x86-64.
#[rustfmt::skip]
pub(crate) static CALLS: &[Call] = calls! {
    0 read(fd: Fd, buf: got(2), count: Size) -> Count, Forward, Plain, "descriptors live at home";
    1 write(fd: Fd, buf: put(2), count: Size) -> Count, Forward, Plain, "descriptors live at home";
    2 open(path: Path, flags: Flags(&OPEN), mode: Mode) -> NewFd, Forward, Plain, "the file tree is home's; a FIFO blocks";
    3 close(fd: Fd) -> Zero, Forward, Plain, "descriptors live at home; SO_LINGER blocks";
    4 stat(path: Path, statbuf: outs(Shape::Stat)) -> Zero, Forward, No, "the file tree is home's";
    5 fstat(fd: Fd, statbuf: outs(Shape::Stat)) -> Zero, Forward, No, "descriptors live at home";
    6 lstat(path: Path, statbuf: outs(Shape::Stat)) -> Zero, Forward, No, "the file tree is home's";
    7 poll(fds: PollFds { count_arg: 1 }, nfds: Uint, timeout: Int) -> Count, Forward, Timed(RelMillis(2)), "waits on home's descriptors";
    8 lseek(fd: Fd, offset: Offset, whence: Enum(&SEEK)) -> Value, Forward, No, "the offset belongs to home's open file";
    9 mmap(addr: Addr, length: Size, prot: Flags(&PROT), flags: Flags(&MAP), fd: Fd, offset: Hex) -> Address, LocalIf { tests: MMAP_LOCAL, otherwise: Otherwise::Special }, No, "private anonymous memory is the body's; files come from the content cache";
    10 mprotect(addr: Addr, len: Size, prot: Flags(&PROT)) -> Zero, Local, No, "the body's own memory";
    11 munmap(addr: Addr, length: Size) -> Zero, Local, No, "the body's own memory";
    12 brk(addr: Addr) -> Address, Local, No, "the body's own memory";
    13 rt_sigaction(signum: Signal, act: ins(Shape::Sigaction), oldact: outs(Shape::Sigaction), sigsetsize: Size) -> Zero, Special, No, "the body's kernel keeps it; what home must know is mirrored (D5)";
    14 rt_sigprocmask(how: Enum(&SIG_HOW), set: ins(Shape::Sigset), oldset: outs(Shape::Sigset), sigsetsize: Size) -> Zero, Local, No, "masks live in the body's kernel (D5)";
    15 rt_sigreturn() -> Value, Local, No, "restores the body's registers";
    16 ioctl(fd: Fd, request: Enum(&IOCTL_NAMES), argp: Sub(&IOCTL)) -> Zero, Forward, No, "by request: the sub-table knows the shape, unknown ones go home";
    17 pread64(fd: Fd, buf: got(2), count: Size, offset: Offset) -> Count, Forward, Plain, "descriptors live at home";
    18 pwrite64(fd: Fd, buf: put(2), count: Size, offset: Offset) -> Count, Forward, Plain, "descriptors live at home";
    19 readv(fd: Fd, iov: iov_out(2), iovcnt: Size) -> Count, Forward, Plain, "descriptors live at home";
    20 writev(fd: Fd, iov: iov_in(2), iovcnt: Size) -> Count, Forward, Plain, "descriptors live at home";
    21 access(path: Path, mode: Flags(&ACCESS)) -> Zero, Forward, No, "the file tree and credentials are home's";
    22 pipe(pipefd: outs(Shape::FdPair)) -> Zero, Forward, No, "descriptors live at home";
    23 select(nfds: Int, readfds: FdSet { nfds_arg: 0 }, writefds: FdSet { nfds_arg: 0 }, exceptfds: FdSet { nfds_arg: 0 }, timeout: Remains(Shape::Timeval)) -> Count, Forward, Timed(RelTimeval(4)), "waits on home's descriptors";
    24 sched_yield() -> Zero, Local, No, "the body's own CPU";
    25 mremap(old_address: Addr, old_size: Size, new_size: Size, flags: Flags(&MREMAP), new_address: Addr) -> Address, LocalIf { tests: MREMAP_LOCAL, otherwise: Otherwise::Special }, No, "the body's own memory";
    26 msync(addr: Addr, length: Size, flags: Flags(&MSYNC)) -> Zero, Local, No, "a body has no shared writable file mappings";
    27 mincore(addr: Addr, length: Size, vec: Addr) -> Zero, Local, No, "the body's own memory";
    28 madvise(addr: Addr, length: Size, advice: Enum(&MADV)) -> Zero, LocalIf { tests: MADVISE_LOCAL, otherwise: Otherwise::Home }, No, "the body's own memory; REMOVE reaches the file, guard regions are in no map";
    29 shmget(key: Hex, size: Size, shmflg: Flags(&SHM_GET)) -> Value, Forward, No, "home's IPC namespace; attaching goes home";
    30 shmat(shmid: Int, shmaddr: Addr, shmflg: Flags(&SHM)) -> Address, Home, No, "shared memory stays where its other users are";
    31 shmctl(shmid: Int, cmd: Enum(&IPC_CMD), buf: Sub(&SHMCTL)) -> Value, Forward, No, "home's IPC namespace";
    32 dup(oldfd: Fd) -> NewFd, Forward, No, "descriptors live at home";
    33 dup2(oldfd: Fd, newfd: Fd) -> NewFd, Forward, No, "descriptors live at home";
    34 pause() -> Value, Local, Plain, "signals are delivered to the body";
    35 nanosleep(duration: ins(Shape::Timespec), rem: Remains(Shape::Timespec)) -> Zero, Forward, Timed(RelTimespec(0)), "sleeps where signals arrive";
    36 getitimer(which: Enum(&ITIMER), curr_value: outs(Shape::Itimerval)) -> Zero, ITIMER_CALL, No, "CPU time is the body's, real time home's";
    37 alarm(seconds: Uint) -> Count, Forward, No, "real-time timers live at home";
    38 setitimer(which: Enum(&ITIMER), new_value: ins(Shape::Itimerval), old_value: outs(Shape::Itimerval)) -> Zero, ITIMER_CALL, No, "CPU time is the body's, real time home's";
    39 getpid() -> NewPid, Local, No, "same number at both ends (D2)";
    40 sendfile(out_fd: Fd, in_fd: Fd, offset: inouts(Shape::I64), count: Size) -> Count, Forward, Plain, "moves data between home's descriptors, none of it crosses";
    41 socket(domain: Enum(&AF), type: Flags(&SOCK), protocol: Int) -> NewFd, Forward, No, "sockets live at home";
    42 connect(sockfd: Fd, addr: addr_in(2), addrlen: Uint) -> Zero, Forward, Plain, "sockets live at home";
    43 accept(sockfd: Fd, addr: addr_out(2), addrlen: SockLen) -> NewFd, Forward, Plain, "sockets live at home";
    44 sendto(sockfd: Fd, buf: sent(2), len: Size, flags: Flags(&MSG), dest_addr: addr_in(5), addrlen: Uint) -> Count, SENDTO, Plain, "sockets live at home; MSG_ZEROCOPY keeps reading the buffer";
    45 recvfrom(sockfd: Fd, buf: got(2), len: Size, flags: Flags(&MSG), src_addr: addr_out(5), addrlen: SockLen) -> Count, Forward, Plain, "sockets live at home";
    46 sendmsg(sockfd: Fd, msg: Msghdr(ToKernel), flags: Flags(&MSG)) -> Count, SENDMSG, Plain, "sockets live at home; descriptors passed are home's too";
    47 recvmsg(sockfd: Fd, msg: Msghdr(ToUser), flags: Flags(&MSG)) -> Count, Forward, Plain, "sockets live at home; descriptors passed are home's too";
    48 shutdown(sockfd: Fd, how: Enum(&SHUT)) -> Zero, Forward, No, "sockets live at home";
    49 bind(sockfd: Fd, addr: addr_in(2), addrlen: Uint) -> Zero, Forward, No, "sockets live at home";
    50 listen(sockfd: Fd, backlog: Int) -> Zero, Forward, No, "sockets live at home";
    51 getsockname(sockfd: Fd, addr: addr_out(2), addrlen: SockLen) -> Zero, Forward, No, "sockets live at home";
    52 getpeername(sockfd: Fd, addr: addr_out(2), addrlen: SockLen) -> Zero, Forward, No, "sockets live at home";
    53 socketpair(domain: Enum(&AF), type: Flags(&SOCK), protocol: Int, sv: outs(Shape::FdPair)) -> Zero, Forward, No, "sockets live at home";
    54 setsockopt(sockfd: Fd, level: Enum(&SOL), optname: Int, optval: Sub(&SETSOCKOPT), optlen: Int) -> Zero, Forward, No, "by option: those with pointers inside go home";
    55 getsockopt(sockfd: Fd, level: Enum(&SOL), optname: Int, optval: Sub(&GETSOCKOPT), optlen: SockLen) -> Zero, Forward, No, "by option: those with pointers inside go home";
    56 clone(flags: Flags(&CLONE), stack: Addr, parent_tid: Addr, child_tid: Addr, tls: Addr) -> NewPid, Special, No, "a process or thread at both ends with one number (D6)";
    57 fork() -> NewPid, Special, No, "forks at both ends with one number (D6)";
    58 vfork() -> NewPid, Special, No, "forks at both ends; the parent is held until exec (D6)";
    59 execve(path: Path, argv: StrArray, envp: StrArray) -> Zero, Special, No, "the deputy execs natively, then the fresh image is placed (D6)";
    60 exit(status: Int) -> Never, Special, No, "ends at both ends";
    61 wait4(pid: Pid, wstatus: OutPositive(Shape::WaitStatus), options: Flags(&WAIT), rusage: OutPositive(Shape::Rusage)) -> NewPid, Forward, Plain, "children are home's";
    62 kill(pid: Pid, sig: Signal) -> Zero, Forward, No, "processes are home's; a signal for ourselves comes back (D5)";
    63 uname(buf: outs(Shape::Utsname)) -> Zero, Forward, No, "home's name and kernel";
    64 semget(key: Hex, nsems: Int, semflg: Flags(&SEM_GET)) -> Value, Forward, No, "home's IPC namespace";
    65 semop(semid: Int, sops: In(ArgTimes(2, 6), Shape::Sembuf), nsops: Size) -> Zero, Forward, Plain, "home's IPC namespace";
    66 semctl(semid: Int, semnum: Int, cmd: Enum(&IPC_CMD), arg: Sub(&SEMCTL)) -> Value, Forward, No, "home's IPC namespace; GETALL's length is not in its arguments";
    67 shmdt(shmaddr: Addr) -> Zero, Home, No, "shared memory stays where its other users are";
    68 msgget(key: Hex, msgflg: Flags(&SEM_GET)) -> Value, Forward, No, "home's IPC namespace";
    69 msgsnd(msqid: Int, msgp: MsgBuf { size_arg: 2, dir: ToKernel }, msgsz: Size, msgflg: Flags(&IPC_MSG)) -> Zero, Forward, Plain, "home's IPC namespace";
    70 msgrcv(msqid: Int, msgp: MsgBuf { size_arg: 2, dir: ToUser }, msgsz: Size, msgtyp: Long, msgflg: Flags(&IPC_MSG)) -> Count, Forward, Plain, "home's IPC namespace";
    71 msgctl(msqid: Int, cmd: Enum(&IPC_CMD), buf: Sub(&MSGCTL)) -> Value, Forward, No, "home's IPC namespace";
    72 fcntl(fd: Fd, cmd: Enum(&FCNTL_CMD), arg: Sub(&FCNTL)) -> Value, Forward, No, "by command: the sub-table knows the shape, unknown ones go home";
    73 flock(fd: Fd, operation: Flags(&LOCK)) -> Zero, Forward, Plain, "locks belong to home's open files";
    74 fsync(fd: Fd) -> Zero, Forward, No, "descriptors live at home";
    75 fdatasync(fd: Fd) -> Zero, Forward, No, "descriptors live at home";
    76 truncate(path: Path, length: Offset) -> Zero, Forward, No, "the file tree is home's";
    77 ftruncate(fd: Fd, length: Offset) -> Zero, Forward, No, "descriptors live at home";
    78 getdents(fd: Fd, dirp: Out(Len::Ret(2), Shape::Dirents), count: Uint) -> Count, Forward, No, "descriptors live at home";
    79 getcwd(buf: got(1), size: Size) -> Count, Forward, No, "the working directory is the deputy's";
    80 chdir(path: Path) -> Zero, Forward, No, "the working directory is the deputy's";
    81 fchdir(fd: Fd) -> Zero, Forward, No, "the working directory is the deputy's";
    82 rename(oldpath: Path, newpath: Path) -> Zero, Forward, No, "the file tree is home's";
    83 mkdir(path: Path, mode: Mode) -> Zero, Forward, No, "the file tree is home's";
    84 rmdir(path: Path) -> Zero, Forward, No, "the file tree is home's";
    85 creat(path: Path, mode: Mode) -> NewFd, Forward, Plain, "the file tree is home's; a FIFO blocks";
    86 link(oldpath: Path, newpath: Path) -> Zero, Forward, No, "the file tree is home's";
    87 unlink(path: Path) -> Zero, Forward, No, "the file tree is home's";
    88 symlink(target: Path, linkpath: Path) -> Zero, Forward, No, "the file tree is home's";
    89 readlink(path: Path, buf: got(2), bufsiz: Uint) -> Count, Forward, No, "the file tree is home's";
    90 chmod(path: Path, mode: Mode) -> Zero, Forward, No, "the file tree is home's";
    91 fchmod(fd: Fd, mode: Mode) -> Zero, Forward, No, "descriptors live at home";
    92 chown(path: Path, owner: Id, group: Id) -> Zero, Forward, No, "the file tree is home's";
    93 fchown(fd: Fd, owner: Id, group: Id) -> Zero, Forward, No, "descriptors live at home";
    94 lchown(path: Path, owner: Id, group: Id) -> Zero, Forward, No, "the file tree is home's";
    95 umask(mask: Mode) -> Octal, Forward, No, "the deputy creates the files";
    96 gettimeofday(tv: outs(Shape::Timeval), tz: outs(Shape::Timezone)) -> Zero, Local, No, "clocks are compared at session start; the vDSO answers it anyway";
    97 getrlimit(resource: Enum(&RLIMIT), rlim: outs(Shape::Rlimit)) -> Zero, Forward, No, "the deputy keeps the limits";
    98 getrusage(who: Enum(&RUSAGE), usage: outs(Shape::Rusage)) -> Zero, USAGE, No, "the caller's: the body's, and what was spent before elsewhere; children are home's";
    99 sysinfo(info: outs(Shape::Sysinfo)) -> Zero, Forward, No, "about home";
    100 times(buf: outs(Shape::Tms)) -> Count, Forward, No, "children are home's; the body's own time is added";
    101 ptrace(request: Enum(&PTRACE), pid: Pid, addr: Addr, data: Addr) -> Value, Home, Plain, "a tracer needs its tracees beside it";
    102 getuid() -> Count, Forward, No, "credentials are the deputy's";
    103 syslog(type: Int, buf: got(2), len: Int) -> Count, Forward, Plain, "home's kernel log";
    104 getgid() -> Count, Forward, No, "credentials are the deputy's";
    105 setuid(uid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    106 setgid(gid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    107 geteuid() -> Count, Forward, No, "credentials are the deputy's";
    108 getegid() -> Count, Forward, No, "credentials are the deputy's";
    109 setpgid(pid: Pid, pgid: Pid) -> Zero, Forward, No, "process groups are home's";
    110 getppid() -> NewPid, Forward, No, "the parent is at home";
    111 getpgrp() -> NewPid, Forward, No, "process groups are home's";
    112 setsid() -> NewPid, Forward, No, "sessions are home's";
    113 setreuid(ruid: Id, euid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    114 setregid(rgid: Id, egid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    115 getgroups(size: Int, list: Out(RetTimes(0, 4), Shape::Gids)) -> Count, Forward, No, "credentials are the deputy's";
    116 setgroups(size: Int, list: In(ArgTimes(0, 4), Shape::Gids)) -> Zero, Forward, No, "credentials are the deputy's";
    117 setresuid(ruid: Id, euid: Id, suid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    118 getresuid(ruid: outs(Shape::U32), euid: outs(Shape::U32), suid: outs(Shape::U32)) -> Zero, Forward, No, "credentials are the deputy's";
    119 setresgid(rgid: Id, egid: Id, sgid: Id) -> Zero, Forward, No, "credentials are the deputy's";
    120 getresgid(rgid: outs(Shape::U32), egid: outs(Shape::U32), sgid: outs(Shape::U32)) -> Zero, Forward, No, "credentials are the deputy's";
    121 getpgid(pid: Pid) -> NewPid, Forward, No, "process groups are home's";
    122 setfsuid(fsuid: Id) -> Count, Forward, No, "credentials are the deputy's";
    123 setfsgid(fsgid: Id) -> Count, Forward, No, "credentials are the deputy's";
    124 getsid(pid: Pid) -> NewPid, Forward, No, "sessions are home's";
    125 capget(hdrp: Remains(Shape::CapHeader), datap: inouts(Shape::CapData)) -> Zero, Forward, No, "credentials are the deputy's";
    126 capset(hdrp: Remains(Shape::CapHeader), datap: ins(Shape::CapData)) -> Zero, Forward, No, "credentials are the deputy's";
    127 rt_sigpending(set: outs(Shape::Sigset), sigsetsize: Size) -> Zero, Local, No, "pending signals are the body's (D5)";
    128 rt_sigtimedwait(set: ins(Shape::Sigset), info: outs(Shape::Siginfo), timeout: ins(Shape::Timespec), sigsetsize: Size) -> Value, Special, Timed(RelTimespec(2)), "a signal may be pending at either end (D5)";
    129 rt_sigqueueinfo(pid: Pid, sig: Signal, info: ins(Shape::Siginfo)) -> Zero, Forward, No, "processes are home's";
    130 rt_sigsuspend(mask: ins(Shape::Sigset), sigsetsize: Size) -> Value, Local, Plain, "signals are delivered to the body";
    131 sigaltstack(ss: ins(Shape::StackT), old_ss: outs(Shape::StackT)) -> Zero, Local, No, "handlers run on the body's stack";
    132 utime(path: Path, times: ins(Shape::Utimbuf)) -> Zero, Forward, No, "the file tree is home's";
    133 mknod(path: Path, mode: Mode, dev: Dev) -> Zero, Forward, No, "the file tree is home's";
    134 uselib(library: Path) -> Zero, Home, No, "maps a library the a.out way; mostly ENOSYS";
    135 personality(persona: Flags(&PER)) -> NamedBits("", &PER), ForwardIf { tests: PERSONALITY_ASKS, otherwise: Otherwise::Home }, No, "a change concerns the deputy's exec and the body's mappings alike";
    136 ustat(dev: Dev, ubuf: outs(Shape::Opaque(32))) -> Zero, Forward, No, "home's filesystems";
    137 statfs(path: Path, buf: outs(Shape::Statfs)) -> Zero, Forward, No, "the file tree is home's";
    138 fstatfs(fd: Fd, buf: outs(Shape::Statfs)) -> Zero, Forward, No, "descriptors live at home";
    139 sysfs(option: Hex, arg1: Addr, arg2: Addr) -> Value, Home, No, "three shapes in one, obsolete";
    140 getpriority(which: Enum(&PRIO), who: Pid) -> Value, Forward, No, "about home's processes";
    141 setpriority(which: Enum(&PRIO), who: Pid, prio: Int) -> Zero, Forward, No, "about home's processes";
    142 sched_setparam(pid: Pid, param: ins(Shape::SchedParam)) -> Zero, Forward, No, "about home's processes";
    143 sched_getparam(pid: Pid, param: outs(Shape::SchedParam)) -> Zero, Forward, No, "about home's processes";
    144 sched_setscheduler(pid: Pid, policy: Enum(&SCHED), param: ins(Shape::SchedParam)) -> Zero, Forward, No, "about home's processes";
    145 sched_getscheduler(pid: Pid) -> Value, Forward, No, "about home's processes";
    146 sched_get_priority_max(policy: Enum(&SCHED)) -> Value, Forward, No, "a constant of the kernel";
    147 sched_get_priority_min(policy: Enum(&SCHED)) -> Value, Forward, No, "a constant of the kernel";
    148 sched_rr_get_interval(pid: Pid, tp: outs(Shape::Timespec)) -> Zero, Forward, No, "about home's processes";
    149 mlock(addr: Addr, len: Size) -> Zero, Local, No, "the body's own memory";
    150 munlock(addr: Addr, len: Size) -> Zero, Local, No, "the body's own memory";
    151 mlockall(flags: Flags(&MCL)) -> Zero, Local, No, "the body's own memory";
    152 munlockall() -> Zero, Local, No, "the body's own memory";
    153 vhangup() -> Zero, Forward, No, "the terminal is home's";
    154 modify_ldt(func: Int, ptr: Addr, bytecount: Size) -> Count, Home, No, "segment descriptors are in no image";
    155 pivot_root(new_root: Path, put_old: Path) -> Zero, Forward, No, "the file tree is home's";
    156 _sysctl(args: Addr) -> Zero, Local, No, "removed from Linux: ENOSYS at either end";
    157 prctl(option: Enum(&PR), arg2: Sub(&PRCTL), arg3: Sub(&PRCTL), arg4: Sub(&PRCTL), arg5: Sub(&PRCTL)) -> Value, LocalIf { tests: PRCTL_LOCAL, otherwise: Otherwise::Forward }, No, "by option: the sub-table decides, unknown ones go home";
    158 arch_prctl(code: Enum(&ARCH), addr: Sub(&ARCH_PRCTL)) -> Zero, LocalIf { tests: ARCH_LOCAL, otherwise: Otherwise::Special }, No, "segment bases are the body's";
    159 adjtimex(buf: inouts(Shape::Timex)) -> Value, Forward, No, "home's clock";
    160 setrlimit(resource: Enum(&RLIMIT), rlim: ins(Shape::Rlimit)) -> Zero, Special, No, "the deputy's, and the body's where it is about memory or CPU";
    161 chroot(path: Path) -> Zero, Forward, No, "the file tree is home's";
    162 sync() -> Zero, Forward, No, "home's disks";
    163 acct(path: Path) -> Zero, Forward, No, "home's accounting";
    164 settimeofday(tv: ins(Shape::Timeval), tz: ins(Shape::Timezone)) -> Zero, Forward, No, "home's clock";
    165 mount(source: Path, target: Path, filesystemtype: Str, mountflags: Flags(&MS), data: Prefix(4096)) -> Zero, Forward, No, "the file tree is home's; the kernel copies at most a page of data";
    166 umount2(target: Path, flags: Flags(&UMOUNT)) -> Zero, Forward, No, "the file tree is home's";
    167 swapon(path: Path, swapflags: Hex) -> Zero, Forward, No, "home's disks";
    168 swapoff(path: Path) -> Zero, Forward, No, "home's disks";
    169 reboot(magic: Hex, magic2: Hex, cmd: Hex, arg: Addr) -> Zero, Home, No, "a native process should do this";
    170 sethostname(name: bytes(1), len: Size) -> Zero, Forward, No, "home's name";
    171 setdomainname(name: bytes(1), len: Size) -> Zero, Forward, No, "home's name";
    172 iopl(level: Int) -> Zero, Home, No, "I/O ports are a machine's own";
    173 ioperm(from: Hex, num: Hex, turn_on: Int) -> Zero, Home, No, "I/O ports are a machine's own";
    174 create_module(a: Hex, b: Hex) -> Value, Local, No, "removed from Linux: ENOSYS at either end";
    175 init_module(module_image: bytes(1), len: Size, param_values: Str) -> Zero, Forward, No, "home's kernel";
    176 delete_module(name: Str, flags: Flags(&MODULE_DELETE)) -> Zero, Forward, No, "home's kernel";
    177 get_kernel_syms(a: Hex) -> Value, Local, No, "removed from Linux: ENOSYS at either end";
    178 query_module(a: Hex, b: Hex, c: Hex, d: Hex, e: Hex) -> Value, Local, No, "removed from Linux: ENOSYS at either end";
    179 quotactl(cmd: Hex, special: Path, id: Id, addr: Addr) -> Zero, Home, No, "many shapes, rarely used";
    180 nfsservctl(a: Hex, b: Hex, c: Hex) -> Value, Local, No, "removed from Linux: ENOSYS at either end";
    181 getpmsg(a: Hex, b: Hex, c: Hex, d: Hex, e: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    182 putpmsg(a: Hex, b: Hex, c: Hex, d: Hex, e: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    183 afs_syscall(a: Hex, b: Hex, c: Hex, d: Hex, e: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    184 tuxcall(a: Hex, b: Hex, c: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    185 security(a: Hex, b: Hex, c: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    186 gettid() -> NewPid, Local, No, "same number at both ends (D2)";
    187 readahead(fd: Fd, offset: Offset, count: Size) -> Zero, Forward, No, "home's page cache";
    188 setxattr(path: Path, name: Str, value: bytes(3), size: Size, flags: Flags(&XATTR)) -> Zero, Forward, No, "the file tree is home's";
    189 lsetxattr(path: Path, name: Str, value: bytes(3), size: Size, flags: Flags(&XATTR)) -> Zero, Forward, No, "the file tree is home's";
    190 fsetxattr(fd: Fd, name: Str, value: bytes(3), size: Size, flags: Flags(&XATTR)) -> Zero, Forward, No, "descriptors live at home";
    191 getxattr(path: Path, name: Str, value: got(3), size: Size) -> Count, Forward, No, "the file tree is home's";
    192 lgetxattr(path: Path, name: Str, value: got(3), size: Size) -> Count, Forward, No, "the file tree is home's";
    193 fgetxattr(fd: Fd, name: Str, value: got(3), size: Size) -> Count, Forward, No, "descriptors live at home";
    194 listxattr(path: Path, list: got(2), size: Size) -> Count, Forward, No, "the file tree is home's";
    195 llistxattr(path: Path, list: got(2), size: Size) -> Count, Forward, No, "the file tree is home's";
    196 flistxattr(fd: Fd, list: got(2), size: Size) -> Count, Forward, No, "descriptors live at home";
    197 removexattr(path: Path, name: Str) -> Zero, Forward, No, "the file tree is home's";
    198 lremovexattr(path: Path, name: Str) -> Zero, Forward, No, "the file tree is home's";
    199 fremovexattr(fd: Fd, name: Str) -> Zero, Forward, No, "descriptors live at home";
    200 tkill(tid: Pid, sig: Signal) -> Zero, Forward, No, "threads are home's; a signal for ourselves comes back (D5)";
    201 time(tloc: outs(Shape::I64)) -> Count, Local, No, "clocks are compared at session start; the vDSO answers it anyway";
    202 futex(uaddr: Addr, op: Flags(&FUTEX_OP), val: Sub(&FUTEX), timeout: Sub(&FUTEX), uaddr2: Sub(&FUTEX), val3: Sub(&FUTEX)) -> Count, LocalIf { tests: FUTEX_LOCAL, otherwise: Otherwise::Special }, No, "private ones are the body's; a shared one may be in a mapping that home has too";
    203 sched_setaffinity(pid: Pid, cpusetsize: Uint, mask: In(Bytes1(1), Shape::CpuMask)) -> Zero, Forward, No, "about home's CPUs";
    204 sched_getaffinity(pid: Pid, cpusetsize: Uint, mask: Out(Len::Ret(1), Shape::CpuMask)) -> Count, Forward, No, "about home's CPUs";
    205 set_thread_area(u_info: Addr) -> Value, Local, No, "not for 64-bit programs: ENOSYS at either end";
    206 io_setup(nr_events: Uint, ctx_idp: Addr) -> Zero, Home, No, "maps a ring that the kernel writes later";
    207 io_destroy(ctx_id: Addr) -> Zero, Home, No, "its ring is at home";
    208 io_getevents(ctx_id: Addr, min_nr: Long, nr: Long, events: Addr, timeout: Addr) -> Count, Home, Plain, "its ring is at home";
    209 io_submit(ctx_id: Addr, nr: Long, iocbpp: Addr) -> Count, Home, No, "the kernel writes the buffers later";
    210 io_cancel(ctx_id: Addr, iocb: Addr, result: Addr) -> Zero, Home, No, "its ring is at home";
    211 get_thread_area(u_info: Addr) -> Value, Local, No, "not for 64-bit programs: ENOSYS at either end";
    212 lookup_dcookie(cookie: Size, buffer: got(2), len: Size) -> Count, Forward, No, "home's dentry cache; removed in 6.7";
    213 epoll_create(size: Int) -> NewFd, Forward, No, "descriptors live at home";
    214 epoll_ctl_old(a: Hex, b: Hex, c: Hex, d: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    215 epoll_wait_old(a: Hex, b: Hex, c: Hex, d: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    216 remap_file_pages(addr: Addr, size: Size, prot: Flags(&PROT), pgoff: Size, flags: Flags(&MAP)) -> Zero, Home, No, "works on shared file mappings only";
    217 getdents64(fd: Fd, dirp: Out(Len::Ret(2), Shape::Dirents64), count: Uint) -> Count, Forward, No, "descriptors live at home";
    218 set_tid_address(tidptr: Addr) -> NewPid, Local, No, "the body's kernel clears it; same number at both ends";
    219 restart_syscall() -> Value, Local, Plain, "restarts a local call; a forwarded one never answers -516 (D5)";
    220 semtimedop(semid: Int, sops: In(ArgTimes(2, 6), Shape::Sembuf), nsops: Size, timeout: ins(Shape::Timespec)) -> Zero, Forward, Timed(RelTimespec(3)), "home's IPC namespace";
    221 fadvise64(fd: Fd, offset: Offset, len: Size, advice: Enum(&FADV)) -> Zero, Forward, No, "home's page cache";
    222 timer_create(clockid: Clock, sevp: ins(Shape::Sigevent), timerid: outs(Shape::I32)) -> Zero, CLOCK_REAL, No, "timers fire at home; CPU clocks tick in the body";
    223 timer_settime(timerid: Int, flags: Flags(&TIMER), new_value: ins(Shape::Itimerspec), old_value: outs(Shape::Itimerspec)) -> Zero, Forward, No, "timers are home's";
    224 timer_gettime(timerid: Int, curr_value: outs(Shape::Itimerspec)) -> Zero, Forward, No, "timers are home's";
    225 timer_getoverrun(timerid: Int) -> Count, Special, No, "of the signal that the body got last";
    226 timer_delete(timerid: Int) -> Zero, Forward, No, "timers are home's";
    227 clock_settime(clockid: Clock, tp: ins(Shape::Timespec)) -> Zero, Forward, No, "home's clock";
    228 clock_gettime(clockid: Clock, tp: outs(Shape::Timespec)) -> Zero, CLOCK_READ, No, "a time namespace shifts the body's clocks to home's; CPU clocks are the body's, and what was spent before elsewhere; others are asked at home";
    229 clock_getres(clockid: Clock, res: outs(Shape::Timespec)) -> Zero, CLOCK_RESOLUTION, No, "a constant of the kernel";
    230 clock_nanosleep(clockid: Clock, flags: Flags(&TIMER), t: ins(Shape::Timespec), remain: Remains(Shape::Timespec)) -> Zero, CLOCK_REAL, Timed(CLOCK_NANOSLEEP), "sleeps where signals arrive; CPU clocks tick in the body";
    231 exit_group(status: Int) -> Never, Special, No, "ends at both ends";
    232 epoll_wait(epfd: Fd, events: Out(RetTimes(2, 12), Shape::EpollEvent), maxevents: Int, timeout: Int) -> Count, Forward, Timed(RelMillis(3)), "waits on home's descriptors";
    233 epoll_ctl(epfd: Fd, op: Enum(&EPOLL_CTL), fd: Fd, event: ins(Shape::EpollEvent)) -> Zero, Forward, No, "descriptors live at home; the data word is opaque";
    234 tgkill(tgid: Pid, tid: Pid, sig: Signal) -> Zero, Forward, No, "threads are home's; a signal for ourselves comes back (D5)";
    235 utimes(path: Path, times: ins(Shape::TimevalPair)) -> Zero, Forward, No, "the file tree is home's";
    236 vserver(a: Hex, b: Hex, c: Hex, d: Hex, e: Hex) -> Value, Local, No, "never implemented: ENOSYS at either end";
    237 mbind(addr: Addr, len: Size, mode: Flags(&MPOL), nodemask: Addr, maxnode: Size, flags: Flags(&MPOL_MF)) -> Zero, Home, No, "NUMA nodes are a machine's own";
    238 set_mempolicy(mode: Flags(&MPOL), nodemask: Addr, maxnode: Size) -> Zero, Home, No, "NUMA nodes are a machine's own";
    239 get_mempolicy(mode: Addr, nodemask: Addr, maxnode: Size, addr: Addr, flags: Flags(&MPOL_F)) -> Zero, Home, No, "NUMA nodes are a machine's own";
    240 mq_open(name: Path, oflag: Flags(&OPEN), mode: Mode, attr: ins(Shape::MqAttr)) -> NewFd, Forward, No, "home's IPC namespace";
    241 mq_unlink(name: Path) -> Zero, Forward, No, "home's IPC namespace";
    242 mq_timedsend(mqdes: Fd, msg_ptr: bytes(2), msg_len: Size, msg_prio: Uint, abs_timeout: ins(Shape::Timespec)) -> Zero, Forward, Timed(MQ_DEADLINE), "home's IPC namespace";
    243 mq_timedreceive(mqdes: Fd, msg_ptr: got(2), msg_len: Size, msg_prio: outs(Shape::U32), abs_timeout: ins(Shape::Timespec)) -> Count, Forward, Timed(MQ_DEADLINE), "home's IPC namespace";
    244 mq_notify(mqdes: Fd, sevp: Addr) -> Zero, Home, No, "SIGEV_THREAD has a pointer inside";
    245 mq_getsetattr(mqdes: Fd, newattr: ins(Shape::MqAttr), oldattr: outs(Shape::MqAttr)) -> Zero, Forward, No, "home's IPC namespace";
    246 kexec_load(entry: Addr, nr_segments: Size, segments: Addr, flags: Hex) -> Zero, Home, No, "pointers inside, and a native process should do this";
    247 waitid(idtype: Enum(&P), id: Pid, infop: WaitInfo, options: Flags(&WAIT), rusage: inouts(Shape::Rusage)) -> Zero, Forward, Plain, "children are home's";
    248 add_key(type: Str, description: Str, payload: bytes(3), plen: Size, keyring: Enum(&KEY_SPEC)) -> Value, Forward, No, "keyrings are the deputy's";
    249 request_key(type: Str, description: Str, callout_info: Str, dest_keyring: Enum(&KEY_SPEC)) -> Value, Forward, Plain, "keyrings are the deputy's";
    250 keyctl(operation: Enum(&KEYCTL_OP), arg2: Sub(&KEYCTL), arg3: Sub(&KEYCTL), arg4: Sub(&KEYCTL), arg5: Sub(&KEYCTL)) -> Value, Forward, No, "keyrings are the deputy's; unknown operations go home";
    251 ioprio_set(which: Enum(&IOPRIO_WHO), who: Pid, ioprio: Hex) -> Zero, Forward, No, "home does the I/O";
    252 ioprio_get(which: Enum(&IOPRIO_WHO), who: Pid) -> Value, Forward, No, "home does the I/O";
    253 inotify_init() -> NewFd, Forward, No, "descriptors live at home";
    254 inotify_add_watch(fd: Fd, path: Path, mask: Flags(&INOTIFY)) -> Value, Forward, No, "the file tree is home's";
    255 inotify_rm_watch(fd: Fd, wd: Int) -> Zero, Forward, No, "descriptors live at home";
    256 migrate_pages(pid: Pid, maxnode: Size, old_nodes: Addr, new_nodes: Addr) -> Count, Home, No, "NUMA nodes are a machine's own";
    257 openat(dirfd: DirFd, path: Path, flags: Flags(&OPEN), mode: Mode) -> NewFd, Forward, Plain, "the file tree is home's; a FIFO blocks";
    258 mkdirat(dirfd: DirFd, path: Path, mode: Mode) -> Zero, Forward, No, "the file tree is home's";
    259 mknodat(dirfd: DirFd, path: Path, mode: Mode, dev: Dev) -> Zero, Forward, No, "the file tree is home's";
    260 fchownat(dirfd: DirFd, path: Path, owner: Id, group: Id, flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    261 futimesat(dirfd: DirFd, path: Path, times: ins(Shape::TimevalPair)) -> Zero, Forward, No, "the file tree is home's";
    262 newfstatat(dirfd: DirFd, path: Path, statbuf: outs(Shape::Stat), flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    263 unlinkat(dirfd: DirFd, path: Path, flags: Flags(&AT_REMOVE)) -> Zero, Forward, No, "the file tree is home's";
    264 renameat(olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path) -> Zero, Forward, No, "the file tree is home's";
    265 linkat(olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path, flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    266 symlinkat(target: Path, newdirfd: DirFd, linkpath: Path) -> Zero, Forward, No, "the file tree is home's";
    267 readlinkat(dirfd: DirFd, path: Path, buf: got(3), bufsiz: Uint) -> Count, Forward, No, "the file tree is home's";
    268 fchmodat(dirfd: DirFd, path: Path, mode: Mode) -> Zero, Forward, No, "the file tree is home's";
    269 faccessat(dirfd: DirFd, path: Path, mode: Flags(&ACCESS)) -> Zero, Forward, No, "the file tree and credentials are home's";
    270 pselect6(nfds: Int, readfds: FdSet { nfds_arg: 0 }, writefds: FdSet { nfds_arg: 0 }, exceptfds: FdSet { nfds_arg: 0 }, timeout: Remains(Shape::Timespec), sigmask: MaskPair) -> Count, Forward, Timed(RelTimespec(4)), "waits on home's descriptors; its mask is the body's (D5)";
    271 ppoll(fds: PollFds { count_arg: 1 }, nfds: Uint, tmo_p: Remains(Shape::Timespec), sigmask: ins(Shape::Sigset), sigsetsize: Size) -> Count, Forward, Timed(RelTimespec(2)), "waits on home's descriptors; its mask is the body's (D5)";
    272 unshare(flags: Flags(&UNSHARE)) -> Zero, Home, No, "namespaces are a matter of the native process";
    273 set_robust_list(head: Addr, len: Size) -> Zero, Local, No, "the body's kernel walks it";
    274 get_robust_list(pid: Pid, head_ptr: outs(Shape::U64), len_ptr: outs(Shape::I64)) -> Zero, Local, No, "the body's kernel has it";
    275 splice(fd_in: Fd, off_in: inouts(Shape::I64), fd_out: Fd, off_out: inouts(Shape::I64), size: Size, flags: Flags(&SPLICE)) -> Count, Forward, Plain, "moves data between home's descriptors, none of it crosses";
    276 tee(fd_in: Fd, fd_out: Fd, size: Size, flags: Flags(&SPLICE)) -> Count, Forward, Plain, "moves data between home's descriptors, none of it crosses";
    277 sync_file_range(fd: Fd, offset: Offset, nbytes: Offset, flags: Flags(&SYNC_RANGE)) -> Zero, Forward, No, "descriptors live at home";
    278 vmsplice(fd: Fd, iov: Addr, nr_segs: Size, flags: Flags(&SPLICE)) -> Count, Home, Plain, "puts the program's own pages into a pipe";
    279 move_pages(pid: Pid, count: Size, pages: Addr, nodes: Addr, status: Addr, flags: Hex) -> Count, Home, No, "NUMA nodes are a machine's own";
    280 utimensat(dirfd: DirFd, path: Path, times: ins(Shape::TimespecPair), flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    281 epoll_pwait(epfd: Fd, events: Out(RetTimes(2, 12), Shape::EpollEvent), maxevents: Int, timeout: Int, sigmask: ins(Shape::Sigset), sigsetsize: Size) -> Count, Forward, Timed(RelMillis(3)), "waits on home's descriptors; its mask is the body's (D5)";
    282 signalfd(fd: Fd, mask: ins(Shape::Sigset), sizemask: Size) -> NewFd, Home, No, "signals are the body's, the descriptor would be home's";
    283 timerfd_create(clockid: Clock, flags: Flags(&TFD)) -> NewFd, Forward, No, "descriptors live at home";
    284 eventfd(initval: Uint) -> NewFd, Forward, No, "descriptors live at home";
    285 fallocate(fd: Fd, mode: Flags(&FALLOC), offset: Offset, len: Offset) -> Zero, Forward, No, "descriptors live at home";
    286 timerfd_settime(fd: Fd, flags: Flags(&TFD_SET), new_value: ins(Shape::Itimerspec), old_value: outs(Shape::Itimerspec)) -> Zero, Forward, No, "descriptors live at home";
    287 timerfd_gettime(fd: Fd, curr_value: outs(Shape::Itimerspec)) -> Zero, Forward, No, "descriptors live at home";
    288 accept4(sockfd: Fd, addr: addr_out(2), addrlen: SockLen, flags: Flags(&SOCK_FLAGS)) -> NewFd, Forward, Plain, "sockets live at home";
    289 signalfd4(fd: Fd, mask: ins(Shape::Sigset), sizemask: Size, flags: Flags(&SFD)) -> NewFd, Home, No, "signals are the body's, the descriptor would be home's";
    290 eventfd2(initval: Uint, flags: Flags(&EFD)) -> NewFd, Forward, No, "descriptors live at home";
    291 epoll_create1(flags: Flags(&EPOLL_CREATE)) -> NewFd, Forward, No, "descriptors live at home";
    292 dup3(oldfd: Fd, newfd: Fd, flags: Flags(&OPEN_BITS)) -> NewFd, Forward, No, "descriptors live at home";
    293 pipe2(pipefd: outs(Shape::FdPair), flags: Flags(&OPEN_BITS)) -> Zero, Forward, No, "descriptors live at home";
    294 inotify_init1(flags: Flags(&IN_INIT)) -> NewFd, Forward, No, "descriptors live at home";
    295 preadv(fd: Fd, iov: iov_out(2), iovcnt: Size, offset: Offset, pos_h: Hex) -> Count, Forward, Plain, "descriptors live at home";
    296 pwritev(fd: Fd, iov: iov_in(2), iovcnt: Size, offset: Offset, pos_h: Hex) -> Count, Forward, Plain, "descriptors live at home";
    297 rt_tgsigqueueinfo(tgid: Pid, tid: Pid, sig: Signal, info: ins(Shape::Siginfo)) -> Zero, Forward, No, "threads are home's";
    298 perf_event_open(attr: Addr, pid: Pid, cpu: Int, group_fd: Fd, flags: Flags(&PERF_FLAG)) -> NewFd, Home, No, "measures the CPU that it runs on";
    299 recvmmsg(sockfd: Fd, msgvec: Mmsghdr { count_arg: 2, dir: ToUser }, vlen: Uint, flags: Flags(&MSG), timeout: inouts(Shape::Timespec)) -> Count, Forward, Timed(RelTimespec(4)), "sockets live at home";
    300 fanotify_init(flags: Hex, event_f_flags: Flags(&OPEN)) -> NewFd, Forward, No, "descriptors live at home";
    301 fanotify_mark(fanotify_fd: Fd, flags: Hex, mask: Hex, dirfd: DirFd, path: Path) -> Zero, Forward, No, "the file tree is home's";
    302 prlimit64(pid: Pid, resource: Enum(&RLIMIT), new_limit: ins(Shape::Rlimit), old_limit: outs(Shape::Rlimit)) -> Zero, ForwardIf { tests: NO_NEW_LIMIT, otherwise: Otherwise::Special }, No, "the deputy keeps the limits; a new one may be the body's too";
    303 name_to_handle_at(dirfd: DirFd, path: Path, handle: FileHandle(ToUser), mount_id: outs(Shape::I32), flags: Flags(&AT)) -> Zero, HANDLE, No, "the file tree is home's; AT_HANDLE_MNT_ID_UNIQUE makes the id a longer one";
    304 open_by_handle_at(mount_fd: Fd, handle: FileHandle(ToKernel), flags: Flags(&OPEN)) -> NewFd, Forward, Plain, "the file tree is home's";
    305 clock_adjtime(clockid: Clock, buf: inouts(Shape::Timex)) -> Value, Forward, No, "home's clock";
    306 syncfs(fd: Fd) -> Zero, Forward, No, "home's disks";
    307 sendmmsg(sockfd: Fd, msgvec: Mmsghdr { count_arg: 2, dir: ToKernel }, vlen: Uint, flags: Flags(&MSG)) -> Count, ForwardIf { tests: SENDTO_COPIES, otherwise: Otherwise::Home }, Plain, "sockets live at home; MSG_ZEROCOPY keeps reading the buffers";
    308 setns(fd: Fd, nstype: Flags(&NAMESPACE)) -> Zero, Home, No, "namespaces are a matter of the native process";
    309 getcpu(cpu: outs(Shape::U32), node: outs(Shape::U32), tcache: Addr) -> Zero, Local, No, "the CPU that the body runs on";
    310 process_vm_readv(pid: Pid, local_iov: Addr, liovcnt: Size, remote_iov: Addr, riovcnt: Size, flags: Hex) -> Count, Home, No, "reads another process's memory";
    311 process_vm_writev(pid: Pid, local_iov: Addr, liovcnt: Size, remote_iov: Addr, riovcnt: Size, flags: Hex) -> Count, Home, No, "writes another process's memory";
    312 kcmp(pid1: Pid, pid2: Pid, type: Enum(&KCMP), idx1: Hex, idx2: Hex) -> Value, Home, No, "compares kernel objects, some of them the body's";
    313 finit_module(fd: Fd, param_values: Str, flags: Flags(&MODULE_INIT)) -> Zero, Forward, No, "home's kernel";
    314 sched_setattr(pid: Pid, attr: In(Own(48), Shape::SchedAttr), flags: Hex) -> Zero, Forward, No, "about home's processes";
    315 sched_getattr(pid: Pid, attr: Out(Bytes1(2), Shape::SchedAttr), size: Uint, flags: Hex) -> Zero, Forward, No, "about home's processes";
    316 renameat2(olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path, flags: Flags(&RENAME)) -> Zero, Forward, No, "the file tree is home's";
    317 seccomp(operation: Enum(&SECCOMP_OP), flags: Flags(&SECCOMP_FLAG), args: Addr) -> Value, Home, No, "a filter of the program's own is a stay reason (D1)";
    318 getrandom(buf: got(1), buflen: Size, flags: Flags(&GRND)) -> Count, Local, No, "random is random";
    319 memfd_create(name: Str, flags: Flags(&MFD)) -> NewFd, Forward, No, "descriptors live at home; mapping it shared goes home";
    320 kexec_file_load(kernel_fd: Fd, initrd_fd: Fd, cmdline_len: Size, cmdline: bytes(2), flags: Hex) -> Zero, Forward, No, "home's kernel";
    321 bpf(cmd: Enum(&BPF_CMD), attr: Addr, size: Uint) -> Value, Home, No, "many shapes with pointers inside";
    322 execveat(dirfd: DirFd, path: Path, argv: StrArray, envp: StrArray, flags: Flags(&AT)) -> Zero, Special, No, "the deputy execs natively, then the fresh image is placed (D6)";
    323 userfaultfd(flags: Flags(&UFFD)) -> NewFd, Home, No, "serves faults of the program's own memory";
    324 membarrier(cmd: Enum(&MEMBARRIER), flags: Hex, cpu_id: Int) -> NamedBits("", &MEMBARRIER), Local, No, "orders the body's threads";
    325 mlock2(addr: Addr, len: Size, flags: Flags(&MLOCK)) -> Zero, Local, No, "the body's own memory";
    326 copy_file_range(fd_in: Fd, off_in: inouts(Shape::I64), fd_out: Fd, off_out: inouts(Shape::I64), size: Size, flags: Hex) -> Count, Forward, No, "moves data between home's descriptors, none of it crosses";
    327 preadv2(fd: Fd, iov: iov_out(2), iovcnt: Size, offset: Offset, pos_h: Hex, flags: Flags(&RWF)) -> Count, Forward, Plain, "descriptors live at home";
    328 pwritev2(fd: Fd, iov: iov_in(2), iovcnt: Size, offset: Offset, pos_h: Hex, flags: Flags(&RWF)) -> Count, Forward, Plain, "descriptors live at home";
    329 pkey_mprotect(addr: Addr, len: Size, prot: Flags(&PROT), pkey: Int) -> Zero, Local, No, "the body's own memory";
    330 pkey_alloc(flags: Hex, access_rights: Flags(&PKEY)) -> Value, Local, No, "the body's own memory";
    331 pkey_free(pkey: Int) -> Zero, Local, No, "the body's own memory";
    332 statx(dirfd: DirFd, path: Path, flags: Flags(&AT_STATX), mask: Flags(&STATX), statxbuf: outs(Shape::Statx)) -> Zero, Forward, No, "the file tree is home's";
    333 io_pgetevents(ctx_id: Addr, min_nr: Long, nr: Long, events: Addr, timeout: Addr, sig: Addr) -> Count, Home, Plain, "its ring is at home";
    334 rseq(rseq: Addr, rseq_len: Hex, flags: Hex, sig: Hex) -> Zero, Local, No, "the body's kernel writes it";
    335 uretprobe() -> Value, Local, No, "belongs to a kernel trampoline; SIGILL elsewhere";
    336 uprobe() -> Value, Local, No, "belongs to a kernel trampoline; ENXIO elsewhere";
    424 pidfd_send_signal(pidfd: Fd, sig: Signal, info: ins(Shape::Siginfo), flags: Hex) -> Zero, Forward, No, "processes are home's";
    425 io_uring_setup(entries: Uint, p: Addr) -> NewFd, Home, No, "rings are shared memory that the kernel writes";
    426 io_uring_enter(fd: Fd, to_submit: Uint, min_complete: Uint, flags: Hex, arg: Addr, argsz: Size) -> Count, Home, Plain, "rings are shared memory that the kernel writes";
    427 io_uring_register(fd: Fd, opcode: Uint, arg: Addr, nr_args: Uint) -> Value, Home, No, "rings are shared memory that the kernel writes";
    428 open_tree(dirfd: DirFd, path: Path, flags: Flags(&OPEN_TREE)) -> NewFd, Forward, No, "the file tree is home's";
    429 move_mount(from_dirfd: DirFd, from_path: Path, to_dirfd: DirFd, to_path: Path, flags: Flags(&MOVE_MOUNT)) -> Zero, Forward, No, "the file tree is home's";
    430 fsopen(fs_name: Str, flags: Flags(&FSOPEN)) -> NewFd, Forward, No, "the file tree is home's";
    431 fsconfig(fs_fd: Fd, cmd: Enum(&FSCONFIG_CMD), key: Sub(&FSCONFIG), value: Sub(&FSCONFIG), aux: Sub(&FSCONFIG)) -> Zero, Forward, No, "the file tree is home's";
    432 fsmount(fs_fd: Fd, flags: Flags(&FSMOUNT), attr_flags: Flags(&MOUNT_ATTR)) -> NewFd, Forward, No, "the file tree is home's";
    433 fspick(dirfd: DirFd, path: Path, flags: Flags(&FSPICK)) -> NewFd, Forward, No, "the file tree is home's";
    434 pidfd_open(pid: Pid, flags: Flags(&PIDFD)) -> NewFd, Forward, No, "processes are home's";
    435 clone3(cl_args: In(Bytes1(1), Shape::CloneArgs), size: Size) -> NewPid, Special, No, "a process or thread at both ends with one number (D6)";
    436 close_range(first: Uint, last: Uint, flags: Flags(&CLOSE_RANGE)) -> Zero, Forward, No, "descriptors live at home";
    437 openat2(dirfd: DirFd, path: Path, how: In(Bytes1(3), Shape::OpenHow), size: Size) -> NewFd, Forward, Plain, "the file tree is home's; a FIFO blocks";
    438 pidfd_getfd(pidfd: Fd, targetfd: Fd, flags: Hex) -> NewFd, Forward, No, "descriptors live at home";
    439 faccessat2(dirfd: DirFd, path: Path, mode: Flags(&ACCESS), flags: Flags(&AT_EACCESS)) -> Zero, Forward, No, "the file tree and credentials are home's";
    440 process_madvise(pidfd: Fd, iovec: Addr, vlen: Size, advice: Enum(&MADV), flags: Hex) -> Count, Home, No, "another process's memory";
    441 epoll_pwait2(epfd: Fd, events: Out(RetTimes(2, 12), Shape::EpollEvent), maxevents: Int, timeout: ins(Shape::Timespec), sigmask: ins(Shape::Sigset), sigsetsize: Size) -> Count, Forward, Timed(RelTimespec(3)), "waits on home's descriptors; its mask is the body's (D5)";
    442 mount_setattr(dirfd: DirFd, path: Path, flags: Flags(&AT), attr: bytes(4), size: Size) -> Zero, Forward, No, "the file tree is home's";
    443 quotactl_fd(fd: Fd, cmd: Hex, id: Id, addr: Addr) -> Zero, Home, No, "many shapes, rarely used";
    444 landlock_create_ruleset(attr: bytes(1), size: Size, flags: Flags(&LANDLOCK_CREATE)) -> NewFd, Forward, No, "confines the deputy, who touches the files";
    445 landlock_add_rule(ruleset_fd: Fd, rule_type: Int, rule_attr: Sub(&LANDLOCK_RULE), flags: Sub(&LANDLOCK_RULE)) -> Zero, Forward, No, "confines the deputy, who touches the files";
    446 landlock_restrict_self(ruleset_fd: Fd, flags: Hex) -> Zero, Forward, No, "confines the deputy, who touches the files";
    447 memfd_secret(flags: Hex) -> NewFd, Home, No, "memory that nobody else may read";
    448 process_mrelease(pidfd: Fd, flags: Hex) -> Zero, Forward, No, "processes are home's";
    449 futex_waitv(waiters: Addr, nr_futexes: Uint, flags: Hex, timeout: ins(Shape::Timespec), clockid: Clock) -> Value, Special, Timed(FUTEX2_WAITV), "each waiter says whether it is private";
    450 set_mempolicy_home_node(start: Addr, len: Size, home_node: Hex, flags: Hex) -> Zero, Home, No, "NUMA nodes are a machine's own";
    451 cachestat(fd: Fd, cstat_range: ins(Shape::Opaque(16)), cstat: outs(Shape::Opaque(40)), flags: Hex) -> Zero, Forward, No, "home's page cache";
    452 fchmodat2(dirfd: DirFd, path: Path, mode: Mode, flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    453 map_shadow_stack(addr: Addr, size: Size, flags: Hex) -> Address, Home, No, "shadow stacks are in no image";
    454 futex_wake(uaddr: Addr, mask: Hex, nr: Int, flags: Hex) -> Count, LocalIf { tests: FUTEX2_WAKE_LOCAL, otherwise: Otherwise::Special }, No, "private ones are the body's";
    455 futex_wait(uaddr: Addr, val: Hex, mask: Hex, flags: Hex, timeout: ins(Shape::Timespec), clockid: Clock) -> Zero, LocalIf { tests: FUTEX2_WAKE_LOCAL, otherwise: Otherwise::Special }, Timed(FUTEX2_WAIT), "private ones are the body's";
    456 futex_requeue(waiters: Addr, flags: Hex, nr_wake: Int, nr_requeue: Int) -> Count, Special, No, "each waiter says whether it is private";
    457 statmount(req: In(Own(32), Shape::Bytes), buf: Out(RoomOwn(2), Shape::Bytes), bufsize: Size, flags: Hex) -> Zero, Forward, No, "the file tree is home's";
    458 listmount(req: In(Own(32), Shape::Bytes), mnt_ids: Out(RetTimes(2, 8), Shape::Bytes), nr_mnt_ids: Size, flags: Hex) -> Count, Forward, No, "the file tree is home's";
    459 lsm_get_self_attr(attr: Uint, ctx: InOut(PtrU32(2), Shape::Bytes), size: SockLen, flags: Hex) -> Count, Forward, No, "credentials are the deputy's";
    460 lsm_set_self_attr(attr: Uint, ctx: bytes(2), size: Uint, flags: Hex) -> Zero, Forward, No, "credentials are the deputy's";
    461 lsm_list_modules(ids: Out(PtrU32(1), Shape::Bytes), size: SockLen, flags: Hex) -> Count, Forward, No, "home's kernel";
    462 mseal(addr: Addr, len: Size, flags: Hex) -> Zero, Home, No, "sealed mappings cannot be moved (D1)";
    463 setxattrat(dirfd: DirFd, path: Path, at_flags: Flags(&AT), name: Str, args: Addr, size: Size) -> Zero, Home, No, "a pointer inside";
    464 getxattrat(dirfd: DirFd, path: Path, at_flags: Flags(&AT), name: Str, args: Addr, size: Size) -> Count, Home, No, "a pointer inside";
    465 listxattrat(dirfd: DirFd, path: Path, at_flags: Flags(&AT), list: got(4), size: Size) -> Count, Forward, No, "the file tree is home's";
    466 removexattrat(dirfd: DirFd, path: Path, at_flags: Flags(&AT), name: Str) -> Zero, Forward, No, "the file tree is home's";
    467 open_tree_attr(dirfd: DirFd, path: Path, flags: Hex, attr: bytes(4), size: Size) -> NewFd, Forward, No, "the file tree is home's";
    468 file_getattr(dirfd: DirFd, path: Path, attr: Out(Bytes1(3), Shape::Bytes), size: Size, at_flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
    469 file_setattr(dirfd: DirFd, path: Path, attr: bytes(3), size: Size, at_flags: Flags(&AT)) -> Zero, Forward, No, "the file tree is home's";
};
