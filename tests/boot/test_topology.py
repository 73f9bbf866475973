"""Is a topology that would deadlock found before anything starts?"""

from __future__ import annotations

import pytest

from boot.assembly import BUILDERS
from boot.topology import EMBEDDED, Restart, ServiceSpec, Topology, TopologyError


def test_the_embedded_topology_is_sound_and_can_be_built() -> None:
    assert EMBEDDED.check() is EMBEDDED
    assert {spec.name for spec in EMBEDDED.services} == set(BUILDERS)
    assert EMBEDDED["vm"].peers == frozenset()


def test_callees_start_before_their_callers() -> None:
    order = [spec.name for spec in EMBEDDED.starting_order()]
    for spec in EMBEDDED.services:
        for peer in spec.peers:
            assert order.index(peer) < order.index(spec.name)
    assert order[:2] == ["ram", "cpu"]


@pytest.mark.parametrize(
    ("services", "fault"),
    [
        ([ServiceSpec("a", 1, frozenset({"b"})), ServiceSpec("b", 1)], "a .rank 1. may not call b"),
        ([ServiceSpec("a", 0, frozenset({"b"})), ServiceSpec("b", 1)], "calls go down in rank"),
        ([ServiceSpec("a", 1, frozenset({"a"}))], "may not call a"),
        ([ServiceSpec("a", 1, frozenset({"x"}))], "a calls x, which is no service here"),
        ([ServiceSpec("a", 1), ServiceSpec("a", 2)], "a is listed twice"),
        ([ServiceSpec("a", 1, restart=Restart(period_s=0))], "restart policy"),
    ],
)
def test_faults_are_named(services: list[ServiceSpec], fault: str) -> None:
    with pytest.raises(TopologyError, match=fault):
        Topology(tuple(services)).check()


def test_all_faults_are_told_at_once() -> None:
    broken = Topology((ServiceSpec("a", 0, frozenset({"x", "b"})), ServiceSpec("b", 0)))
    with pytest.raises(TopologyError) as told:
        broken.check()
    assert "a calls x" in str(told.value)
    assert "may not call b" in str(told.value)


def test_a_service_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        EMBEDDED["ghost"]
