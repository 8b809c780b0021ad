//! ioctl(2): requests whose argument is known exactly. Everything else goes home: a request's number tells a
//! direction and a size only if its author was careful, and never whether there is a pointer inside.
//!
//! Sources: ioctl_tty(2), ioctl_fat(2), ioctl_ficlone(2), ioctl_fslabel(2), netdevice(7), the kernel's
//! `asm-generic/ioctls.h`, `linux/fs.h`, `linux/sockios.h`, `linux/nsfs.h`.

use crate::flags::{TCFLOW, TCFLUSH};
use crate::kinds::Kind::*;
use crate::kinds::{Shape, inouts, ins, outs};
use crate::types::Ret::*;
use crate::types::Wait::*;
use crate::types::Where::*;
use crate::types::{Key, Op, SubTable, ops};

/// The kernel takes the request as `unsigned int`.
pub static IOCTL: SubTable = SubTable {
    unknown: "unknown ioctl request",
    key: Key::Arg { arg: 1, mask: 0xffff_ffff },
    other: None,
    ops: IOCTL_OPS,
};

#[rustfmt::skip]
pub(crate) static IOCTL_OPS: &[Op] = ops! {
    // Terminals. A background process that changes one gets SIGTTOU, and the drains wait for the line.
    0x5401 TCGETS(argp: outs(Shape::Termios)) -> Zero, Forward, No, "terminals are home's";
    0x5402 TCSETS(argp: ins(Shape::Termios)) -> Zero, Forward, Plain, "terminals are home's";
    0x5403 TCSETSW(argp: ins(Shape::Termios)) -> Zero, Forward, Plain, "waits until output is sent";
    0x5404 TCSETSF(argp: ins(Shape::Termios)) -> Zero, Forward, Plain, "waits until output is sent";
    0x5405 TCGETA(argp: outs(Shape::Termio)) -> Zero, Forward, No, "terminals are home's";
    0x5406 TCSETA(argp: ins(Shape::Termio)) -> Zero, Forward, Plain, "terminals are home's";
    0x5407 TCSETAW(argp: ins(Shape::Termio)) -> Zero, Forward, Plain, "waits until output is sent";
    0x5408 TCSETAF(argp: ins(Shape::Termio)) -> Zero, Forward, Plain, "waits until output is sent";
    0x5409 TCSBRK(arg: Int) -> Zero, Forward, Plain, "waits until output is sent";
    0x540a TCXONC(arg: Enum(&TCFLOW)) -> Zero, Forward, Plain, "terminals are home's";
    0x540b TCFLSH(arg: Enum(&TCFLUSH)) -> Zero, Forward, Plain, "terminals are home's";
    0x540c TIOCEXCL() -> Zero, Forward, No, "terminals are home's";
    0x540d TIOCNXCL() -> Zero, Forward, No, "terminals are home's";
    0x540e TIOCSCTTY(arg: Int) -> Zero, Forward, No, "the deputy leads the session";
    0x540f TIOCGPGRP(argp: outs(Shape::I32)) -> Zero, Forward, No, "process groups are home's";
    0x5410 TIOCSPGRP(argp: ins(Shape::I32)) -> Zero, Forward, Plain, "process groups are home's";
    0x5411 TIOCOUTQ(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals and sockets are home's";
    0x5412 TIOCSTI(argp: ins(Shape::Opaque(1))) -> Zero, Forward, No, "terminals are home's";
    0x5413 TIOCGWINSZ(argp: outs(Shape::Winsize)) -> Zero, Forward, No, "terminals are home's";
    0x5414 TIOCSWINSZ(argp: ins(Shape::Winsize)) -> Zero, Forward, No, "terminals are home's";
    0x5415 TIOCMGET(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5416 TIOCMBIS(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5417 TIOCMBIC(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5418 TIOCMSET(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5419 TIOCGSOFTCAR(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x541a TIOCSSOFTCAR(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x541b FIONREAD(argp: outs(Shape::I32)) -> Zero, Forward, No, "descriptors live at home";
    0x541d TIOCCONS() -> Zero, Forward, No, "terminals are home's";
    0x5420 TIOCPKT(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5421 FIONBIO(argp: ins(Shape::I32)) -> Zero, Forward, No, "descriptors live at home";
    0x5422 TIOCNOTTY() -> Zero, Forward, No, "the deputy leads the session";
    0x5423 TIOCSETD(argp: ins(Shape::I32)) -> Zero, Forward, Plain, "terminals are home's";
    0x5424 TIOCGETD(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5425 TCSBRKP(arg: Int) -> Zero, Forward, Plain, "waits until output is sent";
    0x5427 TIOCSBRK() -> Zero, Forward, Plain, "terminals are home's";
    0x5428 TIOCCBRK() -> Zero, Forward, Plain, "terminals are home's";
    0x5429 TIOCGSID(argp: outs(Shape::I32)) -> Zero, Forward, No, "sessions are home's";
    0x802c542a TCGETS2(argp: outs(Shape::Termios2)) -> Zero, Forward, No, "terminals are home's";
    0x402c542b TCSETS2(argp: ins(Shape::Termios2)) -> Zero, Forward, Plain, "terminals are home's";
    0x402c542c TCSETSW2(argp: ins(Shape::Termios2)) -> Zero, Forward, Plain, "waits until output is sent";
    0x402c542d TCSETSF2(argp: ins(Shape::Termios2)) -> Zero, Forward, Plain, "waits until output is sent";
    0x80045430 TIOCGPTN(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x40045431 TIOCSPTLCK(argp: ins(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x80045432 TIOCGDEV(argp: outs(Shape::U32)) -> Zero, Forward, No, "terminals are home's";
    0x40045436 TIOCSIG(arg: Hex) -> Zero, Forward, No, "terminals are home's";
    0x5437 TIOCVHANGUP() -> Zero, Forward, No, "terminals are home's";
    0x80045438 TIOCGPKT(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x80045439 TIOCGPTLCK(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x80045440 TIOCGEXCL(argp: outs(Shape::I32)) -> Zero, Forward, No, "terminals are home's";
    0x5441 TIOCGPTPEER(flags: Hex) -> NewFd, Forward, No, "descriptors live at home";
    0x5450 FIONCLEX() -> Zero, Forward, No, "descriptors live at home";
    0x5451 FIOCLEX() -> Zero, Forward, No, "descriptors live at home";
    0x5452 FIOASYNC(argp: ins(Shape::I32)) -> Zero, Forward, No, "descriptors live at home";
    0x545c TIOCMIWAIT(arg: Int) -> Zero, Forward, Plain, "waits for a modem line";
    0x545d TIOCGICOUNT(argp: outs(Shape::Opaque(80))) -> Zero, Forward, No, "terminals are home's";
    0x541e TIOCGSERIAL(argp: Addr) -> Zero, Home, No, "TIOCGSERIAL: a pointer inside";
    0x541f TIOCSSERIAL(argp: Addr) -> Zero, Home, No, "TIOCSSERIAL: a pointer inside";
    0x5460 FIOQSIZE(argp: outs(Shape::I64)) -> Zero, Forward, No, "descriptors live at home";

    // Virtual consoles, by value or with flat structures.
    0x4b33 KDGKBTYPE(argp: outs(Shape::Opaque(1))) -> Zero, Forward, No, "the console is home's";
    0x4b3a KDSETMODE(arg: Int) -> Zero, Forward, No, "the console is home's";
    0x4b3b KDGETMODE(argp: outs(Shape::I32)) -> Zero, Forward, No, "the console is home's";
    0x4b44 KDGKBMODE(argp: outs(Shape::I32)) -> Zero, Forward, No, "the console is home's";
    0x4b45 KDSKBMODE(arg: Int) -> Zero, Forward, No, "the console is home's";
    0x5600 VT_OPENQRY(argp: outs(Shape::I32)) -> Zero, Forward, No, "the console is home's";
    0x5601 VT_GETMODE(argp: outs(Shape::Opaque(8))) -> Zero, Forward, No, "the console is home's";
    0x5602 VT_SETMODE(argp: ins(Shape::Opaque(8))) -> Zero, Forward, No, "the console is home's";
    0x5603 VT_GETSTATE(argp: outs(Shape::Opaque(6))) -> Zero, Forward, No, "the console is home's";
    0x5606 VT_ACTIVATE(arg: Int) -> Zero, Forward, No, "the console is home's";
    0x5607 VT_WAITACTIVE(arg: Int) -> Zero, Forward, Plain, "the console is home's";

    // Files and filesystems.
    1 FIBMAP(argp: inouts(Shape::I32)) -> Zero, Forward, No, "home's disks";
    2 FIGETBSZ(argp: outs(Shape::I32)) -> Zero, Forward, No, "home's disks";
    0x40049409 FICLONE(src_fd: Fd) -> Zero, Forward, No, "moves data between home's descriptors, none of it crosses";
    0x4020940d FICLONERANGE(argp: ins(Shape::Opaque(32))) -> Zero, Forward, No, "moves data between home's descriptors, none of it crosses";
    0xc0189436 FIDEDUPERANGE(argp: Addr) -> Zero, Home, No, "FIDEDUPERANGE: a list that the kernel fills in";
    0xc020660b FS_IOC_FIEMAP(argp: Addr) -> Zero, Home, No, "FS_IOC_FIEMAP: a list that the kernel fills in";
    0x80086601 FS_IOC_GETFLAGS(argp: outs(Shape::U32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x40086602 FS_IOC_SETFLAGS(argp: ins(Shape::U32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x80087601 FS_IOC_GETVERSION(argp: outs(Shape::U32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x40087602 FS_IOC_SETVERSION(argp: ins(Shape::U32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x801c581f FS_IOC_FSGETXATTR(argp: outs(Shape::Opaque(28))) -> Zero, Forward, No, "the file tree is home's";
    0x401c5820 FS_IOC_FSSETXATTR(argp: ins(Shape::Opaque(28))) -> Zero, Forward, No, "the file tree is home's";
    0x81009431 FS_IOC_GETFSLABEL(argp: outs(Shape::Opaque(256))) -> Zero, Forward, No, "the file tree is home's";
    0x41009432 FS_IOC_SETFSLABEL(argp: Prefix(256)) -> Zero, Forward, No, "the file tree is home's";
    0x80111500 FS_IOC_GETFSUUID(argp: outs(Shape::Opaque(17))) -> Zero, Forward, No, "the file tree is home's";
    0xc0045877 FIFREEZE(arg: Int) -> Zero, Forward, No, "home's disks";
    0xc0045878 FITHAW(arg: Int) -> Zero, Forward, No, "home's disks";
    0xc0185879 FITRIM(argp: inouts(Shape::Opaque(24))) -> Zero, Forward, No, "home's disks";
    0x82307201 VFAT_IOCTL_READDIR_BOTH(argp: outs(Shape::Opaque(560))) -> Zero, Forward, No, "the file tree is home's";
    0x80047210 FAT_IOCTL_GET_ATTRIBUTES(argp: outs(Shape::U32)) -> Zero, Forward, No, "the file tree is home's";
    0x40047211 FAT_IOCTL_SET_ATTRIBUTES(argp: ins(Shape::U32)) -> Zero, Forward, No, "the file tree is home's";

    // Block devices.
    0x125d BLKROSET(argp: ins(Shape::I32)) -> Zero, Forward, No, "home's disks";
    0x125e BLKROGET(argp: outs(Shape::I32)) -> Zero, Forward, No, "home's disks";
    0x125f BLKRRPART() -> Zero, Forward, No, "home's disks";
    0x1260 BLKGETSIZE(argp: outs(Shape::U64)) -> Zero, Forward, No, "home's disks";
    0x1261 BLKFLSBUF() -> Zero, Forward, No, "home's disks";
    0x1262 BLKRASET(arg: Size) -> Zero, Forward, No, "home's disks";
    0x1263 BLKRAGET(argp: outs(Shape::U64)) -> Zero, Forward, No, "home's disks";
    0x1267 BLKSECTGET(argp: outs(Shape::Opaque(2))) -> Zero, Forward, No, "home's disks";
    0x1268 BLKSSZGET(argp: outs(Shape::I32)) -> Zero, Forward, No, "home's disks";
    0x80081270 BLKBSZGET(argp: outs(Shape::I32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x40081271 BLKBSZSET(argp: ins(Shape::I32)) -> Zero, Forward, No, "an int, whatever the number says";
    0x80081272 BLKGETSIZE64(argp: outs(Shape::U64)) -> Zero, Forward, No, "home's disks";
    0x1277 BLKDISCARD(argp: ins(Shape::Opaque(16))) -> Zero, Forward, No, "home's disks";
    0x1278 BLKIOMIN(argp: outs(Shape::U32)) -> Zero, Forward, No, "home's disks";
    0x1279 BLKIOOPT(argp: outs(Shape::U32)) -> Zero, Forward, No, "home's disks";
    0x127a BLKALIGNOFF(argp: outs(Shape::I32)) -> Zero, Forward, No, "home's disks";
    0x127b BLKPBSZGET(argp: outs(Shape::U32)) -> Zero, Forward, No, "home's disks";
    0x127c BLKDISCARDZEROES(argp: outs(Shape::U32)) -> Zero, Forward, No, "home's disks";
    0x127d BLKSECDISCARD(argp: ins(Shape::Opaque(16))) -> Zero, Forward, No, "home's disks";
    0x127e BLKROTATIONAL(argp: outs(Shape::Opaque(2))) -> Zero, Forward, No, "home's disks";
    0x127f BLKZEROOUT(argp: ins(Shape::Opaque(16))) -> Zero, Forward, No, "home's disks";
    0x80081280 BLKGETDISKSEQ(argp: outs(Shape::U64)) -> Zero, Forward, No, "home's disks";
    0x301 HDIO_GETGEO(argp: outs(Shape::Opaque(16))) -> Zero, Forward, No, "home's disks";
    0x4c00 LOOP_SET_FD(fd: Fd) -> Zero, Forward, No, "home's disks";
    0x4c01 LOOP_CLR_FD() -> Zero, Forward, No, "home's disks";
    0x4c04 LOOP_SET_STATUS64(argp: ins(Shape::Opaque(232))) -> Zero, Forward, No, "home's disks";
    0x4c05 LOOP_GET_STATUS64(argp: outs(Shape::Opaque(232))) -> Zero, Forward, No, "home's disks";
    0x4c0a LOOP_CONFIGURE(argp: ins(Shape::Opaque(304))) -> Zero, Forward, No, "home's disks";
    0x4c80 LOOP_CTL_ADD(arg: Int) -> Count, Forward, No, "home's disks";
    0x4c81 LOOP_CTL_REMOVE(arg: Int) -> Zero, Forward, No, "home's disks";
    0x4c82 LOOP_CTL_GET_FREE() -> Count, Forward, No, "home's disks";

    // Sockets and network interfaces: `struct ifreq` without a pointer, unless it says so.
    0x8901 FIOSETOWN(argp: ins(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x8902 SIOCSPGRP(argp: ins(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x8903 FIOGETOWN(argp: outs(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x8904 SIOCGPGRP(argp: outs(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x8905 SIOCATMARK(argp: outs(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x8906 SIOCGSTAMP_OLD(argp: outs(Shape::Timeval)) -> Zero, Forward, No, "sockets live at home";
    0x8907 SIOCGSTAMPNS_OLD(argp: outs(Shape::Timespec)) -> Zero, Forward, No, "sockets live at home";
    0x80108906 SIOCGSTAMP_NEW(argp: outs(Shape::Timeval)) -> Zero, Forward, No, "sockets live at home";
    0x80108907 SIOCGSTAMPNS_NEW(argp: outs(Shape::Timespec)) -> Zero, Forward, No, "sockets live at home";
    0x894b SIOCOUTQNSD(argp: outs(Shape::I32)) -> Zero, Forward, No, "sockets live at home";
    0x894c SIOCGSKNS() -> NewFd, Forward, No, "sockets live at home";
    0x890b SIOCADDRT(argp: Addr) -> Zero, Home, No, "SIOCADDRT: a pointer inside";
    0x890c SIOCDELRT(argp: Addr) -> Zero, Home, No, "SIOCDELRT: a pointer inside";
    0x8910 SIOCGIFNAME(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8912 SIOCGIFCONF(argp: Addr) -> Zero, Home, No, "SIOCGIFCONF: a pointer inside";
    0x8913 SIOCGIFFLAGS(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8914 SIOCSIFFLAGS(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8915 SIOCGIFADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8916 SIOCSIFADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8917 SIOCGIFDSTADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8918 SIOCSIFDSTADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8919 SIOCGIFBRDADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x891a SIOCSIFBRDADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x891b SIOCGIFNETMASK(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x891c SIOCSIFNETMASK(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x891d SIOCGIFMETRIC(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8921 SIOCGIFMTU(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8922 SIOCSIFMTU(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8923 SIOCSIFNAME(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8924 SIOCSIFHWADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8927 SIOCGIFHWADDR(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8933 SIOCGIFINDEX(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8942 SIOCGIFTXQLEN(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8943 SIOCSIFTXQLEN(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x8946 SIOCETHTOOL(argp: Addr) -> Zero, Home, No, "SIOCETHTOOL: a pointer inside";
    0x8953 SIOCDARP(argp: ins(Shape::Opaque(68))) -> Zero, Forward, No, "home's interfaces";
    0x8954 SIOCGARP(argp: inouts(Shape::Opaque(68))) -> Zero, Forward, No, "home's interfaces";
    0x8955 SIOCSARP(argp: ins(Shape::Opaque(68))) -> Zero, Forward, No, "home's interfaces";
    0x8970 SIOCGIFMAP(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x400454ca TUNSETIFF(argp: inouts(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";
    0x400454cb TUNSETPERSIST(arg: Int) -> Zero, Forward, No, "home's interfaces";
    0x400454cc TUNSETOWNER(arg: Id) -> Zero, Forward, No, "home's interfaces";
    0x400454ce TUNSETGROUP(arg: Id) -> Zero, Forward, No, "home's interfaces";
    0x800454cf TUNGETFEATURES(argp: outs(Shape::U32)) -> Zero, Forward, No, "home's interfaces";
    0x800454d2 TUNGETIFF(argp: outs(Shape::Ifreq)) -> Zero, Forward, No, "home's interfaces";

    // Namespaces, pidfds, epoll, random, watchdogs.
    0xb701 NS_GET_USERNS() -> NewFd, Forward, No, "namespaces are the deputy's";
    0xb702 NS_GET_PARENT() -> NewFd, Forward, No, "namespaces are the deputy's";
    0xb703 NS_GET_NSTYPE() -> Bits, Forward, No, "namespaces are the deputy's";
    0xb704 NS_GET_OWNER_UID(argp: outs(Shape::U32)) -> Zero, Forward, No, "namespaces are the deputy's";
    0x8008b705 NS_GET_MNTNS_ID(argp: outs(Shape::U64)) -> Zero, Forward, No, "namespaces are the deputy's";
    0x8004b706 NS_GET_PID_FROM_PIDNS(pid: Pid) -> NewPid, Forward, No, "namespaces are the deputy's";
    0x8004b707 NS_GET_TGID_FROM_PIDNS(pid: Pid) -> NewPid, Forward, No, "namespaces are the deputy's";
    0x8004b708 NS_GET_PID_IN_PIDNS(pid: Pid) -> NewPid, Forward, No, "namespaces are the deputy's";
    0x8004b709 NS_GET_TGID_IN_PIDNS(pid: Pid) -> NewPid, Forward, No, "namespaces are the deputy's";
    0x80045200 RNDGETENTCNT(argp: outs(Shape::I32)) -> Zero, Forward, No, "home's random pool";
    0x40045201 RNDADDTOENTCNT(argp: ins(Shape::I32)) -> Zero, Forward, No, "home's random pool";
    0x80045705 WDIOC_KEEPALIVE(argp: Addr) -> Zero, Forward, No, "home's watchdog";
    0x80247009 RTC_RD_TIME(argp: outs(Shape::Opaque(36))) -> Zero, Forward, No, "home's clock";
    0x4024700a RTC_SET_TIME(argp: ins(Shape::Opaque(36))) -> Zero, Forward, No, "home's clock";
};
