"""Initial sequence numbers (RFC 6528) and SYN cookies (RFC 4987 section 3.6).

A cookie is a SYN-ACK's sequence number from which the ACK that answers it can be checked without
having kept anything: 5 bits of the time in minutes, 3 bits of the peer's segment size (rounded
down to one of eight), 24 bits of a keyed hash over the addresses, the peer's number and both. The
other options are kept in the low 6 bits of the timestamp that the peer will echo: 4 bits of window
scale (15: none), one for SACK; without timestamps they are lost.
"""

from __future__ import annotations

from hashlib import blake2s
from struct import Struct
from typing import TYPE_CHECKING

from services.net.tcp.limits import SECOND
from services.net.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

_MSS = (64, 536, 1024, 1220, 1360, 1440, 1460, 8960)
"""What peers announce most often: Ethernet, tunnels, the IPv6 and IPv4 minima, jumbo frames."""
_PERIOD_NS = 64 * SECOND
_VALID_PERIODS = 2
_PORTS = Struct("!HH")
_WORDS = Struct("!IIB")
OPTION_BITS = 6
_NO_SCALE = 15
_SACK_BIT = 16


class Secrets:
    """The host's keys, made once."""

    __slots__ = ("_cookie", "_sequence", "_stamps")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._sequence = random(16)
        self._stamps = random(16)
        self._cookie = random(16)

    def initial_sequence(self, key: tuple[bytes, int, bytes, int], now_ns: int) -> int:
        """RFC 6528 section 3: a clock of 64 ns ticks (as Linux has) and a hash of the pair."""
        return (_hash(self._sequence, key) + (now_ns >> 6)) & MASK

    def stamp_offset(self, local: bytes, remote: bytes) -> int:
        """What timestamps towards a host start from, whatever the ports (RFC 7323 5.4)."""
        return _hash(self._stamps, (local, 0, remote, 0))

    def cookie(
        self, key: tuple[bytes, int, bytes, int], peer_seq: int, mss: int, now_ns: int
    ) -> int:
        """The sequence number of a SYN-ACK for a SYN with number `peer_seq`."""
        index = max(i for i, size in enumerate(_MSS) if size <= mss or i == 0)
        minute = now_ns // _PERIOD_NS & 31
        return self._make(key, peer_seq, minute, index)

    def _make(
        self, key: tuple[bytes, int, bytes, int], peer_seq: int, minute: int, index: int
    ) -> int:
        extra = _WORDS.pack(peer_seq & MASK, minute, index)
        return minute << 27 | index << 24 | _hash(self._cookie, key, extra) & 0xFFFFFF

    def check(
        self, key: tuple[bytes, int, bytes, int], peer_seq: int, cookie: int, now_ns: int
    ) -> int:
        """The peer's segment size if the cookie is ours and fresh, else 0."""
        minute, index = cookie >> 27, cookie >> 24 & 7
        if (now_ns // _PERIOD_NS - minute & 31) >= _VALID_PERIODS:
            return 0
        return _MSS[index] if self._make(key, peer_seq, minute, index) == cookie else 0


def _hash(secret: bytes, key: tuple[bytes, int, bytes, int], extra: bytes = b"") -> int:
    local, local_port, remote, remote_port = key
    message = local + remote + _PORTS.pack(local_port, remote_port) + extra
    return int.from_bytes(blake2s(message, digest_size=4, key=secret).digest(), "big")


def fold_options(stamp: int, scale: int | None, sack_ok: bool) -> int:
    """A timestamp not later than `stamp` whose low bits tell the options."""
    bits = (_NO_SCALE if scale is None else scale) | (_SACK_BIT if sack_ok else 0)
    folded = stamp & ~((1 << OPTION_BITS) - 1) | bits
    if folded > stamp:
        folded -= 1 << OPTION_BITS
    return folded & MASK


def unfold_options(echo: int) -> tuple[int | None, bool]:
    """Window scale and SACK from an echoed timestamp."""
    scale = echo & 15
    return None if scale == _NO_SCALE else scale, bool(echo & _SACK_BIT)
