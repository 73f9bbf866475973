/* Scheduling. The answers are those of a machine with any number of processors. */
#include "corners.h"

#include <linux/sched.h>
#include <sched.h>
#include <linux/membarrier.h>
#include <linux/rseq.h>

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

static void policies(void)
{
    int zero = 0, one = 1, hundred = 100, minus = -1, parameter = 7;

    for (int policy = -1; policy < 7; policy++) {
        printf("policy %d\n", policy);
        TELL(SYS_sched_get_priority_min, policy);
        TELL(SYS_sched_get_priority_max, policy);
        APART { TELL(SYS_sched_setscheduler, 0, policy, &zero); TELL(SYS_sched_getscheduler, 0); }
        APART { TELL(SYS_sched_setscheduler, 0, policy, &one); TELL(SYS_sched_getscheduler, 0);
                TELL(SYS_sched_getparam, 0, &parameter); SHOW(parameter);
                APART TELL(SYS_sched_getscheduler, 0); }
        TELL(SYS_sched_setscheduler, 0, policy, &hundred);
        TELL(SYS_sched_setscheduler, 0, policy, &minus);
        APART { TELL(SYS_sched_setscheduler, 0, policy | SCHED_RESET_ON_FORK, &zero); TELL(SYS_sched_getscheduler, 0);
                APART TELL(SYS_sched_getscheduler, 0); }
        APART { become_nobody(); TELL(SYS_sched_setscheduler, 0, policy, &zero);
                TELL(SYS_sched_setscheduler, 0, policy, &one); }
    }
    TELL(SYS_sched_setscheduler, 0, 0, NULL);
    TELL(SYS_sched_setscheduler, 0, 0, BAD);
    TELL(SYS_sched_setscheduler, -1, 0, &zero);
    TELL(SYS_sched_setscheduler, NO_SUCH_PID, 0, &zero);
    TELL(SYS_sched_getscheduler, -1);
    TELL(SYS_sched_getscheduler, NO_SUCH_PID);
    TELL(SYS_sched_getparam, 0, NULL);
    TELL(SYS_sched_getparam, 0, BAD);
    TELL(SYS_sched_getparam, -1, &parameter);
    TELL(SYS_sched_getparam, NO_SUCH_PID, &parameter);
    TELL(SYS_sched_setparam, 0, NULL);
    TELL(SYS_sched_setparam, 0, BAD);
    TELL(SYS_sched_setparam, 0, &one);
    TELL(SYS_sched_setparam, 0, &zero);
    TELL(SYS_sched_setparam, -1, &zero);
    TELL(SYS_sched_setparam, NO_SUCH_PID, &zero);
    APART {
        TELL(SYS_sched_setscheduler, 0, SCHED_RR, &one);
        parameter = 50;
        TELL(SYS_sched_setparam, 0, &parameter);
        TELL(SYS_sched_setparam, 0, &hundred);
        TELL(SYS_sched_setparam, 0, &zero);
        TELL(SYS_sched_getparam, 0, &parameter);
        SHOW(parameter);
    }
}

static void intervals(void)
{
    struct timespec interval = {9, 9};
    int one = 1;

    TELL(SYS_sched_rr_get_interval, 0, &interval);
    SHOW(interval.tv_sec);
    SHOW(interval.tv_nsec > 0);
    TELL(SYS_sched_rr_get_interval, 0, BAD);
    TELL(SYS_sched_rr_get_interval, -1, &interval);
    TELL(SYS_sched_rr_get_interval, NO_SUCH_PID, &interval);
    APART {
        TELL(SYS_sched_setscheduler, 0, SCHED_FIFO, &one);
        TELL(SYS_sched_rr_get_interval, 0, &interval);
        SHOW(interval.tv_nsec);
        TELL(SYS_sched_setscheduler, 0, SCHED_RR, &one);
        TELL(SYS_sched_rr_get_interval, 0, &interval);
        SHOW(interval.tv_nsec);
    }
}

