"""Scheduling: policies, affinity, getcpu, membarrier."""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL, EPERM
from typing import TYPE_CHECKING

import attrs
import trio

from bus.errors import PosixError
from services.proc.abi import RLIMIT_RTPRIO, s32
from services.proc.calls.clock import pack_timespec
from services.proc.calls.ids import find, find_thread, same_owner
from services.proc.calls.limits import may_nice
from services.proc.capabilities import CAP_SYS_NICE
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

OTHER, FIFO, RR, BATCH, IDLE, DEADLINE, EXT = 0, 1, 2, 3, 5, 6, 7
FAIR, REAL_TIME = (OTHER, BATCH, IDLE), (FIFO, RR)
RESET_ON_FORK = 0x4000_0000
RT_MAX = 99
RR_INTERVAL_NS = 100_000_000


@syscall(24, "sched_yield", bound=0)
async def sys_sched_yield(t: Thread) -> int:
    """sched_yield(2)."""
    await trio.lowlevel.checkpoint()
    return 0


# Policies -------------------------------------------------------------------------------------


def _set_policy(t: Thread, target: Thread, policy: int, priority: int, reset: bool) -> None:
    """Give a thread a policy, as far as the caller may (sched(7)). EINVAL, EPERM."""
    if policy not in FAIR + REAL_TIME or not 0 <= priority <= RT_MAX:
        raise PosixError(EINVAL)
    if (policy in REAL_TIME) != bool(priority):
        raise PosixError(EINVAL)
    old = target.scheduling
    if not t.process.credentials.can(CAP_SYS_NICE):
        limit = target.process.limit(RLIMIT_RTPRIO)
        too_high = (policy != old.policy and not limit) or priority > max(old.priority, limit)
        leaves_idle = old.policy == IDLE and policy != IDLE
        if policy in REAL_TIME and too_high:
            raise PosixError(EPERM)
        if leaves_idle or not same_owner(t, target.process) or (old.reset_on_fork and not reset):
            raise PosixError(EPERM)
    target.scheduling = attrs.evolve(old, policy=policy, priority=priority, reset_on_fork=reset)


@syscall(145, "sched_getscheduler")
def sys_sched_getscheduler(t: Thread, pid: int) -> int:
    """sched_getscheduler(2)."""
    shown = find_thread(t, pid).scheduling
    return shown.policy | (RESET_ON_FORK if shown.reset_on_fork else 0)


@syscall(
    144, "sched_setscheduler", support=PARTIAL, note="kept and shown; the core is shared fairly"
)
async def sys_sched_setscheduler(t: Thread, pid: int, policy: int, parameter: int) -> int:
    """sched_setscheduler(2)."""
    number = s32(policy)
    if number < 0 or not parameter or s32(pid) < 0:
        raise PosixError(EINVAL)
    (priority,) = struct.unpack("<i", await t.copyin(parameter, 4))
    reset = bool(number & RESET_ON_FORK)
    _set_policy(t, find_thread(t, pid), number & ~RESET_ON_FORK, priority, reset)
    return 0


@syscall(143, "sched_getparam")
async def sys_sched_getparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_getparam(2)."""
    if not parameter:
        raise PosixError(EINVAL)
    priority = find_thread(t, pid).scheduling.priority
    await t.copyout(parameter, struct.pack("<i", priority))
    return 0


@syscall(142, "sched_setparam")
async def sys_sched_setparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_setparam(2): another priority under the policy that there is."""
    if not parameter or s32(pid) < 0:
        raise PosixError(EINVAL)
    (priority,) = struct.unpack("<i", await t.copyin(parameter, 4))
    target = find_thread(t, pid)
    old = target.scheduling
    _set_policy(t, target, old.policy, priority, old.reset_on_fork)
    return 0


_ATTRIBUTES = struct.Struct("<IIQiIQQQII")
"""struct sched_attr: size, policy, flags, nice, priority, three of SCHED_DEADLINE, two clamps."""
ATTRIBUTES_FIRST, ATTRIBUTES_MOST = 48, 4096
FLAG_RESET_ON_FORK, FLAG_KEEP_POLICY, FLAG_KEEP_PARAMS = 1, 8, 16


@syscall(315, "sched_getattr")
async def sys_sched_getattr(t: Thread, pid: int, where: int, size: int, flags: int) -> int:
    """sched_getattr(2)."""
    size &= 0xFFFF_FFFF
    if not where or s32(pid) < 0 or flags & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    if not ATTRIBUTES_FIRST <= size <= ATTRIBUTES_MOST:
        raise PosixError(EINVAL)
    target = find_thread(t, pid)
    shown, known = target.scheduling, min(size, _ATTRIBUTES.size)
    fair = shown.policy in FAIR
    reset = FLAG_RESET_ON_FORK if shown.reset_on_fork else 0
    nice = target.process.nice if fair else 0
    image = _ATTRIBUTES.pack(known, shown.policy, reset, nice, shown.priority, 0, 0, 0, 0, 1024)
    await t.copyout(where, image[:known].ljust(size, b"\0"))
    return 0


