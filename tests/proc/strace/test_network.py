"""Do socket addresses, messages and options print as strace prints them?"""

from __future__ import annotations

import struct

import pytest

from .oracle import Arena, Call, check, check_abandoned, needs_strace

pytestmark = needs_strace

EAGAIN, ENOPROTOOPT = -11, -92
pack = struct.pack
ADDRESSES = {
    "path": pack("<H", 1) + b"/tmp/sock\0",
    "abstract": pack("<H", 1) + b"\0abs",
    "path that fills": pack("<H", 1) + b"x" * 108,
    "no path": pack("<H", 1),
    "one byte": b"\1",
    "inet": pack("<HH4s8x", 2, 0x5000, b"\x7f\0\0\1"),
    "short inet": pack("<HH4s", 2, 0x5000, b"\x7f\0\0\1"),
    "inet6": pack("<HHI16sI", 10, 0x5000, 0, b"\0" * 15 + b"\1", 0),
    "inet6 scope": pack("<HHI16sI", 10, 0x5000, 0x100, bytes(range(16)), 3),
    "inet6 mapped": pack("<HHI16sI", 10, 0x5000, 0, bytes(10) + b"\xff\xff\1\2\3\4", 0),
    "inet6 compatible": pack("<HHI16sI", 10, 0x5000, 0, bytes(12) + b"\1\2\3\4", 0),
    "netlink": pack("<HHII", 16, 0, 5, 6),
    "packet": pack("<HHiHBB8s", 17, 8, 1, 1, 0, 6, b"\1\2\3\4\5\6"),
    "vsock": pack("<HHIIBxxx", 40, 0, 5, 2, 0),
    "unspecified": pack("<H14s", 0, b"abcdef"),
    "unknown": pack("<H14s", 99, b"abcdef"),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses(name: str) -> None:
    arena = Arena()
    raw = ADDRESSES[name]
    where, size = arena.put(raw), arena.words("i", len(raw))
    out: list[Call] = [("accept", 3, where, size), ("getsockname", 3, where, size)]
    check(arena, 3, ("connect", 3, where, len(raw)), ("sendto", 3, where, 2, 0, where, len(raw)),
          ("recvfrom", 3, where, 10, 0x40, where, size), *out)  # fmt: skip
    check(arena, EAGAIN, *out)
    check(arena, 0, out[0], poke=(3, pack("<i", 128)))


def test_absent_addresses() -> None:
    arena = Arena()
    size = arena.words("i", 9)
    for result in (3, EAGAIN):
        check(arena, result, ("accept", 3, 0, 0), ("accept", 3, 0, size), ("accept", 3, 5, size),
              ("accept4", 3, 5, 0, 0x80800), ("recvfrom", 3, size, 9, 0, 0, 0),
              ("recvfrom", 3, size, 9, 0, 0, size))  # fmt: skip


def _control(level: int, kind: int, data: bytes) -> bytes:
    raw = pack("<Qii", 16 + len(data), level, kind) + data
    return raw + bytes(-len(raw) % 8)


CONTROLS = {
    "rights": _control(1, 1, pack("<2i", 3, 4)),
    "credentials": _control(1, 2, pack("<3i", 100, 1, 2)),
    "timestamps": _control(1, 29, pack("<2q", 1, 2)) + _control(1, 35, pack("<2q", 1, 2)),
    "three timestamps": _control(1, 37, pack("<6q", *range(6))),
    "ip": _control(0, 2, pack("<i", 64)) + _control(0, 1, b"\x09"),
    "packet info": _control(0, 8, pack("<i4s4s", 1, b"\1\2\3\4", b"\5\6\7\x08")),
    "unknown": _control(5, 5, b"abcdef") + _control(41, 52, b"abcd"),
    "empty": _control(1, 1, b""),
    "too short": pack("<Qii", 8, 1, 1) + bytes(8),
    "too long": pack("<Qii", 1000, 1, 1) + bytes(8),
    "not even a header": b"abc",
    "many": _control(1, 1, pack("<40i", *range(40))),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_messages_with_control_data(name: str) -> None:
    arena = Arena()
    raw = CONTROLS[name]
    pairs = [(arena.put(b"hello"), 5), (arena.put(b"w" * 50), 50)]
    vectors = arena.put(b"".join([pack("<QQ", *pair) for pair in pairs]))
    peer = arena.put(ADDRESSES["inet"])
    header = arena.words(
        "QIxxxxQQQQIxxxx", peer, 16, vectors, 2, arena.put(raw), len(raw), 0x40000000
    )
    for result in (7, EAGAIN):
        check(arena, result, ("sendmsg", 3, header, 0x4000), ("recvmsg", 3, header, 0))
    shorter = arena.read(header, 56) or b""
    poked = shorter[:8] + pack("<I", 8) + shorter[12:]
    check(arena, 7, ("recvmsg", 3, header, 0), poke=(2, poked))


def test_arrays_of_messages() -> None:
    arena = Arena()
    vectors = arena.words("QQ", arena.put(b"hello"), 5)
    header = pack("<QIxxxxQQQQIxxxxIxxxx", 0, 0, vectors, 1, 0, 0, 0, 3)
    headers, timeout = arena.put(header * 3), arena.words("qq", 1, 0)
    for result in (2, 0, EAGAIN):
        check(arena, result, ("recvmmsg", 3, headers, 3, 0, timeout))
        check(arena, result, ("sendmmsg", 3, headers, 3, 0), ("recvmmsg", 3, headers, 3, 0, 0))


LENGTHS = (0, 3, 4, 8, 16)
RARE = {(0, 39), (0, 42), (0, 45), (1, 51), (1, 74), (41, 42), (41, 45), (263, 5), (263, 6),
        (263, 13)}  # fmt: skip


@pytest.mark.parametrize("level", [0, 1, 6, 17, 41, 99, 263, 270, 282])
def test_socket_options_at_every_length(level: int) -> None:
    arena = Arena()
    value = arena.put(b"\1\0\0\0\5\0\0\0\6\0\0\0" + b"eth0\0" + bytes(99))
    options = [option for option in range(80) if (level, option) not in RARE]
    for length in LENGTHS:
        size = arena.words("i", length)
        check(arena, 0, *[("setsockopt", 3, level, o, value, length) for o in options])
        check(arena, 0, *[("getsockopt", 3, level, o, value, size) for o in options])


def test_socket_options_that_fail_or_shrink() -> None:
    arena = Arena()
    value, size = arena.words("4i", 111, 5, 6, 7), arena.words("i", 8)
    calls: list[Call] = [("getsockopt", 3, 1, option, value, size) for option in (2, 4, 13, 17)]
    check(arena, ENOPROTOOPT, *calls, ("getsockopt", 3, 1, 4, 0, 0), ("getsockopt", 3, 1, 4, 5, 6))
    check(arena, 0, *calls, poke=(5, pack("<i", 4)))


def test_sockets_are_named_by_family() -> None:
    families = (0, 1, 2, 10, 16, 17, 99)
    check(Arena(), 3, *[("socket", family, kind, protocol) for family in families
                        for kind in (0, 1, 0x80802, 9) for protocol in (0, 6, 0x300)])  # fmt: skip
    check(Arena(), 0, ("socketpair", 1, 0x80001, 0, 0), ("shutdown", 3, 2), ("listen", 3, 128))


def test_a_call_in_progress_shows_what_is_known() -> None:
    arena = Arena()
    peer, size = arena.put(ADDRESSES["inet"]), arena.words("i", 16)
    check_abandoned(arena, ("accept", 3, peer, size), ("accept", 3, 0, 0), ("connect", 3, peer, 16),
                    ("recvfrom", 3, peer, 5, 0, peer, size), ("getsockopt", 3, 1, 4, peer, size),
                    ("recvmsg", 3, peer, 0))  # fmt: skip
