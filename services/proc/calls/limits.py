"""Resource limits and priorities: getrlimit, prlimit, getpriority."""

from __future__ import annotations

import struct
from errno import EACCES, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.proc import cputimers
from services.proc.abi import RLIMIT_CPU, RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_STACK, s32
from services.proc.calls.ids import find, same_owner
from services.proc.capabilities import CAP_SYS_ADMIN, CAP_SYS_NICE, CAP_SYS_RESOURCE
from services.proc.table import PARTIAL, syscall
from services.vm.api import SetStackLimit

if TYPE_CHECKING:
    from services.proc.task import Process, Thread

NR_OPEN = 1 << 20

# Limits --------------------------------------------------------------------------------------


Limit = tuple[int, int]


async def _read_limit(t: Thread, where: int) -> Limit:
    soft, hard = struct.unpack("<QQ", await t.copyin(where, 16))
    return soft, hard


async def _set_limit(t: Thread, process: Process, resource: int, wanted: Limit | None) -> Limit:
    """Replace a limit, if one is wanted; replies with what it was. EINVAL, EPERM."""
    resource &= 0xFFFF_FFFF
    if resource >= len(process.limits):
        raise PosixError(EINVAL)
    before = process.limits[resource]
    if wanted is None:
        return before
    soft, hard = wanted
    if soft > hard:
        raise PosixError(EINVAL)
    if resource == RLIMIT_NOFILE and hard > NR_OPEN:
        raise PosixError(EPERM)
    if hard > before[1] and not t.process.credentials.can(CAP_SYS_RESOURCE):
        raise PosixError(EPERM)
    process.limits[resource] = wanted
    if resource == RLIMIT_CPU:
        cputimers.watch_limit(process)
    elif resource == RLIMIT_STACK and process.space is not None and not process.vfork_done:
        await t.kernel.vm.call(SetStackLimit(process.space.number, soft))
    return before


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
    await _set_limit(t, t.process, resource, await _read_limit(t, new))
    return 0


@syscall(302, "prlimit64")
async def sys_prlimit64(t: Thread, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit(2)."""
    wanted = await _read_limit(t, new) if new else None
    process = find(t, pid)
    mine, theirs = t.process.credentials, process.credentials
    same = {mine.ruid} == set(theirs.users) and {mine.rgid} == {
        theirs.rgid,
        theirs.egid,
        theirs.sgid,
    }
    if process is not t.process and not same and not mine.can(CAP_SYS_RESOURCE):
        raise PosixError(EPERM)
    before = await _set_limit(t, process, resource, wanted)
    if old:
        await t.copyout(old, struct.pack("<QQ", *before))
    return 0


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
        may_nice(t, process, nice)
        process.nice = nice
    return 0


def may_nice(t: Thread, process: Process, nice: int) -> None:
    """EPERM for another user's process, EACCES where RLIMIT_NICE forbids it."""
    if t.process.credentials.can(CAP_SYS_NICE):
        return
    if not same_owner(t, process):
        raise PosixError(EPERM)
    if nice < process.nice and 20 - nice > process.limit(RLIMIT_NICE):
        raise PosixError(EACCES)


# Input and output -----------------------------------------------------------------------------

IOPRIO_PROCESS, IOPRIO_GROUP, IOPRIO_USER = 1, 2, 3
IOPRIO_NONE, IOPRIO_REALTIME, IOPRIO_BEST_EFFORT, IOPRIO_IDLE = range(4)
IOPRIO_SHIFT, IOPRIO_KINDS = 13, 7


def _io_targets(t: Thread, which: int, who: int) -> list[Thread]:
    threads, number = t.kernel.threads, s32(who)
    if which == IOPRIO_PROCESS:
        found = [threads[number]] if number in threads else [] if number else [t]
    elif which == IOPRIO_GROUP:
        group = number or t.process.pgid
        found = [thread for thread in threads.values() if thread.process.pgid == group]
    elif which == IOPRIO_USER:
        user = number or t.process.credentials.ruid
        found = [thread for thread in threads.values() if thread.process.credentials.ruid == user]
    else:
        raise PosixError(EINVAL)
    if not found:
        raise PosixError(ESRCH)
    return found


@syscall(252, "ioprio_get")
def sys_ioprio_get(t: Thread, which: int, who: int) -> int:
    """ioprio_get(2): the highest of those meant; without one of its own, from the nice value."""
    best = None
    for thread in _io_targets(t, which & 0xFFFF_FFFF, who):
        shown = thread.scheduling.io_priority
        if not shown >> IOPRIO_SHIFT:
            level = (thread.process.nice + 20) // 5
            shown = IOPRIO_BEST_EFFORT << IOPRIO_SHIFT | level
        best = shown if best is None else min(best, shown)
    assert best is not None
    return best


@syscall(251, "ioprio_set", support=PARTIAL, note="kept and shown; there is no queue to order")
def sys_ioprio_set(t: Thread, which: int, who: int, value: int) -> int:
    """ioprio_set(2)."""
    value &= 0xFFFF_FFFF
    kind = value >> IOPRIO_SHIFT & IOPRIO_KINDS
    level = value & (1 << IOPRIO_SHIFT) - 1
    ids = t.process.credentials
    if kind > IOPRIO_IDLE or (kind == IOPRIO_NONE and level):
        raise PosixError(EINVAL)
    if kind == IOPRIO_REALTIME and not (ids.can(CAP_SYS_ADMIN) or ids.can(CAP_SYS_NICE)):
        raise PosixError(EPERM)
    for thread in _io_targets(t, which & 0xFFFF_FFFF, who):
        theirs = thread.process.credentials
        if theirs.ruid not in (ids.euid, ids.ruid) and not ids.can(CAP_SYS_NICE):
            raise PosixError(EPERM)
        io_priority = kind << IOPRIO_SHIFT | level
        thread.scheduling = attrs.evolve(thread.scheduling, io_priority=io_priority)
    return 0
