/* Interval timers, POSIX timers, timerfd, alarm, sleeps: never early, counted right, inherited or not as they should be. */
#include "guest.h"
#include <pthread.h>
#include <sys/timerfd.h>

static volatile sig_atomic_t ticks;
static volatile siginfo_t last;

static void tick(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    last = *info;
    ticks++;
}

static void interval_timers(void)
{
    set_info_handler(SIGALRM, tick, 0);
    struct itimerval it = {{0, 5000}, {0, 5000}}, old;
    int64_t start = now_ms();
    OK(setitimer(ITIMER_REAL, &it, NULL));
    while (ticks < 10)
        pause();
    CHECK(now_ms() - start >= 49);
    OK(getitimer(ITIMER_REAL, &old));
    EQ(old.it_interval.tv_usec, 5000);
    CHECK(old.it_value.tv_usec <= 5000);
    memset(&it, 0, sizeof it);
    OK(setitimer(ITIMER_REAL, &it, &old));
    EQ(old.it_interval.tv_usec, 5000);
    EQ(last.si_code, SI_KERNEL);
    ok("ITIMER_REAL");

    set_info_handler(SIGVTALRM, tick, 0);
    set_info_handler(SIGPROF, tick, 0);
    ticks = 0;
    it.it_value.tv_usec = 40000;
    OK(setitimer(ITIMER_VIRTUAL, &it, NULL));
    start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (ticks == 0)
        ;
    /* These two count in scheduler ticks, so half is as exact as it gets. */
    CHECK(moves() || now_ns(CLOCK_PROCESS_CPUTIME_ID) - start >= 20000000);
    ticks = 0;
    OK(setitimer(ITIMER_PROF, &it, NULL));
    while (ticks == 0)
        ;
    EQ(ticks, 1);
    ok("ITIMER_VIRTUAL, ITIMER_PROF");

    ticks = 0;
    EQ(alarm(100), 0);
    CHECK(alarm(0) >= 99);
    /* However long it takes to make a child, the signal comes to be waited for. */
    sigset_t block, without;
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    OK(sigprocmask(SIG_BLOCK, &block, &without));
    alarm(1);
    IN_CHILD(EQ(alarm(0), 0));
    ERR(sigsuspend(&without), EINTR);
    EQ(ticks, 1);
    OK(sigprocmask(SIG_SETMASK, &without, NULL));
    ok("alarm; a child has none");

    /* exec keeps an interval timer: sh dies of the default action. */
    pid_t pid = OK(fork());
    if (pid == 0) {
        it.it_value.tv_usec = 100000;
        OK(setitimer(ITIMER_REAL, &it, NULL));
        execl("/bin/sleep", "sleep", "20", (char *)NULL);
        _exit(99);
    }
    reap(pid, KILLED(SIGALRM));
    ok("exec keeps ITIMER_REAL");
}

static volatile int called;

static void in_thread(union sigval value)
{
    __atomic_store_n(&called, value.sival_int, __ATOMIC_SEQ_CST);
}

static void posix_timers(void)
{
    set_info_handler(SIGRTMIN + 1, tick, 0);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    ev.sigev_value.sival_int = 4711;
    const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        timer_t id;
        OK(timer_create(clocks[i], &ev, &id));
        ticks = 0;
        struct itimerspec its = {{0, 4000000}, {0, 4000000}};
        int64_t start = now_ns(CLOCK_MONOTONIC);
        OK(timer_settime(id, 0, &its, NULL));
        while (ticks < 5)
            pause();
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 19900000);
        EQ(last.si_code, SI_TIMER);
        EQ(last.si_value.sival_int, 4711);
        OK(timer_gettime(id, &its));
        EQ(its.it_interval.tv_nsec, 4000000);
        OK(timer_delete(id));
        ERR(timer_delete(id), EINVAL);
    }
    ok("timer_create with a signal");

    timer_t id;
    OK(timer_create(CLOCK_MONOTONIC, &ev, &id));
    mask_signal(SIG_BLOCK, SIGRTMIN + 1);
    ticks = 0;
    struct itimerspec its = {{0, 1000000}, {0, 1000000}};
    OK(timer_settime(id, 0, &its, NULL));
    sleep_ms(30);
    mask_signal(SIG_UNBLOCK, SIGRTMIN + 1);
    CHECK(ticks >= 1);
    OK(timer_delete(id));
    ok("overruns are one signal");
    mask_signal(SIG_BLOCK, SIGRTMIN + 1);
    OK(timer_create(CLOCK_MONOTONIC, &ev, &id));
    OK(timer_settime(id, 0, &its, NULL));
    sleep_ms(30);
    siginfo_t info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    int64_t began = now_ms();
    /* One signal that stands for many; a few more of them where the timer's process moved meanwhile. */
    for (int expired = 0; expired < 20; expired += 1 + info.si_overrun) {
        EQ(sigwaitinfo(&set, &info), SIGRTMIN + 1);
        if (!moves())
            EQ(timer_getoverrun(id), info.si_overrun);
    }
    CHECK(now_ms() - began < 200);
    OK(timer_delete(id));
    ok("timer_getoverrun");

    ev = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_thread};
    ev.sigev_value.sival_int = 99;
    OK(timer_create(CLOCK_MONOTONIC, &ev, &id));
    its = (struct itimerspec){{0, 0}, {0, 5000000}};
    OK(timer_settime(id, 0, &its, NULL));
    while (__atomic_load_n(&called, __ATOMIC_SEQ_CST) != 99)
        sched_yield();
    OK(timer_delete(id));
    ok("SIGEV_THREAD");

    ev = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    mask_signal(SIG_UNBLOCK, SIGRTMIN + 1);
    OK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &ev, &id));
    ticks = 0;
    its = (struct itimerspec){{0, 0}, {0, 20000000}};
    OK(timer_settime(id, 0, &its, NULL));
    int64_t start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (ticks == 0)
        ;
    CHECK(moves() || now_ns(CLOCK_PROCESS_CPUTIME_ID) - start >= 19000000);
    OK(timer_delete(id));
    ok("a timer on CPU time");

    /* An absolute time in the past fires at once. */
    OK(timer_create(CLOCK_MONOTONIC, &ev, &id));
    ticks = 0;
    its = (struct itimerspec){{0, 0}, {0, 1}};
    OK(timer_settime(id, TIMER_ABSTIME, &its, NULL));
    while (ticks == 0)
        sched_yield();
    OK(timer_delete(id));
    ok("an absolute time in the past");
}

