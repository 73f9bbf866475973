"""Signatures of the calls on clocks and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..buffers import INT_AT
from ..clock import (
    ITIMERSPEC,
    ITIMERVAL,
    REMAINING,
    TIME_AT,
    TIMES,
    TIMESPEC,
    TIMEVAL,
    TIMEX,
    TIMEZONE,
    adjtimex_note,
    time_note,
)
from ..model import Out, ResultKind, Signature, call
from ..scalars import INT, UINT, flags, value
from ..signals import SIGEVENT
from ..tables import events as t
from ..text import address, unsigned

if TYPE_CHECKING:
    from ..model import Ctx

_CLOCK = value(t.CLOCKS)
_FLAGS = flags(t.TIMER_FLAGS)


def _remaining(word: int, ctx: Ctx) -> str:
    """Write what is left of a sleep that is not until a time."""
    return address(word) if unsigned(ctx.args[1]) else REMAINING.render(word, ctx)


CLOCKS: dict[str, Signature] = {
    "time": call(ResultKind.DECIMAL, time_note, time=Out(TIME_AT)),
    "times": call(times=Out(TIMES)),
    "gettimeofday": call(time=Out(TIMEVAL), zone=Out(TIMEZONE)),
    "settimeofday": call(time=TIMEVAL, zone=TIMEZONE),
    "clock_gettime": call(clock=_CLOCK, time=Out(TIMESPEC)),
    "clock_settime": call(clock=_CLOCK, time=TIMESPEC),
    "clock_getres": call(clock=_CLOCK, resolution=Out(TIMESPEC)),
    "clock_nanosleep": call(clock=_CLOCK, flags=_FLAGS, time=TIMESPEC, left=Out(_remaining)),
    "nanosleep": call(time=TIMESPEC, left=REMAINING),
    "alarm": call(seconds=UINT),
    "getitimer": call(timer=value(t.ITIMERS), current=Out(ITIMERVAL)),
    "setitimer": call(timer=value(t.ITIMERS), new=ITIMERVAL, old=Out(ITIMERVAL)),
    "timer_create": call(clock=_CLOCK, event=SIGEVENT, timer=Out(INT_AT)),
    "timer_settime": call(timer=INT, flags=_FLAGS, new=ITIMERSPEC, old=Out(ITIMERSPEC)),
    "timer_gettime": call(timer=INT, current=Out(ITIMERSPEC)),
    "timer_getoverrun": call(timer=INT),
    "timer_delete": call(timer=INT),
    "adjtimex": call(ResultKind.DECIMAL, adjtimex_note(0), timex=Out(TIMEX)),
    "clock_adjtime": call(ResultKind.DECIMAL, adjtimex_note(1), clock=_CLOCK, timex=Out(TIMEX)),
}
