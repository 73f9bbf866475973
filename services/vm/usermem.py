"""A space's memory as the kernel reads and writes it: through the tables, with their rights.

Every system call that takes a pointer comes through here, so the common case, a range inside one
page that was used before, is one look into a dict. The dicts are a soft TLB: page number to
physical address, one for reading and one for writing. A word in the root table
(`paging.GENERATION_SLOT`) changes whenever vm narrows anything in the space; seeing it changed
empties both. So this works from any process that shares the RAM.

What is wrong with a pointer is told in two ways. A range that leaves the user half is
`PosixError(EFAULT)`. A page that the tables do not grant raises `PageMiss`: ask vm to resolve the
fault, then try again; only vm knows whether it is one.

Writing does what the core would do: it sets the dirty bit (which is news on shared pages), and
rings DOORBELL_CODE where the frame may hold translated code. Such pages never enter the soft TLB,
as every write to them must ring.
"""

from __future__ import annotations

from errno import EFAULT
from struct import Struct
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.ram.api import DOORBELL_CODE
from services.vm.paging import (
    ACCESS_READ,
    ACCESS_WRITE,
    GENERATION_SLOT,
    PAGE_BYTES,
    PTE_A,
    PTE_D,
    PTE_FRAME,
    PTE_NX,
    PTE_P,
    PTE_SHARED,
    PTE_U,
    PTE_W,
    USER_TOP,
    code_flags,
)

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent, Ram

SHORT_STRING = 64
"""Bytes looked at first when reading a string: most paths are shorter."""

_U64, _I64, _U32, _I32 = Struct("<Q"), Struct("<q"), Struct("<I"), Struct("<i")


class PageMiss(Exception):
    """The tables do not grant `access` (one ACCESS_ bit) to `vaddr`; vm may resolve it."""

    def __init__(self, vaddr: int, access: int) -> None:
        super().__init__(vaddr, access)
        self.vaddr = vaddr
        self.access = access

    def __str__(self) -> str:
        return f"no {'write' if self.access == ACCESS_WRITE else 'read'} at {self.vaddr:#x}"


