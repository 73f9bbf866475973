"""Does a tap carry frames both ways, and is what the host refuses told with its cure?"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from services.drivers.nic import tap
from services.drivers.nic.service import NicService
from services.drivers.nic.settings import LinkRefused, Network
from services.net.proto.checksum import checksum
from services.net.proto.packet import Frame
from tests.drivers.nic.guest import Net

if TYPE_CHECKING:
    from collections.abc import Iterator

GUEST, HOST = bytes([198, 18, 77, 2]), bytes([198, 18, 77, 1])  # RFC 2544's range, for tests
UDP_AT = 34


def _usable() -> bool:
    try:
        os.close(tap._open("htprobe"))
    except LinkRefused:
        return False
    return True


needs_tap = pytest.mark.skipif(not _usable(), reason="needs root and /dev/net/tun")


class Machine:
    """A card on a tap and a guest that answers ARP and echoes UDP to its sender."""

    def __init__(self, name: str) -> None:
        self.net = Net()
        network = Network("tap", name, GUEST, 24, HOST)
        self.service = NicService(self.net.ram, self.net.wires, network)
        self.mac = self.service.backend.card.mac
        self.net.on_frame = self.answer
        self.echoed = 0

    def answer(self, frame: memoryview, checked: bool) -> None:
        data = bytes(frame)
        ethernet = data[6:12] + self.mac + data[12:14]
        if data[12:14] == b"\x08\x06" and data[38:42] == GUEST:
            arp = data[14:20] + b"\0\2" + self.mac + GUEST + data[22:32]
            self.net.transmit(Frame([ethernet + arp]))
        elif data[12:14] == b"\x08\0" and data[23] == socket.IPPROTO_UDP:
            ip = data[14:24] + b"\0\0" + data[30:34] + data[26:30]
            ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
            udp = data[UDP_AT + 2 : UDP_AT + 4] + data[UDP_AT : UDP_AT + 2] + data[UDP_AT + 4 :][:2]
            self.echoed += 1
            self.net.transmit(Frame([ethernet + ip, udp + b"\0\0" + data[UDP_AT + 8 :]]))


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine("httap0")
    yield made
    made.service.close()
    assert "httap0" not in [name for _, name in socket.if_nameindex()]


@needs_tap
async def test_frames_cross_both_ways(machine: Machine, nursery: trio.Nursery) -> None:
    await nursery.start(machine.service.run)
    await machine.net.attach(machine.service)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        await host.connect(("198.18.77.2", 7))
        with trio.fail_after(10):
            for size in (1, 1000, 1472):
                await host.send(b"x" * size)
                assert len(await host.recv(2000)) == size
    counters = machine.service.counters()
    assert counters["sent_frames"] >= 4
    assert counters["received_frames"] >= 4


@needs_tap
async def test_frames_wait_for_receive_buffers(machine: Machine, nursery: trio.Nursery) -> None:
    net = machine.net
    await nursery.start(machine.service.run)
    await net.attach(machine.service)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        await host.connect(("198.18.77.2", 7))
        await host.send(b"first")
        with trio.fail_after(10):
            await host.recv(100)
        net.refill = False
        held = net.receive.outstanding
        for number in range(held + 20):
            await host.send(b"%d" % number)
        while net.receive.outstanding:
            await trio.testing.wait_all_tasks_blocked(0.05)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert net.received <= held + 10
        net.refill = True
        machine.service.rings.detach()
        net.reset()
        await net.attach(machine.service)
        with trio.fail_after(10):
            got = [await host.recv(100) for _ in range(held + 15)]  # the host may lose ARP's
    assert got[0] == b"0"


@needs_tap
async def test_a_queue_in_use_is_busy(machine: Machine) -> None:
    with pytest.raises(LinkRefused, match=r"tap httap0: .*busy .another program"):
        NicService(machine.net.ram, machine.net.wires, Network("tap", "httap0"))


@needs_tap
def test_an_interface_of_another_kind_is_refused() -> None:
    net = Net()
    with pytest.raises(LinkRefused, match=r"tap lo: .*choose another name"):
        NicService(net.ram, net.wires, Network("tap", "lo"))


@needs_tap
def test_an_interface_that_was_there_is_left_as_it_was() -> None:
    name = "httap1"
    keeper = os.open("/dev/net/tun", os.O_RDWR)
    flags = tap._IFF_TAP | tap._IFF_NO_PI | tap._IFF_VNET_HDR
    fcntl.ioctl(keeper, tap._TUNSETIFF, tap._ifreq(name, struct.pack("=H", flags)))
    fcntl.ioctl(keeper, 0x400454CB, 1)  # TUNSETPERSIST
    os.close(keeper)
    net = Net()
    try:
        NicService(net.ram, net.wires, Network("tap", name, GUEST, 24, HOST)).close()
        control = tap._Control(name)
        (found,) = struct.unpack_from("=h", control.ask(tap._SIOCGIFFLAGS))
        control.close()
        assert not found & tap._IFF_UP
    finally:
        keeper = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(keeper, tap._TUNSETIFF, tap._ifreq(name, struct.pack("=H", flags)))
        fcntl.ioctl(keeper, 0x400454CB, 0)
        os.close(keeper)


def test_without_the_right_or_the_module_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(number: int) -> None:
        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "open", fail)
        tap._open("ht0")

    with pytest.raises(LinkRefused, match=r"/dev/net/tun: No such file .*modprobe tun"):
        refused(2)
    with pytest.raises(LinkRefused, match=r"/dev/net/tun: Permission denied .let this user"):
        refused(13)
