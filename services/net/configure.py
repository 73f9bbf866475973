"""netdevice(7): the ioctls that ifconfig, glibc and others ask interfaces with.

An argument is a `struct ifreq` (40 bytes: name, then a union), answered as Linux fills it in.
"""

from __future__ import annotations

import struct
from errno import EADDRNOTAVAIL, EINVAL, ENODEV, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket.abi import AF_INET

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.interface import Interface
    from services.net.socket.network import Network

SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8910, 0x8912, 0x8913, 0x8914
SIOCGIFADDR, SIOCSIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR = 0x8915, 0x8916, 0x8917, 0x8919
SIOCGIFNETMASK, SIOCSIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU = 0x891B, 0x891C, 0x891D, 0x8921
SIOCSIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFTXQLEN = 0x8922, 0x8927, 0x8933, 0x8942
SIOCGIFMAP, SIOCETHTOOL = 0x8970, 0x8946
NAME_BYTES, IFREQ_BYTES = 16, 40
IFF_UP = 1
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
ETHERNET_QUEUE, LOOPBACK_QUEUE = 1000, 1000


def answer(network: Network, command: int, argument: bytes, privileged: bool) -> bytes:
    """What the ioctl replies with; ENODEV, EINVAL, EPERM, EOPNOTSUPP, EADDRNOTAVAIL."""
    if command == SIOCGIFCONF:
        return _all_addresses(network)
    if len(argument) < IFREQ_BYTES:
        raise PosixError(EINVAL)
    if command == SIOCGIFNAME:
        index = int.from_bytes(argument[NAME_BYTES : NAME_BYTES + 4], "little", signed=True)
        name = network.interface_name(index)
        if not name:
            raise PosixError(ENODEV)
        return name.ljust(NAME_BYTES, b"\0") + argument[NAME_BYTES:]
    name = argument[:NAME_BYTES].split(b"\0", 1)[0].split(b":", 1)[0]
    interface = network.stack.interfaces.get(network.interface_index(name))
    if interface is None:
        raise PosixError(ENODEV)
    if command in READERS:
        body = READERS[command](interface)
        return argument[:NAME_BYTES] + body.ljust(IFREQ_BYTES - NAME_BYTES, b"\0")
    if command in WRITERS:
        if not privileged:
            raise PosixError(EPERM)
        WRITERS[command](network, interface, argument[NAME_BYTES:])
        return argument
    raise PosixError(EOPNOTSUPP)


def _inet(address: bytes) -> bytes:
    return struct.pack("=HH4s8x", AF_INET, 0, address)


def _first(interface: Interface) -> tuple[bytes, int]:
    """The first IPv4 address and its prefix; EADDRNOTAVAIL."""
    for own in interface.addresses:
        if len(own.address) == 4:
            return own.address, own.prefix_bits
    raise PosixError(EADDRNOTAVAIL)


def mask_of(bits: int) -> bytes:
    """A netmask of so many bits."""
    return (0xFFFF_FFFF << (32 - bits) & 0xFFFF_FFFF).to_bytes(4, "big")


def _address(interface: Interface) -> bytes:
    return _inet(_first(interface)[0])


def _netmask(interface: Interface) -> bytes:
    return _inet(mask_of(_first(interface)[1]))


def _broadcast(interface: Interface) -> bytes:
    address, bits = _first(interface)
    if interface.is_loopback:
        return _inet(bytes(4))
    host = 0xFFFF_FFFF >> bits
    return _inet((int.from_bytes(address, "big") | host).to_bytes(4, "big"))


def _hardware(interface: Interface) -> bytes:
    kind = ARPHRD_LOOPBACK if interface.is_loopback else ARPHRD_ETHER
    return struct.pack("=H6s", kind, interface.mac)


READERS: dict[int, Callable[[Interface], bytes]] = {
    SIOCGIFFLAGS: lambda i: struct.pack("<H", i.flags),
    SIOCGIFADDR: _address,
    SIOCGIFDSTADDR: _address,
    SIOCGIFBRDADDR: _broadcast,
    SIOCGIFNETMASK: _netmask,
    SIOCGIFMETRIC: lambda i: struct.pack("<i", 0),
    SIOCGIFMTU: lambda i: struct.pack("<i", i.mtu),
    SIOCGIFHWADDR: _hardware,
    SIOCGIFINDEX: lambda i: struct.pack("<i", i.index),
    SIOCGIFTXQLEN: lambda i: struct.pack("<i", LOOPBACK_QUEUE if i.is_loopback else ETHERNET_QUEUE),
    SIOCGIFMAP: lambda i: bytes(24),
}


def _set_flags(network: Network, interface: Interface, body: bytes) -> None:
    network.stack.set_up(interface.index, bool(body[0] & IFF_UP))


def _set_mtu(network: Network, interface: Interface, body: bytes) -> None:
    network.stack.set_mtu(interface.index, int.from_bytes(body[:4], "little", signed=True))


def _set_address(network: Network, interface: Interface, body: bytes) -> None:
    if int.from_bytes(body[:2], "little") != AF_INET:
        raise PosixError(EINVAL)
    address = body[4:8]
    for own in list(interface.addresses):
        if len(own.address) == 4:
            network.stack.remove_address(interface.index, own.address)
            break
    first = address[0]
    network.stack.add_address(
        interface.index, address, 8 if first < 128 else 16 if first < 192 else 24
    )


def _set_netmask(network: Network, interface: Interface, body: bytes) -> None:
    address, _ = _first(interface)
    mask = int.from_bytes(body[4:8], "big")
    bits = bin(mask).count("1")
    if mask_of(bits) != body[4:8]:
        raise PosixError(EINVAL)
    network.stack.remove_address(interface.index, address)
    network.stack.add_address(interface.index, address, bits)


WRITERS: dict[int, Callable[[Network, Interface, bytes], None]] = {
    SIOCSIFFLAGS: _set_flags,
    SIOCSIFMTU: _set_mtu,
    SIOCSIFADDR: _set_address,
    SIOCSIFNETMASK: _set_netmask,
}


def _all_addresses(network: Network) -> bytes:
    """SIOCGIFCONF: one `struct ifreq` for each IPv4 address."""
    rows = [
        interface.name.encode().ljust(NAME_BYTES, b"\0")
        + _inet(own.address).ljust(IFREQ_BYTES - NAME_BYTES, b"\0")
        for interface in network.stack.interfaces.values()
        for own in interface.addresses
        if len(own.address) == 4
    ]
    return b"".join(rows)
