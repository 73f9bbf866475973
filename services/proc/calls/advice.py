"""What programs say of memory that they have: madvise, msync, mincore, mlock and their kin."""

from __future__ import annotations

from errno import EACCES, EFAULT, EINVAL, ENOMEM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import Allocate, Sync
from services.proc.abi import U64
from services.proc.calls.memory import PAGE, populate, round_up
from services.proc.table import syscall
from services.vm.api import (
    ACCESS_READ,
    ACCESS_WRITE,
    FORK_OMIT,
    FORK_WIPE,
    PROT_WRITE,
    USER_TOP,
    AtFork,
    CollectDirty,
    Discard,
    Regions,
    Resident,
)

if TYPE_CHECKING:
    from services.proc.task import Thread
    from services.vm.api import RegionInfo

MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTNEED_LOCKED = 4, 8, 9, 24
MADV_POPULATE_READ, MADV_POPULATE_WRITE = 22, 23
AT_FORK = {10: (FORK_OMIT, 0), 11: (0, FORK_OMIT), 18: (FORK_WIPE, 0), 19: (0, FORK_WIPE)}
"""MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK: bits added and removed."""
WITHOUT_EFFECT = frozenset((0, 1, 2, 3, 12, 13, 14, 15, 16, 17, 20, 21))
"""Access patterns, merging, huge pages, core dumps, reclaim: hints that change nothing here."""
KNOWN_ADVICE = WITHOUT_EFFECT | AT_FORK.keys() | {
    MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTNEED_LOCKED, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
}  # fmt: skip
PUNCH_HOLE_KEEP_SIZE = 3
MS_ASYNC, MS_INVALIDATE, MS_SYNC = 1, 2, 4
MCL_ONFAULT = 4


@syscall(28, "madvise")
async def sys_madvise(t: Thread, vaddr: int, length: int, advice: int) -> int:
    """madvise(2)."""
    advice &= 0xFFFF_FFFF
    size = round_up(length)
    if advice not in KNOWN_ADVICE or vaddr & (PAGE - 1) or vaddr + size > U64:
        raise PosixError(EINVAL)
    if not size:
        if length:
            raise PosixError(EINVAL)
        return 0
    if vaddr + size > USER_TOP:
        raise PosixError(ENOMEM)
    vm, space = t.kernel.vm, t.space.number
    if advice in (MADV_DONTNEED, MADV_FREE, MADV_DONTNEED_LOCKED):
        await vm.call(Discard(space, vaddr, size, advice == MADV_FREE))
    elif advice in AT_FORK:
        await vm.call(AtFork(space, vaddr, size, *AT_FORK[advice]))
    elif advice == MADV_REMOVE:
        await _remove(t, vaddr, vaddr + size)
    elif advice in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        await _populate(t, vaddr, vaddr + size, advice == MADV_POPULATE_WRITE)
    else:
        await vm.call(Resident(space, vaddr, size))
    return 0


async def pieces(t: Thread, start: int, end: int) -> tuple[list[tuple[RegionInfo, range]], bool]:
    """The mapped parts of a range, and whether there is a hole in it."""
    found = []
    covered = 0
    for region in await t.kernel.vm.call(Regions(t.space.number)):
        part = range(max(region.start, start), min(region.end, end))
        if part:
            found.append((region, part))
            covered += len(part)
    return found, covered < end - start


async def _remove(t: Thread, start: int, end: int) -> None:
    """MADV_REMOVE: a hole in the file behind a shared mapping that may be written."""
    found, hole = await pieces(t, start, end)
    for region, part in found:
        if region.node is None:
            raise PosixError(EINVAL)
        if not region.shared or not region.may_write:
            raise PosixError(EACCES)
        offset = region.offset + part.start - region.start
        cred = t.process.credentials.cred
        request = Allocate(region.node, PUNCH_HOLE_KEEP_SIZE, offset, len(part), cred)
        await t.kernel.fs.call(request)
    if hole:
        raise PosixError(ENOMEM)


