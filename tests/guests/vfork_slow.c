/* vfork and posix_spawn while the parent is told to move: the parent is held until the child executes or ends, its memory
 * shared, and nothing of that is disturbed. One child sleeps for two seconds before it executes.
 */
#include "guest.h"
#include <pthread.h>
#include <spawn.h>

extern char **environ;

static volatile long spins;
static volatile int stop;

static void *spin(void *arg)
{
    while (!stop)
        spins++;
    return arg;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    volatile int shared = 0;
    int64_t start = now_ms();
    pid_t pid = vfork();
    if (pid == 0) {
        sleep_ms(2000);
        shared = 99;
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0);
    CHECK(now_ms() - start >= 2000);
    EQ(shared, 99);
    reap(pid, 0);
    ok("a vfork child that sleeps before exec");

    /* The other threads of a vfork parent run on. */
    pthread_t t;
    RET(pthread_create(&t, NULL, spin, NULL), 0);
    while (spins == 0)
        sched_yield();
    long before = spins;
    pid = vfork();
    if (pid == 0) {
        sleep_ms(100);
        _exit(spins > before ? 5 : 6);
    }
    CHECK(pid > 0);
    reap(pid, EXITED(5));
    stop = 1;
    RET(pthread_join(t, NULL), 0);
    ok("the other threads run on");

    /* A signal for the parent waits until the child has gone on. */
    pid = vfork();
    if (pid == 0) {
        kill(getppid(), SIGWINCH);
        _exit(3);
    }
    reap(pid, EXITED(3));
    for (int i = 0; i < 60; i++) {
        char *argv[] = {"sh", "-c", "exit 4", NULL};
        RET(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
        reap(pid, EXITED(4));
    }
    ok("60 spawns");
    for (volatile int i = 0; i < 60; i++) {
        pid = vfork();
        if (pid == 0) {
            if (i % 3 == 0)
                _exit(8);
            execl(i % 3 == 1 ? "/bin/true" : "/nonexistent/program", "true", (char *)NULL);
            _exit(127);
        }
        CHECK(pid > 0);
        reap(pid, i % 3 == 0 ? EXITED(8) : i % 3 == 1 ? 0 : EXITED(127));
    }
    ok("60 vforks: exec, no exec, failed exec");
    return 0;
}
