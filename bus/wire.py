"""What a message looks like outside this process: msgpack, checked against the declared types.

A *frame* is a length (four bytes, big-endian, at most `MAX_FRAME_BYTES`) and that much msgpack. A
*codec* turns a value of a declared type into what msgpack can carry, and back with every type
checked: whatever decodes is a value of that type, and everything else is a `WireError`.

| declared                        | carried as                                          |
|---------------------------------|-----------------------------------------------------|
| int (64 bits), float, bool, str, bytes, None | itself; a bool is not an int           |
| tuple, list, frozenset          | array (a set in ascending order)                    |
| attrs class                     | array of its fields in order                        |
| T or None                       | nil, or T                                           |
| any other union                 | nil for None, else [name of the member's type, value] |

Rejected: pickling (runs the sender's code), self-describing records (the receiver must check them
against its declarations anyway, and the names cost more than the data).
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Union, get_args, get_origin

import attrs
import msgpack

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH_BYTES = 4
MAX_FRAME_BYTES = (1 << 20) + (1 << 12)
"""A MiB of payload and what surrounds it. Also bounds what decoding can make of a frame: msgpack's
smallest element, one byte, becomes an object of at most 64 bytes."""


class WireError(Exception):
    """Bytes or values that no declared message looks like."""


@attrs.frozen
class Codec:
    """Both directions for one declared type."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def frame(message: Any, limit_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """A message of plain values, ready to be sent."""
    try:
        body: bytes = msgpack.packb(message)
    except (OverflowError, ValueError, TypeError) as error:
        raise WireError(f"cannot be carried: {error}") from error
    if len(body) > limit_bytes:
        raise WireError(f"a message of {len(body)} bytes exceeds {limit_bytes}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def unpack(body: bytes) -> Any:
    """The plain values of one frame's body."""
    try:
        return msgpack.unpackb(body)
    except Exception as error:  # msgpack raises half a dozen kinds, all for the same reason
        raise WireError(f"not msgpack: {type(error).__name__}: {error}") from error


