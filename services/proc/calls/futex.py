"""Futexes, and what a thread leaves for those who wait for it."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOSYS, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc import futex
from services.proc.abi import s32
from services.proc.calls.clock import read_clock, read_timespec
from services.proc.procfs.access import may_trace
from services.proc.signals.core import RESTART_NOHAND
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

FUTEX_PRIVATE, FUTEX_CLOCK_REALTIME = 128, 256
WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET = 0, 1, 3, 4, 5, 9, 10


@syscall(202, "futex", restart=RESTART_NOHAND, support=PARTIAL, note="no PI futexes")
async def sys_futex(
    t: Thread, vaddr: int, operation: int, value: int, timeout: int, second: int, third: int
) -> int:
    """futex(2)."""
    private = bool(operation & FUTEX_PRIVATE)
    command = operation & 0x7F
    if operation & FUTEX_CLOCK_REALTIME and command != WAIT_BITSET:
        raise PosixError(ENOSYS)
    if command == WAKE:
        return await futex.wake(t, vaddr, max(s32(value), 1), private)
    if command in (WAIT, WAIT_BITSET):
        return await _futex_wait(t, vaddr, operation, value, timeout, third)
    if command == WAKE_BITSET:
        if not third & 0xFFFF_FFFF:
            raise PosixError(EINVAL)
        return await futex.wake(t, vaddr, max(s32(value), 1), private, third & 0xFFFF_FFFF)
    counts = (s32(value), s32(timeout))
    if command in (REQUEUE, CMP_REQUEUE):
        if min(counts) < 0:
            raise PosixError(EINVAL)
        expected = third if command == CMP_REQUEUE else None
        return await futex.requeue(t, vaddr, counts, second, private, expected)
    if command == WAKE_OP:
        return await futex.wake_op(t, vaddr, counts, second, private, third)
    raise PosixError(ENOSYS)


async def _futex_wait(
    t: Thread, vaddr: int, operation: int, value: int, timeout: int, bits: int
) -> int:
    private = bool(operation & FUTEX_PRIVATE)
    bitset = operation & 0x7F == WAIT_BITSET
    bits = bits & futex.ANY_BITS if bitset else futex.ANY_BITS
    if not bits:
        raise PosixError(EINVAL)
    deadline = None
    if timeout:
        wanted = await read_timespec(t, timeout)
        deadline = t.restart_deadline
        if deadline is None:
            now = await t.kernel.timers.now()
            if bitset:
                clock = 0 if operation & FUTEX_CLOCK_REALTIME else 1
                deadline = now + max(wanted - await read_clock(t, clock), 0)
            else:
                deadline = now + wanted
        t.restart_deadline = deadline
    result = await futex.wait(t, vaddr, value, private, deadline, bits)
    t.restart_deadline = None
    return result


@syscall(218, "set_tid_address", bound=0)
def sys_set_tid_address(t: Thread, where: int) -> int:
    """set_tid_address(2)."""
    t.clear_tid = where
    return t.tid


@syscall(273, "set_robust_list", bound=0)
def sys_set_robust_list(t: Thread, head: int, size: int) -> int:
    """set_robust_list(2)."""
    if size != 24:
        raise PosixError(EINVAL)
    t.robust_list = (head, size)
    return 0


@syscall(274, "get_robust_list")
async def sys_get_robust_list(t: Thread, tid: int, head: int, size: int) -> int:
    """get_robust_list(2)."""
    target = t.kernel.threads.get(s32(tid)) if s32(tid) else t
    if target is None:
        raise PosixError(ESRCH)
    if not may_trace(t.process, target.process):
        raise PosixError(EPERM)
    await t.copyout(size, struct.pack("<Q", 24))
    await t.copyout(head, struct.pack("<Q", target.robust_list[0]))
    return 0
