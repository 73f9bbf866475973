"""The grammar of faults: one for the command line, configuration and control socket.

Two forms, told apart by what stands before the first colon:

    TARGET:KIND[,ATTRIBUTE=VALUE]...     net:crash   fs:hang,probability=10,interval=5,times=3
    SET:WHAT[:WHAT]...[:when=WHEN]       read,write:error=EIO:when=3+2   %file:delay_enter=10ms

The first is for services and devices. Its attributes are those of Linux's fault injection
(Documentation/fault-injection): `probability` in percent, `interval` (every n-th eligible one),
`times` (how often at most; -1 for no limit, which is also meant where nothing is said, but for
what happens `ONCE`), `space` (what passes before the first: calls, bytes
for nic, disk and heap), `verbose`. A duration has its unit: 50ms, 2s, 10us.

The second is strace(1)'s `--inject`, for system calls: error, retval, signal, syscall,
delay_enter, delay_exit, when=FIRST[..LAST][+STEP]; durations without a unit are microseconds. What
a SET means, proc knows: here it is text.

Pure: nothing here knows a service. Every refusal is a `FaultError` that says what would be valid.
"""

from __future__ import annotations

import errno
import re
import signal
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Value = int | float | str


class FaultError(ValueError):
    """A fault that cannot be, said in one line with what could."""


