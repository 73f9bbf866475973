"""`hardtack bench heap`: the experiment of section 7.2.7 of the Biscuit thesis.

A bad citizen (user/abuser.c) fills the kernel's heap again and again with objects of one kind; a
good one (user/citizen.c) delivers mail in bursts and ends on any unexpected error. The heap is
watched on the kernel's metrics page meanwhile: what lives, who waits, who was killed.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from bench.platforms import REPOSITORY
from boot.heap import parse

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("mmap", "pipe", "socket", "file", "unix", "epoll", "timer", "thread")
PERIOD_S, GRACE_S = 0.25, 60.0
SCRIPT = """
mkdir /tmp/mail
{user}/citizen /tmp/mail {seconds} 24 1000 & citizen=$!
{user}/abuser {kind} {seconds} {children}; wait $citizen
"""
CHILD_BYTES = 12 << 20
"""What a child can take at least before a limit of its own stops it (vm.max_map_count)."""
_CITIZEN = re.compile(r"citizen: (\d+) delivered, longest ([\d.]+) ms")
_ABUSER = re.compile(r"abuser: (\d+) killed, (\d+) ended")


@attrs.frozen
class Sample:
    """The heap at one time: seconds since the start, bytes, counts since boot."""

    at_s: float
    live_bytes: int
    peak_bytes: int
    """The most that lived whenever somebody had to wait, or stock was taken, since boot."""
    waits: int
    kills: int


@attrs.frozen
class Outcome:
    """One run. `delivered` is None where the good citizen met an error: its words are `said`."""

    kind: str
    heap_bytes: int
    seconds: float
    delivered: int | None
    longest_ms: float
    killed: int
    said: str
    samples: tuple[Sample, ...]

    @property
    def peak_share(self) -> float:
        """The most of the heap that was live when somebody had to wait or stock was taken."""
        return max((s.peak_bytes for s in self.samples), default=0) / self.heap_bytes

    def kill_times(self, until_s: float) -> list[float]:
        """When a kill was first seen, in seconds, up to a time; several in one period are one."""
        return [
            after.at_s
            for before, after in pairwise(self.samples)
            if after.kills > before.kills and after.at_s <= until_s
        ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _look(port: int, began_s: float) -> Sample | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            found = parse(page.read().decode())
    except OSError:
        return None  # not up yet, or gone
    live = sum(v for (name, _), v in found.items() if name == "hardtack_heap_live_bytes")
    peak = found.get(("hardtack_heap_peak_bytes", ()), 0)
    waits = found.get(("hardtack_heap_waits_total", ()), 0)
    kills = found.get(("hardtack_heap_kills_total", ()), 0)
    return Sample(time.monotonic() - began_s, int(live), int(peak), int(waits), int(kills))


def run(kind: str, heap_bytes: int, seconds: float) -> Outcome:
    """Both citizens in one kernel for so long."""
    port, began_s = _free_port(), time.monotonic()
    script = SCRIPT.format(
        user=REPOSITORY / "user" / "build",
        kind=kind,
        seconds=seconds,
        children=-(-heap_bytes // CHILD_BYTES),
    )
    words = (
        "run",
        "--heap",
        str(heap_bytes),
        "--metrics",
        str(port),
        "--",
        "/bin/sh",
        "-c",
        script,
    )
    samples: list[Sample] = []
    # A file, not a pipe: nobody reads meanwhile, and a kernel that cannot log its kills stops.
    with (
        tempfile.TemporaryFile("w+") as words_said,
        subprocess.Popen(
            [sys.executable, "-m", "boot", *words],
            cwd=REPOSITORY,
            stdout=words_said,
            stderr=subprocess.STDOUT,
        ) as kernel,
    ):
        while kernel.poll() is None and time.monotonic() - began_s < seconds + GRACE_S:
            sample = _look(port, began_s)
            if sample is not None:
                samples.append(sample)
            time.sleep(PERIOD_S)
        kernel.kill()
        kernel.wait()
        words_said.seek(0)
        said = words_said.read()
    citizen, abuser = _CITIZEN.search(said), _ABUSER.search(said)
    return Outcome(
        kind,
        heap_bytes,
        seconds,
        int(citizen[1]) if citizen else None,
        float(citizen[2]) if citizen else 0.0,
        int(abuser[1]) if abuser else 0,
        said,
        tuple(samples),
    )


def run_all(
    kinds: tuple[str, ...], heap_bytes: int, seconds: float, tell: Callable[[str], None]
) -> list[Outcome]:
    """One run for each kind, a line about each as it ends."""
    outcomes = []
    for kind in kinds:
        outcome = run(kind, heap_bytes, seconds)
        outcomes.append(outcome)
        good = "MET AN ERROR" if outcome.delivered is None else f"{outcome.delivered} delivered"
        tell(
            f"{kind:8} good citizen: {good}, longest {outcome.longest_ms:.0f} ms;"
            f" {outcome.killed} abusers killed, live at most {outcome.peak_share:.1%} of M"
        )
        if outcome.delivered is None:
            tell(outcome.said)
    return outcomes
