"""Futexes (futex(2)): wait queues named by an address in memory.

A private futex is named by (space, vaddr). One in a shared mapping is named by its physical frame,
so that processes which map the same page meet. The value is read and the waiter registered without
an await between them, which on one core makes them atomic.
"""

from __future__ import annotations

import struct
from errno import EAGAIN, EFAULT, EINVAL, ENOSYS, ETIMEDOUT
from typing import TYPE_CHECKING

import attrs

from bus.census import kind
from bus.errors import PosixError
from services.proc.park import INTERRUPTED, TIMED_OUT, Interrupted
from services.vm.api import USER_TOP

if TYPE_CHECKING:
    from services.proc.task import Thread

Key = tuple[int, int]
ANY_BITS = 0xFFFF_FFFF
WAITERS, OWNER_DIED, TID_MASK = 0x8000_0000, 0x4000_0000, 0x3FFF_FFFF
ROBUST_LIMIT = 2048
WAITER = kind("proc", "futex waiter")


@attrs.define(eq=False)
class Waiter:
    """A thread in FUTEX_WAIT; `key` changes when it is requeued, and is None once woken."""

    thread: Thread
    bits: int
    key: Key | None

    def __attrs_pre_init__(self) -> None:
        WAITER.made()

    def __del__(self) -> None:
        WAITER.freed()


async def key_of(thread: Thread, vaddr: int, private: bool) -> Key:
    """The name of the futex at `vaddr`: its place in the space, or in memory that is shared.

    A futex in private memory is the space's own whatever the caller says: its frame changes when
    a copy is made on write.
    """
    if vaddr & 3:
        raise PosixError(EINVAL)
    space = thread.space
    if private:
        if vaddr >= USER_TOP:
            raise PosixError(EFAULT)
        return space.number, vaddr
    await thread.extents(vaddr, 4, False)
    paddr = space.memory.shared_paddr(vaddr)
    return (space.number, vaddr) if paddr is None else (-1, paddr)


async def wait(
    thread: Thread, vaddr: int, value: int, private: bool, deadline_ns: int | None, bits: int
) -> int:
    """FUTEX_WAIT(_BITSET): sleep while the word is `value`."""
    key = await key_of(thread, vaddr, private)
    word = await thread.copyin(vaddr, 4)
    if int.from_bytes(word, "little") != value & 0xFFFF_FFFF:
        raise PosixError(EAGAIN)
    table = thread.kernel.futexes
    parker = thread.parker
    parker.arm()
    if thread.work and thread.kernel.interrupts(thread):
        raise Interrupted
    waiter = Waiter(thread, bits, key)
    table.setdefault(key, {})[waiter] = None
    timer = None
    if deadline_ns is not None:
        timer = thread.kernel.timers.at(deadline_ns, lambda: parker.unpark(TIMED_OUT))
    try:
        why = await parker.park()
    finally:
        if timer is not None:
            timer.cancel()
        woken = waiter.key is None
        _remove(table, waiter)
    if woken:
        return 0
    if why == INTERRUPTED:
        raise Interrupted
    raise PosixError(ETIMEDOUT)


def _remove(table: dict[Key, dict[Waiter, None]], waiter: Waiter) -> None:
    if waiter.key is not None:
        queue = table[waiter.key]
        del queue[waiter]
        if not queue:
            del table[waiter.key]
        waiter.key = None


def _wake(table: dict[Key, dict[Waiter, None]], key: Key, count: int, bits: int) -> int:
    queue = table.get(key)
    if not queue:
        return 0
    woken = 0
    for waiter in list(queue):
        if woken >= count:
            break
        if waiter.bits & bits:
            _remove(table, waiter)
            waiter.thread.parker.notify(0)
            woken += 1
    return woken


async def wake(thread: Thread, vaddr: int, count: int, private: bool, bits: int = ANY_BITS) -> int:
    """FUTEX_WAKE(_BITSET): wake up to `count` waiters, oldest first."""
    key = await key_of(thread, vaddr, private)
    return _wake(thread.kernel.futexes, key, count, bits)


async def wake_address(thread: Thread, vaddr: int, count: int) -> None:
    """Wake by both names: the kernel's own wake-ups (exit) do not know how the word is used."""
    woken = await wake(thread, vaddr, count, private=True)
    if woken < count:
        await wake(thread, vaddr, count - woken, private=False)


async def requeue(
    thread: Thread,
    vaddr: int,
    counts: tuple[int, int],
    target: int,
    private: bool,
    value: int | None,
) -> int:
    """FUTEX_(CMP_)REQUEUE: wake `counts[0]`, move up to `counts[1]` others to `target`."""
    key, goal = await key_of(thread, vaddr, private), await key_of(thread, target, private)
    if value is not None:
        word = await thread.copyin(vaddr, 4)
        if int.from_bytes(word, "little") != value & 0xFFFF_FFFF:
            raise PosixError(EAGAIN)
    table = thread.kernel.futexes
    woken = _wake(table, key, counts[0], ANY_BITS)
    moved = 0
    for waiter in list(table.get(key, ())):
        if moved >= counts[1]:
            break
        _remove(table, waiter)
        waiter.key = goal
        table.setdefault(goal, {})[waiter] = None
        moved += 1
    return woken + moved if value is not None else woken


_OPERATIONS = ("set", "add", "or", "andn", "xor")


async def wake_op(
    thread: Thread, vaddr: int, counts: tuple[int, int], second: int, private: bool, encoded: int
) -> int:
    """FUTEX_WAKE_OP: change the second word, wake the first, and the second if it compares."""
    operation, comparison = encoded >> 28 & 0xF, encoded >> 24 & 0xF
    argument, against = _signed12(encoded >> 12), _signed12(encoded)
    if operation & 8:
        argument = 1 << (argument & 31)
    operation &= 7
    if operation > 4 or comparison > 5:
        raise PosixError(ENOSYS)
    await thread.extents(second, 4, True)
    old = struct.unpack("<i", await thread.copyin(second, 4))[0]
    new = (argument, old + argument, old | argument, old & ~argument, old ^ argument)[operation]
    await thread.copyout(second, (new & 0xFFFF_FFFF).to_bytes(4, "little"))
    woken = await wake(thread, vaddr, counts[0], private)
    holds = (
        old == against, old != against, old < against, old <= against, old > against,
        old >= against,
    )[comparison]  # fmt: skip
    if holds:
        woken += await wake(thread, second, counts[1], private)
    return woken


def _signed12(value: int) -> int:
    value &= 0xFFF
    return value - 0x1000 if value & 0x800 else value


async def exit_robust(thread: Thread) -> None:
    """Mark the robust futexes that the thread still holds (get_robust_list(2))."""
    head, _ = thread.robust_list
    if not head:
        return
    entry, offset, pending = struct.unpack("<QqQ", await thread.copyin(head, 24))
    for _ in range(ROBUST_LIMIT):
        if entry & ~1 == head:
            break
        if entry != pending:
            await _owner_died(thread, (entry & ~1) + offset)
        (entry,) = struct.unpack("<Q", await thread.copyin(entry & ~1, 8))
    if pending:
        await _owner_died(thread, (pending & ~1) + offset)


async def _owner_died(thread: Thread, vaddr: int) -> None:
    word = int.from_bytes(await thread.copyin(vaddr, 4), "little")
    if word & TID_MASK != thread.tid:
        return
    await thread.copyout(vaddr, (word & WAITERS | OWNER_DIED).to_bytes(4, "little"))
    if word & WAITERS:
        await wake_address(thread, vaddr, 1)