class UserMemory:
    """The user half of the space whose root table lies at `root_paddr`."""

    __slots__ = (
        "_bytes",
        "_code",
        "_generation",
        "_generation_at",
        "_ram",
        "_readable",
        "_root",
        "_words",
        "_writable",
    )

    def __init__(self, ram: Ram, root_paddr: int) -> None:
        self._ram = ram
        self._bytes = ram.bytes
        self._words = ram.words
        self._code = code_flags(ram)
        self._root = root_paddr >> 3
        self._generation_at = self._root + GENERATION_SLOT
        self._generation = self._words[self._generation_at]
        self._readable: dict[int, int] = {}
        self._writable: dict[int, int] = {}

    @property
    def generation(self) -> int:
        """Changes whenever something is narrowed: extents from before may name other frames."""
        return int(self._words[self._generation_at])

    # -- finding pages ----------------------------------------------------------------------

    def _page(self, vaddr: int, pages: dict[int, int]) -> int:
        """The physical address of the page of `vaddr`; `pages` says for which access."""
        generation = self._words[self._generation_at]
        if generation != self._generation:
            self._readable.clear()
            self._writable.clear()
            self._generation = generation
        page = pages.get(vaddr >> 12)
        if page is not None:
            return page
        if not 0 <= vaddr < USER_TOP:
            raise PosixError(EFAULT)
        return self._walk(vaddr, pages is self._writable)

    def _walk(self, vaddr: int, write: bool) -> int:
        words = self._words
        entry = words[self._root + (vaddr >> 39)]
        for shift in (30, 21, 12):
            if not entry & PTE_P:
                raise PageMiss(vaddr, ACCESS_WRITE if write else ACCESS_READ)
            index = ((entry & PTE_FRAME) >> 3) + (vaddr >> shift & 511)
            entry = words[index]
        wanted = PTE_P | PTE_U | PTE_W if write else PTE_P | PTE_U
        if entry & wanted != wanted:
            raise PageMiss(vaddr, ACCESS_WRITE if write else ACCESS_READ)
        page: int = entry & PTE_FRAME
        if not write:
            self._readable[vaddr >> 12] = page
            return page
        if not entry & PTE_D:
            words[index] = entry | PTE_D | PTE_A
        if entry & PTE_NX and not self._code[page >> 12]:
            self._writable[vaddr >> 12] = page
        else:
            self._ram.ring(DOORBELL_CODE)
        return page

    def extents(self, vaddr: int, length: int, write: bool) -> list[Extent]:
        """The physical runs of a range, ascending, neighbours joined.

        Raises PageMiss at the first page that is not granted, PosixError(EFAULT) where the range
        leaves the user half.
        """
        offset = vaddr & 4095
        pages = self._writable if write else self._readable
        if 0 < length <= 4096 - offset:
            return [(self._page(vaddr, pages) + offset, length)]
        if length <= 0:
            if length < 0:
                raise PosixError(EFAULT)
            return []
        if not 0 <= vaddr <= USER_TOP - length:
            raise PosixError(EFAULT)
        start = self._page(vaddr, pages)
        stop = start + PAGE_BYTES
        start += offset
        runs: list[Extent] = []
        end = vaddr + length
        for at in range(vaddr - offset + PAGE_BYTES, end, PAGE_BYTES):
            page = pages.get(at >> 12)
            if page is None:
                page = self._page(at, pages)
            if page != stop:
                runs.append((start, stop - start))
                start = page
            stop = page + PAGE_BYTES
        tail = -end & 4095
        runs.append((start, stop - tail - start))
        return runs

    # -- bytes ------------------------------------------------------------------------------

    def shared_paddr(self, vaddr: int) -> int | None:
        """The physical address behind `vaddr` if a shared mapping is there, None if a private one.

        Raises PageMiss where nothing is, PosixError(EFAULT) outside of the user half.
        """
        if not 0 <= vaddr < USER_TOP:
            raise PosixError(EFAULT)
        words = self._words
        entry = words[self._root + (vaddr >> 39)]
        for shift in (30, 21, 12):
            if not entry & PTE_P:
                raise PageMiss(vaddr, ACCESS_READ)
            entry = words[((entry & PTE_FRAME) >> 3) + (vaddr >> shift & 511)]
        if not entry & PTE_P:
            raise PageMiss(vaddr, ACCESS_READ)
        return (entry & PTE_FRAME) + (vaddr & 4095) if entry & PTE_SHARED else None

    def read_bytes(self, vaddr: int, length: int) -> bytes:
        """`length` bytes from `vaddr`."""
        offset = vaddr & 4095
        if 0 < length <= 4096 - offset:
            paddr = self._page(vaddr, self._readable) + offset
            return self._bytes[paddr : paddr + length].tobytes()
        memory = self._bytes
        runs = self.extents(vaddr, length, False)
        return b"".join([memory[paddr : paddr + size] for paddr, size in runs])

    def write_bytes(self, vaddr: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at `vaddr`: all, or none if a page is not granted."""
        length = len(data)
        offset = vaddr & 4095
        if 0 < length <= 4096 - offset:
            paddr = self._page(vaddr, self._writable) + offset
            self._bytes[paddr : paddr + length] = data
            return
        memory = self._bytes
        view = memoryview(data)
        done = 0
        for paddr, size in self.extents(vaddr, length, True):
            memory[paddr : paddr + size] = view[done : done + size]
            done += size

    def read_cstr(self, vaddr: int, limit: int) -> bytes | None:
        """The string at `vaddr` without its NUL; None if that is not within `limit` bytes."""
        chunks: list[bytes] = []
        size = SHORT_STRING
        while limit > 0:
            offset = vaddr & 4095
            size = min(size, 4096 - offset, limit)
            paddr = self._page(vaddr, self._readable) + offset
            chunk = self._bytes[paddr : paddr + size].tobytes()
            end = chunk.find(0)
            if end >= 0:
                if not chunks:
                    return chunk[:end]
                chunks.append(chunk[:end])
                return b"".join(chunks)
            chunks.append(chunk)
            vaddr += size
            limit -= size
            size = PAGE_BYTES
        return None

    # -- words ------------------------------------------------------------------------------

    def _read(self, vaddr: int, word: Struct) -> int:
        offset = vaddr & 4095
        value: int
        if offset <= 4096 - word.size:
            (value,) = word.unpack_from(self._bytes, self._page(vaddr, self._readable) + offset)
        else:
            (value,) = word.unpack(self.read_bytes(vaddr, word.size))
        return value

    def read_u64(self, vaddr: int) -> int:
        """An unsigned 64-bit word."""
        if vaddr & 7:
            return self._read(vaddr, _U64)
        return int(self._words[self._page(vaddr, self._readable) + (vaddr & 4095) >> 3])

    def read_i64(self, vaddr: int) -> int:
        """A signed 64-bit word."""
        return self._read(vaddr, _I64)

    def read_u32(self, vaddr: int) -> int:
        """An unsigned 32-bit word."""
        return self._read(vaddr, _U32)

    def read_i32(self, vaddr: int) -> int:
        """A signed 32-bit word."""
        return self._read(vaddr, _I32)

    def write_u64(self, vaddr: int, value: int) -> None:
        """Put a 64-bit word, modulo 2**64."""
        value &= 0xFFFF_FFFF_FFFF_FFFF
        if vaddr & 7:
            self.write_bytes(vaddr, value.to_bytes(8, "little"))
        else:
            self._words[self._page(vaddr, self._writable) + (vaddr & 4095) >> 3] = value

    def write_u32(self, vaddr: int, value: int) -> None:
        """Put a 32-bit word, modulo 2**32."""
        self.write_bytes(vaddr, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
