"""Does the first slow start end when round trips grow, and only then?"""

from __future__ import annotations

import pytest

from services.net.tcp.cubic import make_control
from services.net.tcp.hystart import CSS_ROUNDS, SAMPLES, HyStart
from services.net.tcp.limits import MS, NEVER


def rounds(hystart: HyStart, *rtts_ms: int, start: int = 0) -> bool:
    """Rounds of twelve acknowledgements each, with these round trips; whether slow start ended."""
    ended = False
    for number, rtt_ms in enumerate(rtts_ms, start):
        for at in range(12):
            ended |= hystart.acknowledged(number * 12 + at, (number + 1) * 12, rtt_ms * MS)
    return ended


def test_steady_round_trips_change_nothing() -> None:
    hystart = HyStart()
    assert not rounds(hystart, *[40] * 20)
    assert not hystart.conservative


def test_a_growing_queue_slows_down_and_then_ends_it() -> None:
    hystart = HyStart()
    assert not rounds(hystart, 40, 40, 46)
    assert hystart.conservative
    assert not rounds(hystart, *[46] * (CSS_ROUNDS - 1), start=3)
    assert rounds(hystart, 46, start=2 + CSS_ROUNDS)


def test_jitter_is_forgiven() -> None:
    hystart = HyStart()
    rounds(hystart, 40, 50)
    assert hystart.conservative
    assert not rounds(hystart, 41, start=2)
    assert not hystart.conservative


@pytest.mark.parametrize(("rtt_ms", "later"), [(1, 4), (40, 44), (400, 415)])
def test_small_steps_are_noise(rtt_ms: int, later: int) -> None:
    """4 ms at least, an eighth of the round trip, 16 ms at most."""
    hystart = HyStart()
    rounds(hystart, rtt_ms, later)
    assert not hystart.conservative
    hystart = HyStart()
    rounds(hystart, rtt_ms, later + 1)
    assert hystart.conservative


def test_few_samples_decide_nothing() -> None:
    hystart = HyStart()
    rounds(hystart, 40)
    for at in range(SAMPLES - 1):
        hystart.acknowledged(12 + at, 24, 90 * MS)
    assert not hystart.conservative


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_the_window_grows_by_a_quarter_and_then_not_by_doubling(name: str) -> None:
    control = make_control(name, 1000)
    at = 0
    for rtt_ms in (40, 60):
        end = at + 16_000
        while at < end:
            at += 1000
            control.measured(at, end, rtt_ms * MS)
    before = control.cwnd
    control.on_ack(1000, 0, 60 * MS)
    assert control.cwnd == before + 250
    for _ in range(CSS_ROUNDS):
        at += 16_000
        control.measured(at, at, 60 * MS)
    assert control.ssthresh == control.cwnd < NEVER
