/* A wait of one second ends after 1.00 to 1.05 s though an ignored signal comes every 20 ms, or a move.
 * Too early is wrong at once. Too late may be the scheduler: then it is tried again, three times in all.
 */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>

static int p[2], s[2], ep;
static uint32_t word;

static void w_poll(void) { EQ(OK(poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 1000)), 0); }
static void w_epoll(void) { struct epoll_event e; EQ(OK(epoll_wait(ep, &e, 1, 1000)), 0); }
static void w_nanosleep(void) { OK(nanosleep(&(struct timespec){1, 0}, NULL)); }
static void w_select(void) { EQ(OK(select(0, NULL, NULL, NULL, &(struct timeval){1, 0})), 0); }
static void w_recv(void) { char c; ERR(recv(s[0], &c, 1, 0), EAGAIN); }
static void w_futex(void)
{
    ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){1, 0}, NULL, 0), ETIMEDOUT);
}
static void w_sigtimedwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    ERR(sigtimedwait(&set, NULL, &(struct timespec){1, 0}), EAGAIN);
}
static void w_absolute(void)
{
    struct timespec ts;
    OK(clock_gettime(CLOCK_MONOTONIC, &ts));
    ts.tv_sec++;
    RET(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), 0);
}

static const struct {
    const char *name;
    void (*wait)(void);
} waits[] = {
    {"poll", w_poll},         {"epoll_wait", w_epoll}, {"nanosleep", w_nanosleep},           {"select", w_select},
    {"SO_RCVTIMEO", w_recv},  {"futex", w_futex},      {"rt_sigtimedwait", w_sigtimedwait},  {"clock_nanosleep", w_absolute},
};
enum { N = sizeof waits / sizeof *waits };

static volatile pid_t tids[N];
static volatile int over;

/* Every thread gets the ignored signal every 20 ms. */
static void *storm(void *arg)
{
    while (!over) {
        for (int i = 0; i < N; i++)
            if (tids[i])
                syscall(SYS_tgkill, getpid(), tids[i], SIGWINCH);
        sleep_ms(20);
    }
    return arg;
}

static void *measure(void *arg)
{
    int i = (int)(intptr_t)arg;
    tids[i] = gettid();
    int64_t took = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        int64_t start = now_ns(CLOCK_MONOTONIC);
        waits[i].wait();
        took = now_ns(CLOCK_MONOTONIC) - start;
        /* Sockets and poll count in milliseconds or ticks, and may be short by less than one of them. */
        if (took < 996000000)
            FAIL("%s ended after %lld ms", waits[i].name, (long long)took / 1000000);
        if (took <= 1050000000)
            return NULL;
    }
    FAIL("%s ended after %lld ms, three times too late", waits[i].name, (long long)took / 1000000);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    OK(pipe(p));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1, 0}, sizeof(struct timeval)));
    ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    pthread_t t[N], storming;
    RET(pthread_create(&storming, NULL, storm, NULL), 0);
    for (intptr_t i = 0; i < N; i++)
        RET(pthread_create(&t[i], NULL, measure, (void *)i), 0);
    for (int i = 0; i < N; i++)
        RET(pthread_join(t[i], NULL), 0);
    over = 1;
    RET(pthread_join(storming, NULL), 0);
    for (int i = 0; i < N; i++)
        ok(waits[i].name);
    return 0;
}
