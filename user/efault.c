/*
 * Every pointer argument of every system call, given every bad pointer.
 *
 *   efault [NAME...]   try the named rows of the table, or all of them
 *
 * One line per case: `row argument kind -> outcome`. An outcome is the name of
 * an errno or, for calls that succeed, "ok", or the count for those that move
 * bytes (where Linux succeeds in part, the part shows). The table is in
 * efault_table.h; each row is otherwise valid, and its case "- valid" shows it.
 *
 * Kinds: null, unmapped, noaccess (PROT_NONE), readonly (for what the kernel
 * would write), kernel (the upper half), straddle (begins in a good page, ends
 * in none). The output is the same in every run on Linux: run there, it is the
 * oracle for any kernel that claims to be like it.
 *
 * All rows share one process. A row must leave things as it found them: fds
 * that it makes are closed (FD), files keep their offsets (reset puts back).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MAX_POINTERS = 5, MAX_OBJECT = 4096 };

/* Windows onto the address space where each kind of bad page lies. */
#define GOOD 0x600000000ul
#define HOLE (GOOD + PAGE)
#define NO_ACCESS (GOOD + 2 * PAGE)
#define READ_ONLY (GOOD + 3 * PAGE)
#define KERNEL 0xffff800000000000ul

enum direction { IN = 1, OUT = 2, INOUT = 3, STRING = 4 };
enum result { OK, COUNT, FD };
enum isolation { HERE, CHILD, ZOMBIE };
enum kind { NIL, UNMAPPED, NOACCESS, READONLY, UPPER, STRADDLE, KINDS };

static const char *const kind_names[KINDS] = {"null",     "unmapped", "noaccess",
                                              "readonly", "kernel",   "straddle"};

/* Where a row holds a pointer: an argument, or a field of an object that an argument names. */
struct pointer {
    const char *name;
    int argument;      /* index, or -1 when the pointer is in a field */
    uintptr_t *field;  /* then this one */
    enum direction direction;
    size_t size;       /* bytes of the object; of a string, with its end */
    int nullable;      /* null is legal, and is not tried */
};

struct row {
    const char *name;
    long number;
    long arguments[6];
    struct pointer pointers[MAX_POINTERS];
    enum result result;
    enum isolation isolation;
};

#include "efault_table.h"

#include "efault_fixtures.h"

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void map_windows(void)
{
    static const struct { uintptr_t address; int protection; } windows[] = {
        {GOOD, PROT_READ | PROT_WRITE},
        {NO_ACCESS, PROT_NONE},
        {READ_ONLY, PROT_READ | PROT_WRITE},
    };

    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
        if (mmap((void *)windows[i].address, PAGE, windows[i].protection,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            die("mmap");
}

/* The bad pointer of this kind for an object whose good copy is at `good`. */
static uintptr_t bad_pointer(enum kind kind, const struct pointer *p, const void *good)
{
    size_t head = p->size / 2;

    switch (kind) {
    case UNMAPPED:
        return HOLE;
    case NOACCESS:
        return NO_ACCESS;
    case READONLY:
        mprotect((void *)READ_ONLY, PAGE, PROT_READ | PROT_WRITE);
        memcpy((void *)READ_ONLY, good, p->size);
        mprotect((void *)READ_ONLY, PAGE, PROT_READ);
        return READ_ONLY;
    case UPPER:
        return KERNEL;
    case STRADDLE:
        memcpy((void *)(HOLE - head), good, head);
        return HOLE - head;
    default:
        return 0;
    }
}

static int applies(enum kind kind, const struct pointer *p)
{
    if (kind == NIL)
        return !p->nullable;
    if (kind == READONLY)
        return (p->direction & OUT) != 0;
    if (kind == STRADDLE)
        return p->size > 1;
    return 1;
}

static long invoke(const struct row *row, const long *a)
{
    long result = syscall(row->number, a[0], a[1], a[2], a[3], a[4], a[5]);

    return result == -1 ? -errno : result;
}

/* In a child: for calls that would change or end this process. */
static long invoke_apart(const struct row *row, const long *a)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        long result = invoke(row, a);
        _exit(result < 0 && result >= -255 ? (int)-result : 0);
    }
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    return WIFEXITED(status) ? -(long)WEXITSTATUS(status) : WTERMSIG(status);
}

/* With a child that has exited and can be waited for. */
static long invoke_reaping(const struct row *row, const long *a)
{
    siginfo_t exited;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        _exit(0);
    waitid(P_PID, (id_t)child, &exited, WEXITED | WNOWAIT);
    return invoke(row, a);
}

static void show(const struct row *row, const char *argument, const char *kind, const long *arguments)
{
    long result;

    reset();
    switch (row->isolation) {
    case CHILD:
        result = invoke_apart(row, arguments);
        break;
    case ZOMBIE:
        result = invoke_reaping(row, arguments);
        break;
    default:
        result = invoke(row, arguments);
    }
    printf("%s %s %s -> ", row->name, argument, kind);
    if (result < 0 && strerrorname_np((int)-result) != NULL)
        printf("%s\n", strerrorname_np((int)-result));
    else if (row->result == COUNT || result < 0)
        printf("%ld\n", result);
    else
        puts("ok");
    if (row->result == FD && result >= 0)
        close((int)result);
}

static void try_pointer(const struct row *row, const struct pointer *p)
{
    for (enum kind kind = NIL; kind < KINDS; kind++) {
        long arguments[6];
        uintptr_t good = p->field ? *p->field : (uintptr_t)row->arguments[p->argument];
        uintptr_t bad;

        if (!applies(kind, p))
            continue;
        reset(); /* the good object is as it was before the copy is made */
        bad = bad_pointer(kind, p, (const void *)good);
        memcpy(arguments, row->arguments, sizeof arguments);
        if (p->field)
            *p->field = bad;
        else
            arguments[p->argument] = (long)bad;
        show(row, p->name, kind_names[kind], arguments);
        if (p->field)
            *p->field = good;
    }
}

static int chosen(const struct row *row, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], row->name) == 0)
            return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    if (argc < 1 || *argv[0] == '\0' || strcmp(argv[0], "efault-child") == 0)
        return 0; /* a row's execve succeeded */
    setup(argv[0]);
    map_windows();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!chosen(&rows[i], argc, argv))
            continue;
        show(&rows[i], "-", "valid", rows[i].arguments);
        for (int k = 0; k < MAX_POINTERS && rows[i].pointers[k].name != NULL; k++)
            try_pointer(&rows[i], &rows[i].pointers[k]);
    }
    cleanup();
    return 0;
}
