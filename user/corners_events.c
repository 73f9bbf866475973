/* Files of events: eventfd, timerfd, signalfd. */
#include "corners.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void counters(void)
{
    uint64_t word = 0;
    int fd = eventfd(5, EFD_NONBLOCK);

    TELL(SYS_eventfd2, 0, 1u << 31);
    TELL(SYS_eventfd2, 0, O_APPEND);
    TELL(SYS_read, fd, &word, 7);
    TELL(SYS_read, fd, &word, 100);
    SHOW(word);
    TELL(SYS_read, fd, &word, 8);
    word = UINT64_MAX;
    TELL(SYS_write, fd, &word, 8);
    word--;
    TELL(SYS_write, fd, &word, 8);
    word = 1;
    TELL(SYS_write, fd, &word, 8);
    TELL(SYS_write, fd, &word, 7);
    TELL(SYS_write, fd, BAD, 8);
    TELL(SYS_lseek, fd, 0, SEEK_SET);
    TELL(SYS_pread64, fd, &word, 8, 0);
    TELL(SYS_ftruncate, fd, 0);
    TELL(SYS_fsync, fd);
    TELL(SYS_ioctl, fd, 0x5401, &word);
    close(fd);
    fd = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    TELL(SYS_read, fd, &word, 8);
    SHOW(word);
    TELL(SYS_read, fd, &word, 8);
    TELL(SYS_read, fd, &word, 8);
    close(fd);
}

static const int clocks[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, -1, -6};

static void timer_files(void)
{
    struct itimerspec value = {{0, 0}, {100, 0}}, bad = {{0, 0}, {0, 1000000000}}, old = {{9, 9}, {9, 9}};
    struct itimerspec past = {{0, 0}, {0, 1}}, negative = {{0, 0}, {-1, 0}}, soon = {{0, 5000000}, {0, 1}};
    uint64_t ticks = 0;
    int fd, other = eventfd(0, 0);

    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        int clock = clocks[i];

        printf("clock %d\n", clock);
        APART TRY(SYS_timerfd_create, clock, 0);
    }
    TELL(SYS_timerfd_create, CLOCK_MONOTONIC, 1);
    TELL(SYS_timerfd_create, CLOCK_MONOTONIC, O_APPEND);
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    TELL(SYS_timerfd_settime, fd, 0, NULL, NULL);
    TELL(SYS_timerfd_settime, fd, 0, BAD, NULL);
    TELL(SYS_timerfd_settime, fd, 8, &value, NULL);
    TELL(SYS_timerfd_settime, fd, 0, &bad, NULL);
    TELL(SYS_timerfd_settime, fd, 0, &negative, NULL);
    TELL(SYS_timerfd_settime, other, 0, &value, NULL);
    TELL(SYS_timerfd_settime, 999, 0, &value, NULL);
    TELL(SYS_timerfd_settime, 999, 8, &value, NULL);
    TELL(SYS_timerfd_settime, 999, 0, &bad, NULL);
    TELL(SYS_timerfd_settime, fd, 0, &value, BAD);
    TELL(SYS_timerfd_gettime, fd, &old);
    SHOW(old.it_value.tv_sec >= 98);
    TELL(SYS_timerfd_gettime, fd, BAD);
    TELL(SYS_timerfd_gettime, other, &old);
    TELL(SYS_timerfd_gettime, 999, &old);
    TELL(SYS_read, fd, &ticks, 8);
    TELL(SYS_read, fd, &ticks, 4);
    TELL(SYS_write, fd, &ticks, 8);
    TELL(SYS_timerfd_settime, fd, TFD_TIMER_ABSTIME, &past, NULL);
    TELL(SYS_read, fd, &ticks, 8);
    SHOW(ticks);
    TELL(SYS_timerfd_settime, fd, 0, &soon, NULL);
    usleep(52000);
    TELL(SYS_read, fd, &ticks, 8);
    SHOW(ticks > 8);
    TELL(SYS_timerfd_settime, fd, TFD_TIMER_CANCEL_ON_SET, &value, NULL);
    close(fd);
    close(other);
}

static void signal_files(void)
{
    struct signalfd_siginfo info;
    sigset_t set;
    int fd, other = eventfd(0, 0);

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    TELL(SYS_signalfd4, -1, &set, 8, 1);
    TELL(SYS_signalfd4, -1, &set, 4, 0);
    TELL(SYS_signalfd4, -1, BAD, 8, 0);
    TELL(SYS_signalfd4, other, &set, 8, 0);
    TELL(SYS_signalfd4, 999, &set, 8, 0);
    TELL(SYS_signalfd4, -2, &set, 8, 0);
    fd = signalfd(-1, &set, SFD_NONBLOCK);
    TELL(SYS_read, fd, &info, sizeof info);
    TELL(SYS_read, fd, &info, sizeof info - 1);
    TELL(SYS_write, fd, &info, sizeof info);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR2);
    TELL(SYS_read, fd, BAD, sizeof info);
    kill(getpid(), SIGUSR2);
    TELL(SYS_read, fd, &info, sizeof info);
    SHOW(info.ssi_signo);
    SHOW(info.ssi_code);
    SHOW(info.ssi_pid == (uint32_t)getpid());
    TELL(SYS_read, fd, &info, sizeof info);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 9});
    TELL(SYS_read, fd, &info, 3 * sizeof info);
    SHOW(info.ssi_code);
    SHOW(info.ssi_int);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(fd);
    close(other);
}

void corners_events(void)
{
    counters();
    timer_files();
    signal_files();
}
