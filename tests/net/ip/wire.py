"""Stacks on a simulated wire, with what they deliver and what crosses."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from services.net.ip.stack import Stack
from services.net.proto import gso, icmp, udp
from services.net.proto.packet import Frame, Packet
from tests.net.proto.scapyoracle import ip

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.interface import Interface
    from services.net.proto.icmp import IcmpError

MAC_A, MAC_B = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
A, B = ip("10.0.0.1"), ip("10.0.0.2")
A6, B6 = ip("fd00::1"), ip("fd00::2")
SECOND = 1_000_000_000


class Station:
    """A stack with one Ethernet interface, and records of what came of what it got."""

    def __init__(
        self,
        mac: bytes = MAC_A,
        mtu: int = 1500,
        *,
        offload: bool = False,
        gso: bool = False,
        v4: bytes | None = A,
        v6: bytes | None = A6,
    ) -> None:
        self.stack = Stack(os.urandom)
        self.sent: list[Frame] = []
        self.to: Callable[[Frame], None] = self.sent.append
        self.eth: Interface = self.stack.add_interface(
            "eth0", mac, mtu, lambda frame: self.to(frame), offload=offload, gso=gso
        )
        self.datagrams: list[Packet] = []
        self.errors: list[IcmpError] = []
        self.stack.decoders[17] = udp.decode
        self.stack.protocols[17] = self.datagrams.append
        self.stack.on_icmp_error = self.errors.append
        self.eth.accept_ra = False
        self.stack.set_up(self.eth.index, True)
        if v4 is not None:
            self.stack.add_address(self.eth.index, v4, 24)
        if v6 is not None and mtu >= 1280:
            self.stack.add_address(self.eth.index, v6, 64)
        self.sent.clear()

    def hear(self, wire: bytes, checked: bool = False) -> None:
        """A frame from the wire."""
        self.stack.input(self.eth.index, memoryview(wire), checked)

    def said(self) -> list[bytes]:
        """The frames sent since asked last, whole."""
        frames = [b"".join(frame.parts) for frame in self.sent]
        self.sent.clear()
        return frames

    def pass_time(self, ns: int) -> None:
        """Let time pass, and let every timer go off on the way."""
        end_ns = self.stack.now_ns + ns
        while (at_ns := self.stack.next_deadline_ns) is not None and at_ns <= end_ns:
            self.stack.now_ns = max(at_ns, self.stack.now_ns)
            self.stack.run_timers()
        self.stack.now_ns = end_ns

    def pump(self) -> None:
        """Deliver all that loopback holds."""
        while self.stack.pump():
            pass

    def send_udp(
        self, src: bytes, dst: bytes, data: bytes, *, ports: tuple[int, int] = (1000, 2000)
    ) -> None:
        """Send a datagram."""
        self.stack.output(Packet(17, src, dst, udp.Datagram(*ports, data)))

    def ping(self, src: bytes, dst: bytes, data: bytes = b"ping") -> None:
        """Send an echo request."""
        kind, proto = (icmp.ECHO, 1) if len(src) == 4 else (128, 58)
        self.stack.output(Packet(proto, src, dst, icmp.Message(kind, 0, 0x00070001, data)))


class Wire:
    """Two stations joined. Frames wait until `run` carries them over, cut and checksummed."""

    def __init__(self, left: Station, right: Station) -> None:
        self.stations = (left, right)
        self.queue: deque[tuple[Station, bytes, bool]] = deque()
        self.carried = 0
        self.longest = 0
        left.to = lambda frame: self._carry(right, frame)
        right.to = lambda frame: self._carry(left, frame)

    def _carry(self, to: Station, frame: Frame) -> None:
        for piece in gso.split(frame):
            self.queue.append((to, b"".join(piece.parts), False))

    def run(self) -> None:
        """Carry frames until all is quiet."""
        while self.queue:
            to, wire, checked = self.queue.popleft()
            self.carried += 1
            self.longest = max(self.longest, len(wire))
            to.hear(wire, checked)
            to.pump()


def pair(mtu: int = 1500, **kwargs: bool) -> tuple[Station, Station, Wire]:
    """Two stations on one wire."""
    left = Station(MAC_A, mtu, **kwargs)
    right = Station(MAC_B, mtu, v4=B, v6=B6, **kwargs)
    return left, right, Wire(left, right)
