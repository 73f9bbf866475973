"""The host as oracle: runs file operations inside a directory that it has made its root.

Run as a program with the directory as argument: reads operations, one `repr` of a tuple a line,
and answers each with one line, `repr` of ("ok", value) or ("errno", number). Without the right to
chroot(2) it exits with code 77.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from ast import literal_eval
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100


class Host:
    def __init__(self) -> None:
        self.open_files: dict[int, int] = {}

    def run(self, name: str, cred: tuple[int, int, tuple[int, ...]], *words: Any) -> Any:
        uid, gid, groups = cred
        os.setgroups(list(groups))
        os.setegid(gid)
        os.seteuid(uid)
        try:
            return getattr(self, name)(*words)
        finally:
            os.seteuid(0)
            os.setegid(0)

    def chdir(self, path: bytes) -> None:
        os.chdir(path)

    def stat(self, path: bytes, follow: bool) -> tuple[int, ...]:
        return described(os.stat(path, follow_symlinks=follow))

    def fstat(self, slot: int) -> tuple[int, ...]:
        return described(os.fstat(self.open_files[slot]))

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(path, mode)

    def mknod(self, path: bytes, mode: int) -> None:
        os.mknod(path, mode)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, path)

    def link(self, old: bytes, new: bytes) -> None:
        os.link(old, new, follow_symlinks=False)

    def unlink(self, path: bytes) -> None:
        os.unlink(path)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(path)

    def rename(self, old: bytes, new: bytes, flags: int) -> None:
        if LIBC.renameat2(AT_FDCWD, old, AT_FDCWD, new, flags):
            raise OSError(ctypes.get_errno(), "")

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(path)

    def access(self, path: bytes, mode: int) -> None:
        if LIBC.faccessat(AT_FDCWD, path, mode, 0x200):
            raise OSError(ctypes.get_errno(), "")

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: bytes, uid: int, gid: int, follow: bool) -> None:
        os.chown(path, uid, gid, follow_symlinks=follow)

    def utime(self, path: bytes, atime: int, mtime: int) -> None:
        os.utime(path, ns=(atime, mtime))

    def touch(self, path: bytes) -> None:
        os.utime(path)

    def list(self, path: bytes) -> list[tuple[bytes, int]]:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.listdir(fd)  # the permission is that of the descriptor
        finally:
            os.close(fd)
        os.seteuid(0)
        found = []
        for entry in os.scandir(path):
            status = entry.stat(follow_symlinks=False)
            found.append((os.fsencode(entry.name), stat.S_IFMT(status.st_mode)))
        return sorted(found)

    def open(self, slot: int, path: bytes, flags: int, mode: int) -> tuple[int, int]:
        try:
            fd = os.open(path, flags | os.O_NONBLOCK, mode)
        except OSError as refusal:
            if refusal.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(path).st_mode):
                return os.stat(path).st_mode, 0  # no reader: not the file system's affair
            raise
        status = os.fstat(fd)
        if slot < 0 or slot in self.open_files:
            os.close(fd)
        else:
            self.open_files[slot] = fd
        return status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0

    def close(self, slot: int) -> None:
        if slot in self.open_files:
            os.close(self.open_files.pop(slot))

    def write(self, slot: int, offset: int, data: bytes) -> int:
        return os.pwrite(self.open_files[slot], data, offset)

    def append(self, slot: int, data: bytes) -> int:
        fd = self.open_files[slot]
        return os.pwrite(fd, data, os.fstat(fd).st_size)

    def read(self, slot: int, offset: int, count: int) -> bytes:
        return os.pread(self.open_files[slot], count, offset)

    def ftruncate(self, slot: int, length: int) -> None:
        os.ftruncate(self.open_files[slot], length)

    def fallocate(self, slot: int, mode: int, offset: int, length: int) -> None:
        call = LIBC.fallocate
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        if call(self.open_files[slot], mode, offset, length):
            raise OSError(ctypes.get_errno(), "")


def described(status: os.stat_result) -> tuple[int, ...]:
    """(identity, mode, nlink, uid, gid, size); sizes of directories differ between systems."""
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return (
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        size,
    )


def main() -> int:
    os.umask(0)
    try:
        os.chroot(sys.argv[1])
    except PermissionError:
        return 77
    os.chdir("/")
    host = Host()
    print("ready", flush=True)
    for line in sys.stdin:
        words = literal_eval(line)
        try:
            answer: tuple[str, Any] = ("ok", host.run(*words))
        except OSError as refusal:
            answer = ("errno", refusal.errno)
        print(repr(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