@syscall(314, "sched_setattr", support=PARTIAL, note="no SCHED_DEADLINE, no utilization clamps")
async def sys_sched_setattr(t: Thread, pid: int, where: int, flags: int) -> int:
    """sched_setattr(2)."""
    if not where or s32(pid) < 0 or flags & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    (size,) = struct.unpack("<I", await t.copyin(where, 4))
    size = size or ATTRIBUTES_FIRST
    if not ATTRIBUTES_FIRST <= size <= ATTRIBUTES_MOST:
        await t.copyout(where, struct.pack("<I", _ATTRIBUTES.size))
        raise PosixError(E2BIG)
    raw = await t.copyin(where, size)
    if any(raw[_ATTRIBUTES.size :]):
        raise PosixError(E2BIG)
    fields = _ATTRIBUTES.unpack(raw[: _ATTRIBUTES.size].ljust(_ATTRIBUTES.size, b"\0"))
    policy, wanted, nice, priority = s32(fields[1]), fields[2], fields[3], fields[4]
    if policy < 0 or wanted & ~(FLAG_RESET_ON_FORK | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMS):
        raise PosixError(EINVAL)
    target = find_thread(t, pid)
    if wanted & FLAG_KEEP_POLICY:
        policy = target.scheduling.policy
    if wanted & FLAG_KEEP_PARAMS:
        nice, priority = target.process.nice, target.scheduling.priority
    nice = max(-20, min(19, nice))
    if policy in FAIR:
        may_nice(t, target.process, nice)
    _set_policy(t, target, policy, priority, bool(wanted & FLAG_RESET_ON_FORK))
    if policy in FAIR:
        target.process.nice = nice
    return 0


@syscall(148, "sched_rr_get_interval")
async def sys_sched_rr_get_interval(t: Thread, pid: int, where: int) -> int:
    """sched_rr_get_interval(2); like current kernels, 0 for all but SCHED_RR."""
    policy = find_thread(t, pid).scheduling.policy
    await t.copyout(where, pack_timespec(RR_INTERVAL_NS if policy == RR else 0))
    return 0


def _range(policy: int, of_real_time: int) -> int:
    number = s32(policy)
    if number in REAL_TIME:
        return of_real_time
    if number in (*FAIR, DEADLINE):
        return 0
    raise PosixError(EINVAL)


@syscall(146, "sched_get_priority_max", bound=0)
def sys_sched_get_priority_max(t: Thread, policy: int) -> int:
    """sched_get_priority_max(2)."""
    return _range(policy, RT_MAX)


@syscall(147, "sched_get_priority_min", bound=0)
def sys_sched_get_priority_min(t: Thread, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return _range(policy, 1)


# Processors -----------------------------------------------------------------------------------


@syscall(204, "sched_getaffinity")
async def sys_sched_getaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_getaffinity(2): one core."""
    if size < 8 or size & 7:
        raise PosixError(EINVAL)
    find(t, pid)
    await t.copyout(mask, struct.pack("<Q", 1))
    return 8


@syscall(203, "sched_setaffinity")
async def sys_sched_setaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_setaffinity(2): the mask must hold the one core that there is."""
    raw = await t.copyin(mask, min(size, 128))
    target = find(t, pid)
    if not same_owner(t, target) and not t.process.credentials.can(CAP_SYS_NICE):
        raise PosixError(EPERM)
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


_REGISTRATION = {2: 0, 8: 16, 32: 64}
"""Commands that expedite, and the command that must have announced them (0: none)."""
MEMBARRIER_QUERY, MEMBARRIER_KNOWN = 0, 0x7F


@syscall(324, "membarrier", bound=0)
def sys_membarrier(t: Thread, command: int, flags: int, cpu: int) -> int:
    """membarrier(2): one core runs one thread at a time, which orders everything."""
    command &= 0xFFFF_FFFF
    if flags & 0xFFFF_FFFF or command & ~MEMBARRIER_KNOWN or command & (command - 1):
        raise PosixError(EINVAL)
    if command == MEMBARRIER_QUERY:
        return MEMBARRIER_KNOWN
    announced = _REGISTRATION.get(command, 0)
    if announced and not t.process.barriers & announced:
        raise PosixError(EPERM)
    t.process.barriers |= command
    return 0
