"""The disk driver's service: requests become commands, commands transfers, and threads do them.

Nothing here waits for the host. A read that the host has in memory is done at once; all else goes
through the queue (`queue`) to the workers, whose interrupt (`_drain`) runs in the loop. Content is
copied to RAM there, and only for who still waits: a thread never touches RAM.
"""

from __future__ import annotations

from errno import EINVAL, EIO, ENOSPC, EROFS
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.errors import PosixError
from services.drivers.disk import api
from services.drivers.disk.faults import KINDS, PLAIN, DiskFaults, Verdict
from services.drivers.disk.media import Image, PowerCache
from services.drivers.disk.queue import ATTEMPTS, DEADLINE_S, Command, Kind, Queue, Transfer
from services.drivers.disk.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bus.faults import Armed
    from bus.faultspec import CallFault, Fault
    from services.drivers.disk.media import Medium
    from services.drivers.ram.api import Ram

COMMAND_SECTORS = 2048
"""A request for more is cut into commands of this size, 1 MiB."""
AT_ONCE_SECTORS = 512
"""As much as this is read at once if the host has it in memory."""


@attrs.define(eq=False)
class _Batch:
    """The commands of one request, and the task that waits for them."""

    left: int = 0
    error: int = 0
    over: trio.Event = attrs.field(factory=trio.Event)
    wanted: bool = True

    def done(self, error: int) -> None:
        self.error = self.error or error
        self.left -= 1
        if not self.left:
            self.over.set()


