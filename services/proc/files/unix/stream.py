"""AF_UNIX streams (unix(7), SOCK_STREAM).

A small write between two connected sockets, and a read of all that is there, are one copy each and
nothing else. `sink` says that the short cut may be taken.
"""

from __future__ import annotations

from errno import EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPERM, EPIPE
from functools import partial
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import POLLPRI
from services.proc.descriptors import drop
from services.proc.files import sigio
from services.proc.files.anon import INT_IOCTL_BYTES, gather, total
from services.proc.files.socket import (
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    SCM_CREDENTIALS,
    SHUT_IN,
    SHUT_OUT,
    SOCK_STREAM,
    SOL_SOCKET,
    Received,
)
from services.proc.files.unix.connection import ConnectionSocket
from services.proc.files.unix.endpoint import ESTABLISHED, IN, OUT, SIOCATMARK
from services.proc.files.unix.messages import SMALL_BYTES, SMALL_CHARGE, Message, charge
from services.proc.files.unix.rights import CREDENTIALS_BYTES, check_user, launch, read_control
from services.proc.files.unix.urgent import at_mark, readable, take_marked, take_urgent, unread
from services.proc.park import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.proc.files.socket import ControlMessage
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.files.unix.messages import Sender
    from services.proc.files.unix.rights import Parcel
    from services.proc.task import Thread

PIECE_BYTES = 36544
"""The most that Linux puts into one socket buffer of a stream."""


