/*
 * Map 4 MB, touch each page, unmap; per page. The count is of pages, rounded
 * up to whole mappings. Huge pages are declined where the kernel offers them.
 */
#include <sys/mman.h>

#include "bench.h"

enum { PAGE = 4096, PAGES = 1024 };

int main(int argc, char **argv)
{
    long mappings = (iterations(argc, argv) + PAGES - 1) / PAGES;
    double start = now();

    for (long i = 0; i < mappings; i++) {
        volatile char *base = mmap(NULL, (size_t)PAGE * PAGES, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED)
            die("mmap");
        madvise((void *)base, (size_t)PAGE * PAGES, MADV_NOHUGEPAGE);
        for (long page = 0; page < PAGES; page++)
            base[page * PAGE] = 1;
        if (munmap((void *)base, (size_t)PAGE * PAGES) != 0)
            die("munmap");
    }
    return report("pagefault", mappings * PAGES, now() - start, "page");
}
