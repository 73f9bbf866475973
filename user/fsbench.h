/*
 * Where benchmarks of a file system work: a directory of their own below
 * BENCH_DIR, which must be given. It is removed at the end.
 */
#ifndef FSBENCH_H
#define FSBENCH_H

#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static char scratch[200];

static int scratch_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static inline void scratch_end(void)
{
    if (chdir("/") != 0 || nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS) != 0)
        die(scratch);
}

/* Make it, and make it the current directory. */
static inline void scratch_begin(void)
{
    const char *place = getenv("BENCH_DIR");

    if (place == NULL || strlen(place) > 150) {
        fprintf(stderr, "BENCH_DIR: no directory to work in\n");
        exit(2);
    }
    snprintf(scratch, sizeof scratch, "%s/fsbench-XXXXXX", place);
    if (mkdtemp(scratch) == NULL || chdir(scratch) != 0)
        die(scratch);
}

/* Write a whole file and close it, after fsync(2) if it must last. */
static inline void put(const char *path, const void *text, size_t size, int lasting)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);

    if (fd < 0 || write(fd, text, size) != (ssize_t)size || (lasting && fsync(fd) != 0) || close(fd) != 0)
        die(path);
}

#endif
