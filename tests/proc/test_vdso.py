"""The vDSO: is the object well formed, does its clock never go back, do programs find it?"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from services.proc.image import vdso

if TYPE_CHECKING:
    from pathlib import Path

PERIOD_NS = 250_000_000
NAMES = {"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"}


def test_image_is_a_shared_object_with_versioned_symbols() -> None:
    page = vdso.image()
    assert len(page) == vdso.PAGE_BYTES
    elf = ELFFile(io.BytesIO(page))
    dynamic = next(s for s in elf.iter_segments() if s["p_type"] == "PT_DYNAMIC")
    assert {s.name for s in dynamic.iter_symbols() if s.name} == NAMES
    for name in NAMES:
        symbol = next(s for s in dynamic.iter_symbols() if s.name == name)
        code = page[symbol["st_value"] : symbol["st_value"] + symbol["st_size"]]
        assert code.endswith(b"\x0f\x05\xc3"), "each function ends in a system call and a return"


def test_hash_is_system_v() -> None:
    assert vdso._elf_hash(b"LINUX_2.6") == 0x3AE75F6
    assert vdso._elf_hash(b"printf") == 0x77905A6


@given(
    rate=st.floats(0.05, 20),
    steps=st.lists(
        st.tuples(st.integers(1, 2_000_000_000), st.integers(-20_000, 20_000)), min_size=2
    ),
)
def test_clock_never_goes_back_and_stays_close(rate: float, steps: list[tuple[int, int]]) -> None:
    """However irregular and wrong the samples, programs see time go on."""
    clock = vdso.TickClock(0, 0)
    true_ns, shown = 0, 0
    for passed, error in steps:
        true_ns += passed
        ticks = int(true_ns * rate)
        if ticks == 0:
            continue
        assert clock.shown(ticks) >= shown
        told = clock.follow(ticks, max(true_ns + error, 1), PERIOD_NS)
        if told is None:
            continue
        at, scale, base = told
        assert at == ticks
        assert scale > 0
        assert base >= shown
        shown = base


def test_clock_converges() -> None:
    clock = vdso.TickClock(0, 0)
    for step in range(1, 100):
        true_ns = step * PERIOD_NS
        clock.follow(true_ns * 2, true_ns + (step % 3) * 1000, PERIOD_NS)
    at = 100 * PERIOD_NS
    assert abs(clock.shown(at * 2) - at) < 10_000


def test_counter_that_stands_still_says_nothing() -> None:
    clock = vdso.TickClock(5, 1000)
    assert clock.follow(5, 2000, PERIOD_NS) is None


PROGRAM = """
import time
before = time.monotonic_ns()
for _ in range(20000):
    now = time.monotonic_ns()
    assert now >= before
    before = now
print(abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 0.05)
print(sorted({l.split()[-1] for l in open("/proc/self/maps") if "[v" in l}))
"""


def test_programs_tell_the_time_without_system_calls(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = subprocess.run(
        [sys.executable, "-m", "boot", "run", "--trace=clock_gettime,gettimeofday",
         f"--trace-file={trace}", "--", "/usr/bin/python3", "-c", PROGRAM],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True\n['[vdso]', '[vvar]']\n"
    assert "CLOCK_MONOTONIC" not in trace.read_text()