async def _populate(t: Thread, start: int, end: int, write: bool) -> None:
    """MADV_POPULATE_READ, MADV_POPULATE_WRITE: up to the first page that cannot be had."""
    found, _ = await pieces(t, start, end)
    access = ACCESS_WRITE if write else ACCESS_READ
    reached = start
    for region, part in found:
        if part.start > reached:
            break
        if not region.prot or (write and not region.prot & PROT_WRITE):
            raise PosixError(EINVAL)
        for vaddr in part[::PAGE]:
            if await t.space.fault(vaddr, access) is not None:
                raise PosixError(EFAULT)
        reached = part.stop
    if reached < end:
        raise PosixError(ENOMEM)


@syscall(26, "msync")
async def sys_msync(t: Thread, vaddr: int, length: int, flags: int) -> int:
    """msync(2): what is mapped is synced, and then a hole is ENOMEM."""
    flags &= 0xFFFF_FFFF
    both = MS_ASYNC | MS_SYNC
    if flags & ~(both | MS_INVALIDATE) or vaddr & (PAGE - 1) or flags & both == both:
        raise PosixError(EINVAL)
    size = round_up(length)
    if vaddr + size > U64:
        raise PosixError(ENOMEM)
    found, hole = await pieces(t, vaddr, vaddr + size)
    nodes = set()
    for region, part in found:
        if region.shared:
            request = CollectDirty(t.space.number, part.start, len(part))
            nodes |= {run.node for run in await t.kernel.vm.call(request)}
    if flags & MS_SYNC:
        for node in sorted(nodes):
            await t.kernel.fs.call(Sync(node, True))
    if hole:
        raise PosixError(ENOMEM)
    return 0


@syscall(27, "mincore")
async def sys_mincore(t: Thread, vaddr: int, length: int, vector: int) -> int:
    """mincore(2)."""
    if vaddr & (PAGE - 1):
        raise PosixError(EINVAL)
    if vaddr + length > USER_TOP:
        raise PosixError(ENOMEM)
    if length:
        answer = await t.kernel.vm.call(Resident(t.space.number, vaddr, round_up(length)))
        await t.copyout(vector, answer)
    return 0


def _lockable(vaddr: int, length: int) -> tuple[int, int]:
    """The whole pages of a range, start and length."""
    start = vaddr & ~(PAGE - 1)
    size = round_up(length + vaddr - start & U64)
    if start + size > U64:
        raise PosixError(EINVAL)
    if start + size > USER_TOP:
        raise PosixError(ENOMEM)
    return start, size


async def _lock(t: Thread, vaddr: int, length: int) -> int:
    """All memory is resident for good: there is no swap, so a lock has only to fault pages in."""
    start, size = _lockable(vaddr, length)
    if size:
        await t.kernel.vm.call(Resident(t.space.number, start, size))
        await populate(t, start, size, False)
    return 0


@syscall(149, "mlock")
async def sys_mlock(t: Thread, vaddr: int, length: int) -> int:
    """mlock(2)."""
    return await _lock(t, vaddr, length)


@syscall(325, "mlock2")
async def sys_mlock2(t: Thread, vaddr: int, length: int, flags: int) -> int:
    """mlock2(2)."""
    if flags & 0xFFFF_FFFF & ~1:
        raise PosixError(EINVAL)
    return await _lock(t, vaddr, length)


@syscall(150, "munlock")
async def sys_munlock(t: Thread, vaddr: int, length: int) -> int:
    """munlock(2)."""
    start, size = _lockable(vaddr, length)
    if size:
        await t.kernel.vm.call(Resident(t.space.number, start, size))
    return 0


@syscall(151, "mlockall")
def sys_mlockall(t: Thread, flags: int) -> int:
    """mlockall(2): nothing is ever swapped out."""
    flags &= 0xFFFF_FFFF
    if not flags or flags & ~7 or flags == MCL_ONFAULT:
        raise PosixError(EINVAL)
    return 0


@syscall(152, "munlockall")
def sys_munlockall(t: Thread) -> int:
    """munlockall(2)."""
    return 0
