/* What libc does not show: rseq's registration, the thread's own kernel pointers, the auxiliary vector, clear_child_tid. */
#include "guest.h"
#include <linux/futex.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/rseq.h>

static struct rseq *mine(void)
{
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static void *check_rseq(void *arg)
{
    struct rseq *r = mine();
    for (int i = 0; i < 2000; i++) {
        unsigned cpu = __atomic_load_n(&r->cpu_id, __ATOMIC_RELAXED);
        CHECK((int)cpu >= 0 && (long)cpu < sysconf(_SC_NPROCESSORS_CONF));
        EQ(r->cpu_id_start, r->cpu_id);
        if (i % 100 == 0)
            sched_yield();
        getppid();
    }
    return arg;
}

static char clone_stack[64 << 10] __attribute__((aligned(16)));
static volatile pid_t tid_word;

static int clone_body(void *arg)
{
    *(volatile int *)arg = (int)syscall(SYS_gettid);
    return 0;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (__rseq_size > 0) {
        check_rseq(NULL);
        pthread_t t[3];
        for (int i = 0; i < 3; i++)
            RET(pthread_create(&t[i], NULL, check_rseq, NULL), 0);
        for (int i = 0; i < 3; i++)
            RET(pthread_join(t[i], NULL), 0);
        IN_CHILD(check_rseq(NULL));
        /* Already registered: the same again is EBUSY, another is EINVAL. */
        ERR(syscall(SYS_rseq, mine(), 32, 0, RSEQ_SIG), EBUSY);
        ERR(syscall(SYS_rseq, mine(), 32, 0, RSEQ_SIG + 1), EPERM);
    }
    ok("rseq");

    /* CLONE_CHILD_CLEARTID: the word is cleared and its waiter woken when the thread is gone. */
    int seen = 0;
    tid_word = -1;
    pid_t tid = OK(clone(clone_body, clone_stack + sizeof clone_stack,
                         CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                             CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                         &seen, &tid_word, NULL, &tid_word));
    for (pid_t now; (now = tid_word) != 0;)
        syscall(SYS_futex, &tid_word, FUTEX_WAIT, now, NULL, NULL, 0);
    EQ(*(volatile int *)&seen, tid);
    EQ(syscall(SYS_set_tid_address, &tid_word), getpid());
    ok("clear_child_tid");

    CHECK(getauxval(AT_PAGESZ) == 4096);
    EQ(getauxval(AT_UID), getuid());
    EQ(getauxval(AT_SECURE), 0);
    CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
    CHECK(memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4) == 0);
    CHECK(getauxval(AT_RANDOM) != 0);
    CHECK(strstr((char *)getauxval(AT_EXECFN), "raw_calls") != NULL);
    ok("auxiliary vector");

    static int word;
    EQ(syscall(SYS_membarrier, 0, 0, 0) >= 0, 1);
    EQ(syscall(SYS_futex, &word, FUTEX_REQUEUE_PRIVATE, 1, 1, &word, 0), 0);
    ERR(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, &word, 5), EAGAIN);
    EQ(syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, &word, FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)), 0);
    EQ(word, 7);
    ERR(syscall(SYS_futex, &word, 99, 0, NULL, NULL, 0), ENOSYS);
    ok("futex operations");
    return 0;
}
