"""Changing what files are: modes, owners, times, sizes."""

from __future__ import annotations

import struct
from errno import EBADF, EFAULT, EINVAL, EPERM, ESPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Access,
    Allocate,
    Foreign,
    Opened,
    Release,
    SetAttr,
    Truncate,
)
from services.proc.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_PATH,
    RLIM_INFINITY,
    RLIMIT_FSIZE,
    S_IFMT,
    S_IFREG,
    SIGXFSZ,
    s32,
    s64,
)
from services.proc.calls import paths
from services.proc.calls.names import node_of, resolve_node
from services.proc.signals import send
from services.proc.table import syscall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.task import Thread

from services.proc.calls.attributes import NS


async def with_node(
    t: Thread,
    dirfd: int,
    path: bytes,
    follow: bool,
    do: Callable[[int], Awaitable[object]],
    in_proc: int = EPERM,
) -> int:
    """Call `do` with the node that a path (or, if it is empty, a descriptor) names."""
    if path:
        found = await resolve_node(t, paths.base(t, dirfd, path), path, follow)
        if type(found) is Foreign:
            found = await t.kernel.extra["procfs"].resolve(
                t.process, found, follow, otherwise=in_proc
            )
        assert type(found) is Opened
        node = found.node
    else:
        node = await node_of(t, dirfd)
    try:
        await do(node)
    finally:
        await t.kernel.fs.call(Release(node))
    return 0


async def _chmod(t: Thread, dirfd: int, path: int, mode: int) -> int:
    cred, name = t.process.credentials.cred, await paths.path_at(t, path)
    return await with_node(
        t, dirfd, name, True, lambda n: t.kernel.fs.call(SetAttr(n, cred, mode=mode & 0o7777))
    )


@syscall(90, "chmod")
async def sys_chmod(t: Thread, path: int, mode: int) -> int:
    """chmod(2)."""
    return await _chmod(t, AT_FDCWD, path, mode)


@syscall(268, "fchmodat")
async def sys_fchmodat(t: Thread, dirfd: int, path: int, mode: int) -> int:
    """fchmodat(2)."""
    return await _chmod(t, dirfd, path, mode)


def node_for_change(t: Thread, fd: int) -> int:
    """The node behind a descriptor that may be changed; EBADF for O_PATH, EINVAL for none."""
    file = t.file(fd)
    node = file.node()
    if node is None or file.flags & O_PATH:
        raise PosixError(EBADF if file.flags & O_PATH else EINVAL)
    return node


@syscall(91, "fchmod")
async def sys_fchmod(t: Thread, fd: int, mode: int) -> int:
    """fchmod(2)."""
    node, cred = node_for_change(t, fd), t.process.credentials.cred
    await t.kernel.fs.call(SetAttr(node, cred, mode=mode & 0o7777))
    return 0


def _owner(word: int) -> int | None:
    value = word & 0xFFFF_FFFF
    return None if value == 0xFFFF_FFFF else value


async def _chown(t: Thread, dirfd: int, path: bytes, uid: int, gid: int, follow: bool) -> int:
    cred = t.process.credentials.cred
    return await with_node(
        t,
        dirfd,
        path,
        follow,
        lambda n: t.kernel.fs.call(SetAttr(n, cred, uid=_owner(uid), gid=_owner(gid))),
    )


@syscall(92, "chown")
async def sys_chown(t: Thread, path: int, uid: int, gid: int) -> int:
    """chown(2)."""
    return await _chown(t, AT_FDCWD, await paths.path_at(t, path), uid, gid, True)


@syscall(94, "lchown")
async def sys_lchown(t: Thread, path: int, uid: int, gid: int) -> int:
    """lchown(2)."""
    return await _chown(t, AT_FDCWD, await paths.path_at(t, path), uid, gid, False)


@syscall(93, "fchown")
async def sys_fchown(t: Thread, fd: int, uid: int, gid: int) -> int:
    """fchown(2)."""
    node_for_change(t, fd)
    return await _chown(t, fd, b"", uid, gid, True)


@syscall(260, "fchownat")
async def sys_fchownat(t: Thread, dirfd: int, path: int, uid: int, gid: int, flags: int) -> int:
    """fchownat(2)."""
    if flags & 0xFFFF_FFFF & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise PosixError(EINVAL)
    name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    return await _chown(t, dirfd, name, uid, gid, not flags & AT_SYMLINK_NOFOLLOW)


UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def _time_field(seconds: int, nanoseconds: int) -> int | None:
    if nanoseconds == UTIME_NOW:
        return -1
    if nanoseconds == UTIME_OMIT:
        return None
    if not 0 <= nanoseconds < NS:
        raise PosixError(EINVAL)
    return seconds * NS + nanoseconds


async def _utimens(
    t: Thread, dirfd: int, path: bytes, times: tuple[int | None, int | None], follow: bool
) -> int:
    cred = t.process.credentials.cred
    return await with_node(
        t,
        dirfd,
        path,
        follow,
        lambda n: t.kernel.fs.call(SetAttr(n, cred, atime_ns=times[0], mtime_ns=times[1])),
    )


