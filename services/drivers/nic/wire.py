"""What a wire would carry: checksums completed, and large segments cut as hardware cuts them.

Offsets are from the start of the Ethernet frame, as in virtio_net_hdr. A frame whose offsets do
not fit it is left as it is: it is shown, not judged.
"""

from __future__ import annotations

from services.net.proto.checksum import checksum, finish, pseudo_header, sum_bytes

_IP_AT = 14
_FIN_PSH, _CWR = 0x09, 0x80


def complete(frame: bytes, start: int, at: int) -> bytes:
    """The frame with the checksum from `start` on stored at `start + at`."""
    where = start + at
    if where + 2 > len(frame):
        return frame
    sum_there = finish(sum_bytes(memoryview(frame)[start:]))
    return frame[:where] + (sum_there or 0xFFFF).to_bytes(2, "big") + frame[where + 2 :]


def _ip_header(header: bytes, length_bytes: int, number: int) -> bytes:
    """The IP header of piece `number`, whose datagram has `length_bytes`."""
    if header[0] >> 4 == 6:
        return header[:4] + (length_bytes - 40).to_bytes(2, "big") + header[6:]
    ident = (int.from_bytes(header[4:6], "big") + number) & 0xFFFF
    made = header[:2] + length_bytes.to_bytes(2, "big") + ident.to_bytes(2, "big") + header[6:10]
    made += b"\0\0" + header[12:]
    return made[:10] + checksum(made).to_bytes(2, "big") + made[12:]


def segments(frame: bytes, gso_bytes: int, tcp_at: int) -> list[bytes]:
    """TCP segments of at most `gso_bytes` of payload each, complete frames.

    As Linux's tcp_gso_segment: FIN and PSH go with the last, CWR with the first, and an IPv4
    identification counts up.
    """
    tcp_end = tcp_at + (frame[tcp_at + 12] >> 4) * 4 if tcp_at + 20 <= len(frame) else 0
    if not _IP_AT < tcp_at < tcp_end <= len(frame) or gso_bytes <= 0:
        return [frame]
    ip, tcp = frame[_IP_AT:tcp_at], frame[tcp_at:tcp_end]
    src, dst = (ip[8:24], ip[24:40]) if ip[0] >> 4 == 6 else (ip[12:16], ip[16:20])
    sequence, flags = int.from_bytes(tcp[4:8], "big"), tcp[13]
    payload = memoryview(frame)[tcp_end:]
    made: list[bytes] = []
    for at in range(0, max(1, len(payload)), gso_bytes):
        piece = payload[at : at + gso_bytes]
        these = flags if at + gso_bytes >= len(payload) else flags & ~_FIN_PSH
        these &= ~_CWR if at else 0xFF
        head = tcp[:4] + ((sequence + at) & 0xFFFFFFFF).to_bytes(4, "big") + tcp[8:13]
        head += bytes((these,)) + tcp[14:16] + b"\0\0" + tcp[18:]
        length = len(head) + len(piece)
        total = pseudo_header(src, dst, 6, length) + sum_bytes(head + bytes(piece))
        head = head[:16] + finish(total).to_bytes(2, "big") + head[18:]
        new_ip = _ip_header(ip, len(ip) + length, len(made))
        made.append(frame[:_IP_AT] + new_ip + head + bytes(piece))
    return made
