"""Faults at a service's door: they strike a call before its handler runs, or its reply after it.

    injector = ServiceInjector(bus, "fs", scope)
    registry.own("fs", injector)

While faults are armed the bus has the service's handlers replaced (`Bus.interpose`), those of
requests that a fault can strike; with none armed it calls the handlers themselves.

    crash      the service falls before the call (`at=end`: after it). Its supervisor restarts it;
               the call is made again, or has its reply
    hang       it stands still until the heartbeat finds out; then as after a crash
    delay      it waits `time` (10ms), plus or minus up to `jitter`
    error      it answers `errno`, if the request declares that; else EIO or the first it declares
    drop       request or reply is lost (`which`): asked again after `ASK_AGAIN_S`, and run once
    duplicate  it comes twice; the second is run only where the request is idempotent
    corrupt    a bit of the reply, as it would be sent, is flipped; what then does not decode is
               asked for again

The supervisor's `Ping` counts as a call for the first three, so an idle service is struck, too.
Filters narrow it down: `request` (glob over the names of requests), `caller`, `process` (pid, or a
glob over names), `path` (glob), `address` (of the peer: IP, IP:PORT, or a glob), `connection` (the
socket's number). Who a call is made for, and what a node or a socket is called, `Scope` knows.
"""

from __future__ import annotations

import contextlib
import errno
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import msgpack
import trio

from bus.errors import PosixError
from bus.faultspec import DEVICE_KINDS, SERVICE_KINDS, Fault
from bus.message import REGISTRY, Ping
from bus.wire import WireError, codec_of, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bus.core import Bus, Handler
    from bus.faults import Armed
    from bus.faultspec import CallFault

ASK_AGAIN_S = 0.2
"""After how long a lost message is sent again."""
DELAY_S = 0.01
"""Of a delay that does not say how long."""


class Injected(Exception):
    """What a service died of that a fault has crashed."""


class Scope(Protocol):
    """What a fault's filters ask about a call."""

    def process(self) -> tuple[int, str] | None:
        """pid and name of the process that the present task works for."""

    def paths(self, request: Any) -> Iterable[str]:
        """The paths that a request is about, absolute."""

    def peers(self, request: Any) -> Iterable[str]:
        """The addresses that a request is about, as IP:PORT."""

    def filters(self, service: str) -> frozenset[str]:
        """Those of `path`, `address` and `connection` that mean something to a service."""


@attrs.define(eq=False)
class _Door:
    """What stands in for the handler of one request, for one caller."""

    bus: Bus
    service: str
    scope: Scope
    kind: type[Any]
    caller: str
    handler: Handler
    faults: list[Armed]

    async def handle(self, request: Any) -> Any:
        """Let a request through, past every fault that is armed."""
        struck = [armed for armed in self.faults if self._strikes(armed, request)]
        when = [_when(armed) for armed in struck]
        for armed, at in zip(struck, when, strict=True):
            if await self._before(armed, at):
                await self.bus.up(self.service)
                return await self.bus.ask(self.service, request)
        try:
            reply = await self.handler(request)
        except PosixError:
            for armed, at in zip(struck, when, strict=True):
                if at == "end":
                    self._fall(armed)
            raise
        for armed, at in zip(struck, when, strict=True):
            reply = await self._after(armed, at, request, reply)
        return reply

    def _strikes(self, armed: Armed, request: Any) -> bool:
        """Whether the filters mean this call, and chance too."""
        assert isinstance(armed.fault, Fault)
        said, scope = armed.fault.attributes, self.scope
        if "caller" in said and said["caller"] != self.caller:
            return False
        if "process" in said and not _is_process(str(said["process"]), scope.process()):
            return False
        if "connection" in said and said["connection"] != getattr(request, "socket", None):
            return False
        if "path" in said and not _any(scope.paths(request), (str(said["path"]),)):
            return False
        if "address" in said:
            address = str(said["address"])
            if not _any(scope.peers(request), (address, f"{address}:*")):
                return False
        return armed.strikes()

    async def _before(self, armed: Armed, at: str) -> bool:
        """What happens to the request; True: the service has fallen, and is to be asked anew."""
        fault = armed.fault
        assert isinstance(fault, Fault)
        if fault.kind == "crash" and at == "start":
            self._fall(armed)
            return True
        if fault.kind == "hang":
            await self.bus.hang(self.service)
            return True
        if fault.kind == "delay":
            time, jitter = (float(fault.attributes.get(n, d)) for n, d in _DELAYS)
            await trio.sleep(max(0.0, time + armed.random.uniform(-jitter, jitter)))
        elif fault.kind == "drop" and at == "request":
            await trio.sleep(ASK_AGAIN_S)
        elif fault.kind == "error":
            raise PosixError(errno_of(fault, self.kind) or errno.EIO)
        return False

    async def _after(self, armed: Armed, at: str, request: Any, reply: Any) -> Any:
        """What happens to the reply."""
        fault = armed.fault
        assert isinstance(fault, Fault)
        if fault.kind == "crash" and at == "end":
            self._fall(armed)
        elif fault.kind == "drop" and at == "reply":
            await trio.sleep(ASK_AGAIN_S)
        elif fault.kind == "duplicate" and self.kind.declaration.idempotent:
            with contextlib.suppress(PosixError):
                await self.handler(request)
        elif fault.kind == "corrupt":
            try:
                return self._corrupted(armed, reply)
            except WireError:
                await trio.sleep(ASK_AGAIN_S)
        return reply

    def _fall(self, armed: Armed) -> None:
        error = Injected(f"fault {armed.number}, {armed.fault}")
        self.bus.fall(self.service, self.kind.__name__, error)

    def _corrupted(self, armed: Armed, reply: Any) -> Any:
        """The reply with one bit of it changed; WireError: it is seen that something is wrong."""
        codec = codec_of(self.kind.declaration.reply)
        body = bytearray(msgpack.packb(codec.encode(reply)))
        body[armed.random.randrange(len(body))] ^= 1 << armed.random.randrange(8)
        return codec.decode(unpack(bytes(body)))


