"""/proc/sys/net: what the network is told to do, and by what numbers it lives.

Each setting shows the value that is at work, and those that can be written are heeded at once,
by sockets opened from then on where sockets have an option of their own. What cannot be changed
here is read-only, though Linux would let root write it.
"""

from __future__ import annotations

import re
from errno import EINVAL, ENOENT
from typing import TYPE_CHECKING, Any

import attrs

from bus.errors import PosixError
from services.net.ip import loopback, reassembly
from services.net.socket import abi, stream
from services.net.socket.options_ip import DEFAULT_TTL
from services.net.socket.options_tcp import CONGESTION_NAMES, MAX_FIN_S
from services.net.tcp.limits import MS, SECOND, with_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.socket.network import Network

MAX_BACKLOG = MAX_PORT = 65535
KEEP_MAX_S, RETRIES_MAX, BYTE_MAX = 32767, 127, 255
LEAST_BUFFER_BYTES = 4096
UNLIMITED = 0xFFFF_FFFF
NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)", re.ASCII)


@attrs.frozen
class Setting:
    """How a value is shown, and how it is set from the numbers or the words written."""

    show: Callable[[Network], str]
    put: Callable[[Network, list[str]], None] | None = None


def read(network: Network, name: str) -> bytes:
    """The text of /proc/sys/net/`name`; ENOENT."""
    return (_of(name).show(network) + "\n").encode()


def write(network: Network, name: str, value: bytes) -> None:
    """Set it; EINVAL: not of its kind, or out of bounds, or not to be set. ENOENT."""
    put = _of(name).put
    if put is None:
        raise PosixError(EINVAL)
    put(network, value.split(b"\0", 1)[0].decode("latin-1").split())


def _of(name: str) -> Setting:
    setting = SETTINGS.get(name)
    if setting is None:
        raise PosixError(ENOENT)
    return setting


def _numbers(words: list[str], count: int, low: int, high: int) -> list[int]:
    """Exactly so many numbers within bounds (hexadecimal and octal too, as C has them)."""
    try:
        numbers = [_number(word) for word in words]
    except ValueError:
        raise PosixError(EINVAL) from None
    if len(numbers) != count or not all(low <= number <= high for number in numbers):
        raise PosixError(EINVAL)
    return numbers


def _number(word: str) -> int:
    if NUMBER.fullmatch(word) is None:
        raise ValueError(word)
    octal = word.lstrip("-").startswith("0") and "x" not in word.lower()
    return int(word, 8 if octal else 0)


def _fixed(value: int | str) -> Setting:
    return Setting(lambda network: str(value))


