/* Every form of making a child and of waiting for one. */
#include "guest.h"
#include <linux/sched.h>
#include <spawn.h>
#include <sys/resource.h>

extern char **environ;

static void fork_and_wait(void)
{
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(7);
    int status;
    EQ(OK(wait(&status)), pid);
    EQ(status, EXITED(7));
    ERR(wait(&status), ECHILD);
    ERR(waitpid(pid, &status, 0), ECHILD);
    ok("fork, wait");

    int value = 1;
    pid = OK(fork());
    if (pid == 0) {
        value = 2;
        _exit(value == 2 && getppid() > 0 ? 0 : 1);
    }
    reap(pid, 0);
    EQ(value, 1);
    ok("fork copies memory");

    pid_t mine = getpid();
    pid = OK(fork());
    if (pid == 0)
        _exit(getppid() == mine && getpid() != mine && (pid_t)syscall(SYS_gettid) == getpid() ? 0 : 1);
    reap(pid, 0);
    ok("pids of parent and child");
}

static void vfork_and_spawn(void)
{
    volatile int shared = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 42;
        _exit(3);
    }
    CHECK(pid > 0);
    EQ(shared, 42);
    reap(pid, EXITED(3));
    ok("vfork shares memory");

    pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 9", (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0);
    reap(pid, EXITED(9));
    ok("vfork, exec");

    int p[2];
    OK(pipe2(p, O_CLOEXEC));
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    RET(posix_spawn_file_actions_init(&actions), 0);
    RET(posix_spawn_file_actions_adddup2(&actions, p[1], 1), 0);
    RET(posix_spawnattr_init(&attr), 0);
    RET(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK), 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    RET(posix_spawnattr_setsigmask(&attr, &set), 0);
    char *argv[] = {"sh", "-c", "echo spawned; exec grep SigBlk /proc/self/status", NULL};
    RET(posix_spawn(&pid, "/bin/sh", &actions, &attr, argv, environ), 0);
    close(p[1]);
    char text[256] = {0};
    for (size_t n = 0;;) {
        ssize_t r = OK(read(p[0], text + n, sizeof text - 1 - n));
        if (r == 0)
            break;
        n += (size_t)r;
    }
    CHECK(strcmp(text, "spawned\nSigBlk:\t0000000000000800\n") == 0);
    reap(pid, 0);
    close(p[0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    char *none[] = {"none", NULL};
    RET(posix_spawn(&pid, "/nonexistent/program", NULL, NULL, none, environ), ENOENT);
    ok("posix_spawn");
}

static int clone_body(void *arg)
{
    *(volatile int *)arg += 1;
    return 5;
}

static void raw_clones(void)
{
    size_t size = 64 << 10;
    char *stack = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
    volatile int counter = 0;
    pid_t pid = OK(clone(clone_body, stack + size, CLONE_VM | SIGCHLD, (void *)&counter));
    reap(pid, EXITED(5));
    EQ(counter, 1);
    ok("clone, CLONE_VM");

    pid = OK(clone(clone_body, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)&counter));
    EQ(counter, 2);
    reap(pid, EXITED(5));
    ok("clone, CLONE_VFORK");

    pid_t parent_tid = 0;
    set_handler(SIGUSR1, SIG_IGN, 0);
    pid = OK(clone(clone_body, stack + size, CLONE_PARENT_SETTID | CLONE_FILES | SIGUSR1, (void *)&counter,
                   &parent_tid, NULL, NULL));
    EQ(parent_tid, pid);
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, __WCLONE)) < 0 && errno == EINTR)
        ;
    EQ(got, pid);
    EQ(status, EXITED(5));
    EQ(counter, 2);
    set_handler(SIGUSR1, SIG_DFL, 0);
    ok("clone with another exit signal, __WCLONE");

    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD | CLONE_CHILD_SETTID,
                              .pidfd = (uintptr_t)&pidfd,
                              .child_tid = (uintptr_t)&counter,
                              .exit_signal = SIGCHLD};
    pid = (pid_t)OK(syscall(SYS_clone3, &args, sizeof args));
    if (pid == 0)
        _exit(counter == getpid() ? 6 : 1);
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
    EQ(OK(poll(&pfd, 1, 10000)), 1);
    siginfo_t info = {0};
    OK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED));
    EQ(info.si_pid, pid);
    EQ(info.si_status, 6);
    EQ(info.si_code, CLD_EXITED);
    close(pidfd);
    ok("clone3, CLONE_PIDFD, P_PIDFD");

    struct clone_args bad = {.flags = CLONE_SIGHAND, .exit_signal = SIGCHLD};
    ERR(syscall(SYS_clone3, &bad, sizeof bad), EINVAL);
    bad = (struct clone_args){.exit_signal = 10000};
    ERR(syscall(SYS_clone3, &bad, sizeof bad), EINVAL);
    ERR(syscall(SYS_clone3, &args, 8), EINVAL);
    ERR(syscall(SYS_clone3, (void *)8, sizeof args), EFAULT);
    ok("clone3 refused");

    pid = OK(fork());
    if (pid == 0)
        for (;;)
            pause();
    int fd = (int)OK(syscall(SYS_pidfd_open, pid, 0));
    EQ(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0), 0);
    OK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    reap(pid, KILLED(SIGTERM));
    ERR(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
    close(fd);
    ok("pidfd_open, pidfd_send_signal");
    munmap(stack, size);
}