_DELAYS = (("time", DELAY_S), ("jitter", 0.0))
_CHOICES = {"crash": ("at", "start", "end"), "drop": ("which", "request", "reply")}


def _when(armed: Armed) -> str:
    """Before or after the call, where the fault has the choice."""
    fault = armed.fault
    assert isinstance(fault, Fault)
    if fault.kind not in _CHOICES:
        return ""
    name, first, second = _CHOICES[fault.kind]
    said = str(fault.attributes.get(name, first))
    return armed.random.choice((first, second)) if said == "any" else said


def _any(texts: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for text in texts for pattern in patterns)


def _is_process(said: str, process: tuple[int, str] | None) -> bool:
    if process is None:
        return False
    pid, name = process
    return pid == int(said) if said.isdecimal() else fnmatchcase(name, said)


def errno_of(fault: Fault, kind: type[Any]) -> int | None:
    """What an error fault answers to a request; None: the request cannot fail that way."""
    declared = kind.declaration.errors
    if "errno" in fault.attributes:
        number = int(fault.attributes["errno"])
        return number if number in declared else None
    return errno.EIO if errno.EIO in declared else min(declared, default=None)


def _can_strike(fault: Fault, kind: type[Any]) -> bool:
    if not fnmatchcase(kind.__name__, str(fault.attributes.get("request", "*"))):
        return False
    if kind is Ping:
        return fault.kind in ("crash", "hang", "delay")
    return fault.kind != "error" or errno_of(fault, kind) is not None


class ServiceInjector:
    """Does the faults of one service; an `Injector` of the registry."""

    def __init__(self, bus: Bus, service: str, scope: Scope) -> None:
        self._bus = bus
        self._service = service
        self._scope = scope
        self.kinds = SERVICE_KINDS.keys() - DEVICE_KINDS.get(service, {}).keys()
        """What is no fault of the device that the service drives."""
        self._interposed = False

    def _kinds(self) -> list[type[Any]]:
        """What the service is asked: what it serves, not what it declares."""
        return [kind for kind in REGISTRY.values() if kind.declaration.service == self._service]

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`."""
        assert isinstance(fault, Fault)
        if not self._bus.handlers_of(self._service) and not self._bus.is_held(self._service):
            return f"{self._service} takes no messages here (fault one of those that do)"
        known = self._scope.filters(self._service)
        for name in ("path", "address", "connection"):
            if name in fault.attributes and name not in known:
                cure = ", ".join(("request", "caller", "process", *sorted(known)))
                return f"requests to {self._service} have no {name} (filter by {cure})"
        kinds = [kind for kind in self._kinds() if _can_strike(fault, kind)]
        if not kinds and "errno" in fault.attributes:
            declared = {n for kind in self._kinds() for n in kind.declaration.errors}
            names = ", ".join(sorted(errno.errorcode[number] for number in declared))
            return f"no such request answers with that error (they answer {names or 'no error'})"
        if not kinds:
            names = ", ".join(sorted(kind.__name__ for kind in self._kinds()))
            return f"{self._service} has no such request (it has {names})"
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`."""

        def door(kind: type[Any], handler: Handler, caller: str) -> Handler:
            meant = [one for one in faults if _can_strike(one.fault, kind)]  # type: ignore[arg-type]
            if not meant or kind.declaration.service not in (self._service, ""):
                return handler
            return _Door(self._bus, self._service, self._scope, kind, caller, handler, meant).handle

        if faults or self._interposed:
            self._interposed = bool(faults)
            self._bus.interpose(self._service, door if faults else None)