def _attribute(
    of: Callable[[Network], Any], name: str, low: int, high: int, unit: int = 1
) -> Setting:
    """An integer attribute, kept in `unit`s."""

    def show(network: Network) -> str:
        return str(int(getattr(of(network), name)) // unit)

    def put(network: Network, words: list[str]) -> None:
        setattr(of(network), name, _numbers(words, 1, low, high)[0] * unit)

    return Setting(show, put)


def _switch(of: Callable[[Network], Any], name: str) -> Setting:
    def put(network: Network, words: list[str]) -> None:
        setattr(of(network), name, bool(_numbers(words, 1, 0, 1)[0]))

    return Setting(lambda network: str(int(getattr(of(network), name))), put)


def _put_default(network: Network, name: str, value: Any) -> None:
    network.tcp_defaults = with_setting(network.tcp_defaults, name, value)


def _default(name: str, low: int, high: int, unit: int = 1) -> Setting:
    """An integer of what TCP sockets start with, kept in `unit`s."""

    def show(network: Network) -> str:
        return str(int(getattr(network.tcp_defaults, name)) // unit)

    def put(network: Network, words: list[str]) -> None:
        _put_default(network, name, _numbers(words, 1, low, high)[0] * unit)

    return Setting(show, put)


def _limits(network: Network) -> Any:
    return network.tcp.limits


def _itself(network: Network) -> Any:
    return network


def _policy(network: Network) -> Any:
    return network.port_policy


# Those that are not a number of their own -----------------------------------------------------


def _show_range(network: Network) -> str:
    return f"{network.port_policy.first}\t{network.port_policy.last}"


def _put_range(network: Network, words: list[str]) -> None:
    """One number alone is the first; the last stays."""
    policy = network.port_policy
    if len(words) == 1:
        words = [*words, str(policy.last)]
    first, last = _numbers(words, 2, 1, MAX_PORT)
    if last < first or first < policy.unprivileged:
        raise PosixError(EINVAL)
    policy.first, policy.last = first, last


def _put_unprivileged(network: Network, words: list[str]) -> None:
    start = _numbers(words, 1, 0, MAX_PORT)[0]
    if start > network.port_policy.first:
        raise PosixError(EINVAL)
    network.port_policy.unprivileged = start


def _put_congestion(network: Network, words: list[str]) -> None:
    if not words or words[0] not in CONGESTION_NAMES:
        raise PosixError(ENOENT)
    _put_default(network, "congestion", words[0])


def _show_low_water(network: Network) -> str:
    return str(network.tcp_defaults.notsent_lowat or UNLIMITED)


def _put_low_water(network: Network, words: list[str]) -> None:
    bytes_ = _numbers(words, 1, 0, UNLIMITED)[0]
    _put_default(network, "notsent_lowat", 0 if bytes_ == UNLIMITED else bytes_)


def _send_sizes(network: Network) -> str:
    return f"{LEAST_BUFFER_BYTES}\t{stream.SEND_BYTES}\t{network.tcp.limits.send_max_bytes}"


def _receive_sizes(network: Network) -> str:
    return f"{LEAST_BUFFER_BYTES}\t{stream.RECEIVE_BYTES}\t{network.tcp.limits.receive_max_bytes}"


def _flush(network: Network, words: list[str]) -> None:
    _numbers(words, 1, -(1 << 31), (1 << 31) - 1)
    network.stack.router.flush()


_ALGORITHMS = _fixed(" ".join(CONGESTION_NAMES))
_NAMES = ("all", "default", "lo")
CORE = {
    "netdev_max_backlog": _fixed(loopback.MAX_PACKETS),
    "rmem_default": _fixed(abi.BUFFER_DEFAULT_BYTES),
    "rmem_max": _fixed(abi.BUFFER_MAX_BYTES),
    "somaxconn": _attribute(_itself, "max_backlog", 0, MAX_BACKLOG),
    "wmem_default": _fixed(abi.BUFFER_DEFAULT_BYTES),
    "wmem_max": _fixed(abi.BUFFER_MAX_BYTES),
}
IPV4 = {
    "icmp_echo_ignore_all": _fixed(0),
    "icmp_echo_ignore_broadcasts": _fixed(1),
    "ip_default_ttl": _fixed(DEFAULT_TTL),
    "ip_forward": _fixed(0),
    "ip_local_port_range": Setting(_show_range, _put_range),
    "ip_nonlocal_bind": _fixed(0),
    "ip_unprivileged_port_start": Setting(
        lambda network: str(network.port_policy.unprivileged), _put_unprivileged
    ),
    "ipfrag_high_thresh": _fixed(reassembly.MAX_BYTES),
    "ipfrag_time": _fixed(reassembly.TIMEOUT_NS // SECOND),
    "ping_group_range": _fixed("0\t2147483647"),
    "tcp_allowed_congestion_control": _ALGORITHMS,
    "tcp_available_congestion_control": _ALGORITHMS,
    "tcp_challenge_ack_limit": _attribute(_limits, "challenge_acks_per_second", 0, (1 << 31) - 1),
    "tcp_congestion_control": Setting(
        lambda network: str(network.tcp_defaults.congestion), _put_congestion
    ),
    "tcp_ecn": _fixed(0),
    "tcp_fastopen": _fixed(0),
    "tcp_fin_timeout": _default("linger2_ns", 1, MAX_FIN_S, SECOND),
    "tcp_invalid_ratelimit": _attribute(_limits, "invalid_interval_ns", 0, (1 << 31) - 1, MS),
    "tcp_keepalive_intvl": _default("keep_interval_ns", 1, KEEP_MAX_S, SECOND),
    "tcp_keepalive_probes": _default("keep_count", 1, BYTE_MAX),
    "tcp_keepalive_time": _default("keep_idle_ns", 1, KEEP_MAX_S, SECOND),
    "tcp_max_orphans": _attribute(_limits, "max_orphans", 0, MAX_BACKLOG),
    "tcp_max_syn_backlog": _attribute(_limits, "max_syn_backlog", 1, MAX_BACKLOG),
    "tcp_max_tw_buckets": _attribute(_limits, "max_time_waits", 0, MAX_BACKLOG),
    "tcp_moderate_rcvbuf": _fixed(1),
    "tcp_mtu_probing": _fixed(0),
    "tcp_notsent_lowat": Setting(_show_low_water, _put_low_water),
    "tcp_retries2": _fixed(15),
    "tcp_rmem": Setting(_receive_sizes),
    "tcp_sack": _switch(_limits, "sack"),
    "tcp_syn_retries": _default("syn_retries", 1, RETRIES_MAX),
    "tcp_synack_retries": _attribute(_limits, "syn_ack_retries", 0, BYTE_MAX),
    "tcp_syncookies": _switch(_limits, "syn_cookies"),
    "tcp_timestamps": _switch(_limits, "timestamps"),
    "tcp_tw_reuse": _switch(_limits, "reuse_time_wait"),
    "tcp_window_scaling": _switch(_limits, "window_scaling"),
    "tcp_wmem": Setting(_send_sizes),
}
IPV6 = {
    "bindv6only": _switch(_itself, "v6_only"),
    "ip6frag_high_thresh": _fixed(reassembly.MAX_BYTES),
    "ip6frag_time": _fixed(reassembly.TIMEOUT_NS // SECOND),
    "ip_nonlocal_bind": _fixed(0),
}
SETTINGS: dict[str, Setting] = {
    **{f"core/{name}": setting for name, setting in CORE.items()},
    **{f"ipv4/conf/{name}/forwarding": _fixed(0) for name in _NAMES},
    **{f"ipv4/conf/{name}/rp_filter": _fixed(0) for name in _NAMES},
    **{f"ipv4/{name}": setting for name, setting in IPV4.items()},
    "ipv4/route/flush": Setting(lambda network: "", _flush),
    **{f"ipv6/conf/{name}/disable_ipv6": _fixed(0) for name in _NAMES},
    **{f"ipv6/conf/{name}/forwarding": _fixed(0) for name in _NAMES},
    **{f"ipv6/{name}": setting for name, setting in IPV6.items()},
}
