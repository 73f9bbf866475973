"""Can a hostile program file do worse than be refused?"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.proc.image import elf, stack

SHELL = Path("/bin/sh").resolve().read_bytes()


def parse(data: bytes) -> elf.Image:
    header = elf.parse_header(data)
    return elf.parse_segments(header, data[header.phoff : header.phoff + header.phnum * 56])


def test_a_real_program_is_understood() -> None:
    image = parse(SHELL)
    assert image.header.kind in (elf.ET_EXEC, elf.ET_DYN)
    assert any(s.flags & elf.PF_X for s in image.segments)
    low, high = image.span
    assert 0 <= low < high
    if image.interpreter is not None:
        offset, length = image.interpreter
        assert SHELL[offset : offset + length].startswith(b"/lib")


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(elf.BadImage):
        parse(noise)


@given(
    st.lists(
        st.tuples(st.integers(0, 0x400), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6
    )
)
def test_a_damaged_program_is_refused_or_well_formed(damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(SHELL[:8192])
    for at, patch in damage:
        data[at : at + len(patch)] = patch
    try:
        image = parse(bytes(data))
    except elf.BadImage:
        return
    for segment in image.segments:
        assert segment.file_bytes <= segment.memory_bytes
        assert segment.vaddr + segment.memory_bytes <= 1 << 47
        assert (segment.vaddr - segment.offset) % 4096 == 0


@given(
    st.lists(st.binary(max_size=40).map(lambda s: s.replace(b"\0", b"")), max_size=20),
    st.lists(st.binary(max_size=40).map(lambda s: s.replace(b"\0", b"")), max_size=20),
)
def test_the_first_stack_reads_back(argv: list[bytes], env: list[bytes]) -> None:
    top = 0x7FFF_0000
    built = stack.build(top, argv, env, b"/bin/x", b"r" * 16, [(stack.AT_PAGESZ, 4096)])
    assert built.sp % 16 == 0
    assert built.sp + len(built.image) == top

    def word(vaddr: int) -> int:
        value: int = struct.unpack_from("<Q", built.image, vaddr - built.sp)[0]
        return value

    def string(vaddr: int) -> bytes:
        start = vaddr - built.sp
        return built.image[start : built.image.index(b"\0", start)]

    assert word(built.sp) == len(argv)
    at = built.sp + 8
    assert [string(word(at + 8 * i)) for i in range(len(argv))] == argv
    at += 8 * (len(argv) + 1)
    assert word(at - 8) == 0
    assert [string(word(at + 8 * i)) for i in range(len(env))] == env
    assert word(at + 8 * len(env)) == 0
    auxv = dict(struct.iter_unpack("<QQ", built.auxv))
    assert string(auxv[stack.AT_EXECFN]) == b"/bin/x"
    assert auxv[stack.AT_PAGESZ] == 4096
