"""Connected pairs of AF_UNIX sockets (unix(7), socketpair(2)).

Each socket has an inbox of messages (`unix_core`), filled by its peer. A message is charged to its
sender by what Linux's socket buffer for it would take, as that decides when a sender must wait
and when poll(2) calls a socket writable: while at most a quarter of SO_SNDBUF is in flight.

Differences: MSG_OOB is refused; descriptors that only a socket in flight holds are not collected.
"""

from __future__ import annotations

from errno import EAGAIN, ECONNREFUSED, ECONNRESET, EINVAL, EMSGSIZE, ENOTCONN, EOPNOTSUPP, EPIPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import (
    O_NONBLOCK,
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    S_IFSOCK,
    SIGPIPE,
)
from services.proc.descriptors import OpenFile, drop
from services.proc.files.anon import (
    INT_IOCTL_BYTES,
    SOCKET_DEV,
    gather,
    new_attr,
    total,
    wait_holding,
)
from services.proc.files.readiness import deadline_after
from services.proc.files.unix_core import (
    MSG_PEEK,
    Inbox,
    Message,
    Received,
    Sender,
    charge,
)
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals import send

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.proc.task import Thread

STREAM, DATAGRAM, SEQPACKET = 1, 2, 5
MSG_OOB, MSG_DONTWAIT, MSG_NOSIGNAL = 1, 0x40, 0x4000
SO_PASSCRED, SO_RCVTIMEO, SO_SNDTIMEO = 16, 20, 21
DEFAULT_BUFFER_BYTES = 212992
STREAM_PIECE_BYTES = 36544
"""The most that Linux puts into one socket buffer of a stream."""
SHUT_IN, SHUT_OUT, SHUT_BOTH = 1, 2, 3
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM | POLLWRBAND
SIOCINQ, SIOCOUTQ = 0x541B, 0x5411


