"""The killer on the bus, and the housekeeping of the heap: idle collections.

Its rank is above proc's, so that it may ask proc, fs and net; nobody calls it but boot and tools.
What wakes it is no message: the admission point rings `on_shortage` when somebody has to wait, so
there is no edge from proc to it, and no cycle.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import PosixError
from services.fs.api import EvictNames, EvictPages
from services.killer import api
from services.killer.core import Hunt, Step, Suspect, Verdict, judge
from services.net.api import Evict
from services.proc.api import ListSuspects, Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bus.admission import Admission
    from bus.collector import Collector
    from bus.core import Bus

ALL = 1 << 30
SIGKILL = 9
FIRST_LOOK_S, LONGEST_LOOK_S = 0.001, 0.05
"""How often it looks whether a killed process is gone: doubling from one to the other."""
REST_S = 0.1
PATIENCE_S = 10.0
"""How long a killed process may take before the hunt goes on without it."""
THAW_EVERY_S = 10.0
"""Reference counts free what a killed process held; what only a search of everything finds does
not grow fast."""
IDLE_LOOK_S = 0.25
IDLE_SHARE = 0.1
"""The kernel is idle while it uses less of the host's processor than that."""


class KillerService:
    """Serves "killer"; `protected` are names (comm) that are never killed."""

    def __init__(
        self,
        bus: Bus,
        admission: Admission,
        collector: Collector,
        protected: frozenset[bytes] = frozenset(),
        log: Callable[[str], None] = print,
    ) -> None:
        self._proc, self._fs, self._net = (bus.port("killer", n) for n in ("proc", "fs", "net"))
        self._ring = bus.rings["killer"]
        self._admission = admission
        self._collector = collector
        self._protected = protected
        self._log = log
        self._bell = trio.Event()
        self._thawed_s = -THAW_EVERY_S
        self.kills = 0
        self.handlers: Mapping[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Info: self.info,
            api.Prof: self.prof,
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait for shortages and relieve them, until cancelled."""
        self._admission.on_shortage = self._ring_bell
        if self._admission.waiting:
            self._ring_bell()  # an earlier incarnation did not get to them
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._collect_when_idle)
                task_status.started()
                while True:
                    await self._bell.wait()
                    self._bell = trio.Event()
                    await self._relieve()
        finally:
            self._admission.on_shortage = lambda: None

    def _ring_bell(self) -> None:
        self._bell.set()

    # Relief -----------------------------------------------------------------------------------

    async def _relieve(self) -> None:
        hunt = Hunt()
        ledger, ring = self._admission, self._ring
        victim: Suspect | None = None
        ring.record(
            api.Short(
                ledger.wanted_bytes,
                ledger.shortage_bytes,
                ledger.lastgc,
                ledger.used,
                ledger.current,
                ledger.waiting,
            )
        )
        while self._short():
            step = hunt.next()
            if step is Step.COLLECT:
                objects = self._collect()
                ring.record(api.Collected(objects, ledger.live))
            elif step is Step.EVICT:
                await self._evict()
            elif step is Step.KILL:
                victim = await self._kill(hunt)
            elif step is Step.AWAIT_END:
                assert victim is not None
                await self._await_end(victim.pid)
            else:
                await trio.sleep(REST_S)
            await trio.lowlevel.checkpoint()
        ring.record(api.Relieved(ledger.live, hunt.kills))

    def _collect(self) -> int:
        """Everything the first time, and then no more often than `THAW_EVERY_S`."""
        now = trio.current_time()
        if now - self._thawed_s < THAW_EVERY_S:
            return self._collector.recent("pressure")
        objects = self._collector.thorough("pressure")
        self._thawed_s = trio.current_time()
        return objects

    def _short(self) -> bool:
        """Let those in for whom there is room now; whether somebody still waits."""
        self._admission.grant()
        return self._admission.waiting > 0

    async def _evict(self) -> None:
        names = await self._fs.call(EvictNames(ALL))
        pages = await self._fs.call(EvictPages(ALL))
        entries = (("names", names), ("pages", pages), *(await self._net.call(Evict())))
        self._ring.record(api.Evicted(entries, self._admission.live))

    async def _suspects(self) -> list[Suspect]:
        return [
            Suspect(
                p.pid,
                p.name,
                p.regions,
                p.descriptors,
                p.threads,
                p.unreaped,
                p.timers,
                p.immortal or p.name in self._protected,
            )
            for p in await self._proc.call(ListSuspects())
            if p.threads
        ]

    async def _kill(self, hunt: Hunt) -> Suspect | None:
        verdict = judge(await self._suspects())
        ledger = self._admission
        if verdict is None:
            self._ring.record(api.Helpless(ledger.waiting, ledger.shortage_bytes))
            self._log(
                f"hardtack: kernel heap: {ledger.waiting} calls wait for heap, "
                f"{ledger.shortage_bytes:,} bytes are missing, and nobody may be killed"
            )
            hunt.helpless()
            return None
        if not verdict.obvious and hunt.hesitate():
            return None
        victim = verdict.victim
        self.kills += 1
        self._tell(verdict)
        with contextlib.suppress(PosixError):  # it may have gone by itself
            await self._proc.call(Signal(victim.pid, SIGKILL))
        hunt.killed()
        return victim

    def _tell(self, verdict: Verdict) -> None:
        victim, ledger = verdict.victim, self._admission
        self._ring.record(
            api.Killed(
                victim.pid,
                victim.name,
                victim.score,
                victim.regions,
                victim.descriptors,
                victim.threads,
                victim.unreaped,
                victim.timers,
                verdict.obvious,
                verdict.runner_up,
            )
        )
        doubt = (
            "" if verdict.obvious else f"; no obvious bad citizen, the next has {verdict.runner_up}"
        )
        self._log(
            f"hardtack: kernel heap: {ledger.live:,} of {ledger.limit_bytes:,} bytes live, "
            f"{ledger.current:,} reserved, {ledger.waiting} waiting for {ledger.wanted_bytes:,}: "
            f"killed {victim.pid} ({victim.name.decode(errors='replace')}), score {victim.score} "
            f"({victim.regions} regions, {victim.descriptors} descriptors, {victim.threads} "
            f"threads, {victim.unreaped} unreaped, {victim.timers} timers){doubt}"
        )

    async def _await_end(self, pid: int) -> None:
        """Wait until a process has no threads left; a zombie that nobody reaps holds little."""
        pause_s = FIRST_LOOK_S
        with trio.move_on_after(PATIENCE_S):
            while any(p.pid == pid for p in await self._suspects()):
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_LOOK_S)
            self._ring.record(api.Gone(pid, self._admission.live))

    # Housekeeping -----------------------------------------------------------------------------

    async def _collect_when_idle(self) -> None:
        used = time.process_time()
        while True:
            await trio.sleep(IDLE_LOOK_S)
            now = time.process_time()
            if now - used < IDLE_SHARE * IDLE_LOOK_S:
                self._collector.idle()
                now = time.process_time()
            used = now

    # Requests ---------------------------------------------------------------------------------

    async def info(self, call: api.Info) -> api.HeapInfo:
        """Info."""
        if call.collect:
            self._collector.thorough("demand")
        return self._info()

    async def prof(self, call: api.Prof) -> api.HeapInfo:
        """Prof."""
        await self._evict()
        self._collector.thorough("demand")
        return self._info()

    def _info(self) -> api.HeapInfo:
        ledger, pauses = self._admission, self._collector.pauses
        return api.HeapInfo(
            ledger.limit_bytes,
            ledger.lastgc,
            ledger.used,
            ledger.current,
            sum(ledger.standing.values()),
            ledger.peak,
            ledger.waiting,
            ledger.waits,
            ledger.deep_failures,
            self._collector.fulls,
            sum(pauses.total_s),
            pauses.longest_s,
            self.kills,
            tuple((k.service, k.name, k.count, k.live) for k in ledger.heap.by_bytes()),
        )
