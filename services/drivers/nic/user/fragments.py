"""Putting fragmented datagrams of the guest's together again (RFC 791 3.2, RFC 8200 4.5).

Bounded in datagrams, bytes and time. Overlapping fragments make the whole datagram void, for IPv4
too (RFC 5722 for IPv6). Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.net.proto.ipheader import IpHeader

MAX_DATAGRAMS = 64
MAX_BYTES = 4 << 20
TIMEOUT_NS = 30_000_000_000

_Key = tuple[bytes, bytes, int, int]


class _Partial:
    __slots__ = ("deadline_ns", "held", "pieces", "total")

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.pieces: dict[int, bytes] = {}
        self.held = 0
        self.total = -1  # unknown until the last fragment is there


class Fragments:
    """The datagrams that are not whole yet, oldest first."""

    def __init__(self) -> None:
        self._partial: dict[_Key, _Partial] = {}
        self._bytes = 0
        self.dropped = 0
        """Datagrams that were given up."""

    def add(self, head: IpHeader, payload: memoryview, now_ns: int) -> bytes | None:
        """Take one fragment; the whole payload once it is there."""
        self._expire(now_ns)
        key = (head.src, head.dst, head.proto, head.ident)
        partial = self._partial.get(key)
        if partial is None:
            if len(self._partial) >= MAX_DATAGRAMS:
                self._drop(next(iter(self._partial)))
            partial = self._partial[key] = _Partial(now_ns + TIMEOUT_NS)
        at, size = head.fragment_at, len(payload)
        if bytes(payload) == partial.pieces.get(at):
            return None  # the same once more
        end_known = partial.total >= 0
        last = not head.more_fragments
        if at in partial.pieces or (end_known and (last or at + size > partial.total)):
            self._drop(key)
            return None
        if last:
            partial.total = at + size
        partial.pieces[at] = bytes(payload)
        partial.held += size
        self._bytes += size
        if partial.held >= partial.total >= 0:
            return self._whole(key, partial)
        while self._bytes > MAX_BYTES:
            self._drop(next(iter(self._partial)))
        return None

    def _whole(self, key: _Key, partial: _Partial) -> bytes | None:
        """The pieces joined, if they follow each other without gap or overlap."""
        expected = 0
        for at in sorted(partial.pieces):
            if at != expected:
                self._drop(key)
                return None
            expected += len(partial.pieces[at])
        self._bytes -= partial.held
        del self._partial[key]
        if expected != partial.total:
            self.dropped += 1
            return None
        return b"".join(partial.pieces[at] for at in sorted(partial.pieces))

    def _drop(self, key: _Key) -> None:
        self._bytes -= self._partial.pop(key).held
        self.dropped += 1

    def _expire(self, now_ns: int) -> None:
        while self._partial:
            key = next(iter(self._partial))
            if self._partial[key].deadline_ns > now_ns:
                return
            self._drop(key)
