/* Every way to end. Without arguments: all of them in children, statuses checked by the parent.
 * `exits code N`, `exits signal N`, `exits abort|segv|thread|group`: this process ends so.
 */
#include "guest.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void *exit_in_thread(void *arg)
{
    exit((int)(intptr_t)arg);
}

static void *return_null(void *arg)
{
    sleep_ms(20);
    return arg;
}

static void die(const char *how, int n)
{
    pthread_t t;
    OK(prctl(PR_SET_DUMPABLE, 0));
    if (strcmp(how, "code") == 0)
        exit(n);
    if (strcmp(how, "signal") == 0) {
        raise(n);
        exit(0);
    }
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0)
        __asm__ volatile("movl $1, 8");
    if (strcmp(how, "fpe") == 0)
        __asm__ volatile("xorl %%ecx, %%ecx; movl $1, %%eax; cltd; idivl %%ecx" ::: "eax", "ecx", "edx");
    if (strcmp(how, "ill") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "trap") == 0)
        __asm__ volatile("int3");
    if (strcmp(how, "privileged") == 0)
        __asm__ volatile("hlt");
    if (strcmp(how, "noexec") == 0)
        ((void (*)(void))OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)))();
    if (strcmp(how, "thread") == 0) {
        RET(pthread_create(&t, NULL, exit_in_thread, (void *)(intptr_t)n), 0);
        for (;;)
            pause();
    }
    if (strcmp(how, "last") == 0) {
        /* The leader goes first: the status of the process is that of the leader's exit, 0. */
        RET(pthread_create(&t, NULL, return_null, NULL), 0);
        pthread_exit(NULL);
    }
    if (strcmp(how, "group") == 0)
        syscall(SYS_exit_group, n);
    if (strcmp(how, "raw") == 0)
        syscall(SYS_exit, n);
    FAIL("no such end: %s", how);
}

static void ends(const char *how, int n, int want)
{
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0)
        die(how, n);
    reap(pid, want);
}

static void bye(void)
{
    printf("atexit ran\n");
}

static int how;

static void *waits(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void *ends_it(void *arg)
{
    until_asleep(getpid());
    if (how < 0)
        raise(-how);
    _exit(how);
    return arg;
}

/* However a thread ends its process, and whatever the first thread waits in. */
static void from_a_thread(void)
{
    const int ends[] = {0, 7, -SIGTERM, -SIGUSR1};
    for (int i = 0; i < 40; i++) {
        how = ends[i % 4];
        pid_t pid = OK(fork());
        if (pid == 0) {
            int p[2];
            char c;
            pthread_t t;
            OK(pipe(p));
            /* Their ends are reported before the first thread's. */
            for (int other = 0; other < 8; other++)
                RET(pthread_create(&t, NULL, waits, NULL), 0);
            RET(pthread_create(&t, NULL, ends_it, NULL), 0);
            if (i % 8 < 4)
                read(p[0], &c, 1);
            else
                poll(&(struct pollfd){p[0], POLLIN, 0}, 1, -1);
            _exit(99);
        }
        reap(pid, how < 0 ? KILLED(-how) : EXITED(how));
    }
    ok("a thread ends a process whose first thread waits");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        die(argv[1], argc > 2 ? atoi(argv[2]) : 0);
    for (int code = 0; code < 256; code += 15)
        ends("code", code, EXITED(code));
    ends("code", 256 + 7, EXITED(7));
    ends("code", -1, EXITED(255));
    ok("exit codes");
    for (int sig = 1; sig <= 64; sig++) {
        switch (sig) {
        case SIGCHLD:
        case SIGCONT:
        case SIGURG:
        case SIGWINCH:
            ends("signal", sig, 0);
            break;
        case SIGSTOP:
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU: {
            fflush(stdout);
            pid_t pid = OK(fork());
            if (pid == 0)
                die("signal", sig);
            int status;
            EQ(OK(waitpid(pid, &status, WUNTRACED)), pid);
            CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == sig);
            OK(kill(pid, SIGCONT));
            reap(pid, 0);
            break;
        }
        case 32:
        case 33:
            break; /* glibc's own */
        default:
            ends("signal", sig, KILLED(sig));
        }
    }
    ok("the default action of every signal");
    ends("abort", 0, KILLED(SIGABRT));
    ends("segv", 0, KILLED(SIGSEGV));
    ends("fpe", 0, KILLED(SIGFPE));
    ends("ill", 0, KILLED(SIGILL));
    ends("trap", 0, KILLED(SIGTRAP));
    ends("privileged", 0, KILLED(SIGSEGV));
    ends("noexec", 0, KILLED(SIGSEGV));
    ok("faults");
    ends("thread", 21, EXITED(21));
    ends("last", 0, 0);
    ends("group", 22, EXITED(22));
    ends("raw", 23, EXITED(23));
    ok("ends of threads");

    /* SIGXCPU and SIGXFSZ from limits. */
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096}));
        OK(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
        int fd = OK(open("limited", O_WRONLY | O_CREAT | O_TRUNC, 0600));
        char page[4096] = {0};
        EQ(write(fd, page, sizeof page), 4096);
        if (write(fd, page, sizeof page) < 0)
            _exit(2);
        _exit(1);
    }
    reap(pid, KILLED(SIGXFSZ));
    OK(unlink("limited"));
    ok("SIGXFSZ");
    atexit(bye);
    from_a_thread();
    return 0;
}
