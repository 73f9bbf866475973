"""The host tree driver's service: one host call per request, its errno in the answer.

Handlers never wait for anything but the host's file system and never checkpoint, but for reads
that may be done ASIDE. Data moves between host files and RAM with preadv(2) and pwritev(2),
without a copy in between.
"""

from __future__ import annotations

import ctypes
import os
import stat
from errno import EINVAL, EIO, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from bus.errors import PosixError
from services.drivers.hosttree import api
from services.drivers.hosttree.descriptors import (
    DIRECTORY_LIMIT,
    FILE_LIMIT,
    Directories,
    Files,
    fail,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bus.message import Request
    from services.drivers.ram.api import Ram

R = TypeVar("R")

IOV_LIMIT = 1024
"""IOV_MAX of limits.h."""

LARGE_BYTES = 1 << 20
"""More than this is read aside even if the host has it in memory."""

SMALL_BYTES = 256 << 10
"""This much is read at once where the host's file system cannot say whether it must wait."""

EXCHANGE = 2

_DT = {
    stat.S_IFIFO: 1,
    stat.S_IFCHR: 2,
    stat.S_IFDIR: 4,
    stat.S_IFBLK: 6,
    stat.S_IFREG: 8,
    stat.S_IFLNK: 10,
    stat.S_IFSOCK: 12,
}


def _described(status: os.stat_result) -> api.HostStat:
    return api.HostStat(
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_rdev,
        status.st_size,
        status.st_blocks,
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return 10
    if entry.is_dir(follow_symlinks=False):
        return 4
    if entry.is_file(follow_symlinks=False):
        return 8
    return _DT.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), 0)


