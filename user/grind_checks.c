/* Questions with known answers, asked in random order with random sizes. */
#include "grind.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_ROOM = 32768, PIECE = 6000, STREAM = 20000, EXEC_STATUS = 7, THREAD_STEPS = 50 };

static unsigned char model[FILE_ROOM], piece[FILE_ROOM];
static long model_length;
static int file, pipe_in, pipe_out;
static unsigned long pipe_written, pipe_read; /* bytes ever; byte i of the pipe is i * 7 */
static char data_path[32], other_path[32], third_path[32], directory_path[32];

#define P(x) ((long)(x))

static void fill(unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)rnd(256);
}

static void sequence(unsigned char *bytes, unsigned long from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)((from + i) * 7);
}

static void expect_sequence(const unsigned char *bytes, unsigned long from, size_t length, const char *what)
{
    for (size_t i = 0; i < length; i++)
        expect(bytes[i] == (unsigned char)((from + i) * 7), "%s: byte %lu is %d", what, from + i, bytes[i]);
}

static int expect_fd(long result, const char *what)
{
    expect(result >= 0, "%s: %s", what, strerror((int)-result));
    return (int)result;
}

static void file_write(void)
{
    long at = (long)rnd(FILE_ROOM - PIECE), length = (long)rnd(PIECE) + 1, done;

    fill(piece, (size_t)length);
    done = call(SYS_pwrite64, file, P(piece), length, at);
    expect(done == length, "pwrite of %ld at %ld gave %ld", length, at, done);
    if (at > model_length)
        memset(model + model_length, 0, (size_t)(at - model_length));
    memcpy(model + at, piece, (size_t)length);
    if (at + length > model_length)
        model_length = at + length;
}

static void file_read(void)
{
    long at = (long)rnd(FILE_ROOM), length = (long)rnd(PIECE), done;
    long want = at >= model_length ? 0 : model_length - at < length ? model_length - at : length;

    expect(call(SYS_lseek, file, at, SEEK_SET) == at, "lseek to %ld", at);
    done = call(SYS_read, file, P(piece), length);
    expect(done == want, "read of %ld at %ld of %ld gave %ld", length, at, model_length, done);
    expect(memcmp(piece, model + at, (size_t)want) == 0, "read at %ld is not what was written", at);
    expect(call(SYS_lseek, file, 0, SEEK_CUR) == at + want, "offset after read");
}

static void file_truncate(void)
{
    long length = (long)rnd(FILE_ROOM);
    struct stat st;

    expect(call(SYS_ftruncate, file, length) == 0, "ftruncate to %ld", length);
    if (length > model_length)
        memset(model + model_length, 0, (size_t)(length - model_length));
    model_length = length;
    expect(call(SYS_fstat, file, P(&st)) == 0 && st.st_size == length, "size after ftruncate to %ld", length);
}

/* What is mapped and what is read are one file. */
static void file_mapped(void)
{
    long length = model_length, at;
    unsigned char *map;

    if (length == 0)
        return;
    map = (void *)call(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    expect((long)map > 0, "mmap of file: %ld", (long)map);
    expect(memcmp(map, model, (size_t)length) == 0, "mapped file differs from what was written");
    at = (long)rnd((uint64_t)length);
    map[at] ^= 0x5a;
    model[at] ^= 0x5a;
    expect(call(SYS_pread64, file, P(piece), 1, at) == 1 && piece[0] == model[at], "read of a mapped store");
    expect(call(SYS_munmap, P(map), length) == 0, "munmap of file");
}

static void pipe_moves(void)
{
    long length = (long)rnd(PIECE) + 1, done;

    sequence(piece, pipe_written, (size_t)length);
    done = call(SYS_write, pipe_in, P(piece), length);
    expect(done > 0 || done == -EAGAIN, "write to pipe: %ld", done);
    pipe_written += done > 0 ? (unsigned long)done : 0;
    length = (long)rnd(PIECE) + 1;
    done = call(SYS_read, pipe_out, P(piece), length);
    expect(done > 0 || (done == -EAGAIN && pipe_read == pipe_written), "read of pipe: %ld", done);
    if (done > 0)
        expect_sequence(piece, pipe_read, (size_t)done, "pipe");
    pipe_read += done > 0 ? (unsigned long)done : 0;
}

static void identity(void)
{
    expect(call(SYS_getpid) == me.pid, "getpid");
    expect(call(SYS_gettid) == me.pid, "gettid");
    expect(call(SYS_getppid) == me.parent, "getppid");
}

static int expect_exit(long child, int code, const char *what)
{
    int status = -1;

    expect(child > 0, "%s: fork: %ld", what, child);
    expect(call(SYS_wait4, child, P(&status), 0, 0) == child, "%s: wait4", what);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == code, "%s: wait status %#x", what, (unsigned)status);
    return status;
}

