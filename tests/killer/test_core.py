"""Does the right process die, in the right order of steps, and never one that must not?"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.killer.core import DOUBTS, STANDS_OUT, Hunt, Step, Suspect, judge

suspects = st.lists(
    st.builds(
        Suspect,
        pid=st.integers(1, 500),
        name=st.just(b"x"),
        regions=st.integers(0, 70000),
        descriptors=st.integers(0, 70000),
        threads=st.integers(1, 9),
        unreaped=st.integers(0, 9),
        protected=st.booleans(),
    ),
    unique_by=lambda s: s.pid,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(suspects)
def test_the_worst_citizen_dies_and_no_protected_one(everybody: list[Suspect]) -> None:
    verdict = judge(everybody)
    mortal = [s for s in everybody if not s.protected]
    if not mortal:
        assert verdict is None
        return
    assert verdict is not None
    victim = verdict.victim
    assert not victim.protected
    others = [s.score for s in mortal if s is not victim]
    assert victim.score >= max(others, default=0)
    assert verdict.runner_up == max(others, default=0)
    assert verdict.obvious == (victim.score >= STANDS_OUT * verdict.runner_up)


def test_all_five_kinds_count() -> None:
    assert Suspect(2, b"x", 1, 10, 100, 1000, 10000).score == 11111
    assert Suspect(2, b"x", 1, 10, 100, 1000, protected=True).score == 0


def test_collect_evict_collect_come_before_the_first_kill() -> None:
    hunt = Hunt()
    assert [hunt.next() for _ in range(4)] == [Step.COLLECT, Step.EVICT, Step.COLLECT, Step.KILL]


def test_after_a_kill_it_waits_and_collects_before_the_next() -> None:
    hunt = Hunt()
    while hunt.next() is not Step.KILL:
        pass
    hunt.killed()
    assert [hunt.next() for _ in range(3)] == [Step.AWAIT_END, Step.COLLECT, Step.KILL]
    assert hunt.kills == 1


def test_where_nobody_may_die_everything_is_tried_again() -> None:
    hunt = Hunt()
    while hunt.next() is not Step.KILL:
        pass
    hunt.helpless()
    steps = [hunt.next() for _ in range(5)]
    assert steps == [Step.REST, Step.COLLECT, Step.EVICT, Step.COLLECT, Step.KILL]


def test_where_nobody_stands_out_it_rests_before_it_kills() -> None:
    hunt, rests = Hunt(), 0
    while True:
        step = hunt.next()
        rests += step is Step.REST
        if step is Step.KILL and not hunt.hesitate():
            break
    assert rests == DOUBTS
