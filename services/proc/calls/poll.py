"""poll(2), ppoll(2), select(2), pselect6(2)."""

from __future__ import annotations

import struct
from errno import EBADF, EINTR, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    RLIMIT_NOFILE,
    s32,
)
from services.proc.files.readiness import (
    NS_PER_MS,
    deadline_after,
    reserve,
    restore_mask,
    swap_mask,
    time_left,
    until_ready,
)
from services.proc.park import Interrupted
from services.proc.signals.core import RESTART_NOHAND, UNBLOCKABLE
from services.proc.table import syscall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from services.proc.descriptors import OpenFile
    from services.proc.task import Thread

NS_PER_S, NS_PER_US, US_PER_S = 1_000_000_000, 1_000, 1_000_000
FAR_NS = 1 << 62
SIGSET_BYTES = 8
POLLFD_BYTES = 8
READ_SET = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL
WRITE_SET = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR | POLLNVAL
EXCEPT_SET = POLLPRI | POLLNVAL
WANTED_BY = (READ_SET, WRITE_SET, EXCEPT_SET)


# Timeouts and masks --------------------------------------------------------------------------


async def time_at(t: Thread, vaddr: int, unit_ns: int) -> int | None:
    """A struct timespec or timeval as ns; None where there is none."""
    if not vaddr:
        return None
    seconds, fraction = struct.unpack("<qq", await t.copyin(vaddr, 16))
    if unit_ns == NS_PER_US:
        seconds, fraction = seconds + fraction // US_PER_S, fraction % US_PER_S
    if seconds < 0 or not 0 <= fraction * unit_ns < NS_PER_S:
        raise PosixError(EINVAL)
    ns: int = seconds * NS_PER_S + fraction * unit_ns
    return min(ns, FAR_NS)


async def mask_at(t: Thread, vaddr: int, size: int) -> int | None:
    """A signal mask to wait with; None where there is none."""
    if not vaddr:
        return None
    if size != SIGSET_BYTES:
        raise PosixError(EINVAL)
    return int.from_bytes(await t.copyin(vaddr, SIGSET_BYTES), "little") & ~UNBLOCKABLE


async def _timed(
    t: Thread, waiting: Awaitable[int], deadline: int | None, left_at: int, unit_ns: int
) -> int:
    """Await a call that tells the time that was left at `left_at` (0: it does not).

    If that cannot be written, the call cannot be restarted: EINTR.
    """
    try:
        result = await waiting
    except Interrupted:
        if not await _tell_left(t, deadline, left_at, unit_ns):
            raise PosixError(EINTR) from None
        raise
    except BaseException:
        restore_mask(t)
        raise
    restore_mask(t)
    await _tell_left(t, deadline, left_at, unit_ns)
    return result


