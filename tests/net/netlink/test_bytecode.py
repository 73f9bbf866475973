"""Do filters of ss take the sockets that they should? Programs as ss(8) compiles them."""

from __future__ import annotations

import struct

import pytest

from bus.errors import PosixError
from services.net.netlink import bytecode
from services.net.netlink.bytecode import Subject
from tests.net.proto.scapyoracle import ip

HERE = Subject(ip("10.0.0.1"), 80, ip("192.0.2.7"), 40000, 2, True)
MAPPED = HERE._replace(source=bytes(10) + b"\xff\xff" + HERE.source)


def port(op: int, number: int, no: int = 12) -> bytes:
    return struct.pack("<BBH", op, 8, no) + struct.pack("<BBH", 0, 0, number)


def host(op: int, address: bytes, bits: int, number: int = -1) -> bytes:
    size = 12 + len(address)
    family = {0: 0, 4: 2, 16: 10}[len(address)]
    return struct.pack("<BBH", op, size, size + 4) + struct.pack(
        "<BBxxi", family, bits, number
    ) + address  # fmt: skip


@pytest.mark.parametrize(
    ("code", "taken"),
    [
        (port(bytecode.S_GE, 80), True),
        (port(bytecode.S_GE, 81), False),
        (port(bytecode.S_LE, 79), False),
        (port(bytecode.D_LE, 40000), True),
        (port(bytecode.D_EQ, 1), False),
        (port(bytecode.S_EQ, 80, 20) + port(bytecode.D_EQ, 40000), True),
        (port(bytecode.S_EQ, 80, 20) + port(bytecode.D_EQ, 4), False),
        (port(bytecode.S_EQ, 81, 20) + port(bytecode.D_EQ, 40000), False),
        (host(bytecode.S_COND, ip("10.0.0.0"), 24), True),
        (host(bytecode.S_COND, ip("10.0.1.0"), 24), False),
        (host(bytecode.S_COND, ip("10.0.0.0"), 24, 443), False),
        (host(bytecode.D_COND, b"", 0, 40000), True),
        (host(bytecode.D_COND, ip("fd00::1"), 128), False),
        (struct.pack("<BBH", bytecode.AUTO, 4, 8), True),
        (struct.pack("<BBHI", bytecode.DEV_COND, 8, 12, 3), False),
    ],
)
def test_conditions(code: bytes, taken: bool) -> None:
    bytecode.check(code)
    assert bytecode.accepts(code, HERE) is taken


def test_a_mapped_address_is_ipv4() -> None:
    code = host(bytecode.S_COND, ip("10.0.0.0"), 8)
    bytecode.check(code)
    assert bytecode.accepts(code, MAPPED)


def test_either_of_two() -> None:
    """`a or b`: a, then a jump over b."""
    second = port(bytecode.S_EQ, 80)
    first = struct.pack("<BBHBBH", bytecode.S_EQ, 8, 12, 0, 0, 22)
    code = first + struct.pack("<BBH", bytecode.JMP, 4, 4 + len(second)) + second
    bytecode.check(code)
    assert bytecode.accepts(code, HERE)
    assert bytecode.accepts(code, HERE._replace(source_port=22))
    assert not bytecode.accepts(code, HERE._replace(source_port=23))


@pytest.mark.parametrize(
    "code",
    [
        b"\0",
        struct.pack("<BBH", 99, 4, 4),
        struct.pack("<BBH", bytecode.NOP, 0, 0),
        struct.pack("<BBH", bytecode.S_EQ, 8, 12),
        struct.pack("<BBHBBH", bytecode.S_EQ, 8, 4, 0, 0, 80),
        struct.pack("<BBH", bytecode.AUTO, 4, 12),
        port(bytecode.S_EQ, 80, 12) + port(bytecode.D_EQ, 4),  # into the middle of the second
        host(bytecode.S_COND, ip("1.2.3.4"), 33),
    ],
)
def test_a_program_that_cannot_end_well_is_refused(code: bytes) -> None:
    with pytest.raises(PosixError):
        bytecode.check(code)
