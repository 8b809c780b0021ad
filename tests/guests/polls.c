/* select, poll, epoll, eventfd: readiness of every kind of descriptor, edge and level, hang-ups, and waits that end. */
#include "guest.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>

static void plain(void)
{
    int p[2];
    char c;
    OK(pipe(p));
    struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 7}};
    EQ(OK(poll(f, 3, 0)), 1);
    EQ(f[0].revents, 0);
    EQ(f[1].revents, POLLOUT);
    EQ(f[2].revents, 0);
    write_all(p[1], "x", 1);
    EQ(OK(poll(f, 2, -1)), 2);
    EQ(f[0].revents, POLLIN);
    read_all(p[0], &c, 1);
    close(p[1]);
    f[1].fd = 999;
    EQ(OK(poll(f, 2, -1)), 2);
    EQ(f[0].revents, POLLHUP);
    EQ(f[1].revents, POLLNVAL);
    ERR(poll((struct pollfd *)bad_pointer, 1, 0), EFAULT);
    close(p[0]);
    OK(pipe(p));
    close(p[0]);
    EQ(OK(poll(&(struct pollfd){p[1], POLLOUT, 0}, 1, 0)), 1);
    close(p[1]);
    ok("poll");

    OK(pipe(p));
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval tv = {0, 20000};
    EQ(OK(select(p[1] + 1, &r, &w, NULL, &tv)), 1);
    CHECK(!FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
    FD_SET(p[0], &r);
    tv = (struct timeval){0, 20000};
    EQ(OK(select(p[0] + 1, &r, NULL, NULL, &tv)), 0);
    EQ(tv.tv_sec + tv.tv_usec, 0);
    FD_SET(p[0], &r);
    write_all(p[1], "x", 1);
    tv = (struct timeval){10, 0};
    EQ(OK(select(p[0] + 1, &r, NULL, NULL, &tv)), 1);
    CHECK(tv.tv_sec == 9);
    close(p[0]);
    FD_SET(p[0], &r);
    ERR(select(p[0] + 1, &r, NULL, NULL, &tv), EBADF);
    close(p[1]);
    ok("select writes back what is left");
}

static void *write_later(void *arg)
{
    sleep_ms(30);
    uint64_t one = 1;
    write_all(*(int *)arg, &one, sizeof one);
    return NULL;
}

static void epolls(void)
{
    int ep = OK(epoll_create1(EPOLL_CLOEXEC)), p[2], ev = OK(eventfd(0, EFD_NONBLOCK));
    OK(pipe(p));
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667788ULL}, got[8];
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    ERR(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), EEXIST);
    ERR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e), EINVAL);
    ERR(epoll_ctl(ep, EPOLL_CTL_DEL, ev, &e), ENOENT);
    ERR(epoll_wait(ep, got, 0, 0), EINVAL);
    EQ(OK(epoll_wait(ep, got, 8, 0)), 0);
    write_all(p[1], "abc", 3);
    for (int i = 0; i < 3; i++) {
        EQ(OK(epoll_wait(ep, got, 8, -1)), 1);
        EQ(got[0].data.u64, 0x1122334455667788ULL);
        EQ(got[0].events, EPOLLIN);
    }
    ok("epoll, level");
    e.events = EPOLLIN | EPOLLET;
    OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    EQ(OK(epoll_wait(ep, got, 8, 0)), 1);
    EQ(OK(epoll_wait(ep, got, 8, 0)), 0);
    write_all(p[1], "d", 1);
    EQ(OK(epoll_wait(ep, got, 8, 0)), 1);
    e.events = EPOLLIN | EPOLLONESHOT;
    OK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    EQ(OK(epoll_wait(ep, got, 8, 0)), 1);
    write_all(p[1], "e", 1);
    EQ(OK(epoll_wait(ep, got, 8, 10)), 0);
    ok("epoll, edge and one-shot");

    e = (struct epoll_event){.events = EPOLLIN, .data.fd = ev};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
    pthread_t t;
    RET(pthread_create(&t, NULL, write_later, &ev), 0);
    EQ(OK(epoll_wait(ep, got, 8, 10000)), 1);
    EQ(got[0].data.fd, ev);
    RET(pthread_join(t, NULL), 0);
    uint64_t n;
    read_all(ev, &n, 8);
    EQ(n, 1);
    ERR(read(ev, &n, 8), EAGAIN);
    /* A nested epoll, and one that a child inherits. */
    int outer = OK(epoll_create1(0));
    OK(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &e));
    IN_CHILD({
        uint64_t five = 5;
        write_all(ev, &five, 8);
    });
    EQ(OK(epoll_wait(outer, got, 8, 10000)), 1);
    read_all(ev, &n, 8);
    EQ(n, 5);
    close(outer);
    /* Hang-up of a socket pair. */
    int s[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    e = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP, .data.u32 = 5};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e));
    OK(shutdown(s[1], SHUT_WR));
    EQ(OK(epoll_wait(ep, got, 8, 1000)), 1);
    EQ(got[0].events, EPOLLIN | EPOLLRDHUP);
    close(s[1]);
    EQ(OK(epoll_wait(ep, got, 8, 1000)), 1);
    EQ(got[0].events, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    close(s[0]);
    EQ(OK(epoll_wait(ep, got, 8, 0)), 0);
    close(ep);
    close(p[0]);
    close(p[1]);
    close(ev);
    ok("eventfd, nested epoll, hang-up");

    ev = OK(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
    for (int i = 0; i < 3; i++) {
        read_all(ev, &n, 8);
        EQ(n, 1);
    }
    ERR(read(ev, &n, 8), EAGAIN);
    n = UINT64_MAX;
    ERR(write(ev, &n, 8), EINVAL);
    close(ev);
    ok("eventfd as a semaphore");
}

static void timeouts(void)
{
    int p[2];
    OK(pipe(p));
    int ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    for (int i = 0; i < 5; i++) {
        int64_t start = now_ms();
        EQ(OK(epoll_wait(ep, &e, 1, 20)), 0);
        EQ(OK(poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 20)), 0);
        struct timespec ts = {0, 20000000};
        EQ(OK(ppoll(&(struct pollfd){p[0], POLLIN, 0}, 1, &ts, NULL)), 0);
        EQ(OK(syscall(SYS_epoll_pwait2, ep, &e, 1, &ts, NULL, 8)), 0);
        CHECK(now_ms() - start >= 79);
    }
    close(ep);
    close(p[0]);
    close(p[1]);
    ok("timeouts are never short");
}

static void watches(void)
{
    int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    int watch = OK(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE | IN_MOVED_TO));
    int f = OK(open("watched", O_CREAT | O_WRONLY, 0600));
    close(f);
    OK(rename("watched", "renamed"));
    OK(unlink("renamed"));
    char buffer[4096] __attribute__((aligned(8)));
    EQ(OK(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 5000)), 1);
    ssize_t n = OK(read(fd, buffer, sizeof buffer));
    const struct { uint32_t mask; const char *name; } want[] = {
        {IN_CREATE, "watched"}, {IN_MOVED_TO, "renamed"}, {IN_DELETE, "renamed"}};
    int at = 0;
    for (char *q = buffer; q < buffer + n; at++) {
        struct inotify_event *event = (void *)q;
        EQ(event->wd, watch);
        CHECK(at < 3 && event->mask == want[at].mask && strcmp(event->name, want[at].name) == 0);
        q += sizeof *event + event->len;
    }
    EQ(at, 3);
    close(fd);
    ok("inotify");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    plain();
    epolls();
    timeouts();
    watches();
    return 0;
}
