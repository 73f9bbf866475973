/*
 * Two threads hand one word to and fro through a futex. The count is of
 * hand-overs: each is one wake, one wait and one switch of threads.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static atomic_int turn;
static long rounds;

static void wait_for(int mine)
{
    while (atomic_load(&turn) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
}

static void hand_over(int theirs)
{
    atomic_store(&turn, theirs);
    if (syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) < 0)
        die("futex");
}

static void *partner(void *unused)
{
    for (long i = 0; i <= rounds; i++) {
        wait_for(1);
        hand_over(0);
    }
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    double start = 0;

    rounds = (iterations(argc, argv) + 1) / 2;
    if (pthread_create(&thread, NULL, partner, NULL) != 0)
        die("pthread_create");
    for (long i = 0; i <= rounds; i++) {
        if (i == 1)
            start = now(); /* the first round waits for the thread to start */
        hand_over(1);
        wait_for(0);
    }
    double seconds = now() - start;
    if (pthread_join(thread, NULL) != 0)
        die("pthread_join");
    return report("switch", rounds * 2, seconds, "hand-over");
}
