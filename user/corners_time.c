/* Clocks, sleeping, and what was used. */
#include "corners.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

static const int clocks[] = {
    CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
    CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
    10, CLOCK_TAI, 12, 15, 16, 17, 99, -1, -2, -3, -4, -5, -6, -7, -8, -9, 0x7fffffff,
    (int)0x80000000,
    -8 * NO_SUCH_PID - 6, -8 * NO_SUCH_PID - 2, /* ~pid << 3, and what is counted */
    -8 * 1 - 6, -8 * 1 - 2,
};

enum { CLOCKS = sizeof clocks / sizeof clocks[0] };

static void each_clock(int clock)
{
    struct timespec now = {0, 0}, zero = {0, 0}, bad = {0, 1000000000}, before = {-1, 0};

    printf("clock %d\n", clock);
    TRY(SYS_clock_gettime, clock, &now);
    TRY(SYS_clock_getres, clock, &now);
    TRY(SYS_clock_getres, clock, NULL);
    TRY(SYS_clock_nanosleep, clock, 0, &bad, NULL);
    TRY(SYS_clock_nanosleep, clock, 0, &before, NULL);
    TRY(SYS_clock_nanosleep, clock, 0, NULL, NULL);
    TRY(SYS_clock_nanosleep, clock, 0, &zero, NULL);
    TRY(SYS_clock_nanosleep, clock, TIMER_ABSTIME, &zero, NULL);
    TRY(SYS_clock_nanosleep, clock, 0x7ffffffe, &zero, NULL);
    if (clock != CLOCK_REALTIME)
        TRY(SYS_clock_settime, clock, &zero);
    TRY(SYS_clock_settime, clock, &bad);
    TRY(SYS_clock_settime, clock, NULL);
}

void corners_time(void)
{
    struct timespec bad = {0, -1};
    struct timeval early = {1, 0};
    pid_t sleeper = begin_sleeper();
    struct timespec of_sleeper = {9, 9}, short_time = {0, 1000000};
    struct rusage usage;
    struct tms times;
    int clock = -8 * sleeper - 8;

    for (int i = 0; i < CLOCKS; i++)
        each_clock(clocks[i]);
    printf("clocks of a child\n");
    TELL(SYS_clock_gettime, clock | 2, &of_sleeper);
    SHOW(of_sleeper.tv_sec);
    TRY(SYS_clock_gettime, clock | 6, &of_sleeper);
    TRY(SYS_clock_getres, clock | 2, &of_sleeper);
    TRY(SYS_clock_getres, clock | 0, &of_sleeper);
    TRY(SYS_clock_settime, clock | 2, &short_time);
    end_sleeper(sleeper);
    TRY(SYS_clock_gettime, clock | 2, &of_sleeper);
    printf("sleeping\n");
    TELL(SYS_nanosleep, &bad, NULL);
    TELL(SYS_nanosleep, NULL, NULL);
    TELL(SYS_nanosleep, &short_time, BAD);
    TELL(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &short_time, BAD);
    TELL(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &(struct timespec){0, 1}, NULL);
    printf("used\n");
    TELL(SYS_getrusage, RUSAGE_SELF, &usage);
    TELL(SYS_getrusage, RUSAGE_CHILDREN, &usage);
    TELL(SYS_getrusage, RUSAGE_THREAD, &usage);
    TELL(SYS_getrusage, 2, &usage);
    TELL(SYS_getrusage, -2, &usage);
    TELL(SYS_getrusage, RUSAGE_SELF, BAD);
    TRY(SYS_times, &times);
    TRY(SYS_times, NULL);
    TELL(SYS_times, BAD);
    TRY(SYS_time, NULL);
    TELL(SYS_time, BAD);
    TELL(SYS_gettimeofday, NULL, NULL);
    TELL(SYS_gettimeofday, BAD, NULL);
    APART {
        become_nobody();
        TELL(SYS_clock_settime, CLOCK_REALTIME, &short_time);
        TELL(SYS_settimeofday, &early, NULL);
    }
    TELL(SYS_settimeofday, &(struct timeval){0, 1000000}, NULL);
    TELL(SYS_settimeofday, BAD, NULL);
    TELL(SYS_settimeofday, NULL, NULL);
}
