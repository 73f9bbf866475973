/* One byte to /dev/null per call: a trap, a descriptor, a copy in. */
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    int fd = open("/dev/null", O_WRONLY);

    if (fd < 0)
        die("/dev/null");
    double start = now();
    for (long i = 0; i < n; i++)
        if (write(fd, "x", 1) != 1)
            die("write");
    return report("write1", n, now() - start, "call");
}
