"""Dispatch inside one process: a call runs the handler in the caller's own task.

Rules of use:
- A service registers one coroutine function per request class with `Bus.serve`.
- A caller takes a `Port` once, at start-up (`bus.port("proc", "fs")`): this is where the rank is
  checked. `await port.call(request)` then costs one dict look-up more than calling the handler.
- Nothing here switches tasks: a handler that does not block returns on the spot (thread
  migration, as in LRPC). Cancellation, deadlines and task-local state are the caller's.

Rank forbids cycles: a service may call only services of a lower rank, so no two can wait for each
other. Counters are plain integers in plain dicts, read by the metrics page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from bus.errors import MalformedRequest, ServiceUnavailable
from bus.message import Request

R = TypeVar("R")
Handler = Callable[[Any], Awaitable[Any]]


class RankError(Exception):
    """The topology lets no such call be made: it would close a cycle of services."""


async def _nobody(request: Request[Any]) -> Any:
    declaration = request.declaration
    raise ServiceUnavailable(f"service {declaration.service} is not running ({declaration.name})")


class Port:
    """The right of one service to call another."""

    __slots__ = ("_bus", "caller", "counts", "handlers", "target")

    def __init__(self, bus: Bus, caller: str, target: str) -> None:
        self._bus = bus
        self.caller = caller
        self.target = target
        self.handlers: Mapping[type[Any], Handler] = bus.handlers_of(target)
        self.counts: dict[type[Any], int] = {}

    def call(self, request: Request[R]) -> Awaitable[R]:
        """Call the target's handler for `request`; awaiting the result gives the typed reply."""
        kind = type(request)
        counts = self.counts
        try:
            counts[kind] += 1
        except KeyError:
            counts[kind] = 1
        handler = self.handlers.get(kind)
        if handler is None:
            return self._refuse(request)
        return handler(request)

    async def _refuse(self, request: Request[Any]) -> Any:
        if not self.handlers:
            return await _nobody(request)
        raise MalformedRequest(f"{self.caller}→{self.target}: no {type(request).__name__}")


class Bus:
    """All services of one process and who may call whom."""

    def __init__(self, ranks: Mapping[str, int], peers: Mapping[str, frozenset[str]]) -> None:
        for caller, targets in peers.items():
            for target in targets:
                if ranks[target] >= ranks[caller]:
                    raise RankError(f"{caller} (rank {ranks[caller]}) may not call {target}")
        self.ranks = dict(ranks)
        self.peers = dict(peers)
        self._handlers: dict[str, dict[type[Any], Handler]] = {name: {} for name in ranks}
        self.ports: list[Port] = []

    def handlers_of(self, service: str) -> Mapping[type[Any], Handler]:
        """The live table of a service's handlers; empty while it is down."""
        return self._handlers[service]

    def serve(self, service: str, handlers: Mapping[type[Any], Handler]) -> None:
        """Publish a service's handlers; each request class must be declared for it."""
        for kind in handlers:
            if kind.declaration.service != service:
                raise MalformedRequest(f"{kind.__name__} is no request to {service}")
        table = self._handlers[service]
        table.clear()
        table.update(handlers)

    def withdraw(self, service: str) -> None:
        """Take a service off the bus; calls to it fail until it is served again."""
        self._handlers[service].clear()

    def port(self, caller: str, target: str) -> Port:
        """Give `caller` the right to call `target`, if the topology allows it."""
        if target not in self.peers.get(caller, frozenset()):
            raise RankError(f"the topology does not let {caller} call {target}")
        port = Port(self, caller, target)
        self.ports.append(port)
        return port
