/* The kernel's restart codes, -512 to -517, are its own: raw calls never return them, with handlers, blocked, ignored and
 * absent, while signals and stops arrive all the time.
 */
#include "guest.h"
#include <linux/futex.h>
#include <sys/epoll.h>

static long raw(long nr, long a, long b, long c, long d, long e)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (ret <= -512 && ret >= -517)
        FAIL("call %ld returned %ld", nr, ret);
    return ret;
}

static volatile sig_atomic_t handled;

static void handler(int sig)
{
    (void)sig;
    handled++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int p[2], s[2];
    OK(pipe(p));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 3000}, sizeof(struct timeval)));
    int ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    static const char *const names[] = {"handler", "handler with SA_RESTART", "blocked", "ignored", "ignored by default"};
    for (int mode = 0; mode < 5; mode++) {
        int sig = mode == 4 ? SIGWINCH : SIGUSR1;
        mask_signal(mode == 2 ? SIG_BLOCK : SIG_UNBLOCK, SIGUSR1);
        if (mode < 3)
            set_handler(sig, handler, mode == 1 ? SA_RESTART : 0);
        else
            set_handler(sig, mode == 3 ? SIG_IGN : SIG_DFL, 0);
        handled = 0;
        fflush(stdout);
        pid_t parent = getpid(), stormer = OK(fork());
        if (stormer == 0) {
            for (;;) {
                if (kill(parent, sig) < 0 || kill(parent, SIGCONT) < 0)
                    _exit(0);
                struct timespec ts = {0, 300000};
                nanosleep(&ts, NULL);
            }
        }
        static uint32_t word;
        char c;
        struct timespec ts = {0, 2000000}, left, until;
        struct pollfd f = {p[0], POLLIN, 0};
        sigset_t none, set;
        sigemptyset(&none);
        sigaddset(&none, mode == 2 ? SIGUSR1 : SIGUSR2);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        int64_t end = now_ms() + 150;
        while (now_ms() < end) {
            long r = raw(SYS_poll, (long)&f, 1, 2, 0, 0);
            CHECK(r == 0 || r == -EINTR);
            r = raw(SYS_ppoll, (long)&f, 1, (long)&(struct timespec){0, 2000000}, (long)&none, 8);
            CHECK(r == 0 || r == -EINTR);
            r = raw(SYS_select, 0, 0, 0, 0, (long)&(struct timeval){0, 2000});
            CHECK(r == 0 || r == -EINTR);
            r = raw(SYS_epoll_wait, ep, (long)&e, 1, 2, 0);
            CHECK(r == 0 || r == -EINTR);
            r = raw(SYS_nanosleep, (long)&ts, (long)&left, 0, 0, 0);
            CHECK(r == 0 || r == -EINTR);
            OK(clock_gettime(CLOCK_MONOTONIC, &until));
            until.tv_nsec += 2000000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
            }
            r = raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0, 0);
            CHECK(r == 0 || r == -EINTR);
            r = raw(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 0, (long)&ts, 0);
            CHECK(r == -ETIMEDOUT || r == -EINTR);
            r = raw(SYS_rt_sigtimedwait, (long)&set, 0, (long)&ts, 8, 0);
            CHECK(r == -EAGAIN || r == -EINTR);
            r = raw(SYS_recvfrom, s[0], (long)&c, 1, 0, 0);
            CHECK(r == -EAGAIN || r == -EINTR);
            r = raw(SYS_getppid, 0, 0, 0, 0, 0);
            CHECK(r > 0);
            r = raw(SYS_wait4, -1, 0, WNOHANG, 0, 0);
            EQ(r, 0);
        }
        OK(kill(stormer, SIGKILL));
        int status;
        pid_t got;
        do
            got = (pid_t)raw(SYS_wait4, stormer, (long)&status, 0, 0, 0);
        while (got == -EINTR);
        EQ(got, stormer);
        EQ(status, KILLED(SIGKILL));
        CHECK(mode < 2 ? handled > 5 : handled == 0);
        ok(names[mode]);
    }
    return 0;
}
