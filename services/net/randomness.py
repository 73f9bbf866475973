"""Random bytes without a message each: a stream keyed by what the entropy driver gave at start-up.

BLAKE2b in counter mode (RFC 7693). ISNs, ports and cookie keys come from here; with `--seed` the
key is the seed's, and so is everything that follows.
"""

from __future__ import annotations

from hashlib import blake2b

BLOCK_BYTES = 64


class RandomStream:
    """Callable: `stream(count)` gives the next `count` bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0
        self._left = b""

    def __call__(self, count: int) -> bytes:
        """The next bytes of the stream."""
        while len(self._left) < count:
            block = blake2b(self._counter.to_bytes(16, "little"), key=self._key)
            self._counter += 1
            self._left += block.digest()
        taken, self._left = self._left[:count], self._left[count:]
        return taken
