"""One TCP connection of the guest's and the host socket that it ends on.

Data goes both ways under flow control and nothing is stored here but one piece that the host took
in part: what the host does not take stays in the connection's receive queue, whose window closes;
what the guest does not take stays in the host's socket. An end of data, a reset and a failure are
carried across as what they are.

`settle` is called when the connection has changed, `on_host` when the socket has become ready.
Both try inline, so that a segment of the guest's is on the host before the guest's own call ends.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from services.drivers.nic.user.poller import READABLE, WRITABLE
from services.net.tcp.state import CLOSE, SYN_SENT

if TYPE_CHECKING:
    from services.drivers.nic.user.flows import Flows
    from services.net.proto.packet import Packet
    from services.net.tcp.connection import Connection

PIECE_BYTES = 64 << 10
"""What a host socket is given at once. What is taken from it is as much as fits into one frame."""

_RESET = struct.pack("=ii", 1, 0)

CONNECTING, OPENING, OPEN, CLOSED = range(4)
"""The host connects (a guest's open); the guest answers (a published port); data flows; over."""


class Flow:
    """See the module. Made by `Flows`, which knows all of them."""

    __slots__ = (
        "connection",
        "fd",
        "flows",
        "guest_ended",
        "host_ended",
        "left",
        "phase",
        "queued",
        "readable",
        "socket",
        "syn",
        "writable",
    )

    def __init__(
        self,
        flows: Flows,
        connection: Connection,
        host: socket.socket,
        phase: int,
        syn: Packet | None = None,
    ) -> None:
        self.flows = flows
        self.connection = connection
        self.socket = host
        self.fd = host.fileno()
        self.phase = phase
        self.syn = syn  # what to quote if the host cannot be reached
        self.queued = False  # stands in `flows.changed`
        self.readable = self.writable = phase == OPENING
        self.left: memoryview | None = None  # what the host took only in part
        self.guest_ended = self.host_ended = False
        connection.nodelay = connection.oob_inline = True
        connection.owner = self
        connection.on_change = self.on_change

    # from the guest

    def on_change(self) -> None:
        """The connection has changed: have `settle` called when the present batch is done."""
        if not self.queued:
            self.queued = True
            self.flows.changed.append(self)

    def settle(self) -> None:
        """Do what the connection's change asks for."""
        self.queued = False
        connection = self.connection
        phase = self.phase
        if phase == CLOSED:
            return
        if connection.error or (connection.state is CLOSE and not connection.fin_received):
            if phase == OPEN:
                self._push()  # what came before the reset
            self._abandon()
        elif phase == OPEN:
            self._push()
            self._pull()
        elif phase == OPENING and connection.state is not SYN_SENT:
            self.phase = OPEN
            self._push()
            self._pull()

    # from the host

    def on_host(self, events: int) -> None:
        """The socket has become ready, EPOLL bits."""
        if events & WRITABLE:
            self.writable = True
        if events & READABLE:
            self.readable = True
        if self.phase == OPEN:
            self._push()
            self._pull()
        elif self.phase == CONNECTING:
            self._connected()

    def _connected(self) -> None:
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.refuse(number)
        elif self.writable:
            self.phase = OPEN
            self.syn = None
            self.connection.accept_syn()
            self._pull()

    def refuse(self, number: int) -> None:
        """The host could not connect: tell the guest why, by RST or ICMP."""
        self.flows.tell_refusal(self.syn, number)
        self.connection.refuse()
        self._finish(reset=False)

    # data

    def _push(self) -> None:
        """Guest to host, as far as the host takes it."""
        connection, send = self.connection, self.socket.send
        while self.writable and self.phase == OPEN:
            data = self.left
            if data is None:
                piece = connection.read(PIECE_BYTES)
                if not piece:
                    break
                data = memoryview(piece)
            try:
                sent = send(data)
            except BlockingIOError:
                self.writable = False
                self.left = data
                return
            except OSError:  # reset by the host's peer, or it reads no more
                self._break()
                return
            self.left = data[sent:] if sent < len(data) else None
        if connection.fin_received and not self.guest_ended and self._all_sent():
            self._end_guest()

    def _all_sent(self) -> bool:
        return self.phase == OPEN and self.left is None and self.connection.at_eof

    def _end_guest(self) -> None:
        self.guest_ended = True
        if self.host_ended:
            self._finish(reset=False)
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # reset meanwhile: reading will say so
            self.readable = True

    def _pull(self) -> None:
        """Host to guest, as far as the guest takes it and this turn's budget goes."""
        connection, flows = self.connection, self.flows
        recv, piece = self.socket.recv, connection.gso_bytes_max
        while self.readable and self.phase == OPEN and not self.host_ended:
            space = connection.send_space_bytes
            if space <= 0:
                return  # the connection will change when there is some
            if flows.budget <= 0 or flows.gateway.congested:
                flows.put_off(self)
                return
            try:
                data = recv(piece if space > piece else space)
            except BlockingIOError:
                self.readable = False
                return
            except OSError:
                self._break()
                return
            if not data:
                self._end_host()
                return
            flows.budget -= len(data)
            connection.write(data)

    def _end_host(self) -> None:
        self.host_ended = True
        self.connection.shutdown_write()
        if self.guest_ended:
            self._finish(reset=False)

    # the end

    def _break(self) -> None:
        """The host's side is reset: so is the guest's."""
        self.connection.abort()
        self._finish(reset=False)

    def _abandon(self) -> None:
        """The guest's side is reset, refused or timed out: so is the host's."""
        self._finish(reset=True)

    def _finish(self, *, reset: bool) -> None:
        if self.phase == CLOSED:
            return
        self.phase = CLOSED
        self.left = self.syn = None
        self.flows.forget(self)
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()
        self.connection.close()

    def close(self) -> None:
        """The driver stops: reset both sides."""
        if self.phase != CLOSED:
            self.connection.abort()
            self._finish(reset=True)
