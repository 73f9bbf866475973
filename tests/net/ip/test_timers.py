"""Do timers go off once, in order, at their time, and leave nothing behind?"""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from services.net.ip.timers import NEVER, Timer, Timers


def test_moving_and_clearing() -> None:
    timers, gone = Timers(), []
    first, second = (Timer(partial(gone.append)) for _ in range(2))
    assert timers.next_deadline_ns is None
    timers.set(first, 100)
    timers.set(second, 50)
    timers.set(second, 200)  # later
    timers.set(first, 30)  # earlier
    assert timers.next_deadline_ns == 30
    timers.run(30)
    assert gone == [30]
    timers.run(199)
    assert gone == [30]
    timers.clear(second)
    assert timers.next_deadline_ns is None
    timers.run(1000)
    assert gone == [30]
    timers.set(second, 2000)
    timers.run(2000)
    assert gone == [30, 2000]


def test_an_action_may_set_its_own_timer() -> None:
    timers = Timers()
    times: list[int] = []

    def again(now_ns: int) -> None:
        times.append(now_ns)
        timers.set(timer, now_ns)  # at once

    timer = Timer(again)
    timers.set(timer, 1)
    timers.run(5)
    timers.run(6)
    assert times == [5, 6]


def test_cleared_timers_are_swept_out() -> None:
    timers = Timers()
    kept = Timer(lambda _: None)
    timers.set(kept, 10**9)
    for number in range(10_000):
        timer = Timer(lambda _: None)
        timers.set(timer, number + 1)
        timers.clear(timer)
    assert len(timers) < 1000
    timers.set(kept, 10**9 + 5)
    assert timers.next_deadline_ns is not None
    assert timers.next_deadline_ns <= 10**9 + 5


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["set", "clear", "run"]), st.integers(1, 50)),
        max_size=60,
    )
)
def test_like_a_list_of_deadlines(steps: list[tuple[int, str, int]]) -> None:
    timers, now = Timers(), 0
    gone: list[int] = []
    all_of_them = [Timer(lambda _, i=i: gone.append(i)) for i in range(5)]
    model = [NEVER] * 5
    for which, what, amount in steps:
        if what == "set":
            timers.set(all_of_them[which], now + amount)
            model[which] = now + amount
        elif what == "clear":
            timers.clear(all_of_them[which])
            model[which] = NEVER
        else:
            now += amount
            gone.clear()
            timers.run(now)
            assert sorted(gone) == [i for i in range(5) if model[i] <= now]
            model = [NEVER if at <= now else at for at in model]
        soonest = timers.next_deadline_ns
        assert (soonest is None) == (min(model) == NEVER)
        assert soonest is None or soonest <= min(model)