class HostTreeService:
    """Serves "hosttree"; `ram` is where data goes and comes from."""

    def __init__(
        self,
        ram: Ram,
        *,
        directory_limit: int = DIRECTORY_LIMIT,
        file_limit: int = FILE_LIMIT,
        kept: tuple[Directories, Files] | None = None,
    ) -> None:
        self._bytes = ram.bytes
        if kept is None:
            self.directories = Directories(directory_limit)
            self.files = Files(self.directories, file_limit)
        else:
            self.directories, self.files = kept
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.fallocate.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int64,
        ]
        answers: dict[type[Any], Callable[[Any], Any]] = {
            api.Lstat: self._lstat,
            api.Unchanged: self._unchanged,
            api.ListDir: self._list,
            api.ReadLink: self._read_link,
            api.SpaceOf: self._space,
            api.OpenFile: self._open,
            api.CloseFile: self._close,
            api.StatFile: self._stat_file,
            api.WriteFile: self._write,
            api.TruncateFile: self._truncate,
            api.AllocateFile: self._allocate,
            api.SyncFile: self._sync,
            api.MakeEntry: self._make_entry,
            api.MakeSymlink: self._make_symlink,
            api.MakeLink: self._make_link,
            api.Remove: self._remove,
            api.Move: self._move,
            api.SetStat: self._set_stat,
        }
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            kind: _guarded(answer) for kind, answer in answers.items()
        }
        self.handlers[api.ReadFile] = self._read

    def keep(self) -> tuple[Directories, Files]:
        """The host's descriptors, by the handles that fs has of them."""
        return self.directories, self.files

    def close(self) -> None:
        """Give all host descriptors back."""
        self.files.close_all()
        self.directories.close()

    def _lstat(self, request: api.Lstat) -> api.HostStat:
        directory, name = self.directories.place(request.tree, request.path)
        return _described(os.stat(name, dir_fd=directory, follow_symlinks=False))

    def _unchanged(self, request: api.Unchanged) -> bool:
        directory, name = self.directories.place(request.tree, request.path)
        try:
            now = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as refusal:
            if refusal.errno in (ENOENT, ENOTDIR):
                return False
            raise
        stamp = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        return stamp == request.stamp

    def _list(self, request: api.ListDir) -> tuple[api.HostEntry, ...]:
        parent = self.directories.descriptor(request.tree, request.path)
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            with os.scandir(fd) as names:
                found = [api.HostEntry(os.fsencode(e.name), e.inode(), _kind(e)) for e in names]
        finally:
            os.close(fd)
        return tuple(sorted(found, key=lambda entry: entry.name))

    def _read_link(self, request: api.ReadLink) -> bytes:
        directory, name = self.directories.place(request.tree, request.path)
        return os.readlink(name, dir_fd=directory)

    def _space(self, request: api.SpaceOf) -> api.HostSpace:
        space = os.statvfs(request.tree)
        return api.HostSpace(
            space.f_frsize,
            space.f_blocks,
            space.f_bfree,
            space.f_bavail,
            space.f_files,
            space.f_ffree,
            space.f_namemax,
        )

    def _open(self, request: api.OpenFile) -> int:
        return self.files.open(request.tree, request.path, request.write)

    def _close(self, request: api.CloseFile) -> None:
        self.files.close(request.handle)

    def _stat_file(self, request: api.StatFile) -> api.HostStat:
        return _described(os.fstat(self.files.descriptor(request.handle)))

    async def _read(self, request: api.ReadFile) -> int:
        ram, offset = self._bytes, request.offset
        buffers = [ram[paddr : paddr + length] for paddr, length in request.extents]
        try:
            fd = self.files.descriptor(request.handle)
            if request.patience == api.BLOCKING:
                return _transfer(os.preadv, fd, buffers, offset)
            done = 0
            if sum(length for _, length in request.extents) <= LARGE_BYTES:
                done, finished = _cached(fd, buffers, offset)
                if finished:
                    return done
            if request.patience == api.NOW:
                return api.WOULD_WAIT
            return done + await _aside(fd, buffers, offset + done)
        except OSError as refusal:
            raise _told(refusal) from None

    def _write(self, request: api.WriteFile) -> int:
        fd, ram = self.files.descriptor(request.handle), self._bytes
        buffers = [ram[paddr : paddr + length] for paddr, length in request.extents]
        return _transfer(os.pwritev, fd, buffers, request.offset)

    def _truncate(self, request: api.TruncateFile) -> None:
        os.ftruncate(self.files.descriptor(request.handle), request.length_bytes)

    def _allocate(self, request: api.AllocateFile) -> None:
        fd = self.files.descriptor(request.handle)
        if self._libc.fallocate(fd, request.mode, request.offset, request.length_bytes):
            raise fail(ctypes.get_errno())

    def _sync(self, request: api.SyncFile) -> None:
        fd = self.files.descriptor(request.handle)
        if request.data_only:
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    def _make_entry(self, request: api.MakeEntry) -> api.HostStat:
        directory, name = self.directories.place(request.tree, request.path)
        kind, bits = stat.S_IFMT(request.mode), stat.S_IMODE(request.mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, bits, dir_fd=directory)
        elif kind == stat.S_IFREG:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, bits, dir_fd=directory))
        elif kind in (stat.S_IFIFO, stat.S_IFSOCK):
            os.mknod(name, request.mode, dir_fd=directory)
        else:
            raise fail(EPERM)
        self._own(directory, name, request.uid, request.gid)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IMODE(status.st_mode) != bits:
            os.chmod(name, bits, dir_fd=directory)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return _described(status)

    def _make_symlink(self, request: api.MakeSymlink) -> api.HostStat:
        directory, name = self.directories.place(request.tree, request.path)
        os.symlink(request.target, name, dir_fd=directory)
        self._own(directory, name, request.uid, request.gid)
        return _described(os.stat(name, dir_fd=directory, follow_symlinks=False))

    def _own(self, directory: int | None, name: bytes, uid: int, gid: int) -> None:
        try:
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        except OSError as refusal:
            if refusal.errno not in (EPERM, EINVAL):
                raise

    def _make_link(self, request: api.MakeLink) -> None:
        new_directory, new_name = self.directories.place(request.tree, request.new_path)
        # The first descriptor may leave the cache while the second is opened: keep a copy.
        new_copy = None if new_directory is None else os.dup(new_directory)
        try:
            directory, name = self.directories.place(request.tree, request.old_path)
            os.link(
                name, new_name, src_dir_fd=directory, dst_dir_fd=new_copy, follow_symlinks=False
            )
        finally:
            if new_copy is not None:
                os.close(new_copy)

    def _remove(self, request: api.Remove) -> None:
        directory, name = self.directories.place(request.tree, request.path)
        if request.directory:
            os.rmdir(name, dir_fd=directory)
            self.directories.forget_below(request.tree, request.path)
            return
        self.files.pin(request.tree, request.path)
        directory, name = self.directories.place(request.tree, request.path)
        os.unlink(name, dir_fd=directory)

    def _move(self, request: api.Move) -> None:
        tree, old, new = request.tree, request.old_path, request.new_path
        if not request.flags:
            self.files.pin(tree, new)
        place, new_name = self.directories.place(tree, new)
        new_copy = os.dup(place) if place is not None else -1
        try:
            directory, name = self.directories.place(tree, old)
            source = -1 if directory is None else directory
            if self._libc.renameat2(source, name, new_copy, new_name, request.flags):
                raise fail(ctypes.get_errno())
        finally:
            if new_copy >= 0:
                os.close(new_copy)
        self.directories.forget_below(tree, old)
        self.directories.forget_below(tree, new)
        self.files.moved(
            tree, [(old, new), (new, old)] if request.flags & EXCHANGE else [(old, new)]
        )

    def _set_stat(self, request: api.SetStat) -> api.HostStat:
        name: bytes | int
        if request.handle is not None:
            directory, name = None, self.files.descriptor(request.handle)
        else:
            directory, name = self.directories.place(request.tree, request.path)
        follow = request.handle is not None
        if request.uid is not None or request.gid is not None:
            uid = -1 if request.uid is None else request.uid
            gid = -1 if request.gid is None else request.gid
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=follow)
        if request.mode is not None:
            if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=follow).st_mode):
                raise fail(EOPNOTSUPP)
            os.chmod(name, stat.S_IMODE(request.mode), dir_fd=directory)
        status = os.stat(name, dir_fd=directory, follow_symlinks=follow)
        if request.atime_ns is not None or request.mtime_ns is not None:
            atime = status.st_atime_ns if request.atime_ns is None else request.atime_ns
            mtime = status.st_mtime_ns if request.mtime_ns is None else request.mtime_ns
            os.utime(name, ns=(atime, mtime), dir_fd=directory, follow_symlinks=follow)
            status = os.stat(name, dir_fd=directory, follow_symlinks=follow)
        return _described(status)


