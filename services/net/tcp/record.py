"""The state of one connection, field by field; what is done with it is elsewhere.

Sequence numbers are unwrapped (`sequence.py`), times are monotonic nanoseconds, deadlines that are
not set are NEVER.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.census import kind
from services.net.tcp.byte_queue import ByteQueue, SendBuffer
from services.net.tcp.cubic import make_control
from services.net.tcp.limits import NEVER
from services.net.tcp.reassembly import Reassembly
from services.net.tcp.rtt import RoundTrip
from services.net.tcp.scoreboard import Scoreboard
from services.net.tcp.state import CLOSE, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.tcp.connection import Connection
    from services.net.tcp.limits import PathInfo, Settings
    from services.net.tcp.listener import Listener
    from services.net.tcp.table import Tcp

Endpoint = tuple[bytes, int]


def _nothing() -> None:
    """An owner that does not want to be told."""


CONNECTION = kind("net", "connection")


class Record:
    """The fields of a `Connection`, grouped by who writes them."""

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
        "recovery_delivered",
        "recovery_flight",
        "recovery_point",
        "recovery_sent",
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
        CONNECTION.made()
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
        self.recovery_flight = 0  # bytes in flight when it began; since then, delivered and sent
        self.recovery_delivered = 0
        self.recovery_sent = 0
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

    def __del__(self) -> None:
        CONNECTION.freed()
