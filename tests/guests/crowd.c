/* Many threads, all there at the same time: as many as can be away, and more, with which a process comes home. */
#include "guest.h"

#include <pthread.h>
#include <stdatomic.h>

enum { AWAY = 1000, HOME = 1400, STACK_BYTES = 64 << 10 };

static pthread_barrier_t all_here;
static atomic_int seen;

static void *one_of_many(void *arg)
{
    seen++;
    int ret = pthread_barrier_wait(&all_here);
    CHECK(ret == 0 || ret == PTHREAD_BARRIER_SERIAL_THREAD);
    return arg;
}

static void meet(int count)
{
    static pthread_t threads[HOME];
    pthread_attr_t small;
    seen = 0;
    RET(pthread_attr_init(&small), 0);
    RET(pthread_attr_setstacksize(&small, STACK_BYTES), 0);
    RET(pthread_barrier_init(&all_here, NULL, (unsigned)count + 1), 0);
    for (int i = 0; i < count; i++)
        RET(pthread_create(&threads[i], &small, one_of_many, NULL), 0);
    int ret = pthread_barrier_wait(&all_here);
    CHECK(ret == 0 || ret == PTHREAD_BARRIER_SERIAL_THREAD);
    EQ(seen, count);
    for (int i = 0; i < count; i++)
        RET(pthread_join(threads[i], NULL), 0);
    RET(pthread_barrier_destroy(&all_here), 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    meet(AWAY);
    ok("a thousand threads");
    meet(HOME);
    ok("more");
    return 0;
}
