"""Moving data between two files inside the kernel (sendfile(2), splice(2), copy_file_range(2)).

Files read into and write from physical runs, so what lies between them is a handful of frames of
vm's, taken for the length of one call. A file may write less than it was given: then what was
read is read again later, from the offset that the writing reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bus.errors import PosixError
from services.proc.abi import O_NONBLOCK
from services.proc.park import Interrupted
from services.proc.space import with_room
from services.vm.api import PAGE_BYTES, AllocFrames, FreeFrames

if TYPE_CHECKING:
    from types import TracebackType

    from services.drivers.ram.api import Extent
    from services.proc.descriptors import OpenFile
    from services.proc.files.pipe import PipeEnd
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

BOUNCE_FRAMES = 16
BOUNCE_BYTES = BOUNCE_FRAMES * PAGE_BYTES
MAX_SPARE = 2
"""Sets of frames that are kept for the next call: servers send files one after the other."""


class Bounce:
    """`BOUNCE_BYTES` of RAM: `async with Bounce(kernel) as bounce`."""

    __slots__ = ("_extents", "_kernel", "_pfns")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._pfns: tuple[int, ...] = ()
        self._extents: list[Extent] = []

    async def __aenter__(self) -> Self:
        kernel = self._kernel
        if kernel.spare_bounces:
            self._pfns = kernel.spare_bounces.pop()
        else:
            request = AllocFrames(BOUNCE_FRAMES, zero=False)
            self._pfns = await with_room(kernel.vm, kernel.fs, request)
        self._extents = [(pfn * PAGE_BYTES, PAGE_BYTES) for pfn in self._pfns]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        spare = self._kernel.spare_bounces
        if len(spare) < MAX_SPARE:
            spare.append(self._pfns)
        else:
            await self._kernel.vm.call(FreeFrames(self._pfns))

    def runs(self, length_bytes: int) -> list[Extent]:
        """Runs of the first `length_bytes`, at most all of it."""
        whole, rest = divmod(min(length_bytes, BOUNCE_BYTES), PAGE_BYTES)
        runs = self._extents[:whole]
        if rest:
            runs.append((self._extents[whole][0], rest))
        return runs

    def fill(self, data: bytes) -> list[Extent]:
        """Put `data` in; replies with its runs."""
        memory, at = self._kernel.ram.bytes, 0
        runs = self.runs(len(data))
        for paddr, length in runs:
            memory[paddr : paddr + length] = data[at : at + length]
            at += length
        return runs


async def copy(
    t: Thread, source: OpenFile, start: int, target: OpenFile, offset: int | None, length: int
) -> int:
    """Copy up to `length` bytes from a file at `start`, until its end or a short write.

    Offsets of the descriptions do not move but the target's, where `offset` is None. An error or
    a signal after some bytes went over ends the copy and is not told.
    """
    done = 0
    async with Bounce(t.kernel) as bounce:
        while done < length:
            try:
                count = await source.read(t, bounce.runs(length - done), start + done)
                if not count:
                    break
                at = None if offset is None else offset + done
                written = await target.write(t, bounce.runs(count), at)
            except (PosixError, Interrupted):
                if done:
                    break
                raise
            done += written
            if written < count:
                break
    return done


async def to_pipe(
    t: Thread, source: OpenFile, start: int | None, end: PipeEnd, length: int, wait: bool
) -> int:
    """splice(2) into a pipe: waits for room, never for more than the first."""
    async with Bounce(t.kernel) as bounce:
        room = await end.room(t, wait)
        count = await source.read(t, bounce.runs(min(length, room)), start)
        if not count:
            return 0
        return await end.write(t, bounce.runs(count), None)


async def from_pipe(
    t: Thread, end: PipeEnd, target: OpenFile, offset: int | None, length: int, wait: bool
) -> int:
    """splice(2) out of a pipe: what the target does not take stays in the pipe."""
    if not await end.fill(t, wait):
        return 0
    done = 0
    async with Bounce(t.kernel) as bounce:
        while done < length and end.pipe:
            data = end.pipe.peek(min(length - done, BOUNCE_BYTES))
            at = None if offset is None else offset + done
            try:
                written = await target.write(t, bounce.fill(data), at)
            except (PosixError, Interrupted):
                if done:
                    break
                raise
            end.pipe.skip(min(written, len(end.pipe)))
            done += written
            if written < len(data):
                break
    return done


def blocks(file: OpenFile, nonblock: bool) -> bool:
    """Whether a call may wait for this pipe."""
    return not nonblock and not file.flags & O_NONBLOCK