class FrameBuffer:
    """Cuts a stream of bytes into frames' bodies; never holds more than one frame and a chunk."""

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit_bytes
        self._held = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Take what came; yields each body that is whole now. WireError: one is too long."""
        held = self._held
        held += received
        while len(held) >= LENGTH_BYTES:
            length = int.from_bytes(held[:LENGTH_BYTES], "big")
            if length > self._limit:
                raise WireError(f"a frame of {length} bytes exceeds {self._limit}")
            end = LENGTH_BYTES + length
            if len(held) < end:
                return
            body = bytes(held[LENGTH_BYTES:end])
            del held[:end]
            yield body


def _name(kind: Any) -> str:
    return "None" if kind in (None, type(None)) else getattr(kind, "__name__", str(kind))


def _exactly(kind: type[Any]) -> Codec:
    """A type that msgpack carries as it is."""

    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise WireError(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    return Codec(check, check)


def _integer() -> Codec:
    strict = _exactly(int)

    def encode(value: Any) -> Any:
        if not isinstance(value, int):
            raise WireError(f"int expected, not {type(value).__name__}")
        if not -(1 << 63) <= value < 1 << 64:
            raise WireError(f"{value} does not fit into 64 bits")
        return int(value)

    return Codec(encode, strict.decode)


def _octets() -> Codec:
    strict = _exactly(bytes)

    def encode(value: Any) -> Any:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise WireError(f"bytes expected, not {type(value).__name__}")
        return bytes(value)

    return Codec(encode, strict.decode)


def _array(value: Any, length: int | None) -> list[Any]:
    if type(value) is not list:
        raise WireError(f"array expected, not {type(value).__name__}")
    if length is not None and len(value) != length:
        raise WireError(f"{length} elements expected, not {len(value)}")
    return value


def _many(made: type[Any], item: Codec) -> Codec:
    """list[T], tuple[T, ...] or frozenset[T]."""
    order: Callable[[Any], Any] = sorted if made is frozenset else list

    def encode(value: Any) -> Any:
        if not isinstance(value, made):
            raise WireError(f"{made.__name__} expected, not {type(value).__name__}")
        return [item.encode(element) for element in order(value)]

    def decode(value: Any) -> Any:
        return made(item.decode(element) for element in _array(value, None))

    return Codec(encode, decode)


def _fixed_tuple(items: tuple[Codec, ...]) -> Codec:
    def encode(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(items):
            raise WireError(f"tuple of {len(items)} expected, not {value!r:.80}")
        return [item.encode(element) for item, element in zip(items, value, strict=True)]

    def decode(value: Any) -> Any:
        elements = _array(value, len(items))
        return tuple(item.decode(element) for item, element in zip(items, elements, strict=True))

    return Codec(encode, decode)


def _record(kind: type[Any]) -> Codec:
    """An attrs class; the codecs of its fields are made when first needed (types may recurse)."""
    fields = attrs.fields(kind)
    if any(not field.init for field in fields):
        raise TypeError(f"{kind.__name__} has fields that its constructor does not take")

    @cache
    def codecs() -> tuple[tuple[str, Codec], ...]:
        hints = typing.get_type_hints(kind)
        return tuple((field.name, codec_of(hints[field.name])) for field in fields)

    def encode(value: Any) -> Any:
        if type(value) is not kind:
            raise WireError(f"{kind.__name__} expected, not {type(value).__name__}")
        carried = []
        for name, codec in codecs():
            try:
                carried.append(codec.encode(getattr(value, name)))
            except WireError as error:
                raise WireError(f"{kind.__name__}.{name}: {error}") from None
        return carried

    def decode(value: Any) -> Any:
        elements = _array(value, len(fields))
        arguments = []
        for (name, codec), element in zip(codecs(), elements, strict=True):
            try:
                arguments.append(codec.decode(element))
            except WireError as error:
                raise WireError(f"{kind.__name__}.{name}: {error}") from None
        try:
            return kind(*arguments)
        except (ValueError, TypeError) as error:  # a validator of the class
            raise WireError(f"{kind.__name__}: {error}") from error

    return Codec(encode, decode)


def _union(members: tuple[Any, ...]) -> Codec:
    nullable = type(None) in members
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:
        only = codec_of(others[0])
        return Codec(
            lambda value: None if value is None else only.encode(value),
            lambda value: None if value is None else only.decode(value),
        )
    by_type = {get_origin(member) or member: member for member in others}
    if len(by_type) != len(others):
        raise TypeError(f"the members of {members} cannot be told apart")
    by_name = {_name(kind): codec_of(member) for kind, member in by_type.items()}

    def encode(value: Any) -> Any:
        if value is None and nullable:
            return None
        name = type(value).__name__
        if type(value) not in by_type:
            raise WireError(f"one of {', '.join(by_name)} expected, not {name}")
        return [name, by_name[name].encode(value)]

    def decode(value: Any) -> Any:
        if value is None and nullable:
            return None
        name, inner = _array(value, 2)
        if type(name) is not str or name not in by_name:
            raise WireError(f"one of {', '.join(by_name)} expected, not {name!r:.80}")
        return by_name[name].decode(inner)

    return Codec(encode, decode)


_PLAIN = {
    int: _integer(),
    bytes: _octets(),
    bool: _exactly(bool),
    str: _exactly(str),
    float: _exactly(float),
    type(None): _exactly(type(None)),
}


_made: dict[Any, Codec] = {}


def codec_of(declared: Any) -> Codec:
    """The codec of a declared type. TypeError: messages cannot be declared with it."""
    codec = _made.get(declared)
    if codec is None:
        codec = _made[declared] = _make(declared)
    return codec


def _make(declared: Any) -> Codec:
    if declared is None:
        declared = type(None)
    if declared in _PLAIN:
        return _PLAIN[declared]
    origin, arguments = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return _fixed_tuple(tuple(codec_of(argument) for argument in arguments))
    if origin in (tuple, list, frozenset):
        return _many(origin, codec_of(arguments[0]))
    if isinstance(declared, type) and attrs.has(declared):
        return _record(declared)
    raise TypeError(f"{declared} cannot be part of a message")
