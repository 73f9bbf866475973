/* A child that exits at once, and the wait for it. */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    double start = now();

    for (long i = 0; i < n; i++) {
        int status;
        pid_t child = fork();

        if (child < 0)
            die("fork");
        if (child == 0)
            _exit(0);
        if (waitpid(child, &status, 0) != child || status != 0)
            die("waitpid");
    }
    return report("forkexit", n, now() - start, "process");
}
