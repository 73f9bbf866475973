"""Do servers run under their clients, is what clients print understood, is nothing left over?"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench import loads
from bench.measure import Benchmark, RunFailed, Sample
from bench.net import LOADS, NET, LoadRunner, free_port
from bench.platforms import native
from bench.run import run_words

WRK = """\
Running 1s test @ http://127.0.0.1:7799/page
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.71ms  611.04us  12.26ms   77.97%
    Req/Sec    37.60k     5.43k   46.79k    70.00%
  2244 requests in 500.00ms, 31.53MB read
Requests/sec:  37400.51
Transfer/sec:     31.25MB
"""
REDIS = '"test","rps","avg_latency_ms"\n"GET","2500.00","10.432"\n'


def test_what_the_clients_print_becomes_a_sample() -> None:
    assert loads.read_wrk(WRK, 2.0, 1) == Sample(2244, 0.5, "request", 2.0)
    assert loads.read_redis_benchmark(REDIS, 2.0, 1000) == Sample(1000, 0.4, "request", 2.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  0 requests in 1.03s, 0.00B read\n",
        WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        WRK + "  Non-2xx or 3xx responses: 2244\n",
    ],
)
def test_a_run_of_wrk_that_was_not_served_fails(text: str) -> None:
    with pytest.raises(RunFailed):
        loads.read_wrk(text, 2.0, 1)


@pytest.mark.parametrize("text", ["", "Could not connect\n", '"GET","0.00","1"\n', '"GET"\n'])
def test_a_run_of_redis_benchmark_that_was_not_served_fails(text: str) -> None:
    with pytest.raises(RunFailed):
        loads.read_redis_benchmark(text, 2.0, 1000)


@pytest.mark.parametrize("benchmark", NET.benchmarks, ids=lambda b: b.program)
def test_each_load_runs_here(
    benchmark: Benchmark, user_programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking := loads.missing(LOADS[benchmark]):
        pytest.skip(f"no {', '.join(lacking)}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    count = 1 if benchmark.timed else benchmark.first
    sample = LoadRunner({"native": native()})("native", benchmark.program, count)
    assert sample.iterations >= count
    assert 0 < sample.seconds < sample.wall_s
    assert running_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    server = loads.Server("sh -c 'echo begins; echo cannot listen; exit 1'", {})
    load = loads.Load(server, "true", {}, 1, loads.read_memload)
    words = ("/bin/sh", "-c", loads.script(load, tmp_path, 1, 1))
    with pytest.raises(RunFailed, match="cannot listen"):
        run_words(words, lambda text, wall_s: Sample(1, 1.0, "x", wall_s))


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")
def test_a_client_that_never_ends_leaves_no_server(tmp_path: Path) -> None:
    load = loads.Load(loads.REDIS, "sleep 1000", {}, 1, loads.read_memload)
    script = loads.script(load, tmp_path, free_port(), 1)
    with pytest.raises(RunFailed, match="no end after 1 s"):
        run_words(("/bin/sh", "-c", script), lambda *_: Sample(1, 1.0, "x"), limit_s=1.0)
    assert running_in(tmp_path) == []


def running_in(folder: Path) -> list[str]:
    """The processes that work in a directory."""
    time.sleep(0.1)  # one that was killed takes a moment to be gone
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(process / "cwd").startswith(str(folder)):
                found.append((process / "comm").read_text())
    return found


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    assert loads.missing(loads.wrk()) == {"nginx": "nginx", "wrk": "wrk"}
