"""What was used: getrusage, times."""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.lifecycle import look_at_size
from services.proc.table import PARTIAL, syscall
from services.proc.usage import NOTHING, TICK_NS

if TYPE_CHECKING:
    from services.proc.task import Thread

RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD = -1, 0, 1


@syscall(98, "getrusage", support=PARTIAL, note="blocks, messages and signals are not counted")
async def sys_getrusage(t: Thread, who: int, where: int) -> int:
    """getrusage(2)."""
    process, number = t.process, s32(who)
    if number not in (RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD):
        raise PosixError(EINVAL)
    t.kernel.settle(t)
    if number == RUSAGE_CHILDREN:
        usage = process.reaped or NOTHING
        image = usage.pack(usage.peak_bytes)
    else:
        await look_at_size(process)
        usage = process.usage() if number == RUSAGE_SELF else t.usage
        image = usage.pack(process.peak_bytes)
    await t.copyout(where, image)
    return 0


@syscall(100, "times")
async def sys_times(t: Thread, where: int) -> int:
    """times(2) in hundredths of a second."""
    if where:
        t.kernel.settle(t)
        ticks = (*t.process.usage().ticks, *(t.process.reaped or NOTHING).ticks)
        await t.copyout(where, struct.pack("<4q", *ticks))
    return await t.kernel.timers.now() // TICK_NS
