"""One TCP connection: its state, and what its owner may ask of it.

`record` has its fields, this file the owner's calls; what happens to it is in rooms of functions
that take it as their first argument: `handshake`, `receive` (segments that arrive), `acks`,
`recovery`, `send` (segments that leave), `expiry` (timers), `ending`, `urgent`, `fuse`. They are
functions over one slotted record because nearly every event touches several groups of its fields,
and because that is what costs least.

Sequence numbers are unwrapped (`sequence.py`). All invariants hold between calls:
    snd_una <= snd_nxt <= send.end + 1 (the FIN)      send.base == snd_una while data may flow
    acked_to <= rcv_nxt <= rcv_adv                    alarm_ns <= every deadline that is set
`changed` collects what the owner has to be told; the entry points of `table.Tcp` tell it, once.
Nobody calls `on_change` from within the owner's own call, but a fused peer's owner is told at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import ending, expiry, fuse, handshake, send, tcp_info, urgent
from services.net.tcp.cubic import make_control
from services.net.tcp.limits import NEVER
from services.net.tcp.record import Record
from services.net.tcp.state import CLOSE, CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.net.tcp.byte_queue import Piece


class Connection(Record):
    """See the module, and README.md for what an owner must know."""

    __slots__ = ()

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
