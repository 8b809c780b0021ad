/* Delivery: order, queueing, siginfo, alternate stacks, nesting, faults. */
#include "guest.h"
#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>

static volatile int order[64], values[64];
static volatile sig_atomic_t count;

static void record(int sig, siginfo_t *info, void *context)
{
    (void)context;
    order[count] = sig;
    values[count] = info->si_code == SI_QUEUE ? info->si_value.sival_int : -info->si_code;
    count++;
}

static void queueing(void)
{
    sigset_t all, old;
    sigfillset(&all);
    OK(sigprocmask(SIG_BLOCK, &all, &old));
    for (int s = SIGRTMIN; s <= SIGRTMIN + 3; s++)
        set_info_handler(s, record, 0);
    set_info_handler(SIGUSR1, record, 0);
    set_info_handler(SIGUSR2, record, 0);
    count = 0;
    for (int i = 0; i < 5; i++)
        for (int s = SIGRTMIN + 3; s >= SIGRTMIN; s--)
            OK(sigqueue(getpid(), s, (union sigval){.sival_int = i * 100 + s - SIGRTMIN}));
    for (int i = 0; i < 3; i++)
        OK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 7 + i}));
    OK(kill(getpid(), SIGUSR1));
    /* All handlers run one after the other because each is called with every signal let in: nested, last first. */
    struct sigaction sa;
    for (int s = SIGRTMIN; s <= SIGRTMIN + 3; s++) {
        OK(sigaction(s, NULL, &sa));
        sigfillset(&sa.sa_mask);
        OK(sigaction(s, &sa, NULL));
    }
    for (int s = SIGUSR1; s <= SIGUSR2; s += SIGUSR2 - SIGUSR1) {
        OK(sigaction(s, NULL, &sa));
        sigfillset(&sa.sa_mask);
        OK(sigaction(s, &sa, NULL));
    }
    OK(sigprocmask(SIG_SETMASK, &old, NULL));
    /* Standard signals come first and once; real-time ones by number, each in the order sent. */
    EQ(count, 22);
    EQ(order[0], SIGUSR1);
    EQ(order[1], SIGUSR2);
    EQ(values[1], 7);
    int at = 2;
    for (int s = SIGRTMIN; s <= SIGRTMIN + 3; s++)
        for (int i = 0; i < 5; i++, at++) {
            EQ(order[at], s);
            EQ(values[at], i * 100 + s - SIGRTMIN);
        }
    ok("order and values of queued signals");
}

/* Volatile: gcc takes kill and syscall for leaf functions, which cannot change what a handler changes. */
static volatile siginfo_t seen;

static void keep_info(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    seen = *info;
    count++;
}

static void origins(void)
{
    set_info_handler(SIGUSR1, keep_info, 0);
    count = 0;
    OK(kill(getpid(), SIGUSR1));
    EQ(count, 1);
    EQ(seen.si_code, SI_USER);
    EQ(seen.si_pid, getpid());
    EQ(seen.si_uid, getuid());
    OK(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
    EQ(seen.si_code, SI_TKILL);
    EQ(seen.si_pid, getpid());
    pid_t child = OK(fork());
    if (child == 0) {
        OK(sigqueue(getppid(), SIGUSR1, (union sigval){.sival_ptr = (void *)0x123456789abcULL}));
        _exit(0);
    }
    while (count < 3)
        pause();
    EQ(seen.si_code, SI_QUEUE);
    EQ(seen.si_pid, child);
    EQ((uintptr_t)seen.si_value.sival_ptr, 0x123456789abcULL);
    reap(child, 0);
    ERR(kill(getpid(), 65), EINVAL);
    ERR(kill(0x3ffffff, SIGUSR1), ESRCH);
    ERR(syscall(SYS_tgkill, getpid(), 0x3ffffff, SIGUSR1), ESRCH);
    OK(kill(getpid(), 0));
    ok("siginfo of kill, tgkill and sigqueue");

    /* sigwaitinfo and sigtimedwait give the same. */
    mask_signal(SIG_BLOCK, SIGUSR1);
    mask_signal(SIG_BLOCK, SIGRTMIN + 5);
    OK(sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = 11}));
    OK(kill(getpid(), SIGUSR1));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 5);
    siginfo_t info;
    EQ(sigwaitinfo(&set, &info), SIGUSR1);
    EQ(info.si_code, SI_USER);
    struct timespec zero = {0, 0}, some = {0, 20000000};
    EQ(sigtimedwait(&set, &info, &zero), SIGRTMIN + 5);
    EQ(info.si_value.sival_int, 11);
    ERR(sigtimedwait(&set, &info, &zero), EAGAIN);
    int64_t start = now_ms();
    ERR(sigtimedwait(&set, &info, &some), EAGAIN);
    CHECK(now_ms() - start >= 19);
    mask_signal(SIG_UNBLOCK, SIGUSR1);
    ok("sigwaitinfo, sigtimedwait");
}

