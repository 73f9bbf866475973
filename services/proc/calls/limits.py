"""Resource limits and priorities: getrlimit, prlimit, getpriority."""

from __future__ import annotations

import struct
from errno import EACCES, EFAULT, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc import cputimers
from services.proc.abi import RLIMIT_CPU, RLIMIT_NOFILE, s32
from services.proc.calls.ids import find
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Process, Thread

NR_OPEN = 1 << 20

# Limits --------------------------------------------------------------------------------------


async def _prlimit(t: Thread, process: Process, resource: int, new: int, old: int) -> int:
    resource &= 0xFFFF_FFFF
    if resource > 15:
        raise PosixError(EINVAL)
    before = process.limits[resource]
    if new:
        soft, hard = struct.unpack("<QQ", await t.copyin(new, 16))
        if soft > hard or (resource == RLIMIT_NOFILE and hard > NR_OPEN):
            raise PosixError(EINVAL if soft > hard else EPERM)
        if hard > before[1] and t.process.credentials.euid:
            raise PosixError(EPERM)
    if old:
        await t.copyout(old, struct.pack("<QQ", *before))
    if new:
        if resource == RLIMIT_CPU and not soft:
            soft = 1  # at once means after a second (kernel/sys.c)
        process.limits[resource] = (soft, hard)
        if resource == RLIMIT_CPU:
            cputimers.watch_limit(process)
    return 0


@syscall(97, "getrlimit")
async def sys_getrlimit(t: Thread, resource: int, old: int) -> int:
    """getrlimit(2)."""
    if resource & 0xFFFF_FFFF > 15:
        raise PosixError(EINVAL)
    await t.copyout(old, struct.pack("<QQ", *t.process.limits[resource & 0xFFFF_FFFF]))
    return 0


@syscall(160, "setrlimit")
async def sys_setrlimit(t: Thread, resource: int, new: int) -> int:
    """setrlimit(2)."""
    if not new:
        raise PosixError(EFAULT)
    return await _prlimit(t, t.process, resource, new, 0)


@syscall(302, "prlimit64")
async def sys_prlimit64(t: Thread, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit(2)."""
    process = find(t, pid)
    mine, theirs = t.process.credentials, process.credentials
    if process is not t.process and mine.euid and mine.ruid != theirs.ruid:
        raise PosixError(EPERM)
    return await _prlimit(t, process, resource, new, old)


# Priorities ----------------------------------------------------------------------------------


def _priority_targets(t: Thread, which: int, who: int) -> list[Process]:
    number = s32(who)
    if which == 0:
        return [find(t, who)]
    if which == 1:
        wanted = number or t.process.pgid
        return [p for p in t.kernel.processes.values() if p.pgid == wanted]
    if which == 2:
        uid = number or t.process.credentials.ruid
        return [p for p in t.kernel.processes.values() if p.credentials.ruid == uid]
    raise PosixError(EINVAL)


@syscall(140, "getpriority")
def sys_getpriority(t: Thread, which: int, who: int) -> int:
    """getpriority(2): the raw call replies with 20 - nice."""
    targets = _priority_targets(t, which & 0xFFFF_FFFF, who)
    if not targets:
        raise PosixError(ESRCH)
    return 20 - min(p.nice for p in targets)


@syscall(141, "setpriority", support=PARTIAL, note="kept and shown; the scheduler is fair to all")
def sys_setpriority(t: Thread, which: int, who: int, value: int) -> int:
    """setpriority(2)."""
    targets = _priority_targets(t, which & 0xFFFF_FFFF, who)
    nice = max(-20, min(19, s32(value)))
    if not targets:
        raise PosixError(ESRCH)
    for process in targets:
        if t.process.credentials.euid and nice < process.nice:
            raise PosixError(EACCES)
        process.nice = nice
    return 0
