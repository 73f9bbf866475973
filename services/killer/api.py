"""What others may ask of the killer, and the events in its trace ring."""

from __future__ import annotations

import attrs

from bus.message import Request, request


@attrs.frozen
class HeapInfo:
    """Biscuit's info call: the heap's three terms and what was done about it; bytes, seconds."""

    limit_bytes: int
    lastgc_bytes: int
    used_bytes: int
    current_bytes: int
    standing_bytes: int
    peak_bytes: int
    waiting: int
    waits: int
    deep_failures: int
    collections: int
    pause_s: float
    longest_pause_s: float
    kills: int
    kinds: tuple[tuple[str, str, int, int], ...]
    """(service, kind, objects, bytes), the largest first."""


@request("killer", idempotent=True)
class Info(Request[HeapInfo]):
    """How the heap is, after a collection if `collect`."""

    collect: bool = False


@request("killer", idempotent=True)
class Prof(Request[HeapInfo]):
    """Biscuit's prof call: empty the caches, collect, and tell how the heap is."""


@attrs.frozen
class Short:
    """Somebody waits: for how much, how much is missing, and the three terms, in bytes."""

    wanted: int
    missing: int
    lastgc: int
    used: int
    current: int
    waiting: int


@attrs.frozen
class Collected:
    """A collection of everything: objects that it freed, bytes that live now."""

    objects: int
    live: int


@attrs.frozen
class Evicted:
    """The caches were asked to give all they can: entries by cache."""

    entries: tuple[tuple[str, int], ...]
    live: int


@attrs.frozen
class Killed:
    """The process that died for it, its score, and whether it stood out."""

    pid: int
    name: bytes
    score: int
    regions: int
    descriptors: int
    threads: int
    unreaped: int
    timers: int
    obvious: bool
    runner_up: int
    """The next score."""


@attrs.frozen
class Gone:
    """The killed process has left; bytes that live now."""

    pid: int
    live: int


@attrs.frozen
class Helpless:
    """Nobody may be killed: whoever waits goes on waiting."""

    waiting: int
    missing: int


@attrs.frozen
class Relieved:
    """Nobody waits any more."""

    live: int
    kills: int
