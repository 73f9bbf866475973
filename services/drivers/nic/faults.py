"""What armed faults do to frames: the words of tc-netem(8).

    loss       it is gone. `correlation`: with that chance it fares as the one before; `to_bad`,
               `to_good`: only while the link is bad, which it becomes and ceases to be with those
               chances (Gilbert-Elliott)
    partition  it is gone, and so are all (the link is down)
    delay      it comes `time`, plus or minus up to `jitter`, later; `correlation` as for loss
    reorder    it comes after the `gap` (1) next ones, or after `time` (50ms)
    duplicate  it comes twice
    corrupt    one bit of it is flipped; a checksum that was left to the card is then wrong
    rate       it waits until `bytes` a second let it through; behind a second's worth it is lost

`direction`: in (to the guest), out or both (as if left out). A frame with segmentation left to the
card is one frame, of up to 64 KiB. `space` counts bytes.

While faults are armed, two methods of the link are replaced in that one link; with none, it has its
own back. A frame that waits is copied: buffers in RAM are the rings' own.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.faultspec import DEVICE_KINDS, CallFault, Fault
from services.drivers.nic.link import Link, cut, scatter
from services.drivers.nic.rings import HEADER_BYTES, NEEDS_CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.faults import Armed

KINDS = tuple(DEVICE_KINDS["nic"])
REORDER_S = 0.05
MAX_WAITING = 4096
"""More frames than that are not held; the next are lost."""


@attrs.define(eq=False)
class _Fate:
    """What becomes of one frame."""

    lost: bool = False
    delay_s: float = 0.0
    twice: bool = False
    corrupted_by: Armed | None = None
    behind: int = 0


@attrs.define(eq=False)
class _State:
    """What a fault remembers of a direction from one frame to the next."""

    last: bool = False
    last_delay_s: float = 0.0
    bad: bool = False
    free_s: float = 0.0
    """When the line, at its rate, has sent all that it was given."""


@attrs.define(order=True)
class _Waiting:
    due_s: float
    number: int
    incoming: bool = attrs.field(order=False)
    content: bytes = attrs.field(order=False)
    behind: int = attrs.field(order=False, default=0)


class NicFaults:
    """An `Injector` of the card's link; its task, `run`, lets go what waits."""

    kinds = KINDS

    def __init__(self, link: Link) -> None:
        self._link = link
        self._armed: tuple[Armed, ...] = ()
        self._states: dict[tuple[int, bool], _State] = {}
        self._waiting: list[_Waiting] = []
        self._number = 0
        self._changed = trio.Event()

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`: the grammar has checked all there is."""
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""
        self._armed = tuple(faults)
        numbers = {one.number for one in self._armed}
        self._states = {key: s for key, s in self._states.items() if key[0] in numbers}
        own: dict[str, Any] = vars(self._link)
        if self._armed:
            own["transmit"], own["commit"] = self._transmit, self._commit
        else:
            own.pop("transmit", None)
            own.pop("commit", None)
            for waiting in self._waiting:
                waiting.due_s = 0.0
            self._changed.set()

    # Frames -----------------------------------------------------------------------------------

    def _transmit(self, frame: list[memoryview]) -> bool:
        """In place of `Link.transmit`."""
        fate = self._fate(False, sum(map(len, frame)) - HEADER_BYTES)
        if fate.lost:
            return True
        if fate.corrupted_by is None and not fate.delay_s and not fate.twice:
            return Link.transmit(self._link, frame) and self._passed(False)
        content = self._content(frame, fate)
        if fate.delay_s:
            self._keep(False, content, fate)
        elif not Link.transmit(self._link, [memoryview(content)]):
            return False
        else:
            self._passed(False)
        if fate.twice:
            Link.transmit(self._link, [memoryview(content)])
        return True

    def _commit(self, length_bytes: int) -> None:
        """In place of `Link.commit`: what is not committed leaves its buffer to the next frame."""
        link = self._link
        views = cut(link.reserve() or [], length_bytes)
        fate = self._fate(True, length_bytes - HEADER_BYTES)
        if fate.lost:
            return
        if fate.corrupted_by is None and not fate.delay_s and not fate.twice:
            Link.commit(link, length_bytes)
            self._passed(True)
            return
        content = self._content(views, fate)
        if fate.delay_s:
            self._keep(True, content, fate)
        else:
            scatter([content], views)
            Link.commit(link, length_bytes)
            self._passed(True)
        if fate.twice:
            self._deliver(content)

    def _content(self, frame: Sequence[memoryview], fate: _Fate) -> bytes:
        content = bytearray().join(frame)
        if fate.corrupted_by is not None and len(content) > HEADER_BYTES:
            chance = fate.corrupted_by.random
            content[chance.randrange(HEADER_BYTES, len(content))] ^= 1 << chance.randrange(8)
            if content[0] & NEEDS_CHECKSUM:  # nobody will make the checksum good any more
                content[: HEADER_BYTES - 2] = bytes(HEADER_BYTES - 2)
        return bytes(content)

    def _deliver(self, content: bytes) -> None:
        """Hand up a copy; it is lost where there is no buffer."""
        views = self._link.reserve()
        if views is not None:
            Link.commit(self._link, scatter([content], views))

    # Fates ------------------------------------------------------------------------------------

    def _fate(self, incoming: bool, size: int) -> _Fate:
        fate = _Fate()
        for armed in self._armed:
            fault = armed.fault
            assert isinstance(fault, Fault)
            if fault.attributes.get("direction", "both") in ("both", "in" if incoming else "out"):
                state = self._states.setdefault((armed.number, incoming), _State())
                self._judge(fate, armed, fault, state, size)
        return fate

    def _judge(self, fate: _Fate, armed: Armed, fault: Fault, state: _State, size: int) -> None:
        said = fault.attributes
        if fault.kind == "loss" and ("to_bad" in said or "to_good" in said):
            odds = said.get("to_good", 100.0) if state.bad else said.get("to_bad", 100.0)
            state.bad ^= armed.random.random() * 100.0 < float(odds)
            fate.lost |= state.bad and armed.strikes(size)
            return
        repeats = "correlation" in said and (
            armed.random.random() * 100.0 < float(said["correlation"])
        )
        strikes = state.last if repeats else armed.strikes(size)
        if repeats and strikes:
            armed.struck()
        state.last = strikes
        if not strikes:
            return
        match fault.kind:
            case "loss" | "partition":
                fate.lost = True
            case "duplicate":
                fate.twice = True
            case "corrupt":
                fate.corrupted_by = armed
            case "reorder":
                fate.behind = int(said.get("gap", 1))
                fate.delay_s += float(said.get("time", REORDER_S))
            case "rate":
                _throttle(fate, state, size, int(said["bytes"]))
            case _:
                jitter_s = float(said.get("jitter", 0.0))
                if not repeats:
                    state.last_delay_s = armed.random.uniform(-jitter_s, jitter_s)
                fate.delay_s += max(0.0, float(said["time"]) + state.last_delay_s)

    # Waiting ----------------------------------------------------------------------------------

    def _keep(self, incoming: bool, content: bytes, fate: _Fate) -> None:
        if len(self._waiting) >= MAX_WAITING:
            return
        self._number += 1
        due_s = trio.current_time() + fate.delay_s
        waiting = _Waiting(due_s, self._number, incoming, content, fate.behind)
        heapq.heappush(self._waiting, waiting)
        if self._waiting[0] is waiting:
            self._changed.set()

    def _passed(self, incoming: bool) -> bool:
        """A frame went by: those that wait for that to happen come nearer. Always True."""
        for waiting in self._waiting:
            if waiting.behind and waiting.incoming is incoming:
                waiting.behind -= 1
                if not waiting.behind:
                    waiting.due_s = 0.0
                    self._changed.set()
        return True

    def _let_go(self) -> None:
        """Send on what is due."""
        now = trio.current_time()
        heapq.heapify(self._waiting)
        directions = set()
        while self._waiting and self._waiting[0].due_s <= now:
            waiting = heapq.heappop(self._waiting)
            directions.add(waiting.incoming)
            if waiting.incoming:
                self._deliver(waiting.content)
            else:
                Link.transmit(self._link, [memoryview(waiting.content)])
        if True in directions:
            self._link.flush()
        if False in directions:
            self._link.settle()

    async def run(self) -> None:
        """Let go what waits when its time has come; until cancelled."""
        while True:
            self._changed = trio.Event()
            self._let_go()
            due_s = self._waiting[0].due_s if self._waiting else float("inf")
            with trio.move_on_at(due_s):
                await self._changed.wait()


def _throttle(fate: _Fate, state: _State, size: int, rate: int) -> None:
    now = trio.current_time()
    behind_s = max(state.free_s, now) - now
    if behind_s > 1.0:
        fate.lost = True
        return
    state.free_s = now + behind_s + size / max(rate, 1)
    fate.delay_s += behind_s