def _whole(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", text) or int(text) < least:
            raise ValueError(f"a whole number from {least}")
        return int(text)

    return convert


def _times(text: str) -> int:
    if not re.fullmatch(r"-1|\d{1,18}", text) or text == "0":
        raise ValueError("a whole number from 1, or -1 for no limit")
    return int(text)


def _percent(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d+)?%?", text) or not 0 < float(text.rstrip("%")) <= 100:
        raise ValueError("percent, above 0 and up to 100")
    return float(text.rstrip("%"))


_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _signed_duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a time with its unit, such as 50ms or 2s")
    return float(match[1]) * _SECONDS[match[2]]


def _duration(text: str) -> float:
    seconds = _signed_duration(text)
    if seconds < 0:
        raise ValueError("a time that is not negative, such as 50ms or 2s")
    return seconds


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15})([KMGkmg]?)", text)
    if match is None:
        raise ValueError("bytes, such as 4096, 64K or 16M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


def _number(text: str) -> float:
    if not re.fullmatch(r"-?\d{1,9}(\.\d+)?", text):
        raise ValueError("a number")
    return float(text)


def _errno(text: str) -> int:
    number = getattr(errno, text.upper(), None)
    if not isinstance(number, int):
        raise ValueError("the name of an error, such as EIO or ENOSPC")
    return number


def _words(*words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return convert


def _text(text: str) -> str:
    if not text:
        raise ValueError("something")
    return text


Attributes = dict[str, "Callable[[str], Value]"]

HOW_OFTEN: Attributes = {
    "probability": _percent,
    "interval": _whole(1),
    "times": _times,
    "space": _size,
    "verbose": _whole(0),
}
FILTERS: Attributes = {
    "request": _text,
    "caller": _text,
    "process": _text,
    "path": _text,
    "address": _text,
    "connection": _whole(0),
}
"""Which calls of a service: by request (a glob over class names), by the calling service, by the
process that it is made for (pid or name), by path (a glob), by a peer's address, by socket."""

SERVICE_KINDS: dict[str, Attributes] = {
    "crash": {"at": _words("start", "end", "any"), **FILTERS},
    "hang": FILTERS,
    "delay": {"time": _duration, "jitter": _duration, **FILTERS},
    "error": {"errno": _errno, **FILTERS},
    "drop": {"which": _words("request", "reply", "any"), **FILTERS},
    "duplicate": FILTERS,
    "corrupt": FILTERS,
}
_SIDE: Attributes = {"direction": _words("in", "out", "both")}
_DISK: Attributes = {"path": _text, "sector": _whole(0), "count": _whole(1)}
DEVICE_KINDS: dict[str, dict[str, Attributes]] = {
    "nic": {
        "delay": {"time": _duration, "jitter": _duration, "correlation": _percent, **_SIDE},
        "loss": {"correlation": _percent, "to_bad": _percent, "to_good": _percent, **_SIDE},
        "duplicate": _SIDE,
        "corrupt": _SIDE,
        "reorder": {"gap": _whole(1), "time": _duration, **_SIDE},
        "rate": {"bytes": _size, **_SIDE},
        "partition": _SIDE,
    },
    "disk": {
        "error_reads": _DISK,
        "error_writes": _DISK,
        "drop_writes": _DISK,
        "corrupt": {"byte": _whole(0), "rw": _words("r", "w"), "value": _whole(0), **_DISK},
        "latency": {"time": _duration, "jitter": _duration, **_DISK},
        "torn_write": _DISK,
        "power_cut": {"order": _words("lost", "reordered", "torn")},
        "bad_sector": _DISK,
        "full": {},
    },
    "clock": {"jump": {"by": _signed_duration}, "drift": {"ppm": _number}},
    "heap": {"pressure": {"bytes": _size}, "fail": {"nth": _whole(1)}},
    "entropy": {"repeat": {}, "zero": {}},
}
"""Faults of devices; where one has the name of a service's fault, it is the device's."""

ONCE = frozenset({"crash", "hang", "jump", "power_cut"})
"""Kinds that strike once where `times` is not said; all others go on until they are cleared."""

REQUIRED = {
    ("clock", "jump"): ("by",),
    ("clock", "drift"): ("ppm",),
    ("heap", "pressure"): ("bytes",),
    ("nic", "delay"): ("time",),
    ("nic", "rate"): ("bytes",),
}


@attrs.frozen
class Fault:
    """A fault of a service or device, as it was asked for."""

    target: str
    kind: str
    attributes: Mapping[str, Value]

    def __str__(self) -> str:
        rest = "".join(f",{name}={_said(name, value)}" for name, value in self.attributes.items())
        return f"{self.target}:{self.kind}{rest}"


def _said(name: str, value: Value) -> str:
    if name == "errno":
        return errno.errorcode[int(value)]
    if name in ("time", "jitter", "by"):
        return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
    return f"{value:g}" if isinstance(value, float) else str(value)


EVER = 1 << 62


@attrs.frozen
class When:
    """Which calls are struck: `first`, and every `step`-th after it up to `last`."""

    first: int = 1
    last: int = EVER
    step: int = 1

    def __contains__(self, count: object) -> bool:
        if not isinstance(count, int) or not self.first <= count <= self.last:
            return False
        return not (count - self.first) % self.step


Poke = tuple[int, bytes]
"""The argument (from 0) that points to what is overwritten, and with what."""


@attrs.frozen
class CallFault:
    """strace's injection into the system calls of `calls`, a set in strace's words."""

    text: str
    calls: str
    error: int | None = None
    retval: int | None = None
    signal: int = 0
    syscall: str = ""
    delay_enter_s: float = 0.0
    delay_exit_s: float = 0.0
    poke_enter: tuple[Poke, ...] = ()
    poke_exit: tuple[Poke, ...] = ()
    when: When = When()

    def __str__(self) -> str:
        return self.text


def parse(text: str, services: Collection[str]) -> Fault | CallFault:
    """What a fault says; FaultError where it says nothing that can be done."""
    said = text.strip()
    if said.startswith(("inject=", "fault=")):
        return parse_calls(text)
    target, colon, rest = said.partition(":")
    if target in services or target in DEVICE_KINDS:
        return _parse_fault(text, target, rest, services)
    kind = re.split(r"[,:]", rest)[0]
    device_kinds = {name for kinds in DEVICE_KINDS.values() for name in kinds}
    if colon and (kind in SERVICE_KINDS or kind in device_kinds):
        known = ", ".join(sorted({*services, *DEVICE_KINDS}))
        raise FaultError(f"fault {text!r}: there is no service {target!r} (there are {known})")
    return parse_calls(text)


def _parse_fault(text: str, target: str, rest: str, services: Collection[str]) -> Fault:
    kinds = dict(SERVICE_KINDS) if target in services else {}
    kinds.update(DEVICE_KINDS.get(target, {}))
    kind, *settings = rest.split(",")
    if kind not in kinds:
        said = f"does not know {kind!r}" if kind else "names no fault"
        raise FaultError(f"fault {text!r}: {target} {said} (it knows {', '.join(sorted(kinds))})")
    known = {**HOW_OFTEN, **kinds[kind]}
    values: dict[str, Value] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in known:
            raise FaultError(
                f"fault {text!r}: {name!r} is no attribute of {target}:{kind}"
                f" (it has {', '.join(sorted(known))})"
            )
        if name in values:
            raise FaultError(f"fault {text!r}: {name} is said twice (leave one out)")
        try:
            values[name] = known[name](value)
        except ValueError as wanted:
            said = f"is {value!r}" if equals else "has no value"
            raise FaultError(f"fault {text!r}: {name} {said} (say {wanted})") from None
    for name in REQUIRED.get((target, kind), ()):
        if name not in values:
            raise FaultError(f"fault {text!r}: {name} is missing (say {target}:{kind},{name}=…)")
    return Fault(target, kind, values)


# ── system calls, in strace's words ─────────────────────────────────────────────────────────────

_STRACE_TIME = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s)?")
_WORDS = (
    "error=E, retval=V, signal=S, syscall=NAME, delay_enter=T, delay_exit=T,"
    " poke_enter=@argN=HEX, poke_exit=@argN=HEX, when=F[..L][+S]"
)
MAX_ERRNO, MAX_COUNT = 4095, 65535


def _strace_time(text: str) -> float:
    match = _STRACE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("a time such as 500 (microseconds), 10ms or 1s")
    return float(match[1]) * _SECONDS[match[2] or "us"]


def _strace_errno(text: str) -> int:
    if text.isascii() and text.isdecimal():
        if 1 <= int(text) <= MAX_ERRNO:
            return int(text)
        raise ValueError(f"a number from 1 to {MAX_ERRNO}")
    return _errno(text)


def _signal(text: str) -> int:
    if text.isascii() and text.isdecimal():
        if 1 <= int(text) <= 64:
            return int(text)
    elif match := re.fullmatch(r"(?:SIG)?RT(MIN\+|_)(\d{1,2})", text.upper()):
        number = 32 + int(match[2]) + (2 if match[1] == "MIN+" else 0)
        if number <= 64:
            return number
    else:
        name = text.upper()
        found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
        if isinstance(found, signal.Signals):
            return int(found)
    raise ValueError("a signal, such as SIGKILL, USR1 or 9")


def _when(text: str) -> When:
    match = re.fullmatch(r"(\d{1,5})(?:\.\.(\d{1,5}))?(?:(\+)(\d{1,5})?)?", text)
    if match is None:
        raise ValueError("FIRST, FIRST+, FIRST+STEP, FIRST..LAST or FIRST..LAST+STEP")
    first, step = int(match[1]), int(match[4] or 1)
    last = int(match[2]) if match[2] else (EVER if match[3] else first)
    if not 1 <= first <= MAX_COUNT or not 1 <= step <= MAX_COUNT or last < first:
        raise ValueError(f"FIRST and STEP from 1 to {MAX_COUNT}, LAST not before FIRST")
    if match[2] and last >= MAX_COUNT:
        raise ValueError(f"LAST below {MAX_COUNT}")
    return When(first, last, step)


def _retval(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ValueError("a number that is not negative") from None
    if not 0 <= number < 1 << 64:
        raise ValueError("a number that is not negative")
    return number


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", text):
        raise ValueError("the name of a system call without effects, such as getpid")
    return text


def _pokes(text: str) -> tuple[Poke, ...]:
    pokes: list[Poke] = []
    for one in text.split(","):
        match = re.fullmatch(r"@arg([1-7])=((?:[0-9A-Fa-f]{2})+)", one)
        if match is None:
            raise ValueError("@arg1=C0FFEE, the argument that points there and bytes in hex")
        if any(at == int(match[1]) - 1 for at, _ in pokes):
            raise ValueError(f"@arg{match[1]} once")
        pokes.append((int(match[1]) - 1, bytes.fromhex(match[2])))
    return tuple(pokes)


_CALL_WORDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "error": ("error", _strace_errno),
    "retval": ("retval", _retval),
    "signal": ("signal", _signal),
    "syscall": ("syscall", _name),
    "delay_enter": ("delay_enter_s", _strace_time),
    "delay_exit": ("delay_exit_s", _strace_time),
    "poke_enter": ("poke_enter", _pokes),
    "poke_exit": ("poke_exit", _pokes),
    "when": ("when", _when),
}


def parse_calls(text: str) -> CallFault:
    """What an injection into system calls says, with `inject=` or `fault=` before it or not."""
    said = text.strip()
    enosys = said.startswith("fault=")
    calls, *words = said.removeprefix("fault=" if enosys else "inject=").split(":")
    if not calls:
        raise FaultError(f"fault {text!r}: no service and no set of system calls before the colon")
    found: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _CALL_WORDS:
            raise FaultError(f"fault {text!r}: {word!r} is no injection (there are {_WORDS})")
        field, convert = _CALL_WORDS[name]
        if field in found and field != "when":
            raise FaultError(f"fault {text!r}: {name} is said twice (leave one out)")
        try:
            found[field] = convert(value)
        except ValueError as wanted:
            raise FaultError(f"fault {text!r}: {name} is {value!r} (say {wanted})") from None
    if "error" in found and "retval" in found:
        raise FaultError(f"fault {text!r}: error and retval exclude each other (leave one out)")
    if not found.keys() - {"when", "syscall"}:
        if not enosys:
            raise FaultError(f"fault {text!r}: nothing to inject (say one of {_WORDS})")
        found["error"] = errno.ENOSYS
    return CallFault(text, calls, **found)  # type: ignore[arg-type]
