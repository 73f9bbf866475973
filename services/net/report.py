"""The texts of /proc/net (proc(5)), in the columns that netstat, ss and others parse."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.configure import mask_of
from services.net.socket.abi import AF_INET
from services.net.socket.datagram import UdpSocket
from services.net.socket.raw import RawSocket
from services.net.socket.stream import TcpSocket
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.net.socket.inet import InetSocket
    from services.net.socket.network import Network
    from services.net.tcp.connection import Connection
    from services.net.tcp.timewait import TimeWait

TCP_HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    "   uid  timeout inode"
)
TCP6_HEAD = (
    "  sl  local_address                         remote_address                        "
    "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
UDP_HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    "   uid  timeout inode ref pointer drops"
)
UDP6_HEAD = (
    "  sl  local_address                         remote_address                        "
    "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
)
ROW_BYTES_TCP, ROW_BYTES_ROUTE, ROW_BYTES_UDP = 149, 127, 127
RTF_UP, RTF_GATEWAY, RTF_HOST = 1, 2, 4


def text(network: Network, name: str) -> bytes:
    """/proc/net/`name`; EINVAL for one that is not here."""
    maker = MAKERS.get(name)
    if maker is None:
        raise PosixError(EINVAL)
    return "".join(line + "\n" for line in maker(network)).encode()


def words_of(address: bytes) -> str:
    """An address as Linux prints it: 32-bit words in the machine's order."""
    return "".join(
        f"{int.from_bytes(address[at : at + 4], 'little'):08X}" for at in range(0, len(address), 4)
    )


def _pair(endpoint: tuple[bytes, int] | None, wide: bool) -> str:
    address, port = endpoint or (bytes(4), 0)
    if wide and len(address) == 4:
        address = bytes(10) + b"\xff\xff" + address if any(address) else bytes(16)
    elif not wide and len(address) == 16:
        address = bytes(4)
    return f"{words_of(address)}:{port:04X}"


# TCP ----------------------------------------------------------------------------------------


def _tcp_line(
    number: int, wide: bool, local: str, remote: str, state: int, queues: str, tail: str
) -> str:
    line = f"{number:4}: {local} {remote} {state:02X} {queues} {tail}"
    return line if wide else line.ljust(ROW_BYTES_TCP)


def _tcp_rows(network: Network, wide: bool) -> Iterable[str]:
    yield TCP6_HEAD if wide else TCP_HEAD.ljust(ROW_BYTES_TCP)
    number, shown = 0, set[int]()
    for socket in list(network.sockets.values()):
        if not isinstance(socket, TcpSocket) or (socket.family != AF_INET) != wide:
            continue
        if socket.listener is not None:
            queues = f"00000000:{len(socket.listener.accepted):08X} 00:00000000 00000000"
            tail = f"{socket.uid:5}        0 {socket.inode} 1 0000000000000000 100 0 0 10 0"
            local, remote = _pair(socket.local, wide), _pair(None, wide)
            yield _tcp_line(number, wide, local, remote, State.LISTEN, queues, tail)
            number += 1
        elif socket.connection is not None:
            shown.add(id(socket.connection))
            yield _connection_line(number, wide, socket.connection, socket)
            number += 1
    others: list[Connection | TimeWait] = [*network.tcp.connections.values()]
    others += network.tcp.time_waits.records.values()
    for connection in others:
        if id(connection) not in shown and (len(connection.local[0]) == 16) == wide:
            yield _connection_line(number, wide, connection, None)
            number += 1


def _connection_line(
    number: int, wide: bool, connection: Connection | TimeWait, socket: TcpSocket | None
) -> str:
    local, remote = _pair(connection.local, wide), _pair(connection.remote, wide)
    unacked = getattr(connection, "unacked_bytes", 0)
    readable = getattr(connection, "readable_bytes", 0)
    queues = f"{unacked:08X}:{readable:08X} 00:00000000 00000000"
    uid, inode = (socket.uid, socket.inode) if socket is not None else (0, 0)
    tail = f"{uid:5}        0 {inode} 1 0000000000000000 20 4 30 10 -1"
    return _tcp_line(number, wide, local, remote, connection.state, queues, tail)


# UDP and raw --------------------------------------------------------------------------------


def _datagram_rows(
    sockets: Iterable[InetSocket], wide: bool, queued: Callable[[InetSocket], tuple[int, int]]
) -> Iterable[str]:
    yield UDP6_HEAD if wide else UDP_HEAD.ljust(ROW_BYTES_UDP)
    for number, socket in enumerate(sockets):
        if (socket.family != AF_INET) != wide:
            continue
        waiting, drops = queued(socket)
        state = 1 if socket.remote is not None else 7
        line = (
            f"{number:5}: {_pair(socket.local, wide)} {_pair(socket.remote, wide)} {state:02X} "
            f"00000000:{waiting:08X} 00:00000000 00000000 {socket.uid:5}        0 {socket.inode} 2 "
            f"0000000000000000 {drops}"
        )
        yield line if wide else line.ljust(ROW_BYTES_UDP)


def _of_udp(socket: InetSocket) -> tuple[int, int]:
    assert isinstance(socket, UdpSocket)
    return socket.queued_bytes, socket.drops


