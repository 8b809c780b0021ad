/* No clock ever goes backward, and they agree with each other. */
#include "guest.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <sys/timex.h>

static const struct {
    clockid_t id;
    const char *name;
} clocks[] = {
    {CLOCK_MONOTONIC, "CLOCK_MONOTONIC"},
    {CLOCK_BOOTTIME, "CLOCK_BOOTTIME"},
    {CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"},
    {CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"},
    {CLOCK_PROCESS_CPUTIME_ID, "CLOCK_PROCESS_CPUTIME_ID"},
    {CLOCK_THREAD_CPUTIME_ID, "CLOCK_THREAD_CPUTIME_ID"},
    {CLOCK_REALTIME, "CLOCK_REALTIME"},
    {CLOCK_REALTIME_COARSE, "CLOCK_REALTIME_COARSE"},
    {CLOCK_TAI, "CLOCK_TAI"},
};
enum { N = sizeof clocks / sizeof *clocks };

static int64_t raw_ns(clockid_t clock)
{
    struct timespec ts;
    OK(syscall(SYS_clock_gettime, clock, &ts));
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Through the vDSO and through the system call in turn. */
static void *watch(void *arg)
{
    int64_t last[N] = {0};
    int64_t end = now_ms() + (intptr_t)arg;
    for (long round = 0; now_ms() < end; round++)
        for (int i = 0; i < N; i++) {
            int cpu = clocks[i].id == CLOCK_PROCESS_CPUTIME_ID || clocks[i].id == CLOCK_THREAD_CPUTIME_ID;
            if (cpu && moves())
                continue;
            int64_t t = round % 8 == 0 ? raw_ns(clocks[i].id) : now_ns(clocks[i].id);
            if (t < last[i])
                FAIL("%s went back by %lld ns", clocks[i].name, (long long)(last[i] - t));
            last[i] = t;
        }
    return NULL;
}

static int64_t us_of(const struct rusage *ru)
{
    return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000LL + ru->ru_utime.tv_usec + ru->ru_stime.tv_usec;
}

static int64_t usage_us(int who)
{
    struct rusage ru;
    OK(getrusage(who, &ru));
    return us_of(&ru);
}

static void burn_ms(int ms)
{
    int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000LL;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
        ;
}

static void cpu_time_of_children(void)
{
    struct tms first, then;
    OK(times(&first));
    int64_t before = usage_us(RUSAGE_CHILDREN);
    int status;
    siginfo_t info;
    struct rusage ru;

    /* A grandchild's time is its parent's when that has waited, and then ours. */
    pid_t pid = OK(fork());
    if (pid == 0) {
        EQ(usage_us(RUSAGE_CHILDREN), 0);
        pid_t inner = OK(fork());
        if (inner == 0) {
            burn_ms(60);
            _exit(0);
        }
        reap(inner, 0);
        CHECK(usage_us(RUSAGE_CHILDREN) >= 60000);
        burn_ms(30);
        _exit(0);
    }
    OK(syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOWAIT, &ru));
    CHECK(us_of(&ru) >= 90000);
    EQ(usage_us(RUSAGE_CHILDREN), before);
    OK(syscall(SYS_waitid, P_ALL, 0, &info, WEXITED, &ru));
    EQ(info.si_pid, pid);
    CHECK(us_of(&ru) >= 90000);
    int64_t after = usage_us(RUSAGE_CHILDREN);
    CHECK(after - before >= 89000);
    ERR(wait4(pid, &status, 0, &ru), ECHILD);
    EQ(usage_us(RUSAGE_CHILDREN), after);
    OK(times(&then));
    CHECK(then.tms_cutime + then.tms_cstime - first.tms_cutime - first.tms_cstime >= 6);
    ok("a grandchild's CPU time, WNOWAIT");

    /* Nobody asks what it used, or how it ended. */
    pid = OK(fork());
    if (pid == 0) {
        burn_ms(40);
        _exit(0);
    }
    EQ(OK(syscall(SYS_wait4, -1, NULL, 0, NULL)), pid);
    CHECK(usage_us(RUSAGE_CHILDREN) - after >= 39000);
    after = usage_us(RUSAGE_CHILDREN);
    pid = OK(fork());
    if (pid == 0) {
        burn_ms(40);
        _exit(0);
    }
    OK(syscall(SYS_waitid, P_PID, pid, NULL, WEXITED, NULL));
    CHECK(usage_us(RUSAGE_CHILDREN) - after >= 39000);
    ok("CPU time of children that are waited for in silence");

    /* A stopped child tells what it has used, and goes on. What is on its way to us counts only at its end. */
    after = usage_us(RUSAGE_CHILDREN);
    pid = OK(fork());
    if (pid == 0) {
        burn_ms(20);
        raise(SIGSTOP);
        burn_ms(20);
        _exit(0);
    }
    EQ(OK(wait4(pid, &status, WUNTRACED, &ru)), pid);
    CHECK(WIFSTOPPED(status));
    EQ(usage_us(RUSAGE_CHILDREN), after);
    OK(kill(pid, SIGCONT));
    EQ(OK(wait4(pid, &status, 0, &ru)), pid);
    CHECK(us_of(&ru) >= 40000);
    CHECK(usage_us(RUSAGE_CHILDREN) - after >= 39000);
    ok("CPU time of a child that stops");
}

/* What a process knows of its CPU time, and the next program in it must not fall behind. */
enum { PROCESS, THREAD, SELF, CHILDREN, TICKS, CHILDREN_TICKS, TIMES };

static void look(int64_t used[TIMES])
{
    struct tms tms;
    OK(times(&tms));
    used[TICKS] = tms.tms_utime + tms.tms_stime;
    used[CHILDREN_TICKS] = tms.tms_cutime + tms.tms_cstime;
    used[CHILDREN] = usage_us(RUSAGE_CHILDREN);
    used[SELF] = usage_us(RUSAGE_SELF);
    used[THREAD] = now_ns(CLOCK_THREAD_CPUTIME_ID);
    used[PROCESS] = now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void run_again(int round)
{
    int64_t used[TIMES];
    look(used);
    char text[TIMES + 1][24], *args[TIMES + 3] = {"clocks"};
    snprintf(text[TIMES], sizeof text[0], "%d", round);
    args[1] = text[TIMES];
    for (int i = 0; i < TIMES; i++) {
        snprintf(text[i], sizeof text[i], "%lld", (long long)used[i]);
        args[2 + i] = text[i];
    }
    execv("/proc/self/exe", args);
    FAIL("execv");
}

static void go_on(char **args)
{
    int64_t used[TIMES];
    look(used);
    for (int i = 0; i < TIMES; i++) {
        int64_t before = atoll(args[1 + i]);
        if (used[i] < before)
            FAIL("time %d went back by %lld", i, (long long)(before - used[i]));
    }
    CHECK(used[PROCESS] >= 60000000);
    CHECK(used[CHILDREN] >= 30000);
    clockid_t own;
    RET(clock_getcpuclockid(getpid(), &own), 0);
    CHECK(now_ns(own) >= used[PROCESS]);
    RET(pthread_getcpuclockid(pthread_self(), &own), 0);
    CHECK(now_ns(own) >= used[THREAD]);
    int round = atoi(args[0]);
    if (round < 2)
        run_again(round + 1);
    _exit(0);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > TIMES + 1)
        go_on(argv + 1);
    pthread_t t;
    RET(pthread_create(&t, NULL, watch, (void *)800), 0);
    watch((void *)800);
    RET(pthread_join(t, NULL), 0);
    ok("nine clocks, two threads");

    struct timeval tv;
    int64_t before = now_ns(CLOCK_REALTIME);
    OK(gettimeofday(&tv, NULL));
    int64_t after = now_ns(CLOCK_REALTIME);
    int64_t usec = tv.tv_sec * 1000000LL + tv.tv_usec;
    CHECK(usec >= before / 1000 && usec <= after / 1000);
    time_t seconds = time(NULL);
    CHECK(seconds >= before / 1000000000 - 1 && seconds <= after / 1000000000 + 1);
    /* Boot time is ahead of monotonic time by the time slept, which does not change here. */
    int64_t m1 = now_ns(CLOCK_MONOTONIC), b = now_ns(CLOCK_BOOTTIME), m2 = now_ns(CLOCK_MONOTONIC);
    CHECK(b >= m1);
    sleep_ms(50);
    int64_t gap = b - (m1 + m2) / 2;
    m1 = now_ns(CLOCK_MONOTONIC), b = now_ns(CLOCK_BOOTTIME), m2 = now_ns(CLOCK_MONOTONIC);
    CHECK(llabs(b - (m1 + m2) / 2 - gap) < 100000000);
    ok("clocks agree");

    /* A child's clocks go on from its parent's, in a program that was executed as well. */
    int64_t mine = now_ns(CLOCK_MONOTONIC);
    IN_CHILD({
        CHECK(now_ns(CLOCK_MONOTONIC) >= mine);
        CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) < 1000000000);
    });
    ok("a child's clocks");
    if (moves())
        return 0;

    int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    volatile unsigned x = 0;
    int64_t wall = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 50000000)
        x++;
    CHECK(now_ns(CLOCK_MONOTONIC) - wall >= 49000000);
    struct rusage ru;
    OK(getrusage(RUSAGE_SELF, &ru));
    int64_t used = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000LL + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
    CHECK(used >= 50000);
    CHECK(llabs(used * 1000 - now_ns(CLOCK_PROCESS_CPUTIME_ID)) < 100000000);
    struct tms tms;
    OK(times(&tms));
    CHECK(tms.tms_utime + tms.tms_stime >= 4);
    CHECK(clock() >= 50000);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(50);
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 40000000);
    ok("CPU time is counted, sleep is not");

    IN_CHILD({
        CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) < 50000000);
        burn_ms(60);
        IN_CHILD(burn_ms(30));
        run_again(0);
    });
    ok("CPU time over exec");

    cpu_time_of_children();

    /* What shows this process brings it home if it is away, where another kernel counts. When it leaves again, its
     * clocks go on from where they stood: with one step, not by catching up. */
    burn_ms(200);
    int64_t stood = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    char line[64];
    int fd = (int)OK(open("/proc/self/status", O_RDONLY));
    CHECK(read(fd, line, sizeof line) > 0);
    close(fd);
    int64_t last = stood, now;
    while ((now = now_ns(CLOCK_PROCESS_CPUTIME_ID)) < stood) {
        last = now;
        for (int64_t end = now_ms() + 5; now_ms() < end;)
            ;
    }
    CHECK(last == stood || now - last > 50000000);
    ok("CPU time over moves");
    struct timespec res;
    for (int i = 0; i < N; i++) {
        OK(clock_getres(clocks[i].id, &res));
        CHECK(res.tv_sec == 0 && res.tv_nsec >= 1);
    }
    ERR(clock_gettime(9999, &res), EINVAL);
    ok("resolutions");
    return 0;
}
