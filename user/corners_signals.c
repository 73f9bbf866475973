/* Sending and taking signals. */
#include "corners.h"

struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static void actions(void)
{
    struct kernel_action action, old;

    memset(&action, 0, sizeof action);
    TELL(SYS_rt_sigaction, 0, NULL, &old, 8);
    TELL(SYS_rt_sigaction, 65, NULL, &old, 8);
    TELL(SYS_rt_sigaction, -1, NULL, &old, 8);
    TELL(SYS_rt_sigaction, SIGKILL, NULL, &old, 8);
    TELL(SYS_rt_sigaction, SIGKILL, &action, NULL, 8);
    TELL(SYS_rt_sigaction, SIGSTOP, &action, NULL, 8);
    TELL(SYS_rt_sigaction, SIGUSR1, &action, NULL, 4);
    TELL(SYS_rt_sigaction, SIGUSR1, &action, NULL, 16);
    TELL(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8);
    TELL(SYS_rt_sigaction, SIGUSR1, NULL, BAD, 8);
    action.flags = 0x400 | SA_RESTART | (1ul << 40);
    action.mask = UINT64_MAX;
    TELL(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8);
    TELL(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8);
    printf("  flags %#lx mask %#lx\n", old.flags, (unsigned long)old.mask);
}

static void masks(void)
{
    uint64_t set = UINT64_MAX, old = 0;
    struct timespec none = {0, 0}, bad = {0, 1000000000};
    siginfo_t info;

    APART {
        TELL(SYS_rt_sigprocmask, SIG_SETMASK, &set, &old, 8);
        TELL(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &old, 8);
        printf("  blocked %#lx\n", (unsigned long)old);
        TELL(SYS_rt_sigprocmask, 7, &set, NULL, 8);
        TELL(SYS_rt_sigprocmask, 7, NULL, &old, 8);
        TELL(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4);
        TELL(SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8);
        TELL(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD, 8);
        TELL(SYS_rt_sigpending, &old, 8);
        TELL(SYS_rt_sigpending, &old, 9);
        TELL(SYS_rt_sigpending, BAD, 8);
        kill(getpid(), SIGUSR1);
        kill(getpid(), SIGUSR1);
        TELL(SYS_rt_sigpending, &old, 8);
        printf("  pending %#lx\n", (unsigned long)old);
        TELL(SYS_rt_sigtimedwait, &set, &info, &bad, 8);
        TELL(SYS_rt_sigtimedwait, &set, &info, &none, 4);
        TELL(SYS_rt_sigtimedwait, BAD, &info, &none, 8);
        TELL(SYS_rt_sigtimedwait, &set, &info, BAD, 8);
        TELL(SYS_rt_sigtimedwait, &set, &info, &none, 8);
        SHOW(info.si_code);
        TELL(SYS_rt_sigtimedwait, &set, &info, &none, 8);
        TELL(SYS_rt_sigsuspend, &set, 4);
        TELL(SYS_rt_sigsuspend, BAD, 8);
    }
}

static void sending(void)
{
    siginfo_t info;
    pid_t child = begin_sleeper();

    TELL(SYS_kill, getpid(), 65);
    TELL(SYS_kill, getpid(), -1);
    TELL(SYS_kill, NO_SUCH_PID, 0);
    TELL(SYS_kill, NO_SUCH_PID, 65);
    TELL(SYS_kill, -NO_SUCH_PID, 0);
    TELL(SYS_kill, 0x80000000, 0);
    TELL(SYS_kill, child, 0);
    TELL(SYS_kill, 1, 0);
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    TELL(SYS_rt_sigqueueinfo, getpid(), 0, &info);
    TELL(SYS_rt_sigqueueinfo, getpid(), 65, &info);
    TELL(SYS_rt_sigqueueinfo, NO_SUCH_PID, SIGUSR1, &info);
    TELL(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, BAD);
    info.si_code = SI_USER;
    TELL(SYS_rt_sigqueueinfo, child, 0, &info);
    info.si_code = SI_TKILL;
    TELL(SYS_rt_sigqueueinfo, child, 0, &info);
    info.si_code = 1;
    TELL(SYS_rt_sigqueueinfo, child, 0, &info);
    TELL(SYS_rt_tgsigqueueinfo, child, child, 0, &info);
    info.si_code = SI_QUEUE;
    TELL(SYS_rt_tgsigqueueinfo, child, child, 0, &info);
    TELL(SYS_rt_tgsigqueueinfo, child, getpid(), 0, &info);
    TELL(SYS_rt_tgsigqueueinfo, -1, child, 0, &info);
    APART { become_nobody(); TELL(SYS_kill, child, 0); TELL(SYS_kill, child, 65); TELL(SYS_kill, 1, SIGCONT);
            TELL(SYS_kill, -1, 0); TELL(SYS_tgkill, child, child, 0); TELL(SYS_tkill, child, 0);
            TELL(SYS_kill, NO_SUCH_PID, 0); TELL(SYS_kill, 0, 0); }
    end_sleeper(child);
}

static void stacks(void)
{
    stack_t stack = {.ss_sp = BAD, .ss_size = 2047, .ss_flags = 0}, old;

    TELL(SYS_sigaltstack, &stack, NULL);
    stack.ss_size = 8192;
    stack.ss_flags = 4;
    TELL(SYS_sigaltstack, &stack, NULL);
    stack.ss_flags = SS_ONSTACK;
    APART { TELL(SYS_sigaltstack, &stack, &old); SHOW(old.ss_flags); TELL(SYS_sigaltstack, NULL, &old);
            SHOW(old.ss_flags); SHOW(old.ss_size); }
    TELL(SYS_sigaltstack, BAD, NULL);
    TELL(SYS_sigaltstack, NULL, BAD);
    stack.ss_flags = (int)(1u << 31);
    APART { TELL(SYS_sigaltstack, &stack, &old); TELL(SYS_sigaltstack, NULL, &old); SHOW(old.ss_flags); }
}

static volatile int order[8], seen;

static void record(int number)
{
    order[seen++ & 7] = number;
}

/* Real-time signals queue, and the lowest comes first; others are taken once. */
static void queueing(void)
{
    sigset_t all, was;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &was);
    for (int number = SIGRTMAX; number > SIGRTMAX - 2; number--) {
        signal(number, record);
        kill(getpid(), number);
        kill(getpid(), number);
    }
    signal(SIGUSR2, record);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR2);
    sigprocmask(SIG_SETMASK, &was, NULL);
    SHOW(seen);
    for (int i = 0; i < seen && i < 8; i++)
        SHOW(order[i]);
}

void corners_signals(void)
{
    APART actions();
    masks();
    sending();
    stacks();
    APART queueing();
}
