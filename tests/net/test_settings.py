"""Does /proc/sys/net show and change what is at work?"""

from __future__ import annotations

import random
from errno import EACCES, EADDRINUSE, EINVAL, ENOENT

import pytest

from bus.errors import PosixError
from services.net import api, settings
from services.net.api import Board
from services.net.socket import abi, names
from services.net.socket.network import Network
from services.net.socket.stream import TcpSocket

STREAM, DATAGRAM = 1, 2


@pytest.fixture
def network() -> Network:
    return Network(Board(), memoryview(bytearray(4096)), random.Random(5).randbytes)


def put(network: Network, name: str, value: bytes) -> int:
    """The errno."""
    try:
        settings.write(network, name, value)
    except PosixError as error:
        return error.errno
    return 0


def socket(network: Network, family: int = abi.AF_INET, type_: int = STREAM) -> TcpSocket:
    made = network.open(family, type_, 0, 1, 0, True)
    assert isinstance(made, TcpSocket)
    return made


def integer(made: TcpSocket, level: int, option: int) -> int:
    return int.from_bytes(made.get_option(level, option, b""), "little")


def test_procfs_shows_them_all() -> None:
    writable = {name for name, setting in settings.SETTINGS.items() if setting.put is not None}
    assert {*api.SETTINGS, "ipv4/route/flush"} == writable
    assert set(api.READ_ONLY_SETTINGS) == set(settings.SETTINGS) - writable


def test_every_one_can_be_read_and_written_back(network: Network) -> None:
    for name in api.SETTINGS:
        before = settings.read(network, name)
        assert before.endswith(b"\n")
        assert not put(network, name, before), name
        assert settings.read(network, name) == before
    for name in api.READ_ONLY_SETTINGS:
        assert put(network, name, settings.read(network, name)) == EINVAL


def test_unknown(network: Network) -> None:
    assert put(network, "core/nosuch", b"1") == ENOENT
    with pytest.raises(PosixError) as caught:
        settings.read(network, "core/nosuch")
    assert caught.value.errno == ENOENT


@pytest.mark.parametrize(
    "value", [b"", b"x", b"1 2", b"-1", b"65536", b"1_0", b"0b1", b"0o7", b"\xb2", b"08", b"1x"]
)
def test_what_is_no_number_within_bounds(network: Network, value: bytes) -> None:
    assert put(network, "core/somaxconn", value) == EINVAL
    assert settings.read(network, "core/somaxconn") == b"4096\n"


@pytest.mark.parametrize(
    ("value", "kept"), [(b"16\n", 16), (b"0x10", 16), (b" 020\t", 16), (b"0", 0), (b"16\0x", 16)]
)
def test_numbers_as_c_has_them(network: Network, value: bytes, kept: int) -> None:
    assert not put(network, "core/somaxconn", value)
    assert network.max_backlog == kept


def test_new_sockets_start_with_them(network: Network) -> None:
    before = socket(network)
    assert not put(network, "ipv4/tcp_keepalive_time", b"100")
    assert not put(network, "ipv4/tcp_congestion_control", b"reno\n")
    assert not put(network, "ipv4/tcp_fin_timeout", b"30")
    assert not put(network, "ipv4/tcp_notsent_lowat", b"1000")
    after = socket(network)
    assert integer(before, abi.IPPROTO_TCP, abi.TCP_KEEPIDLE) == 7200
    assert integer(after, abi.IPPROTO_TCP, abi.TCP_KEEPIDLE) == 100
    assert integer(after, abi.IPPROTO_TCP, abi.TCP_LINGER2) == 30
    assert after.get_option(abi.IPPROTO_TCP, abi.TCP_CONGESTION, b"").rstrip(b"\0") == b"reno"
    assert after.settings.notsent_lowat == 1000
    after.set_setting("keep_count", 3)
    assert after.settings.keep_count == 3
    assert network.tcp_defaults.keep_count == 9


def test_low_water_without_a_limit(network: Network) -> None:
    assert settings.read(network, "ipv4/tcp_notsent_lowat") == b"4294967295\n"
    assert not put(network, "ipv4/tcp_notsent_lowat", b"4294967295")
    assert network.tcp_defaults.notsent_lowat == 0


def test_unknown_congestion_control(network: Network) -> None:
    assert put(network, "ipv4/tcp_congestion_control", b"bbr") == ENOENT
    assert put(network, "ipv4/tcp_congestion_control", b"") == ENOENT


def test_ports_are_given_out_of_the_range(network: Network) -> None:
    assert not put(network, "ipv4/ip_local_port_range", b"7000 7002")
    got = set()
    kept = []
    for _ in range(3):
        one = socket(network)
        one.bind(names.encode(b"\x7f\0\0\1", 0, abi.AF_INET), False)
        assert one.local is not None
        got.add(one.local[1])
        kept.append(one)
    assert got == {7000, 7001, 7002}
    with pytest.raises(PosixError) as caught:
        socket(network).bind(names.encode(b"\x7f\0\0\1", 0, abi.AF_INET), False)
    assert caught.value.errno == EADDRINUSE


def test_a_range_is_of_unprivileged_ports(network: Network) -> None:
    assert put(network, "ipv4/ip_local_port_range", b"1023 2000") == EINVAL
    assert put(network, "ipv4/ip_local_port_range", b"3000 2000") == EINVAL
    assert put(network, "ipv4/ip_unprivileged_port_start", b"40000") == EINVAL
    assert not put(network, "ipv4/ip_local_port_range", b"2000")
    assert settings.read(network, "ipv4/ip_local_port_range") == b"2000\t60999\n"


def test_who_may_bind_what(network: Network) -> None:
    name = names.encode(b"\x7f\0\0\1", 80, abi.AF_INET)
    with pytest.raises(PosixError) as caught:
        socket(network).bind(name, False)
    assert caught.value.errno == EACCES
    assert not put(network, "ipv4/ip_unprivileged_port_start", b"80")
    socket(network).bind(name, False)


def test_ipv6_alone(network: Network) -> None:
    assert not socket(network, abi.AF_INET6).v6_only
    assert not put(network, "ipv6/bindv6only", b"1")
    made = socket(network, abi.AF_INET6)
    assert made.v6_only
    assert integer(made, abi.IPPROTO_IPV6, abi.IPV6_V6ONLY) == 1
    assert not socket(network).v6_only


def test_flush_forgets_path_mtus(network: Network) -> None:
    before = network.stack.generation
    assert not put(network, "ipv4/route/flush", b"1")
    assert network.stack.generation > before
    assert settings.read(network, "ipv4/route/flush") == b"\n"
