/* The guests of the measurements, by their first argument. Each prints one figure a line, of rounds that it timed
 * itself, so that start and placement are not in it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int file;
static char block[4096];
static uint32_t word;

static void call_getppid(void) { syscall(SYS_getppid); }

static void call_pread(void)
{
    if (pread(file, block, sizeof block, 0) != sizeof block)
        _exit(1);
}

static void call_mmap(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(at, 4096);
}

static void call_futex(void) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }
static void call_yield(void) { sched_yield(); }

/* The least filter that lets a futex call through by one of its arguments: what no kernel caches the verdict of. */
static int filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAIT, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Microseconds of one call. */
static int calls(void (*call)(void), long count)
{
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (long i = 0; i < count; i++)
            call();
        printf("%.4f\n", (now() - start) * 1e6 / count);
    }
    return 0;
}

/* Seconds of mixing 64 KiB again and again, as a digest does. */
static int mix(long passes)
{
    static uint64_t data[8192];
    uint64_t sum = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 8192; i++)
        data[i] = i * sum;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (long pass = 0; pass < passes; pass++)
            for (int i = 0; i < 8192; i++) {
                sum = (sum ^ data[i]) * 0xff51afd7ed558ccdu;
                sum ^= sum >> 29;
                data[i] += sum;
            }
        printf("%.6f\n", now() - start);
    }
    return sum == 1;
}

/* Microseconds of fork, exec and wait of `true`. */
static int spawn(long count)
{
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (long i = 0; i < count; i++) {
            pid_t child = fork();
            if (child == 0) {
                execl("/bin/true", "true", NULL);
                _exit(127);
            }
            int status;
            if (waitpid(child, &status, 0) != child || status != 0)
                return 1;
        }
        printf("%.2f\n", (now() - start) * 1e6 / count);
    }
    return 0;
}

/* Writes MiB of memory that has no zero page, says its pid, and waits for the end of standard input. Meanwhile it writes
 * so many MiB of it a second again, with what they hold. */
static int hold(long mib, double rate)
{
    size_t bytes = (size_t)mib << 20;
    uint64_t *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t value = 88172645463325252u;
    if (data == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < bytes / 8; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        data[i] = value;
    }
    printf("%d\n", getpid());
    fflush(stdout);
    const double step = 0.002;
    size_t at = 0;
    for (;;) {
        struct pollfd input = { .fd = 0, .events = POLLIN };
        if (poll(&input, 1, rate > 0 ? 0 : -1) > 0 && read(0, block, sizeof block) <= 0)
            break;
        double until = now() + step;
        for (double left = rate * step * (1 << 20); left > 0; left -= 4096, at = (at + 4096) % bytes)
            *(volatile uint64_t *)((char *)data + at) = *(uint64_t *)((char *)data + at);
        while (rate > 0 && now() < until)
            ;
    }
    uint64_t check = 88172645463325252u;
    for (size_t i = 0; i < bytes / 8; i++) {
        check ^= check << 13;
        check ^= check >> 7;
        check ^= check << 17;
        if (data[i] != check)
            return 2;
    }
    return 0;
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count < 3)
        return 125;
    long number = atol(words[2]);
    if (!strcmp(words[1], "getppid"))
        return calls(call_getppid, number);
    if (!strcmp(words[1], "pread")) {
        file = open("/proc/self/exe", O_RDONLY);
        return file < 0 ? 1 : calls(call_pread, number);
    }
    if (!strcmp(words[1], "mmap"))
        return calls(call_mmap, number);
    if (!strcmp(words[1], "futex"))
        return calls(call_futex, number);
    if (!strcmp(words[1], "filtered-futex"))
        return filter() || calls(call_futex, number);
    if (!strcmp(words[1], "yield"))
        return calls(call_yield, number);
    if (!strcmp(words[1], "mix"))
        return mix(number);
    if (!strcmp(words[1], "spawn"))
        return spawn(number);
    if (!strcmp(words[1], "hold"))
        return hold(number, count > 3 ? atof(words[3]) : 0);
    return 125;
}
