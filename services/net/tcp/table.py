"""All connections of one host: where segments find theirs, and what they share.

`Tcp` never reads a clock: its shell sets `now_ns` (monotonic) before it calls in, calls `input`
for each packet, `icmp_error` for each error, and `run_timers` when `next_deadline_ns` has come.
`output` is called from within; it must queue, not call back into `input`.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from struct import unpack_from
from typing import TYPE_CHECKING
from zlib import crc32

from bus.errors import PosixError
from services.net.proto.packet import Packet
from services.net.tcp import ending, fuse, handshake, icmp_errors, receive
from services.net.tcp.challenge import Allowance
from services.net.tcp.connection import Connection
from services.net.tcp.cookies import Secrets
from services.net.tcp.limits import NEVER, Limits, PathInfo, Settings
from services.net.tcp.listener import V4, V6, Listener
from services.net.tcp.segment import ACK, PROTO_TCP, RST, SYN, Segment
from services.net.tcp.sequence import MASK
from services.net.tcp.state import SYN_RECV
from services.net.tcp.timers import TimerHeap
from services.net.tcp.timewait import TimeWaits

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.proto.icmp import IcmpError
    from services.net.tcp.record import Endpoint

Key = tuple[bytes, int, bytes, int]


def _for_many(address: bytes) -> bool:
    """Whether an address is multicast, or the limited broadcast."""
    return address[0] >= 224 if len(address) == 4 else address[0] == 255


class Tcp:
    """See the module. `counters` have the names of RFC 4022 and of Linux's TcpExt."""

    def __init__(
        self,
        *,
        output: Callable[[Packet, Connection | None], None],
        path: Callable[[bytes, bytes], PathInfo],
        random: Callable[[int], bytes],
        limits: Limits | None = None,
    ) -> None:
        self.now_ns = 0
        self.output = output
        self.path = path
        self.random = random
        self.limits = limits or Limits()
        self.connections: dict[Key, Connection] = {}
        self.listeners: dict[tuple[bytes | None, int], list[Listener]] = {}
        self.listeners_changed: dict[Listener, None] = {}
        self.on_syn: Callable[[Packet], bool] | None = None
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.orphans = 0
        self.grown_bytes = 0  # by which buffers are larger than they began
        self.timers = TimerHeap()
        self.time_waits = TimeWaits(self)
        self.secrets = Secrets(random)
        self.allowance = Allowance()

    # ------------------------------------------------------------------ opening

    def open(
        self, local: Endpoint, remote: Endpoint, settings: Settings | None = None
    ) -> Connection:
        """Active open: the SYN goes out. EADDRNOTAVAIL if the pair is in use, ENOBUFS if too many.

        Whether it succeeds is told by `on_change`, which the caller sets, and `state`.
        """
        key = (*local, *remote)
        waiting = self.time_waits.records.get(key)
        if key in self.connections or not self.reusable(local, remote):
            raise PosixError(errno.EADDRNOTAVAIL)
        if len(self.connections) >= self.limits.max_connections:
            raise PosixError(errno.ENOBUFS)
        iss = self.secrets.initial_sequence(key, self.now_ns)
        if waiting is not None:
            iss = waiting.snd_nxt + 65535 + 2 & MASK
            self.time_waits.leave(waiting)
        path = self.path(remote[0], local[0])
        c = Connection(self, local, remote, path, settings or Settings(), iss)
        if waiting is not None:
            c.ts_recent = waiting.ts_recent
        self.connections[key] = c
        handshake.start(c)
        return c

    def reusable(self, local: Endpoint, remote: Endpoint) -> bool:
        """Whether a new connection may have this pair: free, or in TIME_WAIT and safe to reuse."""
        key = (*local, *remote)
        if key in self.connections:
            return False
        record = self.time_waits.records.get(key)
        return record is None or self.time_waits.reusable(record)

    def listen(
        self,
        address: bytes | None,
        port: int,
        families: int = V4 | V6,
        backlog: int = 128,
        settings: Settings | None = None,
    ) -> Listener:
        """Listen on an address, or on all (None). Who may share a port is the caller's business."""
        listener = Listener(self, address, port, families, backlog, settings or Settings())
        self.listeners.setdefault((address, port), []).append(listener)
        return listener

    def stop_listening(self, listener: Listener) -> None:
        """For `Listener.close`."""
        key = (listener.address, listener.port)
        group = self.listeners.get(key, [])
        if listener in group:
            group.remove(listener)
            if not group:
                del self.listeners[key]

    def passive(self, packet: Packet) -> Connection | None:
        """A connection for a SYN that `on_syn` wants: answered by `accept_syn` or `refuse`."""
        segment = packet.payload
        if not isinstance(segment, Segment):
            return None
        c = self.make_passive(packet, segment, Settings())
        if c is not None:
            c.unanswered = True
        return c

    def make_passive(
        self, packet: Packet, segment: Segment, settings: Settings, iss: int | None = None
    ) -> Connection | None:
        """A connection in SYN_RECV, in the table; None if there are too many, or no way back."""
        local = (packet.dst, segment.target_port)
        remote = (packet.src, segment.source_port)
        if len(self.connections) >= self.limits.max_connections:
            return None
        key = (*local, *remote)
        if iss is None:
            iss = self.secrets.initial_sequence(key, self.now_ns)
        path = self.path_back(packet)
        if path is None:
            return None
        c = Connection(self, local, remote, path, settings, iss)
        if not c.ifindex and len(packet.src) == 16 and packet.src[:2] == b"\xfe\x80":
            c.ifindex = packet.ifindex
        c.state = SYN_RECV
        handshake.prepare(c)
        handshake.agree(c, segment)
        c.snd_nxt = iss + 1
        self.connections[key] = c
        return c

    def path_back(self, packet: Packet) -> PathInfo | None:
        """The path to whoever sent a packet; None if there is no route."""
        try:
            return self.path(packet.src, packet.dst)
        except PosixError:
            return None

    def forget(self, c: Connection) -> None:
        """Take a half-open connection out without a word."""
        ending.finish(c, 0)

    def stamp_offset(self, local: bytes, remote: bytes) -> int:
        """Where timestamps between two hosts start."""
        return self.secrets.stamp_offset(local, remote)

    # ------------------------------------------------------------------ arrivals

    def input(self, packet: Packet) -> None:
        """A segment has arrived; `packet.payload` is a `Segment`."""
        segment: Segment = packet.payload  # type: ignore[assignment]
        self.counters["InSegs"] += 1
        c = self.connections.get((packet.dst, segment.target_port, packet.src, segment.source_port))
        if c is None:
            self._stranger(packet, segment)
        else:
            receive.arrives(c, segment)
            if c.changed:
                c.changed = False
                c.on_change()
        if self.listeners_changed:
            self._tell_listeners()

    def _tell_listeners(self) -> None:
        while self.listeners_changed:
            listener, _ = self.listeners_changed.popitem()
            listener.on_change()

    def _stranger(self, packet: Packet, segment: Segment) -> None:
        """A segment that belongs to no connection."""
        if _for_many(packet.dst) or _for_many(packet.src):
            return  # RFC 9293 3.9.2.3
        record = self.time_waits.records.get(
            (packet.dst, segment.target_port, packet.src, segment.source_port)
        )
        iss = None
        if record is not None:
            if not self.time_waits.arrives(record, packet, segment):
                return
            iss = record.snd_nxt + 65535 + 2 & MASK
        flags = segment.flags
        if flags & RST:
            return
        listener = self.find_listener(packet, segment)
        if listener is not None:
            if flags & ACK:
                c = listener.from_cookie(packet, segment) if not flags & SYN else None
                if c is not None:
                    receive.arrives(c, segment)
                    if c.state is SYN_RECV:
                        self.forget(c)
                    c.tell()
                    return
            elif flags & SYN:
                if record is not None:
                    self.time_waits.leave(record)
                listener.on_syn(packet, segment, iss)
                return
            else:
                return
        elif flags & (SYN | ACK) == SYN and self.on_syn is not None and self.on_syn(packet):
            return
        self.answer_reset(packet.dst, packet.src, segment)

    def find_listener(self, packet: Packet, segment: Segment) -> Listener | None:
        """The listener for a segment: one for its address before one for any."""
        port = segment.target_port
        family = V4 if len(packet.dst) == 4 else V6
        for address in (packet.dst, None):
            group = self.listeners.get((address, port))
            if group is None:
                continue
            fit = [
                listener
                for listener in group
                if listener.families & family and listener.settings.ifindex in (0, packet.ifindex)
            ]
            if len(fit) > 1:
                number = segment.source_port << 16 | port
                spread = crc32(packet.src + packet.dst + number.to_bytes(4, "big"))
                return fit[spread % len(fit)]
            if fit:
                return fit[0]
        return None

    def answer_reset(self, local: bytes, remote: bytes, segment: Segment) -> None:
        """RST for a segment that should not have come (RFC 9293 3.5.2)."""
        if segment.flags & RST:
            return
        if segment.flags & ACK:
            seq, ack, flags = segment.ack, 0, RST
        else:
            seq, ack, flags = 0, segment.seq + segment.length & MASK, RST | ACK
        self.counters["OutRsts"] += 1
        self.send(
            local,
            remote,
            Segment(segment.target_port, segment.source_port, seq, ack, flags, 0),
        )

    def send(self, local: bytes, remote: bytes, segment: Segment, ifindex: int = 0) -> None:
        """Send a segment that belongs to no connection."""
        self.counters["OutSegs"] += 1
        self.output(Packet(PROTO_TCP, local, remote, segment, ifindex=ifindex), None)

    def icmp_error(self, error: IcmpError) -> None:
        """An ICMP error that quotes a TCP segment of ours."""
        if len(error.data) < 8:
            return
        source, target, seq = unpack_from("!HHI", error.data)
        c = self.connections.get((error.src, source, error.dst, target))
        if c is not None:
            icmp_errors.take(c, error, seq)
            c.tell()

    def outgrown(self, c: Connection) -> None:
        """A segment was too long for its path, whose MTU has shrunk on this host (RFC 1191 6.3).

        For whoever owns `output`, once it has returned.
        """
        try:
            mtu = self.path(c.remote_address, c.local_address).mtu
        except PosixError:
            return
        icmp_errors.too_big(c, mtu)
        c.tell()

    # ------------------------------------------------------------------ fusing

    def try_fuse(self, c: Connection) -> None:
        """Fuse a loopback connection with its other end, if that is here and both are ready."""
        if self.limits.fusing:
            peer = self.connections.get((*c.remote, *c.local))
            if peer is not None and peer.loopback and fuse.join(c, peer):
                peer.tell()

    def set_fusing(self, on: bool) -> None:
        """Switch fusing on, or off for present connections, too."""
        self.limits.fusing = on
        if not on:
            for c in list(self.connections.values()):
                fuse.part(c)

    # ------------------------------------------------------------------ time

    @property
    def next_deadline_ns(self) -> int | None:
        """When `run_timers` wants to be called; None: not until something else happens."""
        earliest = self.timers.earliest_ns
        waiting = self.time_waits.earliest_ns
        if waiting is not None and waiting < earliest:
            return waiting
        return None if earliest == NEVER else earliest

    def run_timers(self) -> None:
        """Do what is due at `now_ns`."""
        now = self.now_ns
        self.timers.run(now)
        self.time_waits.run(now)
        if self.listeners_changed:
            self._tell_listeners()
