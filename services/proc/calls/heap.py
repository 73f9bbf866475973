"""info and prof: what Biscuit tells programs of its heap and collector (thesis, figure 6-2).

The numbers are Hardtack's own; Linux has none. `user/include/hardtack.h` has both for C.
"""

from __future__ import annotations

import enum
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.capabilities import CAP_SYS_ADMIN
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

INFO_NUMBER, PROF_NUMBER = 502, 503


class Info(enum.IntEnum):
    """What can be asked. Times in ns, sizes in bytes."""

    COLLECTIONS = 0
    PAUSES_NS = 1
    LONGEST_PAUSE_NS = 2
    LIVE_BYTES = 3
    LIMIT_BYTES = 4
    RESERVED_BYTES = 5
    OBJECTS = 6
    WAITS = 7
    """Calls that had to wait for a reservation."""
    COLLECT = 8
    """Collect everything first (it takes a while, so CAP_SYS_ADMIN); then as LIVE_BYTES."""


class Prof(enum.IntEnum):
    """What prof does."""

    STOP = 0
    START = 1


@syscall(INFO_NUMBER, "info", bound=0)
def sys_info(t: Thread, what: int) -> int:
    """One number of the kernel's heap. EINVAL: not in `Info`; EPERM: COLLECT without the right."""
    ledger, collector = t.kernel.admission, t.kernel.collector
    pauses = collector.pauses
    what = s32(what)
    if what == Info.COLLECT:
        _may(t)
        collector.thorough("demand")
    match what:
        case Info.COLLECTIONS:
            return sum(map(sum, pauses.counts))
        case Info.PAUSES_NS:
            return int(pauses.all_s * 1e9)
        case Info.LONGEST_PAUSE_NS:
            return int(pauses.longest_s * 1e9)
        case Info.LIVE_BYTES | Info.COLLECT:
            return ledger.live
        case Info.LIMIT_BYTES:
            return ledger.limit_bytes
        case Info.RESERVED_BYTES:
            return ledger.current
        case Info.OBJECTS:
            return sum(kind.count for kind in ledger.heap.by_bytes())
        case Info.WAITS:
            return ledger.waits
    raise PosixError(EINVAL)


@syscall(PROF_NUMBER, "prof", bound=0)
def sys_prof(t: Thread, what: int, period_us: int) -> int:
    """Start or stop a profile of the kernel, for /proc/hardtack/profile; its samples.

    EPERM: no CAP_SYS_ADMIN; EINVAL, EBUSY, EOPNOTSUPP: `Profile.start`.
    """
    _may(t)
    profile, what = t.kernel.profile, s32(what)
    if what == Prof.START:
        profile.start(period_us)
        return 0
    if what != Prof.STOP:
        raise PosixError(EINVAL)
    profile.stop()
    return profile.samples


def _may(t: Thread) -> None:
    if not t.process.credentials.can(CAP_SYS_ADMIN):
        raise PosixError(EPERM)
