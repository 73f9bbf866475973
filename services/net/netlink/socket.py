"""AF_NETLINK sockets (netlink(7)): messages to the kernel and back, with boundaries.

A name is `struct sockaddr_nl`: family, port, groups. Port 0 is the kernel. What comes is charged
to SO_RCVBUF; what does not fit is lost, and the next operation fails with ENOBUFS.
"""

from __future__ import annotations

import struct
from errno import (
    EAGAIN,
    EBUSY,
    ECONNREFUSED,
    EINVAL,
    EMSGSIZE,
    ENOBUFS,
    ENODATA,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPERM,
)
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.net.api import Received
from services.net.netlink import abi
from services.net.netlink.message import Refused, encode, text
from services.net.socket import abi as sockets
from services.net.socket import options
from services.net.socket.abi import AF_UNSPEC, IN, OUT, POLLERR, SOL_SOCKET
from services.net.socket.base import NetSocket, gather, scatter, total
from services.net.socket.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.net.api import ControlMessage, Extents
    from services.net.netlink.hub import Hub
    from services.net.netlink.message import Message
    from services.net.netlink.query import Answer
    from services.net.socket.network import Network

NAME = struct.Struct("<HHII")
"""struct sockaddr_nl: family, padding, port, groups 1 to 32 as bits."""
CREDENTIALS = struct.Struct("<iII")
SCM_CREDENTIALS = 2
FIRST_PART_BYTES, MAX_PART_BYTES = 3776, 32_448
"""How much of a dump comes at once: as much as the largest receive so far, within these."""
SWITCHES = frozenset(
    (abi.PKTINFO, abi.BROADCAST_ERROR, abi.NO_ENOBUFS, abi.LISTEN_ALL_NSID, abi.CAP_ACK,
     abi.EXT_ACK, abi.GET_STRICT_CHK)
)  # fmt: skip


MESSAGE = charge_kind("net", "netlink message")


