"""Sockets of the service `net` as open files: here is the waiting, there is the rest.

net answers every request at once and keeps readiness on the board (`services.net.api.Board`); its
interrupt wakes `queue`. So a call that must wait is: ask, EAGAIN, wait for the board, ask again.
A write that must wait holds a copy of what is left, as its buffer may move meanwhile.
"""

from __future__ import annotations

import struct
from errno import EAGAIN, EINPROGRESS, EINTR, ENOTTY, EPIPE
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.net import api
from services.proc.abi import (
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
)
from services.proc.files import sockoptions
from services.proc.files.anon import INT_IOCTL_BYTES, gather, total
from services.proc.files.bounce import BOUNCE_BYTES, Bounce
from services.proc.files.readiness import deadline_after
from services.proc.files.socket import (
    AF_NETLINK,
    MSG_OOB,
    SCM_CREDENTIALS,
    SOL_SOCKET,
    Received,
    Socket,
    new_socket_attr,
)
from services.proc.park import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs.api import Attr
    from services.net.api import Board, Opened
    from services.proc.files.socket import ControlMessage, Create
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

CAN_READ = POLLIN | POLLHUP | POLLERR | POLLRDHUP
CAN_WRITE = POLLOUT | POLLHUP | POLLERR
SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD = 0x541B, 0x5411, 0x8905, 0x894B
SO_PASSCRED, SO_PEERCRED = 16, 17
NOBODY = b"\0\0\0\0" + b"\xff" * 8
"""struct ucred of a peer that is not on this machine."""


