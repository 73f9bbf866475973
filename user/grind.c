/*
 * Random system calls from several processes, in the manner of xv6's grind:
 * can the kernel be broken from below?
 *
 *   grind SEED CALLS PROCESSES
 *
 * Ends with `grind: N calls, P processes, ok` and status 0, or says on stderr
 * what was not as it should be, and ends with 1. The seed decides what each
 * process asks for; what it is told depends on the others too, so N varies a
 * little. GRIND_TRACE=1 shows every call on stderr.
 */
#include "grind.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PROCESSES = 64, CHECK_EVERY = 4, EXEC_STATUS = 7 };

struct worker me;
volatile sig_atomic_t signals_seen;

static atomic_long *tallies; /* shared by all: one a worker */
static int tracing;
static sigjmp_buf fault_return;
static volatile sig_atomic_t fault_expected;

void fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "grind: process %d after %ld calls: ", me.index, calls_made());
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

long calls_made(void)
{
    return atomic_load(&tallies[me.index]);
}

long grind_call(long number, const long *a)
{
    long result;

    atomic_fetch_add(&tallies[me.index], 1);
    if (tracing)
        fprintf(stderr, "[%d] %ld(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)", me.index, number, a[0], a[1], a[2], a[3], a[4],
                a[5]);
    result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (result == -1)
        result = -errno;
    if (tracing)
        fprintf(stderr, " = %ld\n", result);
    return result;
}

/* xorshift64* */
uint64_t rnd(uint64_t bound)
{
    me.random ^= me.random >> 12;
    me.random ^= me.random << 25;
    me.random ^= me.random >> 27;
    return (me.random * 0x2545f4914f6cdd1dull >> 33) % bound;
}

static void on_fault(int number)
{
    if (fault_expected)
        siglongjmp(fault_return, number);
    fail("unexpected signal %d", number);
}

static void on_user_signal(int number)
{
    (void)number;
    signals_seen++;
}

int faults(uintptr_t address, int write)
{
    volatile char *byte = (volatile char *)address;

    if (sigsetjmp(fault_return, 1) != 0) {
        fault_expected = 0;
        return 1;
    }
    fault_expected = 1;
    if (write)
        *byte = (char)(*byte + 1);
    else
        (void)*byte;
    fault_expected = 0;
    return 0;
}

long bad_pointer(size_t size, int nonnull)
{
    switch (rnd(8)) {
    case 0:
        return (long)HOLE;
    case 1:
        return (long)NO_ACCESS;
    case 2:
        return (long)READ_ONLY;
    case 3:
        return (long)KERNEL;
    case 4:
        return (long)(KERNEL + rnd(1ull << 30) * 4096);
    case 5:
        return (long)(HOLE - (size > 1 ? 1 + rnd(size - 1 < PAGE ? size - 1 : PAGE) : 0));
    case 6:
        return nonnull ? (long)HOLE : 0;
    default:
        return (long)(1ul << 47); /* the first address that is not canonical */
    }
}

static void map_fixed(uintptr_t address, size_t length, int protection)
{
    if (mmap((void *)address, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        fail("mmap at %#lx: %s", address, strerror(errno));
}

static void prepare_worker(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    struct rlimit longest_file = {4 << 20, 4 << 20};

    for (int i = 0; i < 2; i++)
        sigaction(fatal[i], &action, NULL);
    action.sa_handler = on_user_signal;
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &longest_file);
    map_fixed(GOOD, PAGE, PROT_READ | PROT_WRITE);
    map_fixed(NO_ACCESS, PAGE, PROT_NONE);
    map_fixed(READ_ONLY, PAGE, PROT_READ);
    map_fixed(ARENA, (size_t)ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE);
}

__attribute__((noreturn)) static void work(int index, uint64_t seed, long quota)
{
    me.index = index;
    me.pid = getpid();
    me.parent = getppid();
    me.random = (seed + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)index * 0xbf58476d1ce4e5b9ull;
    snprintf(me.home, sizeof me.home, "w%d", index);
    prepare_worker();
    checks_start();
    chaos_start();
    while (calls_made() < quota) {
        if (rnd(CHECK_EVERY) == 0)
            check_something();
        else
            chaos_something();
    }
    _exit(0);
}

/* Remove a tree that may hold anything that chaos could make. */
static void remove_tree(const char *path)
{
    char inner[512];
    struct dirent *entry;
    DIR *directory;

    chmod(path, 0700);
    directory = opendir(path);
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_tree(inner);
    }
    if (directory != NULL)
        closedir(directory);
    rmdir(path);
}

static long number_argument(char **argv, int index, long least, long most)
{
    char *end;
    long value = argv[index] ? strtol(argv[index], &end, 10) : least - 1;

    if (value < least || value > most || *end != '\0') {
        fprintf(stderr, "usage: grind SEED CALLS PROCESSES (at most %d processes)\n", MAX_PROCESSES);
        exit(2);
    }
    return value;
}

static void prepare_scratch(const char *program)
{
    static char absolute[4096];

    me.program = realpath(program, absolute);
    strcpy(me.scratch, "/tmp/grind.XXXXXX");
    if (mkdtemp(me.scratch) == NULL || chdir(me.scratch) != 0 || mkdir("s", 0700) != 0) {
        perror(me.scratch);
        exit(1);
    }
    tallies = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tallies == MAP_FAILED) {
        perror("shared page");
        exit(1);
    }
}

static int wait_for_workers(long started)
{
    int bad = 0, status;

    for (long i = 0; i < started; i++) {
        pid_t child = wait(&status);

        if (child < 0 || status != 0) {
            fprintf(stderr, "grind: worker %d ended with wait status %#x\n", child, (unsigned)status);
            bad = 1;
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    long seed, calls, processes, total = 0;
    int bad;

    if (argc == 2 && strcmp(argv[1], "child") == 0)
        return EXEC_STATUS;
    seed = number_argument(argv, 1, 0, INT64_MAX);
    calls = number_argument(argv, 2, 1, INT64_MAX);
    processes = number_argument(argv, 3, 1, MAX_PROCESSES);
    tracing = getenv("GRIND_TRACE") != NULL;
    prepare_scratch(argv[0]);
    for (long i = 0; i < processes; i++) {
        pid_t child = fork();

        if (child == 0)
            work((int)i, (uint64_t)seed, (calls + processes - 1) / processes);
        if (child < 0)
            fail("fork: %s", strerror(errno));
    }
    bad = wait_for_workers(processes);
    for (long i = 0; i < processes; i++)
        total += atomic_load(&tallies[i]);
    if (chdir("/") == 0)
        remove_tree(me.scratch);
    printf("grind: %ld calls, %ld processes, %s\n", total, processes, bad ? "FAILED" : "ok");
    return bad;
}
