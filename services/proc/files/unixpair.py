"""Connected pairs of AF_UNIX sockets (unix(7), socketpair(2)).

Each socket has an inbox of messages (`unix_core`), filled by its peer. A message is charged to its
sender by what Linux's socket buffer for it would take, as that decides when a sender must wait
and when poll(2) calls a socket writable: while at most a quarter of SO_SNDBUF is in flight.

Differences: MSG_OOB is refused; descriptors that only a socket in flight holds are not collected.
"""

from __future__ import annotations

import struct
from errno import (
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from services.proc.descriptors import OpenFile, drop
from services.proc.files.anon import INT_IOCTL_BYTES, gather, total
from services.proc.files.socket import (
    AF_UNIX,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_CREDENTIALS,
    SCM_RIGHTS,
    SHUT_BOTH,
    SHUT_IN,
    SHUT_OUT,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    Received,
    Socket,
    new_socket_attr,
)
from services.proc.files.sockoptions import SO_PASSCRED, SO_PEERCRED
from services.proc.files.unix_core import Inbox, Message, Sender, charge
from services.proc.park import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.proc.files.socket import ControlMessage
    from services.proc.task import Thread

STREAM_PIECE_BYTES = 36544
"""The most that Linux puts into one socket buffer of a stream."""
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM | POLLWRBAND
SIOCINQ, SIOCOUTQ = 0x541B, 0x5411
NO_NAME = AF_UNIX.to_bytes(2, "little")
MAX_RIGHTS = 253


class UnixSocket(Socket):
    """One end of a pair; `peer` is None once a datagram socket has noticed that it is alone."""

    __slots__ = ("_dead", "_in_flight", "credentials", "inbox", "peer", "shut")

    def __init__(self, thread: Thread, type_: int, flags: int, attr: Attr) -> None:
        super().__init__(thread, type_, 0, flags, attr)
        self.family = AF_UNIX
        self.peer: UnixSocket | None = None
        self.inbox = Inbox()
        self._in_flight = 0
        """Charged bytes that the peer has not taken."""
        self._dead = False
        self.shut = 0
        self.credentials = sender_of(thread)
        """Of who made the pair (SO_PEERCRED)."""

    async def pair(self, other: Socket) -> None:
        """socketpair(2)."""
        assert isinstance(other, UnixSocket)
        self.peer, other.peer = other, self

    async def name(self) -> bytes:
        """A pair has no names."""
        return NO_NAME

    async def peer_name(self) -> bytes:
        """ENOTCONN."""
        if self.peer is None:
            raise PosixError(ENOTCONN)
        return NO_NAME

    async def get_option(self, thread: Thread, level: int, option: int, room: int) -> bytes:
        """SO_PEERCRED and SO_PASSCRED beside the common ones."""
        if level == SOL_SOCKET and option == SO_PEERCRED:
            return struct.pack("<iII", *self.credentials)
        if level == SOL_SOCKET and option == SO_PASSCRED:
            return struct.pack("<i", self.passes_credentials)
        return await super().get_option(thread, level, option, room)

    async def set_option(self, thread: Thread, level: int, option: int, value: bytes) -> None:
        """SO_PASSCRED beside the common ones."""
        if level == SOL_SOCKET and option == SO_PASSCRED:
            self.options[option] = any(value[:4])
            return
        await super().set_option(thread, level, option, value)

    # Receiving ------------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): as recv(2) without flags, but an empty buffer asks for nothing."""
        if not extents:
            return 0
        inbox = self.inbox
        if len(inbox) == 1 and len(extents) == 1 and self.type == SOCK_STREAM:
            message, (paddr, room) = inbox[0], extents[0]
            size = len(message.data)
            if size <= room and not message.head and not message.files:
                self.memory[paddr : paddr + size] = message.data
                inbox.clear()
                self._freed(message.charged)
                return size
        return await super().read(thread, extents, offset)

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2), once; descriptors of a message read in part go with its first byte."""
        if flags & MSG_OOB:
            raise PosixError(EINVAL if self.type == SOCK_STREAM else EOPNOTSUPP)
        if self.type == SOCK_SEQPACKET:
            self._raise_error()
        if not self.inbox and not await self._await_message(thread, flags):
            return Received(0)
        peek = bool(flags & MSG_PEEK)
        if self.type != SOCK_STREAM:
            taken = self.inbox.take_packet(self.memory, extents, flags)
        else:
            taken = self.inbox.take_stream(self.memory, extents, peek, self.passes_credentials)
        self._freed(taken.freed)
        received = Received(taken.count)
        received.files = taken.files
        if taken.truncated:
            received.flags = MSG_TRUNC
        if self.passes_credentials:
            sender = struct.pack("<iII", *(taken.sender or (0, 65534, 65534)))
            received.control.append((SOL_SOCKET, SCM_CREDENTIALS, sender))
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
        ends = self.type != SOCK_DGRAM or not self.nonblocking(flags)
        if not self._receivable():
            await self.wait_input(thread, self._receivable, flags)
        if self.inbox:
            return True
        self._raise_error()
        if not ends:
            raise PosixError(EAGAIN)
        return False

    def _receivable(self) -> bool:
        """A receive need not wait: a message, an error or the end."""
        return bool(self.inbox or self.error or self.shut & SHUT_IN)

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
            and self.type == SOCK_STREAM
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
        return await self.send(thread, extents, 0)

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2)."""
        files: list[OpenFile] = []
        sender = sender_of(thread)
        if control:
            files, claimed = _parse(thread, control)
            sender = claimed or sender
        if flags & MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        if name is not None and self.type != SOCK_SEQPACKET:
            raise PosixError(EISCONN if self.type == SOCK_STREAM else ECONNREFUSED)
        for file in files:
            file.holders += 1
        try:
            return await self._send(thread, extents, flags, sender, files)
        except BaseException:
            for file in files:
                await drop(file, thread)
            raise

    async def _send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        sender: Sender,
        files: list[OpenFile],
    ) -> int:
        """`files` come with a holder each, which is the message's once it is sent."""
        length = total(extents)
        if self.type == SOCK_STREAM:
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
            if isinstance(error, PosixError) and error.errno == EPIPE:
                raise self.broken(thread, flags) from None
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
            if self.type == SOCK_DGRAM:
                self.peer = None
                self._in_flight = 0
                raise PosixError(ECONNREFUSED)
            raise PosixError(EPIPE)
        if peer.shut & SHUT_IN:
            raise PosixError(EPIPE)
        return peer

    async def _await_room(self, thread: Thread, flags: int) -> None:
        """Wait until the socket is writable, or cannot be written to any more."""
        self._target()
        await self.wait_output(thread, self._sendable, flags)
        self._target()

    def _sendable(self) -> bool:
        peer = self.peer
        dead = peer is None or peer._dead or self.shut & SHUT_OUT or peer.shut & SHUT_IN
        return bool(dead or self._in_flight < self.send_bytes)

    def _deliver(self, peer: UnixSocket, message: Message) -> None:
        self._in_flight += message.charged
        peer.inbox.append(message)
        if peer.queue.entries:
            peer.queue.wake(IN)

    # State ----------------------------------------------------------------------------------

    async def shutdown(self, thread: Thread, how: int) -> None:
        """shutdown(2): `how` is SHUT_ bits; a connection's other end learns the converse."""
        self.shut |= how
        peer = self.peer
        if peer is not None and self.type != SOCK_DGRAM:
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
            count = self.inbox.unread(self.type == SOCK_STREAM)
        elif command == SIOCOUTQ:
            count = self._in_flight
        else:
            return await super().ioctl(thread, command, argument)
        await thread.copyout(argument, count.to_bytes(INT_IOCTL_BYTES, "little"))
        return 0

    async def closed(self, thread: Thread | None) -> None:
        """Tell the peer: end of stream, or a reset where bytes were left unread."""
        self._dead = True
        unread, self.inbox = self.inbox, Inbox()
        peer = self.peer
        if peer is not None:
            if self.type != SOCK_DGRAM:
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


