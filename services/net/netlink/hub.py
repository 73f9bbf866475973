"""All netlink sockets, by protocol and port, and what the kernel's end answers them.

A request is served at once and its answers are queued on the socket that asked; of a dump only
the first part is, the rest is made as it is received (`NetlinkSocket`). Each request that asks for
it, and each that fails, is acknowledged.
"""

from __future__ import annotations

from errno import EADDRINUSE, EINVAL, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.netlink import abi, address, diag, link, neighbour, route, rule
from services.net.netlink.message import Refused, acknowledgement, encode, split
from services.net.netlink.monitor import GROUPS, Monitor
from services.net.netlink.query import Query
from services.net.netlink.socket import NetlinkSocket
from services.net.socket.abi import DATAGRAM, RAW

if TYPE_CHECKING:
    from services.net.netlink.message import Message
    from services.net.netlink.monitor import Change
    from services.net.netlink.query import Handler
    from services.net.socket.network import Network

ROUTE_HANDLERS: dict[int, Handler] = {
    **link.HANDLERS,
    **address.HANDLERS,
    **route.HANDLERS,
    **neighbour.HANDLERS,
    **rule.HANDLERS,
}
PROTOCOLS = {abi.NETLINK_ROUTE: abi.ROUTE_GROUPS, abi.NETLINK_SOCK_DIAG: abi.DIAG_GROUPS}
"""What can be talked about, and how many groups there are."""
KIND_MASK, KIND_GET = 3, 2
"""The two low bits of a type of rtnetlink say what is done: new, del, get, set."""


class Hub:
    """See the module's docstring."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._by_port: dict[tuple[int, int], NetlinkSocket] = {}
        self.sockets: list[NetlinkSocket] = []
        self._monitor: Monitor | None = None

    # Sockets --------------------------------------------------------------------------------

    def open(
        self, type_: int, protocol: int, inode: int, uid: int, pid: int, privileged: bool
    ) -> NetlinkSocket:
        """socket(2): ESOCKTNOSUPPORT, EPROTONOSUPPORT."""
        if type_ not in (RAW, DATAGRAM):
            raise PosixError(ESOCKTNOSUPPORT)
        if protocol not in PROTOCOLS:
            raise PosixError(EPROTONOSUPPORT)
        made = NetlinkSocket(self._network, self, type_, protocol, inode, uid)
        made.creator, made.privileged, made.group_count = pid, privileged, PROTOCOLS[protocol]
        self.sockets.append(made)
        return made

    def take_port(self, socket: NetlinkSocket, port: int) -> None:
        """Give a socket its port; 0: its creator's process id if that is free. EADDRINUSE."""
        if port:
            if (socket.protocol, port) in self._by_port:
                raise PosixError(EADDRINUSE)
        else:
            port = socket.creator
            while not port or (socket.protocol, port) in self._by_port:
                draw = self._network.stack.random(4)
                port = int.from_bytes(draw, "little") | 0x8000_0000
        socket.port = port
        self._by_port[socket.protocol, port] = socket

    def find(self, protocol: int, port: int) -> NetlinkSocket | None:
        """The socket at a port."""
        return self._by_port.get((protocol, port))

    def remove(self, socket: NetlinkSocket) -> None:
        """A socket is closed."""
        self.sockets.remove(socket)
        self._by_port.pop((socket.protocol, socket.port), None)
        self.groups_changed()

    # Groups ---------------------------------------------------------------------------------

    def groups_changed(self) -> None:
        """Somebody has joined or left: watch while it is of use."""
        wanted = any(
            socket.protocol == abi.NETLINK_ROUTE and not socket.groups.isdisjoint(GROUPS)
            for socket in self.sockets
        )
        if wanted and self._monitor is None:
            self._monitor = Monitor(self._network)
            self._monitor.begin()
        elif not wanted:
            self._monitor = None
        self._network.watching = self._monitor is not None

    def look(self) -> None:
        """Tell what has changed, if somebody listens."""
        if self._monitor is not None:
            self._tell(self._monitor.collect(), None, 0)

    def _tell(self, changes: list[Change], by: NetlinkSocket | None, seq: int) -> None:
        """`by`: who asked for it with NLM_F_ECHO, and hears of it in any case."""
        for change in changes:
            port = by.port if by is not None else 0
            data = encode(change.type, 0, seq, port, change.body)
            for socket in list(self.sockets):
                if socket.protocol != abi.NETLINK_ROUTE:
                    continue
                if socket is by or change.group in socket.groups:
                    socket.deliver(data, 0, change.group)

    # Requests -------------------------------------------------------------------------------

    def serve(self, socket: NetlinkSocket, data: bytes, uid: int, privileged: bool) -> None:
        """Answer all requests in `data`."""
        for message in split(data):
            if not message.flags & abi.F_REQUEST:
                continue
            error, words, silent = 0, "", False
            if message.type >= abi.MIN_TYPE:
                try:
                    silent = self._serve_one(socket, message, uid, privileged)
                except Refused as refused:
                    error, words = refused.errno, refused.text
                except PosixError as refused:
                    error = refused.errno
            if error or (message.flags & abi.F_ACK and not silent):
                reply = acknowledgement(
                    message,
                    socket.port,
                    error,
                    words,
                    capped=socket.is_on(abi.CAP_ACK),
                    extended=socket.is_on(abi.EXT_ACK),
                )
                socket.deliver(reply, 0, 0)

    def _serve_one(
        self, socket: NetlinkSocket, message: Message, uid: int, privileged: bool
    ) -> bool:
        """True: a dump has begun, which is not acknowledged."""
        if socket.protocol == abi.NETLINK_SOCK_DIAG:
            handler = diag.handler(message)
        else:
            if not message.body:
                return False
            handler = _route_handler(message, privileged)
        query = Query(self._network, message, uid, socket.is_on(abi.GET_STRICT_CHK))
        # Of a get alone: the same bits mean EXCL and REPLACE where something is made.
        gets = socket.protocol == abi.NETLINK_SOCK_DIAG or message.type & KIND_MASK == KIND_GET
        if gets and message.flags & abi.F_DUMP:
            if handler.dump is None:
                raise PosixError(EOPNOTSUPP)
            socket.begin_dump(message, handler.dump(query))
            return True
        if handler.do is None:
            raise PosixError(EOPNOTSUPP)
        echo = message.flags & abi.F_ECHO and not gets
        monitor = self._monitor
        if echo and monitor is None:
            monitor = Monitor(self._network)
            monitor.begin()
        for kind, body in handler.do(query):
            socket.deliver(encode(kind, 0, message.seq, socket.port, body), 0, 0)
        if monitor is not None and not gets:
            self._tell(monitor.collect(), socket if echo else None, message.seq)
        return False


def _route_handler(message: Message, privileged: bool) -> Handler:
    """EPERM: only root changes anything. EOPNOTSUPP: nobody serves the type."""
    if message.type > abi.RTM_MAX:
        raise PosixError(EOPNOTSUPP)
    if message.type & KIND_MASK != KIND_GET and not privileged:
        raise PosixError(EPERM)
    handler = ROUTE_HANDLERS.get(message.type)
    if handler is None:
        raise PosixError(EOPNOTSUPP)
    return handler


def group_number(value: int, count: int) -> int:
    """A group that can be joined; EINVAL."""
    if not 1 <= value <= count:
        raise PosixError(EINVAL)
    return value
