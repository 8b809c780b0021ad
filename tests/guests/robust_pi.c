/* Robust and priority-inheriting mutexes: their futex words hold tids, and the kernel acts on them when an owner dies. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>

static pthread_mutex_t *shared_mutex(int kind, int protocol, int robust)
{
    pthread_mutex_t *m = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attr;
    RET(pthread_mutexattr_init(&attr), 0);
    RET(pthread_mutexattr_settype(&attr, kind), 0);
    RET(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    RET(pthread_mutexattr_setrobust(&attr, robust), 0);
    RET(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    RET(pthread_mutex_init(m, &attr), 0);
    return m;
}

static pthread_mutex_t private_mutex(int kind, int protocol, int robust)
{
    pthread_mutex_t m;
    pthread_mutexattr_t attr;
    RET(pthread_mutexattr_init(&attr), 0);
    RET(pthread_mutexattr_settype(&attr, kind), 0);
    RET(pthread_mutexattr_setprotocol(&attr, protocol), 0);
    RET(pthread_mutexattr_setrobust(&attr, robust), 0);
    RET(pthread_mutex_init(&m, &attr), 0);
    return m;
}

static pthread_mutex_t mutex;
static long counter;

static void *lock_and_die(void *arg)
{
    RET(pthread_mutex_lock(&mutex), 0);
    return arg;
}

static void *add(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        RET(pthread_mutex_lock(&mutex), 0);
        counter++;
        if (i % 64 == 0)
            sched_yield();
        RET(pthread_mutex_unlock(&mutex), 0);
    }
    return arg;
}

static void in_threads(int protocol, const char *name)
{
    pthread_t t[6];
    mutex = private_mutex(PTHREAD_MUTEX_NORMAL, protocol, PTHREAD_MUTEX_STALLED);
    counter = 0;
    for (int i = 0; i < 6; i++)
        RET(pthread_create(&t[i], NULL, add, NULL), 0);
    for (int i = 0; i < 6; i++)
        RET(pthread_join(t[i], NULL), 0);
    EQ(counter, 6 * 2000);

    mutex = private_mutex(PTHREAD_MUTEX_ERRORCHECK, protocol, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 20; i++) {
        RET(pthread_create(&t[0], NULL, lock_and_die, NULL), 0);
        RET(pthread_join(t[0], NULL), 0);
        RET(pthread_mutex_lock(&mutex), EOWNERDEAD);
        RET(pthread_mutex_consistent(&mutex), 0);
        RET(pthread_mutex_lock(&mutex), EDEADLK);
        RET(pthread_mutex_unlock(&mutex), 0);
        RET(pthread_mutex_unlock(&mutex), EPERM);
    }
    RET(pthread_create(&t[0], NULL, lock_and_die, NULL), 0);
    RET(pthread_join(t[0], NULL), 0);
    RET(pthread_mutex_lock(&mutex), EOWNERDEAD);
    RET(pthread_mutex_unlock(&mutex), 0);
    RET(pthread_mutex_lock(&mutex), ENOTRECOVERABLE);
    ok(name);
}

static void across_processes(int protocol, const char *name)
{
    pthread_mutex_t *m = shared_mutex(PTHREAD_MUTEX_ERRORCHECK, protocol, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 5; i++) {
        pid_t pid = OK(fork());
        if (pid == 0) {
            RET(pthread_mutex_lock(m), 0);
            if (i % 2 == 0)
                _exit(0);
            raise(SIGKILL);
        }
        reap(pid, i % 2 == 0 ? 0 : KILLED(SIGKILL));
        RET(pthread_mutex_lock(m), EOWNERDEAD);
        RET(pthread_mutex_consistent(m), 0);
        RET(pthread_mutex_unlock(m), 0);
    }
    /* A waiter is woken by the owner's death. */
    int p[2];
    OK(pipe(p));
    pid_t pid = OK(fork());
    if (pid == 0) {
        RET(pthread_mutex_lock(m), 0);
        write_all(p[1], "x", 1);
        until_asleep(getppid());
        _exit(0);
    }
    char c;
    read_all(p[0], &c, 1);
    RET(pthread_mutex_lock(m), EOWNERDEAD);
    RET(pthread_mutex_consistent(m), 0);
    RET(pthread_mutex_unlock(m), 0);
    reap(pid, 0);
    /* exec kills the owner too. */
    pid = OK(fork());
    if (pid == 0) {
        RET(pthread_mutex_lock(m), 0);
        execl("/bin/true", "true", (char *)NULL);
        _exit(99);
    }
    reap(pid, 0);
    RET(pthread_mutex_lock(m), EOWNERDEAD);
    close(p[0]);
    close(p[1]);
    OK(munmap(m, 4096));
    ok(name);
}

/* The words themselves: a locked PI mutex holds the owner's tid, a dead owner leaves FUTEX_OWNER_DIED. */
static void words(void)
{
    static uint32_t word;
    OK(syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    EQ(word & FUTEX_TID_MASK, gettid());
    ERR(syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
    OK(syscall(SYS_futex, &word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    EQ(word, 0);
    word = 0x3ffffff;
    ERR(syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), ESRCH);
    word = 5;
    ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), EAGAIN);
    struct timespec ts = {0, 20000000};
    ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &ts, NULL, 0), ETIMEDOUT);
    EQ(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
    ERR(syscall(SYS_futex, (char *)&word + 1, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0), EINVAL);
    ERR(syscall(SYS_futex, bad_pointer, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0), EFAULT);
    void *head = NULL;
    size_t size = 0;
    OK(syscall(SYS_get_robust_list, 0, &head, &size));
    CHECK(head != NULL);
    EQ(size, sizeof(struct robust_list_head));
    ok("futex words");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    in_threads(PTHREAD_PRIO_NONE, "robust, in threads");
    in_threads(PTHREAD_PRIO_INHERIT, "robust and PI, in threads");
    across_processes(PTHREAD_PRIO_NONE, "robust, across processes");
    across_processes(PTHREAD_PRIO_INHERIT, "robust and PI, across processes");
    words();
    return 0;
}
