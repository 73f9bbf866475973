"""Starts services in order, watches them, restarts them, stops them in reverse.

A service is any object with `handlers`; if it has them, its lifecycle hooks are used as well:

    async def start()               asked once, before anything else, to prepare (mount, recover)
    async def run(*, task_status)   its own tasks: calls task_status.started() once it can serve,
                                    then runs until cancelled (returning early is no failure)
    async def ping()                asked now and then: returns when its tasks have moved
    async def stop()                asked once before the cancellation, to finish work (flush)
    def keep()                      what its next incarnation takes up in place of a `close`
    def close()                     gives back what the host lent (descriptors, the terminal)

Start: build it, `start`, `run` until started, publish its handlers. Stop: `stop`, withdraw, cancel,
wait for its tasks, `close`; all within its `shutdown_s`. A task that ignores its cancellation
cannot be killed from inside a process: such services are named to `on_stuck`, which must not
return.

A service has failed when its `run` raises, when a handler raises what it should not (the bus tells
us, and its caller sees ServiceUnavailable), when a fault crashes it, or when it hangs: a call that
a fault holds, or the ping, takes longer than `hang_s`. Then it leaves an epitaph and is held on the
bus; its tasks are cancelled, what it keeps is given to its next incarnation, which is built as the
first was and checks in `start` what it takes up; with its handlers published, the calls that were
held are made. At once the first time; after a short life only after a pause that doubles. Calls
that wait within a handler when it fails are in their callers' tasks: they go on, with what is kept.

The end is clear: more than `intensity` failures within `period_s`, or state that does not hold
(`start` raises KernelBug), and `ServiceFailed` ends the supervised block.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from boot.topology import Lifetime
from bus.errors import KernelBug, PosixError, ServiceUnavailable
from bus.message import Ping
from bus.ring import Crashed, Lifecycle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from boot.topology import ServiceSpec, Topology
    from bus.core import Bus, Handler

BEAT_S = 0.25
SLICES = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 1.0
SHORT_LIFE_S = 0.5
MOST_EPITAPHS, MOST_RECOVERIES = 64, 4096


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
    """A service broke and could not be kept up."""

    def __init__(self, epitaph: Epitaph, why: str) -> None:
        super().__init__(f"service {epitaph.service} failed: {epitaph.crash.error}{why}")
        self.epitaph = epitaph


class Hung(Exception):
    """A service did not answer in time."""


class _Started:
    """A task_status that remembers whether it was told."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status = status
        self.told = False

    def started(self) -> None:
        """As `trio.TaskStatus.started`."""
        self.told = True
        self._status.started()


@attrs.define
class Child:
    """A service and its present incarnation. Written by the supervisor alone."""

    spec: ServiceSpec
    build: Callable[[], Service]
    service: Service
    generation: int = 1
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    began_s: float = 0.0
    served: bool = False
    """It was up once: from then on a failure means a restart."""
    pause_s: float = 0.0
    mending: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    broken: bool = False
    """This incarnation's tasks have failed."""
    failing: bool = False
    """Its restart is under way."""
    failures: deque[float] = attrs.field(factory=deque)
    """When it failed lately."""
    recoveries: deque[float] = attrs.field(factory=lambda: deque(maxlen=MOST_RECOVERIES))
    """Seconds from each failure until it was served again; of a hang, from its beginning."""
    hangs: int = 0


