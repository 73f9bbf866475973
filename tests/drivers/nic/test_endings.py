"""However connections end, is what arrived a prefix of what was sent, and nothing left behind?"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from services.drivers.nic.settings import Published
from tests.drivers.nic.hostside import HERE, started, until

if TYPE_CHECKING:
    from tests.drivers.nic.peer import Listener, Stream

pytestmark = pytest.mark.usefixtures("nothing_left")

ENDINGS = ("orderly", "host resets", "guest resets", "guest leaves", "host leaves")
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Conversation:
    """Two streams at once over one connection, cut short by one side or nobody."""

    def __init__(self, seed: int, client: trio.SocketStream, server: Stream) -> None:
        self.rng = rng = random.Random(seed)
        self.client, self.server = client, server
        self.out, self.back = (rng.randbytes(rng.randrange(400_000)) for _ in range(2))
        self.got_out, self.got_back = bytearray(), bytearray()
        self.ending = rng.choice(ENDINGS)

    async def run(self) -> None:
        async with trio.open_nursery() as work:
            for task in (
                self.host_sends,
                self.guest_sends,
                self.host_receives,
                self.guest_receives,
            ):
                work.start_soon(task)
            if self.ending != "orderly":
                await trio.sleep(self.rng.random() * 0.02)
                await self.cut()
                work.cancel_scope.cancel()
        assert self.out.startswith(self.got_out)
        assert self.back.startswith(self.got_back)
        if self.ending == "orderly":
            assert (len(self.got_out), len(self.got_back)) == (len(self.out), len(self.back))
        self.server.close()
        await self.client.aclose()

    async def cut(self) -> None:
        if self.ending == "host resets":
            linger = struct.pack("ii", 1, 0)
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if self.ending.startswith("host"):
            await self.client.aclose()
        elif self.ending == "guest resets":
            self.server.abort()
        else:
            self.server.close()

    async def host_sends(self) -> None:
        with contextlib.suppress(*BROKEN):
            await self.client.send_all(self.out)
            await self.client.send_eof()

    async def guest_sends(self) -> None:
        with contextlib.suppress(*BROKEN):
            await self.server.send_all(self.back)
            self.server.shutdown()

    async def host_receives(self) -> None:
        with contextlib.suppress(*BROKEN):
            while data := await self.client.receive_some(self.rng.randrange(1, 60_000)):
                self.got_back.extend(data)

    async def guest_receives(self) -> None:
        with contextlib.suppress(*BROKEN):
            while data := await self.server.receive_some(self.rng.randrange(1, 60_000)):
                self.got_out.extend(data)


async def talk(seed: int, port: int, listener: Listener, door: trio.Lock, seen: set[str]) -> None:
    async with door:  # so that the connection accepted is the one that was opened
        client = await trio.open_tcp_stream(HERE, port)
        server = await listener.accept()
    conversation = Conversation(seed, client, server)
    await conversation.run()
    seen.add(conversation.ending)


@pytest.mark.parametrize("seed", range(3))
async def test_connections_that_end_in_every_way(nursery: trio.Nursery, seed: int) -> None:
    guest = await started(nursery, Published(HERE, 0, 80))
    listener = guest.listen(80, backlog=256)
    door, seen = trio.Lock(), set[str]()
    with trio.fail_after(60):
        for first in range(0, 64, 8):
            async with trio.open_nursery() as group:
                for number in range(first, first + 8):
                    name = seed << 16 | number
                    group.start_soon(talk, name, guest.backend.ports[0], listener, door, seen)
    assert seen == set(ENDINGS)
    await until(lambda: not guest.backend.flows)
    assert not guest.backend.gateway.dropped
    nursery.cancel_scope.cancel()
