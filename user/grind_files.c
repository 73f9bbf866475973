/* Chaos with files: content, names, attributes. */
#include "grind_chaos.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

void opens(void)
{
    static const long flags[] = {O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH, 0, O_CLOEXEC};

    adopt(call(SYS_openat, AT_FDCWD, any_path(), P(rnd(4)) | CHOOSE(flags) | O_NONBLOCK, P(rnd(4) ? 0644 : rnd(07777))));
}

void closes(void) { call(SYS_close, any_slot()); }

void reads_writes(void)
{
    static const long calls[] = {SYS_read, SYS_write, SYS_pread64, SYS_pwrite64};
    long length, pointer = any_span(&length);

    call(CHOOSE(calls), any_fd(), pointer, length, any_offset());
}

void vectored(void)
{
    static const long calls[] = {SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev};
    size_t count;
    long pointer = any_vectors(&count);

    call(CHOOSE(calls), any_fd(), pointer, rnd(16) ? P(count) : -1, any_offset());
}

void seeks(void) { call(SYS_lseek, any_fd(), any_offset(), P(rnd(7))); }

void sizes(void)
{
    long length = rnd(8) ? (long)rnd(FARTHEST) : -1;

    if (rnd(2))
        call(SYS_ftruncate, any_fd(), length);
    else
        call(SYS_truncate, any_path(), length);
}

void allocates(void)
{
    static const long modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};

    call(SYS_fallocate, any_fd(), CHOOSE(modes), P(rnd(FARTHEST)), P(rnd(LONGEST)));
}

void stats(void)
{
    switch (rnd(5)) {
    case 0:
        call(SYS_fstat, any_fd(), any_pointer(sizeof(struct stat)));
        break;
    case 1:
        call(SYS_newfstatat, rnd(4) ? AT_FDCWD : any_fd(), any_path(), any_pointer(sizeof(struct stat)), P(rnd(4) ? 0 : AT_SYMLINK_NOFOLLOW));
        break;
    case 2:
        call(SYS_statx, AT_FDCWD, any_path(), 0, STATX_BASIC_STATS, any_pointer(sizeof(struct statx)));
        break;
    case 3:
        call(SYS_statfs, any_path(), any_pointer(120));
        break;
    default:
        call(SYS_faccessat, AT_FDCWD, any_path(), P(rnd(8)));
    }
}

void names(void)
{
    static const long two_paths[] = {SYS_link, SYS_rename};
    static const long one_path[] = {SYS_unlink, SYS_rmdir, SYS_unlink};
    static const char *const targets[] = {"a", "b", "d0", "d1/a", "loop", "missing"};

    switch (rnd(8)) {
    case 0:
        call(SYS_mkdir, any_path(), 0755);
        break;
    case 1:
        call(SYS_symlink, rnd(8) ? P(CHOOSE(targets)) : bad_pointer(1, 0), any_path());
        break;
    case 2:
        call(SYS_mknod, any_path(), S_IFIFO | 0644, 0);
        break;
    case 3:
        call(SYS_renameat2, AT_FDCWD, any_path(), AT_FDCWD, any_path(), P(rnd(4)));
        break;
    case 4:
        call(SYS_unlinkat, AT_FDCWD, any_path(), P(rnd(2) ? AT_REMOVEDIR : 0));
        break;
    case 5:
        call(SYS_readlink, any_path(), any_pointer(64), P(rnd(64)));
        break;
    case 6:
        call(CHOOSE(one_path), any_path());
        break;
    default:
        call(CHOOSE(two_paths), any_path(), any_path());
    }
}

void attributes(void)
{
    static struct timespec times[2];

    times[0].tv_sec = times[1].tv_sec = (long)rnd(1 << 30);
    switch (rnd(5)) {
    case 0:
        call(SYS_chmod, any_path(), P(rnd(4) ? 0755 : rnd(07777)));
        break;
    case 1:
        call(SYS_fchmod, any_fd(), P(rnd(4) ? 0755 : rnd(07777)));
        break;
    case 2:
        call(SYS_chown, any_path(), -1, -1);
        break;
    case 3:
        call(SYS_fchown, any_fd(), -1, -1);
        break;
    default:
        call(SYS_utimensat, AT_FDCWD, any_path(), rnd(4) ? P(times) : bad_pointer(sizeof times, 0), 0);
    }
}

void lists(void) { long length, pointer = any_span(&length); call(SYS_getdents64, any_fd(), pointer, length); }

void transfers(void)
{
    static int64_t at;
    long offset = rnd(2) ? 0 : P(&at), length = any_length();

    at = (int64_t)rnd(FARTHEST);
    switch (rnd(5)) {
    case 0:
        call(SYS_sendfile, any_fd(), any_fd(), offset, length);
        break;
    case 1:
        call(SYS_copy_file_range, any_fd(), offset, any_fd(), 0, length, 0);
        break;
    case 2:
        call(SYS_splice, any_fd(), 0, any_fd(), 0, length, 2 /* SPLICE_F_NONBLOCK */);
        break;
    case 3:
        call(SYS_tee, any_fd(), any_fd(), length, 2);
        break;
    default:
        call(SYS_fdatasync, any_fd());
    }
}

void locks(void)
{
    static struct flock lock;

    lock = (struct flock){.l_type = (short)rnd(3), .l_start = (off_t)rnd(FARTHEST), .l_len = (off_t)rnd(LONGEST)};
    if (rnd(2))
        call(SYS_flock, any_fd(), (long[]){LOCK_SH, LOCK_EX, LOCK_UN}[rnd(3)] | LOCK_NB);
    else
        call(SYS_fcntl, any_fd(), rnd(2) ? F_SETLK : F_GETLK, rnd(8) ? P(&lock) : bad_pointer(sizeof lock, 0));
}
