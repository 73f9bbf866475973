/* Open and close a file that exists: a path walk and a descriptor. */
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    double start = now();

    for (long i = 0; i < n; i++) {
        int fd = open("/etc/passwd", O_RDONLY);

        if (fd < 0 || close(fd) != 0)
            die("/etc/passwd");
    }
    return report("openclose", n, now() - start, "open and close");
}
