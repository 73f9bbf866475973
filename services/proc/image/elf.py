"""ELF files as execve(2) needs them: parsed and checked, nothing loaded (elf(5)).

Only what a program may hand us is trusted: every size and offset is checked against the bytes
that are there, and anything wrong is `BadImage`, with the reason.
"""

from __future__ import annotations

import itertools
import struct

import attrs

EHDR_BYTES, PHDR_BYTES = 64, 56
ET_EXEC, ET_DYN = 2, 3
EM_X86_64 = 62
PT_LOAD, PT_INTERP, PT_PHDR, PT_GNU_STACK = 1, 3, 6, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
MAX_SEGMENTS = 512
_PAGE_MASK = 4095


class BadImage(Exception):
    """The file is no program that can run here; the text says why."""


@attrs.frozen
class Segment:
    """A PT_LOAD header."""

    vaddr: int
    offset: int
    file_bytes: int
    memory_bytes: int
    flags: int


@attrs.frozen
class Header:
    """What the first 64 bytes say."""

    kind: int
    entry: int
    phoff: int
    phnum: int


@attrs.frozen
class Image:
    """A program to be mapped."""

    header: Header
    segments: tuple[Segment, ...]
    interpreter: tuple[int, int] | None
    """Offset and length of the interpreter's path in the file."""
    executable_stack: bool
    phdr_vaddr: int

    @property
    def span(self) -> tuple[int, int]:
        """First and last virtual address (exclusive), page-aligned."""
        low = min(s.vaddr for s in self.segments) & ~_PAGE_MASK
        high = max(s.vaddr + s.memory_bytes for s in self.segments)
        return low, (high + _PAGE_MASK) & ~_PAGE_MASK


def parse_header(data: bytes) -> Header:
    """The ELF header; BadImage."""
    if len(data) < EHDR_BYTES or data[:4] != b"\x7fELF":
        raise BadImage("not an ELF file")
    if data[4] != 2 or data[5] != 1:
        raise BadImage("not a 64-bit little-endian program")
    kind, machine, _, entry, phoff = struct.unpack_from("<HHIQQ", data, 16)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    if machine != EM_X86_64:
        raise BadImage(f"built for machine {machine}, not x86-64")
    if kind not in (ET_EXEC, ET_DYN):
        raise BadImage(f"ELF type {kind} cannot be executed")
    if phentsize != PHDR_BYTES or not 0 < phnum <= MAX_SEGMENTS:
        raise BadImage("its program headers are malformed")
    return Header(kind, entry, phoff, phnum)


def parse_segments(header: Header, table: bytes) -> Image:
    """The program headers, `phnum` * 56 bytes; BadImage."""
    if len(table) < header.phnum * PHDR_BYTES:
        raise BadImage("its program headers are cut off")
    segments: list[Segment] = []
    interpreter = None
    executable_stack = False
    phdr_vaddr = 0
    for i in range(header.phnum):
        kind, flags, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", table, i * PHDR_BYTES
        )
        if kind == PT_LOAD:
            if memsz:
                segments.append(_segment(vaddr, offset, filesz, memsz, flags))
        elif kind == PT_INTERP:
            if not 1 < filesz <= 4096:
                raise BadImage("its interpreter's name is malformed")
            interpreter = (offset, filesz)
        elif kind == PT_GNU_STACK:
            executable_stack = bool(flags & PF_X)
        elif kind == PT_PHDR:
            phdr_vaddr = vaddr
    if not segments:
        raise BadImage("it has nothing to load")
    if any(b.vaddr < a.vaddr + a.memory_bytes for a, b in itertools.pairwise(segments)):
        raise BadImage("its segments overlap or are out of order")
    if not phdr_vaddr:
        phdr_vaddr = _phdr_from_segments(header, segments)
    return Image(header, tuple(segments), interpreter, executable_stack, phdr_vaddr)


def _segment(vaddr: int, offset: int, filesz: int, memsz: int, flags: int) -> Segment:
    if filesz > memsz:
        raise BadImage("a segment is larger in the file than in memory")
    if (vaddr ^ offset) & _PAGE_MASK:
        raise BadImage("a segment is not aligned to its place in the file")
    if vaddr + memsz > 1 << 47 or offset + filesz > 1 << 62:
        raise BadImage("a segment lies outside the address space")
    return Segment(vaddr, offset, filesz, memsz, flags)


def _phdr_from_segments(header: Header, segments: list[Segment]) -> int:
    for segment in segments:
        if segment.offset <= header.phoff < segment.offset + segment.file_bytes:
            return segment.vaddr + header.phoff - segment.offset
    return 0