class DiskService:
    """Serves "disk": the image at `path` (ImageRefused: it cannot be), reading into `ram`."""

    def __init__(
        self,
        ram: Ram,
        path: str,
        read_only: bool = False,
        deadline_s: float = DEADLINE_S,
        attempts: int = ATTEMPTS,
        kept: DiskService | None = None,
    ) -> None:
        self._ram = ram
        self._workers: Workers[Transfer, tuple[int, bytes]] | None = None
        self._power: PowerCache | None = None
        if kept is None:
            self.image = Image(path, read_only)
            self._medium: Medium = self.image
            self.faults = DiskFaults(path, self.image.sectors)
            self.queue = Queue(deadline_s=deadline_s, attempts=attempts)
        else:
            self._take_over(kept)
        self._changed: trio.Event | None = None
        self._wake_s: float | None = None
        self._failure: Exception | None = None
        self.at_once = 0
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Describe: self._describe,
            api.Read: self._read,
            api.ReadSectors: self._read_sectors,
            api.Write: self._write,
            api.Flush: self._flush,
            api.Discard: self._discard,
        }

    def keep(self) -> DiskService:
        """The image, and the commands on their way to it."""
        return self

    def _take_over(self, before: DiskService) -> None:
        """Go on with the queue and the threads of the incarnation before."""
        self.image, self._medium, self._power = before.image, before._medium, before._power
        self.faults, self.queue = before.faults, before.queue
        self._workers, before._workers = before._workers, None
        if self.queue.judge is not None:
            self.queue.judge = self._judge
        if self._workers is not None:
            self._workers.serve(self._perform, self._interrupt())

    @property
    def geometry(self) -> api.Geometry:
        """What the disk is."""
        return api.Geometry(self.image.sectors, self.image.read_only, self.image.path)

    async def _describe(self, request: api.Describe) -> api.Geometry:
        return self.geometry

    # requests

    async def _read(self, request: api.Read) -> None:
        memory, batch = self._ram.bytes, _Batch()
        pieces: list[tuple[int, int, memoryview]] = []
        for sector, extents in request.runs:
            here = sector
            for paddr, length in extents:
                if length % api.SECTOR_BYTES or paddr < 0 or paddr + length > len(memory):
                    raise PosixError(EINVAL)
                count = length >> api.SECTOR_SHIFT
                self._check(here, count)
                pieces.append((here, count, memory[paddr : paddr + length]))
                here += count
        for sector, count, target in pieces:
            self._read_to(batch, sector, count, target)
        await self._wait(batch)

    async def _read_sectors(self, request: api.ReadSectors) -> bytes:
        self._check(request.sector, request.count)
        target, batch = bytearray(request.count << api.SECTOR_SHIFT), _Batch()
        self._read_to(batch, request.sector, request.count, memoryview(target))
        await self._wait(batch)
        return bytes(target)

    def _read_to(self, batch: _Batch, sector: int, count: int, target: memoryview) -> None:
        quiet = not len(self.queue) and not self.faults.armed and self._medium is self.image
        if quiet and 0 < count <= AT_ONCE_SECTORS and not batch.left:
            data = self.image.read_now(sector, count)
            if data is not None:
                self.at_once += 1
                target[:] = data
                return
        for first, some in _cut(sector, count):
            start = (first - sector) << api.SECTOR_SHIFT
            part = target[start : start + (some << api.SECTOR_SHIFT)]
            self._submit(batch, Kind.READ, first, some, sink=part)

    async def _write(self, request: api.Write) -> None:
        if self.image.read_only:
            raise PosixError(EROFS)
        for sector, data, _ in request.pieces:
            if len(data) % api.SECTOR_BYTES:
                raise PosixError(EINVAL)
            self._check(sector, len(data) >> api.SECTOR_SHIFT)
        batch = _Batch()
        for sector, data, fua in request.pieces:
            for first, some in _cut(sector, len(data) >> api.SECTOR_SHIFT):
                start = (first - sector) << api.SECTOR_SHIFT
                part = bytes(data[start : start + (some << api.SECTOR_SHIFT)])
                self._submit(batch, Kind.WRITE, first, some, part, fua)
        await self._wait(batch)

    async def _flush(self, request: api.Flush) -> None:
        batch = _Batch()
        self._submit(batch, Kind.FLUSH, 0, 0)
        await self._wait(batch)

    async def _discard(self, request: api.Discard) -> None:
        if self.image.read_only:
            raise PosixError(EROFS)
        self._check(request.sector, request.count)
        if request.count:
            batch = _Batch()
            self._submit(batch, Kind.DISCARD, request.sector, request.count)
            await self._wait(batch)

    def _check(self, sector: int, count: int) -> None:
        if sector < 0 or count < 0 or sector + count > self.image.sectors:
            raise PosixError(EIO)

    def _submit(
        self,
        batch: _Batch,
        kind: Kind,
        sector: int,
        count: int,
        data: bytes = b"",
        fua: bool = False,
        sink: memoryview | None = None,
    ) -> None:
        def done(error: int, content: memoryview) -> None:
            if sink is not None and not error and batch.wanted:
                sink[:] = content
            batch.done(error)

        batch.left += 1
        self.queue.submit(Command(kind, sector, count, done, data, fua), trio.current_time())

    async def _wait(self, batch: _Batch) -> None:
        if batch.left:
            self._go()
            try:
                await batch.over.wait()
            finally:
                batch.wanted = False
        if batch.error:
            raise PosixError(batch.error)

    # the host

    def _go(self) -> None:
        """Give the workers what is to be done now."""
        for transfer in self.queue.start(trio.current_time()):
            self._give(transfer)
        when = self.queue.next_event()
        if when is not None and (self._wake_s is None or when < self._wake_s):
            self._wake_s = when
            if self._changed is not None:
                self._changed.set()

    def _give(self, transfer: Transfer) -> None:
        if self._workers is None:
            limit = api.QUEUE_DEPTH + self.queue.attempts
            self._workers = Workers(self._perform, self._interrupt(), limit)
        self._workers.give(transfer)

    def _interrupt(self) -> Callable[[], None]:
        """What a thread calls when it has done something."""
        token = trio.lowlevel.current_trio_token()

        def interrupt() -> None:
            try:
                token.run_sync_soon(self._drain)
            except trio.RunFinishedError:
                return

        return interrupt

    def _drain(self) -> None:
        """The disk's interrupt."""
        if self._workers is None:
            return
        try:
            for transfer, (error, content) in self._workers.take():
                self.queue.finish(transfer, error, content)
            self._go()
        except Exception as bug:
            self._failure = bug
            if self._changed is not None:
                self._changed.set()

    def _perform(self, transfer: Transfer) -> tuple[int, bytes]:
        """One attempt, in a thread."""
        command = transfer.commands[0]
        verdict = command.verdict
        try:
            if verdict.cut is not None:
                self._cut_power(verdict.cut)
            if verdict.error:
                return verdict.error, b""
            return 0, self._transfer(transfer, command, verdict)
        except OSError as error:
            return error.errno if error.errno in _TOLD else EIO, b""

    def _transfer(self, transfer: Transfer, command: Command, verdict: Verdict) -> bytes:
        medium = self._medium
        if command.kind is Kind.READ:
            return verdict.spoil(medium.read(transfer.sector, transfer.count))
        if command.kind is Kind.FLUSH:
            medium.flush()
        elif command.kind is Kind.DISCARD:
            medium.discard(command.sector, command.count)
        elif verdict is PLAIN:
            medium.write(transfer.sector, [one.data for one in transfer.commands], command.fua)
        else:
            data = verdict.spoil(command.data)[: verdict.length_bytes]
            medium.write(command.sector, [data], command.fua)
        return b""

    def _cut_power(self, order: str) -> None:
        chance = self.faults.random
        if self._power is not None and chance is not None:
            self._power.cut(order, chance)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deadlines, and a bug behind the interrupt."""
        task_status.started()
        while True:
            self._changed = changed = trio.Event()
            when = self._wake_s = self.queue.next_event()
            with trio.move_on_at(float("inf") if when is None else when):
                await changed.wait()
            if self._failure is not None:
                raise self._failure
            for transfer in self.queue.expire(trio.current_time()):
                self._give(transfer)
            self._go()

    async def stop(self) -> None:
        """What was written is made durable, if the disk still answers."""
        if not self.image.read_only:
            with trio.move_on_after(2.0):
                try:
                    await self._flush(api.Flush())
                except PosixError:
                    return

    # faults

    @property
    def injector(self) -> DiskService:
        """Who does the faults of the disk."""
        return self

    kinds = KINDS

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`bus.faults.Injector`."""
        return self.faults.refuse(fault)

    def arm(self, faults: Sequence[Armed]) -> None:
        """`bus.faults.Injector`: with nothing armed, commands pay nothing."""
        self.faults.arm(faults)
        self.queue.judge = self._judge if self.faults.armed else None
        if self.faults.power and self._power is None:
            self._power = self._medium = PowerCache(self.image)
        elif not self.faults.power and self._power is not None:
            self._medium, cache, self._power = self.image, self._power, None
            cache.restore()

    def _judge(self, command: Command) -> Verdict:
        write, read = command.kind is Kind.WRITE, command.kind is Kind.READ
        return self.faults.judge(write, read, command.sector, command.count)

    def counters(self) -> Mapping[str, int]:
        """What the queue has seen, for the metrics page."""
        counts = attrs.asdict(self.queue.counts)
        interrupts = 0 if self._workers is None else self._workers.interrupts
        return {**counts, "at_once": self.at_once, "interrupts": interrupts}

    def close(self) -> None:
        """Let the image go, unless a thread is still at it."""
        if self._workers is None or self._workers.close():
            self.image.close()


_TOLD = frozenset({EIO, ENOSPC, EROFS})


def _cut(sector: int, count: int) -> list[tuple[int, int]]:
    """Commands' sectors."""
    end = sector + count
    return [
        (first, min(COMMAND_SECTORS, end - first)) for first in range(sector, end, COMMAND_SECTORS)
    ]
