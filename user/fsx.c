/*
 * fsx FILE SEED COUNT [v]: random operations on one file, checked against a
 * copy in memory. What read(2), a mapping and the size say must always be what
 * was last written, by whichever way. Content that the file has at the start is
 * taken as it is. Prints one line, "fsx: COUNT operations, ok", or what differs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096L
#define LIMIT (64 * PAGE)
#define KEEP_SIZE 1
#define PUNCH 2
#define COLLAPSE 8
#define ZERO 16

static unsigned char model[LIMIT], buffer[LIMIT];
static long size, turn;
static int fd, other = -1, verbose;
static const char *path;
static uint64_t state;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static long below(long bound)
{
    return bound > 0 ? (long)(next() % (uint64_t)bound) : 0;
}

static void fail(const char *what, long at)
{
    printf("fsx: operation %ld: %s at %ld, size %ld: %s\n", turn, what, at, size, strerror(errno));
    exit(1);
}

static void compare(const char *what, const unsigned char *found, long at, long length)
{
    for (long i = 0; i < length; i++)
        if (found[i] != model[at + i]) {
            printf("fsx: operation %ld: %s: byte %ld is %02x, not %02x (size %ld)\n", turn, what,
                   at + i, found[i], model[at + i], size);
            exit(1);
        }
}

/* A place to begin and a length, often at the edges of pages. */
static void range(long *at, long *length, long most)
{
    *at = below(4) ? below(most) : below(most / PAGE + 1) * PAGE;
    *length = below(3) ? 1 + below(3 * PAGE) : below(8) ? 1 + below(100) : PAGE * (1 + below(6));
    if (*at > most - 1)
        *at = most - 1;
    if (*length > most - *at)
        *length = most - *at;
}

/* The file grows to `end`: what lies between is zeros. */
static void grow(long end)
{
    if (end > size) {
        memset(model + size, 0, end - size);
        size = end;
    }
}

static void fill(long length)
{
    for (long i = 0; i < length; i++)
        buffer[i] = next();
}

static int either(void)
{
    return other >= 0 && below(2) ? other : fd;
}

static void do_write(void)
{
    long at, length;

    range(&at, &length, LIMIT);
    fill(length);
    if (pwrite(either(), buffer, length, at) != length)
        fail("write", at);
    grow(at);
    memcpy(model + at, buffer, length);
    if (at + length > size)
        size = at + length;
}

static void do_append(void)
{
    long length = 1 + below(2 * PAGE);
    int appending = open(path, O_WRONLY | O_APPEND);

    if (size + length > LIMIT)
        length = LIMIT - size;
    fill(length);
    if (appending < 0 || write(appending, buffer, length) != length)
        fail("append", size);
    close(appending);
    memcpy(model + size, buffer, length);
    size += length;
}

static void do_read(void)
{
    long at, length, got;

    range(&at, &length, LIMIT);
    memset(buffer, 0xee, length);
    got = pread(either(), buffer, length, at);
    if (got != (at >= size ? 0 : at + length > size ? size - at : length))
        fail("short read", at);
    compare("read", buffer, at, got);
}

static unsigned char *map(long *at, long *length, int prot, int flags)
{
    unsigned char *mapped;

    if (!size)
        return NULL;
    range(at, length, size);
    mapped = mmap(NULL, *length + *at % PAGE, prot, flags, fd, *at / PAGE * PAGE);
    if (mapped == MAP_FAILED)
        fail("mmap", *at);
    return mapped;
}

static void do_load(void)
{
    long at, length;
    unsigned char *mapped = map(&at, &length, PROT_READ, below(2) ? MAP_SHARED : MAP_PRIVATE);

    if (mapped) {
        compare("load", mapped + at % PAGE, at, length);
        munmap(mapped, length + at % PAGE);
    }
}

