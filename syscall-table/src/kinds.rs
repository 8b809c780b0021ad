//! What arguments are: numbers, buffers, and how long these are.

use crate::flags::FlagSet;
use crate::types::SubTable;

/// One argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// Its name in the manual page.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// Which way data flows: `In` to the kernel, `Out` to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dir {
    /// The kernel reads it.
    In,
    /// The kernel writes it.
    Out,
}

/// What an argument is. Everything up to `Addr` travels by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 32-bit signed number.
    Int,
    /// A 32-bit unsigned number.
    Uint,
    /// A 64-bit signed number.
    Long,
    /// Bits without names.
    Hex,
    /// A `size_t`.
    Size,
    /// An `off_t`.
    Offset,
    /// A file descriptor.
    Fd,
    /// A directory descriptor, or AT_FDCWD.
    DirFd,
    /// A process, thread or process group id.
    Pid,
    /// A signal number.
    Signal,
    /// A file mode, in octal.
    Mode,
    /// Bits with names.
    Flags(&'static FlagSet),
    /// One value out of a set with names.
    Enum(&'static FlagSet),
    /// A clock id, see clock_gettime(2).
    Clock,
    /// A device number.
    Dev,
    /// A user or group id; -1 means "leave it".
    Id,
    /// An address that this call does not dereference, or that means something to the body's kernel alone.
    Addr,

    /// A path: NUL-terminated, at most 4096 bytes with the NUL.
    Path,
    /// Another NUL-terminated string.
    Str,
    /// A NULL-terminated array of pointers to strings (argv, envp).
    StrArray,
    /// Bytes that the kernel reads.
    In(Len, Shape),
    /// Bytes that the kernel writes if the call succeeds.
    Out(Len, Shape),
    /// Bytes that the kernel reads, and writes if the call succeeds.
    InOut(Len, Shape),
    /// Written only if the call returns a positive number (the status of wait4(2)).
    OutPositive(Shape),
    /// Written when the call is interrupted (what remains of nanosleep(2)), or always (select(2)).
    Remains(Shape),
    /// As much as can be read, at most this many bytes, padded with zeros (the data of mount(2)).
    Prefix(u32),
    /// An array of `struct iovec`.
    Iovec {
        /// Argument that holds the number of elements.
        count_arg: u8,
        /// Direction of the data.
        dir: Dir,
    },
    /// A `struct msghdr`.
    Msghdr(Dir),
    /// An array of `struct mmsghdr`.
    Mmsghdr {
        /// Argument that holds the number of elements.
        count_arg: u8,
        /// Direction of the data.
        dir: Dir,
    },
    /// A socket address that the kernel reads.
    SockaddrIn {
        /// Argument that holds its length.
        len_arg: u8,
    },
    /// A socket address that the kernel writes.
    SockaddrOut {
        /// Argument that points to its length.
        len_ptr_arg: u8,
    },
    /// A `u32` value-result length that belongs to another argument.
    SockLen,
    /// An `fd_set`.
    FdSet {
        /// Argument that holds the number of descriptors.
        nfds_arg: u8,
    },
    /// An array of `struct pollfd`.
    PollFds {
        /// Argument that holds the number of elements.
        count_arg: u8,
    },
    /// `{ long mtype; char mtext[size]; }` of msgsnd(2) and msgrcv(2).
    MsgBuf {
        /// Argument that holds the size of `mtext`.
        size_arg: u8,
        /// Direction.
        dir: Dir,
    },
    /// A `struct file_handle`, whose first word is the size of its tail.
    FileHandle(Dir),
    /// The `siginfo_t` of waitid(2), of which the kernel writes six words.
    WaitInfo,
    /// `{ const sigset_t *mask; size_t size; }`, the last argument of pselect6.
    MaskPair,
    /// This argument and those after it depend on another one.
    Sub(&'static SubTable),
}

impl Kind {
    /// Whether the kernel follows the argument as a pointer.
    pub const fn is_pointer(&self) -> bool {
        use Kind::*;
        !matches!(
            self,
            Int | Uint
                | Long
                | Hex
                | Size
                | Offset
                | Fd
                | DirFd
                | Pid
                | Signal
                | Mode
                | Flags(_)
                | Enum(_)
                | Clock
                | Dev
                | Id
                | Addr
        )
    }
}

/// How the length of a buffer is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Len {
    /// This many bytes.
    Const(u32),
    /// As many bytes as that argument says.
    Arg(u8),
    /// As `Arg`, but the call may be given less (a short send is legal).
    ArgCut(u8),
    /// As `ArgCut`, and if only a part is readable, that part is sent (write(2)).
    ArgShort(u8),
    /// That argument times this many bytes.
    ArgTimes(u8, u32),
    /// Room for as many bytes as that argument says; the return value is the number of bytes written.
    Ret(u8),
    /// Room for that argument times this many bytes; the return value is the number of elements written.
    RetTimes(u8, u32),
    /// That argument points to a `u32` (or the low half of a `size_t`): room before, length after.
    PtrU32(u8),
    /// The `u32` at the start of the buffer is its size; if it is 0, this is.
    Own(u32),
    /// Room for as many bytes as that argument says; the `u32` at the start says afterwards how many are valid.
    RoomOwn(u8),
}

/// What bytes are, for the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Data.
    Bytes,
    /// A structure that nobody has taught the trace; shown as an address.
    Opaque(u32),
    /// `int`
    I32,
    /// `unsigned`
    U32,
    /// `long`, `off_t`
    I64,
    /// `unsigned long`
    U64,
    /// Two descriptors
    FdPair,
    /// A wait status
    WaitStatus,
    /// `struct stat`
    Stat,
    /// `struct statx`
    Statx,
    /// `struct statfs`
    Statfs,
    /// `struct timespec`
    Timespec,
    /// Two of them: utimensat(2)
    TimespecPair,
    /// `struct timeval`
    Timeval,
    /// Two of them: utimes(2)
    TimevalPair,
    /// `struct timezone`
    Timezone,
    /// `struct utimbuf`
    Utimbuf,
    /// `struct itimerval`
    Itimerval,
    /// `struct itimerspec`
    Itimerspec,
    /// `struct tms`
    Tms,
    /// `struct timex`
    Timex,
    /// `struct rlimit`, `struct rlimit64`
    Rlimit,
    /// `struct rusage`
    Rusage,
    /// `sigset_t` of the kernel: 64 bits
    Sigset,
    /// `struct sigaction` of the kernel
    Sigaction,
    /// `siginfo_t`
    Siginfo,
    /// `struct sigevent`
    Sigevent,
    /// `stack_t`
    StackT,
    /// `struct utsname`
    Utsname,
    /// `struct sysinfo`
    Sysinfo,
    /// `struct epoll_event` (packed)
    EpollEvent,
    /// `struct flock`
    Flock,
    /// `struct f_owner_ex`
    OwnerEx,
    /// `struct termios` of the kernel (TCGETS)
    Termios,
    /// `struct termios2`
    Termios2,
    /// `struct termio`
    Termio,
    /// `struct winsize`
    Winsize,
    /// `struct open_how`
    OpenHow,
    /// `struct clone_args`
    CloneArgs,
    /// `struct mq_attr`
    MqAttr,
    /// `struct sched_param`
    SchedParam,
    /// `struct sched_attr`
    SchedAttr,
    /// A CPU mask
    CpuMask,
    /// `struct sembuf` array
    Sembuf,
    /// `struct linux_dirent64` list
    Dirents64,
    /// `struct linux_dirent` list
    Dirents,
    /// Group ids
    Gids,
    /// `struct __user_cap_header_struct`
    CapHeader,
    /// `struct __user_cap_data_struct[2]`
    CapData,
    /// `struct ifreq`
    Ifreq,
    /// `struct semid64_ds`
    SemidDs,
    /// `struct msqid64_ds`
    MsqidDs,
    /// `struct shmid64_ds`
    ShmidDs,
}

