"""What a thread, a process and its children have used (getrusage(2)), as plain sums.

A thread has a `Usage` of its own. A process has two more, made when they are needed: of threads
that are gone (`Process.ended`) and of children that were waited for (`Process.reaped`).
"""

from __future__ import annotations

import struct

US, TICK_NS = 1_000, 10_000_000
"""A tick is USER_HZ's, a hundredth of a second."""
_RUSAGE = struct.Struct("<18q")


class Usage:
    """Times in host nanoseconds; `waits` and `preemptions` are ru_nvcsw and ru_nivcsw."""

    __slots__ = (
        "major_faults",
        "minor_faults",
        "peak_bytes",
        "preemptions",
        "system_ns",
        "user_ns",
        "waits",
    )

    def __init__(self) -> None:
        self.user_ns = 0
        self.system_ns = 0
        self.minor_faults = 0
        self.major_faults = 0
        self.waits = 0
        self.preemptions = 0
        self.peak_bytes = 0
        """Of children only: the most that one of them had resident."""

    @property
    def cpu_ns(self) -> int:
        """All time on the core."""
        return self.user_ns + self.system_ns

    @property
    def ticks(self) -> tuple[int, int]:
        """User and system time in USER_HZ."""
        return self.user_ns // TICK_NS, self.system_ns // TICK_NS

    def add(self, other: Usage) -> None:
        """Add another's sums; the peak is the higher one."""
        self.user_ns += other.user_ns
        self.system_ns += other.system_ns
        self.minor_faults += other.minor_faults
        self.major_faults += other.major_faults
        self.waits += other.waits
        self.preemptions += other.preemptions
        if other.peak_bytes > self.peak_bytes:
            self.peak_bytes = other.peak_bytes

    def pack(self, peak_bytes: int) -> bytes:
        """struct rusage; what is not counted (blocks, messages, signals) is 0."""
        return _RUSAGE.pack(
            *divmod(self.user_ns // US, 1_000_000), *divmod(self.system_ns // US, 1_000_000),
            peak_bytes >> 10, 0, 0, 0, self.minor_faults, self.major_faults,
            0, 0, 0, 0, 0, 0, self.waits, self.preemptions,
        )  # fmt: skip


NOTHING = Usage()
"""For those who only read."""


def total(*parts: Usage | None) -> Usage:
    """The sum of several; not to be changed, as it may be one of them."""
    given = [part for part in parts if part is not None]
    if len(given) == 1:
        return given[0]
    whole = Usage()
    for part in given:
        whole.add(part)
    return whole
