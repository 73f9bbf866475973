/* How often can 4 KiB be made to last? Appended, then fsync(2). */
#include "fsbench.h"

enum { BYTES = 4096, MOST = 4096 };

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    static char text[BYTES];

    memset(text, 'f', sizeof text);
    scratch_begin();
    int fd = open("log", O_CREAT | O_RDWR, 0600);
    double start = now();

    if (fd < 0)
        die("log");
    for (long i = 0; i < n; i++)
        if (pwrite(fd, text, BYTES, i % MOST * BYTES) != BYTES || fsync(fd) != 0)
            die("log: write and fsync");
    double seconds = now() - start;

    close(fd);
    scratch_end();
    return report("fsyncs", n, seconds, "4 KiB and fsync");
}
