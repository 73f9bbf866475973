/* No system calls: what does the processor itself cost? FNV-1a over a counter. */
#include <stdint.h>

#include "bench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);
    uint64_t hash = 0xcbf29ce484222325u;
    double start = now();

    for (long i = 0; i < n; i++)
        for (int byte = 0; byte < 8; byte++)
            hash = (hash ^ ((uint64_t)i >> (byte * 8) & 0xff)) * 0x100000001b3u;
    double seconds = now() - start;
    if (hash == 0)
        die("hash");
    return report("compute", n, seconds, "word hashed");
}
