//! Structures, as strace 6.1 showed them.

use super::*;

/// A siginfo_t: signal, errno, code, then words from offset 16 on.
fn details(number: i32, error: i32, code: i32, words: &[u32]) -> String {
    let mut info = [0; 128];
    let head = [number, error, code, 0].map(i32::to_le_bytes).concat();
    let tail: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    info[..16].copy_from_slice(&head);
    info[16..16 + tail.len()].copy_from_slice(&tail);
    siginfo_text(&info)
}

#[test]
fn what_a_signal_says_depends_on_its_code() {
    assert_eq!(details(10, 0, 0, &[5, 6]), "{si_signo=SIGUSR1, si_code=SI_USER, si_pid=5, si_uid=6}");
    assert_eq!(
        details(1, 2, -1, &[5, 6, 7, 0]),
        "{si_signo=SIGHUP, si_code=SI_QUEUE, si_errno=ENOENT, si_pid=5, si_uid=6, si_int=7, si_ptr=0x7}"
    );
    assert_eq!(
        details(34, 0, -2, &[1, 2, 3, 0]),
        "{si_signo=SIGRT_2, si_code=SI_TIMER, si_timerid=0x1, si_overrun=2, si_int=3, si_ptr=0x3}"
    );
    assert_eq!(
        details(17, 0, 1, &[5, 6, 9, 0, 0, 0, 7, 0]),
        "{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=5, si_uid=6, si_status=9, si_utime=0, si_stime=7 /* 0.07 s */}"
    );
    assert_eq!(
        details(17, 0, 5, &[5, 6, 19]),
        "{si_signo=SIGCHLD, si_code=CLD_STOPPED, si_pid=5, si_uid=6, si_status=SIGSTOP, si_utime=0, si_stime=0}"
    );
    assert_eq!(details(11, 0, 1, &[8]), "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x8}");
    assert_eq!(
        details(11, 0, 3, &[1, 0, 0, 0, 2, 0, 3, 0]),
        "{si_signo=SIGSEGV, si_code=SEGV_BNDERR, si_addr=0x1, si_lower=0x2, si_upper=0x3}"
    );
    assert_eq!(
        details(11, 0, 4, &[1, 0, 0, 0, 2]),
        "{si_signo=SIGSEGV, si_code=SEGV_PKUERR, si_addr=0x1, si_pkey=2}"
    );
    assert_eq!(
        details(7, 0, 4, &[1, 0, 0xa09]),
        "{si_signo=SIGBUS, si_code=BUS_MCEERR_AR, si_addr=0x1, si_addr_lsb=0xa09}"
    );
    assert_eq!(details(5, 0, 0x80, &[]), "{si_signo=SIGTRAP, si_code=SI_KERNEL, si_addr=NULL}");
    assert_eq!(details(29, 0, 1, &[65, 0, 59]), "{si_signo=SIGIO, si_code=POLL_IN, si_band=65, si_fd=59}");
    assert_eq!(
        details(31, 0, 1, &[1, 0, 59, 0xc000_003e]),
        "{si_signo=SIGSYS, si_code=SYS_SECCOMP, si_call_addr=0x1, si_syscall=__NR_execve, si_arch=AUDIT_ARCH_X86_64}"
    );
    assert_eq!(details(14, 0, 0x80, &[]), "{si_signo=SIGALRM, si_code=SI_KERNEL}");
    assert_eq!(details(14, 0, -77, &[5, 6]), "{si_signo=SIGALRM, si_code=0xffffffb3, si_pid=5, si_uid=6}");
    assert_eq!(details(0, 0, 0, &[]), "{}");
}

#[test]
fn rt_sigreturn_shows_the_mask_on_the_stack() {
    struct Stack(Memory);
    impl GuestRead for Stack {
        fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
            self.0.read(addr, buf)
        }
        fn stack_pointer(&mut self) -> Option<u64> {
            Some(BASE)
        }
    }
    let mut frame = vec![0; 296];
    frame.extend(le(&[1 << 9 | 1 << 16]));
    let nr = by_name("rt_sigreturn").unwrap().nr;
    let shown = entry(nr, [0; 6], &mut Stack(Memory(frame)), &Style::default());
    assert_eq!(shown.text, "rt_sigreturn({mask=[USR1 CHLD]}");
    assert_eq!(entry(nr, [0; 6], &mut Memory(vec![]), &Style::default()).text, "rt_sigreturn(");
}