def _parse(
    thread: Thread, control: Sequence[ControlMessage]
) -> tuple[list[OpenFile], Sender | None]:
    """Descriptors (no holders taken yet) and claimed credentials; EBADF, EINVAL, EPERM."""
    files: list[OpenFile] = []
    sender: Sender | None = None
    for level, kind, body in control:
        if level != SOL_SOCKET:
            continue
        if kind == SCM_RIGHTS:
            count = len(body) // 4
            if len(files) + count > MAX_RIGHTS:
                raise PosixError(EINVAL)
            files += [thread.file(fd) for (fd,) in struct.iter_unpack("<I", body[: 4 * count])]
        elif kind == SCM_CREDENTIALS:
            sender = _claimed(thread, body)
        else:
            raise PosixError(EINVAL)
    return files, sender


def _claimed(thread: Thread, body: bytes) -> Sender:
    """SCM_CREDENTIALS: one's own ids; root may claim any."""
    if len(body) != 12:
        raise PosixError(EINVAL)
    pid, uid, gid = struct.unpack("<iII", body)
    mine = thread.process.credentials
    own = (
        pid == thread.process.pid
        and uid in (mine.ruid, mine.euid, mine.suid)
        and gid in (mine.rgid, mine.egid, mine.sgid)
    )
    if not own and mine.euid:
        raise PosixError(EPERM)
    return pid, uid, gid


TYPES = {
    SOCK_STREAM: SOCK_STREAM, SOCK_DGRAM: SOCK_DGRAM, SOCK_RAW: SOCK_DGRAM,
    SOCK_SEQPACKET: SOCK_SEQPACKET,
}  # fmt: skip


async def create(thread: Thread, type_: int, protocol: int, flags: int) -> Socket:
    """socket(2) of AF_UNIX; EPROTONOSUPPORT, ESOCKTNOSUPPORT."""
    if protocol not in (0, AF_UNIX):
        raise PosixError(EPROTONOSUPPORT)
    kind = TYPES.get(type_)
    if kind is None:
        raise PosixError(ESOCKTNOSUPPORT)
    return UnixSocket(thread, kind, flags, await new_socket_attr(thread))
