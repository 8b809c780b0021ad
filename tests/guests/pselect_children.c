/* What make and bash do: SIGCHLD blocked everywhere but inside pselect, thousands of children; no end of a child is missed,
 * and mask, si_pid, si_status and si_code are right.
 */
#include "guest.h"
#include <sys/select.h>

enum { CHILDREN = 2000, AT_ONCE = 8 };

static volatile sig_atomic_t woken;
static volatile siginfo_t last;
static volatile sig_atomic_t bad_mask;

static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)context;
    last = *info;
    woken++;
    sigset_t now;
    if (sigprocmask(SIG_BLOCK, NULL, &now) < 0 || !sigismember(&now, sig) || !sigismember(&now, SIGUSR2))
        bad_mask = 1;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO};
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, SIGUSR2);
    OK(sigaction(SIGCHLD, &sa, NULL));
    mask_signal(SIG_BLOCK, SIGCHLD);
    sigset_t inside, now;
    OK(sigprocmask(SIG_BLOCK, NULL, &inside));
    sigdelset(&inside, SIGCHLD);
    int running = 0, started = 0, ended = 0;
    uint64_t sum = 0;
    while (ended < CHILDREN) {
        while (running < AT_ONCE && started < CHILDREN) {
            pid_t pid = OK(fork());
            if (pid == 0)
                _exit(started % 200);
            started++;
            running++;
        }
        woken = 0;
        struct timespec ts = {10, 0};
        ERR(pselect(0, NULL, NULL, NULL, &ts, &inside), EINTR);
        EQ(woken, 1);
        EQ(bad_mask, 0);
        EQ(last.si_signo, SIGCHLD);
        EQ(last.si_code, CLD_EXITED);
        CHECK(last.si_pid > 0 && last.si_uid == getuid() && last.si_status >= 0 && last.si_status < 200);
        OK(sigprocmask(SIG_BLOCK, NULL, &now));
        EQ(sigismember(&now, SIGCHLD), 1);
        EQ(sigismember(&now, SIGUSR2), 0);
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            CHECK(WIFEXITED(status));
            if (pid == last.si_pid)
                EQ(WEXITSTATUS(status), last.si_status);
            sum += (uint64_t)WEXITSTATUS(status);
            running--;
            ended++;
        }
    }
    uint64_t want = 0;
    for (int i = 0; i < CHILDREN; i++)
        want += (uint64_t)(i % 200);
    EQ(sum, want);
    ok("2,000 children");
    return 0;
}
