"""One TCP connection: its state, and what its owner may ask of it.

This file has the record and the owner's calls; what happens to it is in rooms of functions that
take it as their first argument: `handshake`, `receive` (segments that arrive), `acks`, `recovery`,
`send` (segments that leave), `expiry` (timers), `ending`, `urgent`, `fuse`. They are functions
over one slotted record because nearly every event touches several groups of its fields, and
because that is what costs least.

Sequence numbers are unwrapped (`sequence.py`). All invariants hold between calls:
    snd_una <= snd_nxt <= send.end + 1 (the FIN)      send.base == snd_una while data may flow
    acked_to <= rcv_nxt <= rcv_adv                    alarm_ns <= every deadline that is set
`changed` collects what the owner has to be told; the entry points of `table.Tcp` tell it, once.
Nobody calls `on_change` from within the owner's own call, but a fused peer's owner is told at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.net.tcp import ending, expiry, fuse, handshake, send, tcp_info, urgent
from services.net.tcp.byte_queue import ByteQueue, SendBuffer
from services.net.tcp.cubic import make_control
from services.net.tcp.limits import NEVER, Settings
from services.net.tcp.reassembly import Reassembly
from services.net.tcp.rtt import RoundTrip
from services.net.tcp.scoreboard import Scoreboard
from services.net.tcp.state import CLOSE, CLOSE_WAIT, ESTABLISHED, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.net.tcp.byte_queue import Piece
    from services.net.tcp.limits import PathInfo
    from services.net.tcp.listener import Listener
    from services.net.tcp.table import Tcp

Endpoint = tuple[bytes, int]


def _nothing() -> None:
    """An owner that does not want to be told."""


class Connection:
    """See the module. What the owner sets or reads has no underscore and a docstring in README."""

    __slots__ = (
        "_congestion",
        "_cork",
        "_keep_idle_ns",
        "_keepalive",
        "_nodelay",
        "_quickack",
        "ack_at",
        "ack_now",
        "acked_to",
        "alarm_ns",
        "backoff",
        "board",
        "bytes_retransmitted",
        "changed",
        "control",
        "copied_mark",
        "copied_mark_ns",
        "defer_accept_ns",
        "dont_fragment",
        "dsack",
        "duplicates",
        "error",
        "failing_since_ns",
        "fin_queued",
        "fin_received",
        "fin_sent",
        "fin_seq",
        "fused",
        "grown_bytes",
        "gso_bytes_max",
        "heard_ns",
        "ifindex",
        "invalid_ns",
        "irs",
        "iss",
        "keep_at",
        "keep_count",
        "keep_interval_ns",
        "keep_probes",
        "key",
        "lifetime_retransmits",
        "linger2_ns",
        "listener",
        "local",
        "local_address",
        "local_port",
        "loopback",
        "max_segment",
        "max_window",
        "mss",
        "mss_announced",
        "notsent_lowat",
        "on_change",
        "oob_inline",
        "opened_ns",
        "orphan",
        "out_of_order_count",
        "owner",
        "path",
        "peer_mss",
        "phase",
        "pingpong",
        "probing",
        "probing_since_ns",
        "quick",
        "rcv_adv",
        "rcv_mss",
        "rcv_nxt",
        "rcv_scale",
        "read_shut",
        "reassembly",
        "receive",
        "receive_fixed",
        "receive_limit",
        "received_ns",
        "recovery_point",
        "remote",
        "remote_address",
        "remote_port",
        "repeated_count",
        "retransmit_at",
        "rtt",
        "sack_on",
        "scale_on",
        "segments_in",
        "segments_out",
        "send",
        "send_fixed",
        "send_limit",
        "sent_ns",
        "small_to",
        "snd_nxt",
        "snd_scale",
        "snd_una",
        "snd_urgent",
        "snd_wl1",
        "snd_wnd",
        "soft_error",
        "stamp_offset",
        "stamps_on",
        "starved",
        "state",
        "syn_retries",
        "tail_again",
        "tail_to",
        "tcp",
        "timed_at",
        "timed_to",
        "tos",
        "ts_recent",
        "ts_recent_ns",
        "ttl",
        "unanswered",
        "undo",
        "urgent_byte",
        "urgent_seq",
        "user_timeout_ns",
    )

    def __init__(
        self,
        tcp: Tcp,
        local: Endpoint,
        remote: Endpoint,
        path: PathInfo,
        settings: Settings,
        iss: int,
    ) -> None:
        limits = tcp.limits
        now = tcp.now_ns
        self.tcp = tcp
        self.local = local
        self.remote = remote
        self.local_address, self.local_port = local
        self.remote_address, self.remote_port = remote
        self.key = (*local, *remote)
        self.state: State = CLOSE
        self.owner: Any = None
        self.on_change: Callable[[], None] = _nothing
        self.changed = False
        self.error = 0
        self.soft_error = 0  # ICMP's opinion, reported if we give up
        self.orphan = False  # the owner has closed
        self.listener: Listener | None = None  # whose child it is, until accepted
        self.unanswered = False  # a passive open that was neither accepted nor refused
        self.fused: Connection | None = None  # the other end, if data goes straight there

        # Settings: the owner's.
        self._nodelay = settings.nodelay
        self._cork = settings.cork
        self._quickack = settings.quickack
        self._keepalive = settings.keepalive
        self._keep_idle_ns = settings.keep_idle_ns
        self.keep_interval_ns = settings.keep_interval_ns
        self.keep_count = settings.keep_count
        self.user_timeout_ns = settings.user_timeout_ns
        self.max_segment = settings.max_segment
        self.syn_retries = settings.syn_retries
        self.linger2_ns = settings.linger2_ns
        self.defer_accept_ns = settings.defer_accept_ns
        self.notsent_lowat = settings.notsent_lowat
        self.oob_inline = settings.oob_inline
        self.ttl = settings.ttl
        self.tos = settings.tos
        self.ifindex = settings.ifindex
        self.dont_fragment = settings.dont_fragment
        self._congestion = settings.congestion
        self.send_fixed = settings.send_limit_bytes is not None
        self.send_limit = settings.send_limit_bytes or limits.send_bytes
        self.receive_fixed = settings.receive_limit_bytes is not None
        self.receive_limit = settings.receive_limit_bytes or limits.receive_bytes

        # The path: `send.set_path`.
        self.path = path
        self.loopback = path.loopback
        self.peer_mss = 536
        self.mss = 536  # payload of a full segment, options subtracted
        self.mss_announced = 536
        self.gso_bytes_max = 0

        # Options agreed on: `handshake`.
        self.stamps_on = False
        self.sack_on = False
        self.scale_on = False
        self.snd_scale = 0
        self.rcv_scale = 0
        self.stamp_offset = 0
        self.ts_recent = 0
        self.ts_recent_ns = now

        # Sending.
        self.iss = iss
        self.snd_una = iss
        self.snd_nxt = iss
        self.snd_wnd = 0
        self.snd_wl1 = 0  # the segment that told snd_wnd
        self.max_window = 0
        self.send = SendBuffer(iss + 1)
        self.small_to = iss  # end of the last segment that was not full (Minshall)
        self.starved = False  # the owner found no space, or a fused peer's queue is full
        self.fin_queued = False
        self.fin_sent = False
        self.snd_urgent = iss  # sequence number after the last urgent byte
        self.sent_ns = now  # data left last
        self.opened_ns = now

        # Loss and congestion: `acks`, `recovery`.
        self.control = make_control(settings.congestion, self.mss)
        self.rtt = RoundTrip()
        self.timed_to = 0  # the sequence number whose round trip is measured, 0: none
        self.timed_at = 0
        self.board = Scoreboard(iss)
        self.phase = 0
        self.recovery_point = iss
        self.duplicates = 0
        self.undo: tuple[int, int, int] | None = None
        self.lifetime_retransmits = 0  # the next ones are for TCP_INFO, too
        self.bytes_retransmitted = 0
        self.repeated_count = 0  # D-SACKs
        self.out_of_order_count = 0
        self.segments_in = 0
        self.segments_out = 0
        self.backoff = 0
        self.probing = False  # `retransmit_at` is that of a tail loss probe
        self.tail_to = 0  # end of what a probe sent, until acknowledged
        self.tail_again = False  # it was a retransmission
        self.failing_since_ns = 0  # since when the peer has not answered
        self.probing_since_ns = 0  # since when its window has been closed
        self.grown_bytes = 0  # by which the buffers are larger than they began

        # Receiving.
        self.irs = 0
        self.rcv_nxt = 0
        self.rcv_adv = 0  # right edge of the window that was advertised
        self.acked_to = 0  # rcv_nxt as last told to the peer
        self.rcv_mss = 536  # what the peer's full segments seem to be
        self.receive = ByteQueue()
        self.reassembly = Reassembly()
        self.fin_seq = -1  # where the peer's FIN stands, once seen
        self.fin_received = False
        self.read_shut = False
        self.dsack: tuple[int, int] | None = None
        self.ack_now = False
        self.quick = 0  # segments still to be acknowledged at once
        self.pingpong = not settings.quickack
        self.received_ns = now  # data came last
        self.heard_ns = now  # anything came last
        self.invalid_ns = -NEVER  # when a bad segment was answered last
        self.copied_mark = 0  # receive buffer tuning: what had been read, and when
        self.copied_mark_ns = now
        self.urgent_seq = -1  # where the urgent byte stands, -1: none
        self.urgent_byte = -1  # the byte itself, -1: not here or taken

        # Deadlines; NEVER: not set.
        self.alarm_ns = NEVER
        self.retransmit_at = NEVER
        self.ack_at = NEVER
        self.keep_at = NEVER
        self.keep_probes = 0

    # ------------------------------------------------------------------ data

    def write(self, data: Piece, more: bool = False) -> int:
        """Queue bytes for sending; replies with how many, 0 if there is no space or no way.

        `bytes` are kept as they are, anything else is copied. `more` is MSG_MORE: a segment that
        is not full waits for the rest, as under TCP_CORK. After `shutdown_write` or in a state
        that cannot send nothing is taken: whether that is EPIPE is for the caller to see.
        """
        size = len(data)
        peer = self.fused
        if peer is not None:
            queue = peer.receive
            if (
                0 < size <= peer.receive_limit - queue.length
                and not more
                and not self._cork
                and not self.starved
            ):
                queue.append(data if type(data) is bytes else bytes(data))
                self.snd_nxt = self.snd_una = peer.rcv_nxt = self.snd_nxt + size
                peer.on_change()
                return size
            return fuse.write(self, peer, data, more)
        state = self.state
        if (state is not ESTABLISHED and state is not CLOSE_WAIT) or self.fin_queued:
            return 0
        buffer = self.send
        room = self.send_limit - buffer.end + buffer.base
        if size > room:
            if room <= 0:
                self.starved = True
                return 0
            data = memoryview(data)[:room]
            size = room
        if size:
            buffer.append(data if type(data) is bytes else bytes(data))
            send.push(self, more)
            if not self.writable:
                self.starved = True
        return size

    def read(self, limit_bytes: int) -> Piece:
        """Take up to so many bytes that arrived in order; b"" if there are none."""
        if self.urgent_seq >= 0:
            data = urgent.read_stream(self, limit_bytes)
        else:
            data = self.receive.take(limit_bytes)
        peer = self.fused
        if peer is None:
            send.after_read(self)
        elif peer.starved:
            fuse.refill(peer)
        return data

    def peek(self, limit_bytes: int) -> bytes:
        """As `read`, but the bytes stay."""
        if self.urgent_seq < 0:
            return self.receive.peek(limit_bytes)
        skip, most = urgent.span(self)
        return self.receive.peek(min(limit_bytes, most), skip)

    def read_into(
        self, memory: memoryview, extents: Sequence[tuple[int, int]], peek: bool = False
    ) -> int:
        """Copy into runs of RAM, (address, length in bytes); replies with how many bytes."""
        queue = self.receive
        skip = 0
        if self.urgent_seq < 0:
            copied = queue.copy_out(memory, extents, queue.length)
        else:
            skip, most = urgent.span(self)
            copied = queue.copy_out(memory, extents, most, skip)
        if copied and not peek:
            queue.drop(skip + copied)
            if self.urgent_seq >= 0:
                urgent.passed(self)
            peer = self.fused
            if peer is None:
                send.after_read(self)
            elif peer.starved:
                fuse.refill(peer)
        return copied

    @property
    def readable_bytes(self) -> int:
        """SIOCINQ: bytes to read, up to the urgent mark; behind it, if that comes next."""
        if self.urgent_seq < 0 or self.oob_inline:
            return self.receive.length
        return urgent.span(self)[1]

    @property
    def at_eof(self) -> bool:
        """Everything that will ever arrive has been read: FIN received, or no connection left."""
        return not self.readable_bytes and (self.fin_received or self.state is CLOSE)

    @property
    def send_space_bytes(self) -> int:
        """What `write` would take at once."""
        buffer = self.send
        if self.fin_queued or (self.state is not ESTABLISHED and self.state is not CLOSE_WAIT):
            return 0
        return max(self.send_limit - buffer.end + buffer.base, 0) + fuse.room(self)

    @property
    def writable(self) -> bool:
        """Whether poll should say POLLOUT: a third of the buffer is free (tcp(7)), or so."""
        buffer = self.send
        queued = buffer.end - buffer.base
        if self.notsent_lowat and self.unsent_bytes >= self.notsent_lowat:
            return False
        return queued + (queued >> 1) < self.send_limit

    @property
    def unsent_bytes(self) -> int:
        """Bytes written and not sent yet (SIOCOUTQNSD)."""
        return max(self.send.end - max(self.snd_nxt, self.send.base), 0)

    @property
    def unacked_bytes(self) -> int:
        """Bytes written and not acknowledged yet, sent or not (SIOCOUTQ)."""
        return self.send.end - self.send.base

    # ------------------------------------------------------------------ urgent data

    def write_urgent(self, byte: int) -> bool:
        """MSG_OOB: queue one byte and mark it urgent; False if there is no space."""
        return urgent.write(self, byte)

    def read_urgent(self, peek: bool = False) -> int:
        """Take the urgent byte; -1 if there is none (not arrived, taken, or in line)."""
        return urgent.read(self, peek)

    @property
    def at_mark(self) -> bool:
        """SIOCATMARK: the next byte to read is the one after which urgent data began."""
        return urgent.at_mark(self)

    @property
    def urgent_pending(self) -> bool:
        """An urgent byte was announced and has not arrived: MSG_OOB is EAGAIN, not EINVAL."""
        return self.urgent_seq >= 0 and self.urgent_byte == urgent.ABSENT

    @property
    def urgent_ready(self) -> bool:
        """POLLPRI: an urgent byte is here and was not taken."""
        return self.urgent_byte >= 0

    # ------------------------------------------------------------------ the end

    def shutdown_read(self) -> None:
        """SHUT_RD: nothing is refused for it now, but data after our own FIN will be (RST)."""
        self.read_shut = True

    def shutdown_write(self) -> None:
        """SHUT_WR: a FIN after what was written."""
        ending.shutdown_write(self)

    def close(self) -> None:
        """The owner leaves: FIN, or RST if there is unread data; the rest happens by itself."""
        ending.close(self)

    def abort(self) -> None:
        """RST at once; nothing is told to the owner (SO_LINGER 0, or a disconnect)."""
        ending.abort(self)

    def accept_syn(self) -> None:
        """Answer the SYN of a passive open with SYN-ACK (`Tcp.passive`)."""
        handshake.accept_syn(self)

    def refuse(self) -> None:
        """Answer the SYN of a passive open with RST."""
        handshake.refuse(self)

    def take_error(self) -> int:
        """SO_ERROR: the pending errno, which is cleared."""
        error, self.error = self.error, 0
        return error

    def _release(self) -> None:
        """What may be held back has changed."""
        if self.fused is not None:
            fuse.refill(self)
        elif self.send.end > self.send.base:
            send.push(self)

    # ------------------------------------------------------------------ settings that act

    @property
    def nodelay(self) -> bool:
        """TCP_NODELAY; setting it sends what waits."""
        return self._nodelay

    @nodelay.setter
    def nodelay(self, on: bool) -> None:
        self._nodelay = on
        if on:
            self._release()

    @property
    def cork(self) -> bool:
        """TCP_CORK; clearing it sends what waits."""
        return self._cork

    @cork.setter
    def cork(self, on: bool) -> None:
        self._cork = on
        if not on:
            self._release()

    @property
    def quickack(self) -> bool:
        """TCP_QUICKACK: acknowledge at once, for now."""
        return not self.pingpong

    @quickack.setter
    def quickack(self, on: bool) -> None:
        self.pingpong = not on
        if on and self.rcv_nxt > self.acked_to and self.ack_at != NEVER:
            send.ack(self)

    @property
    def keepalive(self) -> bool:
        """SO_KEEPALIVE."""
        return self._keepalive

    @keepalive.setter
    def keepalive(self, on: bool) -> None:
        self._keepalive = on
        expiry.arm_keepalive(self)

    @property
    def keep_idle_ns(self) -> int:
        """TCP_KEEPIDLE."""
        return self._keep_idle_ns

    @keep_idle_ns.setter
    def keep_idle_ns(self, idle_ns: int) -> None:
        self._keep_idle_ns = idle_ns
        expiry.arm_keepalive(self)

    @property
    def send_limit_bytes(self) -> int:
        """SO_SNDBUF: bytes that may be unacknowledged; setting it ends its automatic growth."""
        return self.send_limit

    @send_limit_bytes.setter
    def send_limit_bytes(self, limit: int) -> None:
        self.send_limit = limit
        self.send_fixed = True

    @property
    def receive_limit_bytes(self) -> int:
        """SO_RCVBUF: bytes that may be unread; setting it ends its automatic growth."""
        return self.receive_limit

    @receive_limit_bytes.setter
    def receive_limit_bytes(self, limit: int) -> None:
        self.receive_limit = limit
        self.receive_fixed = True
        send.after_read(self)

    @property
    def congestion(self) -> str:
        """TCP_CONGESTION: "cubic" or "reno"; ValueError for another."""
        return self._congestion

    @congestion.setter
    def congestion(self, name: str) -> None:
        control = make_control(name, self.mss)
        control.cwnd, control.ssthresh = self.control.cwnd, self.control.ssthresh
        self.control = control
        self._congestion = name

    # ------------------------------------------------------------------ for reports and timers

    def info(self) -> Mapping[str, int]:
        """TCP_INFO, by the names of struct tcp_info without `tcpi_`."""
        return tcp_info.info(self)

    def wake(self, now_ns: int) -> int:
        """Timers: do what is due (`timers.Sleeper`)."""
        return expiry.wake(self, now_ns)

    def tell(self) -> None:
        """Tell the owner, if there is anything to tell."""
        if self.changed:
            self.changed = False
            self.on_change()

    def __repr__(self) -> str:
        return f"<tcp {self.local[1]}>{self.remote[1]} {self.state.name}>"
