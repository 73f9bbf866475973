"""When RAM is used up: who has to go (the kernel's out-of-memory killer, proc(5) oom_score_adj).

A page fault that finds no frame, and a page cache with nothing to spare, comes here. The process
that holds most is killed, as on Linux, rather than the one that happened to ask last; its
`oom_score_adj` moves it up or down by thousandths of RAM, and -1000 spares it. A system call that
finds no frame is answered with ENOMEM and kills nobody.

Who asked waits until the victim's memory is free, and tries its access again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc.abi import SI_KERNEL, SIGKILL
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals import send
from services.proc.signals.core import SigInfo
from services.vm.api import Frames, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread

SPARED = -1000
PAGE_BYTES = 4096
LOOK_NS, LOOKS = 1_000_000, 2000
"""A victim's end is looked for so often, so many times."""


def worst(candidates: Iterable[tuple[Process, int]], total_bytes: int) -> Process | None:
    """Of (process, bytes that it holds) the one to kill; None if all are spared.

    Of equals, as a parent and its children after fork are, the youngest.
    """
    most, victim = 1, None
    for process, held in candidates:
        score = held + process.oom_score_adj * total_bytes // 1000
        if process.oom_score_adj != SPARED and score >= most:
            most, victim = score, process
    return victim


async def _candidates(kernel: Kernel) -> list[tuple[Process, int]]:
    found = []
    for process in list(kernel.processes.values()):
        if process.space is not None and not process.zombie:
            usage = await kernel.vm.call(Usage(process.space.number))
            found.append((process, usage.resident_bytes))
    return found


async def relieve(thread: Thread, vaddr: int) -> None:
    """Make room for a page that `thread` touched at `vaddr`, or kill its process."""
    kernel = thread.kernel
    candidates = await _candidates(kernel)
    dying = next((process for process, _ in candidates if process.exiting), None)
    if dying is not None:
        await _wait_for_the_end(thread, dying)
        return
    total = (await kernel.vm.call(Frames())).total * PAGE_BYTES
    victim = worst(candidates, total) or thread.process
    held = dict(candidates).get(victim, 0) >> 20
    kernel.log(
        f"hardtack: out of RAM: pid {victim.pid} ({victim.comm.decode(errors='replace')}) "
        f"held {held} MiB and was killed when pid {thread.process.pid} touched {vaddr:#x} "
        f"(more with --ram)"
    )
    if victim is thread.process:
        send.force(thread, SigInfo(SIGKILL, SI_KERNEL))
        return
    for process in list(kernel.processes.values()):
        if process.space is victim.space:
            send.to_process(process, send.kernel_info(SIGKILL))
    await _wait_for_the_end(thread, victim)


async def _wait_for_the_end(thread: Thread, victim: Process) -> None:
    """Until its memory is free, or the thread has signals of its own to look at."""
    if victim is thread.process:
        return
    nothing = WaitQueue()
    for _ in range(LOOKS):
        if victim.space is None:
            return
        try:
            await thread.wait(nothing, deadline_ns=await thread.kernel.timers.now() + LOOK_NS)
        except Interrupted:
            return
