/* One byte from /dev/zero per call: a trap, a descriptor, a copy out. */
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    int fd = open("/dev/zero", O_RDONLY);
    char byte = 1;

    if (fd < 0)
        die("/dev/zero");
    double start = now();
    for (long i = 0; i < n; i++)
        if (read(fd, &byte, 1) != 1)
            die("read");
    return report("read1", n, now() - start, "call");
}
