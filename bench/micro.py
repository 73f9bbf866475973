"""The small benchmarks: what does one system call, one switch, one fork, one page cost?

Each program of user/ runs natively, on Hardtack and on gVisor, in turn, in one session; absolute
figures move from machine to machine, their ratios less so. Quote the ratios.
"""

from __future__ import annotations

from bench.measure import Benchmark
from bench.report import TIMES
from bench.run import ProgramRunner
from bench.suite import Suite

MICRO = Suite(
    "micro",
    (
        Benchmark("getpid", "getpid"),
        Benchmark("read1", "read 1 byte, /dev/zero"),
        Benchmark("write1", "write 1 byte, /dev/null"),
        Benchmark("stat", "stat"),
        Benchmark("openclose", "open + close"),
        Benchmark("pingpong", "ping-pong over two pipes", 50),
        Benchmark("switch", "switch threads by futex", 50),
        Benchmark("pagefault", "page of 4 MB map, touch, unmap", 1024),
        Benchmark("forkexit", "fork + exit + wait", 10),
        Benchmark("forkexec", "fork + exec (static) + wait", 10),
        Benchmark("compute", "hash 64 bits, no system call", 20_000),
    ),
    repeats=5,
    target_s=1.5,
    scale=TIMES,
    runner=ProgramRunner,
)
