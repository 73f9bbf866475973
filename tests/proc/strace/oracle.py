"""Host strace as an oracle: what it prints for a given call over a given memory.

A program of one loop is written as an ELF file: its table names the calls to make, and one
segment holds the memory that their arguments point to. strace runs it with every call replaced
by a chosen result (`--inject=…:retval=` or `:error=`), so nothing is executed, the memory is the
same at exit as at entry, and every address is known: its lines can be compared as they are, with
no normalising. `poke_exit` changes memory between entry and exit, for in-out parameters.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

STRACE = shutil.which("strace")
CODE, TABLE, ARENA = 0x5A5A5000, 0x6B6B6000, 0x10000000
PAGE = 4096
_LOOP = bytes.fromhex(
    "498b0424 4883f8ff 7426 498b7c2408 498b742410 498b542418 4d8b542420 4d8b442428 4d8b4c2430"
    "0f05 4983c438 ebd0 b8e7000000 31ff 0f05"
)


class Arena:
    """The memory of the traced program: objects laid out one after another from ARENA."""

    def __init__(self) -> None:
        self.image = bytearray()

    def put(self, content: bytes, align: int = 16) -> int:
        """Store `content`, and give its address."""
        self.image += bytes(-len(self.image) % align)
        at = len(self.image)
        self.image += content
        return ARENA + at

    def put_at_end(self, content: bytes) -> int:
        """Store `content` so that the page after it is not mapped; the last object of an arena."""
        self.image += bytes(-(len(self.image) + len(content)) % PAGE)
        self.image += content
        return ARENA + len(self.image) - len(content)

    def read(self, vaddr: int, length: int) -> bytes | None:
        """Read as the traced program's memory: the arena's pages and nothing else."""
        start = vaddr - ARENA
        mapped = self.image + bytes(-len(self.image) % PAGE)
        if not 0 <= start < len(mapped):
            return None
        return bytes(mapped[start : start + length])


def elf(calls: list[tuple[int, ...]], arena: Arena) -> bytes:
    """Write the program that makes `calls` (number and six arguments each) and exits."""
    code = b"\x49\xbc" + struct.pack("<Q", TABLE) + _LOOP
    table = b"".join(struct.pack("<7Q", *(word & (1 << 64) - 1 for word in c)) for c in calls)
    table += struct.pack("<q", -1)
    image = bytes(arena.image) or b"\0"
    parts = [(CODE, code, 5), (TABLE, table, 4), (ARENA, image, 6)]
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, CODE, 64, 0, 0,
                         64, 56, len(parts), 64, 0, 0)  # fmt: skip
    body, segments, offset = b"", b"", PAGE
    for vaddr, content, flags in parts:
        size = len(content)
        segments += struct.pack("<IIQQQQQQ", 1, flags, offset, vaddr, vaddr, size, size, PAGE)
        padded = content + bytes(-size % PAGE)
        body += padded
        offset += len(padded)
    return (header + segments).ljust(PAGE, b"\0") + body


def trace(calls: list[tuple[int, ...]], arena: Arena, inject: str, *options: str) -> list[str]:
    """Run `calls` under strace, all with the outcome `inject`, and give its lines, one a call."""
    with tempfile.TemporaryDirectory() as folder:
        program, log = Path(folder, "calls"), Path(folder, "log")
        program.write_bytes(elf(calls, arena))
        program.chmod(0o700)
        command = [
            str(STRACE), "-o", str(log), f"--inject=!exit_group:{inject}", *options, str(program),
        ]  # fmt: skip
        subprocess.run(command, check=True, env={}, capture_output=True, timeout=60)
        lines = log.read_bytes().decode("latin-1").splitlines()
    return [line.removesuffix(" (INJECTED)") for line in lines[1:-2]]
