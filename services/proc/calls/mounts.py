"""Mounting, and pushing to the store what is in memory: mount(2), sync(2) and their kin."""

from __future__ import annotations

from errno import EINVAL, ENODEV, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import Mount, Sync, Unmount
from services.proc.calls import paths
from services.proc.calls.names import directories_of
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread


@syscall(165, "mount", support="partial", note="tmpfs only")
async def sys_mount(t: Thread, source: int, target: int, kind: int, flags: int, data: int) -> int:
    """mount(2) of tmpfs; other types are ENODEV."""
    if t.process.credentials.euid:
        raise PosixError(EPERM)
    target_path = await paths.path_at(t, target)
    kind_name = (await t.space.cstr(kind, 4096) or b"").decode(errors="replace") if kind else ""
    source_path = (await t.space.cstr(source, 4096) or b"") if source else b"none"
    options = (await t.space.cstr(data, 4096) or b"").decode(errors="replace") if data else ""
    if kind_name != "tmpfs":
        raise PosixError(ENODEV)
    cred = t.process.credentials.cred
    await t.kernel.fs.call(
        Mount(
            directories_of(t).at,
            source_path,
            target_path,
            kind_name,
            options,
            bool(flags & 1),
            cred,
        )
    )
    return 0


@syscall(166, "umount2")
async def sys_umount2(t: Thread, target: int, flags: int) -> int:
    """umount2(2)."""
    path = await paths.path_at(t, target)
    if t.process.credentials.euid:
        raise PosixError(EPERM)
    await t.kernel.fs.call(Unmount(directories_of(t).at, path, t.process.credentials.cred))
    return 0


@syscall(162, "sync")
async def sys_sync(t: Thread) -> int:
    """sync(2)."""
    await t.kernel.fs.call(Sync(None))
    return 0


async def sync_file(t: Thread, fd: int, data_only: bool) -> int:
    """fsync(2): EINVAL for what cannot be synced."""
    node = t.file(fd).node()
    if node is None:
        raise PosixError(EINVAL)
    await t.kernel.fs.call(Sync(node, data_only))
    return 0


@syscall(74, "fsync")
async def sys_fsync(t: Thread, fd: int) -> int:
    """fsync(2)."""
    return await sync_file(t, fd, False)


@syscall(75, "fdatasync")
async def sys_fdatasync(t: Thread, fd: int) -> int:
    """fdatasync(2)."""
    return await sync_file(t, fd, True)


@syscall(306, "syncfs")
async def sys_syncfs(t: Thread, fd: int) -> int:
    """syncfs(2)."""
    t.file(fd)
    await t.kernel.fs.call(Sync(None))
    return 0


@syscall(277, "sync_file_range")
async def sys_sync_file_range(t: Thread, fd: int, offset: int, count: int, flags: int) -> int:
    """sync_file_range(2), taken as fdatasync(2) of the whole file."""
    if flags & ~7:
        raise PosixError(EINVAL)
    return await sync_file(t, fd, True)
