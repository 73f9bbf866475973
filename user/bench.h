/*
 * What every benchmark shares: a clock, a count, one line of JSON.
 *
 * A benchmark takes one argument, how many iterations to make, times them
 * inside the guest with CLOCK_MONOTONIC, and prints one line:
 *   {"name": ..., "iterations": ..., "seconds": ..., "unit": ..., "per_second": ...}
 * So the cost of booting a kernel, of loading the program and of printing
 * never counts. A benchmark that cannot do its work says so and exits 1:
 * there is no figure for work that was not done.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Seconds since an arbitrary moment. */
static inline double now(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        die("clock_gettime");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The iteration count in argv[1]. */
static inline long iterations(int argc, char **argv)
{
    char *end = NULL;
    long n = argc == 2 ? strtol(argv[1], &end, 10) : 0;

    if (n < 1 || *end != '\0') {
        fprintf(stderr, "usage: %s ITERATIONS (1 or more)\n", argv[0]);
        exit(2);
    }
    return n;
}

static inline int report(const char *name, long done, double seconds, const char *unit)
{
    printf("{\"name\": \"%s\", \"iterations\": %ld, \"seconds\": %.6f, "
           "\"unit\": \"%s\", \"per_second\": %.3f}\n",
           name, done, seconds, unit, seconds > 0 ? (double)done / seconds : 0.0);
    return 0;
}

#endif
