"""A service whose handlers do all that a handler may do, and what it may not."""

from __future__ import annotations

from errno import ENOENT, EPIPE
from typing import Any

import trio

from bus.errors import KernelBug, MalformedRequest, PosixError, ServiceUnavailable
from tests.bus.sample_api import Double, Echo, Fail, Lie, Nothing, Point, Shape, Wait


class SampleService:
    def __init__(self) -> None:
        self.gate = trio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.handlers: dict[type[Any], Any] = {
            Double: self.double,
            Fail: self.fail,
            Echo: self.echo,
            Wait: self.wait,
            Lie: self.lie,
        }

    async def double(self, request: Double) -> int:
        return 2 * request.number

    async def echo(self, request: Echo) -> Shape:
        return request.shape

    async def lie(self, request: Lie) -> Any:
        return "three"

    async def wait(self, request: Wait) -> Point | Nothing:
        self.waiting += 1
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.cancelled += 1
            if request.partial:
                return Nothing()
            raise
        finally:
            self.waiting -= 1
        return Point(1, 2)

    async def fail(self, request: Fail) -> None:
        failures: dict[str, Exception] = {
            "errno": PosixError(ENOENT),
            "undeclared": PosixError(EPIPE),
            "malformed": MalformedRequest("`how` is out of range"),
            "unavailable": ServiceUnavailable("my own callee is down"),
            "bug": KernelBug("an invariant is broken"),
            "key": KeyError("a table has no such row"),
            "group": ExceptionGroup("two at once", [ValueError("1"), ValueError("2")]),
        }
        raise failures[request.how]
