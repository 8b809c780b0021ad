/* Computes: a chain of multiplications whose end is known without doing them, beside memory that must stay as it is.
 * `worker [ROUNDS [FILE [MIB BEGIN]]]`: ROUNDS rounds; with FILE as many again and again until FILE exists; with MIB of memory,
 * which it takes when BEGIN exists.
 */
#include "guest.h"
#include <inttypes.h>

#define WORDS_PER_MIB ((1 << 20) / sizeof(uint64_t))

static uint64_t word(uint64_t n)
{
    return n * 0x9e3779b97f4a7c15;
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, done = 0, x = 1;
    uint64_t count = (argc > 3 ? strtoull(argv[3], NULL, 10) : 8) * WORDS_PER_MIB;
    while (argc > 4 && access(argv[4], F_OK) != 0)
        usleep(10000);
    uint64_t *words = malloc(count * sizeof *words);
    CHECK(words);
    for (uint64_t n = 0; n < count; n++)
        words[n] = word(n);
    do {
        /* Knuth's MMIX generator. */
        for (uint64_t n = 0; n < rounds; n++)
            x = x * 6364136223846793005 + 1442695040888963407;
        done += rounds;
    } while (argc > 2 && access(argv[2], F_OK) != 0);
    for (uint64_t n = 0; n < count; n++)
        EQ(words[n], word(n));
    printf("ok worker %" PRIu64 " %" PRIu64 "\n", done, x);
    return 0;
}
