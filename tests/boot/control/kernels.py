"""Kernels to command: one in this process with a stub for proc, and real ones beside it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import trio

from boot.config import Config, Control
from boot.control.client import Client
from boot.control.place import connect
from boot.kernel import run_kernel
from tests.boot.stubs import StubProc, builders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

READY_S = 30.0


def with_stubs(settings: Control, work: Callable[[], Any], wedge_s: float = 0.0) -> Any:
    """Boot a kernel whose program does `work` in a host thread; what it returned.

    `wedge_s`: the kernel's loop is stuck for that long meanwhile.
    """
    results: list[Any] = []

    async def program(proc: StubProc) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_work)
            if wedge_s:
                await trio.sleep(0.1)
                time.sleep(wedge_s)  # noqa: ASYNC251 (this is the point)
        return 0

    async def run_work() -> None:
        if wedge_s:
            await trio.sleep(0.05)
        results.append(await trio.to_thread.run_sync(work))

    config = Config(("x",), ram_bytes=16 << 20, heap_bytes=64 << 20, control=settings)
    trio.run(lambda: run_kernel(config, builders=builders(program)))
    return results[0]


def client_of(path: Path) -> Client:
    return Client(connect(path), str(path))


@contextlib.contextmanager
def running(
    path: Path, *words: str, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A real kernel with its control socket at `path`, which answers when the block begins."""
    command = [sys.executable, "-m", "boot", "run", "--control", str(path), *options, "--", *words]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + READY_S
        while not _has_program(path):
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield child
    finally:
        child.kill()
        child.communicate()


def _has_program(path: Path) -> bool:
    try:
        client = client_of(path)
    except OSError:
        return False
    with client.connection:
        processes: Any = client.ask("ps")
        return len(processes) > 1


def hardtack(path: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """`hardtack WORDS` to the kernel at `path`."""
    command = [sys.executable, "-m", "boot", words[0], "--control", str(path), *words[1:]]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, check=False
    )
