/* A large file: 64 KiB written at a time, up to 64 MiB and again from its start; fsync at the end. */
#include "fsbench.h"

enum { CHUNK = 65536, CHUNKS = 1024 };

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    static char text[CHUNK];

    memset(text, 'L', sizeof text);
    scratch_begin();
    int fd = open("large", O_CREAT | O_RDWR, 0600);
    double start = now();

    if (fd < 0)
        die("large");
    for (long i = 0; i < n; i++)
        if (pwrite(fd, text, CHUNK, i % CHUNKS * CHUNK) != CHUNK)
            die("large: write");
    if (fsync(fd) != 0)
        die("large: fsync");
    double seconds = now() - start;

    close(fd);
    scratch_end();
    return report("largefile", n, seconds, "64 KiB written");
}
