"""ICMP errors about our segments (RFC 9293 3.9.2.2, RFC 5927, RFC 1191, RFC 8201).

An error is believed only if the sequence number that it quotes is in flight. While a connection is
being opened every "unreachable" ends it, as in Linux; afterwards it is only kept as the reason to
give if the connection should fail. "Too big" lowers the path's MTU, never below what its family
guarantees, and what was too big is sent again at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.proto import icmp, icmpv6
from services.net.tcp import ending, send
from services.net.tcp.limits import PathInfo, path_mss
from services.net.tcp.sequence import unwrap
from services.net.tcp.state import CLOSE, LOSS, SYN_RECV, SYN_SENT

if TYPE_CHECKING:
    from services.net.proto.icmp import IcmpError
    from services.net.tcp.connection import Connection


_LEAST_MTU = {4: 552, 16: 1280}
"""By the length of an address: what Linux will not go below (min_pmtu), and RFC 8200 section 5."""


def _is_too_big(error: IcmpError) -> bool:
    """Fragmentation needed (RFC 1191), or packet too big (RFC 4443 3.2)."""
    if len(error.src) == 4:
        return error.type == icmp.DEST_UNREACHABLE and error.code == icmp.FRAGMENTATION_NEEDED
    return error.type == icmpv6.PACKET_TOO_BIG


def take(c: Connection, error: IcmpError, seq_wire: int) -> None:
    """An error about a segment of this connection."""
    if c.state is CLOSE or c.fused is not None:
        return
    seq = unwrap(seq_wire, c.snd_una)
    if not c.snd_una <= seq < max(c.snd_nxt, c.snd_una + 1):
        c.tcp.counters["OutOfWindowIcmps"] += 1
        return
    if _is_too_big(error):
        too_big(c, error.mtu)
    elif error.errno:
        if c.state is SYN_SENT or (c.state is SYN_RECV and c.listener is None):
            c.tcp.counters["AttemptFails"] += 1
            ending.finish(c, error.errno)
        else:
            c.soft_error = error.errno


def too_big(c: Connection, mtu: int) -> None:
    """The path's MTU is smaller than we thought."""
    mtu = max(mtu, _LEAST_MTU[len(c.remote_address)])
    if mtu >= c.path.mtu or c.state is SYN_SENT or c.state is SYN_RECV:
        return
    c.path = PathInfo(mtu, c.path.loopback, c.path.gso)
    announced = c.mss_announced
    send.set_path(c)
    c.mss_announced = announced
    if c.snd_nxt > c.snd_una and path_mss(mtu, c.remote_address) > 0:
        # What is in flight was too big: lost, but not to congestion (RFC 1191 6.4).
        c.board.begin(c.snd_una, c.snd_nxt)
        c.phase = LOSS
        c.recovery_point = c.snd_nxt
        c.undo = None
        c.timed_to = 0
        send.push(c)
