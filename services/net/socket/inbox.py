"""What has come for a socket that keeps boundaries, until it is received.

Two accounts are kept of it. SO_RCVBUF is charged as Linux does: the data and what a buffer takes
beside it there (`OVERHEAD_BYTES`, a small skb's truesize). The kernel heap is charged what it
takes here.
"""

from __future__ import annotations

from collections import deque
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bus.census import Kind, kind

if TYPE_CHECKING:
    from services.net.proto.packet import Part

DATAGRAM = kind("net", "datagram")
OVERHEAD_BYTES = 768
VIEW_BYTES = 320
"""A view of a received frame, beside the data: itself, the frame's headers and its object."""

Item = TypeVar("Item", bound=tuple[Any, ...])
"""The data first, then what is to be known of it."""


class Inbox(Generic[Item]):
    """Items in order of arrival. `kind` is what one of them costs beside its data."""

    __slots__ = ("_items", "_kind", "charged_bytes")

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._items: deque[Item] = deque()
        self.charged_bytes = 0
        """Of SO_RCVBUF."""

    def __del__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, limit_bytes: int) -> bool:
        """Take one more; False where it does not fit into SO_RCVBUF."""
        data: Part = item[0]
        charge = len(data) + OVERHEAD_BYTES
        if self.charged_bytes + charge > limit_bytes:
            return False
        self.charged_bytes += charge
        self._kind.made()
        self._kind.grew(_taken(data))
        self._items.append(item)
        return True

    def first(self) -> Item:
        """The next to be received; IndexError where there is none."""
        return self._items[0]

    def drop_first(self) -> None:
        """It has been received."""
        data: Part = self._items.popleft()[0]
        self.charged_bytes -= len(data) + OVERHEAD_BYTES
        self._kind.freed()
        self._kind.grew(-_taken(data))

    def next_bytes(self) -> int:
        """The size of the next one, 0 where there is none."""
        return len(self._items[0][0]) if self._items else 0

    def clear(self) -> None:
        """Nobody will receive what is here."""
        while self._items:
            self.drop_first()


def _taken(data: Part) -> int:
    return getsizeof(data) if type(data) is bytes else len(data) + VIEW_BYTES
