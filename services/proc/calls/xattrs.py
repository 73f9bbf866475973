"""File systems and extended attributes: statfs, getxattr and their kin."""

from __future__ import annotations

import struct
from errno import ENODATA, EOPNOTSUPP, EPERM, ERANGE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Foreign,
    GetXattr,
    ListXattr,
    Opened,
    Release,
    SetXattr,
    StatFs,
)
from services.proc.abi import AT_FDCWD, O_PATH
from services.proc.calls import paths
from services.proc.calls.names import directories_of, resolve_node
from services.proc.table import syscall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.task import Thread

from services.proc.calls.changes import node_for_change, with_node


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
    await with_node(t, AT_FDCWD, name, follow, keep, in_proc=EOPNOTSUPP)
    return results[0]


async def _list_path(t: Thread, path: int, follow: bool, buffer: int, size: int) -> int:
    """Like `_xattr_path`, but that what cannot have attributes has none."""
    try:
        return await _xattr_path(t, path, follow, lambda n: _listxattr(t, n, buffer, size))
    except PosixError as error:
        if error.errno != EOPNOTSUPP:
            raise
        return 0


async def _node_or(t: Thread, fd: int, name: int, change: bool) -> int:
    """The node behind a descriptor; where there is none, the errno that Linux has for its kind."""
    file = t.file(fd)
    if file.node() is not None or file.flags & O_PATH:
        return node_for_change(t, fd)
    if file.kind.startswith("proc") or not (await _xattr_name(t, name)).startswith(b"user."):
        raise PosixError(EOPNOTSUPP)
    raise PosixError(EPERM if change else ENODATA)


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
    node = await _node_or(t, fd, name, True)
    return await _setxattr(t, node, name, value, size, flags)


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
    node = await _node_or(t, fd, name, False)
    return await _getxattr(t, node, name, value, size)


@syscall(194, "listxattr")
async def sys_listxattr(t: Thread, path: int, buffer: int, size: int) -> int:
    """listxattr(2)."""
    return await _list_path(t, path, True, buffer, size)


@syscall(195, "llistxattr")
async def sys_llistxattr(t: Thread, path: int, buffer: int, size: int) -> int:
    """llistxattr(2)."""
    return await _list_path(t, path, False, buffer, size)


@syscall(196, "flistxattr")
async def sys_flistxattr(t: Thread, fd: int, buffer: int, size: int) -> int:
    """flistxattr(2)."""
    file = t.file(fd)
    if file.node() is None and not file.flags & O_PATH:
        return 0
    return await _listxattr(t, node_for_change(t, fd), buffer, size)


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
    return await _removexattr(t, await _node_or(t, fd, name, True), name)