static char alternate[64 << 10];
static volatile sig_atomic_t on_alternate;
static sigjmp_buf back;

static void check_stack(int sig)
{
    (void)sig;
    char here;
    on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
    stack_t ss;
    OK(sigaltstack(NULL, &ss));
    if (on_alternate) {
        EQ(ss.ss_flags & SS_ONSTACK, SS_ONSTACK);
        ERR(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), EPERM);
    }
}

static void leave_overflow(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    check_stack(sig);
    CHECK(info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR);
    siglongjmp(back, 1);
}

__attribute__((noinline)) static int overflow(int n)
{
    volatile char big[4096];
    big[0] = (char)n;
    return n == 0x7fffffff ? 0 : overflow(n + 1) + big[0];
}

static void stacks(void)
{
    stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    OK(sigaltstack(&ss, NULL));
    set_handler(SIGUSR2, check_stack, SA_ONSTACK);
    raise(SIGUSR2);
    EQ(on_alternate, 1);
    set_handler(SIGUSR2, check_stack, 0);
    raise(SIGUSR2);
    EQ(on_alternate, 0);
    set_info_handler(SIGSEGV, leave_overflow, SA_ONSTACK);
    if (sigsetjmp(back, 1) == 0) {
        overflow(0);
        FAIL("the stack has no end");
    }
    EQ(on_alternate, 1);
    OK(sigaltstack(NULL, &old));
    CHECK(old.ss_sp == alternate && old.ss_size == sizeof alternate && old.ss_flags == 0);
    ERR(sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = 16}, NULL), ENOMEM);
    IN_CHILD({
        OK(sigaltstack(NULL, &old));
        CHECK(old.ss_sp == alternate);
    });
    OK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
    ok("sigaltstack, stack overflow");
}

static volatile sig_atomic_t depth, deepest, raises;

static void nest(int sig)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (raises-- > 0)
        raise(sig);
    depth--;
}

