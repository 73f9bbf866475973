"""signalfd(2): pending signals as records to read.

Whose signals these are is decided by who reads or polls, not by who made the file (it may have
come over a fork): so readiness is `remote`, learnt for one thread at a time. The file enters the
`signal_queue` of every process that asked, and passes wake-ups on to its own queue.
"""

from __future__ import annotations

import struct
from errno import EAGAIN, EINVAL
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import (
    O_NONBLOCK,
    O_RDWR,
    POLLIN,
    SI_KERNEL,
    SI_QUEUE,
    SI_TIMER,
    SI_TKILL,
    SI_USER,
    SIGCHLD,
)
from services.proc.files.anon import AnonFile, scatter, total, wait_holding
from services.proc.park import WaitQueue
from services.proc.signals.core import UNBLOCKABLE

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.signals.core import SigInfo
    from services.proc.task import Process, Thread

_RECORD = struct.Struct("<IiiIIiIIIIiiQQQQHHiQI28x")
"""struct signalfd_siginfo, 128 bytes."""
_FAULTS = frozenset((4, 5, 7, 8, 11))


def pack_record(info: SigInfo) -> bytes:
    """The record of a signal: siginfo_t's union taken apart by what kind of signal it is."""
    code, fields = info.code, info.fields.ljust(48, b"\0")
    pid = uid = band = overrun = status = number = pointer = user = system = address = tid = 0
    if code in (SI_USER, SI_TKILL):
        pid, uid = struct.unpack_from("<iI", fields)
    elif code == SI_TIMER:
        tid, overrun, pointer = struct.unpack_from("<iiQ", fields)
    elif code < 0 or code == SI_QUEUE:
        pid, uid, pointer = struct.unpack_from("<iIQ", fields)
    elif info.signal == SIGCHLD and code != SI_KERNEL:
        pid, uid, status, user, system = struct.unpack_from("<iIi4xQQ", fields)
    elif info.signal in _FAULTS and code != SI_KERNEL:
        (address,) = struct.unpack_from("<Q", fields)
    elif code != SI_KERNEL:
        pid, uid, pointer = struct.unpack_from("<iIQ", fields)
    number = pointer & 0xFFFF_FFFF
    if number >> 31:
        number -= 1 << 32
    return _RECORD.pack(
        info.signal, info.errno, code, pid & 0xFFFF_FFFF, uid, 0, tid, band, overrun, 0, status,
        number, pointer, user, system, address, 0, 0, 0, 0, 0,
    )  # fmt: skip


class SignalFile(AnonFile):
    """Takes the signals of `mask` that are pending for whoever reads."""

    __slots__ = ("_processes", "_ready", "mask")
    kind = "signalfd"
    heap = charge_kind("proc", "signalfd")
    remote = True

    def __init__(self, mask: int, flags: int) -> None:
        super().__init__(O_RDWR | flags)
        self.set_mask(mask)
        self.queue: WaitQueue = WaitQueue()
        self._ready = 0
        self._processes: dict[Process, None] = {}

    def set_mask(self, mask: int) -> None:
        """signalfd(2) on an existing descriptor."""
        self.mask = mask & ~UNBLOCKABLE

    def notify(self, events: int) -> None:
        """A signal became pending in a process that watches (an `Entry` of its queue)."""
        self.queue.wake(events)

    def _enter(self, process: Process) -> None:
        if process not in self._processes:
            for gone in [one for one in self._processes if one.zombie]:
                del self._processes[gone]
            self._processes[process] = None
            if process.signal_queue is None:
                process.signal_queue = WaitQueue()
            process.signal_queue.add(self)

    async def refresh(self, thread: Thread) -> None:
        """Whether a signal is pending for `thread`, whose process is watched from now on."""
        self._enter(thread.process)
        self._ready = POLLIN if self._pending(thread) else 0

    def poll(self) -> int:
        """As of the last `refresh`."""
        return self._ready

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """As many records as fit; waits for the first."""
        room = total(extents) // _RECORD.size
        if not room:
            raise PosixError(EINVAL)
        if not self._pending(thread):
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            self._enter(thread.process)
            await wait_holding(thread, self, self.queue, lambda: self._pending(thread))
        records: list[bytes] = []
        while len(records) < room:
            info = thread.pending.take(self.mask) or thread.process.pending.take(self.mask)
            if info is None:
                break
            records.append(pack_record(info))
        data = b"".join(records)
        scatter(thread.kernel.ram.bytes, extents, data)
        return len(data)

    def _pending(self, thread: Thread) -> int:
        return (thread.pending.mask | thread.process.pending.mask) & self.mask

    async def closed(self, thread: Thread | None) -> None:
        """Leave the processes' queues."""
        for process in self._processes:
            if process.signal_queue is not None:
                process.signal_queue.discard(self)
