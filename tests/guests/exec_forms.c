/* exec in all its forms, from threads, with huge arguments, and the ways in which it fails and goes on. */
#include "guest.h"
#include <limits.h>
#include <linux/limits.h>
#include <pthread.h>
#include <sys/resource.h>

static const char *self;
static char self_path[PATH_MAX];

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = OK(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    write_all(fd, text, strlen(text));
    OK(fchmod(fd, mode));
    OK(close(fd));
}

static void failures(void)
{
    char *argv[] = {"x", NULL}, *envp[] = {NULL};
    write_file("noexec", "#!/bin/sh\nexit 0\n", 0644);
    write_file("garbage", "\x7f" "ELFgarbage", 0755);
    write_file("empty", "", 0755);
    write_file("nointerp", "#!/nonexistent/interpreter\n", 0755);
    OK(symlink("loop", "loop"));
    pid_t pid = getpid();
    for (int i = 0; i < 3; i++) {
        ERR(execve("/nonexistent/program", argv, envp), ENOENT);
        ERR(execve("noexec", argv, envp), EACCES);
        ERR(execve("/", argv, envp), EACCES);
        ERR(execve("garbage", argv, envp), ENOEXEC);
        ERR(execve("empty", argv, envp), ENOEXEC);
        ERR(execve("nointerp", argv, envp), ENOENT);
        ERR(execve("loop", argv, envp), ELOOP);
        ERR(execve("noexec/x", argv, envp), ENOTDIR);
        ERR(execve((char *)bad_pointer, argv, envp), EFAULT);
        ERR(execve("/bin/true", (char **)bad_pointer, envp), EFAULT);
        EQ(getpid(), pid);
    }
    /* E2BIG: one string over MAX_ARG_STRLEN, then too many bytes in all. */
    size_t big = 33 * 4096;
    char *huge = malloc(big);
    memset(huge, 'a', big - 1);
    huge[big - 1] = 0;
    char *too_long[] = {"x", huge, NULL};
    ERR(execve("/bin/true", too_long, envp), E2BIG);
    static char *too_many[401];
    huge[32 * 1024] = 0;
    for (int i = 0; i < 400; i++)
        too_many[i] = huge;
    ERR(execve("/bin/true", too_many, envp), E2BIG);
    free(huge);
    ok("failed execs go on");
}

static void runs(const char *name, int want)
{
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        char *argv[] = {(char *)self, (char *)name, NULL};
        execv(self_path, argv);
        _exit(99);
    }
    reap(pid, want);
    ok(name);
}

static void *exec_in_thread(void *arg)
{
    (void)arg;
    char *argv[] = {(char *)self, "show-args", "from-thread", NULL};
    execv(self_path, argv);
    _exit(98);
}

static void *spin(void *arg)
{
    for (;;)
        *(volatile int *)arg += 1;
    return NULL;
}

static void exec_from_thread(void)
{
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        pthread_t t;
        static int counters[3];
        for (int i = 0; i < 3; i++)
            RET(pthread_create(&t, NULL, spin, &counters[i]), 0);
        RET(pthread_create(&t, NULL, exec_in_thread, NULL), 0);
        for (;;)
            pause();
    }
    reap(pid, 0);
    ok("exec from a thread");

    /* The leader is gone when another thread executes; the pid stays. */
    pid = OK(fork());
    if (pid == 0) {
        pthread_t t;
        RET(pthread_create(&t, NULL, exec_in_thread, NULL), 0);
        pthread_exit(NULL);
    }
    reap(pid, 0);
    ok("exec from a thread, the leader having exited");
}

static void scripts(void)
{
    write_file("script", "#!/bin/sh -f\necho \"script $0 $*\"\nexit 4\n", 0755);
    write_file("nested", "#!./script one arg\n", 0755);
    IN_CHILD({
        if (fork() == 0) {
            execl("./script", "ignored", "a b", "c", (char *)NULL);
            _exit(99);
        }
        int status;
        wait(&status);
        EQ(status, EXITED(4));
    });
    IN_CHILD({
        if (fork() == 0) {
            execl("./nested", "ignored", "z", (char *)NULL);
            _exit(99);
        }
        int status;
        wait(&status);
        EQ(status, EXITED(4));
    });
    ok("shebang scripts");

    int fd = OK(open("/bin/echo", O_RDONLY | O_CLOEXEC));
    IN_CHILD({
        char *argv[] = {"echo", "by descriptor", NULL};
        char *envp[] = {NULL};
        fexecve(fd, argv, envp);
        _exit(99);
    });
    close(fd);
    ok("fexecve");
}

