"""Physical memory: one shared mapping, seen by the cores and by every service.

Messages carry extents, (physical address, length in bytes), never bytes: whoever receives one
looks at the same RAM. Frame 0 is never given out; its first word is the doorbell.

The doorbell tells the cores what they must forget before they run user code again. Whoever
narrows or removes a page-table entry rings `DOORBELL_TLB`; whoever changes, from outside the
cores, a frame that may hold translated code (a frame that was ever mapped executable) rings
`DOORBELL_CODE`. It is a word of shared memory, so that no message is needed on the way.
"""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import numpy.typing as npt

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
DOORBELL_TLB = 1
DOORBELL_CODE = 2
FIRMWARE_BYTES = 16 * PAGE_BYTES

Extent = tuple[int, int]
"""A run of physical memory: (paddr, length_bytes); it may span frames that are neighbours."""


class Ram:
    """`size_bytes` of physical memory, demand-zero, backed by a memory file others can map."""

    def __init__(self, size_bytes: int) -> None:
        if size_bytes % PAGE_BYTES or size_bytes <= 0:
            raise ValueError(f"RAM must be a positive multiple of {PAGE_BYTES}, not {size_bytes}")
        self.size_bytes = size_bytes
        self.frames = size_bytes >> PAGE_SHIFT
        self.firmware_paddr = size_bytes
        """The cores' own tables live here, past the last frame that vm gives out."""
        self.fd = os.memfd_create("hardtack-ram", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size_bytes + FIRMWARE_BYTES)
        self._map = mmap.mmap(self.fd, size_bytes + FIRMWARE_BYTES)
        self.bytes = memoryview(self._map)
        """Byte view of all RAM."""
        self.words = self.bytes.cast("Q")
        """The same as 64-bit words, for page-table entries: index is paddr >> 3."""
        self.array: npt.NDArray[np.uint64] = np.frombuffer(self._map, dtype=np.uint64)
        """The same as a numpy array of 64-bit words, for vector operations."""
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)
        """Where RAM starts in this process, for the cores."""

    def ring(self, bits: int) -> None:
        """Ask the cores to drop translations before user code runs again."""
        self.words[0] |= bits

    def zero(self, paddr: int, length_bytes: int) -> None:
        """Fill a run with zeros."""
        ctypes.memset(self.address + paddr, 0, length_bytes)

    def copy(self, target: int, source: int, length_bytes: int) -> None:
        """Copy between two physical runs, which may overlap."""
        ctypes.memmove(self.address + target, self.address + source, length_bytes)