class StreamSocket(ConnectionSocket):
    """SOCK_STREAM."""

    __slots__ = ("_marked", "_plain", "urgent")
    CLASS = SOCK_STREAM

    def __init__(self, thread: Thread, flags: int, attr: Attr) -> None:
        super().__init__(thread, flags, attr)
        self.urgent: Message | None = None
        """The urgent byte, while it has neither been received nor passed over (`urgent`)."""
        self._marked = False
        """There may be a mark in the inbox: one that is pending, or an empty message."""
        self._plain = True
        """Reads may take the short cut."""

    def settle(self) -> None:
        """Plain writes may go straight to the peer's inbox."""
        peer = self.peer
        open_both = (
            peer is not None
            and self.state == ESTABLISHED
            and not self.shut & SHUT_OUT
            and not peer.shut & SHUT_IN
            and not peer.dead
            and not self.passes
            and not peer.passes
            and peer.listener is None
            and not self.error
        )
        self.sink = peer if open_both else None
        self._plain = not self.passes and not self._marked and self.receive_low_bytes == 1

    def option_set(self, option: int) -> None:
        """SO_RCVLOWAT."""
        self.settle()

    # Receiving ------------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2)."""
        done = self._take_whole(extents)
        return done if done >= 0 else await super().read(thread, extents, offset)

    async def take(self, thread: Thread, extents: list[Extent], flags: int) -> int:
        """recv(2)."""
        done = -1 if flags & ~MSG_DONTWAIT else self._take_whole(extents)
        return done if done >= 0 else await super().take(thread, extents, flags)

    def _take_whole(self, extents: list[Extent]) -> int:
        """The short cut: the only message, which has room and nothing special; else -1."""
        inbox = self.inbox
        if len(inbox) == 1 and len(extents) == 1 and self._plain:
            message, (paddr, room) = inbox[0], extents[0]
            data = message.data
            size = len(data)
            if size <= room and not message.head and message.parcel is None:
                self.memory[paddr : paddr + size] = data
                inbox.clear()
                source = message.source
                source.charged -= message.charged
                if source.queue.entries and source.charged * 4 + 4 <= source.send_bytes:
                    source.queue.wake(OUT)
                return size
        return -1

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2), once; descriptors of a message read in part go with its first byte."""
        if self.state != ESTABLISHED:
            raise PosixError(EINVAL)
        if flags & MSG_OOB:
            take_urgent(self, extents, bool(flags & MSG_PEEK))
            received = Received(1)
            received.flags = MSG_OOB
            return received
        if self.inbox and self.receive_low_bytes == 1 and not self._marked:
            return self._take(extents, flags)
        return await self.hold(thread, self._take_later(thread, extents, flags))

    def _take(self, extents: list[Extent], flags: int) -> Received:
        peek = bool(flags & MSG_PEEK)
        taken = self.inbox.take_stream(self.memory, extents, peek, self.passes)
        return self.received(taken, peek)

    async def _take_later(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """Wait for bytes, or take them past a mark."""
        low = max(min(self.receive_low_bytes, total(extents)), 1)
        while True:
            if self._marked:
                peek = bool(flags & MSG_PEEK)
                taken = take_marked(self, extents, peek)
                self._tidy()
                if taken is not None:
                    return self.received(taken, peek)
            elif self.inbox and self._enough(low):
                return self._take(extents, flags)
            self.raise_error()
            if self.shut & SHUT_IN:
                return self.end_of_stream()
            try:
                await self.wait_input(thread, partial(self._enough, low), flags)
            except PosixError:
                if self._marked or not self.inbox:
                    raise
                low = 1  # too few bytes are better than none

    def _enough(self, low: int) -> bool:
        """A receive that wants at least `low` bytes need not wait."""
        if self.error or self.shut & SHUT_IN:
            return True
        if self._marked:
            return readable(self)
        if low == 1 or not self.inbox:
            return bool(self.inbox)
        peer = self.peer
        full = peer is not None and peer.charged >= peer.send_bytes
        return full or self.inbox.unread(True) >= low

    def end_of_stream(self) -> Received:
        """Nothing; but who wants credentials is told some, of nobody."""
        received = Received(0)
        if self.passes:
            received.control.append((SOL_SOCKET, SCM_CREDENTIALS, bytes(CREDENTIALS_BYTES)))
        return received

    def mark(self, message: Message) -> None:
        """An urgent byte is about to arrive."""
        self.urgent, self._marked = message, True
        self.settle()

    def _tidy(self) -> None:
        """Once no mark is left, reads are as quick as before."""
        if self.urgent is None and all(unread(message) for message in self.inbox):
            self._marked = False
            self.settle()

    def poll(self) -> int:
        """POLLPRI while an urgent byte is there."""
        ready = super().poll()
        return ready | POLLPRI if self.urgent is not None else ready

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """SIOCATMARK."""
        if command == SIOCATMARK:
            mark = int(at_mark(self)).to_bytes(INT_IOCTL_BYTES, "little")
            await thread.copyout(argument, mark)
            return 0
        return await super().ioctl(thread, command, argument)

    # Sending --------------------------------------------------------------------------------

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2)."""
        return await self.send(thread, extents, 0)

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2); EISCONN with a name, ENOTCONN, EPIPE."""
        sink = self.sink
        if (
            sink is not None
            and len(extents) == 1
            and not flags & ~MSG_NOSIGNAL
            and not control
            and name is None
            and self.charged < self.send_bytes
        ):
            paddr, length = extents[0]
            if length <= SMALL_BYTES:
                data = self.memory[paddr : paddr + length].tobytes()
                self.charged += SMALL_CHARGE
                sink.inbox.append(Message(data, SMALL_CHARGE, self))
                if sink.queue.entries:
                    sink.queue.wake(IN)
                return length
        parcel, claimed = read_control(thread, control) if control else (None, None)
        try:
            if flags & MSG_OOB and not extents:
                raise PosixError(EOPNOTSUPP)
            if name is not None:
                raise PosixError(EISCONN if self.state == ESTABLISHED else EOPNOTSUPP)
            if self.peer is None:
                raise PosixError(ENOTCONN)
            if parcel is not None:
                check_user(self.registry, thread, parcel)
            sending = self._send_pieces(thread, extents, flags, claimed, parcel)
            return await self.hold(thread, sending)
        finally:
            if parcel is not None and parcel.receiver is None:
                for file in parcel.files:
                    await drop(file, thread)

    async def before_data(self, thread: Thread, flags: int, name: bytes | None) -> None:
        """What a send says whatever its data."""
        await self.send(thread, [], flags & ~MSG_OOB, name)

    def at_end(self) -> bool:
        """End of stream."""
        return not self.inbox and bool(self.shut & SHUT_IN)

    async def _send_pieces(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        claimed: Sender | None,
        parcel: Parcel | None,
    ) -> int:
        """What does not go out at once is copied first: the buffer may move while it waits."""
        length = total(extents)
        urgent_at = length - 1 if flags & MSG_OOB else length
        done = base = 0
        rest: bytearray | None = None
        try:
            peer = self._target()
            while done < length:
                end = urgent_at if done < urgent_at else length
                size = min(end - done, PIECE_BYTES, (self.send_bytes >> 1) - 64)
                self.raise_error()
                if self.charged >= self.send_bytes:
                    if rest is None:
                        rest, base = gather(self.memory, extents, done, length - done), done
                    await self.wait_output(thread, self._sendable, flags)
                    self.raise_error()
                    peer = self._target()
                    continue
                if rest is None:
                    data = gather(self.memory, extents, done, size)
                else:
                    data = rest[done - base : done - base + size]
                message = Message(data, charge(size, True), self)
                message.sender = claimed or self.sender(thread, peer)
                if parcel is not None:
                    if not peer.takes_files:
                        raise PosixError(EPERM)
                    launch(self.registry, parcel, peer)
                    message.parcel, parcel = parcel, None
                if done == urgent_at:
                    assert isinstance(peer, StreamSocket)
                    peer.mark(message)
                    sigio.urgent(peer)
                self.deliver(peer, message)
                done += size
        except (PosixError, Interrupted) as error:
            if done:
                return done
            if isinstance(error, PosixError) and error.errno == EPIPE:
                raise self.broken(thread, flags) from None
            raise
        return done

    def _target(self) -> UnixSocket:
        """Where bytes go; EPIPE."""
        peer = self.peer
        if peer is None or self.shut & SHUT_OUT or peer.dead or peer.shut & SHUT_IN:
            raise PosixError(EPIPE)
        return peer

    def _sendable(self) -> bool:
        """A send need not wait: there is room, or there is nobody."""
        return bool(self.charged < self.send_bytes or self.shut & SHUT_OUT or self.error)
