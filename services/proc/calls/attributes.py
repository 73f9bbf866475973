"""What files are: stat, access, readlink, modes, owners, times, sizes, extended attributes."""

from __future__ import annotations

import struct
from errno import EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, EOPNOTSUPP, EPERM, ERANGE, ESPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Access,
    Allocate,
    At,
    Attr,
    Cred,
    Foreign,
    GetXattr,
    ListXattr,
    Opened,
    ReadLink,
    Release,
    SetAttr,
    SetXattr,
    Stat,
    StatFs,
    StatNode,
    Truncate,
)
from services.proc.abi import (
    AT_EACCESS,
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
from services.proc.calls.names import directories_of, node_of, resolve_node
from services.proc.signals import send
from services.proc.table import syscall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
        await t.kernel.extra["procfs"].access(t, reply, mode)
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


# Changing attributes --------------------------------------------------------------------------


async def _with_node(
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
    return await _with_node(
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


def _node_for_change(t: Thread, fd: int) -> int:
    file = t.file(fd)
    node = file.node()
    if node is None or file.flags & O_PATH:
        raise PosixError(EBADF if file.flags & O_PATH else EINVAL)
    return node


@syscall(91, "fchmod")
async def sys_fchmod(t: Thread, fd: int, mode: int) -> int:
    """fchmod(2)."""
    node, cred = _node_for_change(t, fd), t.process.credentials.cred
    await t.kernel.fs.call(SetAttr(node, cred, mode=mode & 0o7777))
    return 0


def _owner(word: int) -> int | None:
    value = word & 0xFFFF_FFFF
    return None if value == 0xFFFF_FFFF else value


async def _chown(t: Thread, dirfd: int, path: bytes, uid: int, gid: int, follow: bool) -> int:
    cred = t.process.credentials.cred
    return await _with_node(
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
    _node_for_change(t, fd)
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
    return await _with_node(
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

    return await _with_node(
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
    await t.kernel.fs.call(Allocate(node, mode & 0xFFFF_FFFF, offset, length))
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


# statfs and extended attributes ---------------------------------------------------------------


async def _statfs(t: Thread, node: int, buffer: int) -> None:
    s = await t.kernel.fs.call(StatFs(node))
    image = struct.pack(
        "<qqQQQQQQqqq32x", s.kind, s.block_bytes, s.blocks, s.free, s.available, s.files,
        s.files_free, s.fsid, s.name_max, s.block_bytes, s.flags,
    )  # fmt: skip
    await t.copyout(buffer, image)


PROC_SUPER_MAGIC = 0x9FA0


async def _foreign_statfs(t: Thread, buffer: int) -> None:
    image = struct.pack("<qqQQQQQQqqq32x", PROC_SUPER_MAGIC, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0)
    await t.copyout(buffer, image)


@syscall(137, "statfs")
async def sys_statfs(t: Thread, path: int, buffer: int) -> int:
    """statfs(2)."""
    name = await paths.path_at(t, path)
    found = await resolve_node(t, directories_of(t).at, name)
    if type(found) is Foreign:
        await _foreign_statfs(t, buffer)
        return 0
    assert type(found) is Opened
    try:
        await _statfs(t, found.node, buffer)
    finally:
        await t.kernel.fs.call(Release(found.node))
    return 0


@syscall(138, "fstatfs")
async def sys_fstatfs(t: Thread, fd: int, buffer: int) -> int:
    """fstatfs(2)."""
    node = t.file(fd).node()
    if node is None:
        await _foreign_statfs(t, buffer)
    else:
        await _statfs(t, node, buffer)
    return 0


async def _xattr_name(t: Thread, vaddr: int) -> bytes:
    name = await t.space.cstr(vaddr, 256)
    if not name:
        raise PosixError(ERANGE)
    return name


async def _getxattr(t: Thread, node: int, name: int, value: int, size: int) -> int:
    data = await t.kernel.fs.call(
        GetXattr(node, await _xattr_name(t, name), t.process.credentials.cred)
    )
    if size:
        if len(data) > size:
            raise PosixError(ERANGE)
        await t.copyout(value, data)
    return len(data)


async def _listxattr(t: Thread, node: int, buffer: int, size: int) -> int:
    names = b"".join(n + b"\0" for n in await t.kernel.fs.call(ListXattr(node)))
    if size:
        if len(names) > size:
            raise PosixError(ERANGE)
        await t.copyout(buffer, names)
    return len(names)


async def _setxattr(t: Thread, node: int, name: int, value: int, size: int, flags: int) -> int:
    if size > 65536:
        raise PosixError(7)
    data = await t.copyin(value, size) if size else b""
    cred = t.process.credentials.cred
    await t.kernel.fs.call(SetXattr(node, await _xattr_name(t, name), data, flags, cred))
    return 0


async def _removexattr(t: Thread, node: int, name: int) -> int:
    cred = t.process.credentials.cred
    await t.kernel.fs.call(SetXattr(node, await _xattr_name(t, name), None, 0, cred))
    return 0


async def _xattr_path(
    t: Thread, path: int, follow: bool, do: Callable[[int], Awaitable[int]]
) -> int:
    results: list[int] = []

    async def keep(node: int) -> None:
        results.append(await do(node))

    name = await paths.path_at(t, path)
    await _with_node(t, AT_FDCWD, name, follow, keep, in_proc=EOPNOTSUPP)
    return results[0]


@syscall(188, "setxattr")
async def sys_setxattr(t: Thread, path: int, name: int, value: int, size: int, flags: int) -> int:
    """setxattr(2)."""
    return await _xattr_path(t, path, True, lambda n: _setxattr(t, n, name, value, size, flags))


@syscall(189, "lsetxattr")
async def sys_lsetxattr(t: Thread, path: int, name: int, value: int, size: int, flags: int) -> int:
    """lsetxattr(2)."""
    return await _xattr_path(t, path, False, lambda n: _setxattr(t, n, name, value, size, flags))


@syscall(190, "fsetxattr")
async def sys_fsetxattr(t: Thread, fd: int, name: int, value: int, size: int, flags: int) -> int:
    """fsetxattr(2)."""
    return await _setxattr(t, _node_for_change(t, fd), name, value, size, flags)


@syscall(191, "getxattr")
async def sys_getxattr(t: Thread, path: int, name: int, value: int, size: int) -> int:
    """getxattr(2)."""
    return await _xattr_path(t, path, True, lambda n: _getxattr(t, n, name, value, size))


@syscall(192, "lgetxattr")
async def sys_lgetxattr(t: Thread, path: int, name: int, value: int, size: int) -> int:
    """lgetxattr(2)."""
    return await _xattr_path(t, path, False, lambda n: _getxattr(t, n, name, value, size))


@syscall(193, "fgetxattr")
async def sys_fgetxattr(t: Thread, fd: int, name: int, value: int, size: int) -> int:
    """fgetxattr(2)."""
    return await _getxattr(t, _node_for_change(t, fd), name, value, size)


@syscall(194, "listxattr")
async def sys_listxattr(t: Thread, path: int, buffer: int, size: int) -> int:
    """listxattr(2)."""
    return await _xattr_path(t, path, True, lambda n: _listxattr(t, n, buffer, size))


@syscall(195, "llistxattr")
async def sys_llistxattr(t: Thread, path: int, buffer: int, size: int) -> int:
    """llistxattr(2)."""
    return await _xattr_path(t, path, False, lambda n: _listxattr(t, n, buffer, size))


@syscall(196, "flistxattr")
async def sys_flistxattr(t: Thread, fd: int, buffer: int, size: int) -> int:
    """flistxattr(2)."""
    return await _listxattr(t, _node_for_change(t, fd), buffer, size)


@syscall(197, "removexattr")
async def sys_removexattr(t: Thread, path: int, name: int) -> int:
    """removexattr(2)."""
    return await _xattr_path(t, path, True, lambda n: _removexattr(t, n, name))


@syscall(198, "lremovexattr")
async def sys_lremovexattr(t: Thread, path: int, name: int) -> int:
    """lremovexattr(2)."""
    return await _xattr_path(t, path, False, lambda n: _removexattr(t, n, name))


@syscall(199, "fremovexattr")
async def sys_fremovexattr(t: Thread, fd: int, name: int) -> int:
    """fremovexattr(2)."""
    return await _removexattr(t, _node_for_change(t, fd), name)


__all__ = ["ENAMETOOLONG", "Cred", "pack_stat", "stat_path"]
