"""Scheduling: policies, affinity, getcpu, membarrier."""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING

import trio

from bus.errors import PosixError
from services.proc.calls.ids import find
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Thread


@syscall(24, "sched_yield", bound=0)
async def sys_sched_yield(t: Thread) -> int:
    """sched_yield(2)."""
    await trio.lowlevel.checkpoint()
    return 0


@syscall(204, "sched_getaffinity")
async def sys_sched_getaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_getaffinity(2): one core."""
    find(t, pid)
    if size < 8 or size & 7:
        raise PosixError(EINVAL)
    await t.copyout(mask, struct.pack("<Q", 1))
    return 8


@syscall(203, "sched_setaffinity")
async def sys_sched_setaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_setaffinity(2): the mask must hold the one core that there is."""
    find(t, pid)
    raw = await t.copyin(mask, min(size, 128))
    if not raw or not raw[0] & 1:
        raise PosixError(EINVAL)
    return 0


@syscall(309, "getcpu")
async def sys_getcpu(t: Thread, cpu: int, node: int, cache: int) -> int:
    """getcpu(2)."""
    for where in (cpu, node):
        if where:
            await t.copyout(where, bytes(4))
    return 0


@syscall(145, "sched_getscheduler")
def sys_sched_getscheduler(t: Thread, pid: int) -> int:
    """sched_getscheduler(2): SCHED_OTHER."""
    find(t, pid)
    return 0


@syscall(144, "sched_setscheduler", support=PARTIAL, note="SCHED_OTHER alone")
async def sys_sched_setscheduler(t: Thread, pid: int, policy: int, parameter: int) -> int:
    """sched_setscheduler(2)."""
    find(t, pid)
    (priority,) = struct.unpack("<i", await t.copyin(parameter, 4))
    if priority or policy & 0xFFFF_FFFF not in (0, 3, 5):
        raise PosixError(EPERM if policy in (1, 2) else EINVAL)
    return 0


@syscall(143, "sched_getparam")
async def sys_sched_getparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_getparam(2)."""
    find(t, pid)
    if not parameter:
        raise PosixError(EINVAL)
    await t.copyout(parameter, bytes(4))
    return 0


@syscall(142, "sched_setparam")
async def sys_sched_setparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_setparam(2): priority 0, as SCHED_OTHER has it."""
    find(t, pid)
    if not parameter:
        raise PosixError(EINVAL)
    if struct.unpack("<i", await t.copyin(parameter, 4))[0]:
        raise PosixError(EINVAL)
    return 0


def _range(policy: int, values: tuple[int, int]) -> int:
    policy &= 0xFFFF_FFFF
    if policy in (1, 2):
        return values[1]
    if policy in (0, 3, 5, 6):
        return values[0]
    raise PosixError(EINVAL)


@syscall(146, "sched_get_priority_max", bound=0)
def sys_sched_get_priority_max(t: Thread, policy: int) -> int:
    """sched_get_priority_max(2)."""
    return _range(policy, (0, 99))


@syscall(147, "sched_get_priority_min", bound=0)
def sys_sched_get_priority_min(t: Thread, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return _range(policy, (0, 1))
