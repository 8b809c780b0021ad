// Signals, their details, timers and clocks.
#include "guest.h"
#include <linux/futex.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <setjmp.h>
#include <time.h>

static sigjmp_buf back;

static void nothing(int number) { (void)number; }
static void jump(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    siglongjmp(back, number);
}

static volatile int zero;

int main(void) {
    long mask = 1 << 1 | 1 << 16 | 1L << 33, old = 0;
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART | SA_NODEFER};
    sigaddset(&action.sa_mask, SIGHUP);
    sigaddset(&action.sa_mask, SIGRTMIN + 3);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR1, &action, &action);
    action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK | SA_NOCLDSTOP | SA_NOCLDWAIT;
    sigaction(SIGUSR2, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGRTMAX, SIG_DFL);
    signal(SIGTTOU, nothing);
    call(rt_sigaction, SIGKILL, NULL, NULL, 8L);
    call(rt_sigaction, 99, BAD, BAD, 8L);
    call(rt_sigaction, SIGHUP, BAD, NULL, 8L);
    call(rt_sigprocmask, SIG_BLOCK, &mask, &old, 8L);
    mask = ~0L;
    call(rt_sigprocmask, SIG_SETMASK, &mask, &old, 8L);
    call(rt_sigprocmask, SIG_BLOCK, NULL, &old, 8L);
    mask = 0;
    call(rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8L);
    call(rt_sigprocmask, 17, &mask, NULL, 8L);
    mask = 0x7fffffffL;
    call(rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, 8L);
    call(rt_sigprocmask, SIG_UNBLOCK, BAD, BAD, 4L);
    stack_t stack = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ}, former;
    call(sigaltstack, &stack, NULL);
    call(sigaltstack, NULL, &former);
    stack.ss_flags = SS_DISABLE;
    call(sigaltstack, &stack, &former);

    // Deliveries: their si_code.
    action.sa_flags = 0;
    for (int number = 1; number < 32; number += number == 8 || number == 18 ? 2 : 1)
        if (number != SIGPIPE) sigaction(number, &action, NULL);
    int pid = getpid();
    call(kill, pid, SIGUSR1);
    call(tgkill, pid, pid, SIGUSR2);
    call(tkill, pid, SIGRTMIN + 31);
    call(kill, pid, 0);
    call(kill, 0x3fffffff, SIGTERM);
    siginfo_t info = {.si_signo = SIGHUP, .si_code = SI_QUEUE, .si_value.sival_int = 7};
    info.si_pid = 5;
    info.si_uid = 6;
    call(rt_sigqueueinfo, pid, SIGHUP, &info);
    info.si_code = SI_MESGQ;
    call(rt_tgsigqueueinfo, pid, pid, SIGINT, &info);
    info.si_code = SI_ASYNCIO;
    call(rt_tgsigqueueinfo, pid, pid, SIGINT, &info);
    info.si_code = -77;
    call(rt_tgsigqueueinfo, pid, pid, SIGALRM, &info);
    info.si_code = POLL_IN;
    call(rt_sigqueueinfo, 0x3fffffff, SIGINT, &info);
    int pidfd = call(pidfd_open, pid, 0);
    call(pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
    call(pidfd_send_signal, pidfd, 0, &info, 1);

    // Faults.
    struct sigaction catch = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO};
    for (int number = 1; number < 32; number++)
        if (number == SIGSEGV || number == SIGFPE || number == SIGILL || number == SIGTRAP || number == SIGBUS)
            sigaction(number, &catch, NULL);
    if (!sigsetjmp(back, 1)) *(volatile int *)8 = 1;
    if (!sigsetjmp(back, 1)) *(volatile char *)(uintptr_t)main = 1;
    if (!sigsetjmp(back, 1)) *(volatile int *)0xffff800000000000 = 1;
    if (!sigsetjmp(back, 1)) zero = 1 / zero;
    if (!sigsetjmp(back, 1)) __asm__ volatile("ud2");
    if (!sigsetjmp(back, 1)) __asm__ volatile("int3");

    // Waiting for them.
    mask = 1 << (SIGUSR1 - 1) | 1 << (SIGCHLD - 1);
    call(rt_sigprocmask, SIG_BLOCK, &mask, NULL, 8L);
    call(kill, pid, SIGUSR1);
    call(rt_sigpending, &old, 8L);
    struct timespec now = {0, 0}, brief = {0, 1000000};
    call(rt_sigtimedwait, &mask, &info, &now, 8L);
    call(rt_sigtimedwait, &mask, &info, &now, 8L);
    call(rt_sigtimedwait, &mask, NULL, &brief, 8L);
    if (call(fork) == 0) _exit(9);
    call(rt_sigtimedwait, &mask, &info, NULL, 8L);
    int status;
    call(wait4, -1, &status, 0, NULL);
    call(kill, pid, SIGUSR1);
    struct signalfd_siginfo read_info;
    int sfd = call(signalfd4, -1, &mask, 8L, SFD_CLOEXEC | SFD_NONBLOCK);
    call(read, sfd, &read_info, 4L);
    call(signalfd, sfd, &mask, 8L);

    // Interval timers and those of POSIX.
    // If one comes before it is waited for, there is a second.
    struct itimerval every = {{0, 300000}, {0, 20000}}, none = {{0, 0}, {0, 0}}, left;
    old = 0;
    call(setitimer, ITIMER_REAL, &every, NULL);
    call(rt_sigsuspend, &old, 8L);
    call(setitimer, ITIMER_REAL, &every, NULL);
    call(pause);
    call(setitimer, ITIMER_REAL, &none, NULL);
    every.it_value.tv_sec = 1000;
    call(setitimer, ITIMER_VIRTUAL, &every, &left);
    call(getitimer, ITIMER_PROF, &left);
    call(alarm, 100);
    call(alarm, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 3};
    sigaction(SIGRTMIN, &action, NULL);
    int timer = -1;
    call(timer_create, CLOCK_MONOTONIC, &event, &timer);
    struct itimerspec spec = {{0, 300000000}, {0, 10000000}}, was;
    call(timer_settime, timer, 0, &spec, NULL);
    call(rt_sigsuspend, &old, 8L);
    spec = (struct itimerspec){{0, 0}, {0, 0}};
    call(timer_settime, timer, 0, &spec, NULL);
    spec.it_value.tv_nsec = 10000000;
    call(timer_getoverrun, timer);
    call(timer_gettime, timer, &was);
    call(timer_settime, timer, TIMER_ABSTIME, &spec, &was);
    call(timer_delete, timer);
    event.sigev_notify = SIGEV_NONE;
    call(timer_create, CLOCK_REALTIME, &event, &timer);
    call(timer_create, CLOCK_REALTIME, NULL, &timer);
    call(timer_create, 99, &event, &timer);

    int tfd = call(timerfd_create, CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    call(timerfd_settime, tfd, 0, &spec, &was);
    call(timerfd_settime, tfd, TFD_TIMER_ABSTIME, &spec, NULL);
    spec.it_value.tv_nsec = 0;
    call(timerfd_settime, tfd, 0, &spec, NULL);
    call(timerfd_gettime, tfd, &was);

    // Clocks.
    struct timespec ts;
    struct timeval tv;
    struct timezone tz;
    struct tms tms;
    call(clock_gettime, CLOCK_REALTIME, &ts);
    call(clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &ts);
    call(clock_gettime, CLOCK_TAI, &ts);
    call(clock_gettime, 99, &ts);
    call(clock_gettime, -6, &ts);
    call(clock_getres, CLOCK_MONOTONIC_RAW, &ts);
    call(clock_getres, CLOCK_BOOTTIME_ALARM, NULL);
    call(gettimeofday, &tv, &tz);
    call(gettimeofday, &tv, NULL);
    call(time, NULL);
    call(times, &tms);
    ts = (struct timespec){0, 1000000};
    call(nanosleep, &ts, NULL);
    call(nanosleep, &ts, &brief);
    call(clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
    ts = (struct timespec){5, 0};
    call(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL);
    ts.tv_nsec = -1;
    call(clock_nanosleep, CLOCK_REALTIME, 0, &ts, &brief);
    every = (struct itimerval){{0, 300000}, {0, 20000}};
    call(setitimer, ITIMER_REAL, &every, NULL);
    ts = (struct timespec){100, 0};
    call(nanosleep, &ts, &brief);
    call(setitimer, ITIMER_REAL, &every, NULL);
    call(clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, &brief);
    call(setitimer, ITIMER_REAL, &none, NULL);
    call(clock_settime, 99, &ts);
    call(settimeofday, BAD, BAD);

    int word = 1;
    call(futex, &word, FUTEX_WAIT, 2, NULL);
    call(futex, &word, FUTEX_WAIT_PRIVATE, 1, &(struct timespec){0, 1000000});
    call(futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, &(struct timespec){0, 1000000}, NULL, 5);
    call(futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 2, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
    call(futex, &word, FUTEX_WAKE, 1);
    call(futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX);
    call(futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 7);
    call(futex, &word, FUTEX_REQUEUE, 1, 2L, &status);
    call(futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 2L, &status, 5);
    call(futex, &word, FUTEX_WAKE_OP, 1, 1L, &status, FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_GT, 1));
    call(futex, &word, FUTEX_UNLOCK_PI_PRIVATE);
    call(futex, &word, FUTEX_TRYLOCK_PI);
    word = 0;
    call(futex, &word, FUTEX_LOCK_PI, 0, NULL);
    call(futex, &word, 77, 1, 2L, 3, 4);
    call(kill, pid, SIGKILL);
    return 0;
}
