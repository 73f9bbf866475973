/* Small files: create, write 1 KiB, close; stat, open, read, close; unlink. A hundred at a time. */
#include "fsbench.h"

enum { BATCH = 100, BYTES = 1024 };

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    char name[32], text[BYTES], back[BYTES + 1];
    struct stat st;

    memset(text, 's', sizeof text);
    scratch_begin();
    double start = now();
    for (long done = 0; done < n; done += BATCH) {
        long count = n - done < BATCH ? n - done : BATCH;

        for (long i = 0; i < count; i++) {
            snprintf(name, sizeof name, "f%ld", i);
            put(name, text, BYTES, 0);
        }
        for (long i = 0; i < count; i++) {
            snprintf(name, sizeof name, "f%ld", i);
            int fd = stat(name, &st) == 0 && st.st_size == BYTES ? open(name, O_RDONLY) : -1;

            if (fd < 0 || read(fd, back, sizeof back) != BYTES || memcmp(text, back, BYTES) != 0 || close(fd) != 0)
                die(name);
        }
        for (long i = 0; i < count; i++) {
            snprintf(name, sizeof name, "f%ld", i);
            if (unlink(name) != 0)
                die(name);
        }
    }
    double seconds = now() - start;

    scratch_end();
    return report("smallfile", n, seconds, "file made, read and removed");
}
