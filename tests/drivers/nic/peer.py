"""A guest behind the gateway: our own TCP and a few lines of IP, over the rings."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import trio

from services.drivers.nic.service import NicService
from services.drivers.nic.settings import Network, Published
from services.drivers.nic.user import plan
from services.net.proto import arp, ethernet, icmp, ipv4, ipv6, udp
from services.net.proto.packet import GSO_TCPV4, GSO_TCPV6, Frame, Packet
from services.net.tcp import segment as tcp_segment
from services.net.tcp.limits import Limits, PathInfo, Settings
from services.net.tcp.state import CLOSE, SYN_SENT
from services.net.tcp.table import Tcp
from tests.drivers.nic.guest import Net

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.net.tcp.connection import Connection

GUEST_MAC = plan.GUEST_MAC


class Stream:
    """A blocking socket, more or less, over a connection of the guest's."""

    def __init__(self, guest: Guest, connection: Connection) -> None:
        self.guest = guest
        self.connection = connection
        self._changed = trio.Event()
        connection.on_change = self._on_change

    def _on_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        with trio.fail_after(30):
            await self._changed.wait()

    async def connect(self) -> None:
        """ConnectionRefusedError and the like, as connect(2)."""
        while self.connection.state is SYN_SENT:
            await self.change()
        if self.connection.error:
            raise OSError(self.connection.error, os.strerror(self.connection.error))

    async def send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            self.guest.enter()
            count = self.connection.write(view)
            self.guest.leave()
            view = view[count:]
            if count:
                await trio.lowlevel.checkpoint()
                continue
            if self.connection.error or self.connection.state is CLOSE:
                raise BrokenPipeError
            await self.change()

    async def receive_some(self, limit: int = 65536) -> bytes:
        while True:
            self.guest.enter()
            data = self.connection.read(limit)
            self.guest.leave()
            if data:
                return bytes(data)
            if self.connection.error:
                raise OSError(self.connection.error, os.strerror(self.connection.error))
            if self.connection.at_eof:
                return b""
            await self.change()

    async def receive_all(self) -> bytes:
        return b"".join([piece async for piece in self._pieces()])

    async def _pieces(self) -> AsyncIterator[bytes]:
        while data := await self.receive_some():
            yield data

    def shutdown(self) -> None:
        self.guest.enter()
        self.connection.shutdown_write()
        self.guest.leave()

    def close(self) -> None:
        self.guest.enter()
        self.connection.close()
        self.guest.leave()

    def abort(self) -> None:
        self.guest.enter()
        self.connection.abort()
        self.guest.leave()


