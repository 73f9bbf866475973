/* The cheapest system call, in a loop: what does a trap cost? */
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    double start = now();

    for (long i = 0; i < n; i++)
        if (syscall(SYS_getpid) <= 0)
            die("getpid");
    return report("getpid", n, now() - start, "call");
}
