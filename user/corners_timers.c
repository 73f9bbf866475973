/* Timers that send signals: setitimer, alarm, timer_create. */
#include "corners.h"

#include <sys/time.h>

static const int timer_clocks[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 99, -1, -2, -6, -7, -8};

static void creating(void)
{
    timer_t id;
    int number;
    struct sigevent event;

    for (size_t i = 0; i < sizeof timer_clocks / sizeof timer_clocks[0]; i++) {
        int clock = timer_clocks[i];

        printf("clock %d\n", clock);
        APART TRY(SYS_timer_create, clock, NULL, &number);
    }
    memset(&event, 0, sizeof event);
    TELL(SYS_timer_create, CLOCK_MONOTONIC, NULL, BAD);
    TELL(SYS_timer_create, CLOCK_MONOTONIC, BAD, &id);
    event.sigev_notify = SIGEV_NONE;
    event.sigev_signo = 99;
    APART TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
    event.sigev_notify = SIGEV_SIGNAL;
    for (int number = -1; number < 67; number += number == 1 ? 62 : 1) {
        event.sigev_signo = number;
        printf("signal %d\n", number);
        APART TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
    }
    event.sigev_signo = SIGUSR1;
    for (int notify = 0; notify < 8; notify++) {
        event.sigev_notify = notify;
        event._sigev_un._tid = 0;
        printf("notify %d\n", notify);
        APART TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
        APART {
            event._sigev_un._tid = getpid();
            TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
        }
        event._sigev_un._tid = 1;
        APART TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &number);
    }
}

static volatile int taken, overrun;
static int numbered;

static void take(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    taken++;
    if (info->si_code == SI_TIMER) {
        overrun = info->si_overrun;
        if (info->si_value.sival_int != 77)
            taken = 1000;
    }
}

static void running(void)
{
    struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec spec = {{0, 10000000}, {0, 10000000}}, old = {{9, 9}, {9, 9}}, off = {{0, 0}, {0, 0}};
    struct itimerspec bad = {{0, 0}, {0, 1000000000}}, bad_interval = {{0, -1}, {0, 1}}, late = {{0, 0}, {100, 0}};
    sigset_t usr1, was;
    int id;

    event.sigev_value.sival_int = 77;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    TELL(SYS_timer_create, CLOCK_MONOTONIC, &event, &id);
    numbered = id;
    TELL(SYS_timer_gettime, numbered, &old);
    SHOW(old.it_value.tv_sec);
    TELL(SYS_timer_settime, numbered, 0, NULL, NULL);
    TELL(SYS_timer_settime, numbered, 0, BAD, NULL);
    TELL(SYS_timer_settime, numbered, 0, &bad, NULL);
    TELL(SYS_timer_settime, numbered, 0, &bad_interval, NULL);
    TELL(SYS_timer_settime, 1234, 0, &spec, NULL);
    TELL(SYS_timer_settime, 1234, 0, NULL, NULL);
    TELL(SYS_timer_settime, -1, 0, &spec, NULL);
    TELL(SYS_timer_settime, numbered, 0, &late, &old);
    SHOW(old.it_value.tv_sec);
    TELL(SYS_timer_settime, numbered, 0, &off, &old);
    SHOW(old.it_value.tv_sec > 98);
    TELL(SYS_timer_settime, numbered, 0x1000, &off, BAD);
    TELL(SYS_timer_gettime, numbered, BAD);
    TELL(SYS_timer_gettime, 1234, &old);
    TELL(SYS_timer_getoverrun, 1234);
    TELL(SYS_timer_getoverrun, numbered);
    sigprocmask(SIG_BLOCK, &usr1, &was);
    TELL(SYS_timer_settime, numbered, 0, &spec, NULL);
    usleep(205000);
    TELL(SYS_timer_gettime, numbered, &old);
    SHOW(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 10000000);
    sigprocmask(SIG_SETMASK, &was, NULL);
    TELL(SYS_timer_settime, numbered, 0, &off, NULL);
    SHOW(taken >= 1 && taken < 3);
    SHOW(overrun >= 15 && overrun < 60);
    TELL(SYS_timer_delete, numbered);
    TELL(SYS_timer_delete, numbered);
    TELL(SYS_timer_delete, -1);
}

static void interval_timers(void)
{
    struct itimerval value = {{0, 0}, {100, 0}}, bad = {{0, 0}, {0, 1000000}}, negative = {{-1, 0}, {0, 0}};
    struct itimerval old = {{9, 9}, {9, 9}}, bad_interval = {{0, 1000000}, {0, 0}};

    for (int which = -1; which < 4; which++) {
        printf("timer %d\n", which);
        TELL(SYS_getitimer, which, &old);
        TELL(SYS_setitimer, which, &value, NULL);
        TELL(SYS_setitimer, which, NULL, &old);
        SHOW(old.it_value.tv_sec >= 98);
        TELL(SYS_getitimer, which, &old);
        SHOW(old.it_value.tv_sec);
        TELL(SYS_setitimer, which, &bad, NULL);
        TELL(SYS_setitimer, which, &bad_interval, NULL);
        TELL(SYS_setitimer, which, &negative, NULL);
        TELL(SYS_setitimer, which, BAD, NULL);
    }
    TELL(SYS_alarm, 100);
    TELL(SYS_alarm, 0xffffffffu);
    TRY(SYS_alarm, 0);
    TELL(SYS_alarm, 0);
    APART {
        TELL(SYS_alarm, 50);
        TELL(SYS_timer_create, CLOCK_MONOTONIC, NULL, &numbered);
        APART {
            TELL(SYS_alarm, 0);
            TELL(SYS_timer_delete, numbered);
        }
    }
}

void corners_timers(void)
{
    creating();
    running();
    interval_timers();
}
