/* More threads than a deputy once had places for, all there at the same time. */
#include "guest.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CROWD = 1000, STACK_BYTES = 64 << 10 };

static pthread_barrier_t all_here;
static atomic_int seen;

static void *one_of_many(void *arg)
{
    seen++;
    int ret = pthread_barrier_wait(&all_here);
    CHECK(ret == 0 || ret == PTHREAD_BARRIER_SERIAL_THREAD);
    return arg;
}

int main(void)
{
    static pthread_t threads[CROWD];
    pthread_attr_t small;
    setvbuf(stdout, NULL, _IONBF, 0);
    RET(pthread_attr_init(&small), 0);
    RET(pthread_attr_setstacksize(&small, STACK_BYTES), 0);
    RET(pthread_barrier_init(&all_here, NULL, CROWD + 1), 0);
    for (int i = 0; i < CROWD; i++)
        RET(pthread_create(&threads[i], &small, one_of_many, NULL), 0);
    int ret = pthread_barrier_wait(&all_here);
    CHECK(ret == 0 || ret == PTHREAD_BARRIER_SERIAL_THREAD);
    EQ(seen, CROWD);
    ok("all are here");
    for (int i = 0; i < CROWD; i++)
        RET(pthread_join(threads[i], NULL), 0);
    ok("all are gone");
    return 0;
}
