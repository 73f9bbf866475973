"""What the peer holds of what was sent beyond the acknowledgement (RFC 6675).

`ranges` are disjoint and ascending, [start, end], as its SACK blocks told. Below `lost_to`, bytes
that are in no range are deemed lost; below `sent_again_to` they have been retransmitted since.
Both are sequence numbers; a timeout sets the first to everything that was sent. A peer without
SACK has no ranges; its duplicate acknowledgements are counted in `duplicate_bytes` instead, as
one segment each that has left the network.

A retransmission can be lost, too. RFC 6675 leaves that to the timeout; here each is remembered in
`_again` with what had been sent by then: if so much is held beyond that point that any other byte
would be deemed lost, and the retransmission is not, it goes to `_redo` and is sent once more.

`una`, the first byte that is not acknowledged, is passed in: the board does not follow it while
nothing is amiss. Ranges are bounded (a hostile peer may acknowledge every other byte): beyond
`MAX_RANGES` new ones are ignored, which costs a needless retransmission at worst.
"""

from __future__ import annotations

from bisect import bisect_left

MAX_RANGES = 1024
DUP_THRESH = 3
MAX_DUP_THRESH = 300
"""As Linux bounds what it calls reordering, in segments."""


class Scoreboard:
    """See the module."""

    __slots__ = (
        "_again",
        "_redo",
        "_starts",
        "dup_thresh",
        "duplicate_bytes",
        "lost_to",
        "ranges",
        "sacked_bytes",
        "sent_again_to",
    )

    def __init__(self, seq: int) -> None:
        self.ranges: list[list[int]] = []
        self._starts: list[int] = []
        self._again: list[tuple[int, int, int]] = []  # start, end, what was sent by then
        self._redo: list[tuple[int, int]] = []
        self.sacked_bytes = 0
        self.duplicate_bytes = 0
        self.lost_to = seq
        self.sent_again_to = seq
        self.dup_thresh = DUP_THRESH

    # ------------------------------------------------------------------ what the peer tells

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
        gone = 0
        for held in self.ranges:
            left, right = held
            if left >= una:
                break
            if right > una:
                self.sacked_bytes -= una - left
                held[0] = self._starts[gone] = una
                break
            self.sacked_bytes -= right - left
            gone += 1
        if gone:
            del self.ranges[:gone], self._starts[:gone]
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

    # ------------------------------------------------------------------ what follows from it

    def judge(self, una: int, mss: int) -> None:
        """Move `lost_to` up: section 4's IsLost, for all bytes at once.

        A byte is lost if three ranges, or more than two segments' bytes, are held above it. That
        can only be true of higher bytes if it is of lower ones: so there is one edge.
        """
        above = 0
        enough = (self.dup_thresh - 1) * mss
        for count, (left, right) in enumerate(reversed(self.ranges), 1):
            above += right - left
            if count >= self.dup_thresh or above > enough:
                if left > self.lost_to:
                    self.lost_to = left
                break
        again = self._again
        highest = self.highest
        done = 0
        for start, end, sent_by_then in again:
            if end > una and not self.is_held(max(start, una), end):
                if highest < sent_by_then + self.dup_thresh * mss:
                    break
                self._redo.append((start, end))
            done += 1
        del again[:done]

    def pipe(self, una: int, nxt: int) -> int:
        """Bytes thought to be in the network: section 4's SetPipe."""
        lost_to, again_to = self.lost_to, self.sent_again_to
        if lost_to <= una:
            return max(nxt - una - self.sacked_bytes - self.duplicate_bytes, 0)
        pipe = -self.duplicate_bytes
        at = una
        for left, right in self.ranges:
            if at < left:
                pipe += _in_flight(at, left, lost_to, again_to)
            at = right
        if at < nxt:
            pipe += _in_flight(at, nxt, lost_to, again_to)
        for start, end in self._redo:
            if end > una and not self.is_held(max(start, una), end):
                pipe -= end - max(start, una)
        return max(pipe, 0)

    def next_lost(self, una: int, mss: int) -> tuple[int, int] | None:
        """The next range to retransmit, at most `mss` long: section 4's NextSeg, rule 1."""
        redo = self._redo
        while redo:
            start, end = redo[0]
            start = max(start, una)
            if start < end and not self.is_held(start, end):
                return start, min(end, start + mss)
            del redo[0]
        return self._hole(self.lost_to, mss)

    def next_suspect(self, mss: int) -> tuple[int, int] | None:
        """The next range below what is held that was not sent again: NextSeg, rule 3."""
        return self._hole(self.highest, mss)

    def _hole(self, until: int, mss: int) -> tuple[int, int] | None:
        at = self.sent_again_to
        if at >= until:
            return None
        index = max(bisect_left(self._starts, at + 1) - 1, 0)
        for left, right in self.ranges[index:]:
            if at >= until:
                return None
            if at < left:
                return at, min(at + mss, left, until)
            if at < right:
                at = right
        return (at, min(at + mss, until)) if at < until else None

    def sent_again(self, start: int, end: int, nxt: int) -> None:
        """What `next_lost` or `next_suspect` gave was retransmitted."""
        if end > self.sent_again_to:
            self.sent_again_to = end
        elif self._redo:
            _, until = self._redo[0]
            if until > end:
                self._redo[0] = (end, until)
            else:
                del self._redo[0]
        self._again.append((start, end, nxt))

    # ------------------------------------------------------------------ episodes

    def begin(self, una: int, lost_to: int) -> None:
        """Recovery begins: nothing was sent again yet, and what is below `lost_to` is lost."""
        self._again.clear()
        self._redo.clear()
        self.sent_again_to = una
        if self.lost_to < lost_to:
            self.lost_to = lost_to

    def settle(self, una: int) -> None:
        """Recovery ends: nothing is deemed lost. What the peer holds stays known."""
        self._again.clear()
        self._redo.clear()
        self.duplicate_bytes = 0
        self.lost_to = self.sent_again_to = una

    def forget(self) -> None:
        """The peer has gone back on what it held, or it does not matter any longer."""
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
