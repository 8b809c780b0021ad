/* Signal dispositions, masks and pending signals across exec, again and again, and the terminal's and pipe's signals.
 * The program executes itself with each combination and compares /proc/self/status with what it was told to expect.
 */
#include "guest.h"

static uint64_t field(const char *name)
{
    static char text[8192];
    int fd = OK(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    ssize_t n = OK(read(fd, text, sizeof text - 1));
    close(fd);
    text[n] = 0;
    char *at = strstr(text, name);
    CHECK(at != NULL);
    return strtoull(at + strlen(name), NULL, 16);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    enum { HOPS = 12 };
    int hop = argc > 1 ? atoi(argv[1]) : 0;
    if (argc > 1) {
        uint64_t ignored = strtoull(argv[2], NULL, 16), blocked = strtoull(argv[3], NULL, 16);
        uint64_t pending = strtoull(argv[4], NULL, 16);
        EQ(field("\nSigIgn:\t"), ignored);
        EQ(field("\nSigBlk:\t"), blocked);
        EQ(field("\nShdPnd:\t") | field("\nSigPnd:\t"), pending);
        EQ(field("\nSigCgt:\t"), 0);
        sigset_t now;
        OK(sigpending(&now));
        for (int s = 1; s <= 64; s++)
            if (s != 32 && s != 33)
                EQ(sigismember(&now, s), (pending >> (s - 1)) & 1);
        /* exec leaves nothing of an action but whether it is to ignore. */
        for (int s = 1; s <= 64; s++) {
            struct { uint64_t handler, flags, restorer, mask; } action;
            OK(syscall(SYS_rt_sigaction, s, NULL, &action, 8));
            EQ(action.handler, (ignored >> (s - 1)) & 1);
            EQ(action.flags | action.restorer | action.mask, 0);
        }
    }
    if (hop == HOPS) {
        ok("twelve execs");
        return 0;
    }
    /* Some signals, different on every hop; never those that cannot be, nor glibc's own two. */
    uint64_t state = 77 + (uint64_t)hop * 1000003;
    uint64_t never = 1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1) | 3ULL << 31;
    uint64_t ignored = next_random(&state) & next_random(&state) & ~never;
    /* glibc lets nobody touch its own two; whoever started this may have ignored them all the same. */
    uint64_t inherited = field("\nSigIgn:\t") & 3ULL << 31;
    uint64_t blocked = next_random(&state) & ~never;
    uint64_t pending = blocked & ~ignored & next_random(&state);
    pending &= ~(1ULL << (SIGCONT - 1) | 1ULL << (SIGTSTP - 1) | 1ULL << (SIGTTIN - 1) | 1ULL << (SIGTTOU - 1));
    /* What is pending from before stays so until it is ignored. */
    sigset_t set;
    for (int s = 1; s <= 64; s++)
        if (!(never >> (s - 1) & 1)) {
            sigset_t one;
            sigemptyset(&one);
            sigaddset(&one, s);
            OK(sigprocmask(SIG_BLOCK, &one, NULL));
            signal(s, SIG_IGN);
            if (!(ignored >> (s - 1) & 1))
                signal(s, SIG_DFL);
        }
    for (int s = 1; s <= 64; s++)
        if (pending >> (s - 1) & 1)
            raise(s);
    sigemptyset(&set);
    for (int s = 1; s <= 64; s++)
        if (blocked >> (s - 1) & 1)
            sigaddset(&set, s);
    OK(sigprocmask(SIG_SETMASK, &set, NULL));
    char a[16], b[20], c[20], d[20];
    snprintf(a, sizeof a, "%d", hop + 1);
    snprintf(b, sizeof b, "%llx", (unsigned long long)(ignored | inherited));
    snprintf(c, sizeof c, "%llx", (unsigned long long)blocked);
    snprintf(d, sizeof d, "%llx", (unsigned long long)pending);
    char *args[] = {argv[0], a, b, c, d, NULL};
    execv("/proc/self/exe", args);
    FAIL("execv");
}
