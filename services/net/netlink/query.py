"""What a handler gets of a request, and what it answers with."""

from __future__ import annotations

from errno import EINVAL, ENODEV
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.net.netlink import abi
from services.net.netlink.message import Message, attributes, name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.net.ip.interface import Interface
    from services.net.socket.network import Network

Answer = tuple[int, bytes]
"""Type and body of a message of the kernel's."""


@attrs.frozen
class Query:
    """One request and who made it. `strict`: NETLINK_GET_STRICT_CHK, dumps are filtered."""

    network: Network
    message: Message
    uid: int = 0
    strict: bool = False

    @property
    def flags(self) -> int:
        """NLM_F_*."""
        return self.message.flags

    @property
    def family(self) -> int:
        """The first byte of every body."""
        return self.message.body[0]

    def fixed(self, size: int) -> bytes:
        """The body's fixed part; EINVAL where it is shorter."""
        if len(self.message.body) < size:
            raise PosixError(EINVAL)
        return self.message.body[:size]

    def attributes(self, size: int) -> dict[int, bytes]:
        """The attributes behind a fixed part of that size."""
        return attributes(self.message.body[size + 3 & ~3 :])

    def interface(self, index: int) -> Interface:
        """ENODEV: there is none of that index."""
        return self.network.stack.interface(index)

    def interface_named(self, value: bytes | None) -> Interface:
        """The interface that a string attribute names; ENODEV."""
        found = self.network.interface_index(name(value))
        if not found:
            raise PosixError(ENODEV)
        return self.network.stack.interfaces[found]

    @property
    def create(self) -> bool:
        """NLM_F_CREATE."""
        return bool(self.flags & abi.F_CREATE)

    @property
    def exclusive(self) -> bool:
        """NLM_F_EXCL."""
        return bool(self.flags & abi.F_EXCL)

    @property
    def replace(self) -> bool:
        """NLM_F_REPLACE."""
        return bool(self.flags & abi.F_REPLACE)


@attrs.frozen
class Handler:
    """Who serves a type: `do` for one thing, `dump` for all of them; None: EOPNOTSUPP."""

    do: Callable[[Query], list[Answer]] | None = None
    dump: Callable[[Query], Iterator[Answer]] | None = None
