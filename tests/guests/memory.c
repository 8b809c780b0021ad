/* Much memory: deep stacks, huge arrays sparsely and densely touched, many mappings, allocation from threads. */
#include "guest.h"
#include <pthread.h>
#include <sys/resource.h>

__attribute__((noinline)) static uint64_t descend(int n, uint64_t seed)
{
    volatile unsigned char frame[1000];
    frame[0] = (unsigned char)seed;
    frame[999] = (unsigned char)(seed >> 8);
    uint64_t below = n == 0 ? seed : descend(n - 1, seed * 6364136223846793005ULL + 1);
    CHECK(frame[0] == (unsigned char)seed && frame[999] == (unsigned char)(seed >> 8));
    return below + frame[0];
}

static void *deep(void *arg)
{
    *(uint64_t *)arg = descend(500, 3);
    return NULL;
}

static uint64_t table[4 << 20]; /* 32 MiB of bss */

static void *churn(void *arg)
{
    uint64_t state = (uintptr_t)arg + 1;
    unsigned char *kept[64] = {0};
    size_t sizes[64] = {0};
    for (int i = 0; i < 4000; i++) {
        int k = (int)(next_random(&state) % 64);
        if (kept[k]) {
            CHECK(kept[k][0] == (unsigned char)k && kept[k][sizes[k] - 1] == (unsigned char)k);
            free(kept[k]);
        }
        sizes[k] = 1 + next_random(&state) % (i % 50 ? 5000 : 300000);
        kept[k] = malloc(sizes[k]);
        memset(kept[k], k, sizes[k]);
    }
    for (int k = 0; k < 64; k++)
        free(kept[k]);
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    struct rlimit limit;
    OK(getrlimit(RLIMIT_STACK, &limit));
    /* 7 of the usual 8 MiB. */
    int depth = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (8 << 20) ? 7000 : (int)(limit.rlim_cur / 1300);
    uint64_t first = descend(depth, 3);
    for (int i = 0; i < 3; i++)
        EQ(descend(depth, 3), first);
    ok("a deep stack");
    pthread_t t;
    uint64_t a = 0, b = descend(500, 3);
    RET(pthread_create(&t, NULL, deep, &a), 0);
    RET(pthread_join(t, NULL), 0);
    EQ(a, b);
    ok("a deep stack of a thread");

    uint64_t state = 1, sum = 0, again = 0;
    size_t n = sizeof table / sizeof *table;
    for (size_t i = 0; i < n; i++)
        table[i] = next_random(&state);
    for (size_t i = 0; i < n; i++)
        sum += table[i] * i;
    IN_CHILD({
        for (size_t i = 0; i < n; i += 512)
            table[i]++;
    });
    for (size_t i = 0; i < n; i++)
        again += table[i] * i;
    CHECK(sum == again);
    ok("32 MiB of bss");

    size_t huge = 8ULL << 30;
    unsigned char *p =
        OK(mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (size_t at = 0; at < huge; at += huge / 256)
        p[at + 123] = (unsigned char)(at >> 20);
    for (size_t at = 0; at < huge; at += huge / 256) {
        EQ(p[at + 123], (unsigned char)(at >> 20));
        EQ(p[at + 5000], 0);
    }
    OK(munmap(p, huge));
    ok("8 GiB, sparsely touched");

    enum { MAPS = 2000 };
    static unsigned char *maps[MAPS];
    for (int i = 0; i < MAPS; i++) {
        int prot = i % 2 ? PROT_READ | PROT_WRITE : PROT_READ;
        maps[i] = OK(mmap(NULL, 8192, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (i % 2)
            maps[i][i] = (unsigned char)i;
    }
    for (int i = 1; i < MAPS; i += 2)
        EQ(maps[i][i], (unsigned char)i);
    for (int i = 0; i < MAPS; i++)
        OK(munmap(maps[i], 8192));
    ok("2,000 mappings");
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        RET(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        RET(pthread_join(threads[i], NULL), 0);
    ok("allocation in threads");
    return 0;
}
