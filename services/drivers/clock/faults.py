"""What armed faults do to the clocks.

    jump    the time of day moves `by` at its next reading (a step that nobody asked for; it stays)
    drift   all clocks run `ppm` millionths faster (slower, if negative) while it is armed

What drift has added stays when it is cleared, as MONOTONIC must not go back. Programs that read the
time by the vDSO see either within a quarter of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.faultspec import HOW_OFTEN, CallFault, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bus.faults import Armed

    ReadClock = Callable[[], int]

MAX_PPM = 500_000


class ClockFaults:
    """An `Injector` of the clocks. It outlives the driver, as what it has added does.

    `host_ns` is the host's clock that never goes back.
    """

    kinds = ("jump", "drift")

    def __init__(self, host_ns: ReadClock) -> None:
        self._host_ns = host_ns
        self._jumps: tuple[Armed, ...] = ()
        self._counted: set[int] = set()
        self._ppm = 0.0
        self._since_ns = self._added_ns = 0
        self._jumped_ns = 0
        self.on_change: Callable[[], None] = lambda: None
        """The driver's: its readers are to be asked for anew."""

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`."""
        if isinstance(fault, Fault) and fault.kind == "drift":
            said = fault.attributes
            if abs(float(said["ppm"])) > MAX_PPM:
                return f"ppm is {said['ppm']} (say up to {MAX_PPM}, or down to -{MAX_PPM})"
            if chance := sorted(said.keys() & (HOW_OFTEN.keys() - {"verbose"})):
                return (
                    f"drift lasts: it has no {chance[0]} (leave it out, clear it when it is over)"
                )
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""
        mine = [(one, one.fault) for one in faults if isinstance(one.fault, Fault)]
        now_ns = self._host_ns()
        self._added_ns, self._since_ns = self.skew_ns(), now_ns
        drifts = [(one, fault) for one, fault in mine if fault.kind == "drift"]
        self._ppm = sum(float(fault.attributes["ppm"]) for _, fault in drifts)
        for one, _ in drifts:
            if one.number not in self._counted:
                self._counted.add(one.number)
                one.eligible += 1
                one.struck()
        self._jumps = tuple(one for one, fault in mine if fault.kind == "jump")
        self.on_change()

    def skew_ns(self) -> int:
        """What drift has added until now."""
        if not self._ppm:
            return self._added_ns
        return self._added_ns + int((self._host_ns() - self._since_ns) * self._ppm / 1e6)

    def skewed(self, reader: ReadClock) -> ReadClock:
        """A clock as the faults show it; itself, as long as they have changed nothing."""
        if not self._ppm and not self._added_ns:
            return reader
        return lambda: reader() + self.skew_ns()

    def stepped(self, reader: ReadClock) -> ReadClock:
        """The same for the time of day, which jumps as well."""
        skewed = self.skewed(reader)
        if not self._jumps and not self._jumped_ns:
            return skewed

        def read() -> int:
            for armed in self._jumps:
                assert isinstance(armed.fault, Fault)
                if armed.strikes():
                    self._jumped_ns += int(float(armed.fault.attributes["by"]) * 1e9)
            return max(0, skewed() + self._jumped_ns)

        return read
