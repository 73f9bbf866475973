"""The fields of a request, checked: whoever sends them may be wrong, or hostile."""

from __future__ import annotations

from boot.control.wire import ControlError, Message


def text(request: Message, name: str, default: str | None = None) -> str:
    """A string of at most 4 KiB without NUL."""
    value = request.get(name, default)
    if not isinstance(value, str) or len(value) > 4096 or "\0" in value:
        raise ControlError(f"{name} must be text of at most 4096 characters")
    return value


def whole(request: Message, name: str, default: int | None = None) -> int:
    """A whole number of 32 bits."""
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 31:
        raise ControlError(f"{name} must be a whole number")
    return value


def flag(request: Message, name: str) -> bool:
    """true or false; false where it is not there."""
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise ControlError(f"{name} must be true or false")
    return value


def words(request: Message, name: str) -> tuple[str, ...]:
    """A list of strings, 128 KiB at the most."""
    value = request.get(name, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ControlError(f"{name} must be a list of text")
    if sum(map(len, value)) > 1 << 17 or any("\0" in word for word in value):
        raise ControlError(f"{name} is longer than 128 KiB, or has a NUL in it")
    return tuple(value)
