/* The main thread ends by pthread_exit; the others go on, and the process lives until the last is gone. */
#include "guest.h"
#include <pthread.h>

static pthread_t leader;

static void *worker(void *arg)
{
    int fd = *(int *)arg;
    void *value = NULL;
    RET(pthread_join(leader, &value), 0);
    EQ((intptr_t)value, 77);
    /* The leader is a zombie now and its pid still names this process. */
    while (state_of(getpid()) != 'Z')
        sched_yield();
    OK(kill(getpid(), 0));
    for (int i = 0; i < 200; i++) {
        void *p = OK(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        memset(p, i, 1 << 16);
        OK(munmap(p, 1 << 16));
    }
    pid_t child = OK(fork());
    if (child == 0)
        _exit(12);
    reap(child, EXITED(12));
    ok("calls, mappings and fork without a leader");
    write_all(fd, "x", 1);
    sleep_ms(300);
    ok("the last thread ends the process");
    exit(0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int p[2];
    OK(pipe(p));
    pid_t pid = OK(fork());
    if (pid == 0) {
        pthread_t t;
        leader = pthread_self();
        RET(pthread_create(&t, NULL, worker, &p[1]), 0);
        pthread_exit((void *)77);
    }
    char c;
    read_all(p[0], &c, 1);
    int status;
    EQ(OK(waitpid(pid, &status, WNOHANG)), 0);
    reap(pid, 0);
    ok("wait sees the end of the last thread");
    return 0;
}
