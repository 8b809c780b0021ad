/* Storms: thousands of children by fork, vfork and exec, from several threads at once; pids come round again where their
 * range is small.
 */
#include "guest.h"
#include <pthread.h>
#include <spawn.h>

extern char **environ;

static void *forks(void *arg)
{
    for (int i = 0; i < 150; i++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            _exit(getpid() == gettid() ? i % 100 : 255);
        reap(pid, EXITED(i % 100));
    }
    return arg;
}

static void *spawns(void *arg)
{
    for (int i = 0; i < 40; i++) {
        pid_t pid;
        char *argv[] = {"true", NULL};
        RET(posix_spawn(&pid, i % 2 ? "/bin/true" : "/bin/false", NULL, NULL, argv, environ), 0);
        reap(pid, EXITED(i % 2 ? 0 : 1));
    }
    return arg;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        RET(pthread_create(&t[i], NULL, i < 2 ? forks : spawns, NULL), 0);
    for (int i = 0; i < 4; i++)
        RET(pthread_join(t[i], NULL), 0);
    ok("from four threads");
    for (volatile int i = 0; i < 100; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        CHECK(pid > 0);
        reap(pid, 0);
    }
    ok("100 vforks with exec");
    /* A tree: every process makes two, five levels deep. */
    int level = 0, status;
    fflush(stdout);
    pid_t top = OK(fork());
    if (top == 0) {
        while (level < 5) {
            pid_t left = OK(fork());
            if (left == 0) {
                level++;
                continue;
            }
            pid_t right = OK(fork());
            if (right == 0) {
                level++;
                continue;
            }
            int sum = 1;
            for (int i = 0; i < 2; i++) {
                OK(wait(&status));
                CHECK(WIFEXITED(status));
                sum += WEXITSTATUS(status);
            }
            _exit(sum);
        }
        _exit(1);
    }
    reap(top, EXITED(63));
    ok("a tree of 63 processes");
    return 0;
}