class Supervisor:
    """The children of one kernel, in starting order. Made by `supervise`."""

    def __init__(self, bus: Bus, topology: Topology, nursery: trio.Nursery) -> None:
        self._bus = bus
        self._topology = topology
        self._nursery = nursery
        self.children: list[Child] = []
        self.kept: dict[str, Any] = {}
        """What a builder finds of the incarnation before, by the service's name."""
        self.on_restart: Callable[[str, Service], None] = lambda name, service: None
        self.log: Callable[[str], None] = lambda text: None
        self.body = trio.CancelScope()
        self.failed: Epitaph | None = None
        self._why = ""
        self._stopping = False
        self.epitaphs: deque[Epitaph] = deque(maxlen=MOST_EPITAPHS)

    async def start(self, name: str, build: Callable[[], Service]) -> Service:
        """Build a service, start its tasks, and publish its handlers."""
        child = Child(self._topology[name], build, build())
        self.children.append(child)
        await self._bring_up(child)
        if self.failed is not None:
            raise self.failure()
        self._publish(child)
        return child.service

    def failure(self) -> ServiceFailed:
        """Why the block was ended."""
        assert self.failed is not None
        return ServiceFailed(self.failed, self._why)

    async def _bring_up(self, child: Child) -> None:
        child.ended, child.scope, child.broken = trio.Event(), trio.CancelScope(), False
        child.ended.set()
        prepare = getattr(child.service, "start", None)
        if prepare is not None:
            await prepare()
        run = getattr(child.service, "run", None)
        if run is not None:
            child.ended = trio.Event()
            await self._nursery.start(self._run, child, run)
            child.scope.shield = True  # from here on only we end it, in its turn

    def _publish(self, child: Child) -> None:
        handlers: dict[type[Any], Handler] = dict(child.service.handlers)
        if child.spec.restart.lifetime is not Lifetime.TEMPORARY:
            handlers[Ping] = _pinged(child.service)
        child.began_s, child.served = trio.current_time(), True
        self._bus.serve(child.spec.name, handlers)
        self._bus.rings[child.spec.name].record(Lifecycle("started", child.generation))

    async def _run(
        self, child: Child, run: Callable[..., Any], *, task_status: trio.TaskStatus[None]
    ) -> None:
        started = _Started(task_status)
        try:
            with child.scope:
                await run(task_status=started)
        except Exception as error:
            if not started.told and child.served:
                raise  # a next incarnation that cannot even start
            child.broken = True
            self._bus.bug(child.spec.name, "run", innermost(error))
            if not child.failing:
                self._give_up(child, "")
            if not started.told:
                task_status.started()
        finally:
            child.ended.set()

    # Failures ---------------------------------------------------------------------------------

    def on_bug(self, service: str, crash: Crashed) -> None:
        """A service broke: write its epitaph, and have it restarted."""
        child = next((one for one in self.children if one.spec.name == service), None)
        generation = 0 if child is None else child.generation
        history = self._bus.rings[service].snapshot()
        self.epitaphs.append(Epitaph(service, generation, crash, history))
        if child is not None:
            self._fail(child, trio.current_time())

    def _fail(self, child: Child, since_s: float) -> None:
        """Restart it, if that is its policy and it is not being done."""
        temporary = child.spec.restart.lifetime is Lifetime.TEMPORARY
        if self._stopping or child.failing or temporary or not child.served:
            return
        child.failing = True
        self._bus.hold(child.spec.name)
        self._nursery.start_soon(self._restart, child, since_s)

    def _give_up(self, child: Child, why: str) -> None:
        """It cannot be kept up: the kernel ends."""
        self._bus.withdraw(child.spec.name)
        if self.failed is None and not self._stopping:
            self._why = why
            self.failed = next(
                one for one in reversed(self.epitaphs) if one.service == child.spec.name
            )
            self.body.cancel()

    async def _restart(self, child: Child, since_s: float) -> None:
        child.mending = trio.CancelScope()
        with child.mending:
            await self._mend(child, since_s)

    async def _mend(self, child: Child, since_s: float) -> None:
        name = child.spec.name
        child.scope.cancel()
        with trio.move_on_after(child.spec.restart.shutdown_s):
            await child.ended.wait()
        if not child.ended.is_set():
            self._give_up(child, " (its tasks ignore their end)")
            return
        again = trio.current_time() - child.began_s < SHORT_LIFE_S
        while not self._stopping:
            if not self._may_restart(child, again):
                return
            again = True
            await trio.sleep(child.pause_s)
            try:
                await self._reincarnate(child)
            except Exception as error:
                self._bus.bug(name, "restart", innermost(error))
                if isinstance(innermost(error), KernelBug):
                    self._give_up(child, " (what it kept does not hold)")
                    return
                continue
            if child.broken:  # as soon as it ran, and it has left an epitaph
                continue
            self._bus.release_hung(name)
            self._publish(child)
            child.failing = False
            took_s = trio.current_time() - since_s
            child.recoveries.append(took_s)
            self.log(f"service {name} restarted after {took_s * 1e3:.1f} ms ({child.generation})")
            return

    def _may_restart(self, child: Child, again: bool) -> bool:
        """Count a failure, and decide on the pause; False: it was one too many.

        `again`: the life before was short, if it was any.
        """
        policy, now = child.spec.restart, trio.current_time()
        failures = child.failures
        failures.append(now)
        while failures[0] < now - policy.period_s:
            failures.popleft()
        if len(failures) > policy.intensity:
            times = f"{len(failures)} times in {policy.period_s:g} s"
            self._give_up(child, f" (it failed {times}: restarting does not help)")
            return False
        if not again:
            child.pause_s = 0.0
        elif len(failures) > 1:
            child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        return True

    async def _reincarnate(self, child: Child) -> None:
        """Build the next incarnation on what this one keeps."""
        name, old = child.spec.name, child.service
        keep = getattr(old, "keep", None)
        if keep is not None:
            self.kept[name] = keep()
        else:
            self._close(child)
        child.service = child.build()
        child.generation += 1
        self.on_restart(name, child.service)
        await self._bring_up(child)

    # Watching ---------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Feel every service's pulse, until cancelled."""
        while True:
            await trio.sleep(BEAT_S)
            for child in tuple(self.children):
                if not child.failing and child.spec.restart.lifetime is not Lifetime.TEMPORARY:
                    await self._feel(child)

    async def _feel(self, child: Child) -> None:
        name, limit_s = child.spec.name, child.spec.restart.hang_s
        since_s = min(self._bus.hanging.get(name, {}).values(), default=float("inf"))
        now = trio.current_time()
        if now - since_s < limit_s or since_s == float("inf"):
            since_s = now
            if await self._answers(name, limit_s) or child.failing:
                return
        child.hangs += 1
        self._mourn(child, since_s)

    async def _answers(self, name: str, limit_s: float) -> bool:
        """Whether a service answers within `limit_s` of time in which the kernel ran.

        Counted in slices, of which one is lost where the host stopped all of us for a while.
        """
        answered = False

        async def ask() -> None:
            nonlocal answered
            try:
                await self._bus.ask(name, Ping())
            except (PosixError, ServiceUnavailable):
                pass  # a fault's, or it is being stopped
            except Exception as error:
                self._bus.bug(name, "ping", error)
            answered = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for _ in range(SLICES):
                await trio.sleep(limit_s / SLICES)
            nursery.cancel_scope.cancel()
        return answered

    def _mourn(self, child: Child, since_s: float) -> None:
        """It hangs: as `on_bug`, but the time counts from when it began to."""
        limit_s = child.spec.restart.hang_s
        self.log(f"service {child.spec.name} hangs for more than {limit_s:g} s")
        self._fail(child, since_s)
        self._bus.bug(child.spec.name, "ping", Hung(f"no answer in {limit_s:g} s"))

    # The end ----------------------------------------------------------------------------------

    def _close(self, child: Child) -> None:
        try:
            close = getattr(child.service, "close", None)
            if close is not None:
                close()
        except Exception as error:
            self._bus.bug(child.spec.name, "close", error)

    async def _stop(self, child: Child) -> bool:
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
        self._close(child)
        self._bus.rings[name].record(Lifecycle("stopped", child.generation))
        return child.ended.is_set()

    async def stop_all(self) -> list[str]:
        """Stop everything, last started first; the names of those that would not end."""
        self._stopping = True
        for child in self.children:
            child.mending.cancel()
        stuck = []
        while self.children:
            child = self.children.pop()
            if not await self._stop(child):
                stuck.append(child.spec.name)
        return stuck


