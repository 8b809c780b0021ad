/* signalfd: blocked signals are read as data, also through poll and epoll and in a child. */
#include "guest.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGRTMIN);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = OK(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    struct signalfd_siginfo info[8];
    ERR(read(fd, info, sizeof info), EAGAIN);
    OK(kill(getpid(), SIGUSR1));
    for (int i = 0; i < 3; i++)
        OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 40 + i}));
    EQ(OK(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 1000)), 1);
    EQ(OK(read(fd, info, sizeof info)), 4 * (ssize_t)sizeof *info);
    EQ(info[0].ssi_signo, SIGUSR1);
    EQ(info[0].ssi_pid, getpid());
    EQ(info[0].ssi_code, SI_USER);
    for (int i = 0; i < 3; i++) {
        EQ(info[1 + i].ssi_signo, SIGRTMIN);
        EQ(info[1 + i].ssi_int, 40 + i);
    }
    ok("signals as data");
    int ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    for (int i = 0; i < 20; i++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            _exit(i);
        EQ(OK(epoll_wait(ep, &e, 1, 10000)), 1);
        EQ(OK(read(fd, info, sizeof info)), (ssize_t)sizeof *info);
        EQ(info[0].ssi_signo, SIGCHLD);
        EQ(info[0].ssi_pid, pid);
        EQ(info[0].ssi_status, i);
        reap(pid, EXITED(i));
    }
    ok("children over epoll");
    sigdelset(&set, SIGUSR1);
    EQ(OK(signalfd(fd, &set, 0)), fd);
    OK(kill(getpid(), SIGUSR1));
    ERR(read(fd, info, sizeof info), EAGAIN);
    close(fd);
    close(ep);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int sig;
    RET(sigwait(&set, &sig), 0);
    EQ(sig, SIGUSR1);
    ok("a changed set, and life after it is closed");
    for (int i = 0; i < 100; i++)
        getppid();
    return 0;
}
