"""Signatures of the calls on sockets."""

from ..buffers import buffer, filled
from ..clock import KEPT_TIMEOUT, TIMESPEC
from ..messages import MSGHDR, RECEIVED_MESSAGE, RECEIVED_MESSAGES, SENT_MESSAGES
from ..model import Ctx, ResultKind, Signature, call
from ..scalars import FD, INT, UINT, ULONG, flags, value
from ..sockaddr import (
    VALUE_LENGTH,
    address_filled,
    address_given,
    address_length,
    length_unreadable,
)
from ..sockopts import GOT_OPTION, GOT_VALUE, LEVEL, OPTION, OPTION_VALUE
from ..tables import network as t
from ..text import unsigned
from .pairs import PIPE

_MSG = flags(t.MSG_FLAGS)


def _socket_type(word: int, ctx: Ctx) -> str:
    """Write a socket's type with its flags."""
    word = unsigned(word)
    name = t.SOCKET_TYPES.names.get(word & 0xF)
    bits = word if name is None else word & ~0xF
    if name is None:
        return t.SOCKET_FLAGS.flags(bits)
    return "|".join([name, *([t.SOCKET_FLAGS.flags(bits)] if bits else [])])


_PROTOCOLS = {
    2: t.INET_PROTOCOLS, 10: t.INET_PROTOCOLS, 16: t.NETLINK_PROTOCOLS, 31: t.BLUETOOTH_PROTOCOLS,
}  # fmt: skip


def _protocol(word: int, ctx: Ctx) -> str:
    """Write a socket's protocol, by name where its family names them."""
    family = unsigned(ctx.args[0])
    if family == 17:
        return f"htons({t.ETHERNET_PROTOCOLS.value(unsigned(word >> 8, 8) | (word & 0xFF) << 8)})"
    table = _PROTOCOLS.get(family)
    return str(word) if table is None else table.value(unsigned(word))


def _left(ctx: Ctx) -> str | None:
    """Say how much of recvmmsg's timeout is left."""
    if ctx.failed:
        return None
    if not ctx.result:
        return "Timeout"
    return f"left {TIMESPEC(ctx.args[4], ctx)}" if ctx.args[4] else None


def _named() -> Signature:
    return call(
        ResultKind.DECIMAL, None, length_unreadable(2, 1, 3, needs=1),
        fd=FD, address=address_filled(2), length=address_length(1),
    )  # fmt: skip


NETWORK: dict[str, Signature] = {
    "socket": call(family=value(t.FAMILIES), type=_socket_type, protocol=_protocol),
    "socketpair": call(family=value(t.FAMILIES), type=_socket_type, protocol=ULONG, fds=PIPE),
    "bind": call(fd=FD, address=address_given(2), length=INT),
    "connect": call(fd=FD, address=address_given(2), length=INT),
    "listen": call(fd=FD, backlog=INT),
    "accept": _named(),
    "accept4": call(
        ResultKind.DECIMAL, None, length_unreadable(2, 1, 4, needs=1),
        fd=FD, address=address_filled(2), length=address_length(1), flags=flags(t.SOCKET_FLAGS),
    ),
    "getsockname": _named(),
    "getpeername": _named(),
    "shutdown": call(fd=FD, how=value(t.SHUTDOWN_HOW)),
    "sendto": call(
        fd=FD, buffer=buffer(2), size=ULONG, flags=_MSG, address=address_given(5), length=INT
    ),
    "recvfrom": call(
        fd=FD, buffer=filled(2), size=ULONG, flags=_MSG, address=address_filled(5),
        length=address_length(4),
    ),
    "sendmsg": call(fd=FD, message=MSGHDR, flags=_MSG),
    "recvmsg": call(
        ResultKind.DECIMAL, None, lambda ctx: 1 if ctx.peek(ctx.args[1], 56) else 3,
        fd=FD, message=RECEIVED_MESSAGE, flags=_MSG),
    "sendmmsg": call(fd=FD, messages=SENT_MESSAGES, count=UINT, flags=_MSG),
    "recvmmsg": call(
        ResultKind.DECIMAL, _left,
        fd=FD, messages=RECEIVED_MESSAGES, count=UINT, flags=_MSG, timeout=KEPT_TIMEOUT,
    ),
    "setsockopt": call(fd=FD, level=LEVEL, option=OPTION, value=OPTION_VALUE, length=INT),
    "getsockopt": call(
        ResultKind.DECIMAL, None, length_unreadable(4, 3, 5),
        fd=FD, level=LEVEL, option=GOT_OPTION, value=GOT_VALUE, length=VALUE_LENGTH,
    ),
}  # fmt: skip
