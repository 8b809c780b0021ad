/* A process and a thread of it end while signals keep coming: nothing may hold up an end. */
#include "guest.h"
#include <pthread.h>

static void handler(int sig)
{
    (void)sig;
}

static void *short_lived(void *arg)
{
    for (int i = 0; i < 20; i++)
        getppid();
    return arg;
}

static void target(void)
{
    int64_t end = now_ms() + 15;
    while (now_ms() < end) {
        pthread_t t;
        RET(pthread_create(&t, NULL, short_lived, NULL), 0);
        RET(pthread_join(t, NULL), 0);
    }
    _exit(7);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    set_handler(SIGUSR1, handler, SA_RESTART);
    for (int round = 0; round < 40; round++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            target();
        int status;
        pid_t got;
        do {
            OK(kill(pid, SIGUSR1));
            got = OK(waitpid(pid, &status, WNOHANG));
        } while (got == 0);
        EQ(got, pid);
        EQ(status, EXITED(7));
    }
    ok("40 ends in a storm of signals");
    return 0;
}
