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
            int64_t t = round % 8 == 0 ? raw_ns(clocks[i].id) : now_ns(clocks[i].id);
            if (t < last[i])
                FAIL("%s went back by %lld ns", clocks[i].name, (long long)(last[i] - t));
            last[i] = t;
        }
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
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
    struct timespec res;
    for (int i = 0; i < N; i++) {
        OK(clock_getres(clocks[i].id, &res));
        CHECK(res.tv_sec == 0 && res.tv_nsec >= 1);
    }
    ERR(clock_gettime(9999, &res), EINVAL);
    ok("resolutions");
    return 0;
}
