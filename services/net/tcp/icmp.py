"""ICMP errors about our segments (RFC 9293 3.9.2.2, RFC 5927, RFC 1191, RFC 8201).

An error is believed only if the sequence number that it quotes is in flight. While a connection is
being opened every "unreachable" ends it, as in Linux; afterwards it is only kept as the reason to
give if the connection should fail. "Too big" lowers the path's MTU, never below what its family
guarantees, and what was too big is sent again at once.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from services.net.tcp import ending, send
from services.net.tcp.limits import PathInfo, path_mss
from services.net.tcp.sequence import unwrap
from services.net.tcp.state import CLOSE, SYN_RECV, SYN_SENT

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


class IcmpError(Protocol):
    """What the IP layer tells of an error: the quoted packet's addresses and first bytes."""

    @property
    def family(self) -> int:
        """4 or 6."""

    @property
    def type(self) -> int:
        """ICMP or ICMPv6 type."""

    @property
    def code(self) -> int:
        """Its code."""

    @property
    def mtu(self) -> int:
        """The next hop's MTU in "too big", else 0."""

    @property
    def src(self) -> bytes:
        """Source address of the quoted packet: ours."""

    @property
    def dst(self) -> bytes:
        """Its destination: the peer."""

    @property
    def header(self) -> bytes:
        """Eight bytes or more of its transport header."""


_V4_UNREACHABLE = {
    0: errno.ENETUNREACH,
    1: errno.EHOSTUNREACH,
    2: errno.ENOPROTOOPT,
    3: errno.ECONNREFUSED,
    5: errno.EOPNOTSUPP,
    6: errno.ENETUNREACH,
    7: errno.EHOSTDOWN,
    8: errno.ENONET,
    9: errno.ENETUNREACH,
    10: errno.EHOSTUNREACH,
    11: errno.ENETUNREACH,
    12: errno.EHOSTUNREACH,
    13: errno.EHOSTUNREACH,
    14: errno.EHOSTUNREACH,
    15: errno.EHOSTUNREACH,
}
_V6_UNREACHABLE = {
    0: errno.ENETUNREACH,
    1: errno.EACCES,
    2: errno.EHOSTUNREACH,
    3: errno.EHOSTUNREACH,
    4: errno.ECONNREFUSED,
    5: errno.EACCES,
    6: errno.EACCES,
}
TOO_BIG = -1
_LEAST_MTU = {4: 552, 6: 1280}
"""What Linux will not go below (min_pmtu), and RFC 8200 section 5."""


def meaning(error: IcmpError) -> int:
    """The errno that an error stands for, TOO_BIG, or 0 if it is none of ours."""
    kind, code = error.type, error.code
    if error.family == 4:
        if kind == 3:
            return TOO_BIG if code == 4 else _V4_UNREACHABLE.get(code, 0)
        return {11: errno.EHOSTUNREACH, 12: errno.EPROTO}.get(kind, 0)
    if kind == 1:
        return _V6_UNREACHABLE.get(code, errno.EPROTO)
    return {2: TOO_BIG, 3: errno.EHOSTUNREACH, 4: errno.EPROTO}.get(kind, 0)


def take(c: Connection, error: IcmpError, seq_wire: int) -> None:
    """An error about a segment of this connection."""
    if c.state is CLOSE or c.fused is not None:
        return
    seq = unwrap(seq_wire, c.snd_una)
    if not c.snd_una <= seq < max(c.snd_nxt, c.snd_una + 1):
        c.tcp.counters["OutOfWindowIcmps"] += 1
        return
    what = meaning(error)
    if what == TOO_BIG:
        too_big(c, error.mtu, error.family)
    elif what:
        if c.state is SYN_SENT or (c.state is SYN_RECV and c.listener is None):
            c.tcp.counters["AttemptFails"] += 1
            ending.finish(c, what)
        else:
            c.soft_error = what


def too_big(c: Connection, mtu: int, family: int) -> None:
    """The path's MTU is smaller than we thought."""
    mtu = max(mtu, _LEAST_MTU[family])
    if mtu >= c.path.mtu or c.state is SYN_SENT or c.state is SYN_RECV:
        return
    c.path = PathInfo(mtu, c.path.loopback, c.path.gso)
    announced = c.mss_announced
    send.set_path(c)
    c.mss_announced = announced
    if c.snd_nxt > c.snd_una and path_mss(mtu, c.remote_address) > 0:
        # What is in flight was too big: lost, but not to congestion (RFC 1191 6.4).
        board = c.board
        board.lost_to = c.snd_nxt
        board.sent_again_to = c.snd_una
        c.timed_to = 0
        send.push(c)
