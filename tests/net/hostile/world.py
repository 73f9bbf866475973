"""A server and an honest client on one Ethernet, and an attacker who may put anything on it.

The server echoes what it gets, over TCP and UDP, like a program would: through sockets. The client
is a second network of the same kind. Time passes only when asked to.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from errno import EAGAIN
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.api import Board
from services.net.proto import ethernet
from services.net.socket import names
from services.net.socket.abi import AF_INET, AF_INET6, DATAGRAM, IPPROTO_ICMP, RAW, STREAM
from services.net.socket.network import Network
from services.net.socket.stream import TcpSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.proto.packet import Frame
    from services.net.socket.base import NetSocket

SECOND = 1_000_000_000
MAC_SERVER, MAC_CLIENT, MAC_ATTACKER = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 0xAA))
SERVER, CLIENT, ATTACKER = (bytes((10, 0, 0, n)) for n in (1, 2, 0xC8))
SERVER6, CLIENT6, ATTACKER6 = (b"\xfd" + bytes(14) + bytes((n,)) for n in (1, 2, 0xC8))
ECHO = 7
ROOM = 1 << 16
LATENCY_NS = SECOND // 1000


class Host:
    """A `Network` with one interface, and memory of which programs' buffers are a part."""

    def __init__(self, mac: bytes, v4: bytes, v6: bytes, seed: int) -> None:
        self.memory = memoryview(bytearray(2 * ROOM))
        self.network = network = Network(Board(), self.memory, random.Random(seed).randbytes)
        network.now_ns = 1000 * SECOND
        self.mac = mac
        self.frames: deque[bytes] = deque()
        self.eth = network.stack.add_interface(
            "eth0", mac, 1500, self._transmit, offload=False, gso=False
        )
        network.stack.set_up(self.eth.index, True)
        network.stack.add_address(self.eth.index, v4, 24)
        network.stack.add_address(self.eth.index, v6, 64)

    def _transmit(self, frame: Frame) -> None:
        self.frames.append(b"".join(frame.parts))

    def hear(self, frame: bytes) -> None:
        """A frame from the wire, and what comes of it."""
        self.network.stack.input(self.eth.index, memoryview(frame), False)
        self.network.settle()

    def open(self, family: int, kind: int, protocol: int = 0) -> NetSocket:
        """socket(2), by root."""
        return self.network.open(family, kind, protocol, 1, 0, True)

    def write(self, socket: NetSocket, data: bytes) -> int:
        """write(2): bytes taken, 0 for EAGAIN."""
        self.memory[: len(data)] = data
        try:
            return socket.write([(0, len(data))])
        except PosixError as error:
            if error.errno == EAGAIN:
                return 0
            raise
        finally:
            self.network.settle()

    def read(self, socket: NetSocket, limit: int = ROOM) -> bytes | None:
        """read(2): None for EAGAIN."""
        try:
            count = socket.read([(ROOM, limit)])
        except PosixError as error:
            if error.errno == EAGAIN:
                return None
            raise
        finally:
            self.network.settle()
        return bytes(self.memory[ROOM : ROOM + count])


class Server(Host):
    """Echoes on port 7. A connection whose number is in `deaf` is never read."""

    def __init__(self, seed: int = 1, backlog: int = 64) -> None:
        super().__init__(MAC_SERVER, SERVER, SERVER6, seed)
        self.listener = self.open(AF_INET6, STREAM)
        assert isinstance(self.listener, TcpSocket)
        self.listener.bind(names.encode(names.ANY6, ECHO, AF_INET6), True)
        self.listener.listen(backlog)
        self.udp = self.open(AF_INET6, DATAGRAM)
        self.udp.bind(names.encode(names.ANY6, ECHO, AF_INET6), True)
        self.raw = self.open(AF_INET, RAW, IPPROTO_ICMP)
        self.accepting = True
        self.reads: Callable[[TcpSocket], bool] = lambda socket: True
        self.children: list[TcpSocket] = []
        self._unsent: dict[int, bytes] = {}
        for address, mac in ((CLIENT, MAC_CLIENT), (CLIENT6, MAC_CLIENT)):
            # Whoever is on the link can lie about neighbours; that is not what is tried here.
            self.network.stack.neighbours.set_permanent(self.eth, address, mac)

    def serve(self) -> None:
        """What the server's program does when it is woken."""
        while self.accepting and self.listener.ready():
            child = self.network.admit(self.listener.accept(1, 0))
            assert isinstance(child, TcpSocket)
            self.children.append(child)
        for child in list(self.children):
            if self.reads(child):
                self._echo(child)
        while self.read(self.udp) is not None:
            pass
        while self.read(self.raw) is not None:
            pass

    def _echo(self, child: TcpSocket) -> None:
        try:
            unsent = self._unsent.pop(child.handle, b"")
            while True:
                if not unsent:
                    data = self.read(child, 4096)
                    if data is None:
                        return
                    if not data:
                        break
                    unsent = data
                taken = self.write(child, unsent)
                if not taken:
                    self._unsent[child.handle] = unsent
                    return
                unsent = unsent[taken:]
        except PosixError:
            pass
        self.children.remove(child)
        self.network.close(child, False)


