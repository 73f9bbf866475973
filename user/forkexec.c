/* A child that becomes this same static program and exits, and the wait for it. */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "child") == 0)
        return 0;
    long n = iterations(argc, argv);
    char *const child_argv[] = {argv[0], "child", NULL};
    char *const child_env[] = {NULL};
    double start = now();

    for (long i = 0; i < n; i++) {
        int status;
        pid_t child = fork();

        if (child < 0)
            die("fork");
        if (child == 0) {
            execve(argv[0], child_argv, child_env);
            _exit(127);
        }
        if (waitpid(child, &status, 0) != child || status != 0)
            die("child");
    }
    return report("forkexec", n, now() - start, "process");
}
