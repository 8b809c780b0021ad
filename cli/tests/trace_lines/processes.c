// Processes, limits, scheduling, credentials, prctl.
#include "guest.h"
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int leave(void *status) { _exit((int)(intptr_t)status); }

int main(int argc, char **argv) {
    (void)argc;
    int status;
    struct rusage usage;
    siginfo_t info;
    // Two ends of children in a row would be one signal or two.
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP}, NULL);
    // Children and how they end.
    if (fork() == 0) _exit(3);
    call(wait4, -1, &status, 0, NULL);
    int child = fork();
    if (child == 0) pause();
    call(wait4, child, &status, WNOHANG, NULL);
    call(kill, child, SIGSTOP);
    call(wait4, child, &status, WUNTRACED, NULL);
    call(kill, child, SIGCONT);
    call(wait4, child, &status, WCONTINUED, NULL);
    call(kill, child, SIGTERM);
    call(wait4, child, &status, __WALL, &usage);
    if ((child = fork()) == 0) _exit(4);
    call(waitid, P_PID, child, &info, WEXITED | WNOWAIT, NULL);
    call(waitid, P_ALL, 0, &info, WEXITED | WNOHANG, &usage);
    if ((child = fork()) == 0) { kill(getpid(), SIGKILL); }
    int pidfd = call(pidfd_open, child, 0);
    call(waitid, P_PIDFD, pidfd, &info, WEXITED, NULL);
    call(waitid, P_ALL, 0, &info, WEXITED, NULL);
    call(wait4, -1, &status, 0, NULL);
    call(wait4, -1, NULL, WNOHANG | 0x40, NULL);
    call(pidfd_getfd, pidfd, 1, 0);
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    child = clone(leave, stack + 65536, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)5);
    call(wait4, child, &status, 0, NULL);
    int parent_tid = 0, child_tid = 0;
    child = clone(leave, stack + 65536, CLONE_FILES | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, (void *)6, &parent_tid, NULL, &child_tid);
    call(wait4, child, &status, __WALL, NULL);
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
    if (call(clone3, &args, sizeof args) == 0) _exit(7);
    call(waitid, P_PIDFD, pidfd, &info, WEXITED, NULL);
    call(clone3, &args, 8L);
    call(clone3, BAD, sizeof args);
    args = (struct clone_args){.flags = CLONE_THREAD, .exit_signal = SIGCHLD};
    call(clone3, &args, sizeof args);
    call(clone, 0x12345600UL, NULL, NULL, NULL, 0L);
    if (vfork() == 0) _exit(8);
    call(wait4, -1, &status, 0, NULL);
    if (vfork() == 0) { execl("/none", "none", "\"quoted\"", NULL); _exit(9); }
    call(wait4, -1, &status, 0, NULL);
    call(execve, "/none", argv, NULL);
    call(execve, NULL, NULL, NULL);
    call(execve, "/none", (char *[]){"a", NULL}, (char *[]){"A=1", NULL});
    call(execveat, AT_FDCWD, "none", (char *[]){"a", "b", NULL}, (char *[]){NULL}, AT_SYMLINK_NOFOLLOW);
    call(execve, "/none", BAD, BAD);

    // Groups and sessions.
    call(getpid);
    call(getppid);
    call(gettid);
    call(getpgrp);
    call(getpgid, 0);
    call(getsid, 0);
    call(setpgid, 0, 0);
    call(setpgid, 0x3fffffff, 0);
    call(setsid);

    // Limits and usage.
    struct rlimit64 limit = {1024, 4096};
    call(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
    limit.rlim_cur = 1000;
    call(prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
    limit = (struct rlimit64){8 << 20, RLIM64_INFINITY};
    call(prlimit64, 0, RLIMIT_STACK, &limit, &limit);
    call(prlimit64, 0x3fffffff, 77, &limit, BAD);
    struct rlimit old;
    call(getrlimit, RLIMIT_CORE, &old);
    call(setrlimit, RLIMIT_CORE, &old);
    call(getrlimit, RLIMIT_CPU, &old);
    call(getrusage, RUSAGE_SELF, &usage);
    call(getrusage, RUSAGE_CHILDREN, &usage);
    call(getrusage, 55, &usage);
    call(getpriority, PRIO_PROCESS, 0);
    call(setpriority, PRIO_PGRP, 0, 1);
    call(ioprio_get, 1, 0);
    call(ioprio_set, 1, 0, 2 << 13 | 4);

    // Scheduling.
    long cpus[16] = {0};
    call(sched_getaffinity, 0, sizeof cpus, cpus);
    call(sched_setaffinity, 0, sizeof cpus, cpus);
    call(sched_setaffinity, 0, 8, BAD);
    call(sched_getscheduler, 0);
    struct sched_param param = {0};
    call(sched_getparam, 0, &param);
    call(sched_setparam, 0, &param);
    call(sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param);
    call(sched_setscheduler, 0, SCHED_OTHER, &param);
    call(sched_get_priority_max, SCHED_FIFO);
    call(sched_get_priority_min, SCHED_RR);
    struct timespec slice;
    call(sched_rr_get_interval, 0, &slice);
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; uint32_t min, max; } attr = {0};
    call(sched_getattr, 0, &attr, (int)sizeof attr, 0);
    attr.flags = 1;
    call(sched_setattr, 0, &attr, 0);
    call(sched_yield);
    unsigned cpu, node;
    call(getcpu, &cpu, &node, NULL);
    call(getcpu, NULL, NULL, NULL);

    // Credentials.
    call(getuid); call(geteuid); call(getgid); call(getegid);
    unsigned ids[3];
    call(getresuid, ids, ids + 1, ids + 2);
    call(getresgid, ids, ids + 1, ids + 2);
    call(setresuid, -1, -1, -1);
    call(setresgid, -1, -1, -1);
    call(setreuid, -1, -1);
    call(setregid, -1, -1);
    call(setfsuid, -1);
    call(setfsgid, -1);
    unsigned groups[64];
    call(getgroups, 0, NULL);
    call(getgroups, 64, groups);
    call(getgroups, -1, groups);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    call(capget, &header, NULL);
    call(capget, &header, data);
    call(capset, &header, data);
    header.version = 1;
    call(capget, &header, data);

    // prctl
    char name[16] = {0};
    call(prctl, PR_SET_NAME, "another");
    call(prctl, PR_GET_NAME, name);
    call(prctl, PR_GET_DUMPABLE);
    call(prctl, PR_GET_KEEPCAPS);
    call(prctl, PR_SET_PDEATHSIG, SIGUSR1);
    int number;
    call(prctl, PR_GET_PDEATHSIG, &number);
    call(prctl, PR_SET_PDEATHSIG, 0);
    call(prctl, PR_SET_CHILD_SUBREAPER, 1);
    call(prctl, PR_GET_CHILD_SUBREAPER, &number);
    call(prctl, PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L);
    call(prctl, PR_GET_SECCOMP, 0L, 0L, 0L, 0L);
    call(prctl, PR_SET_TIMERSLACK, 50000L);
    call(prctl, PR_GET_TIMERSLACK);
    call(prctl, PR_GET_THP_DISABLE, 0L, 0L, 0L, 0L);
    call(prctl, PR_CAPBSET_READ, CAP_SYS_ADMIN);
    call(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0L, 0L);
    call(prctl, PR_GET_SECUREBITS);
    call(prctl, PR_GET_TSC, &number);
    call(prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, stack, 4096L, "named");
    call(prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    call(prctl, 0x12345, 1L, 2L, 3L, 4L);
    long base;
    call(arch_prctl, 0x1003, &base);
    call(arch_prctl, 0x3001, &base);
    call(arch_prctl, 0x9999, 0L);

    // The machine.
    struct utsname uts;
    call(uname, &uts);
    struct sysinfo sys;
    call(sysinfo, &sys);
    call(sethostname, "none", 70L);
    call(personality, 0xffffffffUL);
    call(syslog, 10, NULL, 0);
    call(membarrier, 0, 0, 0);
    call(membarrier, 8, 0, 0);
    call(getrandom, name, 4L, GRND_NONBLOCK);
    call(set_tid_address, &number);
    long length;
    call(get_robust_list, 0, &base, &length);
    call(kcmp, getpid(), getpid(), 1, 0UL, 0UL);
    call(unshare, 0);
    call(setns, 99, CLONE_NEWNET);
    call(ptrace, 12, 0x3fffffff, 0L, 0L);
    call(seccomp, 2, 0, "\x0d\x00\x00");
    call(bpf, 99, &base, 4);
    call(io_uring_setup, 0, BAD);
    call(add_key, "none", "description", "payload", 7L, -1);
    call(keyctl, 0, -3, 0);
    call(landlock_create_ruleset, NULL, 0L, 1);
    call(getpmsg);
    syscall(1000, 1L, 2L);
    call(exit, 5);
    return 0;
}