class Wire:
    """The link: what each host sends arrives at whom it is for; the attacker sees what is sent."""

    def __init__(self, seed: int = 1, backlog: int = 64) -> None:
        self.server = Server(seed, backlog)
        self.client = Host(MAC_CLIENT, CLIENT, CLIENT6, seed + 1)
        self.seen: deque[bytes] = deque(maxlen=4096)
        """What the server has sent that was not for the client alone."""
        self._bystanders = [self.connect(SERVER, AF_INET), self.connect(SERVER6, AF_INET6)]
        self._number = 0

    @property
    def now_ns(self) -> int:
        """MONOTONIC of both."""
        return self.server.network.now_ns

    def settle(self) -> None:
        """Carry frames until none is left, the server's program included."""
        server, client = self.server, self.client
        while True:
            server.serve()
            if not server.frames and not client.frames:
                return
            while server.frames:
                frame = server.frames.popleft()
                if frame[:6] != MAC_CLIENT:
                    self.seen.append(frame)
                if frame[:6] == MAC_CLIENT or frame[0] & 1:
                    client.hear(frame)
            while client.frames:
                frame = client.frames.popleft()
                if frame[:6] == MAC_SERVER or frame[0] & 1:
                    server.hear(frame)

    def attack(self, *frames: bytes) -> None:
        """Frames from the attacker; the server's program does not run in between."""
        for frame in frames:
            self.server.hear(frame)

    def pass_time(self, ns: int) -> None:
        """Let time pass, timers going off and frames crossing on the way."""
        end_ns = self.now_ns + ns
        self.settle()
        while True:
            deadlines = [host.network.next_deadline_ns for host in (self.server, self.client)]
            known = [at for at in deadlines if at is not None and at <= end_ns]
            if not known:
                break
            now_ns = max(min(known), self.now_ns)
            for host in (self.server, self.client):
                host.network.now_ns = now_ns
                host.network.run_timers()
            self.settle()
        for host in (self.server, self.client):
            host.network.now_ns = end_ns

    def connect(self, address: bytes, family: int) -> TcpSocket:
        """A new connection of the client's, established."""
        socket = self.client.open(family, STREAM)
        assert isinstance(socket, TcpSocket)
        with contextlib.suppress(PosixError):  # EINPROGRESS
            socket.connect(names.encode(address, ECHO, family))
        self.client.network.settle()
        for _ in range(100):
            if socket.ready() & 4:  # POLLOUT
                break
            self.pass_time(SECOND // 10)
        assert socket.ready() & 0x1C == 4, "no connection to the server"
        return socket

    def exchange(self, socket: TcpSocket, size: int = 3000) -> None:
        """The client sends, and gets the same back; AssertionError."""
        self._number += 1
        data = random.Random(self._number).randbytes(size)
        assert self.client.write(socket, data) == size
        got = b""
        for _ in range(100):
            self.settle()
            while (piece := self.client.read(socket)) is not None:
                assert piece, "the server has closed"
                got += piece
            if len(got) >= size:
                break
            self.pass_time(SECOND // 10)
        assert got == data

    def check_bystanders(self) -> None:
        """Connections that were there before still carry what they should, in both families."""
        for socket in self._bystanders:
            self.exchange(socket)

    def check_newcomer(self) -> None:
        """A new connection can be made, used and closed."""
        socket = self.connect(SERVER, AF_INET)
        self.exchange(socket)
        self.client.network.close(socket, False)
        self.settle()


def ether(payload: bytes, kind: int = ethernet.IPV4, target: bytes = MAC_SERVER) -> bytes:
    """A frame of the attacker's."""
    return ethernet.header(target, MAC_ATTACKER, kind) + payload
