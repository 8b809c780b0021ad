/* Bad pointers: every call says EFAULT and does nothing, or does what it can before the bad page. */
#include "guest.h"
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    void *bad = bad_pointer;
    /* The second page may not be touched; the other mapping may not be written. */
    char *edge = OK(mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(mprotect(edge + 4096, 4096, PROT_NONE));
    char *read_only = OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    int fd = OK(open("file", O_RDWR | O_CREAT | O_TRUNC, 0600));
    write_all(fd, "0123456789abcdef", 16);
    int p[2];
    OK(pipe(p));

    ERR(pread(fd, bad, 16, 0), EFAULT);
    ERR(pread(fd, read_only, 16, 0), EFAULT);
    ERR(pwrite(fd, bad, 16, 0), EFAULT);
    ERR(write(p[1], bad, 16), EFAULT);
    ERR(write(p[1], (void *)-4096L, 16), EFAULT);
    EQ(OK(pwrite(fd, edge + 4092, 8, 100)), 4);
    write_all(p[1], "x", 1);
    ERR(read(p[0], bad, 1), EFAULT);
    OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
    char c = 0;
    ssize_t left = read(p[0], &c, 1);
    CHECK((left == 1 && c == 'x') || (left == -1 && errno == EAGAIN));
    struct iovec v[2] = {{&c, 1}, {bad, 8}};
    EQ(OK(preadv(fd, v, 2, 0)), 1);
    ERR(syscall(SYS_preadv, fd, bad, 2, 0, 0), EFAULT);
    ok("read and write");

    struct stat st;
    ERR(stat(bad, &st), EFAULT);
    ERR(syscall(SYS_stat, "file", bad), EFAULT);
    ERR(syscall(SYS_fstat, fd, bad), EFAULT);
    ERR(open(bad, O_RDONLY), EFAULT);
    ERR(access(bad, F_OK), EFAULT);
    ERR(unlink(bad), EFAULT);
    ERR(rename("file", bad), EFAULT);
    ERR(readlink("/proc/self/exe", bad, 10), EFAULT);
    ERR(chdir(bad), EFAULT);
    ERR(syscall(SYS_getcwd, bad, 4096), EFAULT);
    /* A string that runs into it. */
    memset(edge + 4090, 'a', 6);
    ERR(open(edge + 4090, O_RDONLY), EFAULT);
    edge[4095] = 0;
    ERR(open(edge + 4090, O_RDONLY), ENOENT);
    OK(syscall(SYS_stat, "file", edge + 4096 - sizeof(struct stat)));
    ERR(syscall(SYS_stat, "file", edge + 4096 - sizeof(struct stat) + 8), EFAULT);
    ok("paths and stat");

    ERR(syscall(SYS_pipe2, bad, 0), EFAULT);
    ERR(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, bad), EFAULT);
    ERR(syscall(SYS_poll, bad, 1, 0), EFAULT);
    ERR(syscall(SYS_select, 1, bad, NULL, NULL, NULL), EFAULT);
    int ep = OK(epoll_create1(0));
    ERR(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, p[0], bad), EFAULT);
    ERR(syscall(SYS_fcntl, fd, F_GETLK, bad), EFAULT);
    ERR(syscall(SYS_ioctl, p[0], 0x541b /* FIONREAD */, bad), EFAULT);
    ERR(syscall(SYS_sendmsg, 0, bad, 0), ENOTSOCK);
    int s = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    ERR(syscall(SYS_sendmsg, s, bad, 0), EFAULT);
    ERR(syscall(SYS_bind, s, bad, 16), EFAULT);
    ERR(syscall(SYS_getsockname, s, edge, bad), EFAULT);
    ok("descriptors and sockets");

    ERR(syscall(SYS_nanosleep, bad, NULL), EFAULT);
    ERR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad), EFAULT);
    ERR(syscall(SYS_gettimeofday, bad, NULL), EFAULT);
    ERR(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8), EFAULT);
    ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8), EFAULT);
    ERR(syscall(SYS_rt_sigpending, bad, 8), EFAULT);
    ERR(syscall(SYS_sigaltstack, bad, NULL), EFAULT);
    ERR(syscall(SYS_rt_sigtimedwait, bad, NULL, NULL, 8), EFAULT);
    ERR(syscall(SYS_setitimer, ITIMER_REAL, bad, NULL), EFAULT);
    ERR(syscall(SYS_wait4, -1, bad, 0, NULL), ECHILD);
    pid_t child = OK(fork());
    if (child == 0)
        _exit(0);
    while (state_of(child) != 'Z')
        sched_yield();
    ERR(syscall(SYS_wait4, child, bad, 0, NULL), EFAULT);
    ERR(syscall(SYS_uname, bad), EFAULT);
    ERR(syscall(SYS_sysinfo, bad), EFAULT);
    ERR(syscall(SYS_getrusage, RUSAGE_SELF, bad), EFAULT);
    ERR(syscall(SYS_getrlimit, RLIMIT_NOFILE, bad), EFAULT);
    ERR(syscall(SYS_times, bad), EFAULT);
    ERR(syscall(SYS_getrandom, bad, 8, 0), EFAULT);
    ok("time, signals, processes");
    ERR(syscall(12345, 1, 2, 3), ENOSYS);
    ERR(syscall(-1L), ENOSYS);
    ok("numbers that no call has");
    OK(unlink("file"));
    return 0;
}
