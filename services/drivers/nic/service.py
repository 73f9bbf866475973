"""The NIC driver's service: attaches rings and moves frames between them and a back end."""

from __future__ import annotations

from errno import EINVAL, ENODEV
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.drivers.nic.api import Attach, Card, Describe, Detach, Kick, Wires

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NO_CARD = Card("none", bytes(6), 1500, offload=False)


class NicService:
    """Serves "nic" without any link."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.card = NO_CARD
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            Describe: self.describe,
            Attach: self.attach,
            Kick: self.kick,
            Detach: self.detach,
        }

    async def describe(self, request: Describe) -> Card:
        """The card as it is."""
        return self.card

    async def attach(self, request: Attach) -> None:
        """There is nothing to attach to."""
        raise PosixError(EINVAL if not request.transmit else ENODEV)

    async def kick(self, request: Kick) -> None:
        """There are no queues."""
        raise PosixError(ENODEV)

    async def detach(self, request: Detach) -> None:
        """Forget the queues."""
