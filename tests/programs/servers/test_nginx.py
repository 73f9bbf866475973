"""Does an unmodified NGINX, two workers with epoll, serve this machine through a published port?"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs.servers.inside import (
    LOOPBACK,
    NGINX,
    NGINX_UP,
    Inside,
    needs,
    run_here,
    serving,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = [needs("nginx", "curl"), pytest.mark.timeout(300)]
BIG_BYTES = 5_000_000
FIRST = 100_000_000
BIG = f"seq {FIRST} {FIRST + BIG_BYTES // 10 - 1} > pages/big\n"
REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def nginx() -> Iterator[Inside]:
    with serving(BIG + NGINX, (80,)) as inside:
        inside.wait_for(80, NGINX_UP)
        yield inside


def curl(*words: str) -> str:
    return run_here("curl", "-sS", "-f", "--max-time", "50", *words)


def test_curl_fetches_a_page(nginx: Inside) -> None:
    assert curl(nginx.url("hello")) == "hello from inside\n"
    assert curl("-I", nginx.url("hello")).startswith("HTTP/1.1 200 OK\nServer: nginx")


def test_several_pages_over_one_connection(nginx: Inside) -> None:
    words = [nginx.url("hello")] * 5
    shown = curl("-w", "%{num_connects}\n", *words)
    assert shown.splitlines() == ["hello from inside", "1"] + ["hello from inside", "0"] * 4


def test_a_large_file_arrives_whole(nginx: Inside, tmp_path: Path) -> None:
    wanted = b"".join(b"%d\n" % (FIRST + n) for n in range(BIG_BYTES // 10))
    curl("-o", str(tmp_path / "big"), nginx.url("big"))
    got = (tmp_path / "big").read_bytes()
    assert hashlib.sha256(got).digest() == hashlib.sha256(wanted).digest()
    assert curl("-r", "1000000-1000019", nginx.url("big")) == "100100000\n100100001\n"


def test_an_upload_arrives_whole(nginx: Inside, tmp_path: Path) -> None:
    sent = random.Random(80).randbytes(2_000_000)
    (tmp_path / "up").write_bytes(sent)
    curl("-T", str(tmp_path / "up"), nginx.url("upload/thing"))
    curl("-o", str(tmp_path / "back"), nginx.url("upload/thing"))
    assert (tmp_path / "back").read_bytes() == sent


def test_what_is_not_there_is_404(nginx: Inside) -> None:
    assert run_here("curl", "-s", "-w", "%{http_code}", "-o", "/dev/null", nginx.url("no")) == "404"


@needs("wrk")
@pytest.mark.parametrize("header", ["Connection: keep-alive", "Connection: close"])
def test_wrk_meets_no_error(nginx: Inside, header: str) -> None:
    shown = run_here("wrk", "-t", "1", "-c", "16", "-d", "2s", "-H", header, nginx.url("hello"))
    assert "Socket errors" not in shown
    assert "Non-2xx" not in shown
    assert int(re.findall(r"(\d+) requests in", shown)[0]) > 10


async def _ask(port: int, opened: asyncio.Barrier) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await opened.wait()  # all are open before the first asks
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_connections_at_the_same_time_are_all_answered(nginx: Inside, count: int) -> None:
    async def ask_all() -> list[bytes]:
        opened = asyncio.Barrier(count)
        return await asyncio.gather(*(_ask(nginx.ports[80], opened) for _ in range(count)))

    answers = asyncio.run(ask_all())
    assert len(answers) == count
    assert all(answer.endswith(b"\r\n\r\nhello from inside\n") for answer in answers)


SETTLE_S = 65.0
"""TIME_WAIT lasts a minute."""
GROWTH_BLOCKS = 1000
"""Of Python's allocator; one object kept of each connection would be 8000."""


def _live_blocks(process: subprocess.Popen[str], path: Path) -> int:
    """See counted.py."""
    path.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    while not path.exists():
        time.sleep(0.1)
    return int(path.read_text())


def _fetch(port: int, times: int) -> None:
    for _ in range(times):
        with socket.create_connection((LOOPBACK, port), 30) as stream:
            stream.sendall(REQUEST)
            answer = b""
            while data := stream.recv(65536):
                answer += data
        assert answer.endswith(b"hello from inside\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_connections_one_after_another_leave_nothing(tmp_path: Path) -> None:
    counts = tmp_path / "blocks"
    hardtack = [sys.executable, str(Path(__file__).with_name("counted.py")), str(counts), "run"]
    with serving(NGINX, (80,), hardtack=hardtack) as inside:
        inside.wait_for(80, NGINX_UP)
        levels = []
        for times in (2000, 8000):
            _fetch(inside.ports[80], times)
            time.sleep(SETTLE_S)
            levels.append(_live_blocks(inside.process, counts))
    assert levels[1] < levels[0] + GROWTH_BLOCKS
