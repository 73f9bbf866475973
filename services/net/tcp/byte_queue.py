"""Queues of bytes that are kept in the pieces they came in.

A piece is handed on as it is where it fits, so that a write of 64 KiB becomes a segment's payload
and then a read's result without being copied. A small piece joins a small one before it: a peer
that sends single bytes must not make us keep an object for each. Pieces that grew in that way are
bytearrays and belong to the queue alone: whoever takes a part of one gets a copy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from bus.census import kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Piece = bytes | bytearray | memoryview

_SMALL = 1024
"""A piece shorter than this joins the one before, if that one is shorter than `_JOINED`."""
_JOINED = 8192
DATA = kind("net", "data")
"""Bytes received and not read, or written and not acknowledged; pieces being large, their heads
are left out of it."""


class ByteQueue:
    """What was received in order and is not read yet. `length` is in bytes."""

    __slots__ = ("_head", "_pieces", "length")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._head = 0  # bytes of the first piece that are gone
        self.length = 0

    def append(self, data: Piece) -> None:
        """Put a piece, not empty, at the end; it must not be changed afterwards."""
        pieces = self._pieces
        size = len(data)
        self.length += size
        DATA.grew(size)
        if pieces and size < _SMALL:
            tail = pieces[-1]
            if len(tail) < _JOINED:
                if type(tail) is not bytearray:
                    tail = pieces[-1] = bytearray(tail)
                tail += data
                return
        pieces.append(data)

    def __del__(self) -> None:
        DATA.grew(-self.length)

    def extend(self, pieces: Iterable[Piece]) -> None:
        """Append each of several pieces."""
        for piece in pieces:
            self.append(piece)

    def drain(self) -> Iterable[Piece]:
        """All that is there, as pieces; the queue is empty afterwards."""
        pieces, head = self._pieces, self._head
        DATA.grew(-self.length)
        self._pieces, self._head, self.length = deque(), 0, 0
        if head:
            pieces[0] = memoryview(pieces[0])[head:].tobytes()
        return pieces

    def take(self, limit_bytes: int) -> Piece:
        """Remove and return up to so many bytes, fewer only if there are no more."""
        pieces, head = self._pieces, self._head
        if not pieces or limit_bytes <= 0:
            return b""
        first = pieces[0]
        left = len(first) - head
        if left > limit_bytes:
            self._head = head + limit_bytes
            self.length -= limit_bytes
            DATA.grew(-limit_bytes)
            return bytes(first[head : head + limit_bytes])
        if left == limit_bytes or len(pieces) == 1:
            pieces.popleft()
            self._head = 0
            self.length -= left
            DATA.grew(-left)
            return first[head:] if head else first
        data = self.peek(limit_bytes)
        self.drop(len(data))
        return data

    def peek(self, limit_bytes: int, start: int = 0) -> bytes:
        """A copy of up to so many bytes, from the `start`-th on."""
        return b"".join(self._views(start, limit_bytes))

    def drop(self, count: int) -> None:
        """Remove so many bytes, of those that are there."""
        pieces = self._pieces
        self.length -= count
        DATA.grew(-count)
        count += self._head
        while pieces and count >= len(pieces[0]):
            count -= len(pieces.popleft())
        self._head = count

    def copy_out(
        self, memory: memoryview, extents: Sequence[tuple[int, int]], limit: int, start: int = 0
    ) -> int:
        """Copy up to `limit` bytes into runs of memory, (address, length); nothing is removed."""
        views = iter(self._views(start, limit))
        view = next(views, None)
        copied = 0
        for address, room in extents:
            while room and view is not None:
                size = len(view)
                if size > room:
                    memory[address : address + room] = view[:room]
                    view = view[room:]
                    copied += room
                    break
                memory[address : address + size] = view
                address += size
                room -= size
                copied += size
                view = next(views, None)
        return copied

    def _views(self, start: int, count: int) -> Iterable[memoryview]:
        """Views of `count` bytes from `start` on, of what there is."""
        start += self._head
        for piece in self._pieces:
            size = len(piece)
            if start >= size:
                start -= size
                continue
            if count <= 0:
                return
            view = memoryview(piece)[start : start + count]
            count -= len(view)
            start = 0
            yield view


class SendBuffer:
    """What was written and is not acknowledged yet, by sequence number: `base` up to `end`.

    Pieces stand in a list with the sequence number of each one's start in another, so that any
    range is found by bisection: a retransmission reads from anywhere.
    """

    __slots__ = ("_first", "_pieces", "_starts", "base", "end")

    def __init__(self, seq: int) -> None:
        self._pieces: list[Piece] = []
        self._starts: list[int] = []
        self._first = 0  # index of the piece that holds `base`; those before it are gone
        self.base = self.end = seq

    def __del__(self) -> None:
        DATA.grew(self.base - self.end)

    def rebase(self, seq: int) -> None:
        """Start anew at a sequence number; the buffer is empty."""
        self.base = self.end = seq

    def append(self, data: Piece) -> None:
        """Put a piece, not empty, at the end; it must not be changed afterwards."""
        size = len(data)
        end = self.end
        self.end = end + size
        DATA.grew(size)
        pieces = self._pieces
        if size < _SMALL and self._first < len(pieces):
            tail = pieces[-1]
            if len(tail) < _JOINED:
                if type(tail) is not bytearray:
                    tail = pieces[-1] = bytearray(tail)
                tail += data
                return
        pieces.append(data)
        self._starts.append(end)

    def slice(self, start: int, end: int) -> bytes | memoryview:
        """The bytes with sequence numbers `start` up to `end`, both within the buffer."""
        starts, pieces = self._starts, self._pieces
        index = bisect_right(starts, start, self._first) - 1
        piece = pieces[index]
        offset = start - starts[index]
        size = end - start
        have = len(piece) - offset
        if size <= have:
            if type(piece) is bytes:
                if size == len(piece):
                    return piece
                if size <= _SMALL:
                    return piece[offset : offset + size]
                return memoryview(piece)[offset : offset + size]
            return bytes(piece[offset : offset + size])
        parts: list[Piece] = [memoryview(piece)[offset:]]
        while size > have:
            size -= have
            index += 1
            piece = pieces[index]
            have = len(piece)
            parts.append(piece if size >= have else memoryview(piece)[:size])
        return b"".join(parts)

    def drop_to(self, seq: int) -> None:
        """Forget what lies before a sequence number, which is at most `end`."""
        DATA.grew(self.base - seq)
        self.base = seq
        if seq >= self.end:
            self._pieces.clear()
            self._starts.clear()
            self._first = 0
            return
        first = bisect_right(self._starts, seq, self._first) - 1
        if first != self._first:
            pieces = self._pieces
            if first > 64 and first * 2 > len(pieces):
                del pieces[:first], self._starts[:first]
                first = 0
            else:
                pieces[self._first : first] = [b""] * (first - self._first)
            self._first = first

    def pieces(self, start: int, end: int) -> Iterable[Piece]:
        """A range of sequence numbers in pieces, for a receiver on this machine."""
        while start < end:
            index = bisect_right(self._starts, start, self._first) - 1
            until = min(self._starts[index] + len(self._pieces[index]), end)
            yield self.slice(start, until)
            start = until

    def __len__(self) -> int:
        return self.end - self.base
