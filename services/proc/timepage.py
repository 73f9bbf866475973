"""Keeps the time page true and gives it, with the vDSO, to each new address space (vdso(7)).

One nameless file of two pages for all spaces: the time page, shared, and the vDSO's code. The
kernel writes the time page in RAM and moves its version on; programs only read it. While no
program looks, it costs one look at the clocks in `PERIOD_S`; sooner at first, as a rate that is
known from a short time is not good for a long one.

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
FIRST_S, PERIOD_S = 0.005, 0.25
TRIES, GOOD_NS, MAX_SKIPPED = 8, 20_000, 40
"""A sample is good if the clock was read before and after the counter within this time; without
a good one the page is left as it is, but not for ever."""
LAG_NS = 30_000
"""How far the page is to be behind the kernel's own clock, which stamps packets and files: more
than samples are wrong by, so that no stamp is older than what a program has read before."""


class TimePage:
    """See the module's docstring."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._node = -1
        self._paddr = 0
        self._clock: vdso.TickClock | None = None
        self._version = 0
        self._period_s = FIRST_S
        self._skipped = 0

    async def start(self) -> None:
        """Make the file, and write it for the first program."""
        fs = self._kernel.fs
        opened = await fs.call(MemFile(b"vdso", 2 * PAGE_BYTES, Credentials(0, 0).cred))
        self._node = opened.node
        await fs.call(WriteBytes(self._node, 0, bytes(PAGE_BYTES) + vdso.image()))
        (pfn,) = await fs.call(Pages(self._node, 0, 1, True))
        self._paddr = pfn * PAGE_BYTES
        _, ticks, now_ns = await self._sample()
        self._clock = vdso.TickClock(ticks, now_ns - LAG_NS)
        await trio.sleep(FIRST_S)
        await self.update()

    async def stop(self) -> None:
        """Give the file back."""
        await self._kernel.fs.call(Release(self._node))

    async def keep(self) -> None:
        """Follow the clock, until cancelled."""
        while True:
            await trio.sleep(self._period_s)
            self._period_s = min(2 * self._period_s, PERIOD_S)
            await self.update()

    async def _sample(self) -> tuple[int, int, int]:
        """(how closely, ns; the counter; MONOTONIC at that moment)."""
        kernel, best = self._kernel, (1 << 62, 0, 0)
        for _ in range(TRIES):
            before = await kernel.clock.call(Now(MONOTONIC))
            ticks = kernel.core.read_ticks()
            after = await kernel.clock.call(Now(MONOTONIC))
            best = min(best, (after - before, ticks, (before + after) // 2))
            if best[0] <= GOOD_NS:
                break
        return best

    async def _ahead(self, clock: int) -> int:
        """How far a clock is ahead of MONOTONIC, ns: rather too little than too much."""
        kernel, best = self._kernel, (1 << 62, 0)
        for _ in range(TRIES):
            before = await kernel.clock.call(Now(MONOTONIC))
            shown = await kernel.clock.call(Now(clock))
            after = await kernel.clock.call(Now(MONOTONIC))
            best = min(best, (after - before, shown - after))
            if best[0] <= GOOD_NS:
                break
        return best[1]

    async def update(self, *, now: bool = False) -> None:
        """Write the page anew; `now`: however poor the sample, as REALTIME was set."""
        clock, kernel = self._clock, self._kernel
        if clock is None:
            return
        width_ns, ticks, at_ns = await self._sample()
        if width_ns > GOOD_NS and clock.rate and not now and self._skipped < MAX_SKIPPED:
            self._skipped += 1
            return
        self._skipped = 0
        told = clock.follow(ticks, at_ns - LAG_NS, int(self._period_s * 1e9))
        if told is None:
            return
        ticks, rate, shown = told
        self._version += 1
        real, boot = shown + await self._ahead(REALTIME), shown + await self._ahead(BOOTTIME)
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
