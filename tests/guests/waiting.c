/* Waiting as it looks to a program: no child that it did not make, whatever its SIGCHLD. */
#include "guest.h"
#include <sys/prctl.h>

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    int status;
    siginfo_t info;
    ERR(wait(&status), ECHILD);
    ERR(waitpid(-1, &status, WNOHANG), ECHILD);
    /* Whatever is in a pid namespace descends from its pid 1: there a supervisor has to be a child, one that wait
       without __WALL and __WCLONE does not see. */
    if (getpid() != 1)
        ERR(waitpid(-1, &status, __WALL), ECHILD);
    ERR(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), ECHILD);
    ERR(waitpid(0, &status, 0), ECHILD);
    ok("no child at the start");
    /* A subreaper gets its own orphans and nobody else's. */
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    for (int i = 0; argc == 1 && i < 20; i++) {
        pid_t pid = OK(fork());
        if (pid == 0) {
            if (OK(fork()) == 0)
                _exit(0);
            _exit(1);
        }
        int ones = 0, zeros = 0;
        for (int k = 0; k < 2; k++) {
            OK(wait(&status));
            ones += status == EXITED(1);
            zeros += status == 0;
        }
        EQ(ones, 1);
        EQ(zeros, 1);
        ERR(wait(&status), ECHILD);
    }
    OK(prctl(PR_SET_CHILD_SUBREAPER, 0));
    ok("a subreaper's children");
    set_handler(SIGCHLD, SIG_IGN, 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            _exit(1);
        ERR(waitpid(pid, &status, 0), ECHILD);
        /* wait may end just before the kernel forgets the number. */
        for (int64_t end = now_ms() + 5000; kill(pid, 0) == 0;)
            CHECK(now_ms() < end);
        EQ(errno, ESRCH);
    }
    ERR(wait(&status), ECHILD);
    ok("SIGCHLD ignored");
    /* exec keeps the ignored SIGCHLD, and a child made before. */
    if (argc == 1) {
        if (OK(fork()) == 0)
            _exit(0);
        char *args[] = {argv[0], "again", NULL};
        execv("/proc/self/exe", args);
        FAIL("execv");
    }
    set_handler(SIGCHLD, SIG_DFL, 0);
    pid_t pid = OK(fork());
    if (pid == 0)
        _exit(9);
    EQ(OK(wait(&status)), pid);
    EQ(status, EXITED(9));
    ERR(wait(&status), ECHILD);
    ok("SIGCHLD by default again");
    return 0;
}