/* 1.4 MB of environment and arguments arrive unharmed; 64-bit sums are compared. */
static void large_arguments(void)
{
    enum { N = 14, SIZE = 100 * 1000 };
    static char *strings[N + 1], *argv[N / 2 + 3], *envp[N / 2 + 1];
    uint64_t sum = 0, state = 99;
    for (int i = 0; i < N; i++) {
        strings[i] = malloc(SIZE + 1);
        for (int k = 0; k < SIZE; k++) {
            strings[i][k] = (char)('a' + next_random(&state) % 26);
            sum = sum * 31 + (unsigned char)strings[i][k];
        }
        strings[i][1] = '=';
        strings[i][SIZE] = 0;
    }
    sum = 0;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < SIZE; k++)
            sum = sum * 31 + (unsigned char)strings[i][k];
    char text[32];
    snprintf(text, sizeof text, "%llx", (unsigned long long)sum);
    argv[0] = (char *)self;
    argv[1] = "sum";
    for (int i = 0; i < N / 2; i++)
        argv[2 + i] = strings[i];
    static char sum_name[64];
    snprintf(sum_name, sizeof sum_name, "SUM=%s", text);
    for (int i = 0; i < N / 2 - 1; i++)
        envp[i] = strings[N / 2 + i];
    /* The last string is replaced by the sum of all before it. */
    sum = 0;
    for (int i = 0; i < N - 1; i++)
        for (int k = 0; k < SIZE; k++)
            sum = sum * 31 + (unsigned char)strings[i][k];
    snprintf(sum_name, sizeof sum_name, "SUM=%llx", (unsigned long long)sum);
    envp[N / 2 - 1] = sum_name;
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        execve(self_path, argv, envp);
        FAIL("execve with 1.4 MB");
    }
    reap(pid, 0);
    for (int i = 0; i < N; i++)
        free(strings[i]);
    ok("1.4 MB of arguments and environment");
}

static int check_sum(int argc, char **argv, char **envp)
{
    uint64_t sum = 0;
    for (int i = 2; i < argc; i++)
        for (char *p = argv[i]; *p; p++)
            sum = sum * 31 + (unsigned char)*p;
    for (char **e = envp; *e; e++)
        if (strncmp(*e, "SUM=", 4) != 0)
            for (char *p = *e; *p; p++)
                sum = sum * 31 + (unsigned char)*p;
    const char *want = getenv("SUM");
    CHECK(want != NULL);
    CHECK(strtoull(want, NULL, 16) == sum);
    return 0;
}

static void inheritance(void)
{
    /* Close-on-exec, dispositions, mask, pending signals, cwd, umask, limits and nice pass as exec(2) says. */
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        int kept = OK(open("/dev/null", O_RDONLY));
        OK(dup2(kept, 20));
        OK(dup3(kept, 21, O_CLOEXEC));
        OK(dup2(kept, 22));
        OK(fcntl(22, F_SETFD, FD_CLOEXEC));
        set_handler(SIGUSR1, SIG_IGN, 0);
        set_handler(SIGUSR2, (void (*)(int))inheritance, 0);
        mask_signal(SIG_BLOCK, SIGTERM);
        mask_signal(SIG_BLOCK, SIGRTMIN + 3);
        raise(SIGTERM);
        umask(027);
        OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){77, 80}));
        OK(nice(3));
        char *argv[] = {(char *)self, "show-state", NULL};
        execv(self_path, argv);
        _exit(99);
    }
    reap(pid, 0);
    ok("what exec keeps");
}

static int show_state(void)
{
    OK(fcntl(20, F_GETFD));
    ERR(fcntl(21, F_GETFD), EBADF);
    ERR(fcntl(22, F_GETFD), EBADF);
    struct sigaction sa;
    OK(sigaction(SIGUSR1, NULL, &sa));
    CHECK(sa.sa_handler == SIG_IGN);
    OK(sigaction(SIGUSR2, NULL, &sa));
    CHECK(sa.sa_handler == SIG_DFL);
    sigset_t set;
    OK(sigprocmask(SIG_BLOCK, NULL, &set));
    CHECK(sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGRTMIN + 3) == 1 && sigismember(&set, SIGINT) == 0);
    OK(sigpending(&set));
    CHECK(sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGRTMIN + 3) == 0);
    EQ(umask(0), 027);
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    EQ(limit.rlim_cur, 77);
    EQ(limit.rlim_max, 80);
    errno = 0;
    EQ(nice(0), 3);
    return 0;
}

int main(int argc, char **argv, char **envp)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    self = argv[0];
    OK(readlink("/proc/self/exe", self_path, sizeof self_path - 1));
    if (argc > 1 && strcmp(argv[1], "sum") == 0)
        return check_sum(argc, argv, envp);
    if (argc > 1 && strcmp(argv[1], "show-state") == 0)
        return show_state();
    if (argc > 1 && strcmp(argv[1], "show-args") == 0) {
        EQ(getpid(), syscall(SYS_gettid));
        printf("args");
        for (int i = 1; i < argc; i++)
            printf(" %s", argv[i]);
        printf("\n");
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "chain") == 0) {
        int left = atoi(argv[2]);
        char next[16];
        if (left == 0)
            return 11;
        snprintf(next, sizeof next, "%d", left - 1);
        char *args[] = {argv[0], "chain", next, NULL};
        execv(self_path, args);
        return 99;
    }
    failures();
    runs("show-args", 0);
    exec_from_thread();
    scripts();
    large_arguments();
    inheritance();
    pid_t pid = OK(fork());
    if (pid == 0) {
        char *args[] = {argv[0], "chain", "30", NULL};
        execv(self_path, args);
        _exit(99);
    }
    reap(pid, EXITED(11));
    ok("thirty execs in one process");
    char *empty[] = {"", NULL};
    IN_CHILD({
        execve("/bin/true", empty, NULL);
        _exit(99);
    });
    ok("exec with an empty name and no environment");
    return 0;
}
