"""AF_UNIX datagrams and sequenced packets (unix(7), SOCK_DGRAM and SOCK_SEQPACKET)."""

from __future__ import annotations

from errno import (
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
)
from typing import TYPE_CHECKING, NoReturn

from bus.errors import PosixError
from services.drivers.clock.api import REALTIME, Now
from services.proc.descriptors import drop
from services.proc.files.anon import gather, total
from services.proc.files.socket import (
    AF_UNSPEC,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_IN,
    SHUT_OUT,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    Received,
)
from services.proc.files.sockoptions import SO_TIMESTAMP, stamp_of
from services.proc.files.unix import address
from services.proc.files.unix.connection import ConnectionSocket
from services.proc.files.unix.endpoint import CLOSED, ESTABLISHED, UnixSocket, credentials_of
from services.proc.files.unix.messages import Inbox, Message, charge
from services.proc.files.unix.rights import check_user, discard, launch, read_control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.proc.files.socket import ControlMessage, Socket
    from services.proc.files.unix.rights import Parcel
    from services.proc.task import Thread

OVERHEAD_BYTES = 32
"""What a packet must be smaller by than SO_SNDBUF."""


class PacketSocket(UnixSocket):
    """What datagrams and sequenced packets have in common: boundaries."""

    __slots__ = ()

    # Receiving ------------------------------------------------------------------------------

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2): one packet; what has no room is lost (MSG_TRUNC)."""
        if flags & MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        self.raise_error()
        if self.inbox:
            return self._take(extents, flags)
        return await self.hold(thread, self._take_later(thread, extents, flags))

    async def _take_later(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        if not await self._await_packet(thread, flags):
            return Received(0)
        return self._take(extents, flags)

    def _take(self, extents: list[Extent], flags: int) -> Received:
        peek = bool(flags & MSG_PEEK)
        size = len(self.inbox[0].data)
        taken = self.inbox.take_packet(self.memory, extents, peek)
        if self.room is not None and not peek:
            self.room.wake()
        received = self.received(taken, peek)
        if taken.first.stamp_ns and self.options.get(SO_TIMESTAMP):
            stamp = stamp_of(self.options[SO_TIMESTAMP], taken.first.stamp_ns)
            received.control.insert(0, stamp)
        if taken.truncated:
            received.flags = MSG_TRUNC
        if flags & MSG_TRUNC:
            received.count = size
        return received

    async def _await_packet(self, thread: Thread, flags: int) -> bool:
        """Wait for the inbox; False at the end."""
        if self.nonblocking(flags):
            if self.type == SOCK_SEQPACKET and self.shut & SHUT_IN:
                return False
            raise PosixError(EAGAIN)
        if not self._receivable():
            await self.wait_input(thread, self._receivable, flags)
        self.raise_error()
        return bool(self.inbox)

    def _receivable(self) -> bool:
        return bool(self.inbox or self.error or self.shut & SHUT_IN)

    # Sending --------------------------------------------------------------------------------

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2); EMSGSIZE, ENOTCONN, ECONNREFUSED, EPERM, EPIPE, and what a path says."""
        parcel, claimed = read_control(thread, control) if control else (None, None)
        try:
            if flags & MSG_OOB:
                raise PosixError(EOPNOTSUPP)
            if name is not None:
                address.check(name)
            self.autobind()
            length = total(extents)
            if length > self.send_bytes - OVERHEAD_BYTES:
                raise PosixError(EMSGSIZE)
            if parcel is not None:
                check_user(self.registry, thread, parcel)
            data = gather(self.memory, extents, 0, length) if length else bytearray()
            message = Message(data, charge(length, False), self, claimed)
            await self.hold(thread, self._send_to(thread, name, message, parcel, flags))
            return length
        finally:
            if parcel is not None and parcel.receiver is None:
                for file in parcel.files:
                    await drop(file, thread)

    async def before_data(self, thread: Thread, flags: int, name: bytes | None) -> None:
        """What a send says whatever its data."""
        self._check_sending()

    def at_end(self) -> bool:
        """Sequenced packets have an end, where a receive finds nothing (`_await_packet`)."""
        return not self.inbox and bool(self.shut & SHUT_IN)

    def _check_sending(self) -> None:
        self.raise_error()
        if self.shut & SHUT_OUT:
            raise PosixError(EPIPE)

    def _sendable(self) -> bool:
        return bool(self.charged < self.send_bytes or self.shut & SHUT_OUT or self.error)

    async def _send_to(
        self,
        thread: Thread,
        name: bytes | None,
        message: Message,
        parcel: Parcel | None,
        flags: int,
    ) -> None:
        """Wait for space, find the receiver, wait until it takes the message, and give it."""
        self._check_sending()
        if self.charged >= self.send_bytes:
            await self.wait_output(thread, self._sendable, flags)
            self._check_sending()
        other = await self._receiver_for(thread, name)
        deadline = None
        while not self._admits(other, parcel):
            if self.nonblocking(flags):
                if self.peer is other:
                    self.await_room(other)
                raise PosixError(EAGAIN)
            if deadline is None and self.send_timeout_ns:
                deadline = await self.send_deadline(thread)
            await self._wait_for(thread, other, deadline)
            if other.dead:
                other = await self._receiver_for(thread, name)
        if message.sender is None:
            message.sender = self.sender(thread, other)
        if other.options.get(SO_TIMESTAMP):
            message.stamp_ns = await thread.kernel.clock.call(Now(REALTIME))
        if parcel is not None:
            launch(self.registry, parcel, other)
            message.parcel = parcel
        self.deliver(other, message)

    async def _receiver_for(self, thread: Thread, name: bytes | None) -> UnixSocket:
        """Who has that name, or whom it is connected to; ENOTCONN, ECONNREFUSED, EPIPE."""
        if name is not None:
            return await self.find(thread, name)
        if self.peer is None:
            raise PosixError(ENOTCONN)
        if self.peer.dead:
            await self._peer_gone(thread)
        return self.peer

    def _admits(self, other: UnixSocket, parcel: Parcel | None) -> bool:
        """Whether the message can be given now; EPERM, EPIPE where it never can."""
        if other.peer is not None and other.peer is not self:
            raise PosixError(EPERM)
        if other.shut & SHUT_IN:
            raise PosixError(EPIPE)
        if parcel is not None and not other.takes_files:
            raise PosixError(EPERM)
        return not self.crowded(other)

    async def _wait_for(self, thread: Thread, other: UnixSocket, deadline: int | None) -> None:
        def takes() -> bool:
            return other.dead or bool(other.shut & SHUT_IN) or not self.crowded(other)

        await self.wait_output(thread, takes, 0, other.waiting_room(), deadline_ns=deadline)

    async def _peer_gone(self, thread: Thread) -> NoReturn:
        """The peer is closed."""
        raise PosixError(EPIPE)


