"""What every socket is to the system calls (socket(2), socket(7)): a family derives from `Socket`.

The calls decode and check what is the same for all families (`calls/sockets`); here is what a
family answers. Names are whole `struct sockaddr`s as bytes, b"" where there is none; data is
moved between RAM and the socket by `extents`, (paddr, length_bytes) runs.

Waiting is the same for all families. A socket's `queue` is woken when a condition may have come
true; the methods `wait_...` wait on it under O_NONBLOCK, MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO.
As in Linux an interrupted call is restarted only where no timeout is set (signal(7)). A receive
that waits holds extents that fork or munmap in another thread may make stale: `wait_input` then
sends the program back to its SYSCALL (`anon.wait_holding`), so nothing may have been taken before.

A call that waits is a holder: closing the last descriptor meanwhile closes the socket only when
the call is over (`hold`).
"""

from __future__ import annotations

from errno import (
    EAGAIN,
    EINTR,
    EINVAL,
    EOPNOTSUPP,
    EPIPE,
    ERANGE,
)
from typing import TYPE_CHECKING, TypeVar

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import O_NONBLOCK, O_RDWR, S_IFSOCK, SIGPIPE
from services.proc.descriptors import OpenFile, drop
from services.proc.files import netdevice, sigio, sockoptions
from services.proc.files.anon import SOCKET_DEV, new_attr, wait_holding
from services.proc.files.readiness import deadline_after
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals import send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.proc.task import Thread

    ControlMessage = tuple[int, int, bytes]
    """Level, type and data of a struct cmsghdr (cmsg(3))."""
    Create = Callable[[Thread, int, int, int], Awaitable["Socket"]]
    """socket(2) of a family: (thread, type, protocol, O_NONBLOCK or 0)."""

R = TypeVar("R")
AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 0, 1, 2, 10, 16, 17
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_PACKET = 1, 2, 3, 4, 5, 10
SOL_SOCKET, SCM_RIGHTS, SCM_CREDENTIALS, SCM_PIDFD = 1, 1, 2, 4
MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT = 1, 2, 4, 8, 0x20, 0x40
MSG_EOR, MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE = 0x80, 0x100, 0x2000, 0x4000, 0x8000
SET_OWNER, GET_OWNER = (0x8901, 0x8902), (0x8903, 0x8904)
"""FIOSETOWN and SIOCSPGRP, FIOGETOWN and SIOCGPGRP."""
SHUT_IN, SHUT_OUT, SHUT_BOTH = 1, 2, 3
"""Which directions are shut: SHUT_RD + 1, SHUT_WR + 1, SHUT_RDWR + 1."""


class NeedsRoom(PosixError):
    """ERANGE of getsockopt(2), which tells how long the value is all the same."""

    def __init__(self, length_bytes: int) -> None:
        super().__init__(ERANGE)
        self.length_bytes = length_bytes


class Received:
    """What one receive brought: `count` is the call's result (MSG_TRUNC: the whole length)."""

    __slots__ = ("control", "count", "files", "final", "flags", "name")

    def __init__(self, count: int, name: bytes = b"") -> None:
        self.count = count
        self.name = name
        """The sender's name; b"" where it has none, or the socket is connected and tells none."""
        self.control: list[ControlMessage] = []
        self.files: list[OpenFile] = []
        """SCM_RIGHTS: each with a holder that is now the receiver's."""
        self.flags = 0
        """MSG_TRUNC, MSG_OOB, MSG_EOR, MSG_CTRUNC, MSG_ERRQUEUE, as recvmsg(2) tells them."""
        self.final = False
        """MSG_WAITALL is to stop here: what follows does not belong to it."""


