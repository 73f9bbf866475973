"""TCP sockets (tcp(7)): what programs see of `services.net.tcp`.

A socket is fresh, listening (`listener`) or connected (`connection`, from the first SYN on until
it is closed). The protocol tells it through `changed` that something may have changed; what has
become of that is worked out here, once.
"""

from __future__ import annotations

from errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENETUNREACH,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
)
from typing import TYPE_CHECKING, Any

from bus.census import kind
from bus.errors import PosixError
from services.net.api import Amounts, Received
from services.net.socket import abi, names, options, options_tcp
from services.net.socket.abi import (
    AF_UNSPEC,
    IN,
    IPPROTO_TCP,
    MSG_OOB,
    MSG_PEEK,
    NS_PER_S,
    OUT,
    POLLERR,
    POLLHUP,
    POLLPRI,
    POLLRDHUP,
    SHUT_IN,
    SHUT_OUT,
    SOL_SOCKET,
)
from services.net.socket.base import gather, scatter, total
from services.net.socket.inet import V4, V6, InetSocket
from services.net.tcp.limits import with_setting
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.net.api import ControlMessage, Extents
    from services.net.socket.network import Network
    from services.net.socket.ports import Binding, Ports
    from services.net.tcp.connection import Connection
    from services.net.tcp.listener import Listener
    from services.net.tcp.table import Key

BEGINNING = (State.SYN_SENT, State.SYN_RECV)
CUT_SHORT = (
    State.SYN_SENT, State.SYN_RECV, State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT1,
    State.FIN_WAIT2,
)  # fmt: skip
CLOSING = (State.FIN_WAIT1, State.CLOSING, State.LAST_ACK)
SEND_BYTES, RECEIVE_BYTES = 16_384, 131_072
"""What SO_SNDBUF and SO_RCVBUF say of a fresh socket: tcp_wmem[1], tcp_rmem[1] (tcp(7))."""


