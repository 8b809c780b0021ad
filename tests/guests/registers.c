/* Registers that nothing may change: general, x87, SSE, AVX and AVX-512 state held over a long loop with calls, signals and
 * rescheduling in it; rounding modes; flags; the bases of fs and gs. */
#include "guest.h"
#include <asm/prctl.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>

static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
    (void)sig;
    ticks++;
    /* Dirties every vector register: the kernel must put the interrupted ones back. */
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm15" ::: "xmm0", "xmm7", "xmm15");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                         "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* Loads known values, spins `n` times with a getppid in every round, stores what is there then. */
static void hold_sse(const unsigned char in[256], unsigned char out[256], long n)
{
    __asm__ volatile(
        "movdqu 0(%[in]), %%xmm0\n movdqu 16(%[in]), %%xmm1\n movdqu 32(%[in]), %%xmm2\n movdqu 48(%[in]), %%xmm3\n"
        "movdqu 64(%[in]), %%xmm4\n movdqu 80(%[in]), %%xmm5\n movdqu 96(%[in]), %%xmm6\n movdqu 112(%[in]), %%xmm7\n"
        "movdqu 128(%[in]), %%xmm8\n movdqu 144(%[in]), %%xmm9\n movdqu 160(%[in]), %%xmm10\n movdqu 176(%[in]), %%xmm11\n"
        "movdqu 192(%[in]), %%xmm12\n movdqu 208(%[in]), %%xmm13\n movdqu 224(%[in]), %%xmm14\n movdqu 240(%[in]), %%xmm15\n"
        "1: movl %[call], %%eax\n syscall\n decq %[n]\n jnz 1b\n"
        "movdqu %%xmm0, 0(%[out])\n movdqu %%xmm1, 16(%[out])\n movdqu %%xmm2, 32(%[out])\n movdqu %%xmm3, 48(%[out])\n"
        "movdqu %%xmm4, 64(%[out])\n movdqu %%xmm5, 80(%[out])\n movdqu %%xmm6, 96(%[out])\n movdqu %%xmm7, 112(%[out])\n"
        "movdqu %%xmm8, 128(%[out])\n movdqu %%xmm9, 144(%[out])\n movdqu %%xmm10, 160(%[out])\n"
        "movdqu %%xmm11, 176(%[out])\n movdqu %%xmm12, 192(%[out])\n movdqu %%xmm13, 208(%[out])\n"
        "movdqu %%xmm14, 224(%[out])\n movdqu %%xmm15, 240(%[out])\n"
        : [n] "+r"(n)
        : [in] "r"(in), [out] "r"(out), [call] "i"(SYS_getppid)
        : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
          "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

__attribute__((target("avx"))) static void hold_avx(const unsigned char in[256], unsigned char out[256], long n)
{
    __asm__ volatile(
        "vmovdqu 0(%[in]), %%ymm0\n vmovdqu 32(%[in]), %%ymm3\n vmovdqu 64(%[in]), %%ymm6\n vmovdqu 96(%[in]), %%ymm9\n"
        "vmovdqu 128(%[in]), %%ymm11\n vmovdqu 160(%[in]), %%ymm13\n vmovdqu 192(%[in]), %%ymm14\n"
        "vmovdqu 224(%[in]), %%ymm15\n"
        "1: movl %[call], %%eax\n syscall\n decq %[n]\n jnz 1b\n"
        "vmovdqu %%ymm0, 0(%[out])\n vmovdqu %%ymm3, 32(%[out])\n vmovdqu %%ymm6, 64(%[out])\n"
        "vmovdqu %%ymm9, 96(%[out])\n vmovdqu %%ymm11, 128(%[out])\n vmovdqu %%ymm13, 160(%[out])\n"
        "vmovdqu %%ymm14, 192(%[out])\n vmovdqu %%ymm15, 224(%[out])\n vzeroupper\n"
        : [n] "+r"(n)
        : [in] "r"(in), [out] "r"(out), [call] "i"(SYS_getppid)
        : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm3", "xmm6", "xmm9", "xmm11", "xmm13", "xmm14", "xmm15");
}

__attribute__((target("avx512f"))) static void hold_avx512(const unsigned char in[256], unsigned char out[256], long n)
{
    __asm__ volatile(
        "vmovdqu64 0(%[in]), %%zmm1\n vmovdqu64 64(%[in]), %%zmm17\n vmovdqu64 128(%[in]), %%zmm24\n"
        "vmovdqu64 192(%[in]), %%zmm31\n movl $0xa5a5, %%eax\n kmovw %%eax, %%k3\n"
        "1: movl %[call], %%eax\n syscall\n decq %[n]\n jnz 1b\n"
        "vmovdqu64 %%zmm1, 0(%[out])\n vmovdqu64 %%zmm17, 64(%[out])\n vmovdqu64 %%zmm24, 128(%[out])\n"
        "vmovdqu64 %%zmm31, 192(%[out])\n kmovw %%k3, %%eax\n movq %%rax, %[n]\n vzeroupper\n"
        : [n] "+r"(n)
        : [in] "r"(in), [out] "r"(out), [call] "i"(SYS_getppid)
        : "rax", "rcx", "r11", "memory", "cc", "xmm1", "xmm17", "xmm24", "xmm31", "k3");
    EQ(n, 0xa5a5);
}

/* Where hold_general's code finds its loop count and leaves what it found: it has no register to spare. */
__attribute__((used)) static long general_rounds;
__attribute__((used)) static uint64_t general_seen[12];

/* Every general register but rsp, over calls: only rax, rcx and r11 may change. */
__attribute__((noinline)) static void hold_general(long n)
{
    general_rounds = n;
    __asm__ volatile(
        "subq $128, %%rsp\n pushq %%rbp\n" /* past the red zone */
        "movabsq $0x1111111111111111, %%rbx\n movabsq $0x2222222222222222, %%rdx\n movabsq $0x3333333333333333, %%rsi\n"
        "movabsq $0x4444444444444444, %%rdi\n movabsq $0x5555555555555555, %%r8\n movabsq $0x6666666666666666, %%r9\n"
        "movabsq $0x7777777777777777, %%r10\n movabsq $0x8888888888888888, %%r12\n movabsq $0x9999999999999999, %%r13\n"
        "movabsq $0xaaaaaaaaaaaaaaaa, %%r14\n movabsq $0xbbbbbbbbbbbbbbbb, %%r15\n movabsq $0xcccccccccccccccc, %%rbp\n"
        "1: movl %[call], %%eax\n syscall\n decq general_rounds(%%rip)\n jnz 1b\n"
        "leaq general_seen(%%rip), %%rax\n"
        "movq %%rbx, 0(%%rax)\n movq %%rdx, 8(%%rax)\n movq %%rsi, 16(%%rax)\n movq %%rdi, 24(%%rax)\n"
        "movq %%r8, 32(%%rax)\n movq %%r9, 40(%%rax)\n movq %%r10, 48(%%rax)\n movq %%r12, 56(%%rax)\n"
        "movq %%r13, 64(%%rax)\n movq %%r14, 72(%%rax)\n movq %%r15, 80(%%rax)\n movq %%rbp, 88(%%rax)\n"
        "popq %%rbp\n addq $128, %%rsp\n"
        :
        : [call] "i"(SYS_getppid)
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    for (uint64_t i = 0; i < 12; i++)
        CHECK(general_seen[i] == (i + 1) * 0x1111111111111111ULL);
}

static void *compute(void *arg)
{
    /* Sums whose last bit depends on every step. */
    double x = 1;
    long double y = 1;
    for (int i = 1; i < 2000000; i++) {
        x = x * 0.999999 + sqrt((double)i) / (x + i);
        y = y * 0.999999L + 1.0L / (y + i);
        if (i % 100000 == 0)
            getppid();
    }
    ((double *)arg)[0] = x;
    ((double *)arg)[1] = (double)y;
    return NULL;
}

static void flags(void)
{
    /* The direction flag and the alignment-check bit survive a call; rcx and r11 are what the kernel says. */
    uint64_t before, after, rcx, r11;
    __asm__ volatile("std\n stc\n pushfq\n popq %0\n movl %4, %%eax\n syscall\n pushfq\n popq %1\n cld\n movq %%rcx, %2\n"
                     "movq %%r11, %3\n"
                     : "=&r"(before), "=&r"(after), "=&r"(rcx), "=&r"(r11)
                     : "i"(SYS_getppid)
                     : "rax", "rcx", "r11", "memory", "cc");
    EQ(before & 0xcd5, after & 0xcd5);
    EQ(r11 & 0xcd5, before & 0xcd5);
    CHECK(rcx != 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    unsigned char in[256], out[256];
    fill(in, sizeof in, 13);
    set_handler(SIGALRM, on_tick, SA_RESTART);
    struct itimerval it = {{0, 1000}, {0, 1000}};
    OK(setitimer(ITIMER_REAL, &it, NULL));
    const long rounds = 50000;
    hold_general(rounds);
    ok("general registers");
    for (int i = 0; i < 5; i++) {
        memset(out, 0, sizeof out);
        hold_sse(in, out, rounds / 5);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    ok("SSE");
    if (__builtin_cpu_supports("avx")) {
        memset(out, 0, sizeof out);
        hold_avx(in, out, rounds);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    ok("AVX");
    if (__builtin_cpu_supports("avx512f")) {
        memset(out, 0, sizeof out);
        hold_avx512(in, out, rounds);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    ok("AVX-512");
    flags();
    ok("flags");
    CHECK(ticks > 10);

    OK(fesetround(FE_UPWARD));
    unsigned mxcsr, now_mxcsr;
    unsigned short cw, now_cw;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(cw));
    for (int i = 0; i < 2000; i++)
        getppid();
    sleep_ms(20);
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(now_mxcsr), "=m"(now_cw));
    EQ(mxcsr & 0xffc0, now_mxcsr & 0xffc0);
    EQ(cw, now_cw);
    volatile double third = 1.0 / 3.0, one = 1, three = 3;
    CHECK(one / three > third || fegetround() == FE_UPWARD);
    EQ(fegetround(), FE_UPWARD);
    OK(fesetround(FE_TONEAREST));
    ok("rounding modes");

    double results[4][2], alone[2];
    pthread_t t[4];
    compute(alone);
    for (int i = 0; i < 4; i++)
        RET(pthread_create(&t[i], NULL, compute, results[i]), 0);
    for (int i = 0; i < 4; i++)
        RET(pthread_join(t[i], NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK(memcmp(results[i], alone, sizeof alone) == 0);
    printf("%.17g %.17g\n", alone[0], alone[1]);
    it = (struct itimerval){{0, 0}, {0, 0}};
    OK(setitimer(ITIMER_REAL, &it, NULL));
    ok("the same sums in every thread");

    uint64_t fs = 0, gs = 0;
    OK(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    EQ(fs, (uintptr_t)pthread_self());
    OK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234567000UL));
    for (int i = 0; i < 100; i++)
        getppid();
    OK(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    EQ(gs, 0x1234567000UL);
    IN_CHILD({
        OK(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
        EQ(gs, 0x1234567000UL);
    });
    ok("fs and gs");
    return 0;
}