class NetSocket(Socket):
    """A socket that lives in net under `handle`; its readiness is `slot` of the board."""

    __slots__ = ("_board", "_kernel", "_net", "handle", "slot")
    heap = charge_kind("proc", "inet socket")

    def __init__(
        self, thread: Thread, opened: Opened, family: int, type_: int, flags: int, attr: Attr
    ) -> None:
        super().__init__(thread, type_, opened.protocol, flags, attr)
        kernel = thread.kernel
        self.family = family
        self._kernel = kernel
        self._net = kernel.net
        self._board: Board = kernel.board
        self.handle, self.slot = opened.socket, opened.slot
        kernel.net_queues[self.slot] = self.queue

    def poll(self) -> int:
        """What net last wrote on the board."""
        return self._board.ready[self.slot]

    def _readable(self) -> int:
        return self._board.ready[self.slot] & CAN_READ

    def _writable(self) -> int:
        return self._board.ready[self.slot] & CAN_WRITE

    # Connections ----------------------------------------------------------------------------

    async def bind(self, thread: Thread, name: bytes) -> None:
        """bind(2)."""
        await self._net.call(api.Bind(self.handle, name, thread.process.credentials.euid == 0))

    async def listen(self, thread: Thread, backlog: int) -> None:
        """listen(2)."""
        await self._net.call(api.Listen(self.handle, backlog))

    async def accept(self, thread: Thread, flags: int) -> tuple[Socket, bytes]:
        """accept4(2)."""
        deadline: int | None = None
        while True:
            attr = await new_socket_attr(thread)
            request = api.Accept(self.handle, attr.ino, thread.process.credentials.euid)
            try:
                accepted = await self._net.call(request)
            except PosixError as error:
                if error.errno != EAGAIN or self.flags & O_NONBLOCK:
                    raise
            else:
                opened = accepted.opened
                made = NetSocket(thread, opened, self.family, self.type, flags, attr)
                return made, accepted.name
            if deadline is None and self.receive_timeout_ns:
                deadline = await deadline_after(thread, self.receive_timeout_ns)
            if not await self.wait_until(thread, self._readable, deadline):
                raise PosixError(EAGAIN)

    async def connect(self, thread: Thread, name: bytes) -> None:
        """connect(2): EINPROGRESS where it may not wait; a signal leaves it going on."""
        try:
            await self._net.call(api.Connect(self.handle, name))
        except PosixError as error:
            if error.errno != EINPROGRESS:
                raise
        else:
            return
        if self.flags & O_NONBLOCK:
            raise PosixError(EINPROGRESS)  # even if it is done already: poll(2) tells
        if not self._board.ready[self.slot] & CAN_WRITE:
            deadline = await self.send_deadline(thread)
            try:
                if not await self.wait_until(thread, self._writable, deadline):
                    raise PosixError(EINPROGRESS)
            except Interrupted:
                raise PosixError(EINTR) from None
        await self._net.call(api.Connect(self.handle, name))

    async def name(self) -> bytes:
        """getsockname(2)."""
        return await self._net.call(api.Name(self.handle, False))

    async def peer_name(self) -> bytes:
        """getpeername(2)."""
        return await self._net.call(api.Name(self.handle, True))

    async def shutdown(self, thread: Thread, how: int) -> None:
        """shutdown(2)."""
        await self._net.call(api.Shutdown(self.handle, how - 1))

    # Data -----------------------------------------------------------------------------------

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2)."""
        if not extents:
            return 0
        while True:
            try:
                return await self._net.call(api.Read(self.handle, extents))
            except PosixError as error:
                if error.errno != EAGAIN:
                    raise
            await self.wait_input(thread, self._readable, 0)

    async def receive(self, thread: Thread, extents: list[Extent], flags: int) -> Received:
        """recvmsg(2)."""
        while True:
            try:
                came = await self._net.call(api.Receive(self.handle, extents, flags))
            except PosixError as error:
                if error.errno != EAGAIN or flags & MSG_OOB:
                    raise
            else:
                received = Received(came.count, came.name)
                received.control += came.control
                received.flags = came.flags
                return received
            await self.wait_input(thread, self._readable, flags)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): the short cut for what net takes whole."""
        try:
            done = await self._net.call(api.Write(self.handle, extents))
        except PosixError as error:
            if error.errno != EAGAIN:
                raise self._broken_by(thread, error, 0) from None
            done = 0
        if not self.stream or (len(extents) == 1 and done == extents[0][1]):
            return done
        return await self._send_rest(thread, extents, done, 0)

    async def send(
        self,
        thread: Thread,
        extents: list[Extent],
        flags: int,
        name: bytes | None = None,
        control: Sequence[ControlMessage] = (),
    ) -> int:
        """sendmsg(2)."""
        request = api.Send(self.handle, extents, flags, name or b"", tuple(control))
        try:
            done = await self._net.call(request)
        except PosixError as error:
            if error.errno != EAGAIN:
                raise self._broken_by(thread, error, flags) from None
            if not self.stream:
                await self.wait_output(thread, self._writable, flags)
                return await self.send(thread, extents, flags, name, control)
            done = 0
        if not self.stream:
            return done
        return await self._send_rest(thread, extents, done, flags)

    def _broken_by(self, thread: Thread, error: PosixError, flags: int) -> PosixError:
        """EPIPE comes with SIGPIPE, of streams."""
        return self.broken(thread, flags) if error.errno == EPIPE and self.stream else error

    async def _send_rest(self, thread: Thread, extents: list[Extent], done: int, flags: int) -> int:
        """Send what net had no room for, as room appears; less only after an error or signal."""
        length = total(extents)
        if done == length:
            return done
        if self.nonblocking(flags):
            if done:
                return done
            raise PosixError(EAGAIN)
        rest = memoryview(bytes(gather(self.memory, extents, done, length - done)))
        deadline = await self.send_deadline(thread)
        try:
            async with Bounce(self._kernel) as bounce:
                while rest:
                    runs = bounce.fill(bytes(rest[:BOUNCE_BYTES]))
                    taken = await self._send_piece(thread, runs, flags, deadline)
                    rest = rest[taken:]
                    done += taken
        except (PosixError, Interrupted):
            if not done:
                raise
        return done

    async def _send_piece(
        self, thread: Thread, runs: list[Extent], flags: int, deadline: int | None
    ) -> int:
        """Wait for room and send some."""
        while True:
            try:
                return await self._net.call(api.Send(self.handle, runs, flags))
            except PosixError as error:
                if error.errno != EAGAIN:
                    raise self._broken_by(thread, error, flags) from None
            if not await self.wait_until(thread, self._writable, deadline):
                raise PosixError(EAGAIN)

    # Options --------------------------------------------------------------------------------

    async def get_option(self, thread: Thread, level: int, option: int, room: int) -> bytes:
        """getsockopt(2): timeouts are kept here, where the waiting is."""
        if level == SOL_SOCKET:
            if option in sockoptions.TIMEOUTS:
                return sockoptions.get_common(self, option, room)
            if option == SO_PEERCRED:
                return NOBODY
            if option == sockoptions.SO_PEERNAME:
                return await super().get_option(thread, level, option, room)
        return await self._net.call(api.GetOption(self.handle, level, option, room))

    async def set_option(self, thread: Thread, level: int, option: int, value: bytes) -> None:
        """setsockopt(2)."""
        if level == SOL_SOCKET and option in sockoptions.TIMEOUTS:
            sockoptions.set_common(self, thread, option, value)
            return
        privileged = thread.process.credentials.euid == 0
        await self._net.call(api.SetOption(self.handle, level, option, value, privileged))

    # As an open file ------------------------------------------------------------------------

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """SIOCINQ and the like."""
        if command in (SIOCOUTQNSD, SIOCATMARK) and not self.stream:
            raise PosixError(ENOTTY)
        if command in (SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK):
            try:
                amounts = await self._net.call(api.Queued(self.handle))
            except PosixError:
                if command != SIOCATMARK:
                    raise
                amounts = api.Amounts(0, 0, 0, False)  # a listener is at no mark
            values = {
                SIOCINQ: amounts.readable,
                SIOCOUTQ: amounts.unacknowledged,
                SIOCOUTQNSD: amounts.unsent,
                SIOCATMARK: int(amounts.at_mark),
            }
            word = values[command].to_bytes(INT_IOCTL_BYTES, "little")
            await thread.copyout(argument, word)
            return 0
        return await super().ioctl(thread, command, argument)

    async def closed(self, thread: Thread | None) -> None:
        """The last descriptor is gone; with SO_LINGER it waits until all is acknowledged."""
        wait = thread is not None and not thread.killed
        lingers = await self._net.call(api.Close(self.handle, wait))
        if lingers and thread is not None:
            await self._linger(thread)
            await self._net.call(api.Close(self.handle))
        self._kernel.net_queues.pop(self.slot, None)

    async def _linger(self, thread: Thread) -> None:
        word = await self._net.call(
            api.GetOption(self.handle, SOL_SOCKET, sockoptions.SO_LINGER, 8)
        )
        seconds = int.from_bytes(word[4:], "little")
        deadline = await deadline_after(thread, seconds * sockoptions.NS_PER_S)
        try:
            while not self._board.ready[self.slot] & POLLHUP:
                if not await thread.wait(self.queue, deadline_ns=deadline):
                    break
        except Interrupted:
            pass


