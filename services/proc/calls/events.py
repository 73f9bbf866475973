"""eventfd(2), timerfd_create(2), signalfd(2), inotify(7)."""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME
from services.fs.api import Access, Foreign, Release, Resolve, Unwatch, Watch, WatchQueue
from services.proc.abi import AT_FDCWD, O_CLOEXEC, O_NONBLOCK, s32
from services.proc.calls import paths
from services.proc.calls.files import install
from services.proc.files.eventfd import EventFile
from services.proc.files.inotify import InotifyFile
from services.proc.files.signalfd import SignalFile
from services.proc.files.timerfd import TimerFile
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

EFD_SEMAPHORE = 1
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
CLOCKS = {0: REALTIME, 1: MONOTONIC, 7: BOOTTIME, 8: REALTIME, 9: BOOTTIME}
NS_PER_S = 1_000_000_000
FAR_NS = 1 << 62
SIGSET_BYTES = 8
R_OK = 4
IN_DONT_FOLLOW, IN_ONLYDIR = 1 << 25, 1 << 24
IN_KNOWN = 0xFFF | 0x2000 | 0x4000 | 0x8000 | 0xF700_0000


def _status_flags(flags: int, extra: int = 0) -> int:
    """Check the flags that all of these calls share (their values are those of open(2))."""
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK | extra):
        raise PosixError(EINVAL)
    return flags & O_NONBLOCK


# eventfd -------------------------------------------------------------------------------------


@syscall(290, "eventfd2")
async def sys_eventfd2(t: Thread, count: int, flags: int) -> int:
    """eventfd(2)."""
    status = _status_flags(flags, EFD_SEMAPHORE)
    file = EventFile(count & 0xFFFF_FFFF, status, bool(flags & EFD_SEMAPHORE))
    return await install(t, file, bool(flags & O_CLOEXEC))


@syscall(284, "eventfd")
async def sys_eventfd(t: Thread, count: int) -> int:
    """eventfd(2) before it had flags."""
    return await install(t, EventFile(count & 0xFFFF_FFFF, 0, False), False)


# timerfd -------------------------------------------------------------------------------------


@syscall(283, "timerfd_create")
async def sys_timerfd_create(t: Thread, clock: int, flags: int) -> int:
    """timerfd_create(2); the _ALARM clocks wake no machine from sleep."""
    status = _status_flags(flags)
    number = CLOCKS.get(s32(clock))
    if number is None:
        raise PosixError(EINVAL)
    return await install(t, TimerFile(t.kernel, number, status), bool(flags & O_CLOEXEC))


def _timer(t: Thread, fd: int) -> TimerFile:
    file = t.file(fd)
    if type(file) is not TimerFile:
        raise PosixError(EINVAL)
    return file


def _itimerspec(left_ns: int, interval_ns: int) -> bytes:
    return struct.pack("<qqqq", *divmod(interval_ns, NS_PER_S), *divmod(left_ns, NS_PER_S))


@syscall(286, "timerfd_settime", support=PARTIAL, note="TFD_TIMER_CANCEL_ON_SET never cancels")
async def sys_timerfd_settime(t: Thread, fd: int, flags: int, new: int, old: int) -> int:
    """timerfd_settime(2)."""
    fields = struct.unpack("<qqqq", await t.copyin(new, 32))
    flags &= 0xFFFF_FFFF
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise PosixError(EINVAL)
    if min(fields) < 0 or fields[1] >= NS_PER_S or fields[3] >= NS_PER_S:
        raise PosixError(EINVAL)
    interval = min(fields[0] * NS_PER_S + fields[1], FAR_NS)
    value = min(fields[2] * NS_PER_S + fields[3], FAR_NS)
    before = await _timer(t, fd).set(value, interval, bool(flags & TFD_TIMER_ABSTIME))
    if old:
        await t.copyout(old, _itimerspec(*before))
    return 0


@syscall(287, "timerfd_gettime")
async def sys_timerfd_gettime(t: Thread, fd: int, where: int) -> int:
    """timerfd_gettime(2)."""
    await t.copyout(where, _itimerspec(*await _timer(t, fd).get()))
    return 0


# signalfd ------------------------------------------------------------------------------------


async def _signalfd(t: Thread, fd: int, mask: int, size: int, flags: int) -> int:
    if size != SIGSET_BYTES:
        raise PosixError(EINVAL)
    signals = int.from_bytes(await t.copyin(mask, SIGSET_BYTES), "little")
    status = _status_flags(flags)
    if s32(fd) == -1:
        return await install(t, SignalFile(signals, status), bool(flags & O_CLOEXEC))
    file = t.file(fd)
    if type(file) is not SignalFile:
        raise PosixError(EINVAL)
    file.set_mask(signals)
    file.queue.wake()
    return s32(fd)


@syscall(289, "signalfd4")
async def sys_signalfd4(t: Thread, fd: int, mask: int, size: int, flags: int) -> int:
    """signalfd(2)."""
    return await _signalfd(t, fd, mask, size, flags)


@syscall(282, "signalfd")
async def sys_signalfd(t: Thread, fd: int, mask: int, size: int) -> int:
    """signalfd(2) before it had flags."""
    return await _signalfd(t, fd, mask, size, 0)


# inotify -------------------------------------------------------------------------------------


async def _inotify_init(t: Thread, flags: int) -> int:
    status = _status_flags(flags)
    number = await t.kernel.fs.call(WatchQueue())
    return await install(t, InotifyFile(t.kernel.fs, number, status), bool(flags & O_CLOEXEC))


@syscall(294, "inotify_init1")
async def sys_inotify_init1(t: Thread, flags: int) -> int:
    """inotify_init(2)."""
    return await _inotify_init(t, flags)


@syscall(253, "inotify_init")
async def sys_inotify_init(t: Thread) -> int:
    """inotify_init(2) before it had flags."""
    return await _inotify_init(t, 0)


def _queue(t: Thread, fd: int) -> InotifyFile:
    file = t.file(fd)
    if type(file) is not InotifyFile:
        raise PosixError(EINVAL)
    return file


@syscall(254, "inotify_add_watch", bound=64 << 10, support=PARTIAL, note="/proc: EINVAL")
async def sys_inotify_add_watch(t: Thread, fd: int, path: int, mask: int) -> int:
    """inotify_add_watch(2); files of /proc cannot be watched."""
    mask &= 0xFFFF_FFFF
    if not mask & IN_KNOWN:
        raise PosixError(EINVAL)
    file = _queue(t, fd)
    name = await paths.path_at(t, path)
    at, cred = paths.base(t, AT_FDCWD, name), t.process.credentials.cred
    follow = not mask & IN_DONT_FOLLOW
    await paths.walk(t, at, name, lambda at, path: Access(at, path, R_OK, cred, follow))
    found = await paths.walk(
        t,
        at,
        name,
        lambda at, path: Resolve(at, path, cred, follow, bool(mask & IN_ONLYDIR)),
    )
    if isinstance(found, Foreign):
        raise PosixError(EINVAL)
    try:
        return await t.kernel.fs.call(Watch(file.number, found.node, mask))
    finally:
        await t.kernel.fs.call(Release(found.node))


@syscall(255, "inotify_rm_watch")
async def sys_inotify_rm_watch(t: Thread, fd: int, watch: int) -> int:
    """inotify_rm_watch(2)."""
    await t.kernel.fs.call(Unwatch(_queue(t, fd).number, s32(watch)))
    return 0
