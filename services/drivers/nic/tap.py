"""The back end `tap`: an Ethernet interface of the host's, whose other end is the guest.

Frames go from RAM to the host and back with writev(2) and readv(2), virtio_net_hdr and all
(IFF_VNET_HDR), so checksums and segmentation are left to whoever needs them at last. See
Documentation/networking/tuntap.rst and <linux/if_tun.h>.

An interface that is not there is made, and goes when we do; it is brought up, and given the
guest's gateway as its own address, if there is one. One that is there is used as it is found.

While net has no receive buffers, nothing is read: the host's queue for the interface fills, and
then the host drops.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import struct
from typing import TYPE_CHECKING

import trio

from services.drivers.nic.api import Card, Suggested
from services.drivers.nic.rings import HEADER_BYTES
from services.drivers.nic.settings import LinkRefused, Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.drivers.nic.card import Rings
    from services.drivers.nic.link import Link

_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6 = 0x01, 0x02, 0x04
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_SIOCGIFMTU, _SIOCGIFHWADDR = 0x8921, 0x8927
_IFF_UP = 1
_IFREQ_BYTES = 40

BATCH_FRAMES = 64
"""Frames read at most before other tasks have their turn."""

_CURES = {
    errno.EPERM: "run as root, or make it first: ip tuntap add {0} mode tap user $USER vnet_hdr",
    errno.EACCES: "let this user open /dev/net/tun, or run as root",
    errno.ENOENT: "load it: modprobe tun; in a container: --device /dev/net/tun",
    errno.ENODEV: "load it: modprobe tun; in a container: --device /dev/net/tun",
    errno.EBUSY: "another program has it open; choose another name",
    errno.EINVAL: "ip link show {0}: it is there and no tap device; choose another name",
}


def _ifreq(name: str, rest: bytes) -> bytes:
    return name.encode().ljust(16, b"\0") + rest.ljust(_IFREQ_BYTES - 16, b"\0")


def _exists(name: str) -> bool:
    return any(found == name for _, found in socket.if_nameindex())


def _address(address: bytes) -> bytes:
    return struct.pack("=HH4s", socket.AF_INET, 0, address)


class _Control:
    """ioctls on an interface by its name, netdevice(7)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def ask(self, number: int, rest: bytes = b"") -> bytes:
        answer: bytes = fcntl.ioctl(self._socket, number, _ifreq(self._name, rest))
        return answer[16:]

    def bring_up(self) -> None:
        flags = struct.unpack_from("=h", self.ask(_SIOCGIFFLAGS))[0]
        self.ask(_SIOCSIFFLAGS, struct.pack("=h", flags | _IFF_UP))

    def set_address(self, address: bytes, prefix_bits: int) -> None:
        mask = (0xFFFFFFFF << (32 - prefix_bits) & 0xFFFFFFFF).to_bytes(4, "big")
        self.ask(_SIOCSIFADDR, _address(address))
        self.ask(_SIOCSIFNETMASK, _address(mask))

    def close(self) -> None:
        self._socket.close()


def _open(name: str) -> int:
    """A non-blocking descriptor of the tap, set up for virtio_net_hdr. LinkRefused."""
    step = "/dev/net/tun"
    fd = -1
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        step = f"tap {name}"
        flags = struct.pack("=H", _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(fd, _TUNSETIFF, _ifreq(name, flags))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("=i", HEADER_BYTES))
        fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        cure = _CURES.get(error.errno or 0, "see ip-tuntap(8)").format(name)
        raise LinkRefused(f"network: {step}: {os.strerror(error.errno or 0)}", cure) from error
    return fd


class Tap:
    """A tap interface, open from construction to `close`. LinkRefused: the host will not."""

    def __init__(self, network: Network, link: Link, rings: Rings) -> None:
        self._link = link
        self._rings = rings
        link.sender = self
        made = not _exists(network.tap)
        self._fd = _open(network.tap)
        try:
            self.card = self._describe(network, made)
        except OSError as error:
            os.close(self._fd)
            raise LinkRefused(
                f"network: tap {network.tap}: {os.strerror(error.errno or 0)}",
                "set it up by hand with ip(8)",
            ) from error
        self.send_dropped = 0
        """Frames that the host refused (the interface is down, a header it does not take)."""
        self._blocked: trio.Event | None = None

    def _describe(self, network: Network, made: bool) -> Card:
        with contextlib.closing(_Control(network.tap)) as control:
            if made:
                if len(network.gateway) == 4:
                    control.set_address(network.gateway, network.prefix_bits)
                control.bring_up()
            mtu = struct.unpack_from("=i", control.ask(_SIOCGIFMTU))[0]
            host_mac = control.ask(_SIOCGIFHWADDR)[2:8]
        digest = hashlib.sha256(network.tap.encode() + host_mac).digest()
        address = network.address
        return Card(
            "tap",
            b"\x02" + digest[:5],  # locally administered; two guests on a bridge must differ
            mtu,
            offload=True,
            addresses=(Suggested(address, network.prefix_bits, network.gateway),)
            if address
            else (),
            name_servers=(network.name_server,) if network.name_server else (),
        )

    def send(self, frame: list[memoryview]) -> bool:
        """Hand one frame to the host; False if its queue is full."""
        try:
            os.writev(self._fd, frame)
        except BlockingIOError:
            if self._blocked is not None:
                self._blocked.set()
            return False
        except OSError:
            self.send_dropped += 1
        return True

    def settle(self) -> None:
        """Nothing is put off."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move frames until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._resume)
            task_status.started()
            await self._read()

    async def _resume(self) -> None:
        while True:
            self._blocked = trio.Event()
            await self._blocked.wait()
            await trio.lowlevel.wait_writable(self._fd)
            self._rings.resume()

    async def _read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            for _ in range(BATCH_FRAMES):
                views = self._link.reserve()
                if views is None:
                    self._link.flush()
                    await self._room()
                    break
                try:
                    length = os.readv(self._fd, views)
                except BlockingIOError:
                    break
                views[0][10:12] = b"\1\0"  # `buffers`, which the host leaves alone
                self._link.commit(length)
            self._link.flush()

    async def _room(self) -> None:
        room = trio.Event()
        self._rings.on_room = room.set
        await room.wait()

    def counters(self) -> Mapping[str, int]:
        """What the host did not take."""
        return {"dropped_by_host": self.send_dropped}

    def close(self) -> None:
        """Close the interface; one that we made is gone then."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
