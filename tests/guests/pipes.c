/* Pipes: big writes, atomic small ones, non-blocking ends, end of file, SIGPIPE. */
#include "guest.h"
#include <pthread.h>
#include <sys/ioctl.h>

enum { BIG = 5 << 20 };
static unsigned char *data;

static void *write_big(void *arg)
{
    EQ(OK(write(*(int *)arg, data, BIG)), BIG);
    close(*(int *)arg);
    return NULL;
}

static volatile sig_atomic_t pipes;

static void on_pipe(int sig)
{
    (void)sig;
    pipes++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    data = malloc(BIG);
    unsigned char *got = malloc(BIG);
    fill(data, BIG, 1);
    int p[2];
    pthread_t t;
    char c;
    OK(pipe(p));
    RET(pthread_create(&t, NULL, write_big, &p[1]), 0);
    read_all(p[0], got, BIG);
    EQ(OK(read(p[0], &c, 1)), 0);
    RET(pthread_join(t, NULL), 0);
    CHECK(memcmp(data, got, BIG) == 0);
    close(p[0]);
    ok("one write of 5 MiB");

    OK(pipe(p));
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        close(p[0]);
        EQ(OK(write(p[1], data, BIG)), BIG);
        _exit(0);
    }
    close(p[1]);
    memset(got, 0, BIG);
    size_t n = 0;
    for (ssize_t r; (r = OK(read(p[0], got + n, n % 3 ? 100000 : 7777))) > 0;)
        n += (size_t)r;
    EQ(n, BIG);
    CHECK(memcmp(data, got, BIG) == 0);
    reap(pid, 0);
    close(p[0]);
    ok("the same between processes");

    /* Writes of up to PIPE_BUF bytes do not mix. */
    OK(pipe(p));
    for (int i = 0; i < 4; i++)
        if (OK(fork()) == 0) {
            char line[512];
            memset(line, 'a' + i, sizeof line);
            for (int k = 0; k < 200; k++)
                EQ(OK(write(p[1], line, sizeof line)), 512);
            _exit(0);
        }
    close(p[1]);
    int lines[4] = {0};
    for (int i = 0; i < 800; i++) {
        char line[512];
        read_all(p[0], line, sizeof line);
        for (int k = 1; k < 512; k++)
            EQ(line[k], line[0]);
        lines[line[0] - 'a']++;
    }
    EQ(OK(read(p[0], &c, 1)), 0);
    for (int i = 0; i < 4; i++) {
        int status;
        OK(wait(&status));
        EQ(status, 0);
        EQ(lines[i], 200);
    }
    close(p[0]);
    ok("atomic writes of four processes");

    OK(pipe2(p, O_NONBLOCK));
    ERR(read(p[0], &c, 1), EAGAIN);
    int size = OK(fcntl(p[0], F_GETPIPE_SZ));
    n = 0;
    for (ssize_t r; (r = write(p[1], data, 1000)) > 0;)
        n += (size_t)r;
    EQ(errno, EAGAIN);
    CHECK((int)n <= size && (int)n > size / 2);
    int queued;
    OK(ioctl(p[0], FIONREAD, &queued));
    EQ(queued, n);
    EQ(OK(fcntl(p[1], F_SETPIPE_SZ, 1 << 20)), 1 << 20);
    CHECK(OK(write(p[1], data, BIG)) > 900000);
    close(p[0]);
    ERR((signal(SIGPIPE, SIG_IGN), write(p[1], data, 1)), EPIPE);
    set_handler(SIGPIPE, on_pipe, 0);
    ERR(write(p[1], data, 1), EPIPE);
    EQ(pipes, 1);
    signal(SIGPIPE, SIG_DFL);
    pid = OK(fork());
    if (pid == 0) {
        if (write(p[1], data, 1))
            _exit(0);
        _exit(1);
    }
    reap(pid, KILLED(SIGPIPE));
    close(p[1]);
    ok("full and broken pipes");

    /* Ping-pong: strict alternation over two pipes. */
    int a[2], b[2];
    OK(pipe(a));
    OK(pipe(b));
    pid = OK(fork());
    if (pid == 0) {
        for (int i = 0; i < 1000; i++) {
            int v;
            read_all(a[0], &v, sizeof v);
            v++;
            write_all(b[1], &v, sizeof v);
        }
        _exit(0);
    }
    for (int i = 0; i < 1000; i++) {
        int v = i;
        write_all(a[1], &v, sizeof v);
        read_all(b[0], &v, sizeof v);
        EQ(v, i + 1);
    }
    reap(pid, 0);
    ok("1,000 round trips");
    return 0;
}
