"""What net says of itself: TCP's counters, as /proc/net/snmp has them, and sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.metrics import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bus.metrics import Measure

SEGMENTS = {
    "received": "InSegs",
    "sent": "OutSegs",
    "retransmitted": "RetransSegs",
    "reset": "OutRsts",
    "bad": "InErrs",
}
CONNECTIONS = {
    "active": "ActiveOpens",
    "passive": "PassiveOpens",
    "failed": "AttemptFails",
    "reset": "EstabResets",
}


def network(net: Any) -> Iterator[Measure]:
    """A metrics source's part."""
    tcp = net.tcp
    yield counter(
        "hardtack_tcp_segments_total",
        "TCP segments by what became of them (RFC 4022).",
        {(kind,): tcp.counters.get(name, 0) for kind, name in SEGMENTS.items()},
        ("kind",),
    )
    yield counter(
        "hardtack_tcp_connections_total",
        "TCP connections opened from here, from there, and those that failed or were reset.",
        {(kind,): tcp.counters.get(name, 0) for kind, name in CONNECTIONS.items()},
        ("kind",),
    )
    states: dict[str, int] = {}
    for connection in tcp.connections.values():
        name = connection.state.name.lower()
        states[name] = states.get(name, 0) + 1
    yield gauge(
        "hardtack_tcp_connections",
        "TCP connections by state.",
        {(name,): count for name, count in states.items()},
        ("state",),
    )
    yield gauge("hardtack_net_sockets", "Internet sockets.", {(): len(net.sockets)})
