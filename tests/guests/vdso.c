/* The functions of the vDSO, as libc calls them and as they are found in its ELF image: right results, clocks that never go
 * backward, while threads, handlers, children and executed programs are moved; and the image itself never changes but
 * where a function begins.
 */
#include "guest.h"
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/random.h>

static struct {
    int (*clock_gettime)(clockid_t, struct timespec *);
    int (*clock_getres)(clockid_t, struct timespec *);
    int (*gettimeofday)(struct timeval *, void *);
    time_t (*time)(time_t *);
    long (*getcpu)(unsigned *, unsigned *, void *);
    ssize_t (*getrandom)(void *, size_t, unsigned, void *, size_t);
} vdso;

static const unsigned char *image;

/* As programs without libc do: by the dynamic section. */
static void *find(const char *name)
{
    const ElfW(Ehdr) *eh = (const void *)image;
    const ElfW(Phdr) *ph = (const void *)(image + eh->e_phoff);
    const ElfW(Dyn) *dyn = NULL;
    uintptr_t bias = 0;
    for (int i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD)
            bias = (uintptr_t)image + ph[i].p_offset - ph[i].p_vaddr;
        if (ph[i].p_type == PT_DYNAMIC)
            dyn = (const void *)(image + ph[i].p_offset);
    }
    CHECK(dyn);
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    for (; dyn->d_tag != DT_NULL; dyn++) {
        if (dyn->d_tag == DT_SYMTAB)
            symbols = (const void *)(bias + dyn->d_un.d_ptr);
        if (dyn->d_tag == DT_STRTAB)
            strings = (const void *)(bias + dyn->d_un.d_ptr);
    }
    CHECK(symbols && strings && (const void *)symbols < (const void *)strings);
    /* The linker puts the one table behind the other. */
    for (const ElfW(Sym) *s = symbols; (const void *)(s + 1) <= (const void *)strings; s++)
        if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && !strcmp(strings + s->st_name, name))
            return (void *)(bias + s->st_value);
    return NULL;
}

static void look_up(void)
{
    image = (const void *)getauxval(AT_SYSINFO_EHDR);
    CHECK(image && !memcmp(image, ELFMAG, SELFMAG));
    vdso.clock_gettime = find("__vdso_clock_gettime");
    vdso.clock_getres = find("__vdso_clock_getres");
    vdso.gettimeofday = find("__vdso_gettimeofday");
    vdso.time = find("__vdso_time");
    vdso.getcpu = find("__vdso_getcpu");
    vdso.getrandom = find("__vdso_getrandom");
    CHECK(vdso.clock_gettime && vdso.gettimeofday && vdso.time && vdso.getcpu);
    /* An alias is the same function. */
    CHECK(find("clock_gettime") == (void *)vdso.clock_gettime);
}

static int64_t ns_of(const struct timespec *ts)
{
    CHECK(ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000);
    return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

/* By libc, by the vDSO itself, and by a system call in turn. */
static int64_t read_clock(clockid_t clock, unsigned how)
{
    struct timespec ts;
    if (how % 3 == 0)
        EQ(vdso.clock_gettime(clock, &ts), 0);
    else if (how % 3 == 1)
        OK(clock_gettime(clock, &ts));
    else
        OK(syscall(SYS_clock_gettime, clock, &ts));
    return ns_of(&ts);
}

static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE,
                                   CLOCK_REALTIME,  CLOCK_TAI,      CLOCK_REALTIME_COARSE};
enum { N = sizeof clocks / sizeof *clocks };

struct watch {
    int64_t last[N];
    unsigned rounds;
};

static void watch_once(struct watch *w)
{
    for (int i = 0; i < N; i++) {
        int64_t t = read_clock(clocks[i], w->rounds);
        if (t < w->last[i])
            FAIL("clock %d went back by %lld ns", clocks[i], (long long)(w->last[i] - t));
        w->last[i] = t;
    }
    w->rounds++;
}

