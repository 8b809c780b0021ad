/* Orphans, subreapers, daemons, sessions and process groups. */
#include "guest.h"
#include <sys/prctl.h>

/* The child of a child that died belongs to the nearest subreaper. */
static void orphans(void)
{
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int is = 0;
    OK(prctl(PR_GET_CHILD_SUBREAPER, &is));
    EQ(is, 1);
    pid_t mine = getpid();
    int gate[2], report[2];
    OK(pipe(gate));
    OK(pipe(report));
    pid_t middle = OK(fork());
    if (middle == 0) {
        pid_t orphan = OK(fork());
        if (orphan == 0) {
            char c;
            close(gate[1]);
            EQ(read(gate[0], &c, 1), 0);
            EQ(getppid(), mine);
            _exit(17);
        }
        write_all(report[1], &orphan, sizeof orphan);
        _exit(0);
    }
    pid_t orphan;
    read_all(report[0], &orphan, sizeof orphan);
    reap(middle, 0);
    close(gate[0]);
    close(gate[1]);
    reap(orphan, EXITED(17));
    ok("an orphan goes to the subreaper");

    /* PR_SET_PDEATHSIG */
    middle = OK(fork());
    if (middle == 0) {
        pid_t held = OK(fork());
        if (held == 0) {
            OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
            write_all(report[1], &(pid_t){getpid()}, sizeof(pid_t));
            for (;;)
                pause();
        }
        pid_t ready;
        read_all(report[0], &ready, sizeof ready);
        EQ(ready, held);
        write_all(report[1], &held, sizeof held);
        _exit(0);
    }
    reap(middle, 0);
    read_all(report[0], &orphan, sizeof orphan);
    reap(orphan, KILLED(SIGUSR1));
    ok("PR_SET_PDEATHSIG");

    /* A daemon: fork, setsid, fork; it works on after everything before it is gone. */
    middle = OK(fork());
    if (middle == 0) {
        OK(setsid());
        pid_t daemon = OK(fork());
        if (daemon > 0)
            _exit(0);
        CHECK(getsid(0) != getpid());
        OK(chdir("/"));
        umask(0);
        pid_t me = getpid();
        write_all(report[1], &me, sizeof me);
        _exit(5);
    }
    reap(middle, 0);
    pid_t daemon;
    read_all(report[0], &daemon, sizeof daemon);
    reap(daemon, EXITED(5));
    OK(prctl(PR_SET_CHILD_SUBREAPER, 0));
    ok("a double-forked daemon");
    close(report[0]);
    close(report[1]);
}

static void sessions(void)
{
    IN_CHILD({
        pid_t me = getpid();
        EQ(OK(setsid()), me);
        EQ(getsid(0), me);
        EQ(getpgrp(), me);
        ERR(setsid(), EPERM);
        ERR(setpgid(0, 0), EPERM);
        ERR(open("/dev/tty", O_RDWR), ENXIO);
    });
    ok("setsid");

    IN_CHILD({
        OK(setpgid(0, 0));
        EQ(getpgid(0), getpid());
        ERR(setsid(), EPERM);
        ERR(setpgid(0, -1), EINVAL);
        ERR(getpgid(0x3ffffff), ESRCH);
        pid_t child = OK(fork());
        if (child == 0) {
            EQ(getpgrp(), getppid());
            OK(setsid());
            for (;;)
                pause();
        }
        while (getsid(child) != child)
            sched_yield();
        ERR(setpgid(child, getpgrp()), EPERM);
        OK(kill(child, SIGKILL));
        reap(child, KILLED(SIGKILL));
    });
    ok("setpgid and its errors");

    /* EACCES: the child has already executed a program. */
    int gate[2];
    OK(pipe(gate));
    int out[2];
    OK(pipe(out));
    pid_t child = OK(fork());
    if (child == 0) {
        dup2(gate[0], 0);
        dup2(out[1], 1);
        close(gate[0]);
        close(gate[1]);
        close(out[0]);
        close(out[1]);
        execl("/bin/sh", "sh", "-c", "echo; read x; exit 0", (char *)NULL);
        _exit(127);
    }
    char c;
    read_all(out[0], &c, 1);
    ERR(setpgid(child, child), EACCES);
    write_all(gate[1], "\n", 1);
    reap(child, 0);
    close(gate[0]);
    close(gate[1]);
    close(out[0]);
    close(out[1]);
    ok("setpgid after exec");

    /* A newly orphaned process group with a stopped member gets SIGHUP and SIGCONT. */
    OK(pipe(out));
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t session = OK(fork());
    if (session == 0) {
        OK(setsid());
        pid_t member = OK(fork());
        if (member == 0) {
            OK(setpgid(0, 0));
            raise(SIGSTOP);
            _exit(0);
        }
        int status;
        EQ(OK(waitpid(member, &status, WUNTRACED)), member);
        CHECK(WIFSTOPPED(status));
        write_all(out[1], &member, sizeof member);
        _exit(0);
    }
    pid_t member;
    read_all(out[0], &member, sizeof member);
    reap(session, 0);
    reap(member, KILLED(SIGHUP));
    OK(prctl(PR_SET_CHILD_SUBREAPER, 0));
    close(out[0]);
    close(out[1]);
    ok("an orphaned stopped group gets SIGHUP");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    orphans();
    sessions();
    return 0;
}
