/* Every kind of mapping, and everything that can be done to one. */
#include "guest.h"
#include <setjmp.h>
#include <sys/shm.h>

static sigjmp_buf back;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = sig;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(back, 1);
}

#define FAULTS(body, sig, code, addr)                                                                                  \
    do {                                                                                                               \
        if (sigsetjmp(back, 1) == 0) {                                                                                 \
            body;                                                                                                      \
            FAIL("no fault: %s", #body);                                                                               \
        }                                                                                                              \
        EQ(fault_signal, sig);                                                                                         \
        EQ(fault_code, code);                                                                                          \
        EQ((uintptr_t)fault_address, (uintptr_t)(addr));                                                               \
    } while (0)

enum { PAGE = 4096 };

static int file_of(const char *name, size_t size)
{
    int fd = OK(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
    unsigned char *data = malloc(size);
    fill(data, size, 21);
    write_all(fd, data, size);
    free(data);
    return fd;
}

static void files(void)
{
    size_t size = 10 * PAGE + 100;
    int fd = file_of("mapped", size);
    unsigned char *p = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    CHECK(is_filled(p, size, 21));
    for (int i = 0; i < 10; i++)
        p[i * PAGE] ^= 0xff;
    for (size_t i = size; i < 11 * PAGE; i++)
        EQ(p[i], 0);
    unsigned char byte, original;
    EQ(OK(pread(fd, &original, 1, 0)), 1);
    EQ(original, (unsigned char)(p[0] ^ 0xff));
    OK(munmap(p, size));
    ok("a private file mapping");

    p = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    p[5] = 'S';
    EQ(OK(pread(fd, &byte, 1, 5)), 1);
    EQ(byte, 'S');
    EQ(OK(pwrite(fd, "W", 1, 6)), 1);
    EQ(p[6], 'W');
    IN_CHILD(p[7] = 'C');
    EQ(p[7], 'C');
    OK(msync(p, size, MS_SYNC));
    ERR(msync(p, size, MS_SYNC | MS_ASYNC), EINVAL);
    OK(munmap(p, size));
    ok("a shared file mapping");

    /* Beyond the end of the file: SIGBUS at the exact address; the file cut under the mapping: the same. */
    p = OK(mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    FAULTS(*(volatile unsigned char *)(p + 12 * PAGE + 3), SIGBUS, BUS_ADRERR, p + 12 * PAGE + 3);
    FAULTS(p[13 * PAGE] = 1, SIGBUS, BUS_ADRERR, p + 13 * PAGE);
    OK(ftruncate(fd, 2 * PAGE));
    FAULTS(*(volatile unsigned char *)(p + 5 * PAGE), SIGBUS, BUS_ADRERR, p + 5 * PAGE);
    OK(ftruncate(fd, 16 * PAGE));
    EQ(*(volatile unsigned char *)(p + 5 * PAGE), 0);
    OK(munmap(p, 16 * PAGE));
    close(fd);
    ok("SIGBUS beyond the end of the file");

    fd = OK(open("mapped", O_RDONLY));
    ERR(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    p = OK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE));
    ERR(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
    OK(munmap(p, PAGE));
    ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100), EINVAL);
    ERR(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
    close(fd);
    ERR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EBADF);
    /* A mapping outlives the name and the descriptor. */
    fd = file_of("gone", PAGE);
    p = OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    close(fd);
    OK(unlink("gone"));
    CHECK(is_filled(p, PAGE, 21));
    OK(munmap(p, PAGE));
    OK(unlink("mapped"));
    ok("rights, and files that are gone");
}

static void shared(void)
{
    volatile int *p = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    IN_CHILD(p[0] = 41);
    p[0]++;
    EQ(p[0], 42);
    OK(munmap((void *)p, PAGE));
    ok("shared anonymous memory");

    int fd = OK(memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    OK(ftruncate(fd, 4 * PAGE));
    unsigned char *a = OK(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    unsigned char *b = OK(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    fill(a, 4 * PAGE, 2);
    CHECK(is_filled(b, 4 * PAGE, 2));
    b[0] ^= 1;
    CHECK(is_filled(a, 4 * PAGE, 2));
    OK(munmap(a, 4 * PAGE));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK));
    ERR(write(fd, "x", 1), EPERM);
    ERR(ftruncate(fd, 0), EPERM);
    OK(munmap(b, 4 * PAGE));
    close(fd);
    ok("memfd and seals");

    fd = OK(shm_open("/mosix-guest-maps", O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(shm_unlink("/mosix-guest-maps"));
    OK(ftruncate(fd, PAGE));
    a = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    IN_CHILD(strcpy((char *)a, "posix"));
    CHECK(strcmp((char *)a, "posix") == 0);
    OK(munmap(a, PAGE));
    close(fd);
    int id = OK(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
    char *s = OK(shmat(id, NULL, 0));
    OK(shmctl(id, IPC_RMID, NULL));
    IN_CHILD(strcpy(s, "system five"));
    CHECK(strcmp(s, "system five") == 0);
    OK(shmdt(s));
    ok("POSIX and System V shared memory");
}

static void anonymous(void)
{
    unsigned char *p = OK(mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < 16 * PAGE; i += 512)
        EQ(p[i], 0);
    fill(p, 16 * PAGE, 4);
    /* A hole in the middle, then filled again. */
    OK(munmap(p + 4 * PAGE, 2 * PAGE));
    FAULTS(p[5 * PAGE] = 1, SIGSEGV, SEGV_MAPERR, p + 5 * PAGE);
    unsigned char *q = OK(mmap(p + 4 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK(q == p + 4 * PAGE);
    EQ(q[0], 0);
    FAULTS(q[1] = 1, SIGSEGV, SEGV_ACCERR, q + 1);
    ERR(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    OK(mprotect(p, PAGE, PROT_NONE));
    FAULTS(*(volatile unsigned char *)p, SIGSEGV, SEGV_ACCERR, p);
    OK(mprotect(p, PAGE, PROT_READ));
    unsigned char first[PAGE];
    fill(first, PAGE, 4);
    CHECK(memcmp(p, first, PAGE) == 0);
    ERR(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
    ERR(munmap(p + 1, PAGE), EINVAL);
    OK(munmap(p, 16 * PAGE));
    ERR(mprotect(p, PAGE, PROT_READ), ENOMEM);
    OK(munmap(p, PAGE));
    ok("holes, MAP_FIXED, protections");

    p = OK(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(p, 8 * PAGE, 6);
    p = OK(mremap(p, 8 * PAGE, 64 * PAGE, MREMAP_MAYMOVE));
    CHECK(is_filled(p, 8 * PAGE, 6));
    EQ(p[8 * PAGE], 0);
    EQ(p[64 * PAGE - 1], 0);
    p = OK(mremap(p, 64 * PAGE, 4 * PAGE, 0));
    CHECK(is_filled(p, 4 * PAGE, 6));
    FAULTS(*(volatile unsigned char *)(p + 4 * PAGE), SIGSEGV, SEGV_MAPERR, p + 4 * PAGE);
    q = OK(mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
    CHECK(is_filled(q, 4 * PAGE, 6));
    p = OK(mremap(q, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
    CHECK(is_filled(p, 4 * PAGE, 6));
    EQ(q[0], 0);
    OK(munmap(q, 4 * PAGE));
    OK(munmap(p, 4 * PAGE));
    ERR(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
    ok("mremap");

    p = OK(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    fill(p, 8 * PAGE, 8);
    OK(madvise(p, 4 * PAGE, MADV_DONTNEED));
    EQ(p[0], 0);
    CHECK(p[4 * PAGE] != 0 || p[4 * PAGE + 1] != 0);
    OK(madvise(p, 8 * PAGE, MADV_FREE));
    p[0] = 9;
    EQ(p[0], 9);
    fill(p, 8 * PAGE, 8);
    OK(madvise(p, 8 * PAGE, MADV_DONTFORK));
    OK(madvise(p, 8 * PAGE, MADV_DOFORK));
    OK(madvise(p + PAGE, PAGE, MADV_WIPEONFORK));
    IN_CHILD({
        EQ(p[PAGE], 0);
        EQ(p[PAGE + 100], 0);
        CHECK(p[0] != 0 || p[1] != 0);
    });
    CHECK(is_filled(p, 8 * PAGE, 8));
    ERR(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL);
    ERR(madvise(p, PAGE, 12345), EINVAL);
    unsigned char resident[8];
    OK(mincore(p, 8 * PAGE, resident));
    EQ(resident[0] & 1, 1);
    OK(mlock(p, PAGE));
    OK(munlock(p, PAGE));
    OK(munmap(p, 8 * PAGE));
    ok("madvise, mincore, mlock");

    /* Copy on write after fork: neither sees the other. */
    p = OK(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(p, 64 * PAGE, 10);
    int gate[2];
    OK(pipe(gate));
    fflush(stdout);
    pid_t pid = OK(fork());
    if (pid == 0) {
        char c;
        read_all(gate[0], &c, 1);
        CHECK(is_filled(p, 64 * PAGE, 10));
        fill(p, 64 * PAGE, 12);
        _exit(0);
    }
    fill(p, 64 * PAGE, 11);
    write_all(gate[1], "x", 1);
    reap(pid, 0);
    CHECK(is_filled(p, 64 * PAGE, 11));
    OK(munmap(p, 64 * PAGE));
    close(gate[0]);
    close(gate[1]);
    ok("copy on write");

    /* A mapping that grows downwards when touched below, as far as its guard gap lets it. */
    char *room = OK(mmap(NULL, 2048 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    OK(munmap(room, 2048 * PAGE));
    char *top = room + 2044 * PAGE;
    CHECK(mmap(top, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0) ==
          top);
    for (int i = 1; i <= 64; i++)
        *(volatile char *)(top - i * PAGE) = (char)i;
    for (int i = 1; i <= 64; i++)
        EQ(*(volatile char *)(top - i * PAGE), i);
    OK(munmap(top - 64 * PAGE, 68 * PAGE));
    ok("MAP_GROWSDOWN");

    /* Code that is written, then run. */
    unsigned char *code = OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < 10; i++) {
        memcpy(code, (unsigned char[]){0xb8, (unsigned char)i, 1, 0, 0, 0xc3}, 6);
        OK(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
        EQ(((int (*)(void))code)(), 256 + i);
        OK(mprotect(code, PAGE, PROT_READ | PROT_WRITE));
    }
    OK(munmap(code, PAGE));
    ok("generated code");

    char *start = OK(sbrk(0));
    OK(sbrk(100 * PAGE));
    memset(start, 7, 100 * PAGE);
    OK(sbrk(-50 * PAGE));
    OK(sbrk(50 * PAGE));
    EQ(start[49 * PAGE], 7);
    EQ(start[51 * PAGE], 0);
    OK(brk(start));
    CHECK(sbrk(0) == start);
    ok("brk");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    set_info_handler(SIGSEGV, on_fault, 0);
    set_info_handler(SIGBUS, on_fault, 0);
    files();
    shared();
    anonymous();
    return 0;
}
