// select, poll, epoll, eventfd.
#include "guest.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/time.h>

int main(void) {
    int full[2], empty[2];
    call(pipe2, full, O_NONBLOCK);
    call(pipe2, empty, O_CLOEXEC);
    call(write, full[1], "full", 4);
    struct timespec no = {0, 0}, brief = {0, 2000000}, later = {100, 0};
    struct timeval none = {0, 0}, soon = {0, 2000}, late = {100, 0};
    long mask = 1 << 1;

    fd_set in, out, odd;
#define sets() \
    do { \
        FD_ZERO(&in); FD_ZERO(&out); FD_ZERO(&odd); \
        FD_SET(full[0], &in); FD_SET(empty[0], &in); FD_SET(full[1], &out); FD_SET(empty[0], &odd); \
    } while (0)
    sets();
    call(select, 7, &in, &out, &odd, &late);
    sets();
    call(select, 7, &in, NULL, NULL, NULL);
    FD_ZERO(&in);
    FD_SET(empty[0], &in);
    call(select, 7, &in, NULL, NULL, &soon);
    call(select, 0, NULL, NULL, NULL, &none);
    call(select, -1, NULL, NULL, NULL, &none);
    call(select, 7, BAD, NULL, NULL, &none);
    FD_ZERO(&in);
    FD_SET(60, &in);
    call(select, 61, &in, NULL, NULL, &none);
    sets();
    struct { void *mask; long size; } pair = {&mask, 8};
    call(pselect6, 7, &in, &out, &odd, &later, &pair);
    sets();
    pair.mask = NULL;
    call(pselect6, 7, &in, NULL, NULL, NULL, &pair);
    FD_ZERO(&in);
    call(pselect6, 7, &in, NULL, NULL, &brief, NULL);
    call(pselect6, 7, NULL, NULL, NULL, &no, BAD);

    struct pollfd fds[4] = {{full[0], POLLIN | POLLPRI | POLLRDHUP, 0}, {full[1], POLLOUT, 0}, {-1, POLLIN, 0}, {empty[0], POLLIN | POLLRDNORM, 0}};
    call(poll, fds, 4, 1000);
    call(poll, fds + 3, 1, 2);
    call(poll, fds, 0, 1);
    call(poll, NULL, 0, 0);
    call(poll, BAD, 2, 0);
    fds[3].fd = 70;
    call(poll, fds, 4, -1);
    call(ppoll, fds, 2, &later, &mask, 8L);
    call(ppoll, fds + 2, 1, &no, NULL, 0L);
    call(ppoll, fds, 4, NULL, NULL, 8L);
    call(ppoll, BAD, 4, BAD, BAD, 8L);

    int ep = call(epoll_create1, EPOLL_CLOEXEC);
    call(epoll_create, 5);
    struct epoll_event event = {EPOLLIN | EPOLLET | EPOLLONESHOT, {.u64 = 0x123456789abcdef}}, got[4];
    call(epoll_ctl, ep, EPOLL_CTL_ADD, full[0], &event);
    event = (struct epoll_event){EPOLLOUT | EPOLLEXCLUSIVE, {.fd = 7}};
    call(epoll_ctl, ep, EPOLL_CTL_ADD, full[1], &event);
    event.events = 0;
    call(epoll_ctl, ep, EPOLL_CTL_MOD, full[0], &event);
    event.events = EPOLLIN;
    call(epoll_ctl, ep, EPOLL_CTL_MOD, full[0], &event);
    call(epoll_ctl, ep, EPOLL_CTL_DEL, 99, NULL);
    call(epoll_ctl, ep, 9, full[0], BAD);
    call(epoll_wait, ep, got, 4, -1);
    call(epoll_wait, ep, got, 1, 0);
    call(epoll_pwait, ep, got, 4, 10, &mask, 8L);
    call(epoll_pwait2, ep, got, 4, &brief, NULL, 8L);
    call(epoll_ctl, ep, EPOLL_CTL_DEL, full[0], BAD);
    call(epoll_ctl, ep, EPOLL_CTL_DEL, full[1], NULL);
    call(epoll_wait, ep, got, 4, 2);
    call(epoll_wait, ep, got, 0, 2);
    call(epoll_pwait, ep, got, 4, 0, NULL, 8L);
    call(epoll_wait, 99, BAD, 4, 2);

    int event_fd = call(eventfd2, 5, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t value = 7;
    call(write, event_fd, &value, 8);
    call(read, event_fd, &value, 8);
    call(eventfd, 0);
    call(eventfd2, 1, 0x1000);
    call(close, full[0]);
    fds[1].revents = 0;
    call(poll, fds + 1, 1, 0);
    return 0;
}
