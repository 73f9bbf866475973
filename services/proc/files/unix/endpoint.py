"""What all AF_UNIX sockets are (unix(7)): a state, a name, a peer, an inbox, and their readiness.

A socket's inbox is filled by others. A message is charged to its sender by what Linux's socket
buffer for it would take, as that decides when a sender must wait and when poll(2) calls a socket
writable: while at most a quarter of SO_SNDBUF is in flight. Receivers of datagrams also bound how
many wait for them (`backlog`), except from a sender that they are connected to.

A closed peer stays where it was, `dead`: its name can still be asked for.
"""

from __future__ import annotations

import struct
from errno import EINVAL, ENODATA, ENOENT, ENOTCONN, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.fs.api import Retain
from services.proc.abi import (
    O_PATH,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    S_IFSOCK,
)
from services.proc.files.anon import INT_IOCTL_BYTES
from services.proc.files.fsfile import FsFile
from services.proc.files.socket import (
    AF_UNIX,
    SCM_CREDENTIALS,
    SHUT_BOTH,
    SHUT_IN,
    SOL_SOCKET,
    NeedsRoom,
    Received,
    Socket,
)
from services.proc.files.sockoptions import (
    SO_PASSCRED,
    SO_PASSRIGHTS,
    SO_PEERCRED,
    SO_PEERGROUPS,
    SO_REUSEPORT,
)
from services.proc.files.unix import address
from services.proc.files.unix.messages import Inbox, Message, Sender, Taken
from services.proc.files.unix.registry import bind_path, find, registry_of
from services.proc.files.unix.rights import NOBODY, discard, forsaken, land, sender_of
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from collections import deque

    from services.fs.api import Attr
    from services.proc.files.unix.registry import Registry
    from services.proc.task import Thread

ESTABLISHED, CLOSED, LISTENING = 1, 7, 10
"""States, with Linux's numbers."""
MAX_DGRAM_QLEN = 10
"""net.unix.max_dgram_qlen."""
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM | POLLWRBAND
ARRIVED = IN | POLLPRI | POLLRDBAND
"""What Linux tells when data arrive, urgent or not."""
SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCUNIXFILE = 0x541B, 0x5411, 0x8905, 0x89E0
GID_BYTES = 4
NO_CREDENTIALS = (0, 0xFFFF_FFFF, 0xFFFF_FFFF)
Credentials = tuple[int, int, int, tuple[int, ...]]
"""pid, effective uid and gid, groups."""


