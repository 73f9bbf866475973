"""Signatures of the calls that name files, and those that change what a file is."""

from ..buffers import FILLED, FILLED_PATH, PATH, STRING
from ..clock import STAMPS, STAMPS_MICROSECONDS, UTIMBUF
from ..filestat import (
    ATTRIBUTE,
    DIRECTORY_ENTRIES,
    GOT_ATTRIBUTE,
    MEMFD_FLAGS,
    MKNOD_MODE,
    MOUNT_FLAGS,
    MOUNT_TYPE,
    OPEN_FLAGS,
    OPEN_HOW,
    STAT,
    STATFS,
    STATX,
    STATX_FLAGS,
    mknod_device,
    open_mode,
)
from ..model import ResultKind, Signature, call
from ..scalars import DIRFD, FD, HEX, LONG, MODE, UID, UINT, ULONG, flags, value
from ..tables import files as t

_AT = flags(t.AT_FLAGS)
_ACCESS = flags(t.ACCESS_MODES)
_XATTR = flags(t.XATTR_FLAGS)

FILES: dict[str, Signature] = {
    "open": call(path=PATH, flags=OPEN_FLAGS, mode=open_mode(1)),
    "openat": call(dirfd=DIRFD, path=PATH, flags=OPEN_FLAGS, mode=open_mode(2)),
    "openat2": call(dirfd=DIRFD, path=PATH, how=OPEN_HOW, size=ULONG),
    "creat": call(path=PATH, mode=MODE),
    "access": call(path=PATH, mode=_ACCESS),
    "faccessat": call(dirfd=DIRFD, path=PATH, mode=_ACCESS),
    "faccessat2": call(dirfd=DIRFD, path=PATH, mode=_ACCESS, flags=flags(t.FACCESSAT_FLAGS)),
    "stat": call(path=PATH, stat=STAT),
    "lstat": call(path=PATH, stat=STAT),
    "fstat": call(fd=FD, stat=STAT),
    "newfstatat": call(dirfd=DIRFD, path=PATH, stat=STAT, flags=_AT),
    "statx": call(
        dirfd=DIRFD, path=PATH, flags=STATX_FLAGS, mask=flags(t.STATX_MASK), statx=STATX
    ),
    "statfs": call(path=PATH, statfs=STATFS),
    "fstatfs": call(fd=FD, statfs=STATFS),
    "truncate": call(path=PATH, length=ULONG),
    "getdents": call(fd=FD, entries=DIRECTORY_ENTRIES, size=UINT),
    "getdents64": call(fd=FD, entries=DIRECTORY_ENTRIES, size=UINT),
    "getcwd": call(path=FILLED_PATH, size=ULONG),
    "chdir": call(path=PATH),
    "fchdir": call(fd=FD),
    "chroot": call(path=PATH),
    "rename": call(old=PATH, new=PATH),
    "renameat": call(old_dirfd=DIRFD, old=PATH, new_dirfd=DIRFD, new=PATH),
    "renameat2": call(
        old_dirfd=DIRFD, old=PATH, new_dirfd=DIRFD, new=PATH, flags=flags(t.RENAME_FLAGS)
    ),
    "mkdir": call(path=PATH, mode=MODE),
    "mkdirat": call(dirfd=DIRFD, path=PATH, mode=MODE),
    "rmdir": call(path=PATH),
    "link": call(old=PATH, new=PATH),
    "linkat": call(old_dirfd=DIRFD, old=PATH, new_dirfd=DIRFD, new=PATH, flags=_AT),
    "unlink": call(path=PATH),
    "unlinkat": call(dirfd=DIRFD, path=PATH, flags=_AT),
    "symlink": call(target=PATH, path=PATH),
    "symlinkat": call(target=PATH, dirfd=DIRFD, path=PATH),
    "readlink": call(path=PATH, target=FILLED, size=ULONG),
    "readlinkat": call(dirfd=DIRFD, path=PATH, target=FILLED, size=ULONG),
    "chmod": call(path=PATH, mode=MODE),
    "fchmod": call(fd=FD, mode=MODE),
    "fchmodat": call(dirfd=DIRFD, path=PATH, mode=MODE),
    "chown": call(path=PATH, uid=UID, gid=UID),
    "lchown": call(path=PATH, uid=UID, gid=UID),
    "fchown": call(fd=FD, uid=UID, gid=UID),
    "fchownat": call(dirfd=DIRFD, path=PATH, uid=UID, gid=UID, flags=_AT),
    "umask": call(ResultKind.OCTAL, mask=MODE),
    "mknod": call(path=PATH, mode=MKNOD_MODE, device=mknod_device(1)),
    "mknodat": call(dirfd=DIRFD, path=PATH, mode=MKNOD_MODE, device=mknod_device(2)),
    "utime": call(path=PATH, times=UTIMBUF),
    "utimes": call(path=PATH, times=STAMPS_MICROSECONDS),
    "futimesat": call(dirfd=DIRFD, path=PATH, times=STAMPS_MICROSECONDS),
    "utimensat": call(dirfd=DIRFD, path=PATH, times=STAMPS, flags=_AT),
    "setxattr": call(path=PATH, name=STRING, value=ATTRIBUTE, size=ULONG, flags=_XATTR),
    "lsetxattr": call(path=PATH, name=STRING, value=ATTRIBUTE, size=ULONG, flags=_XATTR),
    "fsetxattr": call(fd=FD, name=STRING, value=ATTRIBUTE, size=ULONG, flags=_XATTR),
    "getxattr": call(path=PATH, name=STRING, value=GOT_ATTRIBUTE, size=ULONG),
    "lgetxattr": call(path=PATH, name=STRING, value=GOT_ATTRIBUTE, size=ULONG),
    "fgetxattr": call(fd=FD, name=STRING, value=GOT_ATTRIBUTE, size=ULONG),
    "listxattr": call(path=PATH, names=FILLED, size=ULONG),
    "llistxattr": call(path=PATH, names=FILLED, size=ULONG),
    "flistxattr": call(fd=FD, names=FILLED, size=ULONG),
    "removexattr": call(path=PATH, name=STRING),
    "lremovexattr": call(path=PATH, name=STRING),
    "fremovexattr": call(fd=FD, name=STRING),
    "mount": call(
        source=PATH, target=PATH, type=MOUNT_TYPE, flags=MOUNT_FLAGS, options=STRING
    ),
    "umount2": call(path=PATH, flags=flags(t.UMOUNT_FLAGS)),
    "pivot_root": call(new=PATH, old=PATH),
    "swapoff": call(path=PATH),
    "acct": call(path=PATH),
    "sync": call(),
    "syncfs": call(fd=FD),
    "sysfs": call(option=HEX, arg1=HEX, arg2=HEX),
    "inotify_init": call(),
    "inotify_init1": call(flags=flags(t.INOTIFY_INIT_FLAGS)),
    "inotify_add_watch": call(fd=FD, path=PATH, mask=flags(t.INOTIFY_EVENTS)),
    "inotify_rm_watch": call(fd=FD, watch=FD),
    "memfd_create": call(name=STRING, flags=MEMFD_FLAGS),
    "fadvise64": call(fd=FD, offset=LONG, length=ULONG, advice=value(t.FADVISE)),
}