class DatagramSocket(PacketSocket):
    """SOCK_DGRAM: no connection is needed, and connect(2) only names a receiver."""

    __slots__ = ()
    CLASS = SOCK_DGRAM
    connected_kind = False

    async def pair(self, thread: Thread, other: Socket) -> None:
        """socketpair(2)."""
        assert isinstance(other, DatagramSocket)
        self.peer, other.peer = other, self
        self.state = other.state = ESTABLISHED
        self.peer_credentials = other.peer_credentials = credentials_of(thread)

    async def connect(self, thread: Thread, name: bytes) -> None:
        """connect(2): whom to send to and receive from; AF_UNSPEC: nobody any more."""
        other: UnixSocket | None = None
        if address.family(name) != AF_UNSPEC:
            address.check(name)
            self.autobind()
            other = await self.find(thread, name)
            while other.dead:
                other = await self.find(thread, name)
            if other.peer is not None and other.peer is not self:
                raise PosixError(EPERM)
            self.state = other.state = ESTABLISHED
        await self._reconnect(thread, other)

    async def _reconnect(self, thread: Thread, other: UnixSocket | None) -> None:
        """Another peer, or none: what the old one had sent is lost, and it learns of it."""
        old, self.peer = self.peer, other
        if other is None:
            self.state = CLOSED
        self.leave_room()
        if old is None or old is other:
            return
        unread, self.inbox = self.inbox, Inbox()
        await discard(self.registry, unread, thread)
        if self.room is not None:
            self.room.wake()
        if unread and not old.dead and old.peer is self:
            old.error = ECONNRESET
            old.queue.wake()
        if old.peer is None:
            old.state = CLOSED
        self.queue.wake()

    async def _peer_gone(self, thread: Thread) -> NoReturn:
        """ECONNREFUSED, and the connection to it is no more."""
        await self._reconnect(thread, None)
        raise PosixError(ECONNREFUSED)

    @property
    def hung_up(self) -> bool:
        """Never: it has no connection to lose."""
        return False

    def has_room(self) -> bool:
        """A peer that is connected elsewhere, or not at all, must take another one."""
        peer = self.peer
        if peer is None or not self.crowded(peer) or peer.dead:
            return True
        self.await_room(peer)
        return False


class SeqpacketSocket(ConnectionSocket, PacketSocket):
    """SOCK_SEQPACKET."""

    __slots__ = ()
    CLASS = SOCK_SEQPACKET

    async def before_data(self, thread: Thread, flags: int, name: bytes | None) -> None:
        """What a send says whatever its data; ENOTCONN too."""
        self.raise_error()
        if self.state != ESTABLISHED:
            raise PosixError(ENOTCONN)
        await PacketSocket.before_data(self, thread, flags, name)

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2); ENOTCONN."""
        if self.state != ESTABLISHED:
            raise PosixError(ENOTCONN)
        return await PacketSocket.receive(self, thread, extents, flags)

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2): a name is ignored."""
        self.raise_error()
        if self.state != ESTABLISHED:
            raise PosixError(ENOTCONN)
        return await PacketSocket.send(self, thread, extents, flags, None, control)