static void flags(void)
{
    set_handler(SIGUSR1, nest, SA_NODEFER);
    raises = 4;
    raise(SIGUSR1);
    EQ(deepest, 5);
    EQ(raises, -1);
    /* Without SA_NODEFER the second waits until the first has returned. */
    deepest = 0;
    raises = 4;
    set_handler(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    EQ(deepest, 1);
    EQ(raises, -1);
    ok("SA_NODEFER");
    set_handler(SIGUSR1, nest, (int)SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction sa;
    OK(sigaction(SIGUSR1, NULL, &sa));
    CHECK(sa.sa_handler == SIG_DFL);
    ERR(sigaction(SIGKILL, &sa, NULL), EINVAL);
    ERR(sigaction(SIGSTOP, &sa, NULL), EINVAL);
    sigset_t all, now;
    sigfillset(&all);
    OK(sigprocmask(SIG_SETMASK, &all, NULL));
    OK(sigprocmask(SIG_SETMASK, NULL, &now));
    CHECK(sigismember(&now, SIGKILL) == 0 && sigismember(&now, SIGSTOP) == 0 && sigismember(&now, SIGTERM) == 1);
    sigemptyset(&all);
    OK(sigprocmask(SIG_SETMASK, &all, NULL));
    ok("SA_RESETHAND, what cannot be caught or blocked");
}

static void *volatile fault_address;
static volatile int fault_code, fault_signal;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = sig;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(back, 1);
}

static void skip_ud2(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    EQ(sig, SIGILL);
    CHECK((uintptr_t)info->si_addr == (uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);
    uc->uc_mcontext.gregs[REG_RIP] += 2;
    uc->uc_mcontext.gregs[REG_RBX] = 0x1234;
}

#define FAULTS(body, sig, code, addr)                                                                                  \
    do {                                                                                                               \
        if (sigsetjmp(back, 1) == 0) {                                                                                 \
            body;                                                                                                      \
            FAIL("no fault: %s", #body);                                                                               \
        }                                                                                                              \
        EQ(fault_signal, sig);                                                                                         \
        EQ(fault_code, code);                                                                                          \
        if ((void *)(addr) != NULL)                                                                                    \
            EQ((uintptr_t)fault_address, (uintptr_t)(addr));                                                           \
    } while (0)

static void faults(void)
{
    char *none = OK(mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    char *read_only = OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    set_info_handler(SIGSEGV, on_fault, 0);
    set_info_handler(SIGFPE, on_fault, 0);
    set_info_handler(SIGTRAP, on_fault, 0);
    set_info_handler(SIGBUS, on_fault, 0);
    for (int i = 0; i < 20; i++) {
        FAULTS(*(volatile char *)(none + 5) = 1, SIGSEGV, SEGV_ACCERR, none + 5);
        FAULTS(*(volatile char *)(read_only + 7) = 1, SIGSEGV, SEGV_ACCERR, read_only + 7);
        FAULTS(*(volatile char *)bad_pointer, SIGSEGV, SEGV_MAPERR, 8);
        FAULTS(((void (*)(void))read_only)(), SIGSEGV, SEGV_ACCERR, read_only);
        FAULTS(__asm__ volatile("xorl %%ecx,%%ecx; movl $1,%%eax; cltd; idivl %%ecx" ::: "eax", "ecx", "edx"), SIGFPE,
               FPE_INTDIV, 0);
        FAULTS(__asm__ volatile("int3"), SIGTRAP, SI_KERNEL, 0);
        FAULTS(__asm__ volatile("hlt"), SIGSEGV, SI_KERNEL, 0);
        FAULTS(__asm__ volatile("movq (%0), %%rax" ::"r"(0x8000000000000000ULL) : "rax"), SIGSEGV, SI_KERNEL, 0);
    }
    ok("siginfo of faults");
    set_info_handler(SIGILL, skip_ud2, 0);
    uint64_t rbx = 0;
    __asm__ volatile("ud2; movq %%rbx, %0" : "=r"(rbx) : : "rbx");
    EQ(rbx, 0x1234);
    ok("a handler changes registers");
    munmap(none, 8192);
    munmap(read_only, 4096);
}

static volatile sig_atomic_t per_thread[4];
static __thread int my_index;
static int ready;

static void count_in_thread(int sig)
{
    (void)sig;
    per_thread[my_index]++;
}

static void *receive(void *arg)
{
    my_index = (int)(intptr_t)arg;
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (per_thread[my_index] < 200)
        sched_yield();
    return NULL;
}

static void threads(void)
{
    pthread_t t[4];
    set_handler(SIGUSR1, count_in_thread, 0);
    my_index = 0;
    for (int i = 1; i < 4; i++)
        RET(pthread_create(&t[i], NULL, receive, (void *)(intptr_t)i), 0);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 3)
        sched_yield();
    for (int i = 1; i < 4; i++) {
        for (int n = 1; n <= 200; n++) {
            RET(pthread_kill(t[i], SIGUSR1), 0);
            while (per_thread[i] < n)
                sched_yield();
        }
    }
    for (int i = 1; i < 4; i++) {
        RET(pthread_join(t[i], NULL), 0);
        EQ(per_thread[i], 200);
    }
    EQ(per_thread[0], 0);
    ok("signals to one thread");

    /* A process-directed signal goes to a thread that does not block it. */
    mask_signal(SIG_BLOCK, SIGUSR1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    RET(pthread_create(&t[1], NULL, receive, (void *)1), 0);
    RET(pthread_join(t[1], NULL), 0);
    OK(kill(getpid(), SIGUSR1));
    int sig;
    RET(sigwait(&set, &sig), 0);
    EQ(sig, SIGUSR1);
    mask_signal(SIG_UNBLOCK, SIGUSR1);
    ok("a signal for the process");
}

/* What is refused changes nothing, here or anywhere else. */
static void refused(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    const int fixed[] = {SIGKILL, SIGSTOP};
    for (int i = 0; i < 2; i++) {
        ERR(syscall(SYS_rt_sigaction, fixed[i], &ignore, NULL, 8), EINVAL);
        OK(syscall(SYS_rt_sigaction, fixed[i], NULL, &ignore, 8));
        EQ(ignore.sa_handler, SIG_DFL);
        ignore.sa_handler = SIG_IGN;
    }
    ERR(syscall(SYS_rt_sigaction, SIGUSR2, &ignore, NULL, 4), EINVAL);
    ERR(syscall(SYS_rt_sigaction, 65, &ignore, NULL, 8), EINVAL);
    pid_t child = OK(fork());
    if (child == 0) {
        OK(setpgid(0, 0));
        syscall(SYS_rt_sigaction, SIGKILL, &ignore, NULL, 8);
        OK(kill(0, SIGKILL));
        _exit(1);
    }
    reap(child, KILLED(SIGKILL));
    child = OK(fork());
    if (child == 0) {
        signal(SIGUSR2, SIG_DFL);
        syscall(SYS_rt_sigaction, SIGUSR2, &ignore, NULL, 4);
        raise(SIGUSR2);
        _exit(1);
    }
    reap(child, KILLED(SIGUSR2));
    ok("actions that are refused");
}

static volatile sig_atomic_t changes_seen;

static void on_change(int sig)
{
    (void)sig;
    changes_seen++;
}

/* An action counts from the moment it is set, however often it changes and whatever is called between. */
static void changing(void)
{
    sigset_t block, without;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    for (int i = 0; i < 20; i++) {
        changes_seen = 0;
        signal(SIGUSR1, SIG_IGN);
        pid_t child = OK(fork());
        if (child == 0) {
            OK(kill(getppid(), SIGUSR1));
            _exit(0);
        }
        reap(child, 0);
        OK(sigprocmask(SIG_BLOCK, &block, &without));
        set_handler(SIGUSR1, on_change, 0);
        child = OK(fork());
        if (child == 0) {
            until_asleep(getppid());
            OK(kill(getppid(), SIGUSR1));
            _exit(0);
        }
        ERR(sigsuspend(&without), EINTR);
        EQ(changes_seen, 1);
        reap(child, 0);
        OK(sigprocmask(SIG_SETMASK, &without, NULL));
    }
    for (int i = 0; i < 20000; i++) {
        signal(SIGUSR1, SIG_IGN);
        if (i % 1000 == 0)
            raise(SIGUSR1);
        signal(SIGUSR1, on_change);
        if (i % 1000 == 0)
            raise(SIGUSR1);
    }
    EQ(changes_seen, 1 + 20);
    signal(SIGUSR1, SIG_IGN);
    pid_t child = OK(fork());
    if (child == 0) {
        char bits[32];
        snprintf(bits, sizeof bits, "^SigIgn:.*[2367abef]..$");
        execlp("grep", "grep", "-q", bits, "/proc/self/status", (char *)NULL);
        _exit(99);
    }
    reap(child, 0);
    signal(SIGUSR1, SIG_DFL);
    ok("actions that change");
}

static void stays_a_while(int sig)
{
    (void)sig;
    for (int64_t until = now_ms() + 400; now_ms() < until;)
        OK(access("/", R_OK));
}

/* A handler on a stack of its own, which the process may leave and come back to. */
static void long_handler(void)
{
    static char stack[1 << 16];
    stack_t mine = {.ss_sp = stack, .ss_size = sizeof stack}, now;
    OK(sigaltstack(&mine, NULL));
    set_handler(SIGUSR2, stays_a_while, SA_ONSTACK);
    OK(raise(SIGUSR2));
    OK(sigaltstack(NULL, &now));
    CHECK(now.ss_sp == stack && now.ss_size == sizeof stack && now.ss_flags == 0);
    signal(SIGUSR2, SIG_DFL);
    ok("a long handler on its own stack");
}

static volatile sig_atomic_t storm;

static void on_storm(int sig)
{
    (void)sig;
    storm++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    queueing();
    origins();
    stacks();
    flags();
    faults();
    threads();
    refused();
    changing();
    long_handler();
    /* Every real-time signal sent is delivered, however they interleave with calls. */
    set_handler(SIGRTMIN + 7, on_storm, SA_RESTART);
    pid_t child = OK(fork());
    if (child == 0) {
        for (int i = 0; i < 2000; i++)
            while (sigqueue(getppid(), SIGRTMIN + 7, (union sigval){.sival_int = i}) < 0)
                CHECK(errno == EAGAIN);
        _exit(0);
    }
    while (storm < 2000)
        getppid();
    reap(child, 0);
    EQ(storm, 2000);
    ok("2,000 real-time signals");
    return 0;
}
