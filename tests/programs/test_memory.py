"""Does a small machine give programs all its memory, and who goes when there is no more?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.commands.python import PYTHON
from tests.programs.oracle import missing_needs, on_hardtack, scratch_directory

if TYPE_CHECKING:
    from tests.programs.oracle import Outcome

RAM = ("--ram", "64M")
KILLED = 137
BIG = {"big": bytes(range(1, 256)) * 180_000}
"""45.9 MB, of which the page cache may keep 48."""

PRELUDE = """
import mmap, os, signal
def touch(m, step=4096): return sum(m[i] for i in range(0, len(m), step))
def take(mib):
    m = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for i in range(0, len(m), 4096): m[i] = 1
    return m
big = open("big", "rb", 0)
"""


def run(source: str) -> Outcome:
    if absent := missing_needs((PYTHON,)):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    command = Command("memory", (PYTHON, "-I", "-S", "-u", "-c", PRELUDE + source))
    with scratch_directory(BIG) as scratch:
        return on_hardtack(command, scratch, options=RAM)


def check(source: str, said: str) -> None:
    outcome = run(source)
    assert (outcome.stdout.decode(), outcome.stderr.decode(), outcome.status) == (said, "", 0)


def test_a_file_that_was_read_leaves_its_memory_to_programs() -> None:
    check(
        """
while big.read(1 << 20): pass
m = take(36)
print(touch(m))
print(os.waitstatus_to_exitcode(os.system("echo $((1 + 1))")))
""",
        "9216\n2\n0\n",
    )


def test_a_file_that_was_mapped_does_too_though_it_is_open() -> None:
    check(
        """
m = mmap.mmap(big.fileno(), 0, prot=mmap.PROT_READ)
expected = touch(m)
m.close()
a = take(36)
print(touch(a))
big.seek(0)
print(expected == sum(block[0] for block in iter(lambda: big.read(4096), b"")))
""",
        "9216\nTrue\n",
    )


def test_pages_are_taken_from_mappings_too_and_come_again() -> None:
    check(
        """
shared = mmap.mmap(big.fileno(), 0, prot=mmap.PROT_READ)
private = mmap.mmap(big.fileno(), 0, flags=mmap.MAP_PRIVATE)
private[4096 * 5000] = 7
before = touch(shared), touch(private)
a = take(30)
print(touch(a), (touch(shared), touch(private)) == before, private[4096 * 5000])
""",
        "7680 True 7\n",
    )


def test_who_takes_all_is_killed_and_the_log_says_so() -> None:
    outcome = run("while big.read(1 << 20): pass\nprint(1)\ntake(62)\nprint(2)")
    assert (outcome.stdout, outcome.status) == (b"1\n", KILLED)
    assert re.fullmatch(
        rb"hardtack: out of RAM: pid \d+ \(python3\S*\) held [45]\d MiB and was killed when pid \d+"
        rb" touched 0x[0-9a-f]+ \(more with --ram\)\n",
        outcome.stderr,
    ), outcome.stderr


def test_the_largest_goes_and_not_who_asked_last() -> None:
    outcome = run(
        """
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    hog = take(38)
    os.write(w, b"x")
    signal.pause()
os.read(r, 1)
m = take(24)
print(touch(m), os.waitstatus_to_exitcode(os.wait()[1]))
"""
    )
    assert (outcome.stdout, outcome.status) == (b"6144 -9\n", 0)
    assert outcome.stderr.count(b"\n") == 1
    assert outcome.stderr.startswith(b"hardtack: out of RAM: pid "), outcome.stderr


def test_a_call_that_finds_no_memory_is_refused() -> None:
    outcome = run(
        """
hog = take(24)
m = memoryview(mmap.mmap(-1, 44 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
zero, done = open("/dev/zero", "rb", 0), 0
try:
    while done < len(m): done += os.readv(zero.fileno(), [m[done:]])
except OSError as refusal: print(refusal.strerror, done > 10 << 20)
m.obj.madvise(mmap.MADV_DONTNEED)
print(os.waitstatus_to_exitcode(os.system("exit 3")))
"""
    )
    said = b"Cannot allocate memory True\n3\n"
    assert (outcome.stdout, outcome.stderr, outcome.status) == (said, b"", 0)
