"""What was used: getrusage, times."""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.calls.wait import rusage
from services.proc.table import syscall
from services.vm.api import Usage

if TYPE_CHECKING:
    from services.proc.task import Thread

TICK_NS = 10_000_000


@syscall(98, "getrusage")
async def sys_getrusage(t: Thread, who: int, where: int) -> int:
    """getrusage(2)."""
    process, number = t.process, s32(who)
    if number == -1:
        user, system, minor, major = process.reaped_usage
        image = rusage(user, system, (minor, major))
    elif number in (0, 1):
        use = await t.kernel.vm.call(Usage(t.space.number))
        faults = (use.minor_faults, use.major_faults)
        image = rusage(process.user_ns, process.system_ns, faults)
        image = image[:32] + struct.pack("<q", use.resident_bytes >> 10) + image[40:]
    else:
        raise PosixError(EINVAL)
    await t.copyout(where, image)
    return 0


@syscall(100, "times")
async def sys_times(t: Thread, where: int) -> int:
    """times(2) in hundredths of a second."""
    process = t.process
    if where:
        reaped = process.reaped_usage
        ticks = [ns // TICK_NS for ns in (process.user_ns, process.system_ns, reaped[0], reaped[1])]
        await t.copyout(where, struct.pack("<4q", *ticks))
    return await t.kernel.timers.now() // TICK_NS
