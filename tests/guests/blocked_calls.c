/* A signal arrives while a call is blocked: with and without SA_RESTART every call does what signal(7) says.
 *
 * A child sends the signal when this thread sleeps, and later, so that a restarted call can end, gives the call what it
 * waits for.
 */
#include "guest.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <netinet/in.h>
#include <sys/file.h>

static volatile sig_atomic_t handled;

static void handler(int sig)
{
    (void)sig;
    handled++;
}

static int data[2], sock[2], sem, queue, epfd, locked_fd;
static uint32_t *word;

/* Ends whatever a restarted call waits for. */
static void feed_pipe(void) { write_all(data[1], "x", 1); }
static void feed_socket(void) { write_all(sock[1], "x", 1); }
static void feed_futex(void)
{
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    OK(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0));
}
static void feed_sem(void)
{
    struct sembuf up = {0, 1, 0};
    OK(semop(sem, &up, 1));
}
static void feed_queue(void)
{
    struct { long type; char text[1]; } m = {1, {'x'}};
    OK(msgsnd(queue, &m, 1, 0));
}
static void feed_lock(void) { OK(flock(locked_fd, LOCK_UN)); }
static void feed_nothing(void) {}

/* Each returns the call's result, with errno. A call that got its data takes it. */
static long call_read(void) { char c; return read(data[0], &c, 1); }
static long call_readv(void) { char c; struct iovec { void *p; size_t n; } v = {&c, 1}; return syscall(SYS_readv, data[0], &v, 1); }
static long call_recv(void) { char c; return recv(sock[0], &c, 1, 0); }
static long call_recvmsg(void)
{
    char c;
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    return recvmsg(sock[0], &m, 0);
}
static long call_recv_timeout(void)
{
    char c;
    OK(setsockopt(sock[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval)));
    long r = recv(sock[0], &c, 1, 0);
    int e = errno;
    OK(setsockopt(sock[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 0}, sizeof(struct timeval)));
    errno = e;
    return r;
}
static long call_futex(void)
{
    long r = syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return r;
}
static long call_futex_timed(void)
{
    struct timespec ts = {5, 0};
    return syscall(SYS_futex, word, FUTEX_WAIT, 0, &ts, NULL, 0);
}
static long drain(long r)
{
    char c;
    int e = errno;
    if (r > 0)
        read_all(data[0], &c, 1);
    errno = e;
    return r;
}
static long call_poll(void) { struct pollfd p = {data[0], POLLIN, 0}; return drain(poll(&p, 1, 5000)); }
static long call_ppoll(void)
{
    struct pollfd p = {data[0], POLLIN, 0};
    struct timespec ts = {5, 0};
    return drain(ppoll(&p, 1, &ts, NULL));
}
static long call_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(data[0], &set);
    struct timeval tv = {5, 0};
    return drain(select(data[0] + 1, &set, NULL, NULL, &tv));
}
static long call_pselect(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(data[0], &set);
    struct timespec ts = {5, 0};
    return drain(pselect(data[0] + 1, &set, NULL, NULL, &ts, NULL));
}
static long call_epoll(void) { struct epoll_event e; return drain(epoll_wait(epfd, &e, 1, 5000)); }
static long call_epoll_forever(void) { struct epoll_event e; return drain(epoll_pwait(epfd, &e, 1, -1, NULL)); }
static long call_nanosleep(void)
{
    struct timespec ts = {5, 0}, left = {0, 0};
    long r = nanosleep(&ts, &left);
    int e = errno;
    if (r < 0)
        CHECK(left.tv_sec == 4 || left.tv_sec == 3);
    errno = e;
    return r;
}
/* clock_nanosleep returns its error. */
static long as_errno(int r) { errno = r; return r ? -1 : 0; }
static long call_nanosleep_absolute(void)
{
    struct timespec ts;
    OK(clock_gettime(CLOCK_MONOTONIC, &ts));
    ts.tv_sec += 5;
    return as_errno(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL));
}
static long call_semop(void) { struct sembuf down = {0, -1, 0}; return semop(sem, &down, 1); }
static long call_semtimedop(void)
{
    struct sembuf down = {0, -1, 0};
    struct timespec ts = {5, 0};
    return semtimedop(sem, &down, 1, &ts);
}
static long call_msgrcv(void) { struct { long type; char text[1]; } m; return msgrcv(queue, &m, 1, 0, 0); }
static long call_sigtimedwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    struct timespec ts = {5, 0};
    return sigtimedwait(&set, NULL, &ts);
}
static long call_pause(void) { return pause(); }
static long call_sigsuspend(void)
{
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}
static long call_flock(void)
{
    int fd = OK(open("lock", O_RDWR | O_CLOEXEC));
    long r = flock(fd, LOCK_EX);
    int e = errno;
    close(fd);
    errno = e;
    return r;
}
static long call_fcntl_lock(void)
{
    int fd = OK(open("lock", O_RDWR | O_CLOEXEC));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long r = fcntl(fd, F_SETLKW, &l);
    int e = errno;
    close(fd);
    errno = e;
    return r;
}
static long call_accept(void)
{
    int s = OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(listen(s, 1));
    long r = accept(s, NULL, NULL);
    int e = errno;
    close(s);
    errno = e;
    return r;
}
static pid_t sleeper;
static long call_wait(void)
{
    int status;
    long r = waitpid(sleeper, &status, 0);
    if (r == sleeper) {
        sleeper = 0;
        return 1;
    }
    return r;
}
static long call_waitid(void)
{
    siginfo_t info;
    long r = waitid(P_PID, (id_t)sleeper, &info, WEXITED);
    if (r == 0)
        sleeper = 0;
    return r;
}
static void feed_wait(void) { OK(kill(sleeper, SIGKILL)); }
static long call_write(void)
{
    char c = 'x';
    OK(fcntl(data[1], F_SETPIPE_SZ, 4096));
    OK(fcntl(data[1], F_SETFL, O_NONBLOCK));
    while (write(data[1], &c, 1) == 1)
        ;
    OK(fcntl(data[1], F_SETFL, 0));
    long r = write(data[1], &c, 1);
    int e = errno;
    OK(fcntl(data[0], F_SETFL, O_NONBLOCK));
    char buffer[4096];
    while (read(data[0], buffer, sizeof buffer) > 0)
        ;
    OK(fcntl(data[0], F_SETFL, 0));
    errno = e;
    return r;
}
static void feed_write(void)
{
    char buffer[4096];
    CHECK(read(data[0], buffer, sizeof buffer) > 0);
}

