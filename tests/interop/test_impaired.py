"""Does everything arrive over a wire that delays, loses, reorders, doubles and corrupts frames?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop import captures
from tests.interop.lab import GUEST4, IMPAIRED, OUTSIDE4, Impairment, Lab
from tests.interop.throughput import Flow, flows, measure, ratios

if TYPE_CHECKING:
    from pathlib import Path

FIFTY_MB = 50_000_000


def test_a_little_arrives_over_the_worst(lab: Lab, tmp_path: Path) -> None:
    """Ten times as much goes wrong as in the long test; and what each end sends is well formed."""
    inside, outside = tmp_path / "inside.pcap", tmp_path / "outside.pcap"
    outcomes, frames = measure(
        Impairment(2, loss=5, reorder=5, duplicate=5, corrupt=2, seed=3),
        500_000,
        tmp_path,
        at_once=True,
        which=flows(["guest"]),
        options=("--pcap", str(inside)),
        watch=lambda wire: captures.Capture(wire.outside, "eth0", outside),
    )
    assert [one.intact for one in outcomes] == [True] * 4
    assert all(way[fate] for way in frames for fate in ("lost", "corrupted", "reordered"))
    for path, address in ((inside, GUEST4), (outside, OUTSIDE4)):
        assert captures.count(path, f"ip.src == {address}") > 100
        assert captures.bad_frames(path, f"ip.src == {address}") == []
    assert captures.bad_frames(inside) != [], "the wire corrupts, and tshark does not see it"


@pytest.mark.slow
def test_fifty_megabytes_arrive_as_fast_as_half_of_linux(lab: Lab, tmp_path: Path) -> None:
    """Both directions, both roles, beside Linux in the guest's place on the same wire."""
    outcomes, _ = measure(IMPAIRED, FIFTY_MB, tmp_path, at_once=True, timeout_s=900)
    assert [one.intact for one in outcomes] == [True] * 8
    assert all(one.received_bytes == FIFTY_MB for one in outcomes)
    for kind, ratio in ratios(outcomes).items():
        assert ratio >= 0.5, (kind, outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("sends", [True, False])
def test_fifty_megabytes_over_a_clean_wire(lab: Lab, tmp_path: Path, sends: bool) -> None:
    which = [Flow("guest", sends, serves) for serves in (True, False)]
    outcomes, _ = measure(Impairment(), FIFTY_MB, tmp_path, at_once=False, which=which)
    assert [one.intact for one in outcomes] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_mbit", "queue_frames", "size"), [(10, 40, 8_000_000), (50, 100, 30_000_000)]
)
def test_a_short_queue_before_a_bottleneck(
    lab: Lab, tmp_path: Path, rate_mbit: int, queue_frames: int, size: int
) -> None:
    """Round trips of 40 ms: the flow finds the rate and keeps most of it."""
    bottleneck = Impairment(delay_ms=20, rate_mbit=rate_mbit, queue_frames=queue_frames)
    which = [Flow(near, sends, False) for near in ("linux", "guest") for sends in (True, False)]
    outcomes, _ = measure(bottleneck, size, tmp_path, at_once=False, which=which)
    assert all(one.intact for one in outcomes)
    for kind, ratio in ratios(outcomes).items():
        assert ratio >= 0.8, (kind, outcomes)
