"""Does a good citizen notice nothing, whatever a bad one does and whichever reservation fails?"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

HEAP_BYTES = 14 << 20
SECONDS = 4
LIVE = re.compile(
    r"kernel heap: ([\d,]+) of [\d,]+ bytes live, ([\d,]+) reserved.*killed \d+ \((\w+)\)"
)
COLONY = """
mkdir /tmp/mail
{user}/citizen /tmp/mail {seconds} 10 200 & citizen=$!
{user}/abuser {kind} {seconds} || exit 3
wait $citizen
"""
WORK = """
mkdir /tmp/work; cd /tmp/work
dd if=/dev/zero of=big bs=300k count=3 2>/dev/null; wc -c <big
head -c 500000 /dev/zero | tr '\\0' x | wc -c
for i in 1 2 3; do (echo $i; sleep 0.01) | cat; done
printf 'b\\nc\\na\\n' | sort -r | tee out | head -2; cat out; rm big; ls
"""
LEAKS = """
import gc, sys, trio
from boot.config import Config
from boot.kernel import run_kernel
from bus.census import HEAP
for turn in range(2):
    trio.run(lambda: run_kernel(Config(argv=("/bin/sh", "-c", sys.argv[1]))))
    gc.collect()
    HEAP.check()
    print({(k.service, k.name): k.count for k in HEAP.by_bytes()}, file=sys.stderr)
"""


def hardtack(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boot", "run", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("kind", ["mmap", "pipe", "unix", "epoll", "timer", "thread", "tcp"])
def test_a_good_citizen_never_sees_an_error(user_programs: Path, kind: str) -> None:
    script = COLONY.format(user=user_programs, kind=kind, seconds=SECONDS)
    ended = hardtack("--heap", str(HEAP_BYTES), "--", "/bin/sh", "-c", script)
    assert ended.returncode == 0, ended.stderr
    assert "citizen: " in ended.stdout
    kills = [LIVE.search(line) for line in ended.stderr.splitlines()]
    assert kills, "nobody was killed"
    for kill in kills:
        assert kill is not None, ended.stderr
        assert kill[3] == "abuser"
        live, reserved = (int(number.replace(",", "")) for number in kill.groups()[:2])
        assert live + reserved >= 0.97 * HEAP_BYTES
        # threads that wait in calls reserve what those may need, instead of what they have
        assert kind == "thread" or live >= 0.97 * HEAP_BYTES


FILES = """
import errno, os
os.mkdir("/tmp/many")
try:
    for number in range(1000000):
        os.close(os.open(f"/tmp/many/file-{number}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_files_that_only_memory_has_end_before_the_heap() -> None:
    script = f"{sys.executable} -c '{FILES}'; ls /tmp/many | wc -l"
    ended = hardtack("--heap", str(HEAP_BYTES), "--", "/bin/sh", "-c", script)
    assert (ended.returncode, ended.stderr) == (0, "")
    told, count = ended.stdout.split()
    assert told == "ENOSPC"
    assert int(count) > 1000


@pytest.mark.parametrize("faults", ["once", "0.3"])
def test_reservations_that_fail_are_not_noticed(faults: str) -> None:
    plain = hardtack("--", "/bin/sh", "-c", WORK)
    faulty = hardtack(
        "--heap-faults", faults, "--seed", "7", "--stats", "--", "/bin/sh", "-c", WORK
    )
    assert (faulty.returncode, faulty.stdout) == (plain.returncode, plain.stdout)
    told = re.search(r"([\d,]+) reservations made to fail, ([\d,]+) calls run again", faulty.stderr)
    assert told is not None
    assert int(told[1]) > 10
    assert int(told[2]) > 0


def test_a_kernel_that_ended_has_given_everything_back() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEAKS, WORK],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert ended.stderr.splitlines() == ["{('net', 'neighbour'): 1}"] * 2  # the constant NOBODY
