"""`--pcap`: every frame that crosses the link, for Wireshark and tcpdump.

The file is classic pcap with nanoseconds (magic 0xa1b23c4d, LINKTYPE_ETHERNET;
draft-ietf-opsawg-pcap). Frames are written as a wire would have seen them: partial checksums are
completed and segmentation offload is carried out, so that no reader complains. Each write reaches
the file at once, so that it can be followed; when it fails (disk full), the capture ends and
`failed` says why, while the network goes on.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

from services.drivers.nic.rings import GSO_ECN, HEADER, HEADER_BYTES, NEEDS_CHECKSUM
from services.drivers.nic.settings import LinkRefused
from services.net.proto import gso
from services.net.proto.packet import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 1)
_RECORD = struct.Struct("=IIII")
_IOV_MAX = 1024


class Recorder:
    """A capture file, open from construction to `close`. LinkRefused: it cannot be written."""

    def __init__(self, path: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self.failed: OSError | None = None
        self.records = 0
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            os.write(self._fd, _FILE_HEADER)
        except OSError as error:
            self.close()
            raise LinkRefused(
                f"capture file {path!r}: {os.strerror(error.errno or 0)}",
                "name another with --pcap",
            ) from error

    def record(self, frame: Sequence[bytes | memoryview]) -> None:
        """One frame, virtio_net_hdr first."""
        if self._fd < 0:
            return
        whole = memoryview(b"".join(frame))
        flags, kind, header_bytes, gso_bytes, start, at, _ = HEADER.unpack_from(whole)
        if not flags & NEEDS_CHECKSUM:
            start = -1
        told = Frame([whole[HEADER_BYTES:]], start, at, kind & ~GSO_ECN, gso_bytes, header_bytes)
        try:
            written = [b"".join(one.parts) for one in gso.split(told)]
        except ValueError:  # fields that contradict each other: shown as it is, not judged
            written = [bytes(whole[HEADER_BYTES:])]
        seconds, nanoseconds = divmod(self._now_ns(), 1_000_000_000)
        pieces: list[bytes] = []
        for one in written:
            pieces += (_RECORD.pack(seconds, nanoseconds, len(one), len(one)), one)
        self.records += len(written)
        try:
            for at in range(0, len(pieces), _IOV_MAX):
                os.writev(self._fd, pieces[at : at + _IOV_MAX])
        except OSError as error:
            self.failed = error
            self.close()

    def close(self) -> None:
        """End the capture."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
