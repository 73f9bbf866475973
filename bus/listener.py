"""Calls from other processes: the callee's half of the stream transport (see transport.py).

A peer is authenticated (the socket's user and the shared secret), gets the `Port` that the
topology allows it, and from there its requests take the same way as inline ones: the same checks,
counters, trace rings and failure planes. Each request runs in a task of its own, so a slow one
holds nobody up. Requests of a peer that is gone are cancelled.

A peer that breaks the protocol (rubbish, more calls than its window, a number used twice) loses
its connection; one that sends a well-formed frame with a malformed request is told so.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.channel import GONE, Channel
from bus.core import RankError
from bus.errors import MalformedRequest, PosixError, ServiceUnavailable
from bus.handshake import MAX_HELLO_BYTES, AuthenticationError, Greeting, check_hello, new_nonce
from bus.handshake import check_bytes as checked
from bus.message import REGISTRY
from bus.ring import Ring
from bus.transport import (
    CALL,
    CANCEL,
    CANCELLED,
    ERRNO,
    HANDSHAKE_S,
    MALFORMED,
    OK,
    PROOF_BYTES,
    REPLY,
    UNAVAILABLE,
)
from bus.wire import WireError, codec_of

if TYPE_CHECKING:
    from bus.core import Bus, Port

WINDOW = 64
MAX_CONNECTIONS = 64


@attrs.frozen
class Refused:
    """A connection that was not let in, or was thrown out."""

    who: str
    reason: str


def peer_uid(stream: trio.abc.Stream) -> int | None:
    """The user at the other end of a Unix socket; None where that cannot be known."""
    if not isinstance(stream, trio.SocketStream) or stream.socket.family != socket.AF_UNIX:
        return None
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", raw)[1]
    return uid


class Listener:
    """Lets peers in and serves their calls on `bus`; one for a process."""

    def __init__(
        self, bus: Bus, secret: bytes, *, window: int = WINDOW, uids: frozenset[int] | None = None
    ) -> None:
        self._bus = bus
        self._secret = secret
        self._window = window
        self._uids = frozenset({os.getuid()}) if uids is None else uids
        self._room = trio.CapacityLimiter(MAX_CONNECTIONS)
        self._ports: dict[tuple[str, str], Port] = {}
        self.ring = Ring()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end. Never raises for what a peer does."""
        who = "an unknown peer"
        try:
            async with self._room:
                with trio.fail_after(HANDSHAKE_S):
                    port = await self._greet(stream)
                who = port.caller
                await Session(Channel(stream), port, self._window).run()
        except (AuthenticationError, RankError, WireError, trio.TooSlowError) as error:
            self.ring.record(Refused(who, f"{type(error).__name__}: {error}"))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self.ring.record(Refused(who, "left during the handshake"))
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _greet(self, stream: trio.abc.Stream) -> Port:
        """The callee's side of the handshake; the port that the peer may use."""
        uid = peer_uid(stream)
        if uid is not None and uid not in self._uids:
            raise AuthenticationError(f"user {uid} may not connect")
        channel = Channel(stream, MAX_HELLO_BYTES)
        caller, target, theirs = check_hello(await channel.receive())
        greeting = Greeting(caller, target, theirs, new_nonce())
        proof = greeting.proof(self._secret, "callee")
        await channel.send_now([greeting.callee_nonce, proof])
        answer = await channel.receive()
        if type(answer) is not list or len(answer) != 1:
            raise WireError("not a proof")
        greeting.verify(self._secret, "caller", checked(answer[0], PROOF_BYTES))
        key = (caller, target)
        if key not in self._ports:
            self._ports[key] = self._bus.port(caller, target)
        await channel.send_now([self._window])
        return self._ports[key]

    async def listen_unix(
        self, path: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen at `path` (made readable to its owner alone, removed at the end)."""
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with trio.socket.from_stdlib_socket(plain) as listening:
            mask = os.umask(0o177)
            try:
                plain.bind(path)
            finally:
                os.umask(mask)
            try:
                listening.listen(MAX_CONNECTIONS)
                task_status.started()
                await trio.serve_listeners(self.serve, [trio.SocketListener(listening)])
            finally:
                with suppress(OSError):
                    os.unlink(path)


class Session:
    """The calls of one authenticated peer."""

    def __init__(self, channel: Channel, port: Port, window: int) -> None:
        self._channel = channel
        self._port = port
        self._window = window
        self._running: dict[int, trio.CancelScope] = {}

    async def run(self) -> None:
        """Serve until the peer leaves. WireError: it broke the protocol."""
        fault: WireError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._channel.run_writer)
                try:
                    while (message := await self._channel.receive()) is not GONE:
                        self._take(message, nursery)
                except WireError as error:
                    fault = error
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer left while we answered
        if fault is not None:
            raise fault

    def _take(self, message: Any, nursery: trio.Nursery) -> None:
        if type(message) is not list or len(message) < 2 or type(message[1]) is not int:
            raise WireError("neither a call nor a cancellation")
        number = message[1]
        if message[0] == CANCEL and len(message) == 2:
            scope = self._running.get(number)
            if scope is not None:  # else its reply is on the way
                scope.cancel()
            return
        if message[0] != CALL or len(message) != 4:
            raise WireError("neither a call nor a cancellation")
        if number in self._running:
            raise WireError(f"call {number} is in flight already")
        if len(self._running) >= self._window:
            raise WireError(f"more than {self._window} calls in flight")
        scope = self._running[number] = trio.CancelScope()
        nursery.start_soon(self._serve, number, scope, message[2], message[3])

    async def _serve(self, number: int, scope: trio.CancelScope, name: Any, fields: Any) -> None:
        status: int = CANCELLED
        payload: Any = None
        with scope:
            status, payload = await self._answer(name, fields)
        del self._running[number]
        try:
            self._channel.post([REPLY, number, status, payload])
        except WireError as error:
            self._channel.post([REPLY, number, UNAVAILABLE, f"reply to {name}: {error}"])

    async def _answer(self, name: Any, fields: Any) -> tuple[int, Any]:
        """Decode, call, encode: the (status, payload) of a reply."""
        port = self._port
        try:
            kind = REGISTRY.get(name) if type(name) is str else None
            if kind is None:
                raise WireError(f"there is no request {name!r:.80}")
            request: Any = codec_of(kind).decode(fields)
        except WireError as error:
            port.blame(str(name)[:80], str(error))
            return MALFORMED, str(error)
        try:
            reply = await port.call(request)
            return OK, codec_of(kind.declaration.reply).encode(reply)
        except PosixError as error:
            return ERRNO, error.errno
        except MalformedRequest as error:
            return MALFORMED, str(error)
        except ServiceUnavailable as error:
            return UNAVAILABLE, str(error)
        except WireError as error:
            return UNAVAILABLE, port.broken(kind.__name__, error)
