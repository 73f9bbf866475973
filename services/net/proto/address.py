"""What kind of address is this? Addresses are bytes in network order, 4 or 16 long.

Sources: RFC 6890 (special addresses), RFC 4291 (IPv6), RFC 2464 and RFC 1112 6.4 (multicast over
Ethernet).
"""

from __future__ import annotations

ANY_V4 = bytes(4)
ANY_V6 = bytes(16)
LOOPBACK_V4 = b"\x7f\0\0\1"
LOOPBACK_V6 = bytes(15) + b"\1"
BROADCAST_V4 = b"\xff\xff\xff\xff"
ALL_HOSTS = b"\xe0\0\0\1"  # 224.0.0.1
ALL_NODES = b"\xff\x02" + bytes(13) + b"\1"  # ff02::1
ALL_ROUTERS = b"\xff\x02" + bytes(13) + b"\2"  # ff02::2
ALL_NODES_OF_INTERFACE = b"\xff\x01" + bytes(13) + b"\1"  # ff01::1
LINK_LOCAL_PREFIX = b"\xfe\x80" + bytes(6)  # fe80::/64
V4_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96
_SOLICITED_NODE_PREFIX = b"\xff\x02" + bytes(9) + b"\1\xff"  # ff02::1:ff00:0/104

MAC_ANY = bytes(6)
MAC_BROADCAST = b"\xff" * 6

_number = int.from_bytes


def is_unspecified(address: bytes) -> bool:
    """0.0.0.0 or ::."""
    return address in (ANY_V4, ANY_V6)


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    if len(address) == 4:
        return 224 <= address[0] < 240
    return address[0] == 0xFF


def is_loopback(address: bytes) -> bool:
    """127.0.0.0/8 or ::1."""
    if len(address) == 4:
        return address[0] == 127
    return address == LOOPBACK_V6


def is_link_local(address: bytes) -> bool:
    """169.254.0.0/16 or fe80::/10."""
    if len(address) == 4:
        return address[:2] == b"\xa9\xfe"
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_v4_mapped(address: bytes) -> bool:
    """::ffff:0:0/96: IPv4 as an IPv6 socket sees it; never a thing for the wire."""
    return address[:12] == V4_MAPPED_PREFIX


def network_of(address: bytes, prefix_bits: int) -> bytes:
    """The address with all but its first `prefix_bits` bits cleared."""
    width = len(address)
    host_bits = 8 * width - prefix_bits
    return (_number(address, "big") >> host_bits << host_bits).to_bytes(width, "big")


def shares_prefix(left: bytes, right: bytes, prefix_bits: int) -> bool:
    """Whether the first `prefix_bits` bits agree; addresses of two families never do."""
    width = len(left)
    if len(right) != width:
        return False
    return (_number(left, "big") ^ _number(right, "big")) >> (8 * width - prefix_bits) == 0


def common_bits(left: bytes, right: bytes) -> int:
    """How many leading bits two addresses of one family share."""
    return 8 * len(left) - (_number(left, "big") ^ _number(right, "big")).bit_length()


def broadcast_of(address: bytes, prefix_bits: int) -> bytes | None:
    """The directed broadcast address of an IPv4 network; None where there is none (RFC 3021)."""
    if len(address) != 4 or prefix_bits > 30:
        return None
    ones = (1 << (32 - prefix_bits)) - 1
    return (_number(address, "big") | ones).to_bytes(4, "big")


def solicited_node(address: bytes) -> bytes:
    """The group that neighbour solicitations for an IPv6 address go to (RFC 4291 2.7.1)."""
    return _SOLICITED_NODE_PREFIX + address[13:]


def multicast_mac(group: bytes) -> bytes:
    """The Ethernet group address of an IP group."""
    if len(group) == 4:
        return b"\x01\x00\x5e" + bytes((group[1] & 0x7F,)) + group[2:]
    return b"\x33\x33" + group[12:]


def interface_identifier(mac: bytes) -> bytes:
    """The lower half of an autoconfigured address: modified EUI-64 (RFC 4291, appendix A)."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