async def _tell_left(t: Thread, deadline: int | None, left_at: int, unit_ns: int) -> bool:
    if not left_at or not deadline:
        return True
    seconds, ns = divmod(await time_left(t, deadline), NS_PER_S)
    try:
        await t.copyout(left_at, struct.pack("<qq", seconds, ns // unit_ns))
    except PosixError:
        return False
    return True


# poll ----------------------------------------------------------------------------------------


class _PollSet:
    """An array of struct pollfd."""

    __slots__ = ("_answers", "_entries", "_slots", "remote")

    def __init__(self, t: Thread, image: bytes) -> None:
        assert t.process.descriptors is not None
        self._slots = t.process.descriptors.slots
        self._entries = list(struct.iter_unpack("<iHH", image))
        self._answers: list[int] = []
        self.remote = False
        """The scan has met a file that must be refreshed first."""

    def files(self) -> Iterable[OpenFile]:
        slots = self._slots
        return [slots[entry[0]].file for entry in self._entries if entry[0] in slots]

    def scan(self) -> int:
        slots, answers = self._slots, list[int]()
        for fd, events, _ in self._entries:
            slot = slots.get(fd)
            if slot is not None:
                file = slot.file
                answers.append(file.poll() & (events | POLLERR | POLLHUP))
                if file.remote:
                    self.remote = True
            else:
                answers.append(POLLNVAL if fd >= 0 else 0)
        self._answers = answers
        return len(answers) - answers.count(0)

    def image(self) -> bytes:
        """The array with its answers."""
        words: list[int] = []
        for (fd, events, _), answer in zip(self._entries, self._answers, strict=True):
            words += (fd, events, answer)
        return struct.pack("<" + "iHH" * len(self._entries), *words)


async def _poll(t: Thread, vaddr: int, count: int, deadline: int | None) -> int:
    count &= 0xFFFF_FFFF
    if count > t.process.limit(RLIMIT_NOFILE):
        raise PosixError(EINVAL)
    image = await t.copyin(vaddr, POLLFD_BYTES * count) if count else b""
    wanted = _PollSet(t, image)
    found = wanted.scan()
    if not found or wanted.remote:
        found = await until_ready(t, wanted.scan, wanted.files, deadline)
    if count:
        await t.copyout(vaddr, wanted.image())
    return found


@syscall(7, "poll", restart=RESTART_NOHAND)
async def sys_poll(t: Thread, vaddr: int, count: int, timeout_ms: int) -> int:
    """poll(2): after a stop it goes on with the deadline that it had."""
    reserve(t, count & 0xFFFF_FFFF)
    timeout = s32(timeout_ms)
    deadline, t.restart_deadline = t.restart_deadline, None
    if deadline is None and timeout > 0:
        deadline = await deadline_after(t, timeout * NS_PER_MS)
    elif timeout == 0:
        deadline = 0
    try:
        return await _poll(t, vaddr, count, deadline)
    except Interrupted:
        t.restart_deadline = deadline
        raise


@syscall(271, "ppoll", restart=RESTART_NOHAND)
async def sys_ppoll(t: Thread, vaddr: int, count: int, spec: int, mask: int, size: int) -> int:
    """ppoll(2): the time that was left is written back."""
    reserve(t, count & 0xFFFF_FFFF)
    deadline = await deadline_after(t, await time_at(t, spec, 1))
    blocked = await mask_at(t, mask, size)
    if blocked is not None:
        swap_mask(t, blocked)
    return await _timed(t, _poll(t, vaddr, count, deadline), deadline, spec, 1)


# select --------------------------------------------------------------------------------------


class _SelectSet:
    """Three bitmaps of descriptors."""

    __slots__ = ("_slots", "_wanted", "results")

    def __init__(self, t: Thread, sets: list[int]) -> None:
        assert t.process.descriptors is not None
        self._slots = t.process.descriptors.slots
        self._wanted: list[tuple[int, int]] = []
        """Descriptor and which of the three sets name it, as bits 0 to 2."""
        self.results = [0, 0, 0]
        union = sets[0] | sets[1] | sets[2]
        while union:
            low = union & -union
            union ^= low
            fd = low.bit_length() - 1
            if fd not in self._slots:
                raise PosixError(EBADF)
            members = sum([1 << which for which in range(3) if sets[which] & low])
            self._wanted.append((fd, members))

    def files(self) -> Iterable[OpenFile]:
        slots = self._slots
        return [slots[fd].file for fd, _ in self._wanted if fd in slots]

    def scan(self) -> int:
        found, slots = 0, self._slots
        for fd, members in self._wanted:
            slot = slots.get(fd)
            ready = POLLNVAL if slot is None else slot.file.poll()
            for which in range(3):
                if members >> which & 1 and ready & WANTED_BY[which]:
                    self.results[which] |= 1 << fd
                    found += 1
        return found


def _table_size(t: Thread) -> int:
    """How many descriptors Linux's table would have room for: higher bits are ignored."""
    assert t.process.descriptors is not None
    highest = max(t.process.descriptors.slots, default=0)
    return 64 if highest < 64 else max(256, 1 << highest.bit_length())


async def _select(t: Thread, count: int, where: tuple[int, int, int], deadline: int | None) -> int:
    number = s32(count)
    if number < 0:
        raise PosixError(EINVAL)
    number = min(number, _table_size(t))
    size, inside = (number + 63) // 64 * 8, (1 << number) - 1
    sets: list[int] = []
    for vaddr in where:
        image = await t.copyin(vaddr, size) if vaddr and size else b""
        sets.append(int.from_bytes(image, "little") & inside)
    wanted = _SelectSet(t, sets)
    found = await until_ready(t, wanted.scan, wanted.files, deadline)
    for vaddr, bits in zip(where, wanted.results, strict=True):
        if vaddr and size:
            await t.copyout(vaddr, bits.to_bytes(size, "little"))
    return found


@syscall(23, "select", restart=RESTART_NOHAND)
async def sys_select(t: Thread, count: int, reads: int, writes: int, excepts: int, at: int) -> int:
    """select(2): the time that was left is written back."""
    reserve(t, min(s32(count), _table_size(t)))
    deadline = await deadline_after(t, await time_at(t, at, NS_PER_US))
    selecting = _select(t, count, (reads, writes, excepts), deadline)
    return await _timed(t, selecting, deadline, at, NS_PER_US)


@syscall(270, "pselect6", restart=RESTART_NOHAND)
async def sys_pselect6(
    t: Thread, count: int, reads: int, writes: int, excepts: int, at: int, sigmask: int
) -> int:
    """pselect6(2): its last argument points to the mask's address and size."""
    reserve(t, min(s32(count), _table_size(t)))
    mask = size = 0
    if sigmask:
        mask, size = struct.unpack("<QQ", await t.copyin(sigmask, 16))
    deadline = await deadline_after(t, await time_at(t, at, 1))
    blocked = await mask_at(t, mask, size)
    if blocked is not None:
        swap_mask(t, blocked)
    selecting = _select(t, count, (reads, writes, excepts), deadline)
    return await _timed(t, selecting, deadline, at, 1)
