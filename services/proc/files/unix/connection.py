"""Listening, connecting and accepting: stream and sequenced-packet sockets (unix(7)).

connect(2) makes both ends at once: the other one waits in the listener's `pending` until it is
accepted, and can be written to meanwhile. Where the backlog is full, connect waits, or says EAGAIN.
"""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, ECONNREFUSED, ECONNRESET, EINVAL, EISCONN
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.files.readiness import deadline_after
from services.proc.files.socket import SHUT_BOTH, SHUT_IN, new_socket_attr
from services.proc.files.unix import address
from services.proc.files.unix.endpoint import (
    CLOSED,
    ESTABLISHED,
    IN,
    LISTENING,
    UnixSocket,
    credentials_of,
)

if TYPE_CHECKING:
    from services.proc.files.socket import Socket
    from services.proc.task import Thread


class ConnectionSocket(UnixSocket):
    """A socket that is connected before it moves data."""

    __slots__ = ()

    async def pair(self, thread: Thread, other: Socket) -> None:
        """socketpair(2)."""
        assert isinstance(other, ConnectionSocket)
        self.credentials = other.credentials = credentials_of(thread)
        self._join(other)
        other._join(self)
        self.settle()
        other.settle()

    def _join(self, peer: ConnectionSocket) -> None:
        self.peer = peer
        self.state = ESTABLISHED
        self.peer_credentials = peer.credentials

    async def listen(self, thread: Thread, backlog: int) -> None:
        """listen(2): EINVAL without a name, or when connected."""
        if not self.address or self.state not in (CLOSED, LISTENING):
            raise PosixError(EINVAL)
        if self.room is not None and backlog > self.backlog:
            self.room.wake()
        self.backlog = backlog
        if self.state != LISTENING:
            self.pending = deque()
            self.state = LISTENING
        self.credentials = self.peer_credentials = credentials_of(thread)

    # connect --------------------------------------------------------------------------------

    async def connect(self, thread: Thread, name: bytes) -> None:
        """connect(2); EINVAL, ECONNREFUSED, EAGAIN, EISCONN, and what a path says."""
        address.check(name)
        self.autobind()
        made = type(self)(thread, 0, self.attr)
        made.listener = self  # it is nobody's yet
        try:
            await self._meet(thread, name, made)
        except BaseException:
            await made.end(thread)
            raise

    async def _meet(self, thread: Thread, name: bytes, made: ConnectionSocket) -> None:
        """Find the listener and wait for room in its backlog; then both ends are connected."""
        deadline = None
        while True:
            other = await self.find(thread, name)
            if other.dead:
                continue
            if other.state != LISTENING or other.shut & SHUT_IN:
                raise PosixError(ECONNREFUSED)
            if len(other.pending) <= other.backlog:
                break
            if deadline is None and self.send_timeout_ns:
                deadline = await deadline_after(thread, self.send_timeout_ns)
            await self._wait_for(thread, other, deadline)
        if self.state != CLOSED:
            raise PosixError(EISCONN if self.state == ESTABLISHED else EINVAL)
        assert isinstance(other.pending, deque)
        made.listener = other
        made.address, made.passes, made.takes_files = other.address, other.passes, other.takes_files
        made.credentials = other.credentials
        self.credentials = credentials_of(thread)
        self._join(made)
        made._join(self)
        self.settle()
        made.settle()
        other.pending.append(made)
        other.queue.wake(IN)

    async def _wait_for(self, thread: Thread, other: UnixSocket, deadline: int | None) -> None:
        def free() -> bool:
            full = len(other.pending) > other.backlog
            return not full or other.state != LISTENING or bool(other.shut & SHUT_IN)

        await self.wait_output(thread, free, 0, other.waiting_room(), deadline_ns=deadline)

    # accept ---------------------------------------------------------------------------------

    async def accept(self, thread: Thread, flags: int) -> tuple[Socket, bytes]:
        """accept(2); EINVAL unless it listens."""
        if self.state != LISTENING:
            raise PosixError(EINVAL)
        self.raise_error()
        if not self.pending:
            if self.nonblocking(0):
                raise PosixError(EAGAIN)
            deadline = await deadline_after(thread, self.receive_timeout_ns or None)
            if not await self.wait_until(thread, self._acceptable, deadline):
                raise PosixError(EAGAIN)
        attr = await new_socket_attr(thread)
        if not self.pending:
            self.raise_error()
            raise PosixError(EINVAL)
        assert isinstance(self.pending, deque)
        made = self.pending.popleft()
        if self.room is not None:
            self.room.wake()
        made.attr = attr
        made.flags |= flags
        made.listener = None
        peer = made.peer
        if peer is not None:
            peer.settle()
        return made, await made.peer_name()

    def _acceptable(self) -> bool:
        return bool(self.pending or self.error or self.shut & SHUT_IN)

    # The end --------------------------------------------------------------------------------

    async def shutdown(self, thread: Thread, how: int) -> None:
        """shutdown(2): the other end learns the converse."""
        await super().shutdown(thread, how)
        peer = self.peer
        if peer is not None:
            peer.shut |= (how & SHUT_IN) << 1 | how >> 1
            peer.settle()
            peer.queue.wake()

    def part(self, peer: UnixSocket, unread: bool) -> None:
        """End of stream for the peer, or a reset where something was left unread."""
        peer.shut = SHUT_BOTH
        if unread or self.listener is not None:
            peer.error = ECONNRESET
        peer.settle()
        peer.queue.wake()

    async def end(self, thread: Thread | None) -> None:
        """A listener resets the connections that it has not accepted."""
        pending, self.pending = self.pending, ()
        await super().end(thread)
        for made in pending:
            await made.end(thread)
