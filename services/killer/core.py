"""Whom to kill, and what to do before that: section 5.3.11 of the Biscuit thesis as a pure core.

`Hunt` says what to do next while somebody waits for heap, and is told nothing but whether that is
still so: collect; evict every cache that can give; collect; kill the worst citizen; wait until it
is gone; collect; and again from the killing. Whatever frees enough ends the hunt, and the next
shortage starts from the first step.

The worst citizen has most memory regions, descriptors, threads and unreaped children together;
and timers, which Biscuit had none of: with those left out, whoever multiplies them has the score of
an idle shell, and the next good citizen dies for it.
init and whoever is protected have none of these for our purposes. One that has less than
`STANDS_OUT` times as much as the next is no obvious bad citizen: calls first get time to end
(`hesitate`), and then it dies all the same, since otherwise all would wait for ever; that is said.
Bytes and age do not count: a database may hold much for good reasons, and this can be wrong about
it (section 5.1).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

STANDS_OUT = 2
DOUBTS = 10
"""How often a hunt rests before it kills one that does not stand out."""
PROTECTED_ADJ = -1000
"""oom_score_adj that protects (proc(5))."""


class Step(enum.Enum):
    """What to do next."""

    COLLECT = "collect"
    EVICT = "evict"
    KILL = "kill"
    AWAIT_END = "await"
    REST = "rest"
    """Nobody may be killed: wait a little for calls to end, and try everything again."""


@attrs.frozen
class Suspect:
    """A process, and what counts against it."""

    pid: int
    name: bytes
    regions: int
    descriptors: int
    threads: int
    unreaped: int
    timers: int = 0
    """Of timer_create(2)."""
    protected: bool = False
    """init, marked in the configuration, or oom_score_adj -1000."""

    @property
    def score(self) -> int:
        """0: it is not to be killed."""
        if self.protected:
            return 0
        return self.regions + self.descriptors + self.threads + self.unreaped + self.timers


@attrs.frozen
class Verdict:
    """Who is to die, whether it stands out, and the next one's score."""

    victim: Suspect
    obvious: bool
    runner_up: int


def judge(suspects: Iterable[Suspect]) -> Verdict | None:
    """The worst citizen (of equals, the one that came last); None if nobody may be killed."""
    ranked = sorted(suspects, key=lambda s: (-s.score, -s.pid))
    if not ranked or not ranked[0].score:
        return None
    runner_up = ranked[1].score if len(ranked) > 1 else 0
    return Verdict(ranked[0], ranked[0].score >= STANDS_OUT * runner_up, runner_up)


class Hunt:
    """One shortage, from the first wait until nobody waits."""

    def __init__(self) -> None:
        self._plan = [Step.COLLECT, Step.EVICT, Step.COLLECT]
        self.kills = 0
        self._doubts = 0

    def next(self) -> Step:
        """What to do, as somebody still waits."""
        if self._plan:
            return self._plan.pop(0)
        return Step.KILL

    def killed(self) -> None:
        """A process was killed."""
        self.kills += 1
        self._plan = [Step.AWAIT_END, Step.COLLECT]

    def hesitate(self) -> bool:
        """Nobody stands out: whether to give calls time to end first, rather than kill."""
        self._doubts += 1
        if self._doubts > DOUBTS:
            return False
        self._plan = [Step.REST, Step.COLLECT]
        return True

    def helpless(self) -> None:
        """There was nobody to kill."""
        self._plan = [Step.REST, Step.COLLECT, Step.EVICT, Step.COLLECT]
