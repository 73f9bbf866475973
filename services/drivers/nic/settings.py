"""What a card is connected to, as boot tells it; and the refusal of what cannot be."""

from __future__ import annotations

import attrs


class LinkRefused(Exception):
    """The host does not let the card be connected as asked: cause and cure, each a clause."""

    def __init__(self, cause: str, cure: str, error: int = 0) -> None:
        super().__init__(f"{cause} ({cure})")
        self.cause, self.cure, self.error = cause, cure, error


@attrs.frozen
class Published:
    """A port of the host that leads to one of the guest.

    `address` is the host's, as text; empty: all that it has, IPv4 and IPv6.
    """

    address: str
    host_port: int
    guest_port: int
    udp: bool = False

    @property
    def outside(self) -> str:
        """Where on the host: [ADDR:]PORT/KIND."""
        return f"{self._prefix()}{self.host_port}/{'udp' if self.udp else 'tcp'}"

    def _prefix(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return shown and f"{shown}:"

    def __str__(self) -> str:
        kind = "udp" if self.udp else "tcp"
        return f"{self._prefix()}{self.host_port}:{self.guest_port}/{kind}"


@attrs.frozen
class Network:
    """`--net`: kind is none, user or tap; the rest is the tap's."""

    kind: str = "user"
    tap: str = ""
    """The interface's name on the host."""
    address: bytes = b""
    """The guest's own address there, or b"": none is suggested to it."""
    prefix_bits: int = 0
    gateway: bytes = b""
    name_server: bytes = b""
