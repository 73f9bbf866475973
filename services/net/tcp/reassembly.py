"""Segments that arrived out of order (RFC 9293 3.10.7.4) and the SACK blocks that tell of them.

What is held are disjoint runs of bytes, in ascending order. Of a byte that comes twice the first
copy counts. Runs lie within the receive window, whose size bounds their bytes; their number is
bounded here, because a peer may send every other byte: of too many runs the last is dropped, which
RFC 2018 section 8 allows.
"""

from __future__ import annotations

from bisect import bisect_right

from services.net.tcp.byte_queue import ByteQueue, Piece

MAX_RUNS = 512
RUN_COST_BYTES = 1024
"""What a run costs beside its bytes: a receive buffer pays for as many runs as it could hold so."""
_LEAST_RUNS = 16


class Run:
    """Bytes with sequence numbers `start` up to `end`."""

    __slots__ = ("end", "queue", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.queue = ByteQueue()


class Reassembly:
    """The runs beyond the next byte expected, and which of them grew last."""

    __slots__ = ("_most", "_recent", "_starts", "runs")

    def __init__(self) -> None:
        self._most = MAX_RUNS
        self.runs: list[Run] = []
        self._starts: list[int] = []
        self._recent: list[Run] = []  # most recently grown first, RFC 2018 section 4

    @property
    def held_bytes(self) -> int:
        """Bytes in all runs."""
        return sum(run.end - run.start for run in self.runs)

    def add(self, start: int, data: Piece, limit_bytes: int = MAX_RUNS * RUN_COST_BYTES) -> bool:
        """Take in a piece, not empty; replies whether any byte of it was new.

        `limit_bytes` is the receive buffer's size, which bounds the number of runs, too.
        """
        self._most = min(max(limit_bytes // RUN_COST_BYTES, _LEAST_RUNS), MAX_RUNS)
        end = start + len(data)
        runs = self.runs
        new = False
        at = start
        index = bisect_right(self._starts, start)
        if index and runs[index - 1].end > start:
            at = runs[index - 1].end
        while at < end:
            follower = runs[index] if index < len(runs) else None
            until = end if follower is None or follower.start > end else follower.start
            if at < until:
                new = True
                index = self._put(index, at, until, data[at - start : until - start])
                if index > len(runs):
                    break
                at = runs[index - 1].end
            elif follower is not None:
                at = follower.end
                index += 1
        if new:
            self._touch(start)
        return new

    def _put(self, index: int, start: int, end: int, data: Piece) -> int:
        """Fill a hole, or a part of one, before run `index`; replies the index after what grew."""
        runs, starts = self.runs, self._starts
        before = runs[index - 1] if index else None
        if before is not None and before.end == start:
            before.queue.append(data)
            before.end = end
        else:
            run = Run(start, end)
            run.queue.append(data)
            runs.insert(index, run)
            starts.insert(index, start)
            before = run
            index += 1
        if index < len(runs) and runs[index].start == end:
            follower = runs.pop(index)
            del starts[index]
            before.queue.extend(follower.queue.drain())
            before.end = follower.end
            if follower in self._recent:
                self._recent.remove(follower)
            return index
        if len(runs) > self._most:
            last = runs.pop()
            starts.pop()
            if last in self._recent:
                self._recent.remove(last)
        return index

    def _touch(self, seq: int) -> None:
        index = bisect_right(self._starts, seq) - 1
        if index < 0:
            return
        run = self.runs[index]
        recent = self._recent
        if run in recent:
            recent.remove(run)
        recent.insert(0, run)
        del recent[4:]

    def take(self, next_seq: int, into: ByteQueue) -> int:
        """Move what is in order from `next_seq` on to a queue; replies the next byte missing."""
        runs = self.runs
        while runs and runs[0].start <= next_seq:
            run = runs.pop(0)
            del self._starts[0]
            if run in self._recent:
                self._recent.remove(run)
            if run.end > next_seq:
                if run.start < next_seq:
                    run.queue.drop(next_seq - run.start)
                into.extend(run.queue.drain())
                next_seq = run.end
        return next_seq

    def blocks(self, count: int) -> list[tuple[int, int]]:
        """Up to `count` SACK blocks, the most recently grown run first."""
        return [(run.start, run.end) for run in self._recent[:count]]

    def clear(self) -> None:
        """Forget everything."""
        self.runs.clear()
        self._starts.clear()
        self._recent.clear()
