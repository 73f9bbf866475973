"""Do info and prof tell programs how the kernel fares, and refuse what they should?"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

CALLS = """
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*words):
    got = libc.syscall(*map(ctypes.c_long, words))
    return got if got >= 0 else errno.errorcode[ctypes.get_errno()]
info = lambda what: call(502, what)
prof = lambda what, period_us=0: call(503, what, period_us)
"""
ASKED = """
before = info(3)
pipes = [os.pipe() for _ in range(100)]
assert before + 100_000 < info(3) < info(4) == 64 << 20, (before, info(3), info(4))
assert info(6) > 200
collections = info(0)
assert 0 < info(8) < info(4)
assert info(0) == collections + 1
assert info(1) >= info(2) > 0
assert info(5) >= 0 and info(7) == 0
print([info(9), info(-1), prof(2), prof(1, 99), prof(1, 10_000_001)])
print(prof(1, 1000), prof(1, 1000))
for _ in range(20000): os.getppid()
assert prof(0) > 5
assert prof(0) > 5
with open("/proc/hardtack/profile") as file:
    counts = [int(line.rpartition(" ")[2]) for line in file]
assert sum(counts) == prof(0) and counts == sorted(counts, reverse=True)
os.setuid(1000)
print([prof(1, 1000), prof(0), info(8)], info(3) > 0)
"""


def hardtack(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boot", "run", "--heap", "64M", "--", *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_program_asks() -> None:
    done = hardtack("/usr/bin/python3", "-c", CALLS + ASKED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        str(["EINVAL"] * 5),
        "0 EBUSY",
        "['EPERM', 'EPERM', 'EPERM'] True",
    ]


@pytest.mark.parametrize("status", [0, 7])
def test_a_profile_names_what_the_kernel_did(user_programs: Path, status: int) -> None:
    script = f"i=0; while [ $i -lt 300 ]; do : < /etc/passwd; i=$((i+1)); done; exit {status}"
    done = hardtack(user_programs / "kernelprof", "/bin/sh", "-c", script)
    assert done.returncode == status
    assert "proc/trap:Gate.run_thread" in done.stdout
    samples, _, rest = done.stderr.partition(" ")
    counts = [int(line.rpartition(" ")[2]) for line in done.stdout.splitlines()]
    assert sum(counts) == int(samples) > 10
    assert rest.startswith("samples")