/// A connect(2) to these bytes.
fn address(bytes: &[u8]) -> String {
    let line = same("connect", &[9, BASE, bytes.len() as u64], bytes, -9);
    let end = line.rfind(", ").unwrap();
    line["connect(9, ".len()..end].to_owned()
}

#[test]
fn addresses_of_all_kinds() {
    assert_eq!(address(b"\x01\0\0abstract\0n"), r#"{sa_family=AF_UNIX, sun_path=@"abstract\0n"}"#);
    let mut long = b"\x01\0".to_vec();
    long.resize(128, b'p');
    assert_eq!(address(&long).len(), r#"{sa_family=AF_UNIX, sun_path=""}"#.len() + 108);
    let mut six = vec![10, 0, 0, 9, 0, 0, 0, 7, 0xfe, 0x80];
    six.resize(23, 0);
    six.extend([7, 1, 0, 0, 0]);
    assert_eq!(
        address(&six),
        r#"{sa_family=AF_INET6, sin6_port=htons(9), sin6_flowinfo=htonl(7), inet_pton(AF_INET6, "fe80::7", &sin6_addr), sin6_scope_id=if_nametoindex("lo")}"#
    );
    assert_eq!(
        address(&[16, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]),
        "{sa_family=AF_NETLINK, nl_pid=0, nl_groups=0x000005}"
    );
    assert_eq!(
        address(&[17, 0, 8, 0, 1, 0, 0, 0, 1, 0, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]),
        "{sa_family=AF_PACKET, sll_protocol=htons(ETH_P_IP), sll_ifindex=if_nametoindex(\"lo\"), sll_hatype=ARPHRD_ETHER, \
         sll_pkttype=PACKET_HOST, sll_halen=6, sll_addr=[0x1, 0x2, 0x3, 0x4, 0x5, 0x6]}"
    );
    assert_eq!(
        address(&[40, 0, 0, 0, 0xd2, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
        "{sa_family=AF_VSOCK, svm_cid=VMADDR_CID_HOST, svm_port=0x4d2, svm_flags=0}"
    );
    let counted: Vec<u8> = (0..32).map(|i| if i < 2 { 0 } else { i + 1 }).collect();
    let of = |family: u8, len: usize| address(&[&[family], &counted[1..len]].concat());
    assert_eq!(of(12, 8), r#"{sa_family=AF_DECnet, sa_data="\3\4\5\6\7\10"}"#);
    assert_eq!(
        of(4, 16),
        "{sa_family=AF_IPX, sipx_port=htons(772), sipx_network=htonl(0x5060708), sipx_node=[0x9, 0xa, 0xb, 0xc, 0xd, 0xe], \
         sipx_type=0xf, sipx_zero=0x10}"
    );
    assert_eq!(
        of(9, 20),
        r#"{sa_family=AF_X25, sx25_addr={x25_addr="\3\4\5\6\7\10\t\n\v\f\r\16\17\20\21"...}}"#
    );
    assert_eq!(of(42, 12), "{sa_family=AF_QIPCRTR, sq_node=0x8070605, sq_port=0xc0b0a09}");
    assert_eq!(
        of(44, 16),
        "{sa_family=AF_XDP, sxdp_flags=XDP_SHARED_UMEM|XDP_COPY|0x400, sxdp_ifindex=134678021, sxdp_queue_id=202050057, \
         sxdp_shared_umem_fd=269422093}"
    );
    assert_eq!(
        of(45, 12),
        "{sa_family=AF_MCTP, __smctp_pad0=0x403, smctp_network=0x8070605, smctp_addr={s_addr=0x9}, smctp_type=0xa, \
         smctp_tag=0xb, __smctp_pad1=0xc}"
    );
}

#[test]
fn options_and_control_messages() {
    assert_eq!(
        same("setsockopt", &[3, 1, 13, BASE, 8], &[1, 0, 0, 0, 0, 0, 0, 0], 0),
        "setsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=0}, 8) = 0"
    );
    assert_eq!(
        same("setsockopt", &[3, 0, 35, BASE, 8], &[224, 0, 1, 1, 127, 0, 0, 1], -71),
        "setsockopt(3, SOL_IP, IP_ADD_MEMBERSHIP, {imr_multiaddr=inet_addr(\"224.0.1.1\"), \
         imr_interface=inet_addr(\"127.0.0.1\")}, 8) = -1 EPROTO (Protocol error)"
    );
    assert_eq!(
        same("setsockopt", &[3, 1, 15, BASE, u32::MAX.into()], b"1234", -22),
        "setsockopt(3, SOL_SOCKET, SO_REUSEPORT, 0x7000, -1) = -1 EINVAL (Invalid argument)"
    );
    assert_eq!(
        same("getsockopt", &[3, 1, 4, BASE, BASE + 4], &[111, 0, 0, 0, 4, 0, 0, 0], 0),
        "getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0"
    );
    // A header, its iovec, and two control messages.
    let mut message = le(&[0, 0, BASE + 56, 1, BASE + 72, 48, 0]);
    message.extend(le(&[BASE, 0]));
    message.extend(le(&[24]));
    message.extend([1u32, 1, 0, 1].iter().flat_map(|word| word.to_le_bytes()));
    message.extend(le(&[20]));
    message.extend([0u32, 2, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    assert_eq!(
        same("sendmsg", &[3, BASE, 0x4000], &message, 0),
        "sendmsg(3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"\", iov_len=0}], msg_iovlen=1, \
         msg_control=[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[0, 1]}, \
         {cmsg_len=20, cmsg_level=SOL_IP, cmsg_type=IP_TTL, cmsg_data=[64]}], msg_controllen=48, msg_flags=0}, \
         MSG_NOSIGNAL) = 0"
    );
    assert_eq!(
        same("recvmsg", &[3, BASE, 0x40], &message, -11),
        "recvmsg(3, {msg_namelen=0}, MSG_DONTWAIT) = -1 EAGAIN (Resource temporarily unavailable)"
    );
}

#[test]
fn messages_of_rtnetlink() {
    let netlink = [16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let sent = |message: &[u8]| {
        let memory = [&netlink, message].concat();
        let (len, after) = (message.len() as u64, BASE + netlink.len() as u64);
        same("sendto", &[3, after, len, 0, BASE, 12], &memory, len as i64)
    };
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(
        sent(&words(&[20, 0x301_0012, 7, 0, 0])),
        "sendto(3, [{nlmsg_len=20, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP, nlmsg_seq=7, nlmsg_pid=0}, \
         {ifi_family=AF_UNSPEC, ...}], 20, 0, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 20"
    );
    assert_eq!(
        sent(&words(&[40, 0x1_0012, 7, 0, 2, 1, 0, 0, 0x1d_0008, 9])),
        "sendto(3, [{nlmsg_len=40, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST, nlmsg_seq=7, nlmsg_pid=0}, \
         {ifi_family=AF_INET, ifi_type=ARPHRD_NETROM, ifi_index=if_nametoindex(\"lo\"), ifi_flags=0, ifi_change=0}, \
         [{nla_len=8, nla_type=IFLA_EXT_MASK}, RTEXT_FILTER_VF|RTEXT_FILTER_SKIP_STATS]], 40, 0, \
         {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 40"
    );
    // Two in one: an address, and the end.
    let mut answer = words(&[40, 0x2_0014, 7, 5, 0xfe80_0802, 1, 0x2_0008, 0x0100_007f, 0x3_0007, 0x6f6c]);
    answer.extend(words(&[20, 0x2_0003, 7, 5, 0]));
    let line = sent(&answer);
    assert_eq!(
        &line["sendto(3, ".len()..line.find("], 60").unwrap() + 1],
        "[[{nlmsg_len=40, nlmsg_type=RTM_NEWADDR, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=7, nlmsg_pid=5}, \
         {ifa_family=AF_INET, ifa_prefixlen=8, ifa_flags=IFA_F_PERMANENT, ifa_scope=RT_SCOPE_HOST, \
         ifa_index=if_nametoindex(\"lo\")}, [[{nla_len=8, nla_type=IFA_LOCAL}, inet_addr(\"127.0.0.1\")], \
         [{nla_len=7, nla_type=IFA_LABEL}, \"lo\"]]], \
         [{nlmsg_len=20, nlmsg_type=NLMSG_DONE, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=7, nlmsg_pid=5}, 0]]"
    );
    // A question of genetlink, whose number is RTM_NEWLINK's, and one that is cut off, are bytes.
    assert!(sent(&words(&[28, 0x1_0010, 7, 0, 0x103, 0x2_0008, 0x6e6c])).starts_with("sendto(3, \"\\34\\0"));
    assert!(sent(&words(&[40, 0x1_0012, 7, 0, 2])).starts_with("sendto(3, \"(\\0"));
}

#[test]
fn processes_and_their_attributes() {
    let args = le(&[0x1000, BASE + 88, 0, 0, 17, 0, 0, 0, 0, 0, 0, 4]);
    assert_eq!(
        same("clone3", &[BASE, 88], &args, 7),
        "clone3({flags=CLONE_PIDFD, pidfd=0x7058, exit_signal=SIGCHLD, stack=NULL, stack_size=0} => {pidfd=[4]}, 88) = 7"
    );
    assert_eq!(
        same("clone", &[0x10_0011, 0, BASE, 0, 0], &le(&[7]), 7),
        "clone(child_stack=NULL, flags=CLONE_PARENT_SETTID|SIGCHLD, parent_tid=[7]) = 7"
    );
    let mut header = vec![0x22, 5, 8, 0x20, 0, 0, 0, 0];
    header.extend([1u32 | 1 << 5, 1, 0, 1 << 8, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    assert_eq!(
        same("capget", &[BASE, BASE + 8], &header, 0),
        "capget({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_KILL|1<<CAP_CHECKPOINT_RESTORE, \
         permitted=1<<CAP_CHOWN, inheritable=0}) = 0"
    );
    let mut attr = le(&[56, 1]);
    attr[4] = 3;
    attr.extend(le(&[1, 0, 0, 0, 0]));
    assert_eq!(
        same("sched_setattr", &[0, BASE, 0], &attr, 0),
        "sched_setattr(0, {size=56, sched_policy=SCHED_BATCH, sched_flags=SCHED_FLAG_RESET_ON_FORK, sched_nice=1, \
         sched_priority=0, sched_runtime=0, sched_deadline=0, sched_period=0, sched_util_min=0, sched_util_max=0}, 0) = 0"
    );
    assert_eq!(
        same("sched_getscheduler", &[0], b"", 3),
        "sched_getscheduler(0)                   = 3 (SCHED_BATCH)"
    );
    assert_eq!(
        same("ioprio_get", &[1, 0], b"", 0x4004),
        "ioprio_get(IOPRIO_WHO_PROCESS, 0)       = 16388 (IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4))"
    );
    assert_eq!(
        same("set_mempolicy", &[0xc003, BASE, 128], &le(&[5, 0]), 0),
        "set_mempolicy(MPOL_INTERLEAVE|MPOL_F_STATIC_NODES|MPOL_F_RELATIVE_NODES, [0x00000000000005, 0000000000000000], 128) = 0"
    );
    assert_eq!(
        same("process_vm_readv", &[7, BASE, 1, BASE, 1, 0], &le(&[BASE, 5]), 2),
        r#"process_vm_readv(7, [{iov_base="\0p", iov_len=5}], 1, [{iov_base=0x7000, iov_len=5}], 1, 0) = 2"#
    );
}

#[test]
fn system_v() {
    let mut object = vec![0; 104];
    object[20..22].copy_from_slice(&0o600u16.to_le_bytes());
    object[80] = 3;
    assert_eq!(
        same("semctl", &[1, 0, 2, BASE], &object, 0),
        "semctl(1, 0, IPC_STAT, {sem_perm={uid=0, gid=0, mode=0600, key=0, cuid=0, cgid=0}, sem_otime=0, sem_ctime=0, \
         sem_nsems=3}) = 0"
    );
    assert_eq!(
        same("semctl", &[1, 0, 1, BASE], &object, 0),
        "semctl(1, 0, IPC_SET, {sem_perm={uid=0, gid=0, mode=0600}}) = 0"
    );
    assert_eq!(same("shmctl", &[1, 0, 0], b"", 0), "shmctl(1, IPC_RMID, NULL)               = 0");
    assert_eq!(
        same("semop", &[1, BASE, 1], &[2, 0, 0xff, 0xff, 0, 0x18], 0),
        "semop(1, [{sem_num=2, sem_op=-1, sem_flg=SEM_UNDO|IPC_NOWAIT}], 1) = 0"
    );
    assert_eq!(
        same("shmget", &[1, 1, 0x8c00_1200], b"", -22),
        "shmget(0x1, 1, IPC_CREAT|SHM_NORESERVE|35<<SHM_HUGE_SHIFT|000) = -1 EINVAL (Invalid argument)"
    );
}

#[test]
fn requests_to_devices() {
    let mut request = b"lo".to_vec();
    request.resize(16, 0);
    request.extend([2, 0, 0, 0, 127, 0, 0, 1]);
    request.resize(40, 0);
    assert_eq!(
        same("ioctl", &[3, 0x8915, BASE], &request, 0),
        "ioctl(3, SIOCGIFADDR, {ifr_name=\"lo\", ifr_addr={sa_family=AF_INET, sin_port=htons(0), \
         sin_addr=inet_addr(\"127.0.0.1\")}}) = 0"
    );
    assert_eq!(
        same("ioctl", &[3, 0x8915, BASE], &request, -19),
        "ioctl(3, SIOCGIFADDR, {ifr_name=\"lo\"})  = -1 ENODEV (No such device)"
    );
    assert_eq!(
        same("ioctl", &[3, 0x5402, BASE], &[0; 36], 0),
        "ioctl(3, SNDCTL_TMR_START or TCSETS, {c_iflag=, c_oflag=NL0|CR0|TAB0|BS0|VT0|FF0|, c_cflag=B0|CS5|, c_lflag=, ...}) = 0"
    );
    assert_eq!(
        same("ioctl", &[3, 0x4004_9409, 11], b"", -18),
        "ioctl(3, BTRFS_IOC_CLONE or FICLONE, 11) = -1 EXDEV (Invalid cross-device link)"
    );
}

#[test]
fn operations_that_nobody_knows() {
    assert_eq!(
        same("fcntl", &[3, 9999, 5], b"", -22),
        "fcntl(3, 0x270f /* F_??? */, 0x5)       = -1 EINVAL (Invalid argument)"
    );
    assert_eq!(
        same("prctl", &[0x12345, 1, 2, 3, 4], b"", -22),
        "prctl(0x12345 /* PR_??? */, 0x1, 0x2, 0x3, 0x4) = -1 EINVAL (Invalid argument)"
    );
    assert_eq!(
        same("futex", &[BASE, 77, 1, 2, 3, 4], b"", -38),
        "futex(0x7000, 0x4d /* FUTEX_??? */, 1, 0x2, 0x3, 0x4) = -1 ENOSYS (Function not implemented)"
    );
    assert_eq!(
        same("futex", &[BASE, 5, 1, 1, BASE, 0x400_0001], b"", 0),
        "futex(0x7000, FUTEX_WAKE_OP, 1, 1, 0x7000, FUTEX_OP_SET<<28|0<<12|FUTEX_OP_CMP_GT<<24|0x1) = 0"
    );
}

#[test]
fn a_call_that_was_cut_short() {
    let half = |name: &str, args: [u64; 6]| {
        let entry = entry(by_name(name).unwrap().nr, args, &mut Memory(vec![]), &Style::default());
        format!("{}{}", entry.text, cut_short(&entry))
    };
    assert_eq!(half("kill", [7, 9, 0, 0, 0, 0]), "kill(7, SIGKILL)");
    assert_eq!(half("read", [3, BASE, 9, 0, 0, 0]), "read(3,  <unfinished ...>)");
}
