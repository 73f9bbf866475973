"""pipe(2), pipe2(2), and what moves data without user memory: splice(2) and its relatives."""

from __future__ import annotations

import struct
from errno import EBADF, EINVAL, EISDIR, EOVERFLOW, ESPIPE, EXDEV
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import (
    O_ACCMODE,
    O_APPEND,
    O_CLOEXEC,
    O_NONBLOCK,
    O_PATH,
    S_IFMT,
    S_IFREG,
    s64,
)
from services.proc.calls.files import close_fd, install, vectored
from services.proc.files import bounce
from services.proc.files.fsfile import FsFile
from services.proc.files.pipe import PipeEnd, make_pipe
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.task import Thread

SPLICE_MOVE, SPLICE_NONBLOCK, SPLICE_MORE, SPLICE_GIFT = 1, 2, 4, 8
SPLICE_FLAGS = 15
MAX_TRANSFER_BYTES = 0x7FFF_F000


# pipe ----------------------------------------------------------------------------------------


async def _pipe(t: Thread, where: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    reader, writer = await make_pipe(t, flags & O_NONBLOCK)
    cloexec = bool(flags & O_CLOEXEC)
    try:
        read_fd = await install(t, reader, cloexec)
    except PosixError:
        await writer.closed(t)
        raise
    write_fd = -1
    try:
        write_fd = await install(t, writer, cloexec)
        await t.copyout(where, struct.pack("<ii", read_fd, write_fd))
    except PosixError:
        await close_fd(t, read_fd)
        if write_fd >= 0:
            await close_fd(t, write_fd)
        raise
    return 0


@syscall(22, "pipe")
async def sys_pipe(t: Thread, where: int) -> int:
    """pipe(2)."""
    return await _pipe(t, where, 0)


@syscall(293, "pipe2", support=PARTIAL, note="O_DIRECT: EINVAL")
async def sys_pipe2(t: Thread, where: int, flags: int) -> int:
    """pipe2(2) without packet mode."""
    return await _pipe(t, where, flags)


# Moving between files ------------------------------------------------------------------------


def _source(t: Thread, fd: int) -> OpenFile:
    file = t.file(fd)
    if file.flags & O_PATH or not file.readable:
        raise PosixError(EBADF)
    return file


def _target(t: Thread, fd: int) -> OpenFile:
    file = t.file(fd)
    if file.flags & O_PATH or not file.flags & O_ACCMODE:
        raise PosixError(EBADF)
    return file


async def _offset_at(t: Thread, file: OpenFile, where: int) -> int | None:
    """The offset that a pointer argument gives; None for the description's own."""
    if not where:
        return None
    if not file.seekable:
        raise PosixError(ESPIPE)
    offset = int.from_bytes(await t.copyin(where, 8), "little")
    if s64(offset) < 0:
        raise PosixError(EINVAL)
    return offset


async def _put_offset(t: Thread, where: int, offset: int) -> None:
    await t.copyout(where, offset.to_bytes(8, "little"))


def _regular(file: OpenFile) -> bool:
    return isinstance(file, FsFile) and file.mode & S_IFMT == S_IFREG


@syscall(40, "sendfile", bound=84 << 10)
async def sys_sendfile(t: Thread, out: int, source: int, where: int, count: int) -> int:
    """sendfile(2)."""
    file, target = _source(t, source), _target(t, out)
    offset = await _offset_at(t, file, where)
    if not _regular(file) or target.flags & O_APPEND:
        raise PosixError(EINVAL)
    if s64(count) < 0:
        raise PosixError(EINVAL)
    start = file.offset if offset is None else offset
    moved = await bounce.copy(t, file, start, target, None, min(count, MAX_TRANSFER_BYTES))
    if offset is None:
        file.offset = start + moved
    else:
        await _put_offset(t, where, start + moved)
    return moved


@syscall(275, "splice", bound=84 << 10)
async def sys_splice(
    t: Thread, source: int, source_at: int, out: int, out_at: int, count: int, flags: int
) -> int:
    """splice(2): pages are copied, never moved."""
    if flags & 0xFFFF_FFFF & ~SPLICE_FLAGS:
        raise PosixError(EINVAL)
    if not count:
        return 0
    file, target = _source(t, source), _target(t, out)
    count = min(count, MAX_TRANSFER_BYTES)
    nonblock = bool(flags & SPLICE_NONBLOCK)
    if isinstance(file, PipeEnd):
        if source_at or (isinstance(target, PipeEnd) and out_at):
            raise PosixError(ESPIPE)
        if isinstance(target, PipeEnd):
            return await _between(t, file, target, count, nonblock, take=True)
        offset = await _offset_at(t, target, out_at)
        if target.flags & O_APPEND:
            raise PosixError(EINVAL)
        wait = bounce.blocks(file, nonblock)
        moved = await bounce.from_pipe(t, file, target, offset, count, wait)
        if offset is not None:
            await _put_offset(t, out_at, offset + moved)
        return moved
    if not isinstance(target, PipeEnd):
        raise PosixError(EINVAL)
    if out_at:
        raise PosixError(ESPIPE)
    offset = await _offset_at(t, file, source_at)
    wait = bounce.blocks(target, nonblock)
    moved = await bounce.to_pipe(t, file, offset, target, count, wait)
    if offset is not None:
        await _put_offset(t, source_at, offset + moved)
    return moved


async def _between(
    t: Thread, source: PipeEnd, target: PipeEnd, count: int, nonblock: bool, take: bool
) -> int:
    """From pipe to pipe: splice(2) takes the bytes out, tee(2) leaves them."""
    if source.pipe is target.pipe:
        raise PosixError(EINVAL)
    if not await source.fill(t, bounce.blocks(source, nonblock)):
        return 0
    await target.room(t, bounce.blocks(target, nonblock))
    moved = target.pipe.append(source.pipe.peek(count))
    if take:
        source.pipe.skip(moved)
    return moved


@syscall(276, "tee", bound=84 << 10)
async def sys_tee(t: Thread, source: int, out: int, count: int, flags: int) -> int:
    """tee(2)."""
    if flags & 0xFFFF_FFFF & ~SPLICE_FLAGS:
        raise PosixError(EINVAL)
    if not count:
        return 0
    file, target = _source(t, source), _target(t, out)
    if not isinstance(file, PipeEnd) or not isinstance(target, PipeEnd):
        raise PosixError(EINVAL)
    return await _between(t, file, target, count, bool(flags & SPLICE_NONBLOCK), take=False)


@syscall(278, "vmsplice", bound=84 << 10, support=PARTIAL, note="SPLICE_F_NONBLOCK is ignored")
async def sys_vmsplice(t: Thread, fd: int, vector: int, count: int, flags: int) -> int:
    """vmsplice(2): copies, as for writev(2) or readv(2) on the pipe."""
    if flags & 0xFFFF_FFFF & ~SPLICE_FLAGS:
        raise PosixError(EINVAL)
    file = t.file(fd)
    if not isinstance(file, PipeEnd):
        raise PosixError(EBADF)
    return await vectored(t, file, vector, count, None, file.writable)


@syscall(326, "copy_file_range", bound=84 << 10)
async def sys_copy_file_range(
    t: Thread, source: int, source_at: int, out: int, out_at: int, count: int, flags: int
) -> int:
    """copy_file_range(2) between regular files."""
    file, target = t.file(source), t.file(out)
    if flags & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    start, offset = await _offset_at(t, file, source_at), await _offset_at(t, target, out_at)
    for one in (file, target):
        if isinstance(one, FsFile) and one.is_directory:
            raise PosixError(EISDIR)
        if not _regular(one):
            raise PosixError(EINVAL)
    _source(t, source)
    if _target(t, out).flags & O_APPEND:
        raise PosixError(EBADF)
    here, there = await file.stat(t), await target.stat(t)
    if here.dev != there.dev:
        raise PosixError(EXDEV)
    first = file.offset if start is None else start
    goal = target.offset if offset is None else offset
    if max(first, goal) + count >= 1 << 64:
        raise PosixError(EOVERFLOW)
    # As much as there is now: a copy to behind its own source makes that longer as it goes.
    count = min(count, MAX_TRANSFER_BYTES, max(here.size - first, 0))
    if (here.dev, here.ino) == (there.dev, there.ino) and abs(first - goal) < count:
        raise PosixError(EINVAL)
    moved = await bounce.copy(t, file, first, target, goal, count)
    if start is None:
        file.offset = first + moved
    else:
        await _put_offset(t, source_at, first + moved)
    if offset is None:
        target.offset = goal + moved
    else:
        await _put_offset(t, out_at, goal + moved)
    return moved
