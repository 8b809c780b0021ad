/* A program with a seccomp filter of its own: its verdicts hold, wherever it is told to run. */
#include "guest.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static volatile sig_atomic_t trapped, trapped_call;

static void on_sys(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    trapped++;
    trapped_call = info->si_syscall;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    set_info_handler(SIGSYS, on_sys, 0);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sync, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    for (int i = 0; i < 50; i++) {
        ERR(syscall(SYS_getuid), 77);
        syscall(SYS_getgid);
        EQ(trapped, i + 1);
        EQ(trapped_call, SYS_getgid);
        CHECK(getppid() > 0);
    }
    ok("errno and trap");
    pid_t pid = OK(fork());
    if (pid == 0) {
        ERR(syscall(SYS_getuid), 77);
        syscall(SYS_sync);
        _exit(0);
    }
    int status;
    EQ(OK(waitpid(pid, &status, 0)), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    ok("a child is killed by it");
    return 0;
}
