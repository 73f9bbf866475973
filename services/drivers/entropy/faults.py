"""What armed faults do to a draw: `zero` makes it zeros, `repeat` what was drawn before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.faultspec import CallFault, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.faults import Armed

    Take = Callable[[int], bytes]

KINDS = ("repeat", "zero")
REMEMBERED_BYTES = 4096


class EntropyFaults:
    """An `Injector` of the source `take`. It outlives the driver."""

    kinds = KINDS

    def __init__(self, take: Take) -> None:
        self._plain = take
        self._taken: Callable[[Take], None] = lambda take: None
        self._armed: tuple[Armed, ...] = ()
        self._last = b""

    def serve(self, taken: Callable[[Take], None]) -> Take:
        """What the driver's draws go through; `taken` is called with it when that changes."""
        self._taken = taken
        return self._take if self._armed else self._plain

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`: the grammar has checked all there is."""
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""
        self._armed = tuple(faults)
        self._taken(self._take if self._armed else self._plain)

    def _take(self, count: int) -> bytes:
        for armed in self._armed:
            if not armed.strikes(count):
                continue
            assert isinstance(armed.fault, Fault)
            if armed.fault.kind == "zero":
                return bytes(count)
            if self._last:
                return (self._last * (count // len(self._last) + 1))[:count]
        drawn = self._plain(count)
        self._last = drawn[:REMEMBERED_BYTES] or self._last
        return drawn
