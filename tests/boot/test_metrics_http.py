"""Can the page be scraped, and can nobody hurt the kernel by scraping it?"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from boot.config import Address, ConfigError
from boot.metrics_http import DEADLINE_S, MAX_HEAD_BYTES, MetricsPage, request_target
from bus.metrics import Metrics, gauge

if TYPE_CHECKING:
    from trio.testing import MockClock


def page() -> MetricsPage:
    metrics = Metrics()
    metrics.register(lambda: [gauge("hardtack_answer", "42.", {(): 42})])
    return MetricsPage(metrics)


async def ask(port: int, said: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(said)
        return b"".join([chunk async for chunk in stream])


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    listening: int = await nursery.start(page().run, Address("127.0.0.1", 0))
    return listening


async def test_the_page_and_the_health_check(port: int) -> None:
    answer = await ask(port, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\nhardtack_answer 42.0\n" in body
    assert (await ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nok\n")


async def test_head_has_no_body(port: int) -> None:
    answer = await ask(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 3" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET /metrics SMTP\r\n\r\n", 400),
        (b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n", 431),
    ],
)
async def test_everything_else_is_refused(port: int, said: bytes, status: int) -> None:
    assert (await ask(port, said)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_client_that_leaves_or_dawdles_hurts_nobody(
    port: int, autojump_clock: MockClock
) -> None:
    gone = await trio.open_tcp_stream("127.0.0.1", port)
    await gone.send_all(b"GET /met")
    await gone.aclose()
    slow = await trio.open_tcp_stream("127.0.0.1", port)
    began = trio.current_time()
    assert await slow.receive_some() == b""
    assert trio.current_time() - began == pytest.approx(DEADLINE_S)
    await slow.aclose()
    assert b"42" in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_taken_port_is_a_configuration_error(port: int, nursery: trio.Nursery) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
        await nursery.start(page().run, Address("127.0.0.1", port))


@given(st.binary(max_size=100))
def test_any_head_is_a_target_or_a_refusal(head: bytes) -> None:
    assert isinstance(request_target(head), str | HTTPStatus)