class NetlinkSocket(NetSocket):
    """One netlink socket."""

    heap = charge_kind("net", "netlink socket")

    __slots__ = ("_carried", "_dump", "_hub", "_inbox", "_part_bytes", "_peer",
                 "creator", "drops", "group_count", "groups", "port", "privileged")  # fmt: skip

    def __init__(
        self, network: Network, hub: Hub, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        super().__init__(network, abi.AF_NETLINK, type_, protocol, inode, uid)
        self._hub = hub
        self.port = 0
        """0: not bound yet."""
        self.creator = 0
        """Process id of who opened it."""
        self.privileged = False
        """Whether who opened it might change things."""
        self.groups: set[int] = set()
        self.group_count = 0
        self.drops = 0
        self._peer = (0, 0)
        """connect(2): port and group that are sent to."""
        self._inbox: Inbox[tuple[bytes, int, int]] = Inbox(MESSAGE)
        """(data, sender's port, group) of what has come."""
        self._part_bytes = FIRST_PART_BYTES
        self._dump: Iterator[bytes] | None = None
        """What is still to come of a dump,"""
        self._carried = b""
        """and its message that had no room in the last part."""

    # Readiness ------------------------------------------------------------------------------

    def ready(self) -> int:
        """POLL bits."""
        return OUT | (IN if self._inbox else 0) | (POLLERR if self.error else 0)

    @property
    def queued_bytes(self) -> int:
        """Charged bytes that wait to be received (/proc/net/netlink)."""
        return self._inbox.charged_bytes

    @property
    def dumping(self) -> bool:
        """Whether there is more of a dump."""
        return self._dump is not None

    # Names ----------------------------------------------------------------------------------

    @property
    def group_bits(self) -> int:
        """Groups 1 to 32 as bits."""
        return sum(1 << group - 1 for group in self.groups if group <= 32)

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2): a port, and groups. EINVAL: bound to another port already."""
        port, bits = _decode(name)
        if self.port and port != self.port:
            raise PosixError(EINVAL)
        if not self.port:
            self._hub.take_port(self, port)
        wanted = {group for group in range(1, 33) if bits >> group - 1 & 1}
        beyond = {group for group in self.groups if group > 32}
        if wanted | beyond != self.groups:
            self.groups = wanted | beyond
            self._hub.groups_changed()

    def connect(self, name: bytes) -> None:
        """connect(2): fix who is sent to; AF_UNSPEC: nobody."""
        if int.from_bytes(name[:2], "little") == AF_UNSPEC and len(name) >= 2:
            self._peer = (0, 0)
            return
        port, bits = _decode(name)
        group = (bits & -bits).bit_length()
        if (port or group) and not self.privileged:
            raise PosixError(EPERM)
        if not self.port:
            self._hub.take_port(self, 0)
        self._peer = (port, group)

    def name(self, peer: bool) -> bytes:
        """getsockname(2), getpeername(2)."""
        port, bits = self.port, self.group_bits
        if peer:
            port, bits = self._peer[0], 1 << self._peer[1] >> 1
        return NAME.pack(abi.AF_NETLINK, 0, port, bits)

    # Sending --------------------------------------------------------------------------------

    def send(
        self, extents: Extents, flags: int, name: bytes, control: Sequence[ControlMessage]
    ) -> int:
        """sendmsg(2): requests to the kernel, or a message to another socket.

        The caller adds SCM_CREDENTIALS: the kernel serves those who opened *and* send as root.
        """
        if flags & sockets.MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        size = total(extents)
        if not size:
            raise PosixError(ENODATA)
        port, group = self._peer
        if name:
            port, bits = _decode(name)
            group = (bits & -bits).bit_length()
            if (port or group) and not self.privileged:
                raise PosixError(EPERM)
        if not self.port:
            self._hub.take_port(self, 0)
        if size > self.send_limit_bytes - 32:
            raise PosixError(EMSGSIZE)
        data = gather(self.network.memory, extents, size)
        if port:
            target = self._hub.find(self.protocol, port)
            if target is None or (target._peer[0] and target._peer[0] != self.port):
                raise PosixError(ECONNREFUSED)
            target.deliver(data, self.port, 0)
            return size
        uid = self.uid
        for level, kind, body in control:
            if (level, kind) == (SOL_SOCKET, SCM_CREDENTIALS) and len(body) >= CREDENTIALS.size:
                uid = CREDENTIALS.unpack(body[: CREDENTIALS.size])[1]
        self._hub.serve(self, data, uid, self.privileged and not uid)
        return size

    # Receiving ------------------------------------------------------------------------------

    def deliver(self, data: bytes, sender: int, group: int) -> None:
        """Queue a message, or lose it and say so."""
        if not self._inbox.put((data, sender, group), self.receive_limit_bytes):
            self.drops += 1
            if not self.is_on(abi.NO_ENOBUFS):
                self.error = ENOBUFS
                self.tell(POLLERR)
            return
        self.tell(IN)

    def begin_dump(self, asked: Message, answers: Iterator[Answer]) -> None:
        """Answer with all of `answers`, a part now and the rest as it is received. EBUSY."""
        if self._dump is not None:
            raise PosixError(EBUSY)
        self._dump = self._encoded(asked, answers)
        self._more()

    def _encoded(self, asked: Message, answers: Iterator[Answer]) -> Iterator[bytes]:
        """The messages of a dump: NLM_F_MULTI, and NLMSG_DONE at the end, which tells an error."""
        error, words, port = 0, "", self.port
        try:
            for kind, body in answers:
                yield encode(kind, abi.F_MULTI, asked.seq, port, body)
        except Refused as refused:
            error, words = refused.errno, refused.text
        except PosixError as refused:
            error = refused.errno
        told = abi.F_ACK_TLVS if words and self.is_on(abi.EXT_ACK) else 0
        done = struct.pack("<i", -error) + (text(abi.ERR_TEXT, words) if told else b"")
        yield encode(abi.NLMSG_DONE, abi.F_MULTI | told, asked.seq, port, done)

    def _more(self) -> None:
        """Queue a further part of a dump: as many whole messages as a receive has room for."""
        assert self._dump is not None
        parts, size = [self._carried] if self._carried else [], len(self._carried)
        self._carried = b""
        for part in self._dump:
            if parts and size + len(part) > self._part_bytes:
                self._carried = part
                break
            parts.append(part)
            size += len(part)
        else:
            self._dump = None
        self.deliver(b"".join(parts), 0, 0)

    def receive(self, extents: Extents, flags: int) -> Received:
        """recvmsg(2): one message of the queue; what has no room is lost."""
        if flags & sockets.MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        self.raise_error()
        if not self._inbox:
            raise PosixError(EAGAIN)
        room = total(extents)
        self._part_bytes = max(self._part_bytes, min(room, MAX_PART_BYTES))
        data, sender, group = self._inbox.first()
        count = scatter(self.network.memory, extents, data)
        if not flags & sockets.MSG_PEEK:
            self._inbox.drop_first()
            if self._dump is not None and 2 * self._inbox.charged_bytes <= self.receive_limit_bytes:
                self._more()
            self.refresh()
        extras: list[ControlMessage] = []
        if self.is_on(abi.PKTINFO):
            extras.append((abi.SOL_NETLINK, abi.PKTINFO, struct.pack("<I", group)))
        if self.kept.get((SOL_SOCKET, sockets.SO_PASSCRED)):
            extras.append((SOL_SOCKET, SCM_CREDENTIALS, CREDENTIALS.pack(0, 0, 0)))
        shown = sockets.MSG_TRUNC if count < len(data) else 0
        bits = 1 << group >> 1 if group <= 32 else 0
        name = NAME.pack(abi.AF_NETLINK, 0, sender, bits)
        whole = flags & sockets.MSG_TRUNC
        return Received(len(data) if whole else count, name, tuple(extras), shown)

    # Options --------------------------------------------------------------------------------

    def is_on(self, option: int) -> bool:
        """A switch of SOL_NETLINK."""
        return bool(self.kept.get((abi.SOL_NETLINK, option)))

    def get_option(self, level: int, option: int, given: bytes) -> bytes:
        """getsockopt(2)."""
        if level == SOL_SOCKET:
            return options.get(self, option)
        if level != abi.SOL_NETLINK:
            raise PosixError(ENOPROTOOPT)
        if option == abi.LIST_MEMBERSHIPS:
            words = (self.group_count + 31) // 32
            bits = sum(1 << group - 1 for group in self.groups)
            return bits.to_bytes(4 * words, "little")
        if option not in SWITCHES:
            raise PosixError(ENOPROTOOPT)
        return options.packed(int(self.is_on(option)))

    def set_option(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """setsockopt(2)."""
        if level == SOL_SOCKET:
            options.put(self, option, value, privileged)
            return
        if level != abi.SOL_NETLINK:
            raise PosixError(ENOPROTOOPT)
        if option in (abi.ADD_MEMBERSHIP, abi.DROP_MEMBERSHIP):
            self._join(options.integer(value), option == abi.ADD_MEMBERSHIP)
        elif option in SWITCHES:
            number = options.integer(value)
            if option == abi.LISTEN_ALL_NSID and not privileged:
                raise PosixError(EPERM)
            self.kept[abi.SOL_NETLINK, option] = int(bool(number))
        else:
            raise PosixError(ENOPROTOOPT)

    def _join(self, group: int, join: bool) -> None:
        if not 1 <= group <= self.group_count:
            raise PosixError(EINVAL)
        if join:
            self.groups.add(group)
        else:
            self.groups.discard(group)
        self._hub.groups_changed()

    def close(self, wait: bool) -> bool:
        """Nothing lingers."""
        self.closed = True
        self._hub.remove(self)
        self._inbox.clear()
        self._dump = None
        return False


def _decode(name: bytes) -> tuple[int, int]:
    """(port, bits of groups) of a sockaddr_nl; EINVAL."""
    if len(name) < NAME.size:
        raise PosixError(EINVAL)
    family, _, port, bits = NAME.unpack(name[: NAME.size])
    if family != abi.AF_NETLINK:
        raise PosixError(EINVAL)
    return port, bits