static void attributes(void)
{
    struct attributes a;

    memset(&a, 0, sizeof a);
    TELL(SYS_sched_getattr, 0, &a, 48, 0);
    SHOW(a.size);
    SHOW(a.policy);
    TELL(SYS_sched_getattr, 0, &a, 56, 0);
    SHOW(a.size);
    TELL(SYS_sched_getattr, 0, &a, 47, 0);
    TELL(SYS_sched_getattr, 0, &a, 5000, 0);
    TELL(SYS_sched_getattr, 0, &a, 48, 1);
    TELL(SYS_sched_getattr, 0, NULL, 48, 0);
    TELL(SYS_sched_getattr, -1, &a, 48, 0);
    TELL(SYS_sched_getattr, NO_SUCH_PID, &a, 48, 0);
    APART {
        memset(&a, 0, sizeof a);
        a.size = 48;
        a.nice = 5;
        TELL(SYS_sched_setattr, 0, &a, 0);
        TELL(SYS_getpriority, 0, 0);
        a.policy = SCHED_BATCH;
        TELL(SYS_sched_setattr, 0, &a, 0);
        TELL(SYS_sched_getscheduler, 0);
        a.policy = 99;
        TELL(SYS_sched_setattr, 0, &a, 0);
        a.policy = SCHED_FIFO;
        TELL(SYS_sched_setattr, 0, &a, 0);
        a.priority = 3;
        TELL(SYS_sched_setattr, 0, &a, 0);
        memset(&a, 0, sizeof a);
        TELL(SYS_sched_getattr, 0, &a, 48, 0);
        SHOW(a.priority);
        TELL(SYS_sched_setattr, 0, &a, 1);
        TELL(SYS_sched_setattr, 0, NULL, 0);
        a.size = 20;
        TELL(SYS_sched_setattr, 0, &a, 0);
        a.size = 48;
        a.flags = 1ull << 40;
        TELL(SYS_sched_setattr, 0, &a, 0);
    }
}

static void processors(void)
{
    uint64_t mask[32] = {0};
    unsigned cpu = 99, node = 99;

    TELL(SYS_sched_getaffinity, 0, 4, mask);
    TELL(SYS_sched_getaffinity, 0, 9, mask);
    TELL(SYS_sched_getaffinity, 0, 0, mask);
    TELL(SYS_sched_getaffinity, 0, 128, BAD);
    TELL(SYS_sched_getaffinity, -1, 128, mask);
    TELL(SYS_sched_getaffinity, NO_SUCH_PID, 128, mask);
    TRY(SYS_sched_getaffinity, 0, 128, mask);
    SHOW(mask[0] & 1);
    TELL(SYS_sched_setaffinity, 0, 8, BAD);
    mask[0] = 0;
    TELL(SYS_sched_setaffinity, 0, 8, mask);
    TELL(SYS_sched_setaffinity, 0, 0, mask);
    mask[0] = 1;
    TELL(SYS_sched_setaffinity, 0, 1, mask);
    TELL(SYS_sched_setaffinity, -1, 8, mask);
    TELL(SYS_sched_setaffinity, NO_SUCH_PID, 8, mask);
    TELL(SYS_sched_setaffinity, 0, 8, mask);
    TELL(SYS_getcpu, &cpu, &node, NULL);
    SHOW(cpu);
    SHOW(node);
    TELL(SYS_getcpu, NULL, NULL, NULL);
    TELL(SYS_getcpu, BAD, NULL, NULL);
    TELL(SYS_sched_yield);
}

static void barriers(void)
{
    TRY(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    TELL(SYS_membarrier, MEMBARRIER_CMD_QUERY, 1, 0);
    TELL(SYS_membarrier, 3, 0, 0);
    TELL(SYS_membarrier, -1, 0, 0);
    TELL(SYS_membarrier, 1 << 20, 0, 0);
    TELL(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
    APART {
        TELL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
        TELL(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
    }
}

void corners_scheduling(void)
{
    policies();
    intervals();
    attributes();
    processors();
    barriers();
}
