"""/proc/net/{tcp,udp,raw,icmp}[6] and netlink: one line for each socket or connection.

Times are in hundredths of a second. Pointers are zeros, as Linux shows them to who may not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net import census
from services.net.report.format import endpoint
from services.net.socket.abi import AF_INET, AF_INET6
from services.net.socket.datagram import UdpSocket
from services.net.socket.raw import PingSocket, RawSocket
from services.net.tcp.limits import NEVER
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from services.net.census import TcpSeen
    from services.net.socket.inet import InetSocket
    from services.net.socket.network import Network

_COLUMNS = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
TCP_HEAD = f"  sl  local_address rem_address   {_COLUMNS}"
TCP6_HEAD = (
    f"  sl  local_address                         remote_address                        {_COLUMNS}"
)
UDP_HEAD = f"   sl  local_address rem_address   {_COLUMNS} ref pointer drops"
RAW_HEAD = f"{TCP_HEAD} ref pointer drops"
WIDE_HEAD = f"{TCP6_HEAD} ref pointer drops"
TCP_BYTES, UDP_BYTES = 149, 127
NS_PER_TICK = 10_000_000
POINTER = "0" * 16
ATO_TICKS = 4


def _tcp(network: Network, wide: bool) -> Iterable[str]:
    family = AF_INET6 if wide else AF_INET
    yield TCP6_HEAD if wide else TCP_HEAD.ljust(TCP_BYTES)
    number = 0
    for seen in census.tcp(network):
        if seen.family != family:
            continue
        local, remote = endpoint(seen.local, wide), endpoint(seen.remote, wide)
        line = (
            f"{number:4}: {local} {remote} {seen.state:02X} "
            f"{seen.send_queue:08X}:{seen.receive_queue:08X} "
            f"{seen.timer:02X}:{seen.expires_ns // NS_PER_TICK:08X} {seen.retransmits:08X} "
            f"{seen.uid:5} {seen.probes:8} {seen.inode} {_tail(seen)}"
        )
        yield line if wide else line.ljust(TCP_BYTES)
        number += 1


def _tail(seen: TcpSeen) -> str:
    """References, pointer; of a whole connection also RTO, ATO, its ACKs, and its windows."""
    c = seen.connection
    if seen.state == State.LISTEN:
        return f"1 {POINTER} 100 0 0 10 0"
    if c is None:
        return f"3 {POINTER}"
    if c.state is State.SYN_RECV and seen.socket is None:
        return f"0 {POINTER}"
    control = c.control
    threshold = -1 if control.ssthresh == NEVER else control.ssthresh // c.mss
    acks = c.quick << 1 | bool(c.pingpong)
    references = 1 if seen.socket is None else 2
    return (
        f"{references} {POINTER} {c.rtt.rto // NS_PER_TICK} {ATO_TICKS} {acks} "
        f"{max(control.cwnd // c.mss, 1)} {threshold}"
    )


def _datagrams(sockets: Sequence[InetSocket], wide: bool, head: str, pad: int) -> Iterable[str]:
    """UDP and ICMP number their lines; of a raw socket the protocol takes number and port."""
    yield head.ljust(0 if wide else pad)
    for number, socket in enumerate(sockets):
        if (socket.family != AF_INET) != wide:
            continue
        local, drops, at = socket.local, 0, number
        waiting = socket.held()[0]
        if isinstance(socket, RawSocket) and not isinstance(socket, PingSocket):
            local, at = ((local or (socket.any_address, 0))[0], socket.protocol), socket.protocol
        elif isinstance(socket, UdpSocket):
            drops = socket.drops
        state = State.ESTABLISHED if socket.remote is not None else State.CLOSE
        line = (
            f"{at:{5 if pad or wide else 4}}: {endpoint(local, wide)} "
            f"{endpoint(socket.remote, wide)} {state:02X} 00000000:{waiting:08X} "
            f"00:00000000 00000000 {socket.uid:5}        0 {socket.inode} 2 {POINTER} {drops}"
        )
        yield line.ljust(0 if wide else pad)


def _raws(network: Network, ping: bool) -> list[InetSocket]:
    return [one for one in network.raws if isinstance(one, PingSocket) is ping]


def _netlink(network: Network) -> Iterable[str]:
    yield (
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode"
    )
    for one in network.netlink.sockets:
        yield (
            f"{POINTER} {one.protocol:<3} {one.port:<10} {one.group_bits:08x} "
            f"{one.queued_bytes:<8} {0:<8} {int(one.dumping):<5} {2:<8} {one.drops:<8} "
            f"{one.inode:<8}"
        )


def _packet(network: Network) -> Iterable[str]:
    """There is no AF_PACKET, so none is open."""
    yield "sk               RefCnt Type Proto  Iface R Rmem   User   Inode"


MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {
    "tcp": lambda network: _tcp(network, False),
    "tcp6": lambda network: _tcp(network, True),
    "udp": lambda network: _datagrams(network.udp.sockets(), False, UDP_HEAD, UDP_BYTES),
    "udp6": lambda network: _datagrams(network.udp.sockets(), True, WIDE_HEAD, 0),
    "raw": lambda network: _datagrams(_raws(network, False), False, RAW_HEAD, 0),
    "raw6": lambda network: _datagrams(_raws(network, False), True, WIDE_HEAD, 0),
    "icmp": lambda network: _datagrams(_raws(network, True), False, RAW_HEAD, UDP_BYTES),
    "icmp6": lambda network: _datagrams(_raws(network, True), True, WIDE_HEAD, 0),
    "netlink": _netlink,
    "packet": _packet,
}