static void results(void)
{
    struct timespec res, same;
    for (int i = 0; i < N; i++) {
        OK(syscall(SYS_clock_getres, clocks[i], &res));
        if (vdso.clock_getres) {
            EQ(vdso.clock_getres(clocks[i], &same), 0);
            EQ(ns_of(&same), ns_of(&res));
            EQ(vdso.clock_getres(clocks[i], NULL), 0);
        }
        OK(clock_getres(clocks[i], &same));
        EQ(ns_of(&same), ns_of(&res));
    }
    /* What it leaves to the kernel. */
    struct timespec ts;
    EQ(vdso.clock_gettime(9999, &ts), -EINVAL);
    EQ(vdso.clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
    CHECK(ns_of(&ts) > 0);

    struct timeval tv;
    struct {
        int west, dst;
    } zone = {77, 77};
    int64_t before = read_clock(CLOCK_REALTIME, 2) / 1000;
    EQ(vdso.gettimeofday(&tv, &zone), 0);
    int64_t usec = tv.tv_sec * 1000000LL + tv.tv_usec;
    CHECK(usec >= before && usec <= read_clock(CLOCK_REALTIME, 2) / 1000);
    CHECK(zone.west != 77 && zone.dst != 77);
    EQ(vdso.gettimeofday(NULL, NULL), 0);
    time_t stored = 0, first = vdso.time(NULL), second = vdso.time(&stored);
    EQ(stored, second);
    CHECK(second >= first && llabs(second - tv.tv_sec) <= 2);

    unsigned cpu = 1u << 20, node = 1u << 20;
    EQ(vdso.getcpu(&cpu, &node, NULL), 0);
    CHECK(cpu < 1u << 16 && node < 1u << 16);
    EQ(vdso.getcpu(NULL, NULL, NULL), 0);
    CHECK(sched_getcpu() >= 0);

    unsigned char a[256] = {0}, b[256] = {0};
    EQ(getrandom(a, sizeof a, 0), sizeof a);
    EQ(getrandom(b, sizeof b, 0), sizeof b);
    CHECK(memcmp(a, b, sizeof a));
}

/* With a state, as the vDSO asks for it. */
static void *state;
static size_t state_size;

static void random_state(void)
{
    if (!vdso.getrandom)
        return;
    struct {
        uint32_t size, prot, flags, reserved[13];
    } params;
    memset(&params, 0xff, sizeof params);
    EQ(vdso.getrandom(NULL, 0, 0, &params, ~0UL), 0);
    CHECK(params.size >= 32 && params.size <= 4096);
    EQ(params.prot, PROT_READ | PROT_WRITE);
    CHECK(params.flags & MAP_ANONYMOUS);
    for (int i = 0; i < 13; i++)
        EQ(params.reserved[i], 0);
    state_size = params.size;
    state = OK(mmap(NULL, 4096, (int)params.prot, (int)params.flags, -1, 0));
}

static void random_numbers(void)
{
    static unsigned char seen[64][32];
    static unsigned n;
    if (!vdso.getrandom)
        return;
    unsigned char *p = seen[n % 64];
    EQ(vdso.getrandom(p, 32, 0, state, state_size), 32);
    for (unsigned i = 0; i < 64 && i < n; i++)
        if (i != n % 64)
            CHECK(memcmp(seen[i], p, 32));
    n++;
    EQ(vdso.getrandom(p, 4, ~0u, state, state_size), -EINVAL);
    EQ(vdso.getrandom(p, 4, 0, state, state_size), 4);
}

/* Threads that do nothing but read clocks, and are moved in the middle of it. */
static volatile int stop;

static void *watcher(void *arg)
{
    struct watch w = {0};
    int64_t last = 0;
    while (!stop) {
        /* Mostly in the vDSO, so that moves find threads there. */
        for (int i = 0; i < 500; i++) {
            struct timespec ts;
            EQ(vdso.clock_gettime(CLOCK_MONOTONIC, &ts), 0);
            int64_t t = ns_of(&ts);
            CHECK(t >= last);
            last = t;
        }
        watch_once(&w);
        if (arg)
            results();
    }
    return NULL;
}

/* A timer that fires often, mostly while a clock is read; its handler reads clocks and stays for so long that it is moved,
 * and comes back into the middle of the function that it interrupted.
 */
static volatile sig_atomic_t handled;
static struct watch in_handler;

static void on_alarm(int sig)
{
    (void)sig;
    watch_once(&in_handler);
    struct timespec ts;
    EQ(vdso.clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    int64_t until = ns_of(&ts) + (handled % 16 == 0 ? 20000000 : 4000000);
    do
        EQ(vdso.clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    while (ns_of(&ts) < until);
    handled++;
}

static void handlers(int ms)
{
    set_handler(SIGALRM, on_alarm, SA_RESTART);
    struct itimerval every = {{0, 8000}, {0, 8000}}, none = {{0, 0}, {0, 0}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    struct watch w = {0};
    struct timespec ts;
    int64_t last = 0;
    int64_t end = read_clock(CLOCK_MONOTONIC, 2) / 1000000 + ms;
    while (last / 1000000 < end || handled < 20) {
        EQ(vdso.clock_gettime(CLOCK_MONOTONIC, &ts), 0);
        CHECK(ns_of(&ts) >= last);
        last = ns_of(&ts);
        /* Seldom: some of it is asked at home, and would take most of the time. */
        if (last % 65536 == 0)
            watch_once(&w);
    }
    OK(setitimer(ITIMER_REAL, &none, NULL));
}

/* A bad pointer faults inside: the handler comes out by a jump, or mends it and returns. */
static sigjmp_buf out;
static void *page;
static volatile int mend;
static void *volatile fault_address;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    fault_address = info->si_addr;
    /* Where it says that it was is a function of the vDSO. */
    uintptr_t rip = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    CHECK(rip - (uintptr_t)image < 64 << 10);
    if (!mend)
        siglongjmp(out, 1);
    /* Long enough to be moved meanwhile. */
    int64_t until = read_clock(CLOCK_MONOTONIC, 0) + (mend > 1 ? 120000000 : 0);
    while (read_clock(CLOCK_MONOTONIC, 0) < until)
        ;
    OK(mprotect(page, 4096, PROT_READ | PROT_WRITE));
}

static void faults(void)
{
    set_info_handler(SIGSEGV, on_fault, 0);
    page = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < 5; i++) {
        mend = 0;
        OK(mprotect(page, 4096, PROT_NONE));
        if (sigsetjmp(out, 1) == 0) {
            vdso.clock_gettime(CLOCK_MONOTONIC, page);
            FAIL("no fault");
        }
        /* Which of the two words is stored first is the kernel's affair. */
        CHECK((uintptr_t)fault_address - (uintptr_t)page < sizeof(struct timespec));
        if (sigsetjmp(out, 1) == 0) {
            vdso.time(page);
            FAIL("no fault");
        }
        mend = i < 3 ? 2 : 1;
        int64_t before = read_clock(CLOCK_MONOTONIC, 2);
        EQ(vdso.clock_gettime(CLOCK_MONOTONIC, page), 0);
        CHECK(ns_of(page) >= before - 10000000);
        OK(mprotect(page, 4096, PROT_NONE));
        unsigned *cpu = page;
        EQ(vdso.getcpu(cpu, cpu + 1, NULL), 0);
        CHECK(cpu[0] < 1u << 16);
    }
    OK(munmap(page, 4096));
    set_handler(SIGSEGV, SIG_DFL, 0);
}

/* What a program has read from the image stays true: all but the first bytes of functions. */
static unsigned char kept[64 << 10];
static size_t image_size;

static void keep_image(void)
{
    const ElfW(Ehdr) *eh = (const void *)image;
    image_size = eh->e_shoff + (size_t)eh->e_shnum * eh->e_shentsize;
    CHECK(image_size <= sizeof kept);
    memcpy(kept, image, image_size);
}

static int is_start(size_t at)
{
    void *const starts[] = {(void *)vdso.clock_gettime, (void *)vdso.clock_getres, (void *)vdso.gettimeofday,
                            (void *)vdso.time,          (void *)vdso.getcpu,       (void *)vdso.getrandom};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t start = (size_t)((const unsigned char *)starts[i] - image);
        if (starts[i] && at >= start && at < start + 16)
            return 1;
    }
    return 0;
}

static void check_image(void)
{
    for (size_t i = 0; i < image_size; i++)
        if (image[i] != kept[i] && !is_start(i))
            FAIL("byte %zu of the vDSO's image is another", i);
    CHECK((const unsigned char *)getauxval(AT_SYSINFO_EHDR) == image);
}

/* Nobody else's memory comes to be where the vDSO's data is. */
static void neighbours(void)
{
    void *p = mmap((void *)(image - 4096), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(p == MAP_FAILED && errno == EEXIST);
    p = mmap((void *)image, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(p == MAP_FAILED && errno == EEXIST);
}

/* Where a body is likely to keep its own things there is nothing for the program. */
static void over_others(void)
{
    for (uintptr_t at = 0x3f0000000000; at < 0x3f0000010000; at += 4096) {
        char *p = OK(mmap((void *)at, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
        p[0] = 1;
        p[4096] = 2;
        results();
        EQ(p[0] + p[4096], 3);
        if (at % 0x4000 == 0) {
            char *q = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            q[0] = 9;
            CHECK(mremap(q, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
            EQ(p[0] + p[4096], 11);
            results();
        }
        OK(munmap(p, 8192));
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    look_up();
    struct watch w = {0};
    if (argc > 1) {
        /* Executed, with a vDSO somewhere else. */
        w.last[0] = atoll(argv[1]);
        for (int i = 0; i < 2000; i++)
            watch_once(&w);
        results();
        return 0;
    }
    keep_image();
    results();
    random_state();
    for (int i = 0; i < 50; i++)
        random_numbers();
    ok("results");

    pthread_t threads[3];
    for (intptr_t i = 0; i < 3; i++)
        RET(pthread_create(&threads[i], NULL, watcher, (void *)(intptr_t)(i == 2)), 0);
    for (int64_t end = now_ms() + 900; now_ms() < end;) {
        watch_once(&w);
        random_numbers();
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        RET(pthread_join(threads[i], NULL), 0);
    ok("threads");

    handlers(1500);
    ok("handlers");
    faults();
    ok("faults");

    for (int i = 0; i < 3; i++)
        IN_CHILD({
            for (int k = 0; k < 3000; k++)
                watch_once(&w);
            results();
            random_numbers();
            check_image();
            IN_CHILD({
                watch_once(&w);
                char text[24];
                snprintf(text, sizeof text, "%lld", (long long)w.last[0]);
                execl("/proc/self/exe", "vdso", text, (char *)NULL);
                FAIL("execl");
            });
        });
    ok("children and programs");

    check_image();
    neighbours();
    ok("the image");
    over_others();
    watch_once(&w);
    ok("mappings elsewhere");
    return 0;
}
