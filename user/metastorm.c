/* A storm of names: mkdir, create, link, rename, chmod, symlink, unlink, rmdir, and no content. */
#include "fsbench.h"

int main(int argc, char **argv)
{
    long n = iterations(argc, argv);

    scratch_begin();
    if (mkdir("there", 0700) != 0)
        die("there");
    double start = now();
    for (long i = 0; i < n; i++) {
        int fd;

        if (mkdir("dir", 0700) != 0)
            die("mkdir");
        fd = open("dir/file", O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0 || close(fd) != 0)
            die("create");
        if (link("dir/file", "there/link") != 0 || symlink("file", "dir/symlink") != 0)
            die("link");
        if (rename("dir/file", "there/file") != 0 || rename("there/link", "there/file2") != 0)
            die("rename");
        if (chmod("there/file", 0644) != 0)
            die("chmod");
        if (unlink("there/file") != 0 || unlink("there/file2") != 0 || unlink("dir/symlink") != 0)
            die("unlink");
        if (rmdir("dir") != 0)
            die("rmdir");
    }
    double seconds = now() - start;

    scratch_end();
    return report("metastorm", n, seconds, "round of twelve changes of names");
}
