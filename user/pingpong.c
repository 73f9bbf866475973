/* Five bytes there and back over two pipes, between two processes. */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { LENGTH = 5 };

static void pass(int from, int to)
{
    char message[LENGTH];

    if (read(from, message, LENGTH) != LENGTH || write(to, message, LENGTH) != LENGTH)
        die("pong");
}

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    int there[2], back[2], status;
    char message[LENGTH];

    if (pipe(there) != 0 || pipe(back) != 0)
        die("pipe");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        for (long i = 0; i <= n; i++)
            pass(there[0], back[1]);
        _exit(0);
    }
    double start = 0;
    for (long i = 0; i <= n; i++) {
        if (i == 1)
            start = now(); /* the first trip waits for the child to start */
        if (write(there[1], "ping!", LENGTH) != LENGTH || read(back[0], message, LENGTH) != LENGTH)
            die("ping");
    }
    double seconds = now() - start;
    if (waitpid(child, &status, 0) != child || status != 0)
        die("child");
    return report("pingpong", n, seconds, "round trip");
}
