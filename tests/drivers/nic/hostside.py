"""The host's side of the gateway's tests: servers and ports on its loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from tests.drivers.nic.peer import Guest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.drivers.nic.settings import Published

HERE = "127.0.0.1"
MIB = 1 << 20


async def started(nursery: trio.Nursery, *published: Published, **settings: str) -> Guest:
    guest = Guest(*published, **settings)
    await nursery.start(guest.run)
    return guest


async def serve(
    nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]
) -> int:
    """A server of the host's; its port."""
    listeners = await trio.open_tcp_listeners(0, host=HERE, backlog=4096)
    nursery.start_soon(trio.serve_listeners, handler, listeners)
    return int(listeners[0].socket.getsockname()[1])


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            return


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for something that the host does by itself."""
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.002)
