"""Clients on this machine: one of NGINX and one of Redis, each in a thread of its own.

Both keep a connection for as long as it lasts; that it ends is a failure. The HTTP client makes
every tenth request over a new one, so that listening sockets are tried, too.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from typing import TYPE_CHECKING

import attrs

from boot.campaign.inside import PAGE
from boot.serve.clients import Redis
from boot.serve.sites import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from boot.campaign.ledger import Ledger

KEYS = 2000
TIMEOUT_S = 30.0
NEW_EVERY = 10
PAUSE_S = 0.01


class Load(threading.Thread):
    """Does `round` until it is stopped."""

    name = "load"

    def __init__(self, ledger: Ledger, port: int, *, running: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._ledger, self._port, self._running = ledger, port, running
        self._over = threading.Event()

    def run(self) -> None:
        """As long as there is a kernel."""
        while not self._over.is_set():
            began_s = time.monotonic()
            try:
                right = self.round()
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.drop()
                if self._over.is_set() or not self._running():
                    return
                self._ledger.fail(self.name, f"{type(error).__name__}: {error}", broken=True)
                time.sleep(0.1)
                continue
            if right:
                self._ledger.done(self.name, time.monotonic() - began_s)
            self._over.wait(PAUSE_S)
        self.drop()

    def stop(self) -> None:
        """No more rounds; wait for the present one."""
        self._over.set()
        self.join(TIMEOUT_S)

    def round(self) -> bool:
        """One request and its answer; False: it was wrong."""
        raise NotImplementedError

    def drop(self) -> None:
        """Give the connection up."""
        raise NotImplementedError


class Http(Load):
    """Fetches one page and compares it."""

    name = "nginx"

    def __init__(self, ledger: Ledger, port: int, *, running: Callable[[], bool]) -> None:
        super().__init__(ledger, port, running=running)
        self._kept: http.client.HTTPConnection | None = None
        self._count = 0

    def round(self) -> bool:
        """GET over the kept connection, or a new one."""
        self._count += 1
        if self._count % NEW_EVERY == 0:
            fresh = http.client.HTTPConnection(LOOPBACK, self._port, timeout=TIMEOUT_S)
            try:
                return self._get(fresh)
            finally:
                fresh.close()
        if self._kept is None:
            self._kept = http.client.HTTPConnection(LOOPBACK, self._port, timeout=TIMEOUT_S)
            self._kept.connect()
            self._kept.auto_open = 0  # that it ended is to be seen
        return self._get(self._kept)

    def _get(self, connection: http.client.HTTPConnection) -> bool:
        connection.request("GET", "/page")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        if answer.status != 200:
            self._ledger.fail(self.name, f"GET gave {answer.status}")
            return False
        if body != PAGE:
            wrong = sum(a != b for a, b in zip(body, PAGE, strict=False))
            wrong += abs(len(body) - len(PAGE))
            self._ledger.lose(self.name, wrong, "the page is not what it is")
            return False
        return True

    def drop(self) -> None:
        """Close it."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@attrs.define
class Expected:
    """What Redis has acknowledged."""

    values: dict[str, str] = attrs.field(factory=dict)
    counted: int = 0
    unsure: set[str] = attrs.field(factory=set)
    """Sent, and neither acknowledged nor refused."""


class RedisLoad(Load):
    """Sets, reads back and counts; every value that was acknowledged must be there."""

    name = "redis"

    def __init__(
        self, ledger: Ledger, port: int, *, running: Callable[[], bool], expected: Expected
    ) -> None:
        super().__init__(ledger, port, running=running)
        self.expected = expected
        self._random = random.Random(0)
        self._client: Redis | None = None
        self._number = 0

    def round(self) -> bool:
        """SET, GET of another, INCR."""
        if self._client is None:
            self._client = Redis(LOOPBACK, self._port, TIMEOUT_S)
        client, expected = self._client, self.expected
        self._number += 1
        key = f"k{self._random.randrange(KEYS)}"
        value = f"{self._number}:{self._random.getrandbits(256):064x}"
        expected.unsure.add(key)
        if client.command("SET", key, value) != "OK":
            self._ledger.fail(self.name, f"SET {key} was refused")
            return False
        expected.values[key] = value
        expected.unsure.discard(key)
        right = compare(self._ledger, client, self._random.choice(list(expected.values)), expected)
        sure = "counter" not in expected.unsure
        expected.unsure.add("counter")
        counted = int(client.command("INCR", "counter") or 0)
        expected.unsure.discard("counter")
        if sure and counted != expected.counted + 1:
            self._ledger.lose(self.name, 8, f"counter is {counted}, not {expected.counted + 1}")
            right = False
        expected.counted = counted
        return right

    def drop(self) -> None:
        """Close it."""
        if self._client is not None:
            self._client.close()
            self._client = None


def compare(ledger: Ledger, client: Redis, key: str, expected: Expected) -> bool:
    """Is what was acknowledged there?"""
    found = client.command("GET", key)
    if found == expected.values[key] or key in expected.unsure:
        return True
    ledger.lose("redis", len(expected.values[key]), f"{key} is {found!r:.40}")
    return False


def compare_all(ledger: Ledger, port: int, expected: Expected) -> int:
    """Every key, of a Redis that has read its log again; how many there were."""
    client = Redis(LOOPBACK, port, TIMEOUT_S)
    try:
        for key in expected.values:
            compare(ledger, client, key, expected)
        counted = int(client.command("GET", "counter") or 0)
        if counted != expected.counted and "counter" not in expected.unsure:
            ledger.lose("redis", 8, f"counter is {counted}, not {expected.counted}")
    finally:
        client.close()
    return len(expected.values)
