"""Descriptors and data: open, close, read, write, seek, getdents."""

from __future__ import annotations

import struct
from errno import EBADF, EFAULT, EINVAL, ELOOP, ENOTDIR, ENXIO, ESPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    At,
    Foreign,
    Open,
    Opened,
    Release,
)
from services.proc.abi import (
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOCTTY,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    S_IFCHR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFSOCK,
    s32,
    s64,
)
from services.proc.calls import paths
from services.proc.descriptors import OpenFile, drop
from services.proc.files.device import open_device
from services.proc.files.fsfile import FsFile
from services.proc.files.pipe import open_fifo
from services.proc.lifecycle import release_locks
from services.proc.table import PARTIAL, syscall
from services.vm.api import USER_TOP, PageMiss

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

MAX_TRANSFER_BYTES = 0x7FFF_F000
"""Linux moves at most this many bytes in one read or write (read(2), NOTES)."""
CHUNK_BYTES = 1 << 20
"""A larger transfer is done in pieces, so that no call faults in a gigabyte at once."""
IOV_MAX = 1024


# open and close ------------------------------------------------------------------------------


async def open_path(t: Thread, at: At, path: bytes, flags: int, mode: int) -> OpenFile:
    """openat(2): the open file description for a path."""
    kernel, process = t.kernel, t.process
    directories = process.directories
    assert directories is not None
    mode = mode & 0o7777 & ~directories.umask if flags & (O_CREAT | O_TMPFILE & ~O_DIRECTORY) else 0
    reply = await paths.walk(
        t, at, path, lambda at, path: Open(at, path, flags, mode, process.credentials.cred)
    )
    if type(reply) is Foreign:
        return await kernel.extra["procfs"].open(t, reply, flags, mode)  # type: ignore[no-any-return]
    assert type(reply) is Opened
    return await adopt(t, reply, flags)


async def adopt(t: Thread, opened: Opened, flags: int) -> OpenFile:
    """Make a description of a node that was opened; it owns the node's reference from here on."""
    kind = opened.mode & S_IFMT
    kept = flags & ~(O_CREAT | O_TRUNC | O_CLOEXEC | 0o200 | 0o400)
    if not flags & O_PATH:
        if kind == S_IFCHR:
            noctty = flags & O_NOCTTY
            return await open_device(t, opened.mode, opened.rdev, opened.node, kept | noctty)
        if kind == S_IFIFO:
            return await open_fifo(t, opened.node, kept)
        if kind in (S_IFSOCK, 0o060000, S_IFLNK):
            await t.kernel.fs.call(Release(opened.node))
            raise PosixError(ELOOP if kind == S_IFLNK else ENXIO)
    return FsFile(t.kernel.fs, opened.node, opened.mode, kept | O_LARGEFILE)


async def _open(t: Thread, dirfd: int, path: int, flags: int, mode: int) -> int:
    name = await paths.path_at(t, path)
    flags &= 0xFFFF_FFFF
    file = await open_path(t, paths.base(t, dirfd, name), name, flags, mode)
    return await install(t, file, bool(flags & O_CLOEXEC))


async def install(t: Thread, file: OpenFile, cloexec: bool) -> int:
    """A descriptor for a new description, which is closed again if there is none left."""
    try:
        return t.install(file, cloexec)
    except PosixError:
        file.holders += 1
        await drop(file, t)
        raise


@syscall(2, "open", bound=194 << 10)
async def sys_open(t: Thread, path: int, flags: int, mode: int) -> int:
    """open(2)."""
    return await _open(t, -100, path, flags, mode)


@syscall(85, "creat", bound=194 << 10)
async def sys_creat(t: Thread, path: int, mode: int) -> int:
    """creat(2)."""
    return await _open(t, -100, path, O_CREAT | O_TRUNC | O_WRONLY, mode)


@syscall(257, "openat", bound=194 << 10)
async def sys_openat(t: Thread, dirfd: int, path: int, flags: int, mode: int) -> int:
    """openat(2)."""
    return await _open(t, dirfd, path, flags, mode)


@syscall(437, "openat2", bound=194 << 10, support=PARTIAL, note="RESOLVE_* flags: EINVAL")
async def sys_openat2(t: Thread, dirfd: int, path: int, how: int, size: int) -> int:
    """openat2(2) without its RESOLVE_ flags."""
    if size < 24:
        raise PosixError(EINVAL)
    flags, mode, resolve = struct.unpack("<QQQ", await t.copyin(how, 24))
    if resolve or flags >> 32 or mode & ~0o7777:
        raise PosixError(EINVAL)
    return await _open(t, dirfd, path, flags, mode)


async def close_fd(t: Thread, fd: int) -> None:
    """Take a descriptor out and drop its description."""
    table = t.process.descriptors
    assert table is not None
    file = table.remove(fd & 0xFFFF_FFFF)
    await release_locks(t.process, file.node())
    await drop(file, t)


@syscall(3, "close", bound=16 << 10)
async def sys_close(t: Thread, fd: int) -> int:
    """close(2)."""
    await close_fd(t, fd)
    return 0


