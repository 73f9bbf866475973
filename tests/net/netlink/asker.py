"""A network with one Ethernet interface, and somebody who asks it by netlink."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.api import Board
from services.net.netlink import abi
from services.net.netlink.message import Message, attributes, encode, split
from services.net.netlink.socket import NetlinkSocket
from services.net.socket.network import Network
from tests.net.proto.scapyoracle import ip

if TYPE_CHECKING:
    from services.net.proto.packet import Frame

MAC = bytes.fromhex("525400123456")
OWN, GATEWAY = ip("10.0.2.15"), ip("10.0.2.2")
EAGAIN = 11
BUFFER_BYTES = 65536
NS_PER_S = 1_000_000_000


class Asker:
    """`ask` is one request; answers are messages, errors are raised."""

    def __init__(self, protocol: int = abi.NETLINK_ROUTE, *, privileged: bool = True) -> None:
        self.memory = memoryview(bytearray(2 * BUFFER_BYTES))
        self.network = Network(Board(), self.memory, random.Random(4).randbytes)
        self.sent: list[Frame] = []
        stack = self.network.stack
        self.eth = stack.add_interface("eth0", MAC, 1500, self.sent.append, offload=True, gso=True)
        self.eth.accept_ra = False
        stack.set_up(self.eth.index, True)
        stack.add_address(self.eth.index, OWN, 24)
        self.socket = self.open(protocol, privileged=privileged)
        self.seq = 0

    def open(
        self, protocol: int = abi.NETLINK_ROUTE, *, privileged: bool = True, pid: int = 77
    ) -> NetlinkSocket:
        made = self.network.open(abi.AF_NETLINK, 3, protocol, 5, 0 if privileged else 1000,
                                 privileged, pid)  # fmt: skip
        assert isinstance(made, NetlinkSocket)
        return made

    def send(self, data: bytes, socket: NetlinkSocket | None = None, name: bytes = b"") -> int:
        self.memory[: len(data)] = data
        return (socket or self.socket).send([(0, len(data))], 0, name, ())

    def receive(
        self, socket: NetlinkSocket | None = None, room: int = BUFFER_BYTES, flags: int = 0
    ) -> bytes:
        got = (socket or self.socket).receive([(BUFFER_BYTES, room)], flags)
        return self.memory[BUFFER_BYTES : BUFFER_BYTES + min(got.count, room)].tobytes()

    def pending(self, socket: NetlinkSocket | None = None) -> list[Message]:
        """All that is to be received."""
        found: list[Message] = []
        while True:
            try:
                found += split(self.receive(socket))
            except PosixError as error:
                if error.errno != EAGAIN:
                    raise
                return found

    def request(self, kind: int, body: bytes, flags: int = 0) -> bytes:
        self.seq += 1
        return encode(kind, flags | abi.F_REQUEST, self.seq, 0, body)

    def ask(self, kind: int, body: bytes, flags: int = 0) -> list[Message]:
        """What the kernel answers; of NLMSG_ERROR a failure is raised, NLMSG_DONE is left out."""
        self.send(self.request(kind, body, flags))
        answers = self.pending()
        for answer in answers:
            assert answer.seq == self.seq
            if answer.type in (abi.NLMSG_ERROR, abi.NLMSG_DONE):
                (error,) = struct.unpack("<i", answer.body[:4])
                if error:
                    raise PosixError(-error)
        return [a for a in answers if a.type not in (abi.NLMSG_ERROR, abi.NLMSG_DONE)]

    def dump(self, kind: int, body: bytes, size: int) -> list[dict[int, bytes]]:
        """The attributes of all that there is, behind a fixed part of `size` bytes."""
        return [attributes(answer.body[size:]) for answer in self.ask(kind, body, abi.F_DUMP)]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and let every timer go off on the way."""
        network = self.network
        end_ns = network.now_ns + int(seconds * NS_PER_S)
        while (at_ns := network.next_deadline_ns) is not None and at_ns <= end_ns:
            network.now_ns = max(at_ns, network.now_ns)
            network.run_timers()
        network.now_ns = end_ns
