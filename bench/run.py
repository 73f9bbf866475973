"""Run one guest program on one platform, and read the line that it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from bench.measure import RunFailed, Sample
from bench.platforms import GUEST_PROGRAMS, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.platforms import Platform

LIMIT_S = 120.0


def parse_report(text: str, wall_s: float = 0.0) -> Sample:
    """The one line of JSON that a benchmark prints (user/bench.h)."""
    try:
        report = json.loads(text)
        return Sample(
            int(report["iterations"]), float(report["seconds"]), str(report["unit"]), wall_s
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"printed no report: {text.strip()[:200]!r}") from error


def run_program(platform: Platform, program: str, count: int, limit_s: float = LIMIT_S) -> Sample:
    """One run; RunFailed when it does not end well or in time."""
    began = time.monotonic()
    argv = [*platform.prefix, str(GUEST_PROGRAMS / program), str(count)]
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise RunFailed(f"no end after {limit_s:.0f} s") from error
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        last = err.strip().rpartition("\n")[2]
        raise RunFailed(f"status {process.returncode}: {last[:200]}")
    sample = parse_report(out, time.monotonic() - began)
    if sample.seconds > sample.wall_s:
        raise RunFailed(f"claims {sample.seconds:.3f} s of {sample.wall_s:.3f} s that passed")
    return sample


class ProgramRunner:
    """Runs programs on platforms by name: the runner that `measure` wants."""

    def __init__(self, platforms: Mapping[str, Platform], limit_s: float = LIMIT_S) -> None:
        self._platforms = platforms
        self._limit_s = limit_s

    def __call__(self, platform: str, program: str, count: int) -> Sample:
        """One run."""
        return run_program(self._platforms[platform], program, count, self._limit_s)
