/* Futexes: by which name do a waiter and a waker meet? */
#include "corners.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>

static int *word;

static void *wait_here(void *unused)
{
    syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return unused;
}

/* The frame under the word changes between the wait and the wake: a copy is made on write. */
static void across_a_copy(void)
{
    pthread_t thread;
    pid_t child;

    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *word = 0;
    if (pthread_create(&thread, NULL, wait_here, NULL))
        return;
    usleep(100000);
    child = begin_sleeper();
    *word = 1;
    TELL(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
    pthread_join(thread, NULL);
    end_sleeper(child);
}

/* A child waits on the same address: in memory of its own, and in memory that is shared. */
static void between_processes(int flags)
{
    int *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        syscall(SYS_futex, place, FUTEX_WAIT, 0, NULL, NULL, 0);
        _exit(0);
    }
    usleep(100000);
    TELL(SYS_futex, place, FUTEX_WAKE, 1, NULL, NULL, 0);
    end_sleeper(child);
}

static void arguments(void)
{
    struct timespec bad = {0, 1000000000}, soon = {0, 1000000};
    int zero = 0;

    word = &zero;
    TELL(SYS_futex, (char *)word + 1, FUTEX_WAIT, 0, NULL, NULL, 0);
    TELL(SYS_futex, (char *)word + 1, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    TELL(SYS_futex, word, FUTEX_WAIT, 1, NULL, NULL, 0);
    TELL(SYS_futex, word, FUTEX_WAIT, 0, &bad, NULL, 0);
    TELL(SYS_futex, word, FUTEX_WAIT, 0, &soon, NULL, 0);
    TELL(SYS_futex, word, FUTEX_WAIT_BITSET, 0, &soon, NULL, 0);
    TELL(SYS_futex, word, FUTEX_WAIT_BITSET, 0, &soon, NULL, 1);
    TELL(SYS_futex, word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0);
    TELL(SYS_futex, BAD, FUTEX_WAKE, 1, NULL, NULL, 0);
    TELL(SYS_futex, BAD, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    TELL(SYS_futex, BAD, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    TELL(SYS_futex, word, FUTEX_CMP_REQUEUE, 1, -1L, word, 0);
    TELL(SYS_futex, word, FUTEX_CMP_REQUEUE, 1, 1L, word, 1);
    TELL(SYS_futex, word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0);
    TELL(SYS_futex, word, 99, 1, NULL, NULL, 0);
}

void corners_futex(void)
{
    arguments();
    across_a_copy();
    between_processes(MAP_PRIVATE);
    between_processes(MAP_SHARED);
}
