/* RLIMIT_STACK is looked at when the stack grows. */
#include "corners.h"

#include <sys/resource.h>

enum { KIB = 1024, STEP_KIB = 16 };

static int deep(int kib)
{
    volatile char room[STEP_KIB * KIB];

    for (size_t i = 0; i < sizeof room; i += KIB)
        room[i] = (char)kib;
    return kib <= STEP_KIB ? room[5] : deep(kib - STEP_KIB) + room[7 * KIB];
}

static void within(rlim_t limit, int kib)
{
    struct rlimit old;

    APART {
        printf("limit %lld KiB, stack %d KiB\n", (long long)limit >> 10, kib);
        fflush(stdout);
        getrlimit(RLIMIT_STACK, &old);
        old.rlim_cur = limit;
        if (setrlimit(RLIMIT_STACK, &old))
            perror("setrlimit");
        deep(kib);
        printf("  fits\n");
    }
}

void corners_stack(void)
{
    within(8192 * KIB, 7000);
    within(8192 * KIB, 9000);
    within(16384 * KIB, 15000);
    within(16384 * KIB, 17000);
    within(1024 * KIB, 900);
    within(1024 * KIB, 1200);
    within(RLIM_INFINITY, 30000);
    within(1, 300);
}
