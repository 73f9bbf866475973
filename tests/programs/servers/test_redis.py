"""Does an unmodified Redis serve this machine through a published port?"""

from __future__ import annotations

import hashlib
import random
import socket
from typing import TYPE_CHECKING

import pytest

from tests.programs.servers.inside import (
    LOOPBACK,
    REDIS,
    REDIS_UP,
    Inside,
    needs,
    run_here,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs("redis-server", "redis-cli", "redis-benchmark"), pytest.mark.timeout(180)]
PORT = 6379


@pytest.fixture(scope="module")
def redis() -> Iterator[Inside]:
    with serving(REDIS, (PORT,)) as inside:
        inside.wait_for(PORT, REDIS_UP)
        yield inside


def cli(redis: Inside, *words: str, stdin: str = "") -> str:
    return run_here("redis-cli", "-p", str(redis.ports[PORT]), *words, stdin=stdin)


def test_redis_cli_stores_and_finds(redis: Inside) -> None:
    assert cli(redis, "SET", "ship", "biscuit") == "OK\n"
    assert cli(redis, "GET", "ship") == "biscuit\n"
    assert cli(redis, "INCRBY", "crumbs", "41") == "41\n"
    assert "redis_version:" in cli(redis, "INFO", "server")


def test_many_commands_in_one_stream(redis: Inside) -> None:
    lines = "".join(f"RPUSH list {n}\n" for n in range(2000))
    assert cli(redis, "--pipe", stdin=lines).endswith("errors: 0, replies: 2000\n")
    assert cli(redis, "LRANGE", "list", "1998", "-1") == "1998\n1999\n"


def test_a_large_value_comes_back_as_it_went(redis: Inside) -> None:
    value = random.Random(612).randbytes(3_000_000)
    with socket.create_connection((LOOPBACK, redis.ports[PORT]), 30) as stream:
        stream.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%s\r\n" % (len(value), value))
        reader = stream.makefile("rb")
        assert reader.readline() == b"+OK\r\n"
        stream.sendall(b"GET big\r\n")
        assert reader.readline() == b"$%d\r\n" % len(value)
        got = reader.read(len(value))
        reader.close()
    assert hashlib.sha256(got).digest() == hashlib.sha256(value).digest()


def test_a_subscriber_hears_what_another_publishes(redis: Inside) -> None:
    with socket.create_connection((LOOPBACK, redis.ports[PORT]), 10) as subscriber:
        reader = subscriber.makefile("rb")
        subscriber.sendall(b"SUBSCRIBE news\r\n")
        heard = [reader.readline() for _ in range(6)]
        assert heard[0] == b"*3\r\n"
        assert cli(redis, "PUBLISH", "news", "land ho") == "1\n"
        heard = [reader.readline() for _ in range(7)]
        assert heard[-1] == b"land ho\r\n"
        reader.close()


def test_redis_benchmark_gets_its_answers(redis: Inside) -> None:
    port = str(redis.ports[PORT])
    words = ("-p", port, "-n", "600", "-c", "20", "-t", "set,get", "--csv")
    shown = run_here("redis-benchmark", *words)
    assert [line.split(",")[0] for line in shown.splitlines()[1:]] == ['"SET"', '"GET"']


def test_a_blocked_client_is_woken_by_another(redis: Inside) -> None:
    with socket.create_connection((LOOPBACK, redis.ports[PORT]), 10) as waiting:
        waiting.sendall(b"BLPOP queue 5\r\n")
        assert cli(redis, "LPUSH", "queue", "job") == "1\n"
        reader = waiting.makefile("rb")
        assert [reader.readline() for _ in range(5)][-1] == b"job\r\n"
        reader.close()