static void wait_flags(void)
{
    int status;
    siginfo_t info;
    int gate[2];
    OK(pipe(gate));
    pid_t pid = OK(fork());
    if (pid == 0) {
        char c;
        read_all(gate[0], &c, 1);
        _exit(33);
    }
    EQ(OK(waitpid(pid, &status, WNOHANG)), 0);
    memset(&info, 0xff, sizeof info);
    EQ(OK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG)), 0);
    EQ(info.si_pid, 0);
    EQ(info.si_signo, 0);
    ok("WNOHANG, nothing yet");
    write_all(gate[1], "x", 1);
    memset(&info, 0, sizeof info);
    OK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    EQ(info.si_signo, SIGCHLD);
    EQ(info.si_code, CLD_EXITED);
    EQ(info.si_status, 33);
    EQ(info.si_pid, pid);
    EQ(info.si_uid, getuid());
    OK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG));
    EQ(info.si_pid, pid);
    EQ(OK(waitpid(pid, &status, WNOHANG)), pid);
    EQ(status, EXITED(33));
    ERR(waitid(P_PID, (id_t)pid, &info, WEXITED), ECHILD);
    ERR(waitid(P_PID, (id_t)pid, &info, 0), EINVAL);
    ERR(waitpid(pid, &status, 0x100), EINVAL);
    close(gate[0]);
    close(gate[1]);
    ok("WNOWAIT");

    pid = OK(fork());
    if (pid == 0)
        for (;;)
            pause();
    OK(kill(pid, SIGSTOP));
    EQ(OK(waitpid(pid, &status, WUNTRACED)), pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    EQ(OK(waitpid(pid, &status, WUNTRACED | WNOHANG)), 0);
    OK(kill(pid, SIGCONT));
    EQ(OK(waitpid(pid, &status, WCONTINUED)), pid);
    CHECK(WIFCONTINUED(status));
    OK(kill(pid, SIGTSTP));
    OK(waitid(P_PID, (id_t)pid, &info, WSTOPPED));
    EQ(info.si_code, CLD_STOPPED);
    EQ(info.si_status, SIGTSTP);
    OK(kill(pid, SIGCONT));
    OK(waitid(P_PID, (id_t)pid, &info, WCONTINUED));
    EQ(info.si_code, CLD_CONTINUED);
    EQ(info.si_status, SIGCONT);
    OK(kill(pid, SIGKILL));
    OK(waitid(P_PID, (id_t)pid, &info, WEXITED));
    EQ(info.si_code, CLD_KILLED);
    EQ(info.si_status, SIGKILL);
    ok("WUNTRACED, WCONTINUED");

    /* A stopped child that is killed dies without being continued. */
    pid = OK(fork());
    if (pid == 0)
        for (;;)
            pause();
    OK(kill(pid, SIGSTOP));
    EQ(OK(waitpid(pid, &status, WUNTRACED)), pid);
    OK(kill(pid, SIGKILL));
    reap(pid, KILLED(SIGKILL));
    ok("SIGKILL of a stopped child");

    pid_t leader = OK(fork());
    if (leader == 0) {
        setpgid(0, 0);
        pause();
        _exit(0);
    }
    OK(setpgid(leader, leader));
    pid_t second = OK(fork());
    if (second == 0) {
        setpgid(0, leader);
        _exit(2);
    }
    setpgid(second, leader);
    EQ(OK(waitpid(-leader, &status, 0)), second);
    EQ(status, EXITED(2));
    OK(kill(-leader, SIGHUP));
    OK(waitid(P_PGID, (id_t)leader, &info, WEXITED));
    EQ(info.si_pid, leader);
    EQ(info.si_status, SIGHUP);
    ERR(kill(-leader, 0), ESRCH);
    ok("process groups: waitpid(-pgid), P_PGID, kill(-pgid)");

    /* wait4 gives the child's resource use. */
    pid = OK(fork());
    if (pid == 0) {
        volatile unsigned x = 0;
        while (clock() < CLOCKS_PER_SEC / 20)
            x++;
        _exit(0);
    }
    struct rusage ru;
    EQ(OK(wait4(pid, &status, 0, &ru)), pid);
    CHECK(moves() ||
          ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_sec * 1000000 + ru.ru_stime.tv_usec >=
          40000);
    OK(getrusage(RUSAGE_CHILDREN, &ru));
    CHECK(moves() || ru.ru_utime.tv_usec + ru.ru_stime.tv_usec > 0 || ru.ru_utime.tv_sec + ru.ru_stime.tv_sec > 0);
    ok("wait4 with rusage");
}