static void do_store(void)
{
    long at, length;
    unsigned char *mapped = map(&at, &length, PROT_READ | PROT_WRITE, MAP_SHARED);

    if (!mapped)
        return;
    fill(length);
    memcpy(mapped + at % PAGE, buffer, length);
    memcpy(model + at, buffer, length);
    if (!below(3) && msync(mapped, length + at % PAGE, below(2) ? MS_SYNC : MS_ASYNC))
        fail("msync", at);
    if (!below(4)) { /* what is behind the end is nobody's, and must not show later */
        long end = (at + length + PAGE - 1) / PAGE * PAGE;

        if (at + length == size && end > size)
            memset(mapped + at % PAGE + length, 0x99, end - size);
    }
    munmap(mapped, length + at % PAGE);
}

static void do_private(void)
{
    long at, length;
    unsigned char *mapped = map(&at, &length, PROT_READ | PROT_WRITE, MAP_PRIVATE);

    if (mapped) {
        memset(mapped + at % PAGE, 0x77, length);
        munmap(mapped, length + at % PAGE);
    }
}

static void do_truncate(void)
{
    long end = below(2) ? below(LIMIT) : below(LIMIT / PAGE) * PAGE;

    if (below(2) ? ftruncate(fd, end) : truncate(path, end))
        fail("truncate", end);
    grow(end);
    size = end;
}

static void do_allocate(void)
{
    static const int modes[] = {0, KEEP_SIZE, PUNCH | KEEP_SIZE, PUNCH | KEEP_SIZE, ZERO, ZERO | KEEP_SIZE};
    int mode = modes[below(6)];
    long at, length, end;

    range(&at, &length, LIMIT);
    if (fallocate(fd, mode, at, length)) {
        if (errno == EOPNOTSUPP)
            return;
        fail("fallocate", at);
    }
    if (!(mode & KEEP_SIZE))
        grow(at + length);
    end = at + length < size ? at + length : size;
    if (mode & (PUNCH | ZERO) && end > at)
        memset(model + at, 0, end - at);
}

static void do_collapse(void)
{
    long at = below(size / PAGE + 1) * PAGE, length = PAGE * (1 + below(4));

    if (at + length >= size)
        return;
    if (fallocate(fd, COLLAPSE, at, length)) {
        if (errno == EOPNOTSUPP)
            return;
        fail("collapse", at);
    }
    memmove(model + at, model + at + length, size - at - length);
    size -= length;
}

static void do_copy(void)
{
    long at, length, to = below(LIMIT), got;
    off_t from, goal = to;

    range(&at, &length, LIMIT);
    if (to + length > LIMIT)
        length = LIMIT - to;
    if ((at < to ? to - at : at - to) < length || at + length > size)
        return;
    from = at;
    got = copy_file_range(fd, &from, fd, &goal, length, 0);
    if (got != length)
        fail("copy_file_range", at);
    memcpy(buffer, model + at, length);
    grow(to);
    memcpy(model + to, buffer, length);
    if (to + length > size)
        size = to + length;
}

static void do_reopen(void)
{
    int *which = below(2) ? &fd : &other;

    if (*which >= 0 && close(*which))
        fail("close", 0);
    *which = open(path, O_RDWR);
    if (*which < 0)
        fail("open", 0);
    if (!below(4) && fsync(*which))
        fail("fsync", 0);
}

static void check_size(void)
{
    struct stat status;

    if (fstat(either(), &status) || status.st_size != size) {
        printf("fsx: operation %ld: size %ld, not %ld\n", turn, (long)status.st_size, size);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static void (*const acts[])(void) = {do_write, do_write, do_read, do_read, do_load, do_load,
        do_store, do_store, do_private, do_truncate, do_allocate, do_allocate, do_collapse, do_copy,
        do_reopen, do_append};
    long count;

    if (argc < 4)
        return 2;
    path = argv[1];
    state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15u | 1;
    count = strtol(argv[3], NULL, 10);
    verbose = argc > 4;
    fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || (size = pread(fd, model, LIMIT, 0)) < 0)
        fail("open", 0);
    for (turn = 1; turn <= count; turn++) {
        long act = below(sizeof acts / sizeof *acts);

        if (verbose)
            fprintf(stderr, "%ld: act %ld, size %ld\n", turn, act, size);
        acts[act]();
        check_size();
    }
    if (pread(fd, buffer, LIMIT, 0) != size)
        fail("last read", 0);
    compare("last read", buffer, 0, size);
    printf("fsx: %ld operations, ok\n", count);
    return 0;
}
