"""Host strace as an oracle: what it prints for given calls over a given memory.

A program of one loop is written as an ELF file: its table names the calls to make, and one
segment holds the memory that their arguments point to. strace runs it with every call replaced
by a chosen result (`--inject=…:retval=` or `:error=`), so nothing is executed, the memory is the
same at exit as at entry, and every address is known: lines are compared as they are, with no
normalising. `poke` changes memory between entry and exit, for in-out parameters.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from services.proc.strace import SIGNATURES, Ctx, abandoned, render_entry, render_exit, six

STRACE = shutil.which("strace")
VERSION = "6.1"
UNISTD = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
CODE, TABLE, ARENA = 0x5A5A5000, 0x6B6B6000, 0x10000000
PAGE = 4096
EXIT_GROUP = 231
_LOOP = bytes.fromhex(
    "498b0424 4883f8ff 7426 498b7c2408 498b742410 498b542418 4d8b542420 4d8b442428 4d8b4c2430"
    "0f05 4983c438 ebd0 b8e7000000 31ff 0f05"
)
Call = tuple[str | int, ...]


def _strace_is_the_one() -> bool:
    if STRACE is None or not UNISTD.exists():
        return False
    said = subprocess.run([STRACE, "--version"], capture_output=True, text=True, check=False)
    return f"version {VERSION}\n" in said.stdout


needs_strace = pytest.mark.skipif(not _strace_is_the_one(), reason=f"needs strace {VERSION}")


@cache
def numbers() -> dict[str, int]:
    """Give the numbers of the x86-64 calls."""
    found = re.findall(r"#define __NR_(\w+) (\d+)", UNISTD.read_text())
    return {name: int(number) for name, number in found}


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

    def words(self, layout: str, *values: int | bytes) -> int:
        """Store packed values, and give their address."""
        return self.put(struct.pack("<" + layout, *values))

    def text(self, content: bytes) -> int:
        """Store a zero-terminated string, and give its address."""
        return self.put(content + b"\0")

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


def _elf(calls: list[tuple[int, ...]], arena: Arena) -> bytes:
    """Write the program that makes `calls` (number and six arguments each) and exits."""
    code = b"\x49\xbc" + struct.pack("<Q", TABLE) + _LOOP
    table = b"".join([struct.pack("<7Q", *row) for row in calls]) + struct.pack("<q", -1)
    parts = [(CODE, code, 5), (TABLE, table, 4), (ARENA, bytes(arena.image) or b"\0", 6)]
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


def _rows(calls: list[Call]) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    for name, *words in calls:
        number = numbers()[name] if isinstance(name, str) else name
        rows.append((number, *six([int(word) for word in words])))
    return rows


def _run(rows: list[tuple[int, ...]], arena: Arena, *options: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        program, log = Path(folder, "calls"), Path(folder, "log")
        program.write_bytes(_elf(rows, arena))
        program.chmod(0o700)
        subprocess.run(
            [str(STRACE), "-o", str(log), *options, str(program)],
            check=False, env={}, capture_output=True, timeout=60,
        )  # fmt: skip
        return log.read_bytes().decode("latin-1").splitlines()


def strace_lines(
    arena: Arena, result: int, calls: list[Call], poke: tuple[int, bytes] | None = None
) -> list[str]:
    """Give strace's lines for `calls`, all ending with `result` (an errno if negative).

    `poke` is an argument's number (from 1) and what the memory that it points to becomes.
    """
    outcome = f"error={-result}" if result < 0 else f"retval={result}"
    if poke is not None:
        outcome += f":poke_exit=@arg{poke[0]}={poke[1].hex()}"
    lines = _run(_rows(calls), arena, f"--inject=!exit_group:{outcome}")[1:-2]
    return [re.sub(r" \(INJECTED.*\)$", "", line) for line in lines]


def our_line(arena: Arena, result: int, call: Call, poke: tuple[int, bytes] | None = None) -> str:
    """Give our line for the same."""
    name, args = str(call[0]), six([int(word) for word in call[1:]])
    ctx = Ctx(memory=arena, args=args)
    entry = render_entry(name, args, ctx)
    if poke is not None:
        start = args[poke[0] - 1] - ARENA
        after = Arena()
        after.image = arena.image[:start] + poke[1] + arena.image[start + len(poke[1]) :]
        ctx = Ctx(memory=after, args=args, saved=ctx.saved)
    return entry + render_exit(name, args, ctx.at_exit(result), len(entry))


def _compare(ours: list[str], expected: list[str]) -> None:
    differing = [pair for pair in zip(ours, expected, strict=True) if pair[0] != pair[1]]
    if differing:
        shown = [f"ours:   {ours}\nstrace: {theirs}" for ours, theirs in differing[:5]]
        pytest.fail(f"{len(differing)} lines differ\n" + "\n".join(shown), pytrace=False)


def check(arena: Arena, result: int, *calls: Call, poke: tuple[int, bytes] | None = None) -> None:
    """Assert that we print each call as strace does; with `poke`, each in a run of its own."""
    runs = [[call] for call in calls] if poke is not None else [list(calls)]
    for run in runs:
        expected = strace_lines(arena, result, run, poke)
        ours = [our_line(arena, result, call, poke) for call in run]
        _compare(ours, expected)


def check_abandoned(arena: Arena, *calls: Call) -> None:
    """Assert that we print each call as strace does if the process is killed in it."""
    for call in calls:
        name = str(call[0])
        inject = f"--inject={name}:error=EPERM:signal=KILL"
        expected = _run(_rows([call]), arena, inject)[1]
        args = six([int(word) for word in call[1:]])
        _compare([abandoned(name, args, Ctx(memory=arena, args=args))], [expected])


def known_calls(*but: str) -> list[str]:
    """Name the calls that have a signature, in the order of their numbers."""
    never = {"exit", "exit_group", "rt_sigreturn", *but}
    return [name for name in numbers() if name in SIGNATURES and name not in never]


def class_of_strace(name: str) -> list[str]:
    """Name the calls that strace counts to a class, in the order of their numbers."""
    marked = ["--inject=!exit_group:retval=0", f"--inject=%{name}:retval=77"]
    lines = _run(_rows([(call,) for call in known_calls()]), Arena(), *marked)
    names = [line.partition("(")[0] for line in lines if re.search(r"= (77|0x4d|0115) ", line)]
    return [call for call in names if call in known_calls()]
