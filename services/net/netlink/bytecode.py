"""The filters of inet_diag (linux/inet_diag.h): a little program that each socket is put to.

An instruction is (code, yes, no): how far to go on where it holds and where it does not, in bytes.
A socket is accepted if the program is left exactly at its end; every jump is forward, so it ends.
"""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import NamedTuple

from bus.errors import PosixError

OP = struct.Struct("<BBH")
NOP, JMP, S_GE, S_LE, D_GE, D_LE, AUTO, S_COND, D_COND, DEV_COND, MARK_COND, S_EQ, D_EQ = range(13)
WITH_PORT = frozenset((S_GE, S_LE, D_GE, D_LE, S_EQ, D_EQ))
WITH_ADDRESS = frozenset((S_COND, D_COND))
HOST_CONDITION = struct.Struct("<BBxxi")
"""struct inet_diag_hostcond: family, prefix length, port (-1: any); then the address."""
AF_UNSPEC, AF_INET = 0, 2
MAPPED = bytes(10) + b"\xff\xff"


class Subject(NamedTuple):
    """What of a socket a filter can ask for."""

    source: bytes
    source_port: int
    target: bytes
    target_port: int
    ifindex: int
    automatic: bool
    """The port was not asked for by bind(2)."""


def check(code: bytes) -> None:
    """EINVAL: an instruction is unknown, torn, or leads elsewhere than forward to another."""
    at, starts, targets = 0, set[int](), list[int]()
    while at < len(code):
        if at + OP.size > len(code):
            raise PosixError(EINVAL)
        op, yes, no = OP.unpack_from(code, at)
        length = _instruction_bytes(code, at, op)
        if not length <= yes <= len(code) - at or yes & 3:
            raise PosixError(EINVAL)
        if op != NOP:
            if not length <= no <= len(code) - at + OP.size or no & 3:
                raise PosixError(EINVAL)
            targets.append(at + no)
        starts.add(at)
        at += yes
    if any(target < len(code) and target not in starts for target in targets):
        raise PosixError(EINVAL)


def _instruction_bytes(code: bytes, at: int, op: int) -> int:
    if op in WITH_PORT or op == DEV_COND:
        return 2 * OP.size
    if op in WITH_ADDRESS:
        return OP.size + HOST_CONDITION.size + _condition_bytes(code, at + OP.size)
    if op not in (NOP, JMP, AUTO):
        raise PosixError(EINVAL)
    return OP.size


def _condition_bytes(code: bytes, at: int) -> int:
    if at + HOST_CONDITION.size > len(code):
        raise PosixError(EINVAL)
    family, bits, _ = HOST_CONDITION.unpack_from(code, at)
    size = {AF_UNSPEC: 0, AF_INET: 4}.get(family, 16)
    if bits > 8 * size:
        raise PosixError(EINVAL)
    return size


def accepts(code: bytes, subject: Subject) -> bool:
    """Whether a filter that was checked takes the socket."""
    at, length = 0, len(code)
    while at < length:
        op, yes, no = OP.unpack_from(code, at)
        # JMP always goes the other way.
        at += yes if _holds(code, at, op, subject) else no
    return at == length


def _holds(code: bytes, at: int, op: int, subject: Subject) -> bool:
    if op in WITH_PORT:
        port: int = OP.unpack_from(code, at + OP.size)[2]
        own = subject.source_port if op in (S_GE, S_LE, S_EQ) else subject.target_port
        if op in (S_GE, D_GE):
            return own >= port
        return own <= port if op in (S_LE, D_LE) else own == port
    if op == AUTO:
        return subject.automatic
    if op == DEV_COND:
        return subject.ifindex == int.from_bytes(code[at + OP.size : at + 2 * OP.size], "little")
    if op == S_COND:
        return _matches(code, at + OP.size, subject.source, subject.source_port)
    if op == D_COND:
        return _matches(code, at + OP.size, subject.target, subject.target_port)
    return op == NOP


def _matches(code: bytes, at: int, address: bytes, port: int) -> bool:
    """A host condition: the port, and the first bits of the address."""
    family, bits, wanted_port = HOST_CONDITION.unpack_from(code, at)
    if wanted_port not in (-1, port):
        return False
    if not bits or family == AF_UNSPEC:
        return True
    at += HOST_CONDITION.size
    wanted = code[at : at + (4 if family == AF_INET else 16)]
    if len(address) == 16 and len(wanted) == 4 and address.startswith(MAPPED):
        address = address[12:]
    if len(address) != len(wanted):
        return False
    difference = int.from_bytes(address, "big") ^ int.from_bytes(wanted, "big")
    return not difference >> 8 * len(wanted) - bits