@syscall(436, "close_range", bound=16 << 10)
async def sys_close_range(t: Thread, first: int, last: int, flags: int) -> int:
    """close_range(2) with CLOEXEC (4) and UNSHARE (2)."""
    first, last = first & 0xFFFF_FFFF, last & 0xFFFF_FFFF
    if first > last or flags & ~6:
        raise PosixError(EINVAL)
    table = t.process.descriptors
    assert table is not None
    if flags & 2 and table.users > 1:
        table.users -= 1
        table = t.process.descriptors = table.copy()
    for fd in sorted(fd for fd in table.slots if first <= fd <= last):
        if flags & 4:
            table.slots[fd].cloexec = True
        else:
            await close_fd(t, fd)
    return 0


# read and write ------------------------------------------------------------------------------


async def _buffers(t: Thread, file: OpenFile, vaddr: int, count: int, write: bool) -> list[Extent]:
    """Extents of a buffer, cut at the first page that is not accessible; EFAULT if none is."""
    try:
        return await t.extents(vaddr, count, write)
    except PosixError:
        if not write and not file.looks and vaddr + count <= USER_TOP:
            return [(0, count)]  # only its length matters
        room = 4096 - (vaddr & 4095)
        if count <= room or file.whole:
            raise
    extents = await t.extents(vaddr, room, write)
    at, left = vaddr + room, count - room
    while left:
        step = min(4096, left)
        try:
            extents += await t.extents(at, step, write)
        except PosixError:
            break
        at, left = at + step, left - step
    return extents


COVERED_BYTES = 64 << 10
"""A write of so much is within the bound of its call."""


def _reserve(t: Thread, file: OpenFile, length_bytes: int) -> None:
    """The deep reservation of a long write, all at once and first: so no byte is written twice.

    A file keeps 128 bytes for each page, and cannot have more pages than there are frames; a pipe
    or a socket takes no more than its buffer before it makes its writer wait. No call asks for
    more than a quarter of the heap: a wish must be one that can be granted.
    """
    if length_bytes > COVERED_BYTES:
        admission = t.kernel.admission
        length_bytes = min(length_bytes, t.kernel.ram.size_bytes)
        most = length_bytes >> 5 if file.seekable else min(length_bytes, CHUNK_BYTES)
        admission.more(min(most, admission.limit_bytes >> 2))


async def transfer(
    t: Thread, file: OpenFile, vaddr: int, count: int, offset: int | None, write: bool
) -> int:
    """Move up to `count` bytes between a user buffer and a file, in chunks."""
    if count > MAX_TRANSFER_BYTES:
        if s64(count) < 0:
            raise PosixError(EFAULT)
        count = MAX_TRANSFER_BYTES
    if write and count > COVERED_BYTES:
        _reserve(t, file, count)
    return await _transfer(t, file, vaddr, count, offset, write)


async def _transfer(
    t: Thread, file: OpenFile, vaddr: int, count: int, offset: int | None, write: bool
) -> int:
    move = file.write if write else file.read
    if count <= CHUNK_BYTES:
        extents = await _buffers(t, file, vaddr, count, not write) if count else []
        return await move(t, extents, offset)
    done = 0
    while done < count:
        want = min(CHUNK_BYTES, count - done)
        try:
            extents = await _buffers(t, file, vaddr + done, want, not write)
            moved = await move(t, extents, None if offset is None else offset + done)
        except Exception:
            if done:
                return done
            raise
        done += moved
        if moved < want:
            break
    return done


def _for_reading(t: Thread, fd: int) -> OpenFile:
    file = t.file(fd)
    if file.flags & (O_ACCMODE | O_PATH) in (O_WRONLY, O_PATH, O_PATH | 2, O_PATH | 1):
        raise PosixError(EBADF)
    return file


def _for_writing(t: Thread, fd: int) -> OpenFile:
    file = t.file(fd)
    if not file.flags & O_ACCMODE or file.flags & O_PATH:
        raise PosixError(EBADF)
    return file


@syscall(0, "read", bound=84 << 10)
async def sys_read(t: Thread, fd: int, buffer: int, count: int) -> int:
    """read(2)."""
    slot = t.process.descriptors.slots.get(fd)  # type: ignore[union-attr]
    file = slot.file if slot is not None else _for_reading(t, fd)
    if file.flags & 3 == 1 or file.flags & O_PATH:
        raise PosixError(EBADF)
    if 0 < count <= 4096:
        try:
            extents = t.space.memory.extents(buffer, count, True)
        except (PageMiss, PosixError):
            extents = await _buffers(t, file, buffer, count, True)
        return await file.read(t, extents, None)
    return await transfer(t, file, buffer, count, None, False)


