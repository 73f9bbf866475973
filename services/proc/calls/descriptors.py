"""Descriptors as such: dup, fcntl, locks, ioctl."""

from __future__ import annotations

import struct
from errno import EBADF, EINVAL, ENOTTY, EOVERFLOW, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    LockFile,
    LockRange,
    RangeLock,
    Seals,
    StatNode,
    TestLock,
)
from services.proc.abi import (
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    RLIMIT_NOFILE,
    s32,
)
from services.proc.descriptors import OpenFile, drop
from services.proc.files import sigio
from services.proc.files.fsfile import FsFile
from services.proc.lifecycle import release_locks
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread


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
F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX = 10, 11, 15, 16
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
        before = file.flags
        file.flags = before & ~SETTABLE | argument & SETTABLE
        if (before | argument) & O_ASYNC:
            sigio.set_async(t, file, bool(argument & O_ASYNC))
        return 0
    if command in (F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX):
        return await _fcntl_signals(t, file, fd, command, argument)
    return await _fcntl_rare(t, file, command, argument)


async def _fcntl_signals(t: Thread, file: OpenFile, fd: int, command: int, argument: int) -> int:
    """Who is signalled when something happens, and by what."""
    if command == F_SETOWN:
        sigio.set_owner(t, file, s32(argument))
    elif command == F_GETOWN:
        return sigio.owner_of(file)
    elif command == F_SETSIG:
        sigio.set_signal(t, file, s32(argument), s32(fd))
    elif command == F_GETSIG:
        return file.sigio.signal if file.sigio is not None else 0
    elif command == F_SETOWN_EX:
        kind, owner = struct.unpack("<ii", await t.copyin(argument, 8))
        if not sigio.OWNER_THREAD <= kind <= sigio.OWNER_GROUP:
            raise PosixError(EINVAL)
        sigio.of(t, file).own(t, kind, owner)
    else:
        kind = file.sigio.kind if file.sigio is not None else sigio.OWNER_THREAD
        owner = file.sigio.owner if file.sigio is not None else 0
        await t.copyout(argument, struct.pack("<ii", kind, owner))
    return 0


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


FIOASYNC = 0x5452


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
    if command == FIOASYNC:
        (value,) = struct.unpack("<i", await t.copyin(argument, 4))
        if file.queue is None:
            raise PosixError(ENOTTY)
        sigio.set_async(t, file, bool(value))
        return 0
    return await file.ioctl(t, command, argument)