class Socket(OpenFile):
    """An open socket. Families override what they have; the defaults refuse (EOPNOTSUPP)."""

    __slots__ = (
        "attr",
        "error",
        "family",
        "memory",
        "options",
        "parcels",
        "protocol",
        "receive_bytes",
        "receive_low_bytes",
        "receive_timeout_ns",
        "send_bytes",
        "send_timeout_ns",
        "type",
    )
    kind = "socket"
    heap = charge_kind("proc", "socket")
    queue: WaitQueue

    def __init__(self, thread: Thread, type_: int, protocol: int, flags: int, attr: Attr) -> None:
        """`flags` may hold O_NONBLOCK; `attr` is of `new_socket_attr`."""
        super().__init__(O_RDWR | flags)
        self.family = AF_UNSPEC
        self.type = type_
        self.protocol = protocol
        self.attr = attr
        self.memory = thread.kernel.ram.bytes
        self.queue = WaitQueue()
        self.error = 0
        """The errno that the next operation, or SO_ERROR, is to tell."""
        self.send_bytes = self.receive_bytes = sockoptions.DEFAULT_BUFFER_BYTES
        """SO_SNDBUF, SO_RCVBUF as they are told: twice what was asked for."""
        self.receive_low_bytes = 1
        self.receive_timeout_ns = self.send_timeout_ns = 0
        """SO_RCVTIMEO, SO_SNDTIMEO; 0: for ever, -1: not at all."""
        self.parcels = 0
        self.options: dict[int, int] = {}
        """The other options of SOL_SOCKET that were set, by number."""

    # What a family has ----------------------------------------------------------------------

    async def bind(self, thread: Thread, name: bytes) -> None:
        """bind(2)."""
        raise PosixError(EOPNOTSUPP)

    async def listen(self, thread: Thread, backlog: int) -> None:
        """listen(2); `backlog` is between 0 and SOMAXCONN."""
        raise PosixError(EOPNOTSUPP)

    async def accept(self, thread: Thread, flags: int) -> tuple[Socket, bytes]:
        """accept4(2): the new socket and its peer's name; `flags` may hold O_NONBLOCK for it."""
        raise PosixError(EOPNOTSUPP)

    async def connect(self, thread: Thread, name: bytes) -> None:
        """connect(2)."""
        raise PosixError(EOPNOTSUPP)

    async def pair(self, thread: Thread, other: Socket) -> None:
        """socketpair(2): connect this and `other`, both new and of this family."""
        raise PosixError(EOPNOTSUPP)

    async def name(self) -> bytes:
        """getsockname(2)."""
        raise PosixError(EOPNOTSUPP)

    async def peer_name(self) -> bytes:
        """getpeername(2); ENOTCONN."""
        raise PosixError(EOPNOTSUPP)

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2), once: bytes sent. A stream may send less only after an error or signal."""
        raise PosixError(EOPNOTSUPP)

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2), once: MSG_WAITALL is the calls' business."""
        raise PosixError(EOPNOTSUPP)

    async def before_data(self, thread: Thread, flags: int, name: bytes | None) -> None:
        """The buffer of a send is bad: raise what a send would before it looks at its data."""

    def at_end(self) -> bool:
        """Nothing is left to receive, and nothing will come: a receive needs no buffer."""
        return False

    async def shutdown(self, thread: Thread, how: int) -> None:
        """shutdown(2): `how` is of SHUT_IN, SHUT_OUT, SHUT_BOTH."""
        raise PosixError(EOPNOTSUPP)

    async def get_option(self, thread: Thread, level: int, option: int, room: int) -> bytes:
        """getsockopt(2): the value; the caller cuts it to `room` bytes. ENOPROTOOPT, EINVAL."""
        if level != SOL_SOCKET:
            raise PosixError(EOPNOTSUPP)
        if option == sockoptions.SO_PEERNAME:
            name = await self.peer_name()
            if len(name) < room:
                raise PosixError(EINVAL)
            return name
        return sockoptions.get_common(self, option, room)

    async def set_option(self, thread: Thread, level: int, option: int, value: bytes) -> None:
        """setsockopt(2); at SOL_SOCKET `option_set` tells the family what became of it."""
        if level != SOL_SOCKET:
            raise PosixError(EOPNOTSUPP)
        sockoptions.set_common(self, thread, option, value)
        self.option_set(option)

    def option_set(self, option: int) -> None:
        """An option of SOL_SOCKET has changed (see the attributes, and `options`)."""

    def take_error(self) -> int:
        """SO_ERROR: the pending errno, which is then forgotten."""
        error, self.error = self.error, 0
        return error

    def accepts(self) -> bool:
        """SO_ACCEPTCONN: it listens."""
        return False

    @property
    def stream(self) -> bool:
        """Bytes without boundaries: MSG_WAITALL and partial sends make sense."""
        return self.type == SOCK_STREAM

    # Waiting --------------------------------------------------------------------------------

    def nonblocking(self, flags: int) -> bool:
        """Whether a call with these MSG_ flags may not wait."""
        return bool(flags & MSG_DONTWAIT or self.flags & O_NONBLOCK)

    async def wait_input(self, thread: Thread, ready: Callable[[], object], flags: int) -> None:
        """Wait, in a receive that has extents in hand, until `ready`; EAGAIN, EINTR."""
        if self.nonblocking(flags):
            raise PosixError(EAGAIN)
        if not self.receive_timeout_ns:
            await wait_holding(thread, self, self.queue, ready)
            return
        deadline = thread.restart_deadline
        thread.restart_deadline = None
        if deadline is None:
            deadline = await deadline_after(thread, self.receive_timeout_ns)
        try:
            came = await wait_holding(thread, self, self.queue, ready, deadline)
        except Interrupted:
            if thread.kernel.interrupts(thread):
                raise PosixError(EINTR) from None
            thread.restart_deadline = deadline  # the buffer has moved: the call begins again
            raise
        if not came:
            raise PosixError(EAGAIN)

    async def wait_output(
        self,
        thread: Thread,
        ready: Callable[[], object],
        flags: int,
        *others: WaitQueue,
        deadline_ns: int | None = None,
    ) -> None:
        """Wait, in a call that needs its buffer no more, until `ready`; EAGAIN, EINTR.

        `others` are queues to wait on beside the socket's own. `deadline_ns` is of an earlier
        wait of the same call (`send_deadline`).
        """
        if self.nonblocking(flags):
            raise PosixError(EAGAIN)
        if deadline_ns is None and self.send_timeout_ns:
            deadline_ns = await self.send_deadline(thread)
        if not await self.wait_until(thread, ready, deadline_ns, *others):
            raise PosixError(EAGAIN)

    async def send_deadline(self, thread: Thread) -> int | None:
        """When SO_SNDTIMEO ends a call that begins to wait now (MONOTONIC, ns)."""
        return await deadline_after(thread, self.send_timeout_ns or None)

    async def wait_until(
        self,
        thread: Thread,
        ready: Callable[[], object],
        deadline_ns: int | None,
        *others: WaitQueue,
    ) -> bool:
        """Wait without a buffer in hand (accept, connect, send). False: the deadline came first.

        EINTR where there is a deadline, `Interrupted` (and so perhaps a restart) where not.
        """
        self.holders += 1
        try:
            while not ready():
                if not await thread.wait(self.queue, *others, deadline_ns=deadline_ns):
                    return bool(ready())
        except Interrupted:
            if deadline_ns is None:
                raise
            raise PosixError(EINTR) from None
        finally:
            await drop(self, thread)
        return True

    async def hold(self, thread: Thread, work: Awaitable[R]) -> R:
        """Do `work` as a holder of the socket."""
        self.holders += 1
        try:
            return await work
        finally:
            await drop(self, thread)

    @staticmethod
    def broken(thread: Thread, flags: int) -> PosixError:
        """Nobody will read what is sent: EPIPE, and SIGPIPE without MSG_NOSIGNAL."""
        if not flags & MSG_NOSIGNAL:
            send.to_thread(thread, send.user_info(SIGPIPE, thread.process))
        return PosixError(EPIPE)

    # As an open file ------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): as recv(2) without flags, but an empty buffer asks for nothing."""
        if not extents:
            return 0
        return await self.take(thread, extents, 0)

    async def take(self, thread: Thread, extents: list[Extent], flags: int) -> int:
        """recv(2): data alone."""
        received = await self.receive(thread, extents, flags)
        if received.files:
            for file in received.files:
                await drop(file, thread)
        return received.count

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): as send(2) without flags; sequenced packets end a record with it."""
        return await self.send(thread, extents, MSG_EOR if self.type == SOCK_SEQPACKET else 0)

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """SIOCSPGRP, SIOCGPGRP and their other names (F_SETOWN, F_GETOWN); netdevice(7)."""
        if command in SET_OWNER:
            number = int.from_bytes(await thread.copyin(argument, 4), "little", signed=True)
            sigio.set_owner(thread, self, number)
            return 0
        if command in GET_OWNER:
            owner = sigio.owner_of(self)
            await thread.copyout(argument, owner.to_bytes(4, "little", signed=True))
            return 0
        if netdevice.FIRST <= command <= netdevice.LAST:
            return await netdevice.ioctl(thread, self.family, command, argument)
        return await super().ioctl(thread, command, argument)

    async def stat(self, thread: Thread) -> Attr:
        """The socket's own inode."""
        return self.attr

    async def path(self) -> bytes:
        """socket:[ino]."""
        return b"socket:[%d]" % self.attr.ino


async def new_socket_attr(thread: Thread) -> Attr:
    """The inode of a socket that `thread` makes now."""
    return await new_attr(thread, SOCKET_DEV, S_IFSOCK | 0o777)
