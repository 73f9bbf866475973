"""Does every declared value survive the wire, and nothing else get through it?"""

from __future__ import annotations

import importlib
import typing
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.message import REGISTRY
from bus.wire import MAX_FRAME_BYTES, FrameBuffer, WireError, codec_of, frame, unpack
from tests.bus.sample_api import Echo, Nothing, Point, Shape

APIS = (
    "services.vm.api",
    "services.fs.api",
    "services.proc.api",
    "services.drivers.clock.api",
    "services.drivers.console.api",
    "services.drivers.entropy.api",
    "services.drivers.hosttree.api",
    "services.drivers.disk.api",
    "services.net.api",
    "services.killer.api",
)
"""All but script's, whose requests carry the thread that makes them: it runs where proc does."""
for api in APIS:
    importlib.import_module(api)
DECLARED = sorted(
    name for name, declared in REGISTRY.items() if declared.__module__.startswith(APIS)
)

INTEGERS = st.integers(-(2**63), 2**64 - 1)
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        INTEGERS,
        st.floats(allow_nan=False),
        st.text(max_size=9),
        st.binary(max_size=9),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=25,
)


_made: dict[Any, st.SearchStrategy[Any]] = {}


def values(declared: Any) -> st.SearchStrategy[Any]:
    """Values of a declared type, made by rules of their own and not by the codec's."""
    if declared not in _made:
        _made[declared] = _values(declared)
    return _made[declared]


def _later(declared: Any) -> st.SearchStrategy[Any]:
    """The same, looked up when it is needed: types may recurse."""
    return st.deferred(lambda: values(declared))


def _values(declared: Any) -> st.SearchStrategy[Any]:
    if declared is None or declared is type(None):
        return st.none()
    simple = {
        int: INTEGERS,
        bool: st.booleans(),
        str: st.text(max_size=9),
        bytes: st.binary(max_size=9),
        float: st.floats(allow_nan=False),
    }
    if declared in simple:
        return typing.cast("st.SearchStrategy[Any]", simple[declared])
    if isinstance(declared, type) and attrs.has(declared):
        hints = typing.get_type_hints(declared)
        kinds = [hints[field.name] for field in attrs.fields(declared)]
        return st.builds(declared, *map(_later, kinds))
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin is list:
        return st.lists(values(arguments[0]), max_size=3)
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=3)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    return st.one_of(*map(values, arguments))


@pytest.mark.parametrize("name", DECLARED)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_request_and_reply_of_the_kernel_survives(name: str, data: st.DataObject) -> None:
    kind = REGISTRY[name]
    for declared in (kind, kind.declaration.reply):
        value = data.draw(values(declared))
        codec = codec_of(declared)
        (body,) = FrameBuffer().feed(frame(codec.encode(value)))
        assert codec.decode(unpack(body)) == value


@settings(deadline=None)
@given(values(Shape))
def test_nested_shapes_survive(shape: Shape) -> None:
    codec = codec_of(Echo)
    assert codec.decode(codec.encode(Echo(shape))) == Echo(shape)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN, st.sampled_from([*DECLARED, "sample.Echo", "sample.Wait"]))
def test_what_decodes_is_of_the_declared_type(plain: Any, name: str) -> None:
    kind = REGISTRY[name]
    for declared in (kind, kind.declaration.reply):
        try:
            value = codec_of(declared).decode(plain)
        except WireError:
            continue
        codec = codec_of(declared)
        assert codec.decode(codec.encode(value)) == value


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=60)), st.integers(0, 40))
def test_any_bytes_are_frames_or_a_wire_error(chunks: list[bytes], limit: int) -> None:
    buffer = FrameBuffer(limit)
    try:
        for chunk in chunks:
            for body in buffer.feed(chunk):
                assert len(body) <= limit
                unpack(body)
            assert len(buffer._held) <= limit + 4 + len(chunk)
    except WireError:
        pass


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_may_arrive_in_any_pieces(bodies: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(frame(body) for body in bodies)
    buffer, got, at = FrameBuffer(), [], 0
    while at < len(sent):
        size = data.draw(st.integers(1, 20))
        got += [unpack(body) for body in buffer.feed(sent[at : at + size])]
        at += size
    assert got == bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\xc0\xc0",
        b"\xa1\xff",
        b"\x81\x01\x02",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xd6\xff\0\0\0\0",
        b"\x91" * 100_000,
        b"\x81\xa0" * 100_000,
    ],
)
def test_hostile_msgpack_is_a_wire_error_or_harmless(body: bytes) -> None:
    try:
        value = unpack(body)
    except WireError:
        return
    for declared in (Echo, int, Point | Nothing):
        with pytest.raises(WireError):
            codec_of(declared).decode(value)


def test_a_frame_that_promises_too_much_is_refused_before_it_comes() -> None:
    with pytest.raises(WireError, match="exceeds"):
        list(FrameBuffer().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (int, True),
        (int, 1.0),
        (bool, 1),
        (bytes, "x"),
        (str, b"x"),
        (float, 1),
        (type(None), 0),
        (tuple[int, int], [1]),
        (tuple[int, int], [1, 2, 3]),
        (tuple[int, ...], "12"),
        (frozenset[int], {"1": 2}),
        (Point, [1]),
        (Point, [1, "2"]),
        (Point | Nothing, [1, 2]),
        (Point | Nothing, ["Shape", []]),
        (Point | Nothing, [["Point"], [1, 2]]),
        (Point | Nothing, None),
        (int | None, "x"),
    ],
)
def test_wrong_types_are_refused(declared: Any, value: Any) -> None:
    with pytest.raises(WireError):
        codec_of(declared).decode(value)


@pytest.mark.parametrize(
    "declared", [dict[str, int], set[int], object, int | list[int] | list[str]]
)
def test_types_that_cannot_be_carried_cannot_be_declared(declared: Any) -> None:
    with pytest.raises(TypeError):
        codec_of(declared)


def test_a_constructor_that_objects_is_a_wire_error() -> None:
    def even(_instance: object, _field: object, value: int) -> None:
        if value % 2:
            raise ValueError("odd")

    made = attrs.make_class("Even", {"number": attrs.field(type=int, validator=even)}, frozen=True)
    assert codec_of(made).decode([4]).number == 4
    with pytest.raises(WireError, match="odd"):
        codec_of(made).decode([3])


def test_msgpack_itself_is_the_pinned_shape() -> None:
    assert frame([1, None, b"x"])[4:] == msgpack.packb([1, None, b"x"]) == b"\x93\x01\xc0\xc4\x01x"
