"""Putting fragments together again (RFC 791 3.2, RFC 8200 4.5).

Fragments that overlap condemn their datagram, and what comes of it later is dropped as well
(RFC 5722; the same policy for IPv4); an exact repetition is ignored. Bounded in bytes (each
fragment costs a little more than its data), in datagrams and in fragments of one datagram: when
something must go, it is the oldest datagram. Thirty seconds after its first fragment a datagram
is given up; as they are kept in order of age, one timer serves all.

Rejected: RFC 815's hole list. With nothing ever overwritten, a sorted list of pieces is simpler.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from bus.census import kind
from services.net.ip.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.timers import Timers
    from services.net.proto.ipheader import IpHeader

TIMEOUT_NS = 30_000_000_000
MAX_BYTES = 4 << 20
MAX_DATAGRAMS = 256
MAX_FRAGMENTS = 1500  # 65,535 bytes in pieces that a link of 68 bytes can carry
_FRAGMENT_COST_BYTES = 256

FRAGMENTS = kind("net", "fragments")

Key = tuple[bytes, bytes, int, int]
"""Source, destination, protocol (0 in IPv6), identification."""


class Partial:
    """A datagram of which some fragments are there."""

    __slots__ = ("cost_bytes", "end", "first", "head", "pieces", "received_bytes", "until_ns")

    def __init__(self, until_ns: int) -> None:
        self.until_ns = until_ns
        self.pieces: list[tuple[int, memoryview]] = []  # by offset
        self.received_bytes = 0
        self.cost_bytes = _FRAGMENT_COST_BYTES
        self.end = -1  # of the whole; -1: the last fragment is missing; -2: condemned
        self.head: IpHeader | None = None  # of the first fragment
        self.first: memoryview | None = None  # the first fragment, header and all


class Reassembly:
    """All partial datagrams of a stack."""

    def __init__(
        self,
        timers: Timers,
        on_failure: Callable[[bytes], None],
        on_timeout: Callable[[bytes, IpHeader | None, memoryview | None], None],
    ) -> None:
        self._timers = timers
        self._on_failure = on_failure  # (source): a datagram is given up
        self._on_timeout = on_timeout  # (source, first fragment if it is there), besides
        self._partials: dict[Key, Partial] = {}  # oldest first
        self._bytes = 0
        self._timer = Timer(self._expire)

    def __del__(self) -> None:
        self._hold(-self._bytes)

    def _hold(self, cost_bytes: int) -> None:
        self._bytes += cost_bytes
        FRAGMENTS.grew(cost_bytes)

    def __len__(self) -> int:
        return len(self._partials)

    @property
    def held_bytes(self) -> int:
        """What the fragments held cost, at most `MAX_BYTES` but for the newest."""
        return self._bytes

    def held(self, width: int) -> tuple[int, int]:
        """Datagrams of a family (addresses of `width` bytes), and what their fragments cost."""
        costs = [one.cost_bytes for key, one in self._partials.items() if len(key[0]) == width]
        return len(costs), sum(costs)

    def add(
        self, head: IpHeader, datagram: memoryview, now_ns: int
    ) -> tuple[IpHeader, memoryview, bytes] | None:
        """Take a fragment. If it was the last missing: the first fragment's header, the first
        fragment itself, and the whole payload.

        `datagram` is kept; its memory must not change.
        """
        key = (head.src, head.dst, head.proto if len(head.src) == 4 else 0, head.ident)
        partial_ = self._partials.get(key)
        if partial_ is None:
            partial_ = self._begin(key, now_ns)
        if partial_.end == -2:
            return None
        data = datagram[head.start : head.end]
        fits = self._insert(partial_, head, data)
        if fits is None:
            return None  # a repetition
        if not fits:
            self._condemn(key, partial_)
            return None
        if head.fragment_at == 0:
            partial_.head = head
            partial_.first = datagram
        if partial_.received_bytes == partial_.end and partial_.first is not None:
            self._remove(key, partial_)
            whole = b"".join([piece for _, piece in partial_.pieces])
            return partial_.head or head, partial_.first, whole
        if self._bytes > MAX_BYTES:
            self._make_room()
        return None

    def _begin(self, key: Key, now_ns: int) -> Partial:
        while len(self._partials) >= MAX_DATAGRAMS:
            self._drop_oldest()
        made = self._partials[key] = Partial(now_ns + TIMEOUT_NS)
        self._hold(made.cost_bytes)
        if len(self._partials) == 1:
            self._timers.set(self._timer, made.until_ns)
        return made

    def _insert(self, partial_: Partial, head: IpHeader, data: memoryview) -> bool | None:
        """True: it has its place now. None: it was there already. False: it contradicts others."""
        at, end = head.fragment_at, head.fragment_at + len(data)
        if head.more_fragments:
            if not data or len(data) & 7 or (partial_.end >= 0 and end > partial_.end):
                return False
        elif partial_.end not in (-1, end):
            return False
        pieces = partial_.pieces
        place = bisect_left(pieces, at, key=_offset)
        if place < len(pieces):
            next_at, next_data = pieces[place]
            if next_at == at and len(next_data) == len(data):
                return None
            if next_at < end:
                return False
            if not head.more_fragments:
                return False  # something lies behind the last
        if place:
            before_at, before_data = pieces[place - 1]
            if before_at + len(before_data) > at:
                return False
        if len(pieces) >= MAX_FRAGMENTS:
            return False
        pieces.insert(place, (at, data))
        if not head.more_fragments:
            partial_.end = end
        partial_.received_bytes += len(data)
        cost = len(data) + _FRAGMENT_COST_BYTES
        partial_.cost_bytes += cost
        self._hold(cost)
        return True

    def _condemn(self, key: Key, partial_: Partial) -> None:
        """Drop the data; the entry stays, so that later fragments are known to be of no use."""
        self._on_failure(key[0])
        self._hold(_FRAGMENT_COST_BYTES - partial_.cost_bytes)
        partial_.cost_bytes = _FRAGMENT_COST_BYTES
        partial_.pieces.clear()
        partial_.head = partial_.first = None
        partial_.end = -2

    def _make_room(self) -> None:
        while self._bytes > MAX_BYTES and self._partials:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, oldest = next(iter(self._partials.items()))
        self._remove(key, oldest)
        if oldest.end != -2:
            self._on_failure(key[0])

    def _remove(self, key: Key, partial_: Partial) -> None:
        del self._partials[key]
        self._hold(-partial_.cost_bytes)
        if not self._partials:
            self._timers.clear(self._timer)

    def _expire(self, now_ns: int) -> None:
        while self._partials:
            key, oldest = next(iter(self._partials.items()))
            if oldest.until_ns > now_ns:
                self._timers.set(self._timer, oldest.until_ns)
                return
            self._remove(key, oldest)
            if oldest.end != -2:
                self._on_failure(key[0])
                self._on_timeout(key[0], oldest.head, oldest.first)


def _offset(piece: tuple[int, memoryview]) -> int:
    return piece[0]
