"""Is the network whole? Asked when a new incarnation of the service takes it up, and by tests.

Raises KernelBug at the first that is not:
- a socket is found by its handle, and no two have the same place on the board;
- a connection is found by its addresses and ports, and has not been closed;
- what a listener owes its backlog is not more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import KernelBug

if TYPE_CHECKING:
    from services.net.socket.network import Network


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise KernelBug(f"net: {what}")


def check(network: Network) -> None:
    """Raise KernelBug unless sockets, slots and connections are as they should be."""
    slots: set[int] = set()
    for handle, socket in network.sockets.items():
        _require(socket.handle == handle, f"socket {socket.handle} is entered as {handle}")
        _require(socket.slot not in slots, f"two sockets have slot {socket.slot} of the board")
        slots.add(socket.slot)
    free = network.free_slots
    _require(slots.isdisjoint(free), "a slot of the board is free and a socket's")
    _require(len(set(free)) == len(free), "a slot of the board is free twice")
    for key, connection in network.tcp.connections.items():
        _require(connection.key == key, f"connection {connection.key} is entered as {key}")
