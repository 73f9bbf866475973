/*
 * What a program is told of each exception it causes: the signal, si_code,
 * where the instruction pointer stands, the error code and the vector that the
 * signal frame holds. And: breakpoints between stretches of work must not
 * disturb it (argument "breakpoints").
 *
 * All output is the same in every run on Linux. INT 0x80 is left out: it is
 * the system call of another ABI.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

enum { PAGE = 4096 };
#define CODE ((unsigned char *)0x700000000ul)
#define READ_ONLY ((char *)CODE + PAGE)
#define HOLE ((char *)CODE + 2 * PAGE)

static sigjmp_buf again;
static char story[160];

static void tell(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    long offset = registers[REG_RIP] - (long)CODE;

    snprintf(story, sizeof story, "signal %d code %d address %#lx at %ld vector %lld error %#llx",
             number, info->si_code, (unsigned long)info->si_addr,
             offset >= 0 && offset < PAGE ? offset : -1, registers[REG_TRAPNO], registers[REG_ERR]);
    siglongjmp(again, 1);
}

static void try(const char *name, const void *code, size_t length, void *rdi)
{
    memcpy(CODE, code, length);
    memset(CODE + length, 0xc3, 8); /* ret */
    if (sigsetjmp(again, 1) == 0) {
        __asm__ volatile("call *%0" : : "r"(CODE), "D"(rdi) : "rax", "rcx", "rdx", "memory");
        snprintf(story, sizeof story, "nothing");
    }
    printf("%s: %s\n", name, story);
}

#define TRY(name, text, rdi) try(name, text, sizeof(text) - 1, rdi)

static void all(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_NODEFER};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
    mmap(CODE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    mmap(READ_ONLY, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    TRY("read a hole", "\x8a\x07", HOLE);
    TRY("write a hole", "\x88\x07", HOLE);
    (void)*(volatile char *)READ_ONLY;
    TRY("write what is read-only", "\x88\x07", READ_ONLY);
    TRY("run what is not code", "\xff\xe7", READ_ONLY);
    TRY("run a hole", "\xff\xe7", HOLE);
    TRY("read a bad address", "\x8a\x07", (void *)0x8000000000000000ul);
    TRY("halt", "\xf4", NULL);
    TRY("divide by zero", "\x31\xc9\xf7\xf1", NULL);
    TRY("invalid opcode", "\x0f\x0b", NULL);
    TRY("breakpoint", "\xcc", NULL);
    for (int vector = 0; vector < 256; vector++) {
        unsigned char code[] = {0xcd, (unsigned char)vector};
        char name[16];

        if (vector == 0x80)
            continue;
        snprintf(name, sizeof name, "int %d", vector);
        try(name, code, sizeof code, NULL);
    }
}

static volatile long hits;

static void count(int number)
{
    (void)number;
    hits++;
}

/* Two seconds of a loop that a breakpoint interrupts now and then. */
static void breakpoints(void)
{
    enum { STRETCH = 1000000 };
    volatile long first = 0, second = 0;
    struct timespec begun, now;
    long rounds = 0;

    signal(SIGTRAP, count);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        __asm__ volatile("int3");
        rounds++;
        for (int i = 0; i < STRETCH; i++) {
            first++;
            second++;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begun.tv_sec < 2);
    printf("breakpoints: %s\n", hits == rounds ? "all arrived" : "some are missing");
    printf("work: %s\n", first == second && first == rounds * STRETCH ? "all done" : "miscounted");
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        breakpoints();
    else
        all();
    return 0;
}
