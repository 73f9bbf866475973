/* stat of a file that exists: a path walk and a copy out. */
#include <sys/stat.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    struct stat st;
    double start = now();

    for (long i = 0; i < n; i++)
        if (stat("/etc/passwd", &st) != 0)
            die("/etc/passwd");
    return report("stat", n, now() - start, "call");
}
