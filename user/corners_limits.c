/* Limits and priorities. */
#include "corners.h"

#include <sched.h>
#include <sys/resource.h>

static void each_limit(void)
{
    struct rlimit limit, more, less;

    for (int resource = -1; resource < 18; resource++) {
        printf("resource %d\n", resource);
        TELL(SYS_getrlimit, resource, &limit);
        TELL(SYS_getrlimit, resource, BAD);
        TELL(SYS_setrlimit, resource, BAD);
        more = (struct rlimit){5, 4};
        TELL(SYS_setrlimit, resource, &more);
        TELL(SYS_prlimit64, 0, resource, NULL, NULL);
        TELL(SYS_prlimit64, 0, resource, NULL, BAD);
        TELL(SYS_prlimit64, NO_SUCH_PID, resource, NULL, &limit);
        TELL(SYS_prlimit64, -1, resource, NULL, &limit);
        APART {
            if (resource == RLIMIT_AS || resource == RLIMIT_DATA || resource == RLIMIT_STACK)
                less = (struct rlimit){1 << 30, 1 << 30};
            else if (resource == RLIMIT_NICE || resource == RLIMIT_RTPRIO)
                less = (struct rlimit){0, 0}; /* without CAP_SYS_RESOURCE, no more */
            else
                less = (struct rlimit){1000, 1000};
            TELL(SYS_prlimit64, 0, resource, &less, &limit);
            become_nobody();
            less.rlim_max++;
            TELL(SYS_prlimit64, 0, resource, &less, NULL);
            less.rlim_max--;
            TELL(SYS_prlimit64, 0, resource, &less, NULL);
            TELL(SYS_getrlimit, resource, &limit);
            if (resource >= 0 && resource < RLIM_NLIMITS) {
                SHOW(limit.rlim_cur);
                SHOW(limit.rlim_max);
            }
        }
    }
    APART {
        limit = (struct rlimit){100, 1u << 31};
        TELL(SYS_setrlimit, RLIMIT_NOFILE, &limit);
        limit = (struct rlimit){0, 5};
        TELL(SYS_setrlimit, RLIMIT_CPU, &limit);
        TELL(SYS_getrlimit, RLIMIT_CPU, &limit);
        SHOW(limit.rlim_cur);
    }
    APART {
        limit = (struct rlimit){3, 10};
        TELL(SYS_setrlimit, RLIMIT_NOFILE, &limit);
        TELL(SYS_dup, 1);
        TELL(SYS_dup2, 1, 3);
        TELL(SYS_dup2, 1, 2);
        TELL(SYS_fcntl, 1, F_DUPFD, 3);
        TELL(SYS_fcntl, 1, F_DUPFD, 0);
        TELL(SYS_pipe2, &limit, 0);
    }
    APART {
        become_nobody();
        limit = (struct rlimit){0, 0};
        TELL(SYS_setrlimit, RLIMIT_NPROC, &limit);
        TELL(SYS_fork);
        TELL(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, NULL, NULL, 0);
    }
}

static void others(void)
{
    struct rlimit limit = {500, 600};
    pid_t child = begin_sleeper();

    TELL(SYS_prlimit64, child, RLIMIT_CORE, &limit, NULL);
    TELL(SYS_prlimit64, child, RLIMIT_CORE, NULL, &limit);
    SHOW(limit.rlim_max);
    APART {
        become_nobody();
        TELL(SYS_prlimit64, child, RLIMIT_CORE, NULL, &limit);
        TELL(SYS_prlimit64, 1, RLIMIT_CORE, NULL, &limit);
        TELL(SYS_getpriority, PRIO_PROCESS, child);
        TELL(SYS_setpriority, PRIO_PROCESS, child, 10);
        TELL(SYS_setpriority, PRIO_PROCESS, 1, 10);
        TELL(SYS_ioprio_set, 1, child, 0);
        TELL(SYS_kill, child, 0);
        TELL(SYS_sched_setaffinity, child, 8, &(uint64_t){1});
        TELL(SYS_sched_getscheduler, child);
        TELL(SYS_sched_setscheduler, child, 0, &(int){0});
    }
    end_sleeper(child);
}

static void priorities(void)
{
    for (int which = -1; which < 4; which++) {
        printf("which %d\n", which);
        TELL(SYS_getpriority, which, NO_SUCH_PID);
        TELL(SYS_getpriority, which, -1);
        TELL(SYS_setpriority, which, NO_SUCH_PID, 5);
        APART if (which != PRIO_USER) TELL(SYS_getpriority, which, 0);
    }
    APART {
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 5);
        TELL(SYS_getpriority, PRIO_PROCESS, 0);
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 100);
        TELL(SYS_getpriority, PRIO_PROCESS, 0);
        TELL(SYS_setpriority, PRIO_PROCESS, 0, -100);
        TELL(SYS_getpriority, PRIO_PROCESS, 0);
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 3);
        become_nobody();
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 3);
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 2);
        TELL(SYS_setpriority, PRIO_PROCESS, 0, 7);
        TELL(SYS_getpriority, PRIO_PROCESS, 0);
        TELL(SYS_getpriority, PRIO_USER, 0);
    }
    printf("input and output\n");
    for (int which = 0; which < 5; which++) {
        TELL(SYS_ioprio_get, which, NO_SUCH_PID);
        TELL(SYS_ioprio_set, which, NO_SUCH_PID, 2 << 13 | 3);
    }
    APART {
        TELL(SYS_ioprio_set, 1, 0, 2 << 13 | 5);
        TELL(SYS_ioprio_get, 1, 0);
        APART TELL(SYS_ioprio_get, 1, 0);
        TELL(SYS_ioprio_set, 1, 0, 3 << 13);
        TELL(SYS_ioprio_get, 1, 0);
        TELL(SYS_ioprio_set, 1, 0, 5 << 13);
        TELL(SYS_ioprio_set, 1, 0, 2 << 13 | 8);
        TELL(SYS_ioprio_set, 1, 0, 1 << 13 | 4);
        TELL(SYS_ioprio_set, 1, 0, 0);
        TELL(SYS_ioprio_set, 1, 0, 1);
        become_nobody();
        TELL(SYS_ioprio_set, 1, 0, 1 << 13 | 4);
    }
}

void corners_limits(void)
{
    each_limit();
    others();
    priorities();
}
