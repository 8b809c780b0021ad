/* POSIX threads: mutexes, condition variables, barriers, rwlocks, semaphores, TLS, cancellation, and storms of them. */
#include "guest.h"
#include <pthread.h>
#include <semaphore.h>

enum { THREADS = 8, ROUNDS = 5000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t sem;
static long counter, turn;
static __thread long per_thread = 1234;
static __thread char tls_block[4096];

static void run(void *(*body)(void *), int n)
{
    pthread_t t[64];
    for (intptr_t i = 0; i < n; i++)
        RET(pthread_create(&t[i], NULL, body, (void *)i), 0);
    for (intptr_t i = 0; i < n; i++) {
        void *value;
        RET(pthread_join(t[i], &value), 0);
        EQ((intptr_t)value, i);
    }
}

static void *add_locked(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        RET(pthread_mutex_lock(&mutex), 0);
        counter++;
        RET(pthread_mutex_unlock(&mutex), 0);
    }
    return arg;
}

static void *take_turns(void *arg)
{
    for (int i = 0; i < 100; i++) {
        RET(pthread_mutex_lock(&mutex), 0);
        while (turn % THREADS != (intptr_t)arg)
            RET(pthread_cond_wait(&cond, &mutex), 0);
        turn++;
        RET(pthread_cond_broadcast(&cond), 0);
        RET(pthread_mutex_unlock(&mutex), 0);
    }
    return arg;
}

static int arrived[THREADS];

static void *meet(void *arg)
{
    for (int i = 1; i <= 200; i++) {
        __atomic_store_n(&arrived[(intptr_t)arg], i, __ATOMIC_SEQ_CST);
        int r = pthread_barrier_wait(&barrier);
        CHECK(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
        for (int k = 0; k < THREADS; k++)
            CHECK(__atomic_load_n(&arrived[k], __ATOMIC_SEQ_CST) >= i);
        r = pthread_barrier_wait(&barrier);
        CHECK(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
    }
    return arg;
}

static long a, b;

static void *read_write(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        if ((intptr_t)arg == 0) {
            RET(pthread_rwlock_wrlock(&rwlock), 0);
            a++;
            b++;
        } else {
            RET(pthread_rwlock_rdlock(&rwlock), 0);
            EQ(a, b);
        }
        RET(pthread_rwlock_unlock(&rwlock), 0);
    }
    return arg;
}

static void *use_tls(void *arg)
{
    EQ(per_thread, 1234);
    per_thread = (intptr_t)arg;
    memset(tls_block, (int)(intptr_t)arg, sizeof tls_block);
    for (int i = 0; i < 200; i++) {
        sched_yield();
        getppid();
        EQ(per_thread, (intptr_t)arg);
        EQ(tls_block[i * 20], (char)(intptr_t)arg);
    }
    return arg;
}

static void *own_tid(void *arg)
{
    pid_t tid = gettid();
    CHECK(tid != getpid());
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    OK(access(path, F_OK));
    for (int i = 0; i < 50; i++)
        EQ(gettid(), tid);
    return arg;
}

static void *wait_forever(void *arg)
{
    (void)arg;
    int p[2];
    char c;
    OK(pipe(p));
    CHECK(read(p[0], &c, 1) == 1);
    return NULL;
}

static void *fork_in_thread(void *arg)
{
    for (int i = 0; i < 5; i++) {
        pid_t pid = OK(fork());
        if (pid == 0)
            _exit(getpid() == gettid() ? 8 : 1);
        reap(pid, EXITED(8));
    }
    return arg;
}

static void *post_and_wait(void *arg)
{
    for (int i = 0; i < 500; i++) {
        OK(sem_wait(&sem));
        counter++;
        OK(sem_post(&sem));
    }
    return arg;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *child_of_thread(void *arg)
{
    pthread_t t;
    void *value;
    RET(pthread_create(&t, NULL, nothing, arg), 0);
    RET(pthread_join(t, &value), 0);
    return value;
}

static volatile int done;

static void *calls_without_end(void *arg)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    while (!done)
        OK(sigaction(SIGUSR1, &ignore, NULL));
    return arg;
}

/* Threads that are busy with calls of their own kernel keep nobody from home. */
static void busy(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        RET(pthread_create(&threads[i], NULL, calls_without_end, NULL), 0);
    for (int i = 0; i < 100; i++)
        OK(access("/", R_OK));
    done = 1;
    for (int i = 0; i < 3; i++)
        RET(pthread_join(threads[i], NULL), 0);
    ok("threads that call without end");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    run(add_locked, THREADS);
    EQ(counter, THREADS * ROUNDS);
    ok("mutex");
    run(take_turns, THREADS);
    EQ(turn, THREADS * 100);
    ok("condition variable");
    RET(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    run(meet, THREADS);
    ok("barrier");
    run(read_write, THREADS);
    ok("read-write lock");
    OK(sem_init(&sem, 0, 1));
    counter = 0;
    run(post_and_wait, THREADS);
    EQ(counter, 500 * THREADS);
    ok("semaphore");
    run(use_tls, THREADS);
    EQ(per_thread, 1234);
    ok("thread-local storage");
    run(own_tid, THREADS);
    ok("thread ids");
    run(fork_in_thread, 4);
    ok("fork from threads");

    struct timespec ts;
    OK(clock_gettime(CLOCK_REALTIME, &ts));
    ts.tv_nsec += 30 * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    int64_t start = now_ms();
    RET(pthread_mutex_lock(&mutex), 0);
    RET(pthread_cond_timedwait(&cond, &mutex, &ts), ETIMEDOUT);
    RET(pthread_mutex_unlock(&mutex), 0);
    CHECK(now_ms() - start >= 28);
    ok("timed wait");

    pthread_t t;
    void *value;
    RET(pthread_create(&t, NULL, wait_forever, NULL), 0);
    RET(pthread_cancel(t), 0);
    RET(pthread_join(t, &value), 0);
    CHECK(value == PTHREAD_CANCELED);
    ok("cancellation in a blocked read");

    for (int i = 0; i < 40; i++)
        run(nothing, 16);
    ok("a storm of short threads");
    for (int i = 0; i < 10; i++)
        run(child_of_thread, 16);
    ok("threads made by threads");
    busy();
    return 0;
}
