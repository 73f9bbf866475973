"""Run one command line on one platform, and read what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import attrs

from bench.measure import RunFailed, Sample
from bench.platforms import GUEST_PROGRAMS, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.platforms import Platform

LIMIT_S = 120.0
GRACE_S = 5.0


def parse_report(text: str, wall_s: float = 0.0) -> Sample:
    """The one line of JSON that a benchmark prints (user/bench.h)."""
    try:
        report = json.loads(text)
        return Sample(
            int(report["iterations"]), float(report["seconds"]), str(report["unit"]), wall_s
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"printed no report: {text.strip()[:200]!r}") from error


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what a platform still runs: a word first, so that sandboxes tidy up, then by force."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=patience_s)
            return


def _processor_s() -> float:
    """What all processes that we started and that have ended took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_words(
    words: Sequence[str], read: Callable[[str, float], Sample], limit_s: float = LIMIT_S
) -> Sample:
    """One run of a command line; `read` makes a sample of its output and the time it took.

    RunFailed when it does not end well or in time. Nothing of it is left, whatever happens.
    """
    began, spent_s = time.monotonic(), _processor_s()
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            _end_group(process)
            raise RunFailed(f"no end after {limit_s:.0f} s") from error
        except BaseException:
            _end_group(process)
            raise
    if process.returncode != 0:
        last = err.strip().rpartition("\n")[2]
        raise RunFailed(f"status {process.returncode}: {last[:200]}")
    sample = read(out, time.monotonic() - began)
    if sample.seconds > sample.wall_s:
        raise RunFailed(f"claims {sample.seconds:.3f} s of {sample.wall_s:.3f} s that passed")
    return attrs.evolve(sample, cpu_s=_processor_s() - spent_s)


def run_program(platform: Platform, program: str, count: int, limit_s: float = LIMIT_S) -> Sample:
    """One run of a program of user/."""
    words = [*platform.prefix, str(GUEST_PROGRAMS / program), str(count)]
    return run_words(words, parse_report, limit_s)


class ProgramRunner:
    """Runs programs on platforms by name: the runner that `measure` wants."""

    def __init__(self, platforms: Mapping[str, Platform], limit_s: float = LIMIT_S) -> None:
        self._platforms = platforms
        self._limit_s = limit_s

    def __call__(self, platform: str, program: str, count: int) -> Sample:
        """One run."""
        return run_program(self._platforms[platform], program, count, self._limit_s)
