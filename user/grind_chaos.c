/* Calls at random, with arguments good and bad: memory, time, signals. The rules are in grind.h. */
#include "grind_chaos.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Memory: all in the arena */

static long arena_span(long *length)
{
    long page = (long)rnd(ARENA_PAGES), pages = (long)rnd(8) + 1;

    if (page + pages > ARENA_PAGES)
        pages = ARENA_PAGES - page;
    *length = pages * PAGE;
    return (long)ARENA + page * PAGE;
}

static void maps(void)
{
    long length, address = arena_span(&length), flags = MAP_FIXED | (rnd(2) ? MAP_PRIVATE : MAP_SHARED);

    if (rnd(2))
        call(SYS_mmap, address, length, P(rnd(8)), flags | MAP_ANONYMOUS, -1, 0);
    else
        call(SYS_mmap, address, length, P(rnd(8)), flags, any_fd(), P(rnd(8)) * PAGE);
}

static void remaps(void)
{
    long length, other_length, address = arena_span(&length), other = arena_span(&other_length);

    switch (rnd(6)) {
    case 0:
        call(SYS_munmap, address + (rnd(8) ? 0 : 1), rnd(8) ? length : 0);
        break;
    case 1:
        call(SYS_mremap, address, length, other_length, MREMAP_MAYMOVE | MREMAP_FIXED, other);
        break;
    case 2:
        call(SYS_mremap, address, length, P(rnd((uint64_t)length)), 0); /* shrinks */
        break;
    default:
        call(SYS_mprotect, address + (rnd(8) ? 0 : 8), rnd(8) ? length : -1, P(rnd(8)));
    }
}

static void advises(void)
{
    static const long advice[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, 12345};
    long length, address = arena_span(&length);

    switch (rnd(3)) {
    case 0:
        call(SYS_madvise, address, length, CHOOSE(advice));
        break;
    case 1:
        call(SYS_msync, address, length, (long[]){MS_ASYNC, MS_INVALIDATE, 64, 0}[rnd(4)]);
        break;
    default:
        call(SYS_mincore, address, length, any_pointer(8));
    }
}

static void touches(void)
{
    uintptr_t address = ARENA + rnd(ARENA_PAGES) * PAGE + rnd(PAGE);

    faults(address, (int)rnd(2));
}

/* The rest */

static void waits(void)
{
    static const long clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, 77};

    switch (rnd(6)) {
    case 0:
        call(SYS_nanosleep, short_time(), any_pointer(sizeof(struct timespec)));
        break;
    case 1:
        call(SYS_clock_nanosleep, CHOOSE(clocks), 0, short_time(), 0);
        break;
    case 2:
        call(SYS_futex, any_pointer(4), rnd(2) ? 0 : 128, 1 << 30, short_time());
        break;
    case 3:
        call(SYS_futex, any_pointer(4), rnd(2) ? 1 : 129, P(rnd(4)));
        break;
    case 4:
        call(SYS_wait4, rnd(2) ? -1 : P(1 << 22), any_pointer(4), WNOHANG, 0);
        break;
    default:
        call(SYS_rt_sigtimedwait, rnd(8) ? P(&harmless_signals) : bad_pointer(8, 0), 0, short_time(), 8);
    }
}

static void signals(void)
{
    static struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } ignored = {SIG_IGN, 0, 0, 0};
    static const long how[] = {SIG_BLOCK, SIG_UNBLOCK, 9};

    switch (rnd(5)) {
    case 0:
        call(SYS_rt_sigaction, rnd(4) ? SIGUSR2 : SIGKILL, rnd(4) ? P(&ignored) : bad_pointer(sizeof ignored, 0), any_pointer(32), 8);
        break;
    case 1:
        call(SYS_rt_sigprocmask, CHOOSE(how), rnd(4) ? P(&harmless_signals) : bad_pointer(8, 0), any_pointer(8), P(rnd(8) ? 8 : 4));
        break;
    case 2:
        call(SYS_kill, me.pid, 0);
        break;
    case 3:
        call(SYS_tgkill, me.pid, me.pid, SIGWINCH);
        break;
    default:
        call(SYS_rt_sigpending, any_pointer(8), 8);
    }
}

static void questions(void)
{
    static const long one_pointer[] = {SYS_uname, SYS_sysinfo, SYS_times, SYS_gettimeofday};
    static const long id_and_pointer[] = {SYS_clock_gettime, SYS_clock_getres, SYS_getrusage, SYS_getrlimit, SYS_getitimer};
    static const long nothing[] = {SYS_sched_yield, SYS_getuid, SYS_geteuid, SYS_getpgrp, SYS_getgid};
    long length, pointer = any_span(&length);

    switch (rnd(5)) {
    case 0:
        call(CHOOSE(one_pointer), any_pointer(400), 0);
        break;
    case 1:
        call(CHOOSE(id_and_pointer), P(rnd(20)) - 2, any_pointer(144));
        break;
    case 2:
        call(SYS_getcwd, pointer, length);
        break;
    case 3:
        call(SYS_getrandom, pointer, length, 1 /* GRND_NONBLOCK */);
        break;
    default:
        call(CHOOSE(nothing));
    }
}

static void (*const sorts[])(void) = {
    opens, opens, opens, closes, reads_writes, reads_writes, reads_writes, reads_writes, vectored, vectored, seeks,
    sizes, allocates, stats, stats, names, names, names, attributes, lists, transfers, locks, controls, duplicates,
    pipes, events, epolls, epolls, polls, sockets, sockets, memory_files, maps, maps, remaps, remaps, advises, touches,
    touches, waits, signals, questions, questions,
};

void chaos_start(void)
{
    arguments_start();
    call(SYS_symlink, P("loop"), P("s/loop"));
}

void chaos_something(void) { CHOOSE(sorts)(); }
