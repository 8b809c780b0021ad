/* SIGWINCH without a handler is ignored, and so interrupts nothing: a child sends 2,000 of them a second while epoll_wait
 * waits and a megabyte is written to a pipe.
 */
#include "guest.h"
#include <sys/epoll.h>

enum { SIZE = 1 << 20 };
static unsigned char data[SIZE], got[SIZE];

static void read_slowly(int fd)
{
    for (size_t n = 0; n < SIZE; n += 16384) {
        sleep_ms(2);
        read_all(fd, got + n, 16384);
    }
    CHECK(memcmp(data, got, SIZE) == 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    fill(data, SIZE, 9);
    pid_t parent = getpid(), storm = OK(fork());
    if (storm == 0)
        for (;;) {
            struct timespec ts = {0, 500000};
            if (kill(parent, SIGWINCH) < 0)
                _exit(0);
            nanosleep(&ts, NULL);
        }
    int p[2];
    OK(pipe(p));
    int ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    for (int i = 0; i < 10; i++) {
        EQ(OK(epoll_wait(ep, &e, 1, 20)), 0);
        EQ(OK(poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 20)), 0);
        struct timespec ts = {0, 5000000};
        OK(nanosleep(&ts, NULL));
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        ERR(sigtimedwait(&set, NULL, &ts), EAGAIN);
    }
    ok("epoll_wait, poll, nanosleep and sigtimedwait are not interrupted");
    for (int i = 0; i < 3; i++) {
        /* No thread: one that takes the signal would keep its tracer from seeing whom it has interrupted. */
        pid_t reader = OK(fork());
        if (reader == 0) {
            close(p[1]);
            read_slowly(p[0]);
            _exit(0);
        }
        EQ(OK(write(p[1], data, SIZE)), SIZE);
        reap(reader, 0);
    }
    ok("a write of 1 MiB is not cut short");
    OK(kill(storm, SIGKILL));
    reap(storm, KILLED(SIGKILL));
    return 0;
}