class TcpSocket(InetSocket):
    """One TCP socket."""

    __slots__ = ("_readable_before", "_told_connected", "connection", "listener", "settings")
    heap = kind("net", "TCP socket")

    def __init__(
        self, network: Network, family: int, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        super().__init__(network, family, type_, protocol, inode, uid)
        self.connection: Connection | None = None
        self.listener: Listener | None = None
        self.settings = network.tcp_defaults
        """What the next connection or listener starts with."""
        self.send_limit_bytes, self.receive_limit_bytes = SEND_BYTES, RECEIVE_BYTES
        self._readable_before = 0
        self._told_connected = False

    # Readiness ------------------------------------------------------------------------------

    def ready(self) -> int:
        """As tcp_poll of Linux has it."""
        connection = self.connection
        if connection is None:
            if self.listener is not None:
                return IN if self.listener.accepted else 0
            now = OUT | POLLHUP | (POLLERR if self.error else 0)
            return now | (IN | POLLRDHUP if self.shut & SHUT_IN else 0)
        state, shut = connection.state, self.shut
        if state in BEGINNING:
            return 0
        now = 0
        ended = connection.fin_received or shut & SHUT_IN
        if state is State.CLOSE or (ended and shut & SHUT_OUT):
            now = POLLHUP
        if ended or state is State.CLOSE:
            now |= IN | POLLRDHUP
        readable = connection.readable_bytes
        if readable and readable >= min(self.low_water_bytes, self.receive_limit_bytes):
            now |= IN
        if shut & SHUT_OUT or state is State.CLOSE or connection.writable:
            now |= OUT
        if connection.urgent_ready:
            now |= POLLPRI
        if connection.error or self.error:
            now |= POLLERR
        return now

    def changed(self) -> None:
        """The protocol tells that something may have changed."""
        board, slot = self.network.board, self.slot
        if self.closed:
            self._linger_over()
            return
        now, before = self.ready(), board.ready[slot]
        board.ready[slot] = now
        events = now & ~before
        connection = self.connection
        if connection is not None:
            readable = connection.readable_bytes
            if readable > self._readable_before:
                events |= now & IN
            self._readable_before = readable
        elif now:
            events |= now  # a listener: each connection is an event
        if events:
            board.listener(slot, events)

    # Opening --------------------------------------------------------------------------------

    def ports(self) -> Ports:
        """TCP's."""
        return self.network.tcp_ports

    def busy_ports(self, binding: Binding) -> frozenset[int]:
        """Local ports of connections whose address it meets, those in TIME_WAIT too.

        With SO_REUSEADDR only of those whose sockets have not set it.
        """
        tcp, address, versions = self.network.tcp, binding.address, binding.versions
        keys: list[Key] = []
        if binding.reuse:
            unwilling = (SOL_SOCKET, abi.SO_REUSEADDR)
            for key, connection in tcp.connections.items():
                owner = connection.owner
                if isinstance(owner, TcpSocket) and not owner.kept.get(unwilling):
                    keys.append(key)
        else:
            keys += tcp.connections
            keys += tcp.time_waits.records
        return frozenset(
            port
            for local, port, *_ in keys
            if (local == address if address else versions & (V4 if len(local) == 4 else V6))
        )

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2)."""
        if self.connection is not None or self.listener is not None:
            raise PosixError(EINVAL)
        super().bind(name, privileged)

    def listen(self, backlog: int) -> None:
        """listen(2): a second time sets the backlog; an unbound socket gets a port."""
        backlog = min(backlog & 0xFFFF_FFFF, self.network.max_backlog)
        if self.listener is not None:
            self.listener.backlog = backlog
            return
        if self.connection is not None:
            raise PosixError(EINVAL)
        if self.binding is None:
            self.take_port(self.any_address, 0)
        binding = self.binding
        assert binding is not None
        binding.listening = True
        if self.ports().conflict(binding):
            binding.listening = False
            raise PosixError(EADDRINUSE)
        self._apply_kept()
        listener = self.network.tcp.listen(
            binding.address, binding.port, binding.versions, backlog, self.settings
        )
        listener.on_change = self.changed
        self.listener = listener
        self.shut = 0
        self.network.board.ready[self.slot] = 0

    def connect(self, name: bytes) -> None:
        """connect(2): begins; EINPROGRESS, EALREADY, EISCONN, or how it ended."""
        family = names.family_of(name)
        connection = self.connection
        if family == AF_UNSPEC:
            self._disconnect()
            return
        if self.listener is not None:
            raise PosixError(EISCONN)
        if connection is not None:
            self._tell_connected(connection)
            return
        remote = self.remote_name(name)
        address = remote[0]
        stack = self.network.stack
        if names.is_multicast(address) or stack.is_broadcast(address):
            raise PosixError(ENETUNREACH)
        if names.is_link_local6(address) and not (self.scope or self.ifindex):
            raise PosixError(EINVAL)
        bound = self.local[0] if self.local and any(self.local[0]) else None
        path = stack.route(address, bound, self.ifindex)
        local = self._local_for(path.source, remote)
        self._apply_kept()
        self.error = 0
        self.connection = connection = self.network.tcp.open(local, remote, self.settings)
        self.local, self.remote = local, remote
        self._adopt(connection)
        self.refresh()
        raise PosixError(EINPROGRESS)

    def _tell_connected(self, connection: Connection) -> None:
        """A second connect(2) tells how the first is doing: EALREADY, EISCONN, or why it failed.

        After that it may be tried anew. That it is connected is told once.
        """
        if connection.state in BEGINNING:
            raise PosixError(EALREADY)
        if self._told_connected:
            raise PosixError(EISCONN)
        if connection.state is State.CLOSE:
            error = self.take_error()
            self._forget_connection()
            self.shut = 0
            self.refresh()
            raise PosixError(error or ECONNABORTED)
        self._told_connected = True

    def _local_for(self, source: bytes, remote: tuple[bytes, int]) -> tuple[bytes, int]:
        """The local end of an active open: as bound, or a port that makes the pair unique."""
        if self.local is not None:
            address = self.local[0] if any(self.local[0]) else source
            local = address, self.local[1]
            if not self.network.tcp.reusable(local, remote):
                raise PosixError(EADDRNOTAVAIL)
            return local
        ports, tcp = self.network.tcp_ports, self.network.tcp
        for port in ports.ephemeral():
            if not ports.is_bound(port) and tcp.reusable((source, port), remote):
                return source, port
        raise PosixError(EADDRNOTAVAIL)

    def _adopt(self, connection: Connection) -> None:
        connection.owner = self
        connection.on_change = self.changed

    def _apply_kept(self) -> None:
        """Carry options of other levels over to what the protocol works with."""
        kept = self.kept
        for name, value in (
            ("keepalive", bool(kept.get((SOL_SOCKET, abi.SO_KEEPALIVE)))),
            ("oob_inline", bool(kept.get((SOL_SOCKET, abi.SO_OOBINLINE)))),
            ("ttl", self.hops),
            ("tos", self.service_class),
            ("ifindex", self.ifindex),
        ):
            if getattr(self.settings, name) != value:
                self.set_setting(name, value)

    def set_setting(self, name: str, value: Any) -> None:
        """Change a setting of the next connection or listener, and of the present one."""
        self.settings = with_setting(self.settings, name, value)
        if self.listener is not None:
            self.listener.settings = self.settings
        if self.connection is not None:
            setattr(self.connection, name, value)

    def setting(self, name: str) -> Any:
        """A setting as it is in force."""
        return getattr(self.connection or self.settings, name)

    def set_option(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """setsockopt(2): a connection follows its socket's options at once."""
        super().set_option(level, option, value, privileged)
        if level == SOL_SOCKET and option in (abi.SO_SNDBUF, abi.SO_SNDBUFFORCE):
            self.set_setting("send_limit_bytes", self.send_limit_bytes)
        elif level == SOL_SOCKET and option in (abi.SO_RCVBUF, abi.SO_RCVBUFFORCE):
            self.set_setting("receive_limit_bytes", self.receive_limit_bytes)
        self.refresh()

    def options_changed(self) -> None:
        """An option above TCP was set."""
        self._apply_kept()

    def _disconnect(self) -> None:
        """connect(2) to AF_UNSPEC: reset the connection, or stop listening; fresh again.

        A connection that was thereby cut short is told as ECONNRESET (tcp_disconnect).
        """
        connection, self.error = self.connection, 0
        if connection is not None:
            if connection.state in CUT_SHORT:
                self.error = ECONNRESET
            connection.abort()
            self._forget_connection()
        if self.listener is not None:
            self.listener.close()
            self.listener = None
            if self.binding is not None:
                self.binding.listening = False
        self.shut = 0
        self.refresh()

    def _forget_connection(self) -> None:
        self.part()
        self.remote = None
        self._told_connected = False
        self._readable_before = 0
        if self.binding is None:
            self.local = None
        else:
            self.local = self.binding.address or self.any_address, self.binding.port

    # Accepting ------------------------------------------------------------------------------

    def accept(self, inode: int, uid: int) -> TcpSocket:
        """accept(2): EAGAIN, EINVAL where it does not listen."""
        listener = self.listener
        if listener is None:
            raise PosixError(EINVAL)
        if not listener.accepted:
            raise PosixError(EAGAIN)
        connection = listener.accepted.popleft()
        child = TcpSocket(self.network, self.family, self.type, self.protocol, inode, uid)
        child.settings = self.settings
        child.kept.update(self.kept)
        child.send_limit_bytes = self.send_limit_bytes
        child.receive_limit_bytes = self.receive_limit_bytes
        child.low_water_bytes = self.low_water_bytes
        child.connection = connection
        child._told_connected = True
        child.local, child.remote = connection.local, connection.remote
        child._adopt(connection)
        self.refresh()
        return child

    def name(self, peer: bool) -> bytes:
        """getsockname(2), getpeername(2): a connection that has ended has no peer."""
        connection = self.connection
        if peer and (connection is None or connection.state in (State.CLOSE, State.SYN_SENT)):
            raise PosixError(ENOTCONN)
        return super().name(peer)

    # Sending --------------------------------------------------------------------------------

    def write(self, extents: Extents) -> int:
        """write(2): as much as there is room for."""
        connection = self.connection
        if connection is None or connection.error or self.error or self.shut & SHUT_OUT:
            return self._write_refused()
        room = connection.send_space_bytes
        if room <= 0:
            return self._write_refused()
        taken = connection.write(gather(self.network.memory, extents, room))
        if not taken:
            return self._write_refused()
        if not connection.writable:
            self.network.board.ready[self.slot] &= ~OUT
        return taken

    def _write_refused(self, more: bool = False) -> int:
        """Why nothing can be written: an error, EPIPE, EAGAIN."""
        connection = self.connection
        self._collect_error()
        self.raise_error()
        if connection is None or self.shut & SHUT_OUT:
            raise PosixError(EPIPE)
        if connection.state not in BEGINNING and not may_write(connection):
            raise PosixError(EPIPE)
        connection.starved = True
        self.network.board.ready[self.slot] = self.ready()
        raise PosixError(EAGAIN)

    def _collect_error(self) -> None:
        """The connection's error becomes the socket's."""
        connection = self.connection
        if connection is not None and connection.error:
            self.error, connection.error = connection.error, 0

    def take_error(self) -> int:
        """SO_ERROR."""
        self._collect_error()
        return super().take_error()

    def send(
        self, extents: Extents, flags: int, name: bytes, control: Sequence[ControlMessage]
    ) -> int:
        """sendmsg(2); a destination is ignored, as Linux does for connected streams."""
        if flags & abi.MSG_FASTOPEN:
            raise PosixError(EOPNOTSUPP)
        connection = self.connection
        if not total(extents):
            if connection is None or not may_write(connection):
                self._write_refused()
            return 0
        if flags & MSG_OOB:
            if connection is None or not may_write(connection):
                return self._write_refused()
            return self._send_urgent(connection, extents)
        if not flags & abi.MSG_MORE:
            return self.write(extents)
        if connection is None or connection.error or self.error or self.shut & SHUT_OUT:
            return self._write_refused()
        room = connection.send_space_bytes
        if room <= 0:
            return self._write_refused()
        taken = connection.write(gather(self.network.memory, extents, room), True)
        self.network.board.ready[self.slot] = self.ready()
        return taken

    def _send_urgent(self, connection: Connection, extents: Extents) -> int:
        """MSG_OOB: the last byte is urgent."""
        size = total(extents)
        if connection.send_space_bytes < size:
            return self._write_refused()
        data = gather(self.network.memory, extents, size)
        if size > 1:
            connection.write(data[:-1], True)
        connection.write_urgent(data[-1])
        self.network.board.ready[self.slot] = self.ready()
        return size

    # Receiving ------------------------------------------------------------------------------

    def read(self, extents: Extents) -> int:
        """read(2)."""
        connection = self.connection
        if connection is None or not connection.readable_bytes:
            return self._read_nothing()
        taken = connection.read_into(self.network.memory, extents, False)
        left = connection.readable_bytes
        self._readable_before = left
        if not left or self.low_water_bytes > 1:
            self.network.board.ready[self.slot] = self.ready()
        return taken

    def _read_nothing(self) -> int:
        """Why nothing can be read: an error, the end, EAGAIN, ENOTCONN."""
        connection = self.connection
        if connection is not None and connection.fin_received:
            return 0
        self._collect_error()
        self.raise_error()
        if self.shut & SHUT_IN:
            return 0
        if connection is None:
            raise PosixError(ENOTCONN)
        if connection.state is State.CLOSE:
            return 0  # its error, if any, has been told
        raise PosixError(EAGAIN)

    def receive(self, extents: Extents, flags: int) -> Received:
        """recvmsg(2): MSG_PEEK, MSG_TRUNC (discard), MSG_OOB."""
        if flags & abi.MSG_ERRQUEUE:
            raise PosixError(EAGAIN)
        if flags & MSG_OOB:
            return self._receive_urgent(extents, flags)
        connection = self.connection
        if connection is None or not connection.readable_bytes:
            return Received(self._read_nothing())
        if flags & abi.MSG_TRUNC:
            size = min(total(extents), connection.readable_bytes)
            if not flags & MSG_PEEK:
                connection.read(size)
        elif flags & MSG_PEEK:
            size = connection.read_into(self.network.memory, extents, True)
        else:
            return Received(self.read(extents))
        self._readable_before = connection.readable_bytes
        self.network.board.ready[self.slot] = self.ready()
        return Received(size)

    def _receive_urgent(self, extents: Extents, flags: int) -> Received:
        """The urgent byte; EINVAL where there is none."""
        connection = self.connection
        if self.listener is not None:
            raise PosixError(ENOTCONN)
        byte = connection.read_urgent(bool(flags & MSG_PEEK)) if connection is not None else -1
        if connection is None or byte < 0:
            raise PosixError(EINVAL)
        self.network.board.ready[self.slot] = self.ready()
        if not total(extents):
            return Received(0, flags=MSG_OOB | abi.MSG_TRUNC)
        return Received(scatter(self.network.memory, extents, bytes((byte,))), flags=MSG_OOB)

    def held(self) -> tuple[int, int]:
        """Bytes not read, and not acknowledged."""
        connection = self.connection
        if connection is None:
            return 0, 0
        return connection.readable_bytes, connection.unacked_bytes

    def set_low_water(self, count: int) -> None:
        """SO_RCVLOWAT: no more than half of what the buffer can grow to (tcp_set_rcvlowat)."""
        limits = self.network.tcp.limits
        fixed = self.kept.get((SOL_SOCKET, abi.SO_BUF_LOCK), 0) & options.RECEIVE_LOCK
        most = self.receive_limit_bytes if fixed else limits.receive_max_bytes
        super().set_low_water(min(count, most >> 1))

    def amounts(self) -> Amounts:
        """SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK; EINVAL on a listener."""
        connection = self.connection
        if self.listener is not None:
            raise PosixError(EINVAL)
        if connection is None:
            return Amounts(0, 0, 0, False)
        return Amounts(
            connection.readable_bytes,
            connection.unsent_bytes,
            connection.unacked_bytes,
            connection.at_mark,
        )

    # Ending ---------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """shutdown(2): ENOTCONN where there is no connection; a listener stops listening."""
        connection = self.connection
        if self.listener is not None:
            if how & SHUT_IN:
                self._disconnect()
            return
        if connection is not None and connection.state is State.SYN_SENT:
            self._disconnect()
            return
        self.shut |= how
        ended = connection is None or connection.state in (State.CLOSE, State.TIME_WAIT)
        if connection is not None and not ended:
            if how & SHUT_IN:
                connection.shutdown_read()
            if how & SHUT_OUT:
                connection.shutdown_write()
        self.tell(self.ready())
        if ended:
            raise PosixError(ENOTCONN)  # and yet it is shut, as poll(2) tells

    def close(self, wait: bool) -> bool:
        """The last descriptor is gone: FIN, or RST (SO_LINGER of 0 seconds, unread data).

        True: it lingers, and is to be closed again.
        """
        first, self.closed = not self.closed, True
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        self.release_port()
        connection = self.connection
        if connection is None:
            return False
        word = self.kept.get((SOL_SOCKET, abi.SO_LINGER), 0)
        if first and word >> 32 and not word & 0xFFFF_FFFF:
            connection.abort()
        elif first:
            connection.close()
            if wait and self.linger_ns and connection.state in CLOSING:
                return True
        self.part()
        return False

    def part(self) -> None:
        """Let the connection go its own way; no cycle keeps the two alive."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.on_change = _nothing
            connection.owner = None

    def _linger_over(self) -> None:
        """A lingering connection has changed: tell its closer once all is acknowledged."""
        if self.connection is None or self.connection.state in CLOSING:
            return
        self.part()
        if self.slot >= 0:
            self.network.board.ready[self.slot] = POLLHUP
            self.network.board.listener(self.slot, POLLHUP)

    @property
    def linger_ns(self) -> int:
        """SO_LINGER, ns; 0: close(2) does not wait."""
        word = self.kept.get((SOL_SOCKET, abi.SO_LINGER), 0)
        return (word & 0xFFFF_FFFF) * NS_PER_S if word >> 32 else 0

    # Options --------------------------------------------------------------------------------

    def get_own(self, level: int, option: int, given: bytes) -> bytes:
        """IPPROTO_TCP."""
        if level != IPPROTO_TCP:
            return super().get_own(level, option, given)
        return options_tcp.get(self, option)

    def put_own(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """IPPROTO_TCP."""
        if level != IPPROTO_TCP:
            super().put_own(level, option, value, privileged)
        options_tcp.put(self, option, value)

    def get_option(self, level: int, option: int, given: bytes) -> bytes:
        """getsockopt(2): a few of SOL_SOCKET are the connection's."""
        if level == SOL_SOCKET and option == abi.SO_ACCEPTCONN:
            return options.packed(int(self.listener is not None))
        if level == SOL_SOCKET and self.connection is not None:
            if option == abi.SO_SNDBUF:
                return options.packed(self.connection.send_limit)
            if option == abi.SO_RCVBUF:
                return options.packed(self.connection.receive_limit)
        return super().get_option(level, option, given)


def may_write(connection: Connection) -> bool:
    """Whether the program may still send."""
    return not connection.fin_queued and connection.state in (State.ESTABLISHED, State.CLOSE_WAIT)


def _nothing() -> None:
    """Nobody listens to this connection any more."""
