"""Starts services in order, watches them, stops them in reverse and leaves nothing behind.

A service is any object with `handlers`; if it has them, its lifecycle hooks are used as well:

    async def start()               asked once, before anything else, to prepare (mount, recover)
    async def run(*, task_status)   its own tasks: calls task_status.started() once it can serve,
                                    then runs until cancelled (returning early is no failure)
    async def stop()                asked once before the cancellation, to finish work (flush)
    def close()                     gives back what the host lent (descriptors, the terminal)

Start: build it, `start`, `run` until started, publish its handlers. Stop: `stop`, withdraw, cancel,
wait for its tasks, `close`; all within its `shutdown_s`. A task that ignores its cancellation
cannot be killed from inside a process: such services are named to `on_stuck`, which must not
return.

A service whose `run` raises is a failure: it leaves an epitaph, goes off the bus, and `Failure`
ends the supervised block. A handler that raises what it should not (the bus tells us) leaves an
epitaph too, while the service goes on. Restarting instead is the business of `_on_failure`, which
has the policy at hand (`ServiceSpec.restart`, `Topology.strategy`) and does not use it yet.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from bus.ring import Crashed, Lifecycle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from boot.topology import ServiceSpec, Topology
    from bus.core import Bus, Handler


class Service(Protocol):
    """What the supervisor needs of a service; the hooks are optional."""

    @property
    def handlers(self) -> Mapping[type[Any], Handler]:
        """One coroutine function per request class."""


@attrs.frozen
class Epitaph:
    """What a service left when it broke: the crash, and what its ring remembered before it."""

    service: str
    generation: int
    crash: Crashed
    history: tuple[tuple[int, object], ...]


class ServiceFailed(Exception):
    """A service broke and nothing restarted it."""

    def __init__(self, epitaph: Epitaph) -> None:
        super().__init__(f"service {epitaph.service} failed: {epitaph.crash.error}")
        self.epitaph = epitaph


@attrs.define
class _Child:
    """One incarnation of a service. Written by the supervisor's tasks only."""

    spec: ServiceSpec
    service: Service
    generation: int = 1
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class Supervisor:
    """The children of one kernel, in starting order. Made by `supervise`."""

    def __init__(self, bus: Bus, topology: Topology, nursery: trio.Nursery) -> None:
        self._bus = bus
        self._topology = topology
        self._nursery = nursery
        self._children: list[_Child] = []
        self.body = trio.CancelScope()
        self.failed: Epitaph | None = None
        self.epitaphs: list[Epitaph] = []

    async def start(self, name: str, build: Callable[[], Service]) -> Service:
        """Build a service, start its tasks, and publish its handlers."""
        child = _Child(self._topology[name], build())
        self._children.append(child)
        child.ended.set()
        prepare = getattr(child.service, "start", None)
        if prepare is not None:
            await prepare()
        run = getattr(child.service, "run", None)
        if run is not None:
            child.ended = trio.Event()
            await self._nursery.start(self._run, child, run)
            child.scope.shield = True  # from here on only `_stop` ends it, in its turn
            if self.failed is not None:
                raise ServiceFailed(self.failed)
        self._bus.serve(name, child.service.handlers)
        self._bus.rings[name].record(Lifecycle("started", child.generation))
        return child.service

    async def _run(
        self, child: _Child, run: Callable[..., Any], *, task_status: trio.TaskStatus[None]
    ) -> None:
        try:
            with child.scope:
                await run(task_status=task_status)
        except Exception as error:
            self._bus.withdraw(child.spec.name)
            self._bus.bug(child.spec.name, "run", error)
            self._on_failure(child)
            with contextlib.suppress(RuntimeError):  # it had started before it broke
                task_status.started()
        finally:
            child.ended.set()

    def _on_failure(self, child: _Child) -> None:
        """The seam for restarts: today every failure of a service's own tasks ends the kernel."""
        if self.failed is None:
            self.failed = self.epitaphs[-1]
            self.body.cancel()

    def on_bug(self, service: str, crash: Crashed) -> None:
        """Write the epitaph of a broken invariant."""
        generation = next(
            (child.generation for child in self._children if child.spec.name == service), 0
        )
        history = self._bus.rings[service].snapshot()
        self.epitaphs.append(Epitaph(service, generation, crash, history))

    async def _stop(self, child: _Child) -> bool:
        """Stop one child; False if its tasks would not end in time."""
        name = child.spec.name
        with trio.move_on_after(child.spec.restart.shutdown_s):
            try:
                stop = getattr(child.service, "stop", None)
                if stop is not None:
                    await stop()
            except Exception as error:
                self._bus.bug(name, "stop", error)
        self._bus.withdraw(name)
        child.scope.cancel()
        with trio.move_on_after(child.spec.restart.shutdown_s):
            await child.ended.wait()
        try:
            close = getattr(child.service, "close", None)
            if close is not None:
                close()
        except Exception as error:
            self._bus.bug(name, "close", error)
        self._bus.rings[name].record(Lifecycle("stopped", child.generation))
        return child.ended.is_set()

    async def stop_all(self) -> list[str]:
        """Stop everything, last started first; the names of those that would not end."""
        stuck = []
        while self._children:
            child = self._children.pop()
            if not await self._stop(child):
                stuck.append(child.spec.name)
        return stuck


def innermost(error: BaseException) -> BaseException:
    """The exception that nurseries wrapped; the group where there were several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextlib.asynccontextmanager
async def supervise(
    bus: Bus, topology: Topology, on_stuck: Callable[[list[str]], None]
) -> AsyncIterator[Supervisor]:
    """Run the block with a supervisor; afterwards everything it started has stopped.

    Raises ServiceFailed where a service's own tasks broke. The block is cancelled then.
    """
    supervisor: Supervisor | None = None
    try:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(bus, topology, nursery)
            bus.on_bug = supervisor.on_bug
            try:
                with supervisor.body:
                    yield supervisor
            finally:
                with trio.CancelScope(shield=True):
                    stuck = await supervisor.stop_all()
                bus.on_bug = None
                if stuck:
                    on_stuck(stuck)
    except BaseExceptionGroup as group:
        raise innermost(group) from None
    if supervisor is not None and supervisor.failed is not None:
        raise ServiceFailed(supervisor.failed)