class UnixSocket(OpenFile):
    """One end of a pair; `peer` is None once a datagram socket has noticed that it is alone."""

    __slots__ = (
        "_attr",
        "_dead",
        "_in_flight",
        "credentials",
        "error",
        "inbox",
        "memory",
        "options",
        "peer",
        "send_bytes",
        "shut",
        "type",
    )
    kind = "socket"

    def __init__(self, type_: int, flags: int, attr: Attr, thread: Thread) -> None:
        super().__init__(O_RDWR | flags)
        self.type = type_
        self._attr = attr
        self.memory = thread.kernel.ram.bytes
        self.queue: WaitQueue = WaitQueue()
        self.peer: UnixSocket | None = None
        self.inbox = Inbox()
        self._in_flight = 0
        """Charged bytes that the peer has not taken."""
        self._dead = False
        self.shut = 0
        self.error = 0
        """SO_ERROR."""
        self.send_bytes = DEFAULT_BUFFER_BYTES
        self.credentials = sender_of(thread)
        """Of who made the pair (SO_PEERCRED)."""
        self.options: dict[int, int] = {}
        """SOL_SOCKET options that only have to be remembered; timeouts in ns."""

    # Receiving ------------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): as recv(2) without flags, but an empty buffer asks for nothing."""
        if not extents:
            return 0
        inbox = self.inbox
        if len(inbox) == 1 and len(extents) == 1 and self.type == STREAM:
            message, (paddr, room) = inbox[0], extents[0]
            size = len(message.data)
            if size <= room and not message.head and not message.files:
                self.memory[paddr : paddr + size] = message.data
                inbox.clear()
                self._freed(message.charged)
                return size
        received = await self.receive(thread, extents, 0)
        for file in received.files:
            await drop(file, thread)
        return received.count

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2), once; descriptors of a message read in part go with its first byte."""
        if flags & MSG_OOB:
            raise PosixError(EINVAL if self.type == STREAM else EOPNOTSUPP)
        if self.type == SEQPACKET:
            self._raise_error()
        if not self.inbox and not await self._await_message(thread, flags):
            return Received(0)
        peek = bool(flags & MSG_PEEK)
        if self.type != STREAM:
            received = self.inbox.take_packet(self.memory, extents, flags)
            self._freed(received.freed)
            return received
        received = self.inbox.take_stream(self.memory, extents, peek, self.passes_credentials)
        self._freed(received.freed)
        return received

    @property
    def passes_credentials(self) -> bool:
        """SO_PASSCRED."""
        return bool(self.options.get(SO_PASSCRED))

    def _raise_error(self) -> None:
        if self.error:
            error, self.error = self.error, 0
            raise PosixError(error)

    async def _await_message(self, thread: Thread, flags: int) -> bool:
        """Wait for the inbox; False at the end of the stream."""
        ends = self.type != DATAGRAM or not self._nonblock(flags)
        if not self._receivable():
            if self._nonblock(flags):
                raise PosixError(EAGAIN)
            deadline = None
            if SO_RCVTIMEO in self.options:
                deadline = await deadline_after(thread, self.options[SO_RCVTIMEO] or None)
            if not await wait_holding(thread, self, self.queue, self._receivable, deadline):
                raise PosixError(EAGAIN)
        if self.inbox:
            return True
        self._raise_error()
        if not ends:
            raise PosixError(EAGAIN)
        return False

    def _receivable(self) -> bool:
        """A receive need not wait: a message, an error or the end."""
        return bool(self.inbox or self.error or self.shut & SHUT_IN)

    def _nonblock(self, flags: int) -> bool:
        return bool(flags & MSG_DONTWAIT or self.flags & O_NONBLOCK)

    def _freed(self, charged: int) -> None:
        """The sender's buffer space is free again."""
        peer = self.peer
        if peer is not None and charged:
            peer._in_flight -= charged
            if peer.queue.entries and peer._in_flight * 4 <= peer.send_bytes:
                peer.queue.wake(OUT)

    # Sending --------------------------------------------------------------------------------

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): as send(2) without flags; small ones that need not wait take a short cut."""
        peer = self.peer
        if (
            len(extents) == 1
            and self.type == STREAM
            and peer is not None
            and not peer.shut & SHUT_IN
            and not self.shut & SHUT_OUT
            and not peer._dead
            and extents[0][1] <= 192
            and self._in_flight < self.send_bytes
        ):
            paddr, length = extents[0]
            data = self.memory[paddr : paddr + length].tobytes()
            self._deliver(peer, Message(data, 768, sender_of(thread), []))
            return length
        return await self.send(thread, extents, 0, sender_of(thread), [])

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        sender: Sender,
        files: list[OpenFile],
    ) -> int:
        """sendmsg(2); `files` come with a holder each, which is the message's once it is sent."""
        if flags & MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        length = total(extents)
        if self.type == STREAM:
            return await self._send_stream(thread, extents, length, flags, sender, files)
        if length > self.send_bytes - 32:
            raise PosixError(EMSGSIZE)
        data = gather(self.memory, extents, 0, length) if length else bytearray()
        if self._in_flight >= self.send_bytes:
            await self._await_room(thread, flags)
        self._deliver(self._target(), Message(data, charge(length, False), sender, files))
        return length

    async def _send_stream(
        self,
        thread: Thread,
        extents: list[Extent],
        length: int,
        flags: int,
        sender: Sender,
        files: list[OpenFile],
    ) -> int:
        done = base = 0
        rest: bytearray | None = None
        try:
            while done < length:
                peer = self._target()
                size = min(length - done, STREAM_PIECE_BYTES)
                if self._in_flight >= self.send_bytes:
                    if rest is None:
                        rest, base = gather(self.memory, extents, done, length - done), done
                    await self._await_room(thread, flags)
                    continue
                if rest is None:
                    data = gather(self.memory, extents, done, size)
                else:
                    data = rest[done - base : done - base + size]
                self._deliver(peer, Message(data, charge(size, True), sender, files))
                files = []
                done += size
        except (PosixError, Interrupted) as error:
            if done:
                return done
            if isinstance(error, PosixError) and error.errno == EPIPE and not flags & MSG_NOSIGNAL:
                send.to_thread(thread, send.user_info(SIGPIPE, thread.process))
            raise
        return done

    def _target(self) -> UnixSocket:
        """Where messages go; EPIPE, ECONNREFUSED, ENOTCONN."""
        peer = self.peer
        if self.shut & SHUT_OUT:
            raise PosixError(EPIPE)
        if peer is None:
            raise PosixError(ENOTCONN)
        if peer._dead:
            if self.type == DATAGRAM:
                self.peer = None
                self._in_flight = 0
                raise PosixError(ECONNREFUSED)
            raise PosixError(EPIPE)
        if peer.shut & SHUT_IN:
            raise PosixError(EPIPE)
        return peer

    async def _await_room(self, thread: Thread, flags: int) -> None:
        """Wait until the socket is writable, or cannot be written to any more."""
        deadline = None
        self.holders += 1
        try:
            while self._in_flight >= self.send_bytes:
                self._target()
                if self._nonblock(flags):
                    raise PosixError(EAGAIN)
                if deadline is None and SO_SNDTIMEO in self.options:
                    deadline = await deadline_after(thread, self.options[SO_SNDTIMEO] or None)
                if not await thread.wait(self.queue, deadline_ns=deadline):
                    raise PosixError(EAGAIN)
        finally:
            await drop(self, thread)

    def _deliver(self, peer: UnixSocket, message: Message) -> None:
        self._in_flight += message.charged
        peer.inbox.append(message)
        if peer.queue.entries:
            peer.queue.wake(IN)

    # State ----------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """shutdown(2): `how` is SHUT_ bits; a connection's other end learns the converse."""
        self.shut |= how
        peer = self.peer
        if peer is not None and self.type != DATAGRAM:
            peer.shut |= (how & SHUT_IN) << 1 | how >> 1
            peer.queue.wake()
        self.queue.wake()

    def poll(self) -> int:
        """As unix_poll of Linux has it."""
        ready = 0
        if self.error:
            ready |= POLLERR
        if self.shut == SHUT_BOTH:
            ready |= POLLHUP
        if self.shut & SHUT_IN:
            ready |= POLLRDHUP | IN
        if self.inbox:
            ready |= IN
        if self._in_flight * 4 <= self.send_bytes:
            ready |= OUT
        return ready

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """SIOCINQ (bytes to read; of the first packet), SIOCOUTQ."""
        if command == SIOCINQ:
            count = self.inbox.unread(self.type == STREAM)
        elif command == SIOCOUTQ:
            count = self._in_flight
        else:
            return await super().ioctl(thread, command, argument)
        await thread.copyout(argument, count.to_bytes(INT_IOCTL_BYTES, "little"))
        return 0

    async def stat(self, thread: Thread) -> Attr:
        """The socket's own inode."""
        return self._attr

    async def path(self) -> bytes:
        """socket:[ino]."""
        return b"socket:[%d]" % self._attr.ino

    async def closed(self, thread: Thread | None) -> None:
        """Tell the peer: end of stream, or a reset where bytes were left unread."""
        self._dead = True
        unread, self.inbox = self.inbox, Inbox()
        peer = self.peer
        if peer is not None:
            if self.type != DATAGRAM:
                peer.shut = SHUT_BOTH
                if unread:
                    peer.error = ECONNRESET
            peer._in_flight = 0
            peer.queue.wake()
        for message in unread:
            for file in message.files:
                await drop(file, thread)


def sender_of(thread: Thread) -> Sender:
    """The credentials that a message of `thread` carries."""
    credentials = thread.process.credentials
    return thread.process.pid, credentials.ruid, credentials.rgid


async def make_pair(thread: Thread, type_: int, flags: int) -> tuple[UnixSocket, UnixSocket]:
    """socketpair(2)."""
    first, second = [
        UnixSocket(type_, flags, await new_attr(thread, SOCKET_DEV, S_IFSOCK | 0o777), thread)
        for _ in range(2)
    ]
    first.peer, second.peer = second, first
    return first, second
