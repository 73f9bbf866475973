"""Split virtqueues in RAM: how frames cross between net (the driver's end) and the card.

The layout is virtio 1.2 section 2.7, little-endian. A queue of `size` entries, a power of two up
to 32768, is three areas:

    descriptors  16 bytes each: paddr u64, length u32, flags u16 (NEXT = 1: chain goes on at
                 `next`; WRITE = 2: the card writes here), next u16
    available    flags u16 (1: no interrupt wanted), index u16, ring u16[size]: heads of chains
                 that the driver gives to the card
    used         flags u16 (1: no kick wanted), index u16, ring {head u32, written u32}[size]:
                 chains that the card gives back, with how many bytes it wrote

Indices count up for ever, modulo 65536; the slot is index modulo size. Each buffer begins with
the 12 bytes of `virtio_net_hdr` (section 5.1.6), which carry checksum and segmentation offload:

    flags u8 (1 NEEDS_CHECKSUM: sum from `start`, store at start + at; 2 DATA_VALID),
    gso_type u8, header_bytes u16, gso_bytes u16, checksum_start u16, checksum_at u16, buffers u16

In a queue that the card reads, the frame may lie in one extent or in a chain of them, header
first, however it is cut. In a queue that the card writes, a buffer must hold 12 + 65,549 bytes
(a frame of 64 KiB with its Ethernet header), in one extent or several; `BUFFER_BYTES` does.

Pure: both ends work on a memoryview of RAM and are driven by calls. Neither trusts the other's
memory for its own safety: the card checks every descriptor, and whatever does not fit makes it
raise `RingBroken`; the driver's end does the same with what comes back.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

Extent = tuple[int, int]
T = TypeVar("T")

HEADER = struct.Struct("<BBHHHHH")
"""virtio_net_hdr: flags, gso_type, header_bytes, gso_bytes, checksum_start and _at, buffers."""
HEADER_BYTES = HEADER.size
NEEDS_CHECKSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_ECN = 0, 1, 4, 0x80

MAX_FRAME_BYTES = 14 + 65_535
"""The longest frame that crosses: an IP datagram of 64 KiB in Ethernet."""
BUFFER_BYTES = 17 * 4096
"""What a receive buffer should have: header and longest frame, in whole pages."""

NEXT, WRITE = 1, 2
_QUIET = 1
"""Bit 0 of either area's flags: do not disturb."""
MAX_SIZE = 1 << 15


class RingBroken(Exception):
    """The other end's area does not make sense: which queue entry, and why."""


@attrs.frozen
class QueuePlace:
    """Where a queue lies: physical addresses of its three areas, and its entries."""

    size: int
    descriptors_paddr: int
    available_paddr: int
    used_paddr: int


def queue_bytes(size: int) -> int:
    """RAM for a queue whose areas follow each other, as `place_queue` lays them out."""
    return 16 * size + (6 + 2 * size) + 2 + (6 + 8 * size)


def place_queue(paddr: int, size: int) -> QueuePlace:
    """Lay a queue out from `paddr` (a multiple of 16) on, in `queue_bytes(size)` bytes.

    ValueError: the size is no power of two within 1..32768, or the address is not aligned.
    """
    if size & (size - 1) or not 1 <= size <= MAX_SIZE:
        raise ValueError(f"a queue of {size} entries: not a power of two within 1..{MAX_SIZE}")
    if paddr % 16:
        raise ValueError(f"a queue at {paddr:#x}: not a multiple of 16")
    available = paddr + 16 * size
    return QueuePlace(size, paddr, available, (available + 6 + 2 * size + 3) & ~3)


class _Areas:
    """A queue's three areas as typed views, shared by both ends."""

    __slots__ = ("available", "descriptors", "mask", "memory", "place", "size", "used", "used_ring")

    def __init__(self, memory: memoryview, place: QueuePlace) -> None:
        size = place.size
        if size & (size - 1) or not 1 <= size <= MAX_SIZE:
            raise RingBroken(f"a queue of {size} entries")
        self.place = place
        self.size = size
        self.mask = size - 1
        self.memory = memory
        self.descriptors = _view(memory, place.descriptors_paddr, 16 * size, "Q")
        self.available = _view(memory, place.available_paddr, 4 + 2 * size, "H")
        self.used = _view(memory, place.used_paddr, 4, "H")
        self.used_ring = _view(memory, place.used_paddr + 4, 8 * size, "Q")

    def release(self) -> None:
        """Let go of RAM."""
        for view in (self.descriptors, self.available, self.used, self.used_ring):
            view.release()


def _view(memory: memoryview, paddr: int, length: int, format: str) -> memoryview[Any]:
    if paddr < 0 or paddr + length > len(memory):
        raise RingBroken(f"a ring's area of {length} bytes at {paddr:#x} is not in RAM")
    return memory[paddr : paddr + length].cast(format)  # type: ignore[call-overload,no-any-return]


