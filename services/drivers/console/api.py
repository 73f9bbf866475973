"""The console driver: the caller's standard streams (0, 1, 2), seen as the guest's.

A stream that is a terminal on the host is given to the guest's terminal line discipline (proc);
the driver then puts the host's terminal into raw mode while the kernel runs. Others are shown as
what they are (`StreamInfo.mode`): pipe, file, null device.
"""

from __future__ import annotations

from errno import EDQUOT, EFBIG, EIO, ENOSPC, EPIPE

import attrs

from bus.message import Request, request


@attrs.frozen
class StreamInfo:
    """What the host says of a stream: fstat's mode, whether it is a terminal, its size.

    Mode 0: there is no such stream (it was closed when we were started).
    """

    mode: int
    terminal: bool
    rows: int = 0
    columns: int = 0


@request("console", idempotent=True)
class DescribeStream(Request[StreamInfo]):
    """What stream 0, 1 or 2 is."""

    stream: int


@request("console", errors=(EIO,))
class ReadStream(Request[bytes]):
    """Up to `length_bytes`, waiting until there are some; b"" at the end."""

    stream: int
    length_bytes: int


@request("console", errors=(EIO, EPIPE, ENOSPC, EFBIG, EDQUOT))
class WriteStream(Request[int]):
    """Write all of `data`, waiting as needed; replies with its length.

    Cancelled, or refused by the host, after some bytes went out: replies with their count.
    """

    stream: int
    data: bytes


@request("console", idempotent=True)
class StreamReady(Request[tuple[bool, bool]]):
    """(readable, writable) now."""

    stream: int


@request("console")
class WaitStream(Request[None]):
    """Wait until the stream is readable (or writable where `write`)."""

    stream: int
    write: bool


@request("console")
class WaitResize(Request[tuple[int, int]]):
    """Wait until the host's terminal changes size: (rows, columns)."""
