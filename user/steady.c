/*
 * Does anything disturb a computation: a switch of processes, a page fault, a
 * signal? Several processes compute the same things over and over, each kind
 * leaning on another part of the processor's state, and compare with the
 * first answer.
 *
 *   steady ROUNDS PROCESSES
 *
 * Prints `steady: ok`, or names the kind that was disturbed and ends with 1.
 */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 64, STEPS = 20000, BYTES = 8192, PAGE = 4096, PAGES = 64, MAX_PROCESSES = 64, TICK_US = 3000 };

static volatile sig_atomic_t ticks;

static void on_tick(int number)
{
    (void)number;
    ticks++;
}

/* Carry flags, alive from one instruction to the next. */
static uint64_t flags(void)
{
    uint64_t low = 1, high = 2, carried = 3;

    for (int i = 0; i < STEPS; i++)
        __asm__ volatile("add %3, %0; adc %0, %1; rcl $3, %1; sbb %1, %2; adc $7, %2"
                         : "+r"(low), "+r"(high), "+r"(carried)
                         : "r"(0x9e3779b97f4a7c15ull)
                         : "cc");
    return low ^ high ^ carried;
}

/* Comparisons and branches on them. */
static uint64_t branches(void)
{
    uint32_t x = 12345;
    uint64_t taken = 0;

    for (int i = 0; i < STEPS; i++) {
        x = x * 1664525u + 1013904223u;
        if ((int32_t)x < (int32_t)(x << 7))
            taken += 3;
        else if (x > 0x80000000u)
            taken ^= x;
        else if ((x & 0x1000) == 0)
            taken -= 5;
    }
    return taken;
}

/* Calls, jumps and stores that would show if a stretch of code ran twice, or not at all. */
static uint64_t counted;

__attribute__((noinline)) static uint64_t descend(int depth, uint64_t path)
{
    counted = counted * 31 + (uint64_t)depth;
    if (depth == 0)
        return path;
    if (path & 1)
        return descend(depth - 1, path * 3 + 1) + counted;
    return descend(depth - 1, path / 2) ^ descend(depth - 1, path + 5);
}

static uint64_t places(void)
{
    counted = 0;
    return descend(14, 27) + counted;
}

/* A long block of stores, none of which may be made twice. */
static uint64_t stores(void)
{
    static uint64_t cells[4];
    uint64_t in_register = 0;

    memset(cells, 0, sizeof cells);
    for (int i = 0; i < STEPS; i++)
        __asm__ volatile("incq (%1); inc %0; incq 8(%1); addq $3, 16(%1); incq (%1); incq 24(%1); inc %0"
                         : "+r"(in_register)
                         : "r"(cells)
                         : "memory", "cc");
    return cells[0] ^ cells[1] << 8 ^ cells[2] << 16 ^ cells[3] << 24 ^ in_register << 32;
}

static uint64_t doubles(void)
{
    double sum = 0.1, x = 0.7;
    uint64_t bits;

    for (int i = 1; i < STEPS; i++) {
        x = x * 1.000000119 + 1.0 / i;
        sum += sqrt(x) - (x > 3 ? floor(x / 3) : x);
    }
    memcpy(&bits, &sum, sizeof bits);
    return bits;
}

static uint64_t vectors(void)
{
    typedef uint32_t lanes __attribute__((vector_size(16)));
    lanes a = {1, 2, 3, 4}, b = {5, 6, 7, 8}, c = {9, 10, 11, 12}, d = {13, 14, 15, 16};

    for (int i = 0; i < STEPS; i++) {
        a += b ^ (c << 3);
        b ^= d + (a >> 5);
        c += a ^ (d << 7);
        d ^= b + (c >> 2);
    }
    a ^= b ^ c ^ d;
    return ((uint64_t)a[0] << 32 | a[1]) ^ ((uint64_t)a[2] << 32 | a[3]);
}

static uint64_t x87(void)
{
    long double sum = 0.1L, x = 0.7L;

    for (int i = 1; i < STEPS; i++) {
        x = x * 1.000000119L + 1.0L / i;
        sum += x;
    }
    return (uint64_t)(sum * 1e6L);
}

