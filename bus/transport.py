"""Calls to a service in another process: the caller's half. The callee's is `bus/listener.py`.

    port = await connect_unix(path, "proc", "fs", secret, nursery)   # a RemotePort
    reply = await port.call(Read(...))                               # as with any Port

Many calls are in flight on one connection and are answered in any order. At most `window` (the
callee decides) are; further callers wait in line.

Messages, after the handshake:

    [CALL, id, "service.Name", fields]      caller → callee
    [CANCEL, id]                            caller → callee
    [REPLY, id, status, payload]            callee → caller, exactly one for each call

A call that is cancelled here is cancelled there, and goes on waiting, until the callee says how
it ended: as with an inline call, its handler has unwound when the caller goes on, and may still
answer (a write that was cut short). A callee that does not say so within `CANCEL_GRACE_S` is left
behind. A lost connection is `ServiceUnavailable` for every call in flight and every later one.

The failure planes arrive as they were raised: PosixError, MalformedRequest, ServiceUnavailable.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import outcome
import trio

from bus.channel import GONE, Channel
from bus.core import Port
from bus.errors import MalformedRequest, PosixError, ServiceUnavailable
from bus.handshake import MAGIC, Greeting, check_bytes, new_nonce
from bus.wire import WireError, codec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.message import Request
    from bus.wire import Codec

R = TypeVar("R")

CALL, CANCEL, REPLY = 0, 1, 2
OK, ERRNO, MALFORMED, UNAVAILABLE, CANCELLED = range(5)
HANDSHAKE_S = 5.0
CANCEL_GRACE_S = 1.0
PROOF_BYTES = 32


class _Call:
    """One call in flight; `task` is None once nobody waits for its reply."""

    __slots__ = ("codec", "raise_cancel", "task")

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self.raise_cancel: Callable[[], Any] | None = None

    def finish(self, result: outcome.Outcome[Any]) -> None:
        """Let the caller go on, if it has not yet."""
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task, result)

    def cancelled(self) -> outcome.Outcome[Any]:
        """How a cancelled call ends."""
        assert self.raise_cancel is not None
        ended: outcome.Outcome[Any] = outcome.capture(self.raise_cancel)
        return ended


class Connection:
    """The caller's end of one connection."""

    def __init__(self, channel: Channel, peer: str, window: int) -> None:
        self._channel = channel
        self._peer = peer
        self._slots = trio.Semaphore(window)
        self._calls: dict[int, _Call] = {}
        self._next = 0
        self._nursery: trio.Nursery | None = None
        self.lost = False

    async def call(self, name: str, fields: Any, codec: Codec) -> Any:
        """Send a request of plain values and wait for its reply, which `codec` decodes."""
        self._require()
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()
            try:
                self._require()
            except ServiceUnavailable:
                self._slots.release()
                raise
        number = self._next
        self._next += 1
        try:
            self._channel.post([CALL, number, name, fields])
        except WireError as error:
            self._slots.release()
            raise MalformedRequest(f"{name}: {error}") from error
        call = self._calls[number] = _Call(codec)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            self._channel.post([CANCEL, number])
            if self._nursery is not None:
                self._nursery.start_soon(self._leave_behind, call)
            return trio.lowlevel.Abort.FAILED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    async def _leave_behind(self, call: _Call) -> None:
        await trio.sleep(CANCEL_GRACE_S)
        if call.task is not None:
            call.finish(call.cancelled())

    def _require(self) -> None:
        if self.lost:
            raise self._unavailable()

    def _unavailable(self) -> ServiceUnavailable:
        return ServiceUnavailable(f"{self._peer}: the connection is lost")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the connection until it is lost or cancelled; fails every call then."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._channel.run_writer)
                task_status.started()
                while (message := await self._channel.receive()) is not GONE:
                    self._take(message)
                nursery.cancel_scope.cancel()
        except* (WireError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer left, or what it sends is no reply: the connection is lost
        finally:
            self._lose()
            with trio.CancelScope(shield=True):
                await self._channel.close()

    def _lose(self) -> None:
        self.lost = True
        self._nursery = None
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._slots.release()
            if call.task is not None:
                ended = call.raise_cancel is not None
                call.finish(call.cancelled() if ended else outcome.Error(self._unavailable()))

    def _take(self, message: Any) -> None:
        if type(message) is not list or len(message) != 4 or message[0] != REPLY:
            raise WireError("not a reply")
        _, number, status, payload = message
        if type(number) is not int or number not in self._calls:
            raise WireError(f"a reply to no call: {number!r:.80}")
        result = _result(self._calls[number], status, payload)
        call = self._calls.pop(number)
        self._slots.release()
        call.finish(result)


def _result(call: _Call, status: Any, payload: Any) -> outcome.Outcome[Any]:
    """What a reply means for its caller; WireError where it means nothing."""
    if status == OK:
        return outcome.Value(call.codec.decode(payload))
    if status == CANCELLED and call.raise_cancel is not None:
        return call.cancelled()
    if status == ERRNO and type(payload) is int and payload > 0:
        return outcome.Error(PosixError(payload))
    if type(payload) is str and status == MALFORMED:
        return outcome.Error(MalformedRequest(payload))
    if type(payload) is str and status == UNAVAILABLE:
        return outcome.Error(ServiceUnavailable(payload))
    raise WireError(f"status {status!r:.80} with {type(payload).__name__}")


class RemotePort(Port):
    """The right of one service to call another in a different process."""

    __slots__ = ("connection",)

    def __init__(self, caller: str, target: str, connection: Connection) -> None:
        self.caller = caller
        self.target = target
        self.connection = connection
        self.handlers = {}
        self.counts = defaultdict(int)

    async def call(self, request: Request[R]) -> R:
        """Send the request over the connection and return its typed reply."""
        kind = type(request)
        self.counts[kind] += 1
        declaration = kind.declaration
        try:
            if declaration.service != self.target:
                raise MalformedRequest(f"{self.caller}→{self.target}: no {kind.__name__}")
            try:
                fields = codec_of(kind).encode(request)
            except WireError as error:
                raise MalformedRequest(str(error)) from error
            name = f"{declaration.service}.{declaration.name}"
            reply: R = await self.connection.call(name, fields, codec_of(declaration.reply))
        except MalformedRequest as error:
            error.sender = self.caller
            raise
        return reply


async def greet(channel: Channel, caller: str, target: str, secret: bytes) -> int:
    """The caller's side of the handshake; the window that the callee grants."""
    nonce = new_nonce()
    await channel.send_now([MAGIC, caller, target, nonce])
    answer = await channel.receive()
    if type(answer) is not list or len(answer) != 2:
        raise WireError("not an answer to a hello")
    greeting = Greeting(caller, target, nonce, check_bytes(answer[0], len(nonce)))
    greeting.verify(secret, "callee", check_bytes(answer[1], PROOF_BYTES))
    await channel.send_now([greeting.proof(secret, "caller")])
    welcome = await channel.receive()
    if type(welcome) is not list or len(welcome) != 1 or type(welcome[0]) is not int:
        raise WireError("not a welcome")
    if not 1 <= welcome[0] <= 1 << 16:
        raise WireError(f"a window of {welcome[0]} calls")
    window: int = welcome[0]
    return window


async def connect(
    stream: trio.abc.Stream, caller: str, target: str, secret: bytes, nursery: trio.Nursery
) -> RemotePort:
    """Greet over a stream and serve the connection in `nursery`. Takes the stream over.

    ServiceUnavailable: the callee is not there, or refuses; AuthenticationError: it is not it.
    """
    channel = Channel(stream)
    window: int | Literal[False] = False
    try:
        with trio.move_on_after(HANDSHAKE_S):
            window = await greet(channel, caller, target, secret)
    except (WireError, trio.BrokenResourceError) as error:
        raise ServiceUnavailable(f"{target} refuses {caller}: {error}") from error
    finally:
        if not window:
            with trio.CancelScope(shield=True):
                await channel.close()
    if not window:
        raise ServiceUnavailable(f"{target} did not greet {caller} within {HANDSHAKE_S} s")
    connection = Connection(channel, target, window)
    await nursery.start(connection.run)
    return RemotePort(caller, target, connection)


async def connect_unix(
    path: str, caller: str, target: str, secret: bytes, nursery: trio.Nursery
) -> RemotePort:
    """The same over the Unix socket at `path`."""
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise ServiceUnavailable(f"{target} does not listen at {path}: {error}") from error
    return await connect(stream, caller, target, secret, nursery)
