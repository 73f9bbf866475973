"""The servers: how many requests a second do Redis, NGINX and memcached answer?

Server and client run inside the platform, unmodified, over its loopback: natively, on Hardtack and
on gVisor, in turn, in one session. As with the small benchmarks, quote the ratios.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import loads
from bench.measure import Benchmark, Sample
from bench.report import RATES
from bench.run import run_words
from bench.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.platforms import Platform

LOADS: Mapping[Benchmark, loads.Load] = {
    Benchmark("redis-get", "Redis GET, 50 connections", 2000): loads.redis_benchmark("get"),
    Benchmark("redis-set", "Redis SET, 50 connections", 2000): loads.redis_benchmark("set"),
    Benchmark("nginx-close", "NGINX, 612 bytes, a connection each", timed=True): loads.wrk(
        "-H 'Connection: close'"
    ),
    Benchmark("nginx-keep", "NGINX, 612 bytes, 64 connections", timed=True): loads.wrk(),
    Benchmark("memcached-get", "memcached get, 50 connections", 2000): loads.memload("get"),
    Benchmark("memcached-set", "memcached set, 50 connections", 2000): loads.memload("set"),
}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LoadRunner:
    """Runs loads on platforms by name: the runner that `measure` wants."""

    def __init__(self, platforms: Mapping[str, Platform]) -> None:
        self._platforms = platforms
        self._loads = {benchmark.program: load for benchmark, load in LOADS.items()}

    def __call__(self, platform: str, program: str, count: int) -> Sample:
        """One run, in a directory and at a port of its own."""
        load = self._loads[program]
        with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
            scratch, port = Path(folder), free_port()
            scratch.chmod(0o755)
            loads.prepare(load.server, scratch, port)
            words = ("/bin/sh", "-c", loads.script(load, scratch, port, count))
            return run_words(
                (*self._platforms[platform].prefix, *words),
                lambda text, wall_s: load.read(text, wall_s, count),
            )


NET = Suite(
    "net",
    tuple(LOADS),
    repeats=3,
    target_s=3.0,
    scale=RATES,
    runner=LoadRunner,
    lacking=lambda benchmark: loads.missing(LOADS[benchmark]),
)