static volatile sig_atomic_t sigchlds;

static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (sig == SIGCHLD && info->si_code == CLD_EXITED && info->si_status == 4)
        sigchlds++;
}

static void child_signals(void)
{
    set_info_handler(SIGCHLD, on_child, SA_RESTART);
    for (int i = 0; i < 20; i++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            _exit(4);
        reap(pid, EXITED(4));
    }
    EQ(sigchlds, 20);
    ok("SIGCHLD's siginfo");

    /* SA_NOCLDSTOP: no signal for a stop. */
    set_info_handler(SIGCHLD, on_child, SA_RESTART | SA_NOCLDSTOP);
    sigchlds = 0;
    pid_t pid = OK(fork());
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(4);
    }
    int status;
    EQ(OK(waitpid(pid, &status, WUNTRACED)), pid);
    EQ(sigchlds, 0);
    OK(kill(pid, SIGCONT));
    reap(pid, EXITED(4));
    EQ(sigchlds, 1);
    ok("SA_NOCLDSTOP");

    /* SIGCHLD ignored, or SA_NOCLDWAIT: children are reaped by the kernel and wait ends with ECHILD. */
    set_handler(SIGCHLD, SIG_IGN, 0);
    for (int i = 0; i < 5; i++)
        if (OK(fork()) == 0)
            _exit(i);
    ERR(wait(&status), ECHILD);
    set_handler(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
    for (int i = 0; i < 5; i++)
        if (OK(fork()) == 0)
            _exit(i);
    ERR(wait(&status), ECHILD);
    set_handler(SIGCHLD, SIG_DFL, 0);
    ok("SIGCHLD ignored, SA_NOCLDWAIT");
}

static void many_children(void)
{
    enum { N = 100 };
    pid_t pids[N];
    for (int i = 0; i < N; i++) {
        pids[i] = OK(fork());
        if (pids[i] == 0)
            _exit(i);
    }
    int seen = 0, sum = 0;
    for (int status; seen < N; seen++) {
        pid_t pid = OK(waitpid(-1, &status, 0));
        CHECK(WIFEXITED(status));
        EQ(pids[WEXITSTATUS(status)], pid);
        sum += WEXITSTATUS(status);
    }
    EQ(sum, N * (N - 1) / 2);
    ok("a hundred children at once");

    /* A chain of processes, each the child of the one before. */
    int depth = 0;
    pid_t pid;
    while (depth < 30 && (pid = OK(fork())) == 0)
        depth++;
    if (depth == 30)
        _exit(30);
    int status;
    EQ(OK(waitpid(pid, &status, 0)), pid);
    CHECK(WIFEXITED(status));
    if (depth > 0)
        _exit(WEXITSTATUS(status));
    EQ(WEXITSTATUS(status), 30);
    ok("a chain of thirty processes");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    fork_and_wait();
    vfork_and_spawn();
    raw_clones();
    wait_flags();
    child_signals();
    many_children();
    return 0;
}
