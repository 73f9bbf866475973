/*
 * What mmap(2) and its kin answer, one line a call: errno by name, or what
 * came of it. The lines must be the same on every Linux; addresses are never
 * printed, only where they lie relative to what was asked for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define TOP 0x7ffffffff000UL
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define P PROT_READ
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf back;
static int reg, ro, wo, dir, path_fd, tube[2], zero, null_fd, append;
static char *arena; /* 16 pages that are ours, PROT_NONE unless a case maps them */

static void caught(int signal)
{
    siglongjmp(back, signal);
}

static const char *name(int error)
{
    return strerrorname_np(error) ? strerrorname_np(error) : "?";
}

/* Lays the arena out anew: ARENA pages of nothing. */
enum { ARENA = 32 };

static void clear(void)
{
    arena = mmap(arena, ARENA * PAGE, PROT_NONE, ANON | (arena ? MAP_FIXED : 0), -1, 0);
    munmap(arena, ARENA * PAGE);
}

static char *at(long page)
{
    return arena + page * PAGE;
}

static char *put(long page, long pages, int prot, int flags, int fd, long offset)
{
    char *got = mmap(at(page), pages * PAGE, prot, flags | MAP_FIXED, fd, offset);

    if (got == MAP_FAILED) {
        printf("setup failed: %s\n", name(errno));
        exit(1);
    }
    return got;
}

/* How a byte answers: r/w/- and what it holds. */
static void look(const char *address)
{
    volatile char *byte = (volatile char *)address;
    int signal = sigsetjmp(back, 1);

    if (signal) {
        printf(" %s", signal == SIGSEGV ? "SEGV" : "BUS");
        return;
    }
    char held = *byte;

    printf(" %02x", held & 0xff);
    signal = sigsetjmp(back, 1);
    if (signal) {
        printf("%s", signal == SIGSEGV ? "-" : "!");
        return;
    }
    *byte = held;
    printf("w");
}

static void layout(void)
{
    printf("   ");
    for (int page = 0; page < 12; page++)
        look(at(page));
    printf("\n");
}

static void report(const char *what, long result, void *hint)
{
    if (result == -1)
        printf("%s: %s\n", what, name(errno));
    else if (hint && (uintptr_t)result - (uintptr_t)arena < ARENA * PAGE)
        printf("%s: page %ld\n", what, (long)(result - (long)arena) / (long)PAGE);
    else
        printf("%s: %s\n", what, result ? "elsewhere" : "0");
}

/* The raw calls: the C library must not look at the arguments first. */
static long map_(unsigned long a, unsigned long l, long prot, long flags, long fd, long off)
{
    return syscall(SYS_mmap, a, l, prot, flags, fd, off);
}

#define TRY_MAP(a, l, p, f, fd, off) do { \
    clear(); \
    long r_ = map_((unsigned long)(a), l, p, f, fd, off); \
    report("mmap " #a " " #l " " #p " " #f " " #fd " " #off, r_, arena); \
    if (r_ != -1) munmap((void *)r_, (l) < (1UL << 30) ? (l) : PAGE); \
} while (0)

