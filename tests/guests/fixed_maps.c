/* Every free address is free: what /proc/self/maps does not show can be mapped with MAP_FIXED, whatever somebody else keeps
 * there, and calls, faults and children go on after it.
 */
#include "guest.h"

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    static char text[1 << 20];
    struct {
        uintptr_t start, end;
    } holes[512];
    int n = 0;
    int fd = OK(open("/proc/self/maps", O_RDONLY));
    size_t have = 0;
    for (ssize_t r; (r = OK(read(fd, text + have, sizeof text - 1 - have))) > 0;)
        have += (size_t)r;
    close(fd);
    uintptr_t last = 1 << 20;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        uintptr_t start, end;
        CHECK(sscanf(line, "%lx-%lx", &start, &end) == 2);
        if (end > 0x7fffffffffffUL)
            break;
        /* Below a stack there must be room, and the kernel keeps a gap there. */
        if (start > last && n < 512 && !strstr(line, "[stack]")) {
            holes[n].start = last;
            holes[n++].end = start;
        }
        last = end;
    }
    CHECK(n > 2);
    long mapped = 0;
    for (int i = 0; i < n; i++) {
        uintptr_t size = holes[i].end - holes[i].start;
        /* Small holes as a whole, big ones at both ends, in the middle and at some places between. */
        for (int k = 0; k <= 16; k++) {
            uintptr_t len = size < (64 << 20) ? size : 16 << 20;
            uintptr_t at = holes[i].start + (size - len) / 16 / 4096 * 4096 * (uintptr_t)k;
            volatile char *p = OK(mmap((void *)at, len, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0));
            CHECK((uintptr_t)p == at);
            p[0] = 1;
            p[len - 1] = 2;
            CHECK(getppid() > 0);
            EQ(p[0] + p[len - 1], len > 1 ? 3 : 2);
            if (k % 8 == 0) {
                /* With MAP_FIXED over it too. */
                CHECK(mmap((void *)at, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) ==
                      p);
                CHECK(getppid() > 0);
                IN_CHILD(EQ(p[0], 0));
            }
            OK(munmap((void *)at, len));
            mapped++;
            if (len == size)
                break;
        }
    }
    CHECK(mapped >= 17);
    ok("every hole can be mapped");
    return 0;
}
