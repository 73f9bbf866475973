"""The clock driver: the only place that knows what time it is.

Times are integers in nanoseconds. `REALTIME` counts from 1970; `MONOTONIC` and `BOOTTIME` from
the kernel's boot.
"""

from __future__ import annotations

from bus.message import Request, request

REALTIME, MONOTONIC, BOOTTIME = 0, 1, 7


@request("clock", idempotent=True)
class Now(Request[int]):
    """The time on clock `clock`, ns."""

    clock: int


@request("clock")
class Sleep(Request[None]):
    """Wait until MONOTONIC reaches `until_ns`."""

    until_ns: int


@request("clock")
class SetRealtime(Request[None]):
    """clock_settime(2): the guest's own notion of the time of day; the host's stays."""

    realtime_ns: int
