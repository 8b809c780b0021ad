//! Lines as strace 6.1 prints them, and robustness against anything.

use super::*;
use crate::lookup::{all, by_name};
use proptest::prelude::*;

mod structures;

const BASE: u64 = 0x7000;

/// Memory at [`BASE`].
struct Memory(Vec<u8>);

impl GuestRead for Memory {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        let Some(start) = addr.checked_sub(BASE).filter(|&start| start < self.0.len() as u64) else {
            return 0;
        };
        let n = buf.len().min(self.0.len() - start as usize);
        buf[..n].copy_from_slice(&self.0[start as usize..][..n]);
        n
    }
}

/// The line of a call, with its memory before and after.
fn line(name: &str, args: &[u64], before: &[u8], after: &[u8], ret: i64) -> String {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let nr = by_name(name).expect(name).nr;
    let style = Style::default();
    let entry = entry(nr, all, &mut Memory(before.to_vec()), &style);
    let exit = exit(&entry, nr, all, ret, &mut Memory(after.to_vec()), &style);
    entry.text + &exit
}

fn same(name: &str, args: &[u64], memory: &[u8], ret: i64) -> String {
    line(name, args, memory, memory, ret)
}

fn le(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const AT_FDCWD: u64 = -100i32 as u32 as u64;

#[test]
fn names_numbers_and_errors() {
    assert_eq!(same("close", &[3], b"", 0), "close(3)                                = 0");
    assert_eq!(
        same("openat", &[AT_FDCWD, BASE, 0x80000], b"/etc/ld.so.cache\0", 3),
        r#"openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3"#
    );
    assert_eq!(
        same("openat", &[AT_FDCWD, BASE, 0x241, 0o644], b"f\0", -13),
        r#"openat(AT_FDCWD, "f", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 EACCES (Permission denied)"#
    );
    assert_eq!(
        same("access", &[BASE, 4], b"/etc/ld.so.preload\0", -2),
        r#"access("/etc/ld.so.preload", R_OK)      = -1 ENOENT (No such file or directory)"#
    );
    assert_eq!(
        same("mmap", &[0, 8192, 3, 0x22, u32::MAX.into(), 0], b"", 0x7f00_0000),
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f000000"
    );
    assert_eq!(same("exit_group", &[3], b"", 0), "exit_group(3)                           = ?");
    assert_eq!(same("umask", &[0o22], b"", 0o22), "umask(022)                              = 022");
    assert_eq!(
        same("fcntl", &[255, 3], b"", 0x8000),
        "fcntl(255, F_GETFL)                     = 0x8000 (flags O_RDONLY|O_LARGEFILE)"
    );
    assert_eq!(
        same("pause", &[], b"", -514),
        "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)"
    );
    assert_eq!(
        same("lseek", &[3, 9, 77], b"", -22).split(')').next(),
        Some("lseek(3, 9, 0x4d /* SEEK_??? */")
    );
    let unknown = entry(500, [1, 2, 0, 0, 0, 0], &mut Memory(vec![]), &Style::default());
    assert_eq!(unknown.text, "syscall_0x1f4(0x1, 0x2, 0, 0, 0, 0");
}

#[test]
fn strings_are_quoted_and_cut() {
    assert_eq!(
        line("read", &[3, BASE, 832], b"", b"\x7fELF\x02\x01\x019\0\"\\\n\xff", 13),
        r#"read(3, "\177ELF\2\1\19\0\"\\\n\377", 832) = 13"#
    );
    assert_eq!(
        same("write", &[1, BASE, 40], &[b'a'; 40], 40),
        format!("write(1, \"{}\"..., 40) = 40", "a".repeat(32))
    );
    assert_eq!(
        same("read", &[3, BASE, 9], b"", -9),
        "read(3, 0x7000, 9)                      = -1 EBADF (Bad file descriptor)"
    );
    assert_eq!(values::quoted(b"\x017", 32), r#""\0017""#);
}

#[test]
fn structures_are_abbreviated() {
    let mut stat = vec![0; 144];
    stat[24..28].copy_from_slice(&0o100_644u32.to_le_bytes());
    stat[48..50].copy_from_slice(&1271u16.to_le_bytes());
    assert_eq!(
        line("fstat", &[3, BASE], b"", &stat, 0),
        "fstat(3, {st_mode=S_IFREG|0644, st_size=1271, ...}) = 0"
    );
    assert_eq!(
        line("prlimit64", &[0, 3, 0, BASE], b"", &le(&[8 << 20, u64::MAX]), 0),
        "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0"
    );
    assert_eq!(
        line("wait4", &[u32::MAX.into(), BASE, 0, 0], b"", &le(&[0x300]), 77),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 77"
    );
    assert_eq!(
        same("rt_sigprocmask", &[0, BASE, 0, 8], &le(&[1 << 1 | 1 << 34]), 0),
        "rt_sigprocmask(SIG_BLOCK, [INT RT_3], NULL, 8) = 0"
    );
    assert_eq!(values::sigset(!(3 << 31)), "~[RTMIN RT_1]");
    assert_eq!(values::device(0x8800), "makedev(0x88, 0)");
}

#[test]
fn sockets() {
    let mut address = vec![2, 0, 0, 80, 127, 0, 0, 1];
    address.resize(16, 0);
    assert_eq!(
        same("connect", &[3, BASE, 16], &address, 0),
        r#"connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#
    );
    let mut before = address.clone();
    before.extend(128u32.to_le_bytes());
    let mut after = address.clone();
    after.extend(16u32.to_le_bytes());
    assert_eq!(
        line("getsockname", &[5, BASE, BASE + 16], &before, &after, 0),
        r#"getsockname(5, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, [128 => 16]) = 0"#
    );
    let polled = [4, 0, 0, 0, 1, 0, 0, 0];
    let answered = [4, 0, 0, 0, 1, 0, 1, 0];
    assert_eq!(
        line("poll", &[BASE, 1, 5], &polled, &answered, 1),
        "poll([{fd=4, events=POLLIN}], 1, 5)     = 1 ([{fd=4, revents=POLLIN}])"
    );
    assert_eq!(
        line("poll", &[BASE, 1, 5], &polled, &polled, 0),
        "poll([{fd=4, events=POLLIN}], 1, 5)     = 0 (Timeout)"
    );
}

#[test]
fn multiplexed_calls() {
    let op = 0x80 | 9 | 0x100;
    assert_eq!(
        same("futex", &[BASE, op, 0, 0, 0, u32::MAX.into()], b"", 0),
        "futex(0x7000, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 0, NULL, FUTEX_BITSET_MATCH_ANY) = 0"
    );
    let size = [24, 0, 80, 0, 0, 0, 0, 0];
    assert_eq!(
        line("ioctl", &[1, 0x5413, BASE], b"", &size, 0),
        "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0"
    );
    assert_eq!(
        same("clone", &[0x120_0011, 0, 0, 0x7f10], b"", 9),
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f10) = 9"
    );
    assert_eq!(
        line("sendfile", &[6, 13, BASE, 10], &le(&[0]), &le(&[10]), 10),
        "sendfile(6, 13, [0] => [10], 10)        = 10"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, ..ProptestConfig::default() })]

    #[test]
    fn anything_can_be_rendered(
        row in 0..all().len(),
        operation in 0usize..200,
        args in prop::collection::vec(prop_oneof![0u64..20, BASE..BASE + 600, any::<u64>()], 6),
        memory in prop::collection::vec(any::<u8>(), 0..600usize),
        ret in prop_oneof![-600i64..600, any::<i64>()],
    ) {
        let mut args = <[u64; 6]>::try_from(args).unwrap();
        if all()[row].name == "ioctl" {
            let ops = crate::ioctl::IOCTL_OPS;
            args[1] = ops[operation % ops.len()].value;
        }
        let (style, mut memory) = (Style::default(), Memory(memory));
        let entry = entry(all()[row].nr, args, &mut memory, &style);
        let exit = exit(&entry, all()[row].nr, args, ret, &mut memory, &style);
        prop_assert!(entry.text.starts_with(all()[row].name));
        prop_assert!(exit.contains(" = "));
    }
}
