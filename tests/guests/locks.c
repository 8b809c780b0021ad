/* File locks of all three kinds: who owns them, when they go, and waiting for them. */
#include "guest.h"
#include <sys/file.h>

static struct flock range(short type, off_t start, off_t len)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int fd = OK(open("file", O_RDWR | O_CREAT, 0600));
    struct flock l = range(F_WRLCK, 10, 10);
    OK(fcntl(fd, F_SETLK, &l));
    pid_t owner = getpid();
    IN_CHILD({
        struct flock q = range(F_WRLCK, 0, 100);
        OK(fcntl(fd, F_GETLK, &q));
        EQ(q.l_type, F_WRLCK);
        EQ(q.l_pid, owner);
        EQ(q.l_start, 10);
        EQ(q.l_len, 10);
        q = range(F_RDLCK, 15, 1);
        ERR(fcntl(fd, F_SETLK, &q), EAGAIN);
        q = range(F_WRLCK, 20, 0);
        OK(fcntl(fd, F_SETLK, &q));
        q = range(F_RDLCK, 0, 10);
        OK(fcntl(fd, F_SETLK, &q));
    });
    l = range(F_UNLCK, 12, 2);
    OK(fcntl(fd, F_SETLK, &l));
    IN_CHILD({
        struct flock q = range(F_WRLCK, 12, 2);
        OK(fcntl(fd, F_SETLK, &q));
        q = range(F_WRLCK, 0, 100);
        OK(fcntl(fd, F_GETLK, &q));
        EQ(q.l_len, 2);
    });
    /* Closing any descriptor of the file drops the process's record locks. */
    close(OK(open("file", O_RDONLY)));
    IN_CHILD({
        struct flock q = range(F_WRLCK, 0, 0);
        OK(fcntl(fd, F_SETLK, &q));
    });
    ok("fcntl locks belong to the process");

    /* A waiter gets it when the owner dies. */
    int p[2];
    OK(pipe(p));
    fflush(stdout);
    pid_t holder = OK(fork());
    if (holder == 0) {
        struct flock q = range(F_WRLCK, 0, 0);
        OK(fcntl(fd, F_SETLK, &q));
        write_all(p[1], "x", 1);
        until_asleep(getppid());
        raise(SIGKILL);
    }
    char c;
    read_all(p[0], &c, 1);
    l = range(F_WRLCK, 0, 0);
    OK(fcntl(fd, F_SETLKW, &l));
    reap(holder, KILLED(SIGKILL));
    ok("F_SETLKW, the owner killed");

    /* Deadlock is found. */
    l = range(F_UNLCK, 0, 0);
    OK(fcntl(fd, F_SETLK, &l));
    l = range(F_WRLCK, 0, 1);
    OK(fcntl(fd, F_SETLK, &l));
    holder = OK(fork());
    if (holder == 0) {
        struct flock q = range(F_WRLCK, 1, 1);
        OK(fcntl(fd, F_SETLK, &q));
        write_all(p[1], "x", 1);
        q = range(F_WRLCK, 0, 1);
        if (fcntl(fd, F_SETLKW, &q) < 0) {
            EQ(errno, EDEADLK);
            _exit(EDEADLK);
        }
        _exit(0);
    }
    read_all(p[0], &c, 1);
    until_asleep(holder);
    l = range(F_WRLCK, 1, 1);
    int got = fcntl(fd, F_SETLKW, &l);
    int why = errno;
    l = range(F_UNLCK, 0, 0);
    OK(fcntl(fd, F_SETLK, &l));
    if (got == 0) {
        /* The child closed the circle: it slept before its call (away it may), or a move had it make that again. */
        reap(holder, EXITED(EDEADLK));
    } else {
        EQ(got, -1);
        EQ(why, EDEADLK);
        reap(holder, 0);
    }
    ok("EDEADLK");

    /* flock and OFD locks belong to the open file: shared by fork, conflicting between two opens. */
    int other = OK(open("file", O_RDWR));
    OK(flock(fd, LOCK_EX));
    ERR(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    IN_CHILD(OK(flock(fd, LOCK_SH)));
    OK(flock(other, LOCK_SH | LOCK_NB));
    IN_CHILD(OK(flock(fd, LOCK_UN)));
    OK(flock(other, LOCK_EX | LOCK_NB));
    OK(flock(other, LOCK_UN));
    ok("flock");
    l = range(F_WRLCK, 0, 10);
    OK(fcntl(fd, F_OFD_SETLK, &l));
    ERR(fcntl(other, F_OFD_SETLK, &l), EAGAIN);
    IN_CHILD({
        struct flock q = range(F_WRLCK, 5, 10);
        OK(fcntl(fd, F_OFD_SETLK, &q));
    });
    struct flock q = range(F_WRLCK, 0, 0);
    OK(fcntl(other, F_OFD_GETLK, &q));
    EQ(q.l_pid, -1);
    EQ(q.l_len, 15);
    close(fd);
    OK(fcntl(other, F_OFD_SETLK, &l));
    close(other);
    ok("open file description locks");

    OK(unlink("file"));
    fd = OK(open("file", O_RDWR | O_CREAT, 0600));
    OK(lockf(fd, F_TLOCK, 100));
    IN_CHILD(ERR(lockf(fd, F_TEST, 100), EACCES));
    OK(lockf(fd, F_ULOCK, 100));
    OK(unlink("file"));
    ok("lockf");
    return 0;
}
