/* A signal at any moment around the start of a blocking call ends it with EINTR at once, and loses no data: a child sends
 * one at a random moment, and nothing else ever wakes the reader.
 */
#include "guest.h"

static volatile sig_atomic_t handled;

static void handler(int sig)
{
    (void)sig;
    handled++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int p[2], go[2], late = 0;
    OK(pipe(p));
    OK(pipe(go));
    set_handler(SIGUSR1, handler, 0);
    fflush(stdout);
    pid_t child = OK(fork());
    if (child == 0) {
        /* A round: wait for the word, spin a while, signal. The delays cross the call's start in small steps. */
        uint32_t round;
        close(go[1]);
        while (read(go[0], &round, sizeof round) == sizeof round) {
            int64_t until = now_ns(CLOCK_MONOTONIC) + (round * 37) % 200 * 1000;
            while (now_ns(CLOCK_MONOTONIC) < until)
                ;
            OK(kill(getppid(), SIGUSR1));
        }
        _exit(0);
    }
    close(go[0]);
    for (uint32_t round = 0; round < 1000; round++) {
        char c;
        handled = 0;
        /* Blocked until the read: a signal that came before it would otherwise be missed, natively too. */
        sigset_t set, old;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        OK(sigprocmask(SIG_BLOCK, &set, &old));
        write_all(go[1], &round, sizeof round);
        int64_t start = now_ms();
        ERR(ppoll(&(struct pollfd){p[0], POLLIN, 0}, 1, &(struct timespec){10, 0}, &old), EINTR);
        EQ(handled, 1);
        /* Its delay is under 0.2 ms; the scheduler of a busy machine adds to that, once in a while much. */
        if (now_ms() - start > 20)
            late++;
        OK(sigprocmask(SIG_SETMASK, &old, NULL));
        if (round % 100 == 0) {
            write_all(p[1], "d", 1);
            read_all(p[0], &c, 1);
            EQ(c, 'd');
        }
    }
    close(go[1]);
    reap(child, 0);
    if (late > 20)
        FAIL("%d of 1,000 signals took more than 20 ms to act", late);
    ok("1,000 signals around the start of a call");

    /* The same for a plain read, the signal again and again until the read has ended: each ends in EINTR, with no data. */
    for (int round = 0; round < 200; round++) {
        fflush(stdout);
        int done[2];
        OK(pipe2(done, O_CLOEXEC | O_NONBLOCK));
        pid_t stormer = OK(fork());
        if (stormer == 0) {
            char c;
            close(done[1]);
            while (read(done[0], &c, 1) != 0) {
                OK(kill(getppid(), SIGUSR1));
                sched_yield();
            }
            _exit(0);
        }
        char c;
        ERR(read(p[0], &c, 1), EINTR);
        close(done[0]);
        close(done[1]);
        int status;
        pid_t got;
        while ((got = waitpid(stormer, &status, 0)) < 0 && errno == EINTR)
            ;
        EQ(got, stormer);
        EQ(status, 0);
    }
    ok("200 interrupted reads");
    return 0;
}
