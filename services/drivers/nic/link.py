"""The link: what connects the card's rings with a back end, and the one seam for its faults.

Every frame that crosses passes here, in both directions: this is where it is counted and captured,
and where faults strike (`faults`, which replaces methods of the link while some are armed).

Downwards a frame is views of RAM, virtio_net_hdr first, good until `transmit` returns. Upwards
there are two ways into a receive buffer: `reserve` its views, write, and `commit` (a tap reads
straight into RAM), or `deliver` a `Frame`, which is copied. Neither interrupts: the back end calls
`flush` when its batch is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.drivers.nic.rings import HEADER, HEADER_BYTES, NEEDS_CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.net.proto.packet import Frame

_NO_HEADER = bytes(HEADER_BYTES - 2) + b"\1\0"


def encode_header(frame: Frame) -> bytes:
    """The virtio_net_hdr that says what is left to do to a frame."""
    if frame.checksum_start < 0:
        return _NO_HEADER
    return HEADER.pack(
        NEEDS_CHECKSUM,
        frame.gso_type,
        frame.header_bytes,
        frame.gso_bytes,
        frame.checksum_start,
        frame.checksum_at,
        1,
    )


class Receiver(Protocol):
    """The rings, as the link sees them."""

    def reserve(self) -> list[memoryview] | None:
        """Views of the next receive buffer; None while there is none. Kept until `commit`."""

    def commit(self, length_bytes: int) -> None:
        """Hand the reserved buffer to net, its first `length_bytes` filled."""

    def flush(self) -> None:
        """Interrupt net if it was given anything since the last time."""


class Sender(Protocol):
    """A back end, as the link sees it."""

    def send(self, frame: list[memoryview]) -> bool:
        """Take one frame; False if it must be offered again later (`Rings.resume`)."""

    def settle(self) -> None:
        """The batch of frames is over: do what it asks for."""


class Recorder(Protocol):
    """What is shown every frame."""

    def record(self, frame: Sequence[bytes | memoryview]) -> None:
        """One frame, virtio_net_hdr first."""


class Link:
    """A perfect link: nothing is lost, late or doubled. `rings` and `sender` are set by boot."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.rings: Receiver
        self.sender: Sender
        self._recorder = recorder
        self._reserved: list[memoryview] | None = None
        self.sent_frames = self.sent_bytes = 0
        self.received_frames = self.received_bytes = 0

    def transmit(self, frame: list[memoryview]) -> bool:
        """From net to the back end; False: not now."""
        if not self.sender.send(frame):
            return False
        self.sent_frames += 1
        self.sent_bytes += sum(map(len, frame)) - HEADER_BYTES
        if self._recorder is not None:
            self._recorder.record(frame)
        return True

    def settle(self) -> None:
        """Net has handed down what it had for now."""
        self.sender.settle()

    def reserve(self) -> list[memoryview] | None:
        """Views of the next receive buffer, or None."""
        reserved = self._reserved
        if reserved is None:
            self._reserved = reserved = self.rings.reserve()
        return reserved

    def commit(self, length_bytes: int) -> None:
        """The reserved buffer's first `length_bytes` are a frame with its header."""
        assert self._reserved is not None, "commit without reserve"
        if self._recorder is not None:
            self._recorder.record(cut(self._reserved, length_bytes))
        self._reserved = None
        self.received_frames += 1
        self.received_bytes += length_bytes - HEADER_BYTES
        self.rings.commit(length_bytes)

    def forget(self) -> None:
        """The rings are gone, and with them what was reserved."""
        self._reserved = None

    def deliver(self, frame: Frame) -> bool:
        """Copy a frame into a receive buffer; False, with nothing counted, if there is none."""
        views = self._reserved
        if views is None:
            views = self.rings.reserve()
            if views is None:
                return False
            self._reserved = views
        header = encode_header(frame)
        if len(views) > 1:
            self.commit(scatter([header, *frame.parts], views))
            return True
        view, at = views[0], HEADER_BYTES
        view[:at] = header
        for part in frame.parts:
            end = at + len(part)
            view[at:end] = part
            at = end
        self.commit(at)
        return True

    def flush(self) -> None:
        """The back end has done what it had to do."""
        self.rings.flush()


def cut(views: Sequence[memoryview], length_bytes: int) -> list[memoryview]:
    """The first `length_bytes` of some views."""
    found: list[memoryview] = []
    for view in views:
        if length_bytes <= 0:
            break
        found.append(view[:length_bytes])
        length_bytes -= len(view)
    return found


def scatter(parts: Sequence[bytes | memoryview], views: Sequence[memoryview]) -> int:
    """Copy parts into views, laid end to end; bytes copied. ValueError: they do not fit."""
    copied = at = 0
    targets = iter(views)
    target = next(targets)
    for part in parts:
        rest = memoryview(part)
        while len(rest):
            if at == len(target):
                try:
                    target, at = next(targets), 0
                except StopIteration:
                    raise ValueError(f"{len(rest)} bytes do not fit") from None
            count = min(len(rest), len(target) - at)
            target[at : at + count] = rest[:count]
            rest, at, copied = rest[count:], at + count, copied + count
    return copied