static void maps(void)
{
    TRY_MAP(0, 0, RW, ANON, -1, 0);
    TRY_MAP(0, 1, RW, ANON, -1, 0);
    TRY_MAP(0, PAGE, RW, ANON, -1, 1);
    TRY_MAP(0, PAGE, RW, ANON, -1, 4095);
    TRY_MAP(0, PAGE, RW, ANON, -1, PAGE);
    TRY_MAP(0, PAGE, RW, ANON, -1, -PAGE);
    TRY_MAP(0, 2 * PAGE, RW, ANON, -1, -PAGE);
    TRY_MAP(0, ~0UL, RW, ANON, -1, 0);
    TRY_MAP(0, ~0UL - 4095, RW, ANON, -1, 0);
    TRY_MAP(0, ~0UL - 4094, RW, ANON, -1, 0);
    TRY_MAP(0, TOP, P, ANON, -1, 0);
    TRY_MAP(0, TOP + PAGE, P, ANON, -1, 0);
    TRY_MAP(0, 1UL << 63, P, ANON, -1, 0);
    TRY_MAP(0, PAGE, 0, ANON, -1, 0);
    TRY_MAP(0, PAGE, PROT_WRITE, ANON, -1, 0);
    TRY_MAP(0, PAGE, 8, ANON, -1, 0);
    TRY_MAP(0, PAGE, 16, ANON, -1, 0);
    TRY_MAP(0, PAGE, 0x40, ANON, -1, 0);
    TRY_MAP(0, PAGE, 0x01000000, ANON, -1, 0);
    TRY_MAP(0, PAGE, 0x80000000L, ANON, -1, 0);
    TRY_MAP(0, PAGE, -1, ANON, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_ANONYMOUS, -1, 0);
    TRY_MAP(0, PAGE, RW, 0, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_ANONYMOUS | 3, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_ANONYMOUS | 4, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE | 4, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, 999, 0);
    TRY_MAP(0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 999, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, PAGE);
    TRY_MAP(0, PAGE, RW, 3, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | MAP_NORESERVE, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x80000, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x200000, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x4000000, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x80000000L, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x200, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x40, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | 0x80, reg, 0);
    TRY_MAP(0, PAGE, P, 3 | MAP_LOCKED, reg, 0);
    TRY_MAP(0, PAGE, P, 3 | MAP_GROWSDOWN, reg, 0);
    TRY_MAP(0, PAGE, P, 3 | MAP_DENYWRITE | MAP_EXECUTABLE, reg, 0);
    TRY_MAP(0, PAGE, RW, 3 | MAP_FIXED_NOREPLACE, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | 0x200000, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | 0x80000000L, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_PRIVATE | 0x80000, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | 0x100000000L, reg, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, reg, PAGE);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, reg, 1L << 40);
    TRY_MAP(0, PAGE, RW, ANON | MAP_32BIT, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, reg, -PAGE);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, reg, 0x7ffffffffffff000L);
    TRY_MAP(0, 2 * PAGE, RW, MAP_SHARED, reg, 0x7ffffffffffff000L);
    TRY_MAP(0, 2 * PAGE, RW, MAP_PRIVATE, reg, 0x7ffffffffffff000L);
    TRY_MAP(0, 2 * PAGE, RW, MAP_SHARED, reg, (long)0xfffffffffffff000UL);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, reg, (long)0x8000000000000000UL);
    TRY_MAP(0, 1UL << 46, P, MAP_SHARED, reg, 0x7ffffffffffff000L);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, ro, 0);
    TRY_MAP(0, PAGE, P, MAP_SHARED, ro, 0);
    TRY_MAP(0, PAGE, PROT_WRITE, MAP_SHARED, ro, 0);
    TRY_MAP(0, PAGE, RW, MAP_PRIVATE, ro, 0);
    TRY_MAP(0, PAGE, 0, MAP_SHARED, wo, 0);
    TRY_MAP(0, PAGE, PROT_WRITE, MAP_SHARED, wo, 0);
    TRY_MAP(0, PAGE, PROT_WRITE, MAP_PRIVATE, wo, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, wo, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, append, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, dir, 0);
    TRY_MAP(0, PAGE, P, MAP_SHARED, dir, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, dir, 0);
    TRY_MAP(0, 0, P, MAP_PRIVATE, dir, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, path_fd, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, tube[0], 0);
    TRY_MAP(0, PAGE, P, MAP_SHARED, tube[1], 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, tube[1], 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, null_fd, 0);
    TRY_MAP(0, PAGE, RW, MAP_PRIVATE, zero, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED, zero, 0);
    TRY_MAP(0, PAGE, RW, MAP_PRIVATE, zero, PAGE);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, -1, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, 999, 0);
    TRY_MAP(0, 0, P, MAP_PRIVATE, 999, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE, 999, 1);
    TRY_MAP(0, PAGE, P, 0, 999, 0);
    TRY_MAP(0, 0, P, 0, reg, 0);
    TRY_MAP(at(3), PAGE, P, ANON, -1, 0);
    TRY_MAP(at(3) + 1, PAGE, P, ANON, -1, 0);
    TRY_MAP(at(3), PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(at(3) + 1, PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(at(3) + 1, PAGE, P, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    TRY_MAP(at(3), PAGE, P, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    TRY_MAP(TOP, PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(TOP - PAGE, 2 * PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(TOP + PAGE, PAGE, P, ANON, -1, 0);
    TRY_MAP(1UL << 60, PAGE, P, ANON, -1, 0);
    TRY_MAP(1UL << 60, PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(-PAGE, PAGE, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(-PAGE, PAGE, P, ANON, -1, 0);
    TRY_MAP(at(3), TOP, P, ANON | MAP_FIXED, -1, 0);
    TRY_MAP(0, PAGE, RW, ANON | MAP_GROWSDOWN, -1, 0);
    TRY_MAP(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    TRY_MAP(0, PAGE, RW, ANON | MAP_HUGETLB, reg, 0);
    TRY_MAP(0, PAGE, RW, ANON | MAP_POPULATE | MAP_NONBLOCK, -1, 0);
    TRY_MAP(0, PAGE, P, MAP_PRIVATE | MAP_POPULATE, reg, 100 * PAGE);

    clear();
    put(3, 1, RW, ANON, -1, 0);
    report("noreplace over it", map_((long)at(2), 3 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), arena);
    report("hint on it", map_((long)at(3), PAGE, RW, ANON, -1, 0), NULL);
    report("noreplace and fixed", map_((long)at(3), PAGE, RW, ANON | MAP_FIXED | MAP_FIXED_NOREPLACE, -1, 0), arena);
    at(3)[0] = 1;
    report("bad fixed keeps it", map_((long)at(3), PAGE, RW, MAP_PRIVATE | MAP_FIXED, 999, 0), arena);
    report("wo fixed keeps it", map_((long)at(3), PAGE, RW, MAP_PRIVATE | MAP_FIXED, wo, 0), arena);
    layout();
}

#define TRY(call) do { \
    clear(); \
    if (pwrite(reg, "file", 4, 0) != 4) exit(1); \
    put(1, 4, RW, ANON, -1, 0); \
    put(6, 2, P, MAP_SHARED, ro, 0); \
    put(9, 1, RW, MAP_SHARED, reg, 0); \
    for (int p_ = 1; p_ < 5; p_++) at(p_)[0] = 16 + p_; \
    errno = 0; \
    report(#call, (long)(call), arena); \
    layout(); \
} while (0)

static long unmap_(unsigned long a, unsigned long l) { return syscall(SYS_munmap, a, l); }
static long protect_(unsigned long a, unsigned long l, long p) { return syscall(SYS_mprotect, a, l, p); }
static long advise_(unsigned long a, unsigned long l, long v) { return syscall(SYS_madvise, a, l, v); }
static long sync_(unsigned long a, unsigned long l, long f) { return syscall(SYS_msync, a, l, f); }
static long remap_(unsigned long a, unsigned long o, unsigned long n, long f, unsigned long to)
{
    return syscall(SYS_mremap, a, o, n, f, to);
}
#define A(page) ((unsigned long)at(page))

static void unmaps(void)
{
    TRY(unmap_(A(1), 0));
    TRY(unmap_(A(1) + 1, PAGE));
    TRY(unmap_(A(1), 1));
    TRY(unmap_(A(2), PAGE + 1));
    TRY(unmap_(A(0), PAGE));
    TRY(unmap_(A(0), 12 * PAGE));
    TRY(unmap_(A(1), ~0UL));
    TRY(unmap_(A(1), -PAGE));
    TRY(unmap_(A(1), TOP));
    TRY(unmap_(TOP, PAGE));
    TRY(unmap_(TOP - PAGE, 2 * PAGE));
    TRY(unmap_(1UL << 60, PAGE));
    TRY(unmap_(-PAGE, PAGE));
    TRY(unmap_(0, PAGE));
    TRY(unmap_(A(2) + 1, 0));
}

static void protects(void)
{
    TRY(protect_(A(1), 0, P));
    TRY(protect_(A(1) + 1, 0, P));
    TRY(protect_(A(1) + 1, PAGE, P));
    TRY(protect_(A(1), 1, P));
    TRY(protect_(A(2), PAGE + 1, P));
    TRY(protect_(A(0), PAGE, P));
    TRY(protect_(A(0), 0, P));
    TRY(protect_(A(0), 3 * PAGE, P));
    TRY(protect_(A(3), 4 * PAGE, P));
    TRY(protect_(A(1), 4 * PAGE, 0));
    TRY(protect_(A(6), PAGE, RW));
    TRY(protect_(A(6), PAGE, PROT_WRITE));
    TRY(protect_(A(6), 0, RW));
    TRY(protect_(A(9), PAGE, P));
    TRY(protect_(A(1), PAGE, 8));
    TRY(protect_(A(1), PAGE, 16));
    TRY(protect_(A(1), PAGE, 0x40));
    TRY(protect_(A(1), PAGE, -1));
    TRY(protect_(A(1), PAGE, 0x01000000 | P));
    TRY(protect_(A(1), PAGE, 0x02000000 | P));
    TRY(protect_(A(1), PAGE, 0x03000000 | P));
    TRY(protect_(A(1), PAGE, 0x100000000L | P));
    TRY(protect_(A(1), ~0UL, P));
    TRY(protect_(A(1), -PAGE, P));
    TRY(protect_(A(1), -A(1), P));
    TRY(protect_(A(1), TOP, P));
    TRY(protect_(TOP, PAGE, P));
    TRY(protect_(1UL << 60, PAGE, P));
    TRY(protect_(-PAGE, PAGE, P));
    TRY(protect_(-PAGE, 0, P));
}

static void advises(void)
{
    for (long value = -2; value < 25; value++) {
        char what[64];

        if (value >= 12 && value <= 15)
            continue; /* merging and huge pages depend on how a kernel was built */
        clear();
        put(1, 4, RW, ANON, -1, 0);
        memset(at(1), 7, 4 * PAGE);
        snprintf(what, sizeof what, "madvise %ld", value);
        report(what, advise_(A(2), PAGE, value), NULL);
        if (value != MADV_FREE)
            layout(); /* when freed memory goes is for the kernel to say */
        snprintf(what, sizeof what, "madvise %ld over a hole", value);
        report(what, advise_(A(4), 2 * PAGE, value), NULL);
        if (value != MADV_FREE)
            layout();
    }
    TRY(advise_(A(1), PAGE, 100));
    TRY(advise_(A(1), 0, 4));
    TRY(advise_(A(1) + 1, PAGE, 4));
    TRY(advise_(A(1) + 1, 0, 4));
    TRY(advise_(A(1), 1, 4));
    TRY(advise_(A(0), 0, 4));
    TRY(advise_(A(0), PAGE, 4));
    TRY(advise_(A(0), 2 * PAGE, 4));
    TRY(advise_(A(0), PAGE, 0));
    TRY(advise_(A(0), 0, 77));
    TRY(advise_(A(1), ~0UL, 4));
    TRY(advise_(A(1), -PAGE, 4));
    TRY(advise_(A(1), -A(1), 4));
    TRY(advise_(TOP, PAGE, 4));
    TRY(advise_(TOP, 2 * PAGE, 0));
    TRY(advise_(1UL << 60, PAGE, 4));
    TRY(advise_(-PAGE, PAGE, 4));
    TRY(advise_(A(6), PAGE, 4));
    TRY(advise_(A(9), PAGE, 4));
    TRY(advise_(A(6), PAGE, 8));
    TRY(advise_(A(9), PAGE, 8));
    for (long value = 22; value < 24; value++) {
        TRY(advise_(A(6), 2 * PAGE, value));
        TRY(advise_(A(0), PAGE, value));
        TRY(advise_(A(4), 3 * PAGE, value));
        TRY(advise_((put(10, 1, 0, ANON, -1, 0), A(10)), PAGE, value));
        TRY(advise_((put(10, 2, RW, MAP_SHARED, reg, PAGE), A(10)), 2 * PAGE, value));
    }
    for (long value = 10; value < 20; value += value == 11 ? 7 : 1) {
        TRY(advise_(A(6), PAGE, value));
        TRY(advise_(A(9), PAGE, value));
        TRY(advise_(A(4), 3 * PAGE, value));
    }
    TRY(advise_(A(1), PAGE, 9));
    TRY(advise_(A(6), PAGE, 9));
    TRY(advise_(A(9), PAGE, 9));
    TRY(advise_(A(1), PAGE, 0x100000004L));
}

/* What a child has of memory that fork was told to leave out or to wipe. */
static void forks(void)
{
    int status;

    clear();
    put(1, 6, RW, ANON, -1, 0);
    put(8, 1, RW, MAP_SHARED, reg, 0);
    put(9, 1, RW, MAP_PRIVATE, reg, 0);
    memset(at(1), 7, 6 * PAGE);
    at(9)[0] = 9;
    printf("advice: %ld %ld %ld %ld %ld %ld\n", advise_(A(1), 2 * PAGE, MADV_WIPEONFORK),
           advise_(A(2), 2 * PAGE, MADV_DONTFORK), advise_(A(5), PAGE, MADV_WIPEONFORK),
           advise_(A(5), PAGE, MADV_KEEPONFORK), advise_(A(8), PAGE, MADV_DONTFORK),
           advise_(A(9), PAGE, MADV_WIPEONFORK));
    layout();
    fflush(stdout);
    if (fork() == 0) {
        layout();
        fflush(stdout);
        if (fork() == 0) {
            layout();
            fflush(stdout);
            _exit(0);
        }
        wait(&status);
        _exit(0);
    }
    wait(&status);
    printf("undone: %ld\n", advise_(A(1), 6 * PAGE, MADV_DOFORK));
    fflush(stdout);
    if (fork() == 0) {
        layout();
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
    layout();
}

/* mprotect of a stack from wherever one is in it. */
static void stacks(void)
{
    clear();
    put(4, 2, RW, ANON | MAP_GROWSDOWN, -1, 0);
    put(8, 2, RW, ANON, -1, 0);
    for (long page = 3; page < 10; page++) {
        printf("grows down %ld: ", page);
        report("", protect_(A(page), PAGE, P | 0x01000000), NULL);
        printf("grows up %ld: ", page);
        report("", protect_(A(page), PAGE, RW | 0x02000000), NULL);
    }
    layout();
}

static void syncs(void)
{
    for (long flags = 0; flags < 9; flags++) {
        char what[32];

        clear();
        put(1, 4, RW, ANON, -1, 0);
        snprintf(what, sizeof what, "msync %ld", flags);
        report(what, sync_(A(1), PAGE, flags), NULL);
    }
    TRY(sync_(A(1), PAGE, MS_SYNC | 0x100));
    TRY(sync_(A(1), PAGE, -1));
    TRY(sync_(A(1), 0, MS_SYNC));
    TRY(sync_(A(0), 0, MS_SYNC));
    TRY(sync_(A(0), PAGE, MS_SYNC));
    TRY(sync_(A(0), PAGE, MS_ASYNC));
    TRY(sync_(A(0), 2 * PAGE, MS_SYNC));
    TRY(sync_(A(1), 6 * PAGE, MS_SYNC));
    TRY(sync_(A(1) + 1, PAGE, MS_SYNC));
    TRY(sync_(A(1) + 1, 0, MS_SYNC));
    TRY(sync_(A(1), ~0UL, MS_SYNC));
    TRY(sync_(A(1), -PAGE, MS_SYNC));
    TRY(sync_(A(1), -A(1), MS_SYNC));
    TRY(sync_(A(9), 1, MS_SYNC));
    TRY(sync_(A(9), PAGE, MS_INVALIDATE | MS_SYNC));
    TRY(sync_(TOP, PAGE, MS_SYNC));
    TRY(sync_(1UL << 60, PAGE, MS_SYNC));
    TRY(sync_(-PAGE, PAGE, MS_SYNC));
}

static long core_(unsigned long a, unsigned long l, void *vector)
{
    return syscall(SYS_mincore, a, l, vector);
}

static void cores(void)
{
    static unsigned char vector[64];

    TRY(core_(A(1), 4 * PAGE, vector));
    printf("    %d%d%d%d\n", vector[0] & 1, vector[1] & 1, vector[2] & 1, vector[3] & 1);
    TRY(core_(A(1), 1, vector));
    TRY(core_(A(1), 0, vector));
    TRY(core_(A(1), 0, (void *)1));
    TRY(core_(A(0), 0, vector));
    TRY(core_(A(1) + 1, PAGE, vector));
    TRY(core_(A(1) + 1, 0, vector));
    TRY(core_(A(0), PAGE, vector));
    TRY(core_(A(0), 2 * PAGE, vector));
    TRY(core_(A(4), 2 * PAGE, vector));
    TRY(core_(A(1), PAGE, NULL));
    TRY(core_(A(1), PAGE, (void *)-1));
    TRY(core_(A(0), PAGE, NULL));
    TRY(core_(A(1), PAGE, at(0)));
    TRY(core_(A(1), PAGE, at(6)));
    TRY(core_(A(1), ~0UL, vector));
    TRY(core_(A(1), -PAGE, vector));
    TRY(core_(A(1), TOP, vector));
    TRY(core_(TOP, PAGE, vector));
    TRY(core_(1UL << 60, PAGE, vector));
    TRY(core_(-PAGE, PAGE, vector));
}

static void remaps(void)
{
    long may = MREMAP_MAYMOVE, fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    long keep = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;

    TRY(remap_(A(1), 4 * PAGE, 4 * PAGE, 0, 0));
    TRY(remap_(A(1), 4 * PAGE, 2 * PAGE, 0, 0));
    TRY(remap_(A(1), 4 * PAGE, 5 * PAGE, 0, 0));
    TRY(remap_(A(1), 4 * PAGE, 6 * PAGE, 0, 0));
    TRY(remap_(A(1), 4 * PAGE, 6 * PAGE, may, 0));
    TRY(remap_(A(1), 4 * PAGE, 5 * PAGE, may, 0));
    TRY(remap_(A(1), 2 * PAGE, 3 * PAGE, 0, 0));
    TRY(remap_(A(1), 2 * PAGE, 3 * PAGE, may, 0));
    TRY(remap_(A(1), 5 * PAGE, 5 * PAGE, 0, 0));
    TRY(remap_(A(1), 5 * PAGE, 4 * PAGE, 0, 0));
    TRY(remap_(A(1), 5 * PAGE, 2 * PAGE, may, 0));
    TRY(remap_(A(1), 5 * PAGE, 6 * PAGE, may, 0));
    TRY(remap_(A(1), 8 * PAGE, 2 * PAGE, 0, 0));
    TRY(remap_(A(1), 8 * PAGE, 2 * PAGE, fixed, A(12)));
    TRY(remap_(A(1), 8 * PAGE, 9 * PAGE, fixed, A(12)));
    TRY(remap_(A(1), PAGE, 0, 0, 0));
    TRY(remap_(A(1), 0, PAGE, 0, 0));
    TRY(remap_(A(1), 0, PAGE, may, 0));
    TRY(remap_(A(6), 0, PAGE, may, 0));
    TRY(remap_(A(6), 0, PAGE, 0, 0));
    TRY(remap_(A(6), 0, PAGE, fixed, A(10)));
    TRY(remap_(A(9), 0, 2 * PAGE, fixed, A(10)));
    TRY(remap_(A(1), 0, 0, may, 0));
    TRY(remap_(A(0), PAGE, PAGE, 0, 0));
    TRY(remap_(A(0), PAGE, 2 * PAGE, may, 0));
    TRY(remap_(A(0), 2 * PAGE, PAGE, 0, 0));
    TRY(remap_(A(0), 0, PAGE, may, 0));
    TRY(remap_(A(1) + 1, PAGE, PAGE, 0, 0));
    TRY(remap_(A(1), 1, PAGE, 0, 0));
    TRY(remap_(A(1), PAGE + 1, PAGE, 0, 0));
    TRY(remap_(A(1), PAGE, 1, 0, 0));
    TRY(remap_(A(1), PAGE, PAGE, 8, 0));
    TRY(remap_(A(1), PAGE, PAGE, MREMAP_FIXED, A(10)));
    TRY(remap_(A(1), PAGE, PAGE, MREMAP_DONTUNMAP, 0));
    TRY(remap_(A(1), PAGE, 2 * PAGE, keep, 0));
    TRY(remap_(A(1), PAGE, PAGE, keep, 0));
    TRY(remap_(A(1), 4 * PAGE, 4 * PAGE, keep, 0));
    TRY(remap_(A(2), PAGE, PAGE, keep | MREMAP_FIXED, A(10)));
    TRY(remap_(A(6), PAGE, PAGE, keep, 0));
    TRY(remap_(A(9), PAGE, PAGE, keep, 0));
    TRY(remap_(A(1), PAGE, PAGE, fixed, A(10)));
    TRY(remap_(A(1), PAGE, PAGE, fixed, A(10) + 1));
    TRY(remap_(A(1), PAGE, PAGE, fixed, A(1)));
    TRY(remap_(A(1), 2 * PAGE, 2 * PAGE, fixed, A(2)));
    TRY(remap_(A(2), 2 * PAGE, 2 * PAGE, fixed, A(1)));
    TRY(remap_(A(1), PAGE, 2 * PAGE, fixed, A(2)));
    TRY(remap_(A(1), PAGE, 2 * PAGE, fixed, A(0)));
    TRY(remap_(A(1), 3 * PAGE, 2 * PAGE, fixed, A(6)));
    TRY(remap_(A(1), 2 * PAGE, 3 * PAGE, fixed, A(9)));
    TRY(remap_(A(1), 4 * PAGE, 5 * PAGE, fixed, A(7)));
    TRY(remap_(A(1), PAGE, PAGE, fixed, TOP));
    TRY(remap_(A(1), PAGE, PAGE, fixed, TOP - PAGE + 1));
    TRY(remap_(A(1), PAGE, 2 * PAGE, fixed, TOP - PAGE));
    TRY(remap_(A(1), PAGE, PAGE, fixed, 1UL << 60));
    TRY(remap_(A(1), PAGE, PAGE, fixed, -PAGE));
    TRY(remap_(A(1), PAGE, PAGE, may, A(10)));
    TRY(remap_(A(1), PAGE, PAGE, 0, 12345));
    TRY(remap_(A(1), PAGE, ~0UL, may, 0));
    TRY(remap_(A(1), PAGE, -PAGE, may, 0));
    TRY(remap_(A(1), PAGE, TOP, may, 0));
    TRY(remap_(A(1), ~0UL, PAGE, may, 0));
    TRY(remap_(A(1), -PAGE, PAGE, may, 0));
    TRY(remap_(A(1), TOP, PAGE, may, 0));
    TRY(remap_(A(1), TOP, PAGE, 0, 0));
    TRY(remap_(TOP, PAGE, PAGE, may, 0));
    TRY(remap_(1UL << 60, PAGE, PAGE, may, 0));
    TRY(remap_(-PAGE, PAGE, PAGE, may, 0));
    TRY(remap_(A(9), PAGE, 2 * PAGE, may, 0));
    TRY(remap_(A(9), PAGE, 2 * PAGE, 0, 0));
    TRY(remap_(A(6), 2 * PAGE, PAGE, 0, 0));
    TRY(remap_(A(6), PAGE, 2 * PAGE, may, 0));
}

static void locks(void)
{
    TRY(syscall(SYS_mlock, A(1), PAGE));
    TRY(syscall(SYS_mlock, A(1) + 1, 1));
    TRY(syscall(SYS_mlock, A(0), PAGE));
    TRY(syscall(SYS_mlock, A(0), 0));
    TRY(syscall(SYS_mlock, A(1), ~0UL));
    TRY(syscall(SYS_mlock2, A(1), PAGE, 1));
    TRY(syscall(SYS_mlock2, A(1), PAGE, 2));
    TRY(syscall(SYS_munlock, A(1), PAGE));
    TRY(syscall(SYS_munlock, A(0), PAGE));
    TRY(syscall(SYS_munlock, A(1), 6 * PAGE));
    TRY(syscall(SYS_munlock, A(1), ~0UL));
    TRY(syscall(SYS_mlockall, 0));
    TRY(syscall(SYS_mlockall, 8));
    TRY(syscall(SYS_mlockall, 4));
    TRY(syscall(SYS_munlockall));
}

static void beyond_the_end(void)
{
    char *two;

    clear();
    two = put(1, 3, RW, MAP_SHARED, reg, PAGE); /* the file ends in its second page */
    layout();
    printf("truncate: %d\n", ftruncate(reg, 100));
    layout();
    printf("extend: %d\n", ftruncate(reg, 2 * PAGE + 1));
    layout();
    two[0] = 5;
    printf("seen by read: %zd\n", pread(reg, two + PAGE, 1, PAGE));
    layout();
    if (ftruncate(reg, PAGE + 100))
        exit(1);
}

static void limits(void)
{
    struct rlimit room = {64 << 20, 64 << 20};

    if (setrlimit(RLIMIT_AS, &room))
        exit(1);
    TRY_MAP(0, 128UL << 20, P, ANON, -1, 0);
    TRY_MAP(0, 1UL << 20, P, ANON, -1, 0);
    TRY_MAP(at(2), 128UL << 20, P, ANON | MAP_FIXED, -1, 0);
    TRY(remap_(A(1), PAGE, 128UL << 20, MREMAP_MAYMOVE, 0));
    clear();
    put(0, 16, RW, ANON, -1, 0);
    printf("brk: %s\n", (long)sbrk(128 << 20) == -1 ? name(errno) : "moved");
}

int main(void)
{
    struct sigaction act = {.sa_handler = caught, .sa_flags = SA_NODEFER};

    setvbuf(stdout, NULL, _IOFBF, 1 << 20);
    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
    reg = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (reg < 0 || ftruncate(reg, 2 * PAGE) || pwrite(reg, "file", 4, 0) != 4 ||
        pwrite(reg, "next", 4, PAGE) != 4)
        return 1;
    ro = open("mapped", O_RDONLY);
    wo = open("mapped", O_WRONLY);
    append = open("mapped", O_RDWR | O_APPEND);
    dir = open(".", O_RDONLY);
    path_fd = open("mapped", O_PATH);
    zero = open("/dev/zero", O_RDWR);
    null_fd = open("/dev/null", O_RDWR);
    if (pipe(tube) || path_fd < 0 || null_fd < 0)
        return 1;
    maps();
    unmaps();
    protects();
    advises();
    forks();
    stacks();
    syncs();
    cores();
    remaps();
    locks();
    beyond_the_end();
    limits();
    printf("end\n");
    return 0;
}