class DriverQueue(Generic[T]):
    """Net's end: gives chains to the card with a token of its own, and gets the token back.

    `writable` says who writes the buffers: the card (receive) or net (transmit). Constructing one
    empties the queue: do so before the card is told of it (`Attach`).
    """

    __slots__ = ("_areas", "_chains", "_free", "_next", "_seen", "_tokens", "_writable")

    def __init__(self, memory: memoryview, place: QueuePlace, *, writable: bool) -> None:
        self._areas = areas = _Areas(memory, place)
        self._writable = WRITE if writable else 0
        self._free = list(range(place.size - 1, -1, -1))
        self._tokens: list[T | None] = [None] * place.size
        self._chains: list[list[int]] = [[] for _ in range(place.size)]
        self._next = self._seen = 0
        areas.available[0] = areas.available[1] = areas.used[0] = areas.used[1] = 0

    @property
    def free_entries(self) -> int:
        """Descriptors that can be used now; a chain of n extents takes n."""
        return len(self._free)

    @property
    def outstanding(self) -> int:
        """Chains that the card has and net has not taken back."""
        return (self._next - self._seen) & 0xFFFF

    def add(self, paddr: int, length_bytes: int, token: T) -> None:
        """Give one extent to the card; seen by it at the next `publish`. IndexError: full."""
        areas = self._areas
        head = self._free.pop()
        areas.descriptors[2 * head] = paddr
        areas.descriptors[2 * head + 1] = length_bytes | self._writable << 32
        self._tokens[head] = token
        areas.available[2 + (self._next & areas.mask)] = head
        self._next = (self._next + 1) & 0xFFFF

    def add_chain(self, extents: Sequence[Extent], token: T) -> None:
        """The same for a buffer in several extents. IndexError: fewer entries are free."""
        if len(extents) == 1:
            self.add(*extents[0], token)
            return
        free, areas = self._free, self._areas
        if not extents or len(extents) > len(free):
            raise IndexError(f"{len(extents)} extents, {len(free)} free descriptors")
        chain = [free.pop() for _ in extents]
        last = len(extents) - 1
        for at, (paddr, length) in enumerate(extents):
            word = length | self._writable << 32
            if at < last:
                word |= NEXT << 32 | chain[at + 1] << 48
            areas.descriptors[2 * chain[at]] = paddr
            areas.descriptors[2 * chain[at] + 1] = word
        head = chain[0]
        self._chains[head] = chain
        self._tokens[head] = token
        areas.available[2 + (self._next & areas.mask)] = head
        self._next = (self._next + 1) & 0xFFFF

    def publish(self) -> bool:
        """Let the card see what was added; True if it wants to be kicked."""
        areas = self._areas
        areas.available[1] = self._next
        return not areas.used[0] & _QUIET

    def take(self) -> tuple[T, int] | None:
        """The next chain that the card is done with: its token and the bytes written, or None."""
        areas, seen = self._areas, self._seen
        if areas.used[1] == seen:
            return None
        entry = areas.used_ring[seen & areas.mask]
        head, written = entry & 0xFFFF_FFFF, entry >> 32
        token = self._tokens[head] if head <= areas.mask else None
        if token is None:
            raise RingBroken(f"the card gave back chain {head}, which it does not have")
        self._tokens[head] = None
        chain = self._chains[head]
        if chain:
            self._free += chain
            self._chains[head] = []
        else:
            self._free.append(head)
        self._seen = (seen + 1) & 0xFFFF
        return token, written

    def interrupts(self, wanted: bool) -> None:
        """Whether the card should interrupt for this queue. After wanting: look once more."""
        self._areas.available[0] = 0 if wanted else _QUIET

    def release(self) -> None:
        """Let go of RAM; the queue cannot be used afterwards."""
        self._areas.release()


class CardQueue:
    """The card's end: takes chains that net made available and gives them back as used."""

    __slots__ = ("_areas", "_seen", "_used", "_writable", "ram_bytes")

    def __init__(self, memory: memoryview, place: QueuePlace, *, writable: bool) -> None:
        self._areas = _Areas(memory, place)
        self._writable = WRITE if writable else 0
        self.ram_bytes = len(memory)
        self._seen = self._used = self._areas.used[1]

    @property
    def waiting(self) -> int:
        """Chains that were made available and not taken yet."""
        return int(self._areas.available[1] - self._seen) & 0xFFFF

    def take(self) -> tuple[int, list[Extent]] | None:
        """The next available chain: its head and where it lies, or None. RingBroken."""
        areas, seen = self._areas, self._seen
        waiting = (areas.available[1] - seen) & 0xFFFF
        if not waiting:
            return None
        if waiting > areas.size:
            raise RingBroken(f"{waiting} chains available in a queue of {areas.size}")
        head = areas.available[2 + (seen & areas.mask)]
        self._seen = (seen + 1) & 0xFFFF
        extents: list[Extent] = []
        at = head
        while True:
            if at > areas.mask:
                raise RingBroken(f"descriptor {at} in a queue of {areas.size}")
            paddr, word = areas.descriptors[2 * at], areas.descriptors[2 * at + 1]
            length, flags = word & 0xFFFF_FFFF, word >> 32
            if paddr + length > self.ram_bytes or flags & WRITE != self._writable:
                raise RingBroken(f"descriptor {at}: {length} bytes at {paddr:#x}, {flags & 3}")
            extents.append((paddr, length))
            if not flags & NEXT:
                return head, extents
            if len(extents) > areas.mask:
                raise RingBroken(f"chain {head} does not end")
            at = word >> 48

    def untake(self) -> None:
        """Put the chain taken last back, as if it had not been taken."""
        self._seen = (self._seen - 1) & 0xFFFF

    def give_back(self, head: int, written_bytes: int = 0) -> None:
        """Return a chain to net; seen by it at once."""
        areas, used = self._areas, self._used
        areas.used_ring[used & areas.mask] = head | written_bytes << 32
        self._used = used = (used + 1) & 0xFFFF
        areas.used[1] = used

    @property
    def interrupt_wanted(self) -> bool:
        """Whether net wants to hear of chains that were given back."""
        return not self._areas.available[0] & _QUIET

    def kicks(self, wanted: bool) -> None:
        """Whether net should kick when it made chains available."""
        self._areas.used[0] = 0 if wanted else _QUIET

    def release(self) -> None:
        """Let go of RAM; the queue cannot be used afterwards."""
        self._areas.release()
