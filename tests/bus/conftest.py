"""One suite for both placements: `linked` gives a port to the sample service, inline or remote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from bus.core import Bus, Port
from bus.listener import Listener
from bus.transport import RemotePort, connect
from tests.bus.sample_service import SampleService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = b"a secret of enough bytes"
RANKS = {"deep": 0, "sample": 1, "caller": 2}
PEERS = {"caller": frozenset({"sample"}), "sample": frozenset({"deep"})}


@attrs.define
class Linked:
    """A caller's port and what lies behind it."""

    bus: Bus
    service: SampleService
    port: Port
    listener: Listener | None = None

    @property
    def connection(self) -> Any:
        assert isinstance(self.port, RemotePort)
        return self.port.connection


@pytest.fixture(params=["inline", "stream"])
def placement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def linked(placement: str, nursery: trio.Nursery) -> AsyncIterator[Linked]:
    service = SampleService()
    bus = Bus(RANKS, PEERS)
    bus.serve("sample", service.handlers)
    if placement == "inline":
        yield Linked(bus, service, bus.port("caller", "sample"))
        return
    yield await remote(bus, service, nursery)


async def remote(
    bus: Bus, service: SampleService, nursery: trio.Nursery, window: int = 64
) -> Linked:
    """The sample service behind a pair of connected sockets."""
    listener = Listener(bus, SECRET, window=window)
    ours, theirs = trio.socket.socketpair()
    nursery.start_soon(listener.serve, trio.SocketStream(theirs))
    port = await connect(trio.SocketStream(ours), "caller", "sample", SECRET, nursery)
    return Linked(bus, service, port, listener)
