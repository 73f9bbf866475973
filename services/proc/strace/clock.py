"""Formats of times: timespec, timeval, timers, timestamps, the dates that strace adds to them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .model import Out
from .tables import events as t
from .text import address, members, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Ctx, Format, Note

_PAIR = struct.Struct("<qQ")
_TWO_PAIRS = struct.Struct("<qQqQ")
_TIMEX = struct.Struct("<I4xqqqqi4xqqqqQqqqi4xqqqqqi44x")
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_LAST_YEAR = (1 << 31) + 1899
SECONDS_PER_DAY = 86400


def date(seconds: int, fraction: int = 0, digits: int = 0) -> str:
    """Write a time in UTC: `2023-11-14T22:13:20.000005+0000`; nothing for the epoch itself.

    Days are turned into dates as in Hinnant's `civil_from_days`: years of any size occur.
    """
    if not (seconds or fraction) or not 0 <= fraction < 10 ** max(digits, 1):
        return ""
    days, second = divmod(seconds, SECONDS_PER_DAY)
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    if not -(1 << 31) + 1900 <= year <= _LAST_YEAR:
        return ""
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    part = f".{fraction:0{digits}}" if fraction else ""
    return f"{year:04}-{month:02}-{day:02}T{clock}{part}+0000"


def dated(text: str, when: str) -> str:
    """Add a date in a comment, if there is one."""
    return f"{text} /* {when} */" if when else text


def timespec(seconds: int, nanoseconds: int) -> str:
    """Write a struct timespec."""
    return members(tv_sec=str(seconds), tv_nsec=str(nanoseconds))


def timeval(seconds: int, microseconds: int) -> str:
    """Write a struct timeval."""
    return members(tv_sec=str(seconds), tv_usec=str(microseconds))


def _structure(size: struct.Struct, write: Callable[..., str]) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, size.size)
        return address(word) if raw is None else write(*size.unpack(raw))

    return render


def _interval(write: Callable[[int, int], str]) -> Callable[[int, int, int, int], str]:
    return lambda a, b, c, d: members(it_interval=write(a, b), it_value=write(c, d))


TIMESPEC = _structure(_PAIR, timespec)
TIMEVAL = _structure(_PAIR, timeval)
ITIMERSPEC = _structure(_TWO_PAIRS, _interval(timespec))
ITIMERVAL = _structure(_TWO_PAIRS, _interval(timeval))
TIMEZONE = _structure(
    struct.Struct("<ii"),
    lambda west, dst: members(tz_minuteswest=str(west), tz_dsttime=str(dst)),
)
UTIMBUF = _structure(
    struct.Struct("<qq"),
    lambda access, change: members(
        actime=dated(str(access), date(access)), modtime=dated(str(change), date(change))
    ),
)
TIME_AT = _structure(struct.Struct("<q"), lambda when: f"[{dated(str(when), date(when))}]")


def _stamp(seconds: int, nanoseconds: int) -> str:
    if nanoseconds == UTIME_NOW:
        return "UTIME_NOW"
    if nanoseconds == UTIME_OMIT:
        return "UTIME_OMIT"
    return dated(timespec(seconds, nanoseconds), date(seconds, nanoseconds, 9))


STAMPS = _structure(_TWO_PAIRS, lambda a, b, c, d: f"[{_stamp(a, b)}, {_stamp(c, d)}]")
STAMPS_MICROSECONDS = _structure(
    _TWO_PAIRS,
    lambda a, b, c, d: (
        f"[{dated(timeval(a, b), date(a, b, 6))}, {dated(timeval(c, d), date(c, d, 6))}]"
    ),
)
TIMES = _structure(
    struct.Struct("<QQQQ"),
    lambda user, system, cuser, csystem: members(
        tms_utime=clock_ticks(user),
        tms_stime=clock_ticks(system),
        tms_cutime=clock_ticks(cuser),
        tms_cstime=clock_ticks(csystem),
    ),
)


def clock_ticks(count: int) -> str:
    """Write a time in hundredths of a second: `5 /* 0.05 s */`."""
    return dated(str(count), f"{count // 100}.{count % 100:02} s" if count else "")


def time_note(ctx: Ctx) -> str | None:
    """Give time(2)'s result as a date."""
    return None if ctx.failed else date(ctx.result or 0) or None


def _remaining(write: Format) -> Callable[[int, Ctx], str]:
    def render(word: int, ctx: Ctx) -> str:
        if ctx.result is None or ctx.result not in (-512, -513, -514, -516):
            return address(word)
        return write(word, ctx.at_exit(0))

    return render


REMAINING = Out(_remaining(TIMESPEC))
"""What nanosleep leaves when it is interrupted."""


def _timex(modes: int, *numbers: int) -> str:
    names = ("offset", "freq", "maxerror", "esterror", "status", "constant", "precision",
             "tolerance", "tick", "ppsfreq", "jitter", "shift", "stabil", "jitcnt", "calcnt",
             "errcnt", "stbcnt", "tai")  # fmt: skip
    when = timeval(numbers[8], numbers[9])
    fields = dict(zip(names, map(str, (*numbers[:8], *numbers[10:])), strict=True))
    fields["status"] = t.TIMEX_STATUS.flags(unsigned(numbers[4]))
    ordered = {"modes": t.TIMEX_MODES.flags(modes)}
    for name, text in fields.items():
        if name == "tick":
            ordered["time"] = when
        ordered[name] = text
    return members(**ordered)


TIMEX = _structure(_TIMEX, _timex)


def adjtimex_note(timex_arg: int) -> Note:
    """Make the note that names the state of the clock that adjtimex returned."""

    def note(ctx: Ctx) -> str | None:
        readable = ctx.fetch(ctx.args[timex_arg], _TIMEX.size) is not None
        return t.TIMEX_STATES.names.get(ctx.result or 0) if readable else None

    return note


def _kept_timeout(word: int, ctx: Ctx) -> str:
    kept: str | None = ctx.saved.get("timeout")
    return TIMESPEC(word, ctx.at_exit(None)) if kept is None else kept


KEPT_TIMEOUT = Out(_kept_timeout, TIMESPEC)
"""A timeout that the kernel may change, as it was at entry; its parameter is named `timeout`."""
