/* Arguments at random, most of them good. */
#include "grind_chaos.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>

enum { VECTORS = 4, NAME_TOO_LONG = 300, PATH_TOO_LONG = 5000 };

uint64_t harmless_signals = 1ull << (SIGUSR2 - 1) | 1ull << (SIGWINCH - 1) | 1ull << (SIGURG - 1);

static char buffer[2 * BUFFER] __attribute__((aligned(PAGE)));
static struct iovec vectors[VECTORS];
static struct timespec soon;
static char long_name[NAME_TOO_LONG + 4], long_path[PATH_TOO_LONG + 4];

long any_fd(void)
{
    static const long odd[] = {-1, AT_FDCWD, 9999, INT_MAX, INT_MIN};

    return rnd(10) != 0 ? SLOT_BASE + P(rnd(SLOTS + 4)) : CHOOSE(odd);
}

long any_slot(void)
{
    return SLOT_BASE + P(rnd(SLOTS));
}

long any_pointer(size_t size)
{
    switch (rnd(8)) {
    case 0:
    case 1:
        return bad_pointer(size, 0);
    case 2:
        return (long)(ARENA + rnd(ARENA_PAGES * PAGE - LONGEST));
    default:
        return P(buffer + rnd(BUFFER));
    }
}

long any_length(void)
{
    static const long favourites[] = {0, 1, 7, 8, 16, 511, 512, 4095, 4096, 4097, LONGEST};

    return rnd(2) ? CHOOSE(favourites) : (long)rnd(LONGEST);
}

long any_span(long *length)
{
    static const long enormous[] = {INT_MAX, LONG_MAX, -1, 1l << 47};

    *length = any_length();
    if (rnd(16) != 0)
        return any_pointer((size_t)*length);
    *length = CHOOSE(enormous);
    return bad_pointer(PAGE, 0);
}

long any_path(void)
{
    static const char *const names[] = {"s/a", "s/b", "s/c", "s/d", "s/e", "s/f", "s/g", "s/h"};
    static const char *const directories[] = {"s/d0", "s/d1", "s/d2"};
    static const char *const inner[] = {"s/d0/a", "s/d0/b", "s/d1/a", "s/d1/d2", "s/d2/d0"};
    static const char *const odd[] = {"", "s/a/b", "s/missing/a", "s/loop", "s/loop/a", "s/", "s/d0/", "s/./a", "s//b"};

    switch (rnd(16)) {
    case 0:
        return bad_pointer(1, 0);
    case 1:
        memset((void *)(HOLE - 4), 'x', 4); /* no end before the hole */
        return (long)(HOLE - 4);
    case 2:
        return P(CHOOSE(odd));
    case 3:
        return rnd(2) ? P(long_name) : P(long_path);
    case 4:
    case 5:
        return P(CHOOSE(directories));
    case 6:
    case 7:
        return P(CHOOSE(inner));
    default:
        return P(CHOOSE(names));
    }
}

long any_vectors(size_t *count)
{
    *count = rnd(VECTORS + 1);
    for (size_t i = 0; i < *count; i++) {
        vectors[i].iov_len = rnd(LONGEST / VECTORS);
        vectors[i].iov_base = (void *)any_pointer(vectors[i].iov_len);
    }
    return rnd(8) ? P(vectors) : bad_pointer(sizeof vectors, 0);
}

long any_offset(void)
{
    static const long odd[] = {-1, LONG_MAX, LONG_MIN, 0};

    return rnd(8) ? (long)rnd(FARTHEST) : CHOOSE(odd);
}

long short_time(void)
{
    soon = (struct timespec){0, (long)rnd(20000)};
    return rnd(8) ? P(&soon) : bad_pointer(sizeof soon, 1);
}

void adopt(long fd)
{
    if (fd < 0)
        return;
    call(SYS_dup3, fd, any_slot(), rnd(2) ? O_CLOEXEC : 0);
    call(SYS_close, fd);
}

void adopt_pair(long result, const int *pair)
{
    if (result != 0)
        return;
    adopt(pair[0]);
    adopt(pair[1]);
}

void arguments_start(void)
{
    memset(buffer, 'b', sizeof buffer);
    memset(long_name, 'n', sizeof long_name - 1);
    memcpy(long_name, "s/", 2);
    for (int i = 0; i < PATH_TOO_LONG; i += 2)
        memcpy(long_path + i, i ? "./" : "s/", 2);
}
