"""Keeps the time page true and gives it, with the vDSO, to each new address space (vdso(7)).

One nameless file of two pages for all spaces: the time page, shared, and the vDSO's code. The
kernel writes the time page in RAM and moves its version on; programs only read it. While no
program looks, it costs one look at the clocks in `PERIOD_S`.

Where the emulated time-stamp counter does not count, the page stays empty, and the vDSO's
functions make system calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now
from services.fs.api import MemFile, Pages, Release, Retain, WriteBytes
from services.proc.image import vdso
from services.proc.task import Credentials
from services.vm.api import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    Map,
)

if TYPE_CHECKING:
    from services.proc.kernel import Kernel
    from services.proc.space import AddressSpace

PAGE_BYTES = 4096
PERIOD_S, PERIOD_NS = 0.25, 250_000_000
TRIES, GOOD_NS = 4, 20_000
"""A sample counts if the clock was read before and after the counter within this time."""


class TimePage:
    """See the module's docstring."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._node = -1
        self._paddr = 0
        self._clock: vdso.TickClock | None = None
        self._version = 0

    async def start(self) -> None:
        """Make the file; the first sample."""
        fs = self._kernel.fs
        opened = await fs.call(MemFile(b"vdso", 2 * PAGE_BYTES, Credentials(0, 0).cred))
        self._node = opened.node
        await fs.call(WriteBytes(self._node, 0, bytes(PAGE_BYTES) + vdso.image()))
        (pfn,) = await fs.call(Pages(self._node, 0, 1, True))
        self._paddr = pfn * PAGE_BYTES
        ticks, now_ns = await self._sample()
        self._clock = vdso.TickClock(ticks, now_ns)

    async def stop(self) -> None:
        """Give the file back."""
        await self._kernel.fs.call(Release(self._node))

    async def keep(self) -> None:
        """Follow the clock, until cancelled."""
        while True:
            await self.update()
            await trio.sleep(PERIOD_S)

    async def _sample(self) -> tuple[int, int]:
        """The counter and MONOTONIC at one moment, as closely as can be."""
        kernel, best = self._kernel, (1 << 62, 0, 0)
        for _ in range(TRIES):
            before = await kernel.clock.call(Now(MONOTONIC))
            ticks = kernel.core.read_ticks()
            after = await kernel.clock.call(Now(MONOTONIC))
            best = min(best, (after - before, ticks, (before + after) // 2))
            if best[0] <= GOOD_NS:
                break
        return best[1], best[2]

    async def update(self) -> None:
        """Write the page anew: also to be called when REALTIME was set."""
        clock, kernel = self._clock, self._kernel
        if clock is None:
            return
        now_ns = await kernel.clock.call(Now(MONOTONIC))
        realtime = await kernel.clock.call(Now(REALTIME)) - now_ns
        boottime = await kernel.clock.call(Now(BOOTTIME)) - now_ns
        told = clock.follow(*await self._sample(), PERIOD_NS)
        if told is None:
            return
        ticks, rate, shown = told
        self._version += 1
        real, boot = shown + realtime, shown + boottime
        clocks = (real, shown, 0, 0, shown, real, shown, boot)
        page = vdso.TIME_PAGE.pack(self._version, ticks, rate, *clocks)
        memory = kernel.ram.bytes
        memory[self._paddr + 8 : self._paddr + len(page)] = page[8:]
        memory[self._paddr : self._paddr + 8] = page[:8]

    async def map_into(self, space: AddressSpace) -> int:
        """Map both pages side by side; replies with where the vDSO is."""
        kernel = self._kernel
        hole = await kernel.vm.call(
            Map(space.number, 0, 2 * PAGE_BYTES, 0, MAP_PRIVATE | MAP_ANONYMOUS)
        )
        parts = (
            (0, PROT_READ, MAP_SHARED, b"[vvar]"),
            (PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, b"[vdso]"),
        )
        for offset, prot, flags, name in parts:
            await kernel.fs.call(Retain(self._node))
            reply = await kernel.vm.call(
                Map(
                    space.number,
                    hole.vaddr + offset,
                    PAGE_BYTES,
                    prot,
                    flags | MAP_FIXED,
                    self._node,
                    offset,
                    may_write=False,
                    name=name,
                )
            )
            if not reply.acquired:
                await kernel.fs.call(Release(self._node))
        return hole.vaddr + PAGE_BYTES
