"""TIME_WAIT: what remains of a connection for 2 MSL (RFC 9293 3.6.1, RFC 1337, RFC 6191).

A record answers a late segment with an acknowledgement, so that the peer's repeated FIN finds one,
and keeps old duplicates from a new connection between the same ports. All records live equally
long, so they stand in one queue in the order of their ends; one whose time is renewed is put at
the end again. Their number is bounded: the oldest gives way.

RST is ignored here (RFC 1337 section 4, fix F1), unlike in Linux's default.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bus.census import kind
from services.net.tcp.limits import MS, NEVER, SECOND
from services.net.tcp.segment import ACK, FIN, RST, SYN, Segment
from services.net.tcp.sequence import HALF, MASK, after, unwrap
from services.net.tcp.state import TIME_WAIT

if TYPE_CHECKING:
    from services.net.proto.packet import Packet
    from services.net.tcp.connection import Connection
    from services.net.tcp.record import Endpoint
    from services.net.tcp.table import Tcp


RECORD = kind("net", "TIME_WAIT")


class TimeWait:
    """The record of one connection."""

    __slots__ = (
        "answered_ns",
        "ends_ns",
        "key",
        "local",
        "rcv_nxt",
        "remote",
        "snd_nxt",
        "stamp_offset",
        "stamps_on",
        "ts_recent",
        "ts_recent_ns",
        "window",
    )

    state = TIME_WAIT

    def __init__(self, c: Connection) -> None:
        RECORD.made()
        self.key = c.key
        self.local: Endpoint = c.local
        self.remote: Endpoint = c.remote
        self.snd_nxt = c.snd_nxt
        self.rcv_nxt = c.rcv_nxt
        self.window = min(max(c.rcv_adv - c.rcv_nxt, 0) >> c.rcv_scale, 65535)
        self.stamps_on = c.stamps_on
        self.stamp_offset = c.stamp_offset
        self.ts_recent = c.ts_recent
        self.ts_recent_ns = c.ts_recent_ns
        self.answered_ns = -NEVER
        self.ends_ns = c.tcp.now_ns + c.tcp.limits.time_wait_ns

    def __del__(self) -> None:
        RECORD.freed()


class TimeWaits:
    """All records of a host."""

    __slots__ = ("_ports", "_queue", "_tcp", "records")

    def __init__(self, tcp: Tcp) -> None:
        self._tcp = tcp
        self.records: dict[tuple[bytes, int, bytes, int], TimeWait] = {}
        self._queue: deque[tuple[int, TimeWait]] = deque()
        self._ports: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.records)

    def enter(self, record: TimeWait) -> None:
        """Begin to wait."""
        limit = self._tcp.limits.max_time_waits
        while len(self.records) >= limit and self.records:
            self._tcp.counters["TCPTimeWaitOverflow"] += 1
            self.leave(next(iter(self.records.values())))
        if limit <= 0:
            return
        self.records[record.key] = record
        self._queue.append((record.ends_ns, record))
        self._prune()
        port = record.local[1]
        self._ports[port] = self._ports.get(port, 0) + 1

    def leave(self, record: TimeWait) -> None:
        """Its time is over, or a new connection takes its place."""
        if self.records.get(record.key) is record:
            del self.records[record.key]
            port = record.local[1]
            count = self._ports[port] - 1
            if count:
                self._ports[port] = count
            else:
                del self._ports[port]

    def shrink(self) -> int:
        """End all, as when there are too many; replies with how many there were."""
        gone = len(self.records)
        for record in list(self.records.values()):
            self.leave(record)
        self._queue.clear()
        return gone

    def _prune(self) -> None:
        """Ports that are reused often leave stale entries: no more of them than of others."""
        queue = self._queue
        if len(queue) > 2 * len(self.records) + 64:
            self._queue = deque(entry for entry in queue if not self._is_stale(*entry))

    def holds_port(self, port: int) -> bool:
        """Whether a local port is in use by a record: bind without SO_REUSEADDR must fail."""
        return port in self._ports

    @property
    def earliest_ns(self) -> int | None:
        """When the first record ends, or None."""
        queue = self._queue
        while queue and self._is_stale(*queue[0]):
            queue.popleft()
        return queue[0][0] if queue else None

    def _is_stale(self, ends_ns: int, record: TimeWait) -> bool:
        return record.ends_ns != ends_ns or self.records.get(record.key) is not record

    def run(self, now_ns: int) -> None:
        """End those whose time is over."""
        queue = self._queue
        while queue and queue[0][0] <= now_ns:
            entry = queue.popleft()
            if not self._is_stale(*entry):
                self._tcp.counters["TW"] += 1
                self.leave(entry[1])

    def reusable(self, record: TimeWait) -> bool:
        """Whether an active open may take its place: a later timestamp will tell them apart.

        RFC 6191 section 2; as in Linux only a second after the peer was heard last.
        """
        return (
            self._tcp.limits.reuse_time_wait
            and record.stamps_on
            and self._tcp.now_ns - record.ts_recent_ns > SECOND
        )

    def arrives(self, record: TimeWait, packet: Packet, segment: Segment) -> bool:
        """A segment for a record; True: it is a SYN that may begin a new connection."""
        tcp = self._tcp
        flags = segment.flags
        stamps = segment.stamps
        old = bool(
            record.stamps_on
            and stamps is not None
            and (stamps[0] - record.ts_recent) & MASK >= HALF
        )
        if flags & RST:
            return False
        seq = unwrap(segment.seq, record.rcv_nxt)
        if flags & SYN and not flags & ACK and not old:
            newer = stamps is not None and after(stamps[0], record.ts_recent)
            if seq > record.rcv_nxt or (record.stamps_on and newer):
                return True
        if not flags & ACK and not flags & SYN:
            return False
        if flags & FIN and not old:
            self._renew(record)
        # Not too often, or two records with different ideas would answer each other forever.
        rested = tcp.now_ns - record.answered_ns >= tcp.limits.invalid_interval_ns
        if rested and (segment.length or old or seq != record.rcv_nxt):
            record.answered_ns = tcp.now_ns
            self._answer(record, packet)
        return False

    def _renew(self, record: TimeWait) -> None:
        """The peer's FIN came again: wait anew. Once a second at the most, to bound the queue."""
        ends_ns = self._tcp.now_ns + self._tcp.limits.time_wait_ns
        if ends_ns - record.ends_ns >= SECOND:
            record.ends_ns = ends_ns
            self._queue.append((ends_ns, record))
            self._prune()

    def _answer(self, record: TimeWait, packet: Packet) -> None:
        """Acknowledge again what was acknowledged last."""
        tcp = self._tcp
        stamps = None
        if record.stamps_on:
            stamps = (tcp.now_ns // MS + record.stamp_offset) & MASK, record.ts_recent
        segment = Segment(
            record.local[1],
            record.remote[1],
            record.snd_nxt & MASK,
            record.rcv_nxt & MASK,
            ACK,
            record.window,
            b"",
            stamps,
        )
        tcp.send(record.local[0], record.remote[0], segment, packet.ifindex)