def _guarded(answer: Callable[[Any], R]) -> Callable[[Any], Awaitable[R]]:
    async def handler(request: Request[Any]) -> R:
        try:
            return answer(request)
        except OSError as refusal:
            raise _told(refusal) from None

    return handler


def _told(refusal: OSError) -> PosixError:
    number = refusal.errno
    return PosixError(number if number in api.HOST_ERRORS else EIO)


def _cached(fd: int, buffers: list[memoryview], offset: int) -> tuple[int, bool]:
    """Read what the host has in memory into `buffers`, which are used up as they are filled.

    Replies with the bytes, and whether that is all there is. A file system that cannot tell reads
    a small piece at once.
    """
    done = 0
    try:
        while buffers:
            count = os.preadv(fd, buffers[:IOV_LIMIT], offset + done, os.RWF_NOWAIT)
            if not count:
                break
            done += count
            _advance(buffers, count)
    except BlockingIOError:
        return done, False
    except OSError as refusal:
        if refusal.errno != EOPNOTSUPP:
            raise
        if sum(map(len, buffers)) > SMALL_BYTES:
            return done, False
        done += _transfer(os.preadv, fd, buffers, offset + done)
    return done, True


async def _aside(fd: int, buffers: list[memoryview], offset: int) -> int:
    """Read in a thread, by a descriptor of its own, as the other may be closed meanwhile."""
    own = os.dup(fd)
    try:
        return await trio.to_thread.run_sync(_transfer, os.preadv, own, buffers, offset)
    finally:
        os.close(own)


def _advance(buffers: list[memoryview], count: int) -> None:
    while buffers and count >= len(buffers[0]):
        count -= len(buffers.pop(0))
    if count:
        buffers[0] = buffers[0][count:]


def _transfer(
    call: Callable[[int, list[memoryview], int], int],
    fd: int,
    buffers: list[memoryview],
    offset: int,
) -> int:
    """Repeat a vectored call until it is done or makes no progress; replies with the bytes."""
    done = 0
    while buffers:
        count = call(fd, buffers[:IOV_LIMIT], offset + done)
        if count <= 0:
            break
        done += count
        _advance(buffers, count)
    return done