/* The three ways in which calls answer a caught signal. */
enum kind {
    RESTARTS,   /* goes on under SA_RESTART, else EINTR */
    INTERRUPTS, /* EINTR whatever the flag */
};

static const struct {
    const char *name;
    long (*call)(void);
    void (*feed)(void);
    enum kind kind;
    long result;
} calls[] = {
    {"read of a pipe", call_read, feed_pipe, RESTARTS, 1},
    {"readv of a pipe", call_readv, feed_pipe, RESTARTS, 1},
    {"write to a full pipe", call_write, feed_write, RESTARTS, 1},
    {"recv", call_recv, feed_socket, RESTARTS, 1},
    {"recvmsg", call_recvmsg, feed_socket, RESTARTS, 1},
    {"recv with SO_RCVTIMEO", call_recv_timeout, feed_socket, INTERRUPTS, 1},
    {"accept", call_accept, feed_nothing, INTERRUPTS, 0}, /* restarts for ever: only without SA_RESTART */
    {"futex", call_futex, feed_futex, RESTARTS, 0},
    {"timed futex", call_futex_timed, feed_futex, INTERRUPTS, 0},
    {"poll", call_poll, feed_pipe, INTERRUPTS, 1},
    {"ppoll", call_ppoll, feed_pipe, INTERRUPTS, 1},
    {"select", call_select, feed_pipe, INTERRUPTS, 1},
    {"pselect", call_pselect, feed_pipe, INTERRUPTS, 1},
    {"epoll_wait", call_epoll, feed_pipe, INTERRUPTS, 1},
    {"epoll_pwait without a timeout", call_epoll_forever, feed_pipe, INTERRUPTS, 1},
    {"nanosleep", call_nanosleep, feed_nothing, INTERRUPTS, 0},
    {"clock_nanosleep, absolute", call_nanosleep_absolute, feed_nothing, INTERRUPTS, 0},
    {"semop", call_semop, feed_sem, INTERRUPTS, 0},
    {"semtimedop", call_semtimedop, feed_sem, INTERRUPTS, 0},
    {"msgrcv", call_msgrcv, feed_queue, INTERRUPTS, 1},
    {"rt_sigtimedwait", call_sigtimedwait, feed_nothing, INTERRUPTS, 0},
    {"pause", call_pause, feed_nothing, INTERRUPTS, 0},
    {"rt_sigsuspend", call_sigsuspend, feed_nothing, INTERRUPTS, 0},
    {"flock", call_flock, feed_lock, RESTARTS, 0},
    {"fcntl F_SETLKW", call_fcntl_lock, feed_lock, RESTARTS, 0},
    {"waitpid", call_wait, feed_wait, RESTARTS, 1},
    {"waitid", call_waitid, feed_wait, RESTARTS, 0},
};