@syscall(1, "write", bound=66 << 10)
async def sys_write(t: Thread, fd: int, buffer: int, count: int) -> int:
    """write(2)."""
    slot = t.process.descriptors.slots.get(fd)  # type: ignore[union-attr]
    file = slot.file if slot is not None else _for_writing(t, fd)
    if not file.flags & 3 or file.flags & O_PATH:
        raise PosixError(EBADF)
    if 0 < count <= 4096:
        try:
            extents = t.space.memory.extents(buffer, count, False)
        except (PageMiss, PosixError):
            extents = await _buffers(t, file, buffer, count, False)
        return await file.write(t, extents, None)
    return await transfer(t, file, buffer, count, None, True)


def _offset(file: OpenFile, offset: int) -> int:
    if not file.seekable:
        raise PosixError(ESPIPE)
    if s64(offset) < 0:
        raise PosixError(EINVAL)
    return offset


@syscall(17, "pread64", bound=84 << 10)
async def sys_pread(t: Thread, fd: int, buffer: int, count: int, offset: int) -> int:
    """pread(2)."""
    file = _for_reading(t, fd)
    return await transfer(t, file, buffer, count, _offset(file, offset), False)


@syscall(18, "pwrite64", bound=66 << 10)
async def sys_pwrite(t: Thread, fd: int, buffer: int, count: int, offset: int) -> int:
    """pwrite(2)."""
    file = _for_writing(t, fd)
    return await transfer(t, file, buffer, count, _offset(file, offset), True)


async def iovecs(t: Thread, vaddr: int, count: int) -> list[tuple[int, int]]:
    """An array of struct iovec; EINVAL for too many or too much (readv(2))."""
    if count > IOV_MAX:
        raise PosixError(EINVAL)
    if not count:
        return []
    words = struct.unpack(f"<{2 * count}Q", await t.copyin(vaddr, 16 * count))
    vectors = list(zip(words[::2], words[1::2], strict=True))
    if sum(length for _, length in vectors) > (1 << 63) - 1:
        raise PosixError(EINVAL)
    return vectors


async def vectored(
    t: Thread, file: OpenFile, vaddr: int, count: int, offset: int | None, write: bool
) -> int:
    """readv(2) and writev(2): one transfer over all buffers where it fits, else one each."""
    vectors = [v for v in await iovecs(t, vaddr, count) if v[1]]
    total = sum(length for _, length in vectors)
    if write:
        _reserve(t, file, total)
    if total <= CHUNK_BYTES:
        extents: list[Extent] = []
        for start, length in vectors:
            try:
                part = await _buffers(t, file, start, length, not write)
            except PosixError:
                if not extents:
                    raise
                break
            extents += part
            if sum(size for _, size in part) < length:
                break
        return await (file.write if write else file.read)(t, extents, offset)
    done = 0
    for start, length in vectors:
        at = None if offset is None else offset + done
        moved = await _transfer(t, file, start, length, at, write)
        done += moved
        if moved < length:
            break
    return done


@syscall(19, "readv", bound=84 << 10)
async def sys_readv(t: Thread, fd: int, vector: int, count: int) -> int:
    """readv(2)."""
    return await vectored(t, _for_reading(t, fd), vector, count, None, False)


@syscall(20, "writev", bound=66 << 10)
async def sys_writev(t: Thread, fd: int, vector: int, count: int) -> int:
    """writev(2)."""
    return await vectored(t, _for_writing(t, fd), vector, count, None, True)


@syscall(295, "preadv", bound=84 << 10)
async def sys_preadv(t: Thread, fd: int, vector: int, count: int, offset: int) -> int:
    """preadv(2)."""
    file = _for_reading(t, fd)
    return await vectored(t, file, vector, count, _offset(file, offset), False)


@syscall(296, "pwritev", bound=66 << 10)
async def sys_pwritev(t: Thread, fd: int, vector: int, count: int, offset: int) -> int:
    """pwritev(2)."""
    file = _for_writing(t, fd)
    return await vectored(t, file, vector, count, _offset(file, offset), True)


@syscall(8, "lseek")
async def sys_lseek(t: Thread, fd: int, offset: int, whence: int) -> int:
    """lseek(2)."""
    return await t.file(fd).seek(t, s64(offset), s32(whence))


@syscall(217, "getdents64")
async def sys_getdents64(t: Thread, fd: int, buffer: int, count: int) -> int:
    """getdents64(2): as many records as fit; EINVAL if not even one does."""
    file = t.file(fd)
    entries = getattr(file, "entries", None)
    if entries is None:
        raise PosixError(ENOTDIR)
    count = min(count & 0xFFFF_FFFF, 1 << 20)
    image = bytearray()
    taken = 0
    listing = await entries(max(count // 24, 1))
    for entry in listing:
        length = (19 + len(entry.name) + 1 + 7) & ~7
        if len(image) + length > count:
            if not taken:
                raise PosixError(EINVAL)
            break
        image += struct.pack("<QqHB", entry.ino, entry.cookie, length, entry.kind)
        image += entry.name.ljust(length - 19, b"\0")
        taken += 1
    if image:
        await t.copyout(buffer, bytes(image))
        file.take_entries(taken)  # type: ignore[attr-defined]
    return len(image)