@syscall(280, "utimensat")
async def sys_utimensat(t: Thread, dirfd: int, path: int, times: int, flags: int) -> int:
    """utimensat(2); a null path means the descriptor itself."""
    if flags & 0xFFFF_FFFF & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise PosixError(EINVAL)
    pair: tuple[int | None, int | None] = (-1, -1)
    if times:
        words = struct.unpack("<4q", await t.copyin(times, 32))
        pair = (_time_field(words[0], words[1]), _time_field(words[2], words[3]))
    if path:
        name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    else:
        if s32(dirfd) == AT_FDCWD:
            raise PosixError(EFAULT)
        name = b""
    if pair == (None, None):
        return 0
    return await _utimens(t, dirfd, name, pair, not flags & AT_SYMLINK_NOFOLLOW)


async def _utimes(t: Thread, dirfd: int, path: int, times: int) -> int:
    pair: tuple[int | None, int | None] = (-1, -1)
    if times:
        a, au, m, mu = struct.unpack("<4q", await t.copyin(times, 32))
        if not (0 <= au < 1_000_000 and 0 <= mu < 1_000_000):
            raise PosixError(EINVAL)
        pair = (a * NS + au * 1000, m * NS + mu * 1000)
    return await _utimens(t, dirfd, await paths.path_at(t, path), pair, True)


@syscall(235, "utimes")
async def sys_utimes(t: Thread, path: int, times: int) -> int:
    """utimes(2)."""
    return await _utimes(t, AT_FDCWD, path, times)


@syscall(261, "futimesat")
async def sys_futimesat(t: Thread, dirfd: int, path: int, times: int) -> int:
    """futimesat(2)."""
    return await _utimes(t, dirfd, path, times)


@syscall(132, "utime")
async def sys_utime(t: Thread, path: int, times: int) -> int:
    """utime(2)."""
    pair: tuple[int | None, int | None] = (-1, -1)
    if times:
        a, m = struct.unpack("<2q", await t.copyin(times, 16))
        pair = (a * NS, m * NS)
    return await _utimens(t, AT_FDCWD, await paths.path_at(t, path), pair, True)


# Sizes ----------------------------------------------------------------------------------------


def _check_size(t: Thread, length: int) -> None:
    if s64(length) < 0:
        raise PosixError(EINVAL)
    limit = t.process.limit(RLIMIT_FSIZE)
    if limit != RLIM_INFINITY and length > limit:
        send.to_thread(t, send.user_info(SIGXFSZ, t.process))
        raise PosixError(27)


@syscall(76, "truncate")
async def sys_truncate(t: Thread, path: int, length: int) -> int:
    """truncate(2)."""
    _check_size(t, length)
    name = await paths.path_at(t, path)
    cred = t.process.credentials.cred
    at = paths.base(t, AT_FDCWD, name)
    await paths.walk(t, at, name, lambda at, p: Access(at, p, 2, cred))

    return await with_node(
        t, AT_FDCWD, name, True, lambda n: t.kernel.fs.call(Truncate(n, length, cred))
    )


@syscall(77, "ftruncate")
async def sys_ftruncate(t: Thread, fd: int, length: int) -> int:
    """ftruncate(2)."""
    _check_size(t, length)
    file = t.file(fd)
    node = file.node()
    if node is None or not file.writable:
        raise PosixError(EBADF if file.flags & O_PATH else EINVAL)
    if (await file.stat(t)).mode & S_IFMT != S_IFREG:
        raise PosixError(EINVAL)
    await t.kernel.fs.call(Truncate(node, length, t.process.credentials.cred))
    return 0


@syscall(285, "fallocate")
async def sys_fallocate(t: Thread, fd: int, mode: int, offset: int, length: int) -> int:
    """fallocate(2)."""
    file = t.file(fd)
    if s64(offset) < 0 or s64(length) <= 0:
        raise PosixError(EINVAL)
    if not file.writable or file.flags & O_PATH:
        raise PosixError(EBADF)
    node = file.node()
    if node is None:
        raise PosixError(ESPIPE)
    cred = t.process.credentials.cred
    await t.kernel.fs.call(Allocate(node, mode & 0xFFFF_FFFF, offset, length, cred))
    return 0


@syscall(221, "fadvise64")
def sys_fadvise64(t: Thread, fd: int, offset: int, length: int, advice: int) -> int:
    """posix_fadvise(2): advice is taken note of by no cache yet."""
    if not t.file(fd).seekable:
        raise PosixError(ESPIPE)
    if advice > 5 or s64(length) < 0:
        raise PosixError(EINVAL)
    return 0


@syscall(187, "readahead")
def sys_readahead(t: Thread, fd: int, offset: int, count: int) -> int:
    """readahead(2)."""
    file = t.file(fd)
    if not file.readable:
        raise PosixError(EBADF)
    if not file.seekable:
        raise PosixError(EINVAL)
    return 0
