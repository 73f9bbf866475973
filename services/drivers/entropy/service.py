"""The entropy driver's service: the host's randomness, or a stream that a seed decides.

The seeded stream is BLAKE2b in counter mode keyed by the seed (RFC 7693): the same on every
machine and Python version, and unaffected by how the draws are cut up. It is for repeatable runs
and not for secrets.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bus.errors import MalformedRequest
from services.drivers.entropy.api import Draw
from services.drivers.entropy.faults import EntropyFaults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_DRAW_BYTES = 32 << 20
"""getrandom(2) gives at most 32 MiB - 1 in one call."""


class SeededStream:
    """An endless stream of bytes that `seed` decides."""

    def __init__(self, seed: int) -> None:
        self._key = blake2b(str(seed).encode(), digest_size=32).digest()
        self._counter = 0
        self._left = b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes of the stream."""
        blocks = [self._left]
        have = len(self._left)
        while have < count:
            block = blake2b(self._counter.to_bytes(16, "little"), key=self._key).digest()
            self._counter += 1
            blocks.append(block)
            have += len(block)
        stream = b"".join(blocks)
        self._left = stream[count:]
        return stream[:count]


class EntropyService:
    """Draws from the host, or from `seed` where one is given."""

    def __init__(self, seed: int | None = None, kept: EntropyFaults | None = None) -> None:
        plain = os.urandom if seed is None else SeededStream(seed).take
        self.injector = EntropyFaults(plain) if kept is None else kept
        self._take = self.injector.serve(self._draw_from)
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {Draw: self.draw}

    def keep(self) -> EntropyFaults:
        """Where in the seed's stream we are, and what faults do to it."""
        return self.injector

    def _draw_from(self, take: Callable[[int], bytes]) -> None:
        self._take = take

    async def draw(self, request: Draw) -> bytes:
        """Random bytes; never waits, as the host's pool is full long before we run."""
        count = request.count
        if not 0 <= count <= MAX_DRAW_BYTES:
            raise MalformedRequest(f"count {count} is not within 0..{MAX_DRAW_BYTES}")
        return self._take(count)