/* What a child writes, its parent does not see; but for shared memory. */
static void fork_copies(void)
{
    static volatile int private;
    int mine = private = (int)rnd(1 << 30), code = (int)rnd(200);
    volatile int *shared = (void *)call(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long child;

    expect((long)shared > 0, "mmap shared: %ld", (long)shared);
    *shared = mine;
    child = fork();
    if (child == 0) {
        if (private != mine || *shared != mine || call(SYS_getppid) != me.pid)
            _exit(255);
        private = *shared = mine + 1;
        _exit(code);
    }
    expect_exit(child, code, "fork");
    expect(private == mine && *shared == mine + 1, "copy on write: %d, %d, not %d", private, *shared, mine);
    expect(call(SYS_munmap, P(shared), PAGE) == 0, "munmap shared");
}

static void fork_executes(void)
{
    const char *const argv[] = {me.program, "child", NULL};
    long child = fork();

    if (child == 0) {
        call(SYS_execve, P(me.program), P(argv), P(argv + 2));
        _exit(255);
    }
    expect_exit(child, EXEC_STATUS, "exec");
}

static void stream_out(int to)
{
    unsigned long sent = 0;

    while (sent < STREAM) {
        size_t length = rnd(PIECE) + 1;
        long done;

        if (length > STREAM - sent)
            length = STREAM - sent;
        sequence(piece, sent, length);
        done = call(SYS_write, to, P(piece), P(length));
        if (done <= 0)
            _exit(255);
        sent += (unsigned long)done;
    }
    _exit(0);
}

/* A child's stream arrives whole, in order, and ends. */
static void fork_streams(void)
{
    unsigned long received = 0;
    int ends[2];
    long child, done;

    expect(call(SYS_pipe2, P(ends), 0) == 0, "pipe2");
    child = fork();
    if (child == 0)
        stream_out(ends[1]);
    call(SYS_close, ends[1]);
    while ((done = call(SYS_read, ends[0], P(piece), P(rnd(PIECE) + 1))) > 0) {
        expect_sequence(piece, received, (size_t)done, "stream");
        received += (unsigned long)done;
    }
    expect(done == 0 && received == STREAM, "stream ended at %lu with %ld", received, done);
    call(SYS_close, ends[0]);
    expect_exit(child, 0, "stream");
}

/* Protection holds for us and for the kernel on our behalf. */
static void memory_protects(void)
{
    size_t length = (rnd(4) + 1) * PAGE;
    unsigned char *map = (void *)call(SYS_mmap, 0, P(length), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t last = (uintptr_t)map + length - 1;

    expect((long)map > 0, "mmap: %ld", (long)map);
    expect(map[0] == 0 && map[length - 1] == 0, "fresh memory is not zero");
    sequence(map, 3, length);
    expect(call(SYS_mprotect, P(map), P(length), PROT_READ) == 0, "mprotect");
    expect(faults(last, 1) && !faults(last, 0), "read-only memory was written");
    expect(call(SYS_getcwd, P(map), P(length)) == -EFAULT, "the kernel wrote read-only memory");
    expect(call(SYS_mprotect, P(map), P(length), PROT_NONE) == 0, "mprotect none");
    expect(faults(last, 0), "inaccessible memory was read");
    expect(call(SYS_mprotect, P(map), P(length), PROT_READ | PROT_WRITE) == 0, "mprotect back");
    expect_sequence(map, 3, length, "protected memory");
    map = (void *)call(SYS_mremap, P(map), P(length), P(length + 8 * PAGE), MREMAP_MAYMOVE);
    expect((long)map > 0, "mremap: %ld", (long)map);
    expect_sequence(map, 3, length, "moved memory");
    expect(map[length] == 0, "grown memory is not zero");
    expect(call(SYS_munmap, P(map), P(length + 8 * PAGE)) == 0, "munmap");
    expect(faults((uintptr_t)map, 0), "unmapped memory was read");
}

static void heap_grows(void)
{
    long old = call(SYS_brk, 0), length = (long)(rnd(8) + 1) * PAGE;

    expect(call(SYS_brk, old + length) == old + length, "brk up by %ld", length);
    sequence((unsigned char *)old, 1, (size_t)length);
    expect_sequence((unsigned char *)old, 1, (size_t)length, "heap");
    expect(call(SYS_brk, old) == old, "brk down");
}

static void signal_waits(void)
{
    uint64_t mask = 1ull << (SIGUSR1 - 1), pending = 0;
    int before = signals_seen;

    expect(call(SYS_rt_sigprocmask, SIG_BLOCK, P(&mask), 0, 8) == 0, "sigprocmask");
    expect(call(SYS_kill, me.pid, SIGUSR1) == 0, "kill self");
    expect(call(SYS_rt_sigpending, P(&pending), 8) == 0 && (pending & mask), "blocked signal is not pending");
    expect(signals_seen == before, "blocked signal was delivered");
    expect(call(SYS_rt_sigprocmask, SIG_UNBLOCK, P(&mask), 0, 8) == 0, "sigprocmask");
    expect(signals_seen == before + 1, "signal delivered %d times", signals_seen - before);
}

static void names_move(void)
{
    struct stat one, two;
    int fd = expect_fd(call(SYS_open, P(other_path), O_CREAT | O_EXCL | O_WRONLY, 0600), "create");

    expect(call(SYS_write, fd, P("name"), 4) == 4, "write");
    call(SYS_close, fd);
    expect(call(SYS_link, P(other_path), P(third_path)) == 0, "link");
    expect(call(SYS_stat, P(other_path), P(&one)) == 0 && call(SYS_stat, P(third_path), P(&two)) == 0, "stat");
    expect(one.st_ino == two.st_ino && one.st_nlink == 2 && one.st_size == 4, "two names, one file");
    expect(call(SYS_unlink, P(other_path)) == 0, "unlink");
    expect(call(SYS_rename, P(third_path), P(other_path)) == 0, "rename");
    expect(call(SYS_stat, P(third_path), P(&two)) == -ENOENT, "old name after rename");
    expect(call(SYS_stat, P(other_path), P(&two)) == 0 && two.st_ino == one.st_ino && two.st_nlink == 1, "new name");
    fd = expect_fd(call(SYS_open, P(other_path), O_RDONLY), "open");
    expect(call(SYS_unlink, P(other_path)) == 0, "unlink while open");
    expect(call(SYS_read, fd, P(piece), PIECE) == 4 && memcmp(piece, "name", 4) == 0, "read of an unlinked file");
    call(SYS_close, fd);
}

/* Every file that was made is listed once. */
static void directory_lists(void)
{
    char path[64], entries[4096];
    int files = (int)rnd(20), seen = 0, fd;
    long got;

    expect(call(SYS_mkdir, P(directory_path), 0700) == 0, "mkdir");
    for (int i = 0; i < files; i++) {
        strcpy(path, directory_path);
        strcat(path, (char[]){'/', (char)('a' + i), '\0'});
        call(SYS_close, expect_fd(call(SYS_open, P(path), O_CREAT | O_EXCL, 0600), path));
    }
    fd = expect_fd(call(SYS_open, P(directory_path), O_RDONLY | O_DIRECTORY), "open directory");
    while ((got = call(SYS_getdents64, fd, P(entries), P(64 + rnd(sizeof entries - 64)))) > 0)
        for (long at = 0; at < got; at += *(unsigned short *)(entries + at + 16))
            seen += entries[at + 19] != '.';
    expect(got == 0 && seen == files, "directory of %d lists %d (%ld)", files, seen, got);
    call(SYS_close, fd);
    if (files > 0)
        expect(call(SYS_rmdir, P(directory_path)) == -ENOTEMPTY, "rmdir of a full directory");
    for (int i = 0; i < files; i++) {
        path[strlen(directory_path) + 1] = (char)('a' + i);
        expect(call(SYS_unlink, P(path)) == 0, "unlink %s", path);
    }
    expect(call(SYS_rmdir, P(directory_path)) == 0, "rmdir");
}

static void offsets_shared(void)
{
    int copy = expect_fd(call(SYS_dup, file), "dup");
    long at = (long)rnd(FILE_ROOM);

    expect(call(SYS_lseek, copy, at, SEEK_SET) == at, "lseek of a copy");
    expect(call(SYS_lseek, file, 0, SEEK_CUR) == at, "a copy does not share its offset");
    expect(call(SYS_close, copy) == 0, "close of a copy");
    expect(call(SYS_close, copy) == -EBADF, "close twice");
}

static atomic_int steps;

static void *step(void *unused)
{
    for (int i = 0; i < THREAD_STEPS; i++) {
        atomic_fetch_add(&steps, 1);
        call(SYS_futex, P(&steps), 129 /* FUTEX_WAKE_PRIVATE */, 1);
    }
    return unused;
}

static void thread_shares(void)
{
    pthread_t thread;

    atomic_store(&steps, 0);
    expect(pthread_create(&thread, NULL, step, NULL) == 0, "pthread_create");
    for (int seen; (seen = atomic_load(&steps)) < THREAD_STEPS;) {
        struct timespec most = {0, 1000000};
        call(SYS_futex, P(&steps), 128 /* FUTEX_WAIT_PRIVATE */, seen, P(&most));
    }
    expect(pthread_join(thread, NULL) == 0, "pthread_join");
}

static void unknown_call(void)
{
    long number = 600 + (long)rnd(1 << 20), result = call(number, 1, 2, 3);

    expect(result == -ENOSYS, "system call %ld gave %ld", number, result);
}

static void (*const frequent[])(void) = {
    file_write,   file_read,  file_truncate, file_mapped, pipe_moves,     pipe_moves,  identity,
    signal_waits, names_move, heap_grows,    unknown_call, offsets_shared, file_write, file_read,
};
static void (*const rare[])(void) = {
    fork_copies, fork_executes, fork_streams, memory_protects, directory_lists, thread_shares,
};

enum { FREQUENT = sizeof(frequent) / sizeof(frequent[0]), RARE = sizeof(rare) / sizeof(rare[0]), RARITY = 16 };

static void in_home(char *path, const char *name)
{
    strcpy(path, me.home);
    strcat(path, "/");
    strcat(path, name);
}

void checks_start(void)
{
    int ends[2];

    in_home(data_path, "data");
    in_home(other_path, "other");
    in_home(third_path, "third");
    in_home(directory_path, "directory");
    expect(call(SYS_mkdir, P(me.home), 0700) == 0, "mkdir %s", me.home);
    file = expect_fd(call(SYS_open, P(data_path), O_RDWR | O_CREAT | O_EXCL, 0600), data_path);
    expect(call(SYS_pipe2, P(ends), O_NONBLOCK) == 0, "pipe2");
    pipe_out = ends[0];
    pipe_in = ends[1];
}

void check_something(void)
{
    if (rnd(RARITY) == 0)
        rare[rnd(RARE)]();
    else
        frequent[rnd(FREQUENT)]();
}