class Guest(Net):
    """Made inside Trio; `run` serves card, back end and timers."""

    def __init__(self, *published: Published, pcap: str | None = None) -> None:
        super().__init__()
        self.service = NicService(self.ram, self.wires, Network("user"), published, pcap)
        path = PathInfo(plan.MTU, gso=True)
        self.tcp = Tcp(
            output=lambda packet, connection: self.output(packet),
            path=lambda dst, src: path,
            random=os.urandom,
            limits=Limits(fusing=False),
        )
        self.on_frame = self.input
        self.wires.interrupt = self._interrupt
        self._busy = self._owed = False
        self.ports = itertools.count(20000)
        self.datagrams: list[tuple[bytes, int, int, bytes]] = []
        self.messages: list[tuple[bytes, icmp.Message]] = []
        self.neighbours: dict[bytes, bytes] = {}
        self.arrived = trio.Event()
        self.fragments: list[bytes] = []
        self._stopped = trio.Event()

    @property
    def backend(self) -> Any:
        return self.service.backend

    def enter(self) -> None:
        """Before each call of `tcp`, which must not be called from within its own output."""
        self._busy = True
        self.tcp.now_ns = time.monotonic_ns()

    def leave(self) -> None:
        """After it: take in what came meanwhile."""
        self._busy = False
        if self._owed:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._busy:
            self._owed = True
            return
        self._busy, self._owed = True, False
        self.tcp.now_ns = time.monotonic_ns()
        self.drain()
        self._busy = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                await nursery.start(self.service.run)
                await self.attach(self.service)
                nursery.start_soon(self._timers)
                task_status.started()
        finally:
            self.service.close()
            self._stopped.set()

    async def stop(self) -> None:
        """Stop the card as the supervisor does: cancel, wait, close."""
        self._scope.cancel()
        await self._stopped.wait()

    async def _timers(self) -> None:
        while True:
            self.enter()
            self.tcp.run_timers()
            self.leave()
            await trio.sleep(0.01)

    # frames

    def input(self, frame: memoryview, checked: bool) -> None:
        dst, src, kind = ethernet.decode(frame)
        assert dst == GUEST_MAC
        assert src == plan.GATEWAY_MAC
        if kind == ethernet.ARP:
            answer = arp.decode(frame[14:])
            self.neighbours[answer.sender] = answer.sender_mac
            self._tell()
            return
        data = frame[14:]
        head = ipv4.decode(data) if kind == ethernet.IPV4 else ipv6.decode(data)
        payload = data[head.start : head.end]
        if head.more_fragments or head.fragment_at:
            self.fragments.append(bytes(payload))
            if head.more_fragments:
                return
            payload, checked = memoryview(b"".join(self.fragments)), False
            self.fragments.clear()
        if head.proto == 6:
            segment = tcp_segment.decode(payload, head.src, head.dst, checked)
            self.tcp.input(Packet(6, head.src, head.dst, segment))
        elif head.proto == 17:
            datagram = udp.decode(payload, head.src, head.dst, checked)
            self.datagrams.append(
                (head.src, datagram.source_port, datagram.target_port, bytes(datagram.data))
            )
            self._tell()
        else:
            message = icmp.decode(payload, head.src, head.dst, checked)
            message.body = bytes(message.body)
            self.messages.append((head.src, message))
            self._tell()

    def _tell(self) -> None:
        self.arrived.set()
        self.arrived = trio.Event()

    def output(self, packet: Packet, ident: int = 7) -> None:
        src, dst, payload = packet.src, packet.dst, packet.payload
        parts = payload.encode(src, dst, True)
        length = sum(map(len, parts))
        v4 = len(dst) == 4
        kind = ethernet.IPV4 if v4 else ethernet.IPV6
        link = ethernet.header(plan.GATEWAY_MAC, GUEST_MAC, kind)
        if v4:
            ip = ipv4.header(src, dst, packet.proto, length, packet.ttl, 0, ident, 0x4000)
        else:
            ip = ipv6.header(src, dst, packet.proto, length, packet.ttl, 0)
        head = link + ip + parts[0]
        if payload.checksum_at < 0:
            self.transmit(Frame([head, *parts[1:]]))
            return
        gso = payload.gso_bytes
        kind = (GSO_TCPV4 if v4 else GSO_TCPV6) if gso else 0
        frame = [head, *parts[1:]]
        size = len(head) if gso else 0
        self.transmit(Frame(frame, 14 + len(ip), payload.checksum_at, kind, gso, size))

    # what programs do

    async def open(self, address: bytes, port: int, settings: Settings | None = None) -> Stream:
        self.enter()
        source = plan.guest_of(address), next(self.ports)
        stream = Stream(self, self.tcp.open(source, (address, port), settings or Settings()))
        self.leave()
        await stream.connect()
        return stream

    def send_datagram(self, port: int, address: bytes, target: int, data: bytes) -> None:
        datagram = udp.Datagram(port, target, data)
        self.output(Packet(17, plan.guest_of(address), address, datagram))

    async def datagram(self) -> tuple[bytes, int, int, bytes]:
        while not self.datagrams:
            with trio.fail_after(10):
                await self.arrived.wait()
        return self.datagrams.pop(0)

    async def message(self) -> tuple[bytes, icmp.Message]:
        while not self.messages:
            with trio.fail_after(10):
                await self.arrived.wait()
        return self.messages.pop(0)

    def listen(self, port: int, backlog: int = 128) -> Listener:
        return Listener(self, port, backlog)


class Listener:
    """A listening socket of the guest's."""

    def __init__(self, guest: Guest, port: int, backlog: int) -> None:
        self.guest = guest
        self._changed = trio.Event()
        guest.enter()
        self.listener = guest.tcp.listen(None, port, 3, backlog, Settings())
        self.listener.on_change = self._on_change
        guest.leave()

    def _on_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def accept(self) -> Stream:
        while not self.listener.accepted:
            with trio.fail_after(30):
                await self._changed.wait()
        return Stream(self.guest, self.listener.accepted.popleft())
