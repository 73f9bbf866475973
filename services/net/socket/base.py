"""What all sockets of net have in common: handle, slot on the board, options of SOL_SOCKET.

A socket keeps its word on the board current: whatever changes readiness ends in `refresh` (a
state) or `tell` (an event).
"""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP
from sys import getsizeof
from typing import TYPE_CHECKING, ClassVar

from bus.census import EMPTY_DICT, Kind, kind
from bus.errors import PosixError
from services.net.socket.abi import (
    BUFFER_DEFAULT_BYTES,
    IN,
    POLLHUP,
    POLLRDHUP,
    SHUT_BOTH,
    SHUT_IN,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.net.api import Amounts, ControlMessage, Extents, Received
    from services.net.socket.inet import InetSocket
    from services.net.socket.network import Network
    from services.net.socket.ports import Binding


OPTION_BYTES = 96
"""What an option takes beside its place in the table: its key and its number."""


class NetSocket:
    """One socket; kinds override what they can do, the rest is EOPNOTSUPP or EINVAL."""

    __slots__ = (
        "_charged",
        "binding",
        "closed",
        "error",
        "family",
        "handle",
        "ifindex",
        "inode",
        "kept",
        "low_water_bytes",
        "network",
        "protocol",
        "receive_limit_bytes",
        "send_limit_bytes",
        "shut",
        "slot",
        "type",
        "uid",
    )
    heap: ClassVar[Kind] = kind("net", "socket")

    def __init__(
        self, network: Network, family: int, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        self.heap.made()
        self.network = network
        self.family = family
        self.type = type_
        self.protocol = protocol
        self.inode = inode
        self.uid = uid
        self.handle = -1
        self.slot = -1
        self.error = 0
        """SO_ERROR: told once."""
        self.shut = 0
        """SHUT_ bits."""
        self.binding: Binding | None = None
        self.ifindex = 0
        """SO_BINDTODEVICE."""
        self.kept: dict[tuple[int, int], int] = {}
        """Options by (level, option) that are plain integers."""
        self._charged = EMPTY_DICT
        self.low_water_bytes = 1
        self.send_limit_bytes = BUFFER_DEFAULT_BYTES
        self.receive_limit_bytes = BUFFER_DEFAULT_BYTES
        self.closed = False

    def __del__(self) -> None:
        self.heap.grew(EMPTY_DICT - self._charged)
        self.heap.freed()

    def charge_options(self) -> None:
        """Options may have been added."""
        kept = self.kept
        if kept:
            now = getsizeof(kept) + OPTION_BYTES * len(kept)
            self.heap.grew(now - self._charged)
            self._charged = now

    # Readiness ------------------------------------------------------------------------------

    def ready(self) -> int:
        """POLL bits as of now."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Bring the board up to date; what became ready is an event."""
        board, slot = self.network.board, self.slot
        now, before = self.ready(), board.ready[slot]
        if now != before:
            board.ready[slot] = now
            if now & ~before:
                board.listener(slot, now & ~before)

    def tell(self, events: int) -> None:
        """Raise an interrupt for `events`, whatever the board said before."""
        board, slot = self.network.board, self.slot
        board.ready[slot] = self.ready()
        board.listener(slot, events)

    def take_error(self) -> int:
        """SO_ERROR: the pending errno, which is thereby told."""
        error, self.error = self.error, 0
        if error:
            self.refresh()
        return error

    def raise_error(self) -> None:
        """Raise the pending error, if there is one."""
        if self.error:
            raise PosixError(self.take_error())

    # Operations -----------------------------------------------------------------------------

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2)."""
        raise PosixError(EOPNOTSUPP)

    def listen(self, backlog: int) -> None:
        """listen(2)."""
        raise PosixError(EOPNOTSUPP)

    def connect(self, name: bytes) -> None:
        """connect(2)."""
        raise PosixError(EOPNOTSUPP)

    def accept(self, inode: int, uid: int) -> InetSocket:
        """accept(2)."""
        raise PosixError(EOPNOTSUPP)

    def write(self, extents: Extents) -> int:
        """write(2)."""
        return self.send(extents, 0, b"", ())

    def read(self, extents: Extents) -> int:
        """read(2)."""
        return self.receive(extents, 0).count

    def send(
        self, extents: Extents, flags: int, name: bytes, control: Sequence[ControlMessage]
    ) -> int:
        """sendmsg(2)."""
        raise PosixError(EOPNOTSUPP)

    def receive(self, extents: Extents, flags: int) -> Received:
        """recvmsg(2)."""
        raise PosixError(EOPNOTSUPP)

    def shutdown(self, how: int) -> None:
        """shutdown(2); `how` as SHUT_ bits."""
        raise PosixError(EOPNOTSUPP)

    def name(self, peer: bool) -> bytes:
        """getsockname(2), getpeername(2)."""
        raise PosixError(EOPNOTSUPP)

    def amounts(self) -> Amounts:
        """SIOCINQ and the like."""
        raise PosixError(EINVAL)

    def held(self) -> tuple[int, int]:
        """Bytes that wait to be received, and to be sent (SO_MEMINFO)."""
        return 0, 0

    def set_low_water(self, count: int) -> None:
        """SO_RCVLOWAT: readable from so many bytes on."""
        self.low_water_bytes = count
        self.refresh()

    def get_option(self, level: int, option: int, given: bytes) -> bytes:
        """getsockopt(2)."""
        raise PosixError(EOPNOTSUPP)

    def set_option(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """setsockopt(2)."""
        raise PosixError(EOPNOTSUPP)

    def limits_changed(self) -> None:
        """SO_SNDBUF or SO_RCVBUF were set."""
        self.refresh()

    def close(self, wait: bool) -> bool:
        """The last descriptor is gone; True if it lingers and the caller asked to wait."""
        raise NotImplementedError


def shut_bits(shut: int) -> int:
    """What poll(2) tells of a datagram socket that is shut (datagram_poll)."""
    now = POLLRDHUP | IN if shut & SHUT_IN else 0
    return now | (POLLHUP if shut == SHUT_BOTH else 0)


def total(extents: Extents) -> int:
    """Length of the runs in bytes."""
    if len(extents) == 1:
        return extents[0][1]
    return sum([length for _, length in extents])


def gather(memory: memoryview, extents: Extents, limit_bytes: int) -> bytes:
    """A copy of the first `limit_bytes` of the runs."""
    if len(extents) == 1:
        paddr, length = extents[0]
        return memory[paddr : paddr + min(length, limit_bytes)].tobytes()
    parts: list[memoryview] = []
    for paddr, length in extents:
        size = min(length, limit_bytes)
        parts.append(memory[paddr : paddr + size])
        limit_bytes -= size
        if not limit_bytes:
            break
    return b"".join(parts)


def scatter(memory: memoryview, extents: Extents, data: bytes | memoryview) -> int:
    """Copy as much of `data` into the runs as they hold; replies with how much that was."""
    view, at = memoryview(data), 0
    for paddr, length in extents:
        piece = view[at : at + length]
        memory[paddr : paddr + len(piece)] = piece
        at += len(piece)
        if at == len(view):
            break
    return at