static void timer_fds(void)
{
    int fd = OK(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    uint64_t n;
    ERR(read(fd, &n, sizeof n), EAGAIN);
    struct itimerspec its = {{0, 5000000}, {0, 5000000}}, got;
    OK(timerfd_settime(fd, 0, &its, NULL));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    uint64_t sum = 0;
    while (sum < 10) {
        struct pollfd p = {fd, POLLIN, 0};
        EQ(OK(poll(&p, 1, 5000)), 1);
        EQ(OK(read(fd, &n, sizeof n)), 8);
        sum += n;
    }
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 49000000);
    OK(timerfd_gettime(fd, &got));
    EQ(got.it_interval.tv_nsec, 5000000);
    ERR(read(fd, &n, 4), EINVAL);
    sleep_ms(30);
    EQ(OK(read(fd, &n, sizeof n)), 8);
    CHECK(n >= 5);
    struct timespec now;
    OK(clock_gettime(CLOCK_MONOTONIC, &now));
    its = (struct itimerspec){{0, 0}, {now.tv_sec, now.tv_nsec}};
    OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL));
    EQ(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 1000), 1);
    close(fd);
    ok("timerfd");
}

/* A signal that a handler takes ends these waits, however close to it the process moves. */
static void waits_for_signals(void)
{
    sigset_t block, without;
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    set_info_handler(SIGALRM, tick, SA_RESTART);
    OK(sigprocmask(SIG_BLOCK, &block, &without));
    for (int i = 0; i < 40; i++) {
        ticks = 0;
        struct itimerval it = {{0, 0}, {0, 15000}};
        OK(setitimer(ITIMER_REAL, &it, NULL));
        if (i % 2)
            ERR(sigsuspend(&without), EINTR);
        else
            ERR(ppoll(NULL, 0, NULL, &without), EINTR);
        EQ(ticks, 1);
    }
    OK(sigprocmask(SIG_SETMASK, &without, NULL));
    ok("waits end by a handler");
}

static void sleeps(void)
{
    for (int i = 0; i < 10; i++) {
        int64_t start = now_ns(CLOCK_MONOTONIC);
        struct timespec ts = {0, 10000000};
        OK(nanosleep(&ts, NULL));
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10000000);
        /* What remains is written where the time stands. */
        start = now_ns(CLOCK_MONOTONIC);
        OK(nanosleep(&ts, &ts));
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10000000);
        ts = (struct timespec){0, 10000000};
        start = now_ns(CLOCK_MONOTONIC);
        RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts), 0);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10000000);
        const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI};
        for (int c = 0; c < 4; c++) {
            struct timespec until;
            OK(clock_gettime(clocks[c], &until));
            until.tv_nsec += 3000000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
            }
            RET(clock_nanosleep(clocks[c], TIMER_ABSTIME, &until, NULL), 0);
            CHECK(now_ns(clocks[c]) >= until.tv_sec * 1000000000LL + until.tv_nsec);
        }
    }
    ERR(nanosleep(&(struct timespec){0, 1000000000}, NULL), EINVAL);
    ERR(nanosleep(&(struct timespec){-1, 0}, NULL), EINVAL);
    RET(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 1}, NULL), EINVAL);
    int64_t start = now_ms();
    EQ(poll(NULL, 0, 20), 0);
    CHECK(now_ms() - start >= 20);
    ok("sleeps are never short");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    interval_timers();
    posix_timers();
    timer_fds();
    waits_for_signals();
    sleeps();
    return 0;
}
