/* Memory that changes while it is being copied: pages written, zeroed, dropped, unmapped, mapped again, moved, protected,
 * of zeroes and of a file, by several threads. Each page holds what it must at any time.
 */
#include "guest.h"
#include <pthread.h>

#define PAGE 4096
#define REGIONS 6
#define PAGES 96
#ifndef THREADS
#define THREADS 3
#endif
#define SECONDS 2.5

struct region {
    unsigned char *at;
    /* Of a file at most as many as that has. */
    size_t pages;
    int of_file, read_only;
    /* What each page holds in all its words; for a page of the file that nobody has written, what the file has. */
    uint64_t holds[2 * PAGES];
};

static char path[] = "dirty-XXXXXX";
static int file;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t of_file(size_t page) { return 0x1000 + page; }

static void stamp(unsigned char *at, uint64_t word)
{
    uint64_t *words = (uint64_t *)at;
    for (size_t i = 0; i < PAGE / sizeof *words; i++)
        words[i] = word;
}

static void check(const struct region *r)
{
    for (size_t page = 0; page < r->pages; page++) {
        const uint64_t *words = (const uint64_t *)(r->at + page * PAGE);
        for (size_t i = 0; i < PAGE / sizeof *words; i++)
            if (words[i] != r->holds[page])
                fail_at(__FILE__, __LINE__, "word %zu of page %zu of %zu holds %lx and not %lx", i, page, r->pages,
                        words[i], r->holds[page]);
    }
}

static void make(struct region *r, uint64_t *random, void *where)
{
    r->of_file = next(random) % 3 == 0;
    r->read_only = 0;
    if (!where)
        r->pages = 1 + next(random) % PAGES;
    int flags = MAP_PRIVATE | (where ? MAP_FIXED : 0) | (r->of_file ? 0 : MAP_ANONYMOUS);
    r->at = mmap(where, r->pages * PAGE, PROT_READ | PROT_WRITE, flags, r->of_file ? file : -1, 0);
    CHECK(r->at != MAP_FAILED);
    for (size_t page = 0; page < r->pages; page++)
        r->holds[page] = r->of_file ? of_file(page) : 0;
}

static void write_enabled(struct region *r)
{
    if (r->read_only)
        CHECK(mprotect(r->at, r->pages * PAGE, PROT_READ | PROT_WRITE) == 0);
    r->read_only = 0;
}

static void change(struct region *r, uint64_t *random)
{
    size_t page = next(random) % r->pages;
    size_t count = 1 + next(random) % (r->pages - page);
    switch (next(random) % 16) {
    case 0:
        CHECK(madvise(r->at + page * PAGE, count * PAGE, MADV_DONTNEED) == 0);
        for (size_t i = page; i < page + count; i++)
            r->holds[i] = r->of_file ? of_file(i) : 0;
        break;
    case 1:
        CHECK(munmap(r->at, r->pages * PAGE) == 0);
        make(r, random, NULL);
        break;
    case 2:
        /* Another in the same place. */
        make(r, random, r->at);
        break;
    case 3:
        if (!r->of_file && r->pages < PAGES) {
            /* Two neighbours that the kernel has joined cannot be moved as one, but these are not. */
            void *to = mremap(r->at, r->pages * PAGE, (r->pages + count) * PAGE, MREMAP_MAYMOVE);
            if (to == MAP_FAILED)
                break;
            r->at = to;
            for (size_t i = 0; i < count; i++)
                r->holds[r->pages + i] = 0;
            r->pages += count;
        }
        break;
    case 4:
        if (!r->read_only)
            CHECK(mprotect(r->at, r->pages * PAGE, PROT_READ) == 0);
        r->read_only = 1;
        break;
    case 5:
    case 6:
        write_enabled(r);
        memset(r->at + page * PAGE, 0, count * PAGE);
        memset(r->holds + page, 0, count * sizeof *r->holds);
        break;
    default:
        write_enabled(r);
        for (size_t i = page; i < page + count; i += 3) {
            r->holds[i] = next(random);
            stamp(r->at + i * PAGE, r->holds[i]);
        }
    }
}

/* Leaves pages of stack behind, and more of it each time. */
static int deep(int depth)
{
    volatile char room[3 * PAGE];
    memset((char *)room, depth, sizeof room);
    int below = depth ? deep(depth - 1) : 0;
    for (size_t i = 0; i < sizeof room; i++)
        CHECK(room[i] == (char)depth);
    return below + 1;
}

static void *work(void *argument)
{
    uint64_t random = 88172645463325252ull + (uintptr_t)argument * 977;
    static __thread struct region regions[REGIONS];
    double end = now() + SECONDS;
    for (int i = 0; i < REGIONS; i++)
        make(&regions[i], &random, NULL);
    /* Half of the time the file has no name. */
    int named = !argument;
    for (int round = 0; now() < end; round++) {
        if (named && now() > end - SECONDS / 2) {
            CHECK(unlink(path) == 0);
            named = 0;
        }
        for (int i = 0; i < 8; i++)
            change(&regions[next(&random) % REGIONS], &random);
        check(&regions[round % REGIONS]);
        if (round % 64 == 0)
            CHECK(deep(1 + round / 64 % 40) == 2 + round / 64 % 40);
    }
    for (int i = 0; i < REGIONS; i++)
        check(&regions[i]);
    return NULL;
}

int main(void)
{
    static unsigned char block[PAGE];
    file = mkstemp(path);
    CHECK(file >= 0);
    for (size_t page = 0; page < 2 * PAGES; page++) {
        stamp(block, of_file(page));
        CHECK(write(file, block, PAGE) == PAGE);
    }
    pthread_t threads[THREADS];
    for (uintptr_t i = 1; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    work(NULL);
    for (int i = 1; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    puts("ok all pages hold what they must");
    return 0;
}
