"""/proc/net/{snmp,snmp6,netstat,sockstat,sockstat6}: what has happened, and how much there is.

Counters have the names of RFC 1213, 4022, 4113 and 4293, and Linux's own. What this stack does not
count is not named, so nobody takes it for 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.socket.abi import AF_INET
from services.net.socket.raw import PingSocket
from services.net.socket.stream import TcpSocket
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from services.net.socket.network import Network

PAGE_BYTES = 4096
TCP_COUNTERS = (
    "ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "InSegs", "OutSegs",
    "RetransSegs", "InErrs", "OutRsts",
)  # fmt: skip
TCP_EXTRA = (
    "SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "OutOfWindowIcmps", "TW", "PAWSEstab",
    "DelayedACKs", "ListenOverflows", "ListenDrops", "TCPTSReorder", "TCPFastRetrans",
    "TCPTimeouts", "TCPLossProbes", "TCPLossProbeRecovery", "TCPDSACKOldSent", "TCPDSACKRecv",
    "TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnMemory", "TCPAbortOnTimeout",
    "TCPAbortOnLinger", "TCPSpuriousRTOs", "TCPTimeWaitOverflow", "TCPOFOQueue",
    "TCPChallengeACK", "TCPSYNChallenge", "TCPWinProbe", "TCPKeepAlive",
)  # fmt: skip
"""TcpExt, as far as it is counted, in Linux's order."""


def _tcp_counters(network: Network) -> dict[str, int]:
    """RFC 4022's counters, with the constants that Linux puts before them (RTO in ms)."""
    tcp = network.tcp
    established = sum(
        c.state in (State.ESTABLISHED, State.CLOSE_WAIT) for c in tcp.connections.values()
    )
    heads = {"RtoAlgorithm": 1, "RtoMin": 200, "RtoMax": 120000, "MaxConn": -1}
    counts = {name: tcp.counters.get(name, 0) for name in TCP_COUNTERS}
    at = {"CurrEstab": established}
    first = dict(list(counts.items())[:4])
    return heads | first | at | counts | {"InCsumErrors": tcp.counters.get("InCsumErrors", 0)}


def _icmp_types(network: Network) -> dict[str, int]:
    icmp = network.stack.icmp
    came = {f"InType{kind}": count for kind, count in sorted(icmp.in_types.items())}
    return came | {f"OutType{kind}": count for kind, count in sorted(icmp.out_types.items())}


def _titled(title: str, counters: Mapping[str, int]) -> Iterable[str]:
    yield f"{title}: {' '.join(counters)}"
    yield f"{title}: {' '.join(map(str, counters.values()))}"


def _snmp(network: Network) -> Iterable[str]:
    yield from _titled("Ip", network.stack.ip.as_dict())
    yield from _titled("Icmp", network.stack.icmp.as_dict())
    if types := _icmp_types(network):
        yield from _titled("IcmpMsg", types)
    yield from _titled("Tcp", _tcp_counters(network))
    yield from _titled("Udp", network.stack.udp.as_dict())


def _netstat(network: Network) -> Iterable[str]:
    counters, ip = network.tcp.counters, network.stack.ip
    yield from _titled("TcpExt", {name: counters.get(name, 0) for name in TCP_EXTRA})
    yield from _titled("IpExt", {"InMcastPkts": ip.InMcastPkts, "OutMcastPkts": ip.OutMcastPkts})


def _snmp6(network: Network) -> Iterable[str]:
    stack = network.stack
    for title, counters in (
        ("Ip6", stack.ip6.as_dict()),
        ("Icmp6", stack.icmp6.as_dict()),
        ("Udp6", stack.udp6.as_dict()),
    ):
        for name, count in counters.items():
            yield f"{title + name:<32}\t{count}"


# Sockets ------------------------------------------------------------------------------------


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES)


def _in_use(network: Network, wide: bool) -> tuple[int, int, int]:
    """TCP, UDP and raw sockets of a family that have a port, or a protocol."""
    tcp = sum(
        isinstance(one, TcpSocket) and one.local is not None and (one.family != AF_INET) is wide
        for one in network.sockets.values()
    )
    udp = sum((one.family != AF_INET) is wide for one in network.udp.sockets())
    raw = sum(
        (one.family != AF_INET) is wide and not isinstance(one, PingSocket) for one in network.raws
    )
    return tcp, udp, raw


def _sockstat(network: Network) -> Iterable[str]:
    tcp, udp, raw = _in_use(network, False)
    connections = network.tcp.connections.values()
    held = _pages(sum(c.readable_bytes + c.unacked_bytes for c in connections))
    queued = _pages(sum(one.queued_bytes for one in network.udp.sockets()))
    alloc = sum(isinstance(one, TcpSocket) for one in network.sockets.values())
    waiting = len(network.tcp.time_waits.records)
    fragments = network.stack.fragments
    yield f"sockets: used {len(network.sockets)}"
    yield f"TCP: inuse {tcp} orphan {network.tcp.orphans} tw {waiting} alloc {alloc} mem {held}"
    yield f"UDP: inuse {udp} mem {queued}"
    yield "UDPLITE: inuse 0"
    yield f"RAW: inuse {raw}"
    yield "FRAG: inuse {} memory {}".format(*fragments.held(4))


def _sockstat6(network: Network) -> Iterable[str]:
    tcp, udp, raw = _in_use(network, True)
    yield f"TCP6: inuse {tcp}"
    yield f"UDP6: inuse {udp}"
    yield "UDPLITE6: inuse 0"
    yield f"RAW6: inuse {raw}"
    yield "FRAG6: inuse {} memory {}".format(*network.stack.fragments.held(16))


MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {
    "snmp": _snmp,
    "snmp6": _snmp6,
    "netstat": _netstat,
    "sockstat": _sockstat,
    "sockstat6": _sockstat6,
}
