"""Descriptors and data: open, close, read, write, seek, dup, fcntl, getdents."""

from __future__ import annotations

import struct
from errno import EBADF, EFAULT, EINVAL, EISDIR, ELOOP, ENOTDIR, ENXIO, EOVERFLOW, EPERM, ESPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    At,
    DropLocks,
    Foreign,
    LockFile,
    LockRange,
    Open,
    Opened,
    RangeLock,
    Release,
    Seals,
    StatNode,
    TestLock,
)
from services.proc.abi import (
    O_ACCMODE,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOATIME,
    O_NOCTTY,
    O_NONBLOCK,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RLIMIT_NOFILE,
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


async def _buffers(t: Thread, vaddr: int, count: int, write: bool) -> list[Extent]:
    """Extents of a buffer, cut at the first page that is not accessible; EFAULT if none is."""
    try:
        return await t.extents(vaddr, count, write)
    except PosixError:
        room = 4096 - (vaddr & 4095)
        if count <= room:
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


async def transfer(
    t: Thread, file: OpenFile, vaddr: int, count: int, offset: int | None, write: bool
) -> int:
    """Move up to `count` bytes between a user buffer and a file, in chunks."""
    if count > MAX_TRANSFER_BYTES:
        if s64(count) < 0:
            raise PosixError(EFAULT)
        count = MAX_TRANSFER_BYTES
    move = file.write if write else file.read
    if count <= CHUNK_BYTES:
        extents = await _buffers(t, vaddr, count, not write) if count else []
        return await move(t, extents, offset)
    done = 0
    while done < count:
        want = min(CHUNK_BYTES, count - done)
        try:
            extents = await _buffers(t, vaddr + done, want, not write)
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
        except Exception:
            extents = await _buffers(t, buffer, count, True)
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
        except Exception:
            extents = await _buffers(t, buffer, count, False)
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
    if total <= CHUNK_BYTES:
        extents: list[Extent] = []
        for start, length in vectors:
            try:
                extents += await _buffers(t, start, length, not write)
            except PosixError:
                if not extents:
                    raise
                break
        return await (file.write if write else file.read)(t, extents, offset)
    done = 0
    for start, length in vectors:
        at = None if offset is None else offset + done
        moved = await transfer(t, file, start, length, at, write)
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


# dup and fcntl -------------------------------------------------------------------------------


@syscall(32, "dup")
def sys_dup(t: Thread, fd: int) -> int:
    """dup(2)."""
    return t.install(t.file(fd), False)


async def _dup_to(t: Thread, old: int, new: int, cloexec: bool) -> int:
    table = t.process.descriptors
    assert table is not None
    file, new = t.file(old), new & 0xFFFF_FFFF
    if new >= t.process.limit(RLIMIT_NOFILE):
        raise PosixError(EBADF)
    replaced = table.replace(new, file, cloexec)
    if replaced is not None:
        await release_locks(t.process, replaced.node())
        await drop(replaced, t)
    return new


@syscall(33, "dup2")
async def sys_dup2(t: Thread, old: int, new: int) -> int:
    """dup2(2)."""
    if old & 0xFFFF_FFFF == new & 0xFFFF_FFFF:
        t.file(old)
        return new & 0xFFFF_FFFF
    return await _dup_to(t, old, new, False)


@syscall(292, "dup3")
async def sys_dup3(t: Thread, old: int, new: int, flags: int) -> int:
    """dup3(2)."""
    if flags & ~O_CLOEXEC & 0xFFFF_FFFF or old & 0xFFFF_FFFF == new & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    return await _dup_to(t, old, new, bool(flags & O_CLOEXEC))


F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = 0, 1, 2, 3, 4
F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN = 5, 6, 7, 8, 9
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ = 1030, 1031, 1032
F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SETTABLE = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK
F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
_FLOCK = struct.Struct("<hh4xqqi4x")


@syscall(72, "fcntl")
async def sys_fcntl(t: Thread, fd: int, command: int, argument: int) -> int:
    """fcntl(2)."""
    file, command = t.file(fd), s32(command)
    table = t.process.descriptors
    assert table is not None
    if command in (F_DUPFD, F_DUPFD_CLOEXEC):
        if argument >= t.process.limit(RLIMIT_NOFILE):
            raise PosixError(EINVAL)
        return t.install(file, command == F_DUPFD_CLOEXEC, argument)
    if command == F_GETFD:
        return int(table.slots[fd & 0xFFFF_FFFF].cloexec)
    if command == F_SETFD:
        table.slots[fd & 0xFFFF_FFFF].cloexec = bool(argument & 1)
        return 0
    if command == F_GETFL:
        return file.flags
    if file.flags & O_PATH:
        raise PosixError(EBADF)
    if command == F_SETFL:
        file.flags = file.flags & ~SETTABLE | argument & SETTABLE
        return 0
    return await _fcntl_rare(t, file, command, argument)


async def _fcntl_rare(t: Thread, file: OpenFile, command: int, argument: int) -> int:
    if command in (F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW):
        return await _record_lock(t, file, command, argument)
    if command in (F_SETPIPE_SZ, F_GETPIPE_SZ):
        resize = getattr(file, "resize", None)
        if resize is None:
            raise PosixError(EBADF)
        return int(resize(s32(argument) if command == F_SETPIPE_SZ else None))
    if command in (F_ADD_SEALS, F_GET_SEALS):
        node = file.node()
        if node is None:
            raise PosixError(EINVAL)
        if command == F_ADD_SEALS and not file.writable:
            raise PosixError(EPERM)
        return await t.kernel.fs.call(Seals(node, argument if command == F_ADD_SEALS else 0))
    raise PosixError(EINVAL)


async def _lock_range(t: Thread, file: FsFile, image: tuple[int, ...], pid: int) -> RangeLock:
    """The range that a struct flock names: EINVAL, EOVERFLOW."""
    kind, whence, start, length = image
    if whence == 1:
        start += file.offset
    elif whence == 2:
        start += (await t.kernel.fs.call(StatNode(file.node()))).size
    elif whence:
        raise PosixError(EINVAL)
    if length < 0:
        start, length = start + length, -length
    if start < 0 or kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
        raise PosixError(EINVAL)
    if start + length > 1 << 63:
        raise PosixError(EOVERFLOW)
    return RangeLock(kind == F_WRLCK, start, start + length if length else None, pid)


async def _record_lock(t: Thread, file: OpenFile, command: int, argument: int) -> int:
    kind, whence, start, length, pid = _FLOCK.unpack(await t.copyin(argument, _FLOCK.size))
    if not isinstance(file, FsFile):
        raise PosixError(EBADF)
    ofd = command >= F_OFD_GETLK
    if ofd and pid:
        raise PosixError(EINVAL)
    owner = f"file {id(file)}" if ofd else f"process {t.process.pid}"
    shown = -1 if ofd else t.process.pid
    lock = await _lock_range(t, file, (kind, whence, start, length), shown)
    node = file.node()
    if command in (F_GETLK, F_OFD_GETLK):
        if kind == F_UNLCK:
            raise PosixError(EINVAL)
        other = await t.kernel.fs.call(TestLock(node, owner, lock))
        if other is None:
            image = _FLOCK.pack(F_UNLCK, whence, start, length, pid)
        else:
            size = 0 if other.end is None else other.end - other.start
            image = _FLOCK.pack(int(other.write), 0, other.start, size, other.pid)
        await t.copyout(argument, image)
        return 0
    if (kind == F_RDLCK and not file.readable) or (kind == F_WRLCK and not file.writable):
        raise PosixError(EBADF)
    t.kernel.extra["record_locks"] = True
    file.flocked |= ofd
    wait = command in (F_SETLKW, F_OFD_SETLKW)
    call = t.kernel.fs.call(LockRange(node, owner, lock, kind == F_UNLCK, wait))
    await (t.interruptible(call) if wait else call)
    return 0


@syscall(73, "flock")
async def sys_flock(t: Thread, fd: int, operation: int) -> int:
    """flock(2): SH=1, EX=2, NB=4, UN=8."""
    file = t.file(fd)
    node = file.node()
    if node is None or not isinstance(file, FsFile) or file.flags & O_PATH:
        raise PosixError(EBADF)
    kind, wait = operation & ~4, not operation & 4
    if kind not in (1, 2, 8):
        raise PosixError(EINVAL)
    file.flocked = True
    exclusive = None if kind == 8 else kind == 2
    call = t.kernel.fs.call(LockFile(node, f"file {id(file)}", exclusive, wait))
    await (t.interruptible(call) if wait and kind != 8 else call)
    return 0


@syscall(16, "ioctl")
async def sys_ioctl(t: Thread, fd: int, command: int, argument: int) -> int:
    """ioctl(2): FIOCLEX, FIONCLEX, FIONBIO for all; the rest is the file's own."""
    file, command = t.file(fd), command & 0xFFFF_FFFF
    table = t.process.descriptors
    assert table is not None
    if file.flags & O_PATH:
        raise PosixError(EBADF)
    if command in (0x5450, 0x5451):
        table.slots[fd & 0xFFFF_FFFF].cloexec = command == 0x5451
        return 0
    if command == 0x5421:
        (value,) = struct.unpack("<i", await t.copyin(argument, 4))
        file.flags = file.flags & ~O_NONBLOCK | (O_NONBLOCK if value else 0)
        return 0
    return await file.ioctl(t, command, argument)


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


__all__ = ["EISDIR", "DropLocks", "adopt", "close_fd", "install", "open_path", "transfer"]
