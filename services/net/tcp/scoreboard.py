"""What the peer holds of what was sent beyond the acknowledgement (RFC 6675).

`ranges` are disjoint and ascending, [start, end], as its SACK blocks told. Below `lost_to`, bytes
that are in no range are deemed lost; below `sent_again_to` they have been retransmitted since.
Both are sequence numbers; a timeout sets the first to everything that was sent. A peer without
SACK has no ranges; its duplicate acknowledgements are counted in `duplicate_bytes` instead, as
one segment each that has left the network.

Ranges are bounded (a hostile peer may acknowledge every other byte): beyond `MAX_RANGES` new ones
are ignored, which costs a needless retransmission at worst.
"""

from __future__ import annotations

from bisect import bisect_left

MAX_RANGES = 1024
DUP_THRESH = 3


class Scoreboard:
    """See the module."""

    __slots__ = ("_starts", "duplicate_bytes", "lost_to", "ranges", "sacked_bytes", "sent_again_to")

    def __init__(self, seq: int) -> None:
        self.ranges: list[list[int]] = []
        self._starts: list[int] = []
        self.sacked_bytes = 0
        self.duplicate_bytes = 0
        self.lost_to = seq
        self.sent_again_to = seq

    def add(self, start: int, end: int) -> int:
        """Take in a block that lies within what is in flight; replies with the bytes new in it."""
        ranges, starts = self.ranges, self._starts
        low = bisect_left(starts, start)
        if low and ranges[low - 1][1] >= start:
            low -= 1
            if ranges[low][1] >= end:
                return 0
        high = low
        known = 0
        while high < len(ranges) and ranges[high][0] <= end:
            left, right = ranges[high]
            known += right - left
            start = min(start, left)
            end = max(end, right)
            high += 1
        if low == high and len(ranges) >= MAX_RANGES:
            return 0
        ranges[low:high] = [[start, end]]
        starts[low:high] = [start]
        fresh = end - start - known
        self.sacked_bytes += fresh
        return fresh

    def advance(self, una: int) -> None:
        """Everything below `una` is acknowledged."""
        ranges = self.ranges
        while ranges and ranges[0][0] <= una:
            left, right = ranges[0]
            if right > una:
                self.sacked_bytes -= una - left
                ranges[0][0] = self._starts[0] = una
                break
            self.sacked_bytes -= right - left
            del ranges[0], self._starts[0]
        if self.lost_to < una:
            self.lost_to = una
        if self.sent_again_to < una:
            self.sent_again_to = una

    def is_held(self, start: int, end: int) -> bool:
        """Whether the peer has told that it holds the whole of a range."""
        index = bisect_left(self._starts, start + 1) - 1
        return index >= 0 and self.ranges[index][1] >= end

    @property
    def highest(self) -> int:
        """The end of the last range, or 0."""
        return self.ranges[-1][1] if self.ranges else 0

    def judge(self, mss: int) -> None:
        """Move `lost_to` up: section 4's IsLost, for all bytes at once.

        A byte is lost if three ranges, or more than two segments' bytes, are held above it. That
        can only be true of lower bytes if it is of higher ones: so there is one edge.
        """
        above = 0
        for count, (left, right) in enumerate(reversed(self.ranges), 1):
            above += right - left
            if count >= DUP_THRESH or above > (DUP_THRESH - 1) * mss:
                if left > self.lost_to:
                    self.lost_to = left
                return

    def pipe(self, una: int, nxt: int) -> int:
        """Bytes thought to be in the network: section 4's SetPipe."""
        lost_to, again_to = self.lost_to, self.sent_again_to
        if lost_to <= una:
            return max(nxt - una - self.sacked_bytes - self.duplicate_bytes, 0)
        pipe = 0
        at = una
        for left, right in self.ranges:
            if at < left:
                pipe += _in_flight(at, left, lost_to, again_to)
            at = right
        if at < nxt:
            pipe += _in_flight(at, nxt, lost_to, again_to)
        return max(pipe - self.duplicate_bytes, 0)

    def next_lost(self, mss: int) -> tuple[int, int] | None:
        """The next range to retransmit, at most `mss` long: section 4's NextSeg, rule 1."""
        return self._next_hole(self.lost_to, mss)

    def next_hole(self, mss: int) -> tuple[int, int] | None:
        """The next range below the highest held that was not retransmitted: NextSeg, rule 3."""
        return self._next_hole(self.highest, mss)

    def _next_hole(self, until: int, mss: int) -> tuple[int, int] | None:
        at = self.sent_again_to
        if at >= until:
            return None
        index = max(bisect_left(self._starts, at + 1) - 1, 0)
        for left, right in self.ranges[index:]:
            if at < left:
                return at, min(at + mss, left, until)
            if at < right:
                at = right
        return (at, min(at + mss, until)) if at < until else None

    def forget(self) -> None:
        """The peer has gone back on what it held, or nothing of it matters any longer."""
        self.ranges.clear()
        self._starts.clear()
        self.sacked_bytes = 0
        self.duplicate_bytes = 0


def _in_flight(start: int, end: int, lost_to: int, again_to: int) -> int:
    """What a hole adds to the pipe: bytes not lost, and bytes sent again."""
    pipe = 0
    if end > lost_to:
        pipe = end - (start if start > lost_to else lost_to)
    if start < again_to:
        pipe += (end if end < again_to else again_to) - start
    return pipe