class NetlinkSocket(NetSocket):
    """A socket of AF_NETLINK: net is told with each message who sends it (netlink(7))."""

    __slots__ = ()

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
        """sendmsg(2)."""
        held = thread.process.credentials
        sender = struct.pack("<iII", thread.process.pid, held.euid, held.egid)
        told = (SOL_SOCKET, SCM_CREDENTIALS, sender)
        return await super().send(thread, extents, flags, name, (*control, told))


def creator(family: int) -> Create:
    """socket(2) of a family that net has."""

    async def create(thread: Thread, type_: int, protocol: int, flags: int) -> Socket:
        attr = await new_socket_attr(thread)
        user, pid = thread.process.credentials.euid, thread.process.pid
        request = api.Open(family, type_, protocol, attr.ino, user, user == 0, pid)
        opened = await thread.kernel.net.call(request)
        kind = NetlinkSocket if family == AF_NETLINK else NetSocket
        return kind(thread, opened, family, type_, flags, attr)

    return create


def plug_in(kernel: Kernel) -> None:
    """Let proc's sockets be woken by net, and make net's families known to socket(2)."""
    queues = kernel.net_queues

    def woken(slot: int, events: int) -> None:
        queue = queues.get(slot)
        if queue is not None and queue.entries:
            queue.wake(events)

    kernel.board.listener = woken
    for family in api.FAMILIES:
        kernel.families[family] = creator(family)
