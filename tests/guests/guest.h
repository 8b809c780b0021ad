/* What every guest shares: checks that say where they failed, and children that are always reaped.
 *
 * A guest prints nothing that differs between two native runs: no pid, address or time. It exits 0 when everything it
 * expects holds, and prints `FAIL file:line: …` on standard output and exits 1 when something does not.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Formatted into a local buffer and written with one write: usable after fork in a threaded program. */
__attribute__((noreturn, format(printf, 3, 4))) static inline void fail_at(const char *file, int line, const char *fmt,
                                                                           ...)
{
    int e = errno;
    char text[1024];
    const char *base = strrchr(file, '/');
    int n = snprintf(text, sizeof text, "FAIL %s:%d: ", base ? base + 1 : file, line);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof text - 64)
        n = (int)sizeof text - 64;
    n += snprintf(text + n, sizeof text - (size_t)n, " (errno %d)\n", e);
    if (write(STDOUT_FILENO, text, (size_t)n) < 0)
        _exit(2);
    _exit(1);
}

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* The condition must hold. */
#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            FAIL("%s", #cond);                                                                                         \
    } while (0)

/* The two integers must be equal; both are shown when they are not. */
#define EQ(a, b)                                                                                                       \
    do {                                                                                                               \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                            \
        if (a_ != b_)                                                                                                  \
            FAIL("%s == %s: %lld, %lld", #a, #b, a_, b_);                                                              \
    } while (0)

/* The call must succeed; its result is the value. */
#define OK(call)                                                                                                       \
    ({                                                                                                                 \
        __typeof__(call) r_ = (call);                                                                                  \
        if ((long)r_ == -1)                                                                                            \
            FAIL("%s", #call);                                                                                         \
        r_;                                                                                                            \
    })

/* The call must fail with exactly this error. */
#define ERR(call, want)                                                                                                \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long r_ = (long)(call);                                                                                        \
        if (r_ != -1 || errno != (want))                                                                               \
            FAIL("%s: got %ld, wanted -1 with %s (%d)", #call, r_, #want, want);                                       \
    } while (0)

/* A pthread-style call must return exactly this error number (0: success). */
#define RET(call, want)                                                                                                \
    do {                                                                                                               \
        int r_ = (call);                                                                                               \
        if (r_ != (want))                                                                                              \
            FAIL("%s: got %d, wanted %s (%d)", #call, r_, #want, want);                                                \
    } while (0)

/* An address that is never mapped; volatile, so that the compiler does not know. */
static void *volatile bad_pointer __attribute__((unused)) = (void *)8;

/* Says that one case passed. */
static inline void ok(const char *name)
{
    printf("ok %s\n", name);
    fflush(stdout);
}

/* Runs `body` in a forked child, which must exit 0. */
#define IN_CHILD(...)                                                                                                  \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        pid_t child_ = OK(fork());                                                                                     \
        if (child_ == 0) {                                                                                             \
            __VA_ARGS__;                                                                                               \
            fflush(stdout);                                                                                            \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        reap(child_, 0);                                                                                               \
    } while (0)

/* Waits for one child and checks its raw status. */
static inline void reap(pid_t pid, int want)
{
    int status = -1;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    EQ(got, pid);
    if (status != want)
        FAIL("child's status is 0x%x, wanted 0x%x", status, want);
}

#define EXITED(code) ((code) << 8)
#define KILLED(sig) (sig)

static inline void set_handler(int sig, void (*handler)(int), int flags)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    OK(sigaction(sig, &sa, NULL));
}

static inline void set_info_handler(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
    sigemptyset(&sa.sa_mask);
    OK(sigaction(sig, &sa, NULL));
}

static inline void mask_signal(int how, int sig)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    OK(sigprocmask(how, &set, NULL));
}

/* Whether this program is moved between machines while it runs. Each kernel counts the CPU time that was spent on it: a
 * process that is whole at home sees home's count alone, so its CPU clocks may go back.
 */
static inline int moves(void)
{
    return getenv("GUEST_MOVES") != NULL;
}

static inline int64_t now_ns(clockid_t clock)
{
    struct timespec ts;
    OK(clock_gettime(clock, &ts));
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline int64_t now_ms(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000000;
}

/* The third field of /proc/PID/task/TID/stat: 'S' while the thread sleeps in a call. */
static inline char state_of(pid_t tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    char *close_paren = strrchr(text, ')');
    return close_paren ? close_paren[2] : 0;
}

static inline void sleep_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

/* Returns when the thread sleeps in the kernel, or after ten seconds fails. */
static inline void until_asleep(pid_t tid)
{
    for (int i = 0; i < 5000; i++) {
        if (state_of(tid) == 'S')
            return;
        sleep_ms(2);
    }
    FAIL("the thread never went to sleep");
}

/* A pseudo-random sequence that is the same everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline void fill(unsigned char *p, size_t n, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(next_random(&state) >> 32);
}

static inline bool is_filled(const unsigned char *p, size_t n, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t i = 0; i < n; i++)
        if (p[i] != (unsigned char)(next_random(&state) >> 32))
            return false;
    return true;
}

static inline void write_all(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = write(fd, (const char *)p + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        CHECK(r > 0);
        done += (size_t)r;
    }
}

static inline void read_all(int fd, void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = read(fd, (char *)p + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        CHECK(r > 0);
        done += (size_t)r;
    }
}

#endif