def _pinged(service: Service) -> Handler:
    """The handler of `Ping`: the service's own, or one that answers."""
    hook: Callable[[], Awaitable[None]] | None = getattr(service, "ping", None)

    async def ping(request: Ping) -> None:
        if hook is not None:
            await hook()

    return ping


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

    Raises ServiceFailed where a service could not be kept up. The block is cancelled then; what it
    raises on its way out is not told, as it follows from that.
    """
    supervisor: Supervisor | None = None
    try:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(bus, topology, nursery)
            bus.on_bug = supervisor.on_bug
            pulse = trio.CancelScope()
            nursery.start_soon(_watch, supervisor, pulse)
            try:
                with supervisor.body:
                    yield supervisor
            finally:
                pulse.cancel()
                with trio.CancelScope(shield=True):
                    stuck = await supervisor.stop_all()
                bus.on_bug = None
                if stuck:
                    on_stuck(stuck)
    except BaseExceptionGroup as group:
        if supervisor is not None and supervisor.failed is not None:
            raise supervisor.failure() from group
        raise innermost(group) from None
    if supervisor is not None and supervisor.failed is not None:
        raise supervisor.failure()


async def _watch(supervisor: Supervisor, scope: trio.CancelScope) -> None:
    with scope:
        await supervisor.watch()
