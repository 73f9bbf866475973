"""Requests of services that exist in these tests alone."""

from __future__ import annotations

from errno import EAGAIN, ENOENT

import attrs

from bus.message import Request, request


@attrs.frozen
class Point:
    x: int
    y: int


@attrs.frozen
class Nothing:
    """A reply without fields."""


@attrs.frozen
class Shape:
    """Everything that a message may carry."""

    name: str
    raw: bytes
    flag: bool
    ratio: float
    corners: tuple[Point, ...]
    pair: tuple[int, str]
    weights: list[int]
    groups: frozenset[int]
    parent: Shape | None
    kind: Point | Nothing | None
    maybe: bytes | None = None


@request("sample", idempotent=True)
class Double(Request[int]):
    """Twice `number`."""

    number: int


@request("sample", errors=(ENOENT,))
class Fail(Request[None]):
    """Raise what `how` says."""

    how: str


@request("sample")
class Echo(Request[Shape]):
    """The same shape."""

    shape: Shape


@request("sample", errors=(EAGAIN,))
class Wait(Request[Point | Nothing]):
    """Wait for the test's gate; cancelled with `partial`, answer nevertheless."""

    partial: bool = False


@request("sample")
class Lie(Request[int]):
    """Answer with something that is not an int."""


@request("sample")
class Unserved(Request[int]):
    """Declared, but no handler serves it."""


@request("other")
class Elsewhere(Request[int]):
    """Belongs to another service."""