static uint64_t checksum(const unsigned char *bytes, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* String instructions, that are interrupted in the middle. */
static uint64_t strings(void)
{
    static unsigned char from[BYTES], to[BYTES];

    for (int i = 0; i < BYTES; i++)
        from[i] = (unsigned char)(i * 37 >> 3);
    for (int i = 0; i < 20; i++) {
        void *source = from, *target = to + i;
        size_t count = BYTES - 64;

        __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
        from[i * 11] ^= to[i * 17];
    }
    return checksum(to, BYTES) ^ checksum(from, BYTES);
}

/* Fresh pages, touched by wide stores, misaligned and across pages. */
static uint64_t faults(void)
{
    unsigned char *map = mmap(NULL, (size_t)PAGE * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t x = 0x123456789abcdefull, sum = 0;

    if (map == MAP_FAILED)
        return 1;
    for (int page = 0; page + 1 < PAGES; page++) {
        unsigned char *edge = map + (page + 1) * PAGE - 4;

        __asm__ volatile("add %1, %2; movq %2, (%0); adc $0, %2; lock xaddq %2, 32(%0)"
                         :
                         : "r"(edge), "r"(x * (uint64_t)page), "r"(x)
                         : "memory", "cc");
        x = x * 6364136223846793005ull + 1442695040888963407ull;
    }
    sum = checksum(map, (size_t)PAGE * PAGES);
    munmap(map, (size_t)PAGE * PAGES);
    return sum;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint64_t sorting(void)
{
    static double numbers[WORDS * WORDS];
    uint64_t x = 88172645463325252ull;

    for (int i = 0; i < WORDS * WORDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        numbers[i] = (double)x / 1e9;
    }
    qsort(numbers, WORDS * WORDS, sizeof numbers[0], ascending);
    return checksum((const unsigned char *)numbers, sizeof numbers);
}

/* What a system call must leave alone: every register but three, and the vectors. */
static uint64_t calls(void)
{
    uint64_t changed = 0;

    for (int i = 0; i < 50; i++) {
        uint64_t after_b, after_12, after_15, vector, number = 39 /* getpid */;

        __asm__ volatile("movabs $0x1111222233334444, %%rbx; mov %%rbx, %%r12; mov %%rbx, %%r15; movq %%rbx, %%xmm7\n\t"
                         "syscall\n\t"
                         "mov %%rbx, %0; mov %%r12, %1; mov %%r15, %2; movq %%xmm7, %3"
                         : "=&r"(after_b), "=&r"(after_12), "=&r"(after_15), "=&r"(vector), "+a"(number)
                         :
                         : "rbx", "r12", "r15", "rcx", "r11", "xmm7", "memory", "cc");
        changed |= (after_b ^ 0x1111222233334444) | (after_12 ^ after_b) | (after_15 ^ after_b) | (vector ^ after_b);
    }
    return changed;
}

static const struct {
    const char *name;
    uint64_t (*compute)(void);
} kinds[] = {
    {"flags", flags},     {"branches", branches}, {"places", places}, {"stores", stores},
    {"doubles", doubles}, {"vectors", vectors},   {"x87", x87},       {"strings", strings},
    {"faults", faults},   {"sorting", sorting},   {"calls", calls},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static uint64_t right[KINDS];

static int work(int process, long rounds)
{
    struct itimerval often = {{0, TICK_US}, {0, TICK_US}};
    int bad = 0;

    if (process % 2 == 1) {
        signal(SIGALRM, on_tick);
        setitimer(ITIMER_REAL, &often, NULL);
    }
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < KINDS; i++) {
            uint64_t answer = kinds[i].compute();

            if (answer == right[i])
                continue;
            fprintf(stderr, "steady: %s disturbed in process %d, round %ld: %#lx, not %#lx, after %d signals\n",
                    kinds[i].name, process, round, answer, right[i], (int)ticks);
            bad = 1;
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    long rounds = argc == 3 ? atol(argv[1]) : 0, processes = argc == 3 ? atol(argv[2]) : 0;
    int bad = 0, status;

    if (rounds < 1 || processes < 1 || processes > MAX_PROCESSES) {
        fprintf(stderr, "usage: steady ROUNDS PROCESSES (at most %d)\n", MAX_PROCESSES);
        return 2;
    }
    for (int i = 0; i < KINDS; i++)
        right[i] = kinds[i].compute();
    for (int i = 0; i < processes; i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(work(i, rounds));
        if (child < 0) {
            perror("fork");
            return 1;
        }
    }
    for (int i = 0; i < processes; i++) {
        if (wait(&status) < 0 || status == 0)
            continue;
        fprintf(stderr, "steady: a process ended with wait status %#x\n", (unsigned)status);
        bad = 1;
    }
    printf("steady: %s\n", bad ? "FAILED" : "ok");
    return bad;
}
