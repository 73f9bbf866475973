"""The words of page tables: bits of an entry, and what else vm keeps in RAM.

Source: Intel SDM vol. 3A, 4.5 (4-level paging). A level's index is nine bits of the address; an
entry whose P bit is clear belongs to the software as a whole.

What vm keeps in RAM beside the tables, so that whoever shares the RAM can read it:
- frames 1 onwards hold one byte of code flag for every frame, then one 32-bit reference count for
  every frame (`code_flags`, `reference_counts`);
- slot `GENERATION_SLOT` of every root table, in the half that no user address reaches, holds a
  word that changes whenever an entry of that space is narrowed, removed or redirected. Its P bit
  is always clear, so for the processor it is an absent entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.drivers.ram.api import Ram

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_BYTES - 1
USER_TOP = 0x7FFF_FFFF_F000
ENTRIES = 512
"""Entries in one table."""

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH = 1, 2, 4

PTE_P, PTE_W, PTE_U, PTE_A, PTE_D = 1, 2, 4, 0x20, 0x40
PTE_SHARED = 1 << 9
"""Software's: the page belongs to a MAP_SHARED region, so fork leaves it writable."""
PTE_KEPT = 1 << 10
"""Software's: P is clear because of PROT_NONE, but the entry still holds its frame."""
PTE_NX = 1 << 63
PTE_FRAME = 0x000F_FFFF_FFFF_F000
PTE_TABLE = PTE_P | PTE_W | PTE_U | PTE_A
"""Bits of an entry that points to a lower table: the leaf alone restricts."""

GENERATION_SLOT = 256
GENERATION_STEP = 2
KERNEL_SLOT = 511
CODE_FLAGS_PADDR = PAGE_BYTES


def code_flags(ram: Ram) -> memoryview:
    """One byte a frame: not zero while the cores may hold translations of what is in it.

    Whoever writes to such a frame from outside the cores rings DOORBELL_CODE.
    """
    return ram.bytes[CODE_FLAGS_PADDR : CODE_FLAGS_PADDR + ram.frames]


def reference_counts(ram: Ram) -> memoryview:
    """One signed 32-bit count a frame: mappings, tables and the page cache's own references."""
    start = CODE_FLAGS_PADDR + (ram.frames + 7 & ~7)
    return ram.bytes[start : start + 4 * ram.frames].cast("i")


def first_usable_frame(ram: Ram) -> int:
    """The lowest frame that is given out; those below hold the doorbell and vm's own arrays."""
    end = CODE_FLAGS_PADDR + (ram.frames + 7 & ~7) + 4 * ram.frames
    return end + PAGE_MASK >> PAGE_SHIFT


def leaf_bits(prot: int, shared: bool) -> int:
    """Everything but the frame of a leaf entry whose page its mapping owns alone.

    Private pages are marked accessed and dirty beforehand, which saves the core a second walk;
    of shared pages the dirty bit is news, and the W bit is granted per page.
    """
    bits = PTE_U | PTE_A | (PTE_P if prot else PTE_KEPT)
    if shared:
        bits |= PTE_SHARED
    else:
        bits |= PTE_D
    if prot & PROT_WRITE:
        bits |= PTE_W
    if not prot & PROT_EXEC:
        bits |= PTE_NX
    return bits


LEAF_BITS = tuple(leaf_bits(index & 7, bool(index & 8)) for index in range(16))
"""`leaf_bits` by prot, plus 8 if shared."""

ACCESS_OF = tuple(
    (ACCESS_READ if prot else 0)
    | (ACCESS_WRITE if prot & PROT_WRITE else 0)
    | (ACCESS_FETCH if prot & PROT_EXEC else 0)
    for prot in range(8)
)
"""The ACCESS_ bits a PROT_ value permits: on x86, write and execute imply read."""
