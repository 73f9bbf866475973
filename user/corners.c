/*
 * Corner cases of system calls by subject.
 *
 *   corners [SUBJECT...]   the named subjects, or all of them
 *
 * The output is the same in every run on Linux: run there, as root, it is the
 * oracle for any kernel that claims to be like it.
 */
#include "corners.h"

#include <grp.h>

static const struct {
    const char *name;
    void (*run)(void);
} subjects[] = {
    {"time", corners_time},       {"timers", corners_timers},   {"events", corners_events},
    {"ids", corners_ids},         {"limits", corners_limits},   {"scheduling", corners_scheduling},
    {"prctl", corners_prctl},     {"process", corners_process}, {"system", corners_system},
    {"signals", corners_signals}, {"stack", corners_stack},
    {"futex", corners_futex},
};

enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };

void tell(const char *call, long result)
{
    if (result == -1)
        printf("%s -> %s\n", call, strerrorname_np(errno));
    else
        printf("%s -> %ld\n", call, result);
}

void tell_ok(const char *call, long result)
{
    printf("%s -> %s\n", call, result == -1 ? strerrorname_np(errno) : "ok");
}

int begin_apart(void)
{
    pid_t child;
    int status;

    fflush(stdout);
    child = fork();
    if (child == 0)
        return 1;
    if (waitpid(child, &status, 0) != child)
        printf("the child of a case is lost\n");
    else if (WIFSIGNALED(status))
        printf("  killed: %s\n", sigabbrev_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        printf("  left with %d\n", WEXITSTATUS(status));
    return 0;
}

int end_apart(void)
{
    fflush(stdout);
    _exit(0);
}

void become_nobody(void)
{
    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
        printf("cannot become nobody: %s\n", strerrorname_np(errno));
}

pid_t begin_sleeper(void)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    return child;
}

void end_sleeper(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    for (int i = 0; i < SUBJECTS; i++) {
        int wanted = argc == 1;

        for (int j = 1; j < argc; j++)
            wanted |= strcmp(argv[j], subjects[i].name) == 0;
        if (wanted) {
            printf("== %s\n", subjects[i].name);
            subjects[i].run();
        }
    }
    return 0;
}