impl Shape {
    /// The size in bytes of one of these; 0 for shapes whose length comes from elsewhere.
    pub const fn size(self) -> u32 {
        use Shape::*;
        match self {
            Bytes | OpenHow | CloneArgs | SchedAttr | CpuMask | Sembuf | Dirents64 | Dirents | Gids => 0,
            Opaque(n) => n,
            I32 | U32 | WaitStatus | SchedParam => 4,
            I64 | U64 | FdPair | Timezone | Sigset | Winsize | OwnerEx | CapHeader => 8,
            EpollEvent => 12,
            Timespec | Timeval | Utimbuf | Rlimit => 16,
            Termio => 18,
            StackT | CapData => 24,
            TimespecPair | TimevalPair | Itimerval | Itimerspec | Tms | Sigaction | Flock => 32,
            Termios => 36,
            Ifreq => 40,
            Termios2 => 44,
            MqAttr | Sigevent => 64,
            SemidDs => 104,
            Sysinfo | ShmidDs => 112,
            Statfs | MsqidDs => 120,
            Siginfo => 128,
            Stat | Rusage => 144,
            Timex => 208,
            Statx => 256,
            Utsname => 390,
        }
    }
}

/// The kernel reads one `shape`.
pub(crate) const fn ins(shape: Shape) -> Kind {
    Kind::In(Len::Const(shape.size()), shape)
}

/// The kernel writes one `shape` if the call succeeds.
pub(crate) const fn outs(shape: Shape) -> Kind {
    Kind::Out(Len::Const(shape.size()), shape)
}

/// The kernel reads one `shape`, and writes it if the call succeeds.
pub(crate) const fn inouts(shape: Shape) -> Kind {
    Kind::InOut(Len::Const(shape.size()), shape)
}

/// The kernel reads as many bytes as argument `n` says.
pub(crate) const fn bytes(n: u8) -> Kind {
    Kind::In(Len::Arg(n), Shape::Bytes)
}

/// Room for argument `n` bytes, of which the return value says how many are written.
pub(crate) const fn got(n: u8) -> Kind {
    Kind::Out(Len::Ret(n), Shape::Bytes)
}