class UnixSocket(Socket):
    """A socket of any type; `CLASS` is the type."""

    __slots__ = (
        "_receiver",
        "address",
        "backlog",
        "charged",
        "credentials",
        "dead",
        "inbox",
        "listener",
        "passes",
        "peer",
        "peer_credentials",
        "pending",
        "registry",
        "room",
        "shut",
        "sink",
        "socket_inode",
        "socket_node",
        "state",
        "takes_files",
    )
    CLASS = 0
    heap = charge_kind("proc", "unix socket")

    def __init__(self, thread: Thread, flags: int, attr: Attr) -> None:
        super().__init__(thread, self.CLASS, 0, flags, attr)
        self.family = AF_UNIX
        self.registry: Registry = registry_of(thread.kernel)
        self.registry.sockets[self] = None
        self.state = CLOSED
        self.shut = 0
        """SHUT_IN, SHUT_OUT."""
        self.dead = False
        self.address = b""
        """Its name; b"" for none. Accepted sockets have their listener's."""
        self.socket_inode: tuple[int, int] | None = None
        """Device and inode that it is bound to, and the node, which it owns a reference to."""
        self.socket_node: int | None = None
        self.peer: UnixSocket | None = None
        self.sink: UnixSocket | None = None
        """The peer while what is written can go straight into its inbox (see `settle`)."""
        self.inbox = Inbox()
        self.charged = 0
        """Bytes charged for what others have not received yet."""
        self.backlog = MAX_DGRAM_QLEN
        self.pending: deque[UnixSocket] | tuple[()] = ()
        """Of a listener: connected, not yet accepted."""
        self.listener: UnixSocket | None = None
        """Of a socket that is not yet accepted."""
        self.room: WaitQueue | None = None
        """Woken when there is room in its backlog, or none will ever be."""
        self._receiver: UnixSocket | None = None
        """In whose `room` it stands because poll(2) found that one's inbox full."""
        self.passes = False
        """SO_PASSCRED."""
        self.takes_files = True
        """SO_PASSRIGHTS."""
        self.credentials: Credentials | None = None
        """Of who listens, or made a pair: what the other end gets as SO_PEERCRED."""
        self.peer_credentials: Credentials | None = None

    # Names ----------------------------------------------------------------------------------

    async def bind(self, thread: Thread, name: bytes) -> None:
        """bind(2); EINVAL, EADDRINUSE, and what mknod(2) says."""
        if address.asks_for_any(name):
            self.registry.autobind(self)
            return
        address.check(name)
        if name[address.FAMILY_BYTES]:
            path = address.path_name(address.path_of(name))
            await bind_path(thread, self.registry, self, path)
        elif self.address:
            raise PosixError(EINVAL)
        else:
            self.registry.bind_abstract(self, name)

    async def name(self) -> bytes:
        """getsockname(2)."""
        return self.address or address.NO_NAME

    async def peer_name(self) -> bytes:
        """getpeername(2); ENOTCONN."""
        if self.peer is None:
            raise PosixError(ENOTCONN)
        return self.peer.address or address.NO_NAME

    async def find(self, thread: Thread, name: bytes) -> UnixSocket:
        """Whom a name belongs to; EINVAL, ECONNREFUSED, EPROTOTYPE, and what a path says."""
        return await find(thread, self.registry, name, self.type)

    def autobind(self) -> None:
        """Who wants credentials wants to be answered: it gets a name before it speaks."""
        if self.passes and not self.address:
            self.registry.autobind(self)

    # State ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """After any change of state, here or at the peer: may writes take the short cut?"""
        self.sink = None

    def accepts(self) -> bool:
        """SO_ACCEPTCONN."""
        return self.state == LISTENING

    def sender(self, thread: Thread, receiver: UnixSocket) -> Sender | None:
        """The credentials that a message carries where either side asked for them."""
        if self.passes or receiver.passes or receiver.listener is not None:
            return sender_of(thread)
        return None

    def crowded(self, receiver: UnixSocket) -> bool:
        """Whether `receiver` has as many datagrams waiting as it takes from this socket."""
        return (
            receiver is not self
            and receiver.peer is not self
            and len(receiver.inbox) > receiver.backlog
        )

    def freed(self, charged: int) -> None:
        """A message of this socket has been received."""
        self.charged -= charged
        if self.queue.entries and self.charged * 4 + 4 <= self.send_bytes:
            self.queue.wake(OUT)

    def deliver(self, receiver: UnixSocket, message: Message) -> None:
        """Put a message into another's inbox."""
        self.charged += message.charged
        receiver.inbox.append(message)
        if receiver.queue.entries:
            receiver.queue.wake(ARRIVED)

    def raise_error(self) -> None:
        """The pending error, if there is one."""
        if self.error:
            raise PosixError(self.take_error())

    async def shutdown(self, thread: Thread, how: int) -> None:
        """shutdown(2)."""
        self.shut |= how
        self.settle()
        self.queue.wake()
        if self.room is not None:
            self.room.wake()

    async def closed(self, thread: Thread | None) -> None:
        """Give up the name, drop what was not received, let those who wait for room go on."""
        await self.end(thread)

    async def end(self, thread: Thread | None) -> None:
        """`closed`, also of a socket that was never accepted."""
        self.dead = True
        self.state = CLOSED
        self.shut = SHUT_BOTH
        peer, self.peer = self.peer, None
        self.settle()
        left = self.has_unread()
        unread, self.inbox = self.inbox, Inbox()
        self.leave_room()
        if peer is not None:
            self.part(peer, left)
        await self.registry.forget(self)
        await discard(self.registry, unread, thread)
        self.queue.wake()
        if self.room is not None:
            self.room.wake()

    def has_unread(self) -> bool:
        """Whether closing it now loses what was sent; one empty message is nothing."""
        inbox = self.inbox
        return bool(inbox) and (len(inbox) > 1 or len(inbox[0].data) > inbox[0].head)

    def part(self, peer: UnixSocket, unread: bool) -> None:
        """The peer of a connection learns that this end is gone."""

    async def forsaken(self, thread: Thread | None) -> None:
        """Only messages hold it now."""
        await forsaken(self.registry, self, thread)

    # Receiving ------------------------------------------------------------------------------

    def received(self, taken: Taken, peek: bool) -> Received:
        """What the caller is to tell of what was taken; those who waited for room go on."""
        for message in taken.finished:
            message.source.freed(message.charged)
        received = Received(taken.count, taken.first.source.address)
        received.final = taken.final
        if self.passes:
            sender = struct.pack("<iII", *(taken.first.sender or NOBODY))
            received.control.append((SOL_SOCKET, SCM_CREDENTIALS, sender))
        parcel = taken.parcel
        if parcel is not None:
            if peek:
                for file in parcel.files:
                    file.holders += 1
                received.files = list(parcel.files)
            else:
                received.files = land(self.registry, parcel)
        return received

    # Readiness ------------------------------------------------------------------------------

    def poll(self) -> int:
        """As unix_poll and unix_dgram_poll of Linux have it."""
        ready = 0
        if self.error:
            ready |= POLLERR
        if self.shut == SHUT_BOTH:
            ready |= POLLHUP
        if self.shut & SHUT_IN:
            ready |= POLLRDHUP | IN
        if self.inbox or self.pending:
            ready |= IN
        if self.hung_up:
            ready |= POLLHUP
        if self.state != LISTENING and self.writable and self.has_room():
            ready |= OUT
        return ready

    @property
    def writable(self) -> bool:
        """At most a quarter of SO_SNDBUF is in flight, as Linux counts: one more than there is."""
        return self.charged * 4 + 4 <= self.send_bytes

    @property
    def hung_up(self) -> bool:
        """Connection-based, and not connected."""
        return self.state == CLOSED

    def has_room(self) -> bool:
        """Whether the receiver that a datagram socket is connected to takes another one."""
        return True

    def notify(self, events: int) -> None:
        """There is room at the receiver that poll(2) found full (an `Entry` of its `room`)."""
        self.leave_room()
        self.queue.wake(OUT)

    def leave_room(self) -> None:
        """Wait for no receiver."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None and receiver.room is not None:
            receiver.room.discard(self)

    def await_room(self, receiver: UnixSocket) -> None:
        """Have `queue` woken once `receiver` has room."""
        if self._receiver is not receiver:
            self.leave_room()
            self._receiver = receiver
        receiver.waiting_room().add(self)

    def waiting_room(self) -> WaitQueue:
        """Whom to tell when the backlog has room."""
        if self.room is None:
            self.room = WaitQueue()
        return self.room

    # Options, ioctl -------------------------------------------------------------------------

    async def get_option(self, thread: Thread, level: int, option: int, room: int) -> bytes:
        """SO_PEERCRED and its like beside the common ones."""
        if level == SOL_SOCKET:
            if option == SO_PASSCRED:
                return struct.pack("<i", self.passes)
            if option == SO_PASSRIGHTS:
                return struct.pack("<i", self.takes_files)
            if option == SO_PEERCRED:
                return struct.pack("<iII", *(self.peer_credentials or NO_CREDENTIALS)[:3])
            if option == SO_PEERGROUPS:
                if self.peer_credentials is None:
                    raise PosixError(ENODATA)
                groups = self.peer_credentials[3]
                if room < GID_BYTES * len(groups):
                    raise NeedsRoom(GID_BYTES * len(groups))
                return struct.pack(f"<{len(groups)}I", *groups)
        return await super().get_option(thread, level, option, room)

    async def set_option(self, thread: Thread, level: int, option: int, value: bytes) -> None:
        """SO_PASSCRED beside the common ones."""
        if level == SOL_SOCKET and option in (SO_PASSCRED, SO_PASSRIGHTS):
            if option == SO_PASSCRED:
                self.passes = any(value)
            else:
                self.takes_files = any(value)
            self.settle()
            if self.peer is not None:
                self.peer.settle()
            return
        if level == SOL_SOCKET and option == SO_REUSEPORT and any(value):
            raise PosixError(EOPNOTSUPP)
        await super().set_option(thread, level, option, value)

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """SIOCINQ (bytes to read; a datagram's own), SIOCOUTQ, SIOCUNIXFILE."""
        if command == SIOCINQ:
            if self.state == LISTENING:
                raise PosixError(EINVAL)
            count = self.inbox.unread(self.connected_kind)
        elif command == SIOCOUTQ:
            count = self.charged
        elif command == SIOCATMARK:
            raise PosixError(EOPNOTSUPP)
        elif command == SIOCUNIXFILE:
            return await self._open_file(thread)
        else:
            return await super().ioctl(thread, command, argument)
        await thread.copyout(argument, count.to_bytes(INT_IOCTL_BYTES, "little"))
        return 0

    connected_kind = True
    """Streams and sequenced packets."""

    async def _open_file(self, thread: Thread) -> int:
        """SIOCUNIXFILE: an O_PATH descriptor of the socket file; EPERM, ENOENT."""
        if thread.process.credentials.euid:
            raise PosixError(EPERM)
        if self.socket_node is None:
            raise PosixError(ENOENT)
        thread.process.descriptors.check_room(thread.process.limits[7][0])  # type: ignore[union-attr]
        await thread.kernel.fs.call(Retain(self.socket_node))
        return thread.install(FsFile(thread.kernel.fs, self.socket_node, S_IFSOCK, O_PATH), True)


def credentials_of(thread: Thread) -> Credentials:
    """What SO_PEERCRED and SO_PEERGROUPS tell of `thread`."""
    mine = thread.process.credentials
    return thread.process.pid, mine.euid, mine.egid, mine.groups