def _of_raw(socket: InetSocket) -> tuple[int, int]:
    assert isinstance(socket, RawSocket)
    return socket.queued_bytes, 0


# Interfaces, routes, neighbours -------------------------------------------------------------


def _dev(network: Network) -> Iterable[str]:
    yield "Inter-|   Receive                                                |  Transmit"
    yield (
        " face |bytes    packets errs drop fifo frame compressed multicast|"
        "bytes    packets errs drop fifo colls carrier compressed"
    )
    for interface in network.stack.interfaces.values():
        c = interface
        yield (
            f"{c.name:>6}: {c.rx_bytes:7} {c.rx_packets:7} {c.rx_errors:4} "
            f"{c.rx_dropped:4}    0     0          0 {c.multicast:9} "
            f"{c.tx_bytes:8} {c.tx_packets:7} {c.tx_errors:4} {c.tx_dropped:4}    0     0       0"
            "          0"
        )


def _route(network: Network) -> Iterable[str]:
    yield (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
    ).ljust(ROW_BYTES_ROUTE)
    for route in network.stack.routes:
        if len(route.network) != 4 or network.stack.interfaces[route.ifindex].is_loopback:
            continue
        name = network.stack.interfaces[route.ifindex].name
        gateway = route.gateway or bytes(4)
        flags = RTF_UP | (RTF_GATEWAY if route.gateway else 0)
        flags |= RTF_HOST if route.prefix_bits == 32 else 0
        yield (
            f"{name}\t{words_of(route.network)}\t{words_of(gateway)}\t{flags:04X}\t0\t0\t"
            f"{route.metric}\t{words_of(mask_of(route.prefix_bits))}\t0\t0\t0"
        ).ljust(ROW_BYTES_ROUTE)


def _route6(network: Network) -> Iterable[str]:
    for route in network.stack.routes:
        if len(route.network) != 16:
            continue
        name = network.stack.interfaces[route.ifindex].name
        gateway = (route.gateway or bytes(16)).hex()
        flags = RTF_UP | (RTF_GATEWAY if route.gateway else 0)
        yield (
            f"{route.network.hex()} {route.prefix_bits:02x} {'0' * 32} 00 {gateway} "
            f"{route.metric:08x} 00000001 00000000 {flags:08x} {name:>8}"
        )


def _if_inet6(network: Network) -> Iterable[str]:
    for index, interface in network.stack.interfaces.items():
        for own in interface.addresses:
            if len(own.address) == 16:
                loopback = own.address == bytes(15) + b"\1"
                scope = 0x10 if loopback else 0x20 if own.address[0] == 0xFE else 0
                yield (
                    f"{own.address.hex()} {index:02x} {own.prefix_bits:02x} {scope:02x} 80 "
                    f"{interface.name:>8}"
                )


def _arp(network: Network) -> Iterable[str]:
    yield "IP address       HW type     Flags       HW address            Mask     Device"
    for neighbour in network.stack.neighbours.entries():
        if len(neighbour.address) != 4:
            continue
        address = ".".join(map(str, neighbour.address))
        flags = 2 if neighbour.mac else 0
        mac = (neighbour.mac or bytes(6)).hex(":")
        device = neighbour.interface.name if neighbour.interface is not None else "*"
        yield f"{address:<16} 0x1         0x{flags:x}         {mac:<21} *        {device}"


# Counters -----------------------------------------------------------------------------------


TCP_COUNTERS = (
    "ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "InSegs", "OutSegs",
    "RetransSegs", "InErrs", "OutRsts",
)  # fmt: skip


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


def _snmp(network: Network) -> Iterable[str]:
    for title, counters in (
        ("Ip", network.stack.ip.as_dict()),
        ("Icmp", network.stack.icmp.as_dict()),
        ("Tcp", _tcp_counters(network)),
        ("Udp", network.stack.udp.as_dict()),
    ):
        yield f"{title}: {' '.join(counters)}"
        yield f"{title}: {' '.join(map(str, counters.values()))}"


def _sockstat(network: Network) -> Iterable[str]:
    sockets = network.sockets.values()
    tcp = sum(isinstance(socket, TcpSocket) for socket in sockets)
    waiting = len(network.tcp.time_waits.records)
    yield f"sockets: used {len(network.sockets)}"
    yield f"TCP: inuse {tcp} orphan 0 tw {waiting} alloc {tcp} mem 0"
    yield f"UDP: inuse {len(network.udp.sockets())} mem 0"
    yield "UDPLITE: inuse 0"
    yield f"RAW: inuse {len(network.raws)}"
    yield "FRAG: inuse 0 memory 0"


MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {
    "arp": _arp,
    "dev": _dev,
    "if_inet6": _if_inet6,
    "ipv6_route": _route6,
    "raw": lambda network: _datagram_rows(network.raws, False, _of_raw),
    "raw6": lambda network: _datagram_rows(network.raws, True, _of_raw),
    "route": _route,
    "snmp": _snmp,
    "sockstat": _sockstat,
    "tcp": lambda network: _tcp_rows(network, False),
    "tcp6": lambda network: _tcp_rows(network, True),
    "udp": lambda network: _datagram_rows(network.udp.sockets(), False, _of_udp),
    "udp6": lambda network: _datagram_rows(network.udp.sockets(), True, _of_udp),
}
