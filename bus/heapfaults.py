"""Reservations that fail although there is room: fault injection on the admission point itself.

`HeapFaults` is what `Ledger.fails` takes. It makes each distinct way to a reservation fail once
(`once`), as Biscuit's build switch does, or any of them with a probability. Those who then wait are
let in at once, as there is room: what is tried is every way out and back in.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from bus.faultspec import DEVICE_KINDS, HOW_OFTEN, CallFault, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from bus.faults import Armed
    from bus.ledger import Ledger

DEPTH = 8
"""Frames that tell one way from another."""


class HeapFaults:
    """`odds` is None for once a way, else a probability; `seed` makes it repeatable."""

    def __init__(self, odds: float | None = None, seed: int = 0) -> None:
        self._odds = odds
        self._random = random.Random(seed)
        self._seen: set[tuple[object, ...]] = set()
        self.injected = 0

    def __call__(self, bound_bytes: int) -> bool:
        """Whether this reservation fails."""
        if self._odds is None:
            way = (bound_bytes, *_way())
            fails = way not in self._seen
            self._seen.add(way)
        else:
            fails = self._random.random() < self._odds
        self.injected += fails
        return fails

    @property
    def ways(self) -> int:
        """How many distinct ways to a reservation there were."""
        return len(self._seen)


def _way() -> tuple[tuple[CodeType, int], ...]:
    """Who asks: code and place in it of the callers, the nearest first."""
    frame = sys._getframe(3)
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < DEPTH:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


class HeapInjector:
    """Faults of the heap that are armed: an `Injector` of the ledger.

    `heap:pressure,bytes=16M` takes that much away while it is armed. `heap:fail` fails
    reservations: the `nth` from now on, once; or as `probability`, `interval`, `times` and `space`
    (bytes) say. Whoever has to wait then, or has to begin anew, is let in as there is room.
    """

    kinds = tuple(DEVICE_KINDS["heap"])

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._plain = ledger.fails
        self._fails: tuple[Armed, ...] = ()
        self._standing: set[int] = set()

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`."""
        if isinstance(fault, Fault) and fault.kind == "pressure":
            said, limit = fault.attributes, self._ledger.limit_bytes
            if int(said["bytes"]) >= limit:
                return f"bytes is {said['bytes']} (say less than the heap's {limit})"
            if chance := sorted(said.keys() & (HOW_OFTEN.keys() - {"verbose"})):
                return f"pressure lasts: it has no {chance[0]} (leave it out)"
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""
        pressing = {one.number: one for one in faults if _kind(one) == "pressure"}
        for number in self._standing - pressing.keys():
            self._ledger.stand(f"fault {number}", 0)
            self._ledger.grant()
        for number, one in pressing.items():
            if number not in self._standing:
                assert isinstance(one.fault, Fault)
                self._ledger.stand(f"fault {number}", int(one.fault.attributes["bytes"]))
                one.eligible += 1
                one.struck()
        self._standing = set(pressing)
        self._fails = tuple(one for one in faults if _kind(one) == "fail")
        self._ledger.fails = self._failing if self._fails else self._plain

    def _failing(self, bound_bytes: int) -> bool:
        fails = self._plain is not None and self._plain(bound_bytes)
        for one in self._fails:
            assert isinstance(one.fault, Fault)
            nth = one.fault.attributes.get("nth")
            if nth is None:
                fails |= one.strikes(bound_bytes)
                continue
            one.eligible += 1
            if one.eligible == nth:
                one.struck()
                fails = True
        return fails


def _kind(armed: Armed) -> str:
    return armed.fault.kind if isinstance(armed.fault, Fault) else ""
