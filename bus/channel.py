"""Frames over a byte stream: reading them in order, and one writer that sends what piles up.

`post` never waits: it adds a frame to what is pending, and the writer task sends all that is there
in one go. How much can pile up is bounded by those who post: calls by their window.
"""

from __future__ import annotations

from typing import Any

import trio

from bus.wire import MAX_FRAME_BYTES, FrameBuffer, frame, unpack

RECEIVE_BYTES = 1 << 16
GONE = object()
"""What `Channel.receive` gives when there will be no more."""


class Channel:
    """Messages of plain values over `stream`; `run_writer` must run for anything to leave."""

    def __init__(self, stream: trio.abc.Stream, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._stream = stream
        self._limit = limit_bytes
        self._buffer = FrameBuffer(limit_bytes)
        self._bodies: list[bytes] = []
        self._pending = bytearray()
        self._posted = trio.lowlevel.ParkingLot()

    def post(self, message: Any) -> None:
        """Send a message soon. WireError: it cannot be carried, or is too long."""
        self._pending += frame(message, self._limit)
        self._posted.unpark_all()

    async def run_writer(self) -> None:
        """Send what is posted, until cancelled or the peer is gone."""
        while True:
            while not self._pending:
                await self._posted.park()
            data, self._pending = self._pending, bytearray()
            await self._stream.send_all(data)

    async def send_now(self, message: Any) -> None:
        """Send one message and wait until it has left (before the writer runs)."""
        await self._stream.send_all(frame(message, self._limit))

    async def receive(self) -> Any:
        """The next message, or GONE with the peer. WireError: it talks rubbish."""
        while not self._bodies:
            try:
                received = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return GONE
            if not received:
                return GONE
            self._bodies = list(self._buffer.feed(bytes(received)))
            self._bodies.reverse()
        return unpack(self._bodies.pop())

    async def close(self) -> None:
        """Close without waiting for anything."""
        await trio.aclose_forcefully(self._stream)
