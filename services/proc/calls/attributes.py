"""What files are: stat, statx, access, readlink."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOENT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Access,
    At,
    Attr,
    Foreign,
    ReadLink,
    Release,
    Stat,
    StatNode,
)
from services.proc.abi import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    s32,
)
from services.proc.calls import paths
from services.proc.calls.names import directories_of, node_of
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

NS = 1_000_000_000
_STAT = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
_STATX = struct.Struct("<IIQIIIHHQQQQqIiqIiqIiqIiIIII")
STATX_BASIC, STATX_BTIME = 0x7FF, 0x800


def pack_stat(attr: Attr) -> bytes:
    """struct stat (stat(2)), 144 bytes."""
    return _STAT.pack(
        attr.dev, attr.ino, attr.nlink, attr.mode, attr.uid, attr.gid, 0, attr.rdev, attr.size,
        attr.block_bytes, attr.blocks, *divmod(attr.atime_ns, NS), *divmod(attr.mtime_ns, NS),
        *divmod(attr.ctime_ns, NS),
    )  # fmt: skip


async def stat_path(t: Thread, dirfd: int, path: bytes, flags: int) -> Attr:
    """fstatat(2) without the copying."""
    if not path and flags & AT_EMPTY_PATH:
        if s32(dirfd) == AT_FDCWD and directories_of(t).cwd_foreign is not None:
            path = b"."
        elif s32(dirfd) == AT_FDCWD:
            return await t.kernel.fs.call(StatNode(directories_of(t).cwd))
        else:
            return await t.file(dirfd).stat(t)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    cred = t.process.credentials.cred
    at, path = paths.settle(paths.base(t, dirfd, path), path)
    reply = await t.kernel.fs.call(Stat(at, path, cred, follow))
    if type(reply) is Attr:
        return reply
    reply = await paths.walk(t, at, path, lambda at, p: Stat(at, p, cred, follow))
    if type(reply) is Foreign:
        return await t.kernel.extra["procfs"].stat(t, reply, follow)  # type: ignore[no-any-return]
    assert type(reply) is Attr
    return reply


@syscall(4, "stat", bound=149 << 10)
async def sys_stat(t: Thread, path: int, buffer: int) -> int:
    """stat(2)."""
    attr = await stat_path(t, AT_FDCWD, await paths.path_at(t, path), 0)
    await t.copyout(buffer, pack_stat(attr))
    return 0


@syscall(6, "lstat", bound=149 << 10)
async def sys_lstat(t: Thread, path: int, buffer: int) -> int:
    """lstat(2)."""
    attr = await stat_path(t, AT_FDCWD, await paths.path_at(t, path), AT_SYMLINK_NOFOLLOW)
    await t.copyout(buffer, pack_stat(attr))
    return 0


@syscall(5, "fstat")
async def sys_fstat(t: Thread, fd: int, buffer: int) -> int:
    """fstat(2)."""
    await t.copyout(buffer, pack_stat(await t.file(fd).stat(t)))
    return 0


@syscall(262, "newfstatat", bound=149 << 10)
async def sys_newfstatat(t: Thread, dirfd: int, path: int, buffer: int, flags: int) -> int:
    """fstatat(2)."""
    if flags & 0xFFFF_FFFF & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | 0x800):
        raise PosixError(EINVAL)
    name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    await t.copyout(buffer, pack_stat(await stat_path(t, dirfd, name, flags)))
    return 0


@syscall(332, "statx", bound=149 << 10)
async def sys_statx(t: Thread, dirfd: int, path: int, flags: int, mask: int, buffer: int) -> int:
    """statx(2)."""
    if flags & 0xFFFF_FFFF & ~0x7900 or mask & 0x8000_0000 or flags & 0x6000 == 0x6000:
        raise PosixError(EINVAL)
    name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    a = await stat_path(t, dirfd, name, flags)
    times: list[int] = []
    for ns in (a.atime_ns, a.btime_ns, a.ctime_ns, a.mtime_ns):
        times += [*divmod(ns, NS), 0]
    image = _STATX.pack(
        STATX_BASIC | STATX_BTIME, a.block_bytes, 0, a.nlink, a.uid, a.gid, a.mode, 0, a.ino,
        a.size, a.blocks, 0, *times, _major(a.rdev), _minor(a.rdev), _major(a.dev), _minor(a.dev),
    )  # fmt: skip
    await t.copyout(buffer, image.ljust(256, b"\0"))
    return 0


def _major(dev: int) -> int:
    return (dev >> 8 & 0xFFF) | (dev >> 32 & ~0xFFF & 0xFFFF_FFFF)


def _minor(dev: int) -> int:
    return (dev & 0xFF) | (dev >> 12 & ~0xFF & 0xFFFF_FFFF)


async def _access(t: Thread, dirfd: int, path: int, mode: int, flags: int) -> int:
    if mode & ~7 or flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise PosixError(EINVAL)
    name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    ids = t.process.credentials
    cred = ids.cred
    if not flags & AT_EACCESS and (ids.ruid, ids.rgid) != (ids.fsuid, ids.fsgid):
        cred = ids.changed(euid=ids.ruid, egid=ids.rgid).cred
    follow = not flags & AT_SYMLINK_NOFOLLOW
    if not name:
        node = await node_of(t, dirfd)
        await t.kernel.fs.call(Release(node))
        return 0
    at = paths.base(t, dirfd, name)
    reply = await paths.walk(t, at, name, lambda at, p: Access(at, p, mode, cred, follow))
    if type(reply) is Foreign:
        await t.kernel.extra["procfs"].access(t, reply, mode, follow, cred)
    return 0


@syscall(21, "access")
async def sys_access(t: Thread, path: int, mode: int) -> int:
    """access(2): with the real ids."""
    return await _access(t, AT_FDCWD, path, mode & 0xFFFF_FFFF, 0)


@syscall(269, "faccessat")
async def sys_faccessat(t: Thread, dirfd: int, path: int, mode: int) -> int:
    """faccessat(2), the call without flags."""
    return await _access(t, dirfd, path, mode & 0xFFFF_FFFF, 0)


@syscall(439, "faccessat2")
async def sys_faccessat2(t: Thread, dirfd: int, path: int, mode: int, flags: int) -> int:
    """faccessat2(2)."""
    return await _access(t, dirfd, path, mode & 0xFFFF_FFFF, flags & 0xFFFF_FFFF)


async def _readlink(t: Thread, dirfd: int, path: int, buffer: int, size: int) -> int:
    if s32(size) <= 0:
        raise PosixError(EINVAL)
    name = await paths.path_at(t, path, empty=True)
    if not name and s32(dirfd) == AT_FDCWD:
        raise PosixError(ENOENT)
    cred = t.process.credentials.cred
    at = paths.base(t, dirfd, name) if name else _link_base(t, dirfd)
    reply = await paths.walk(t, at, name, lambda at, p: ReadLink(at, p, cred))
    if type(reply) is Foreign:
        reply = await t.kernel.extra["procfs"].readlink(t, reply)
    assert type(reply) is bytes
    text = reply[: s32(size)]
    await t.copyout(buffer, text)
    return len(text)


def _link_base(t: Thread, dirfd: int) -> At:
    node = t.file(dirfd).node()
    if node is None:
        raise PosixError(ENOENT)
    return At(directories_of(t).root, node)


@syscall(89, "readlink")
async def sys_readlink(t: Thread, path: int, buffer: int, size: int) -> int:
    """readlink(2)."""
    return await _readlink(t, AT_FDCWD, path, buffer, size)


@syscall(267, "readlinkat")
async def sys_readlinkat(t: Thread, dirfd: int, path: int, buffer: int, size: int) -> int:
    """readlinkat(2)."""
    return await _readlink(t, dirfd, path, buffer, size)
