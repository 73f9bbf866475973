/*
 * What the parts of grind share. grind.c starts the workers and counts; checks
 * ask questions whose answers are known; chaos makes calls whose answers are
 * not, and only asks that the kernel and this process survive them.
 *
 * Rules, so that a worker stays alive and never waits for ever:
 * - chaos uses descriptors SLOT_BASE and up; checks, and stdio, those below.
 * - every descriptor that chaos makes is non-blocking, every timeout is short.
 * - chaos maps and unmaps only inside the arena; only guarded code touches it.
 * - chaos names files only under s/, a path is never read from a buffer that
 *   the kernel has written, and a length that is too long goes only with a
 *   pointer that is bad.
 */
#ifndef GRIND_H
#define GRIND_H

#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>

enum {
    PAGE = 4096,
    SLOT_BASE = 64,
    SLOTS = 32,
    ARENA_PAGES = 64,
    BUFFER = 65536,
    LONGEST = 8192, /* bytes that chaos moves in one call */
};

#define ARENA 0x700000000ul
#define GOOD 0x600000000ul
#define HOLE (GOOD + PAGE)
#define NO_ACCESS (GOOD + 2 * PAGE)
#define READ_ONLY (GOOD + 3 * PAGE)
#define KERNEL 0xffff800000000000ul

struct worker {
    int index;
    long pid, parent;
    uint64_t random;
    const char *program; /* absolute path of this program */
    char scratch[64];    /* absolute path of the scratch directory */
    char home[8];        /* this worker's own directory, relative to it */
};

extern struct worker me;
extern volatile sig_atomic_t signals_seen;

/* A raw system call: counted, traced when GRIND_TRACE is set; -errno on failure. */
long grind_call(long number, const long *arguments);
#define call(number, ...) grind_call(number, (const long[6]){__VA_ARGS__})

/* How many calls this worker and its children have made. */
long calls_made(void);

/* Uniform in 0 .. bound - 1. */
uint64_t rnd(uint64_t bound);

/* Say what was expected, and end with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
#define expect(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__VA_ARGS__);                                                                     \
    } while (0)

/* Does a read or write of this byte fault? */
int faults(uintptr_t address, int write);

/* One pointer that must not work for `size` bytes; never null if `nonnull`. */
long bad_pointer(size_t size, int nonnull);

void checks_start(void);
void check_something(void);
void chaos_start(void);
void chaos_something(void);

#endif
