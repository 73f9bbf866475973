"""What a network interface without offload needs done for it: checksums and segmentation.

Pure functions on a `Frame`, used by the stack (an interface that offers no segmentation), by
packet capture and by back ends. The frame is Ethernet, IPv4 or IPv6 without extension headers,
TCP. ValueError: a frame that contradicts its own fields, e.g. from a guest's ring.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from services.net.proto import ethernet, udp
from services.net.proto.checksum import sum_bytes, sum_pieces
from services.net.proto.packet import GSO_NONE, GSO_TCPV4, GSO_TCPV6, Frame

if TYPE_CHECKING:
    from services.net.proto.packet import Part

_UDP_CHECKSUM_AT = udp.Datagram.checksum_at
_IP_AT = ethernet.HEADER_BYTES
_ADDRESSES = {GSO_TCPV4: slice(26, 34), GSO_TCPV6: slice(22, 54)}
_TCP_AT = {GSO_TCPV4: 34, GSO_TCPV6: 54}
_FIN, _PSH, _CWR = 0x01, 0x08, 0x80
_HALF = Struct("!H")
_WORD = Struct("!I")


def complete(frame: Frame) -> Frame:
    """The frame with its checksum computed; itself if there is nothing to do.

    A frame that is to be segmented gets the checksum of the whole, which no one will check.
    """
    start = frame.checksum_start
    if start < 0:
        return frame
    data = bytearray().join(frame.parts)
    at = start + frame.checksum_at
    if start > len(data) or at + 2 > len(data):
        raise ValueError("checksum field outside the frame")
    total = -sum_bytes(memoryview(data)[start:]) % 0xFFFF
    if not total and frame.checksum_at == _UDP_CHECKSUM_AT:
        total = 0xFFFF  # to UDP zero means "no checksum"; Wireshark wants it zero elsewhere
    _HALF.pack_into(data, at, total)
    return Frame([memoryview(data)], -1, 0, frame.gso_type, frame.gso_bytes, frame.header_bytes)


def split(frame: Frame) -> list[Frame]:
    """The frames that the wire sees: cut into segments where asked for, checksums complete.

    Sequence numbers and identifications count up; FIN and PSH are left on the last segment alone,
    CWR on the first (RFC 3168 6.1.2).
    """
    if frame.gso_type == GSO_NONE:
        return [complete(frame)]
    data = memoryview(b"".join(frame.parts))
    tcp_at = _TCP_AT.get(frame.gso_type)
    if tcp_at is None:
        raise ValueError("unknown kind of segmentation")
    head_bytes, size = frame.header_bytes, frame.gso_bytes
    if size <= 0 or not tcp_at + 20 <= head_bytes <= len(data):
        raise ValueError("segmentation fields")
    if frame.gso_type == GSO_TCPV4 and data[_IP_AT] != 0x45:
        raise ValueError("IPv4 options in a frame to be segmented")
    return _cut(data, tcp_at, head_bytes, size, frame.gso_type)


def _cut(data: memoryview, tcp_at: int, head_bytes: int, size: int, gso_type: int) -> list[Frame]:
    head = bytearray(data[:head_bytes])
    tcp_bytes = head_bytes - tcp_at
    (sequence,) = _WORD.unpack_from(head, tcp_at + 4)
    flags = head[tcp_at + 13]
    ident = head[18] << 8 | head[19]
    # Sums of all that does not change from one segment to the next.
    head[tcp_at + 4 : tcp_at + 8] = bytes(4)
    head[tcp_at + 13] = 0
    head[tcp_at + 16 : tcp_at + 18] = bytes(2)
    tcp_sum = sum_bytes(head[tcp_at:]) + sum_bytes(head[_ADDRESSES[gso_type]]) + 6
    if gso_type == GSO_TCPV4:
        head[16:20] = bytes(4)  # length, identification
        head[24:26] = bytes(2)  # checksum
    ip_sum = sum_bytes(head[_IP_AT:tcp_at])

    frames = []
    piece_sums = sum_pieces(data[head_bytes:], size) or [0]
    last = max(head_bytes, head_bytes + (len(data) - head_bytes - 1) // size * size)
    for number, at in enumerate(range(head_bytes, last + 1, size)):
        piece = data[at : at + size]
        length = tcp_bytes + len(piece)
        bits = flags
        if at != last:
            bits &= ~(_FIN | _PSH)
        if number:
            bits &= ~_CWR
        position = (sequence + at - head_bytes) & 0xFFFFFFFF
        _WORD.pack_into(head, tcp_at + 4, position)
        head[tcp_at + 13] = bits
        total = tcp_sum + length + position + bits + piece_sums[number]
        _HALF.pack_into(head, tcp_at + 16, -total % 0xFFFF)
        if gso_type == GSO_TCPV4:
            length += 20
            _HALF.pack_into(head, 16, length)
            name = (ident + number) & 0xFFFF
            _HALF.pack_into(head, 18, name)
            _HALF.pack_into(head, 24, -(ip_sum + length + name) % 0xFFFF)
        else:
            _HALF.pack_into(head, 18, length)
        parts: list[Part] = [bytes(head), piece]
        frames.append(Frame(parts))
    return frames