/* Sends the signal while the parent sleeps; then, if asked, feeds its call when it sleeps again. */
static pid_t poker(int sig, void (*feed)(void))
{
    fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = OK(fork());
    if (pid)
        return pid;
    until_asleep(parent);
    sleep_ms(10);
    until_asleep(parent);
    OK(kill(parent, sig));
    if (feed) {
        sleep_ms(20);
        until_asleep(parent);
        feed();
    }
    _exit(0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    OK(pipe(data));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
    sem = OK(semget(IPC_PRIVATE, 1, 0600));
    queue = OK(msgget(IPC_PRIVATE, 0600));
    epfd = OK(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(epfd, EPOLL_CTL_ADD, data[0], &e));
    word = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    locked_fd = OK(open("lock", O_RDWR | O_CREAT, 0600));

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bool locks = calls[i].feed == feed_lock;
        bool waits = calls[i].feed == feed_wait;
        for (int restart = 0; restart < 2; restart++) {
            if (restart && calls[i].call == call_accept)
                continue;
            set_handler(SIGUSR1, handler, restart ? SA_RESTART : 0);
            __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
            handled = 0;
            pid_t holder = 0;
            int gate[2];
            if (locks) {
                /* A flock belongs to the open file, an fcntl lock to the process: the child holds both kinds. */
                int ready[2];
                OK(pipe(gate));
                OK(pipe(ready));
                holder = OK(fork());
                if (holder == 0) {
                    char c;
                    close(gate[1]);
                    int fd = OK(open("lock", O_RDWR));
                    OK(flock(fd, LOCK_EX));
                    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
                    OK(fcntl(fd, F_SETLK, &l));
                    write_all(ready[1], "x", 1);
                    while (read(gate[0], &c, 1) < 0)
                        ;
                    _exit(0);
                }
                char c;
                read_all(ready[0], &c, 1);
                close(ready[0]);
                close(ready[1]);
                close(gate[0]);
            }
            if (waits && sleeper == 0) {
                sleeper = OK(fork());
                if (sleeper == 0)
                    for (;;)
                        pause();
            }
            bool goes_on = restart && calls[i].kind == RESTARTS;
            pid_t by;
            if (locks && goes_on) {
                /* The poker alone holds the gate's writing end then: its end releases the lock. */
                by = poker(SIGUSR1, feed_nothing);
                close(gate[1]);
            } else {
                by = poker(SIGUSR1, goes_on ? calls[i].feed : NULL);
            }
            errno = 0;
            long r = calls[i].call();
            int err = errno;
            if (goes_on) {
                if (r != calls[i].result && !(calls[i].call == call_futex && r == -1 && err == EAGAIN))
                    FAIL("%s, SA_RESTART: %ld, errno %d", calls[i].name, r, err);
            } else if (r != -1 || err != EINTR) {
                FAIL("%s, SA_RESTART %d: %ld, errno %d, wanted EINTR", calls[i].name, restart, r, err);
            }
            EQ(handled, 1);
            reap(by, 0);
            if (locks) {
                if (!goes_on)
                    close(gate[1]);
                reap(holder, 0);
            }
        }
        if (waits && sleeper) {
            OK(kill(sleeper, SIGKILL));
            reap(sleeper, KILLED(SIGKILL));
            sleeper = 0;
        }
        ok(calls[i].name);
    }

    /* An ignored signal, and one that is blocked, interrupt nothing. */
    for (int blocked = 0; blocked < 2; blocked++) {
        if (blocked)
            mask_signal(SIG_BLOCK, SIGUSR1);
        else
            set_handler(SIGUSR1, SIG_IGN, 0);
        long (*const some[])(void) = {call_read, call_poll, call_epoll, call_ppoll, call_select};
        for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
            pid_t by = poker(SIGUSR1, feed_pipe);
            EQ(some[i](), 1);
            reap(by, 0);
        }
        ok(blocked ? "a blocked signal interrupts nothing" : "an ignored signal interrupts nothing");
    }
    sigset_t pending;
    OK(sigpending(&pending));
    CHECK(sigismember(&pending, SIGUSR1) == 1);

    /* pselect, ppoll, epoll_pwait and sigsuspend let it in with their mask, and put the old one back. */
    set_handler(SIGUSR1, handler, SA_RESTART);
    handled = 0;
    sigset_t none, old;
    sigemptyset(&none);
    struct timespec ts = {5, 0};
    ERR(pselect(0, NULL, NULL, NULL, &ts, &none), EINTR);
    EQ(handled, 1);
    struct epoll_event event;
    for (int i = 0; i < 4; i++) {
        pid_t by = poker(SIGUSR1, NULL);
        if (i == 0)
            ERR(pselect(0, NULL, NULL, NULL, &ts, &none), EINTR);
        else if (i == 1)
            ERR(ppoll(NULL, 0, NULL, &none), EINTR);
        else if (i == 2)
            ERR(epoll_pwait(epfd, &event, 1, -1, &none), EINTR);
        else
            ERR(sigsuspend(&none), EINTR);
        EQ(handled, i + 2);
        OK(sigprocmask(SIG_BLOCK, NULL, &old));
        CHECK(sigismember(&old, SIGUSR1) == 1);
        reap(by, 0);
    }
    ok("calls with a mask of their own");
    OK(semctl(sem, 0, IPC_RMID));
    OK(msgctl(queue, IPC_RMID, NULL));
    OK(unlink("lock"));
    return 0;
}
