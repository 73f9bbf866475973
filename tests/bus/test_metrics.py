"""Does the metrics page say what was counted, in Prometheus' own format?"""

from __future__ import annotations

import gc

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.admission import Admission
from bus.core import Bus
from bus.metrics import Distribution, Histogram, Metrics, bus_source, counter, gauge, ledger_source
from bus.pauses import BOUNDS_S, PauseWatch
from tests.bus.conftest import PEERS, RANKS
from tests.bus.sample_api import Double
from tests.bus.sample_service import SampleService


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page, parsed by the client library's own parser."""
    page, media_type = metrics.exposition()
    assert media_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_counters_and_gauges_are_read_when_asked() -> None:
    seen = {"value": 1.0}
    metrics = Metrics()
    metrics.register(
        lambda: [
            counter("hardtack_x_total", "X.", {("a",): seen["value"]}, ("kind",)),
            gauge("hardtack_y", "Y.", {(): 5}),
        ]
    )
    label = frozenset({("kind", "a")})
    assert samples(metrics)["hardtack_x_total", label] == 1
    seen["value"] = 7
    assert samples(metrics)["hardtack_x_total", label] == 7
    assert samples(metrics)["hardtack_y", frozenset()] == 5


def test_the_clients_own_process_metrics_are_there() -> None:
    names = {name for name, _ in samples(Metrics())}
    assert {"process_resident_memory_bytes", "python_gc_collections_total"} <= names


def test_histogram_buckets_are_cumulative() -> None:
    metrics = Metrics()
    metrics.register(
        lambda: [
            Histogram("hardtack_h_seconds", "H.", (), {(): Distribution((1, 2), (3, 4, 5), 9.5)})
        ]
    )
    found = samples(metrics)
    assert [
        found["hardtack_h_seconds_bucket", frozenset({("le", bound)})]
        for bound in ("1.0", "2.0", "+Inf")
    ] == [3, 7, 12]
    assert found["hardtack_h_seconds_sum", frozenset()] == 9.5
    assert found["hardtack_h_seconds_count", frozenset()] == 12


async def test_messages_are_counted_by_edge() -> None:
    bus = Bus(RANKS, PEERS)
    bus.serve("sample", SampleService().handlers)
    for port in (bus.port("caller", "sample"), bus.port("caller", "sample")):
        await port.call(Double(1))
    metrics = Metrics()
    metrics.register(bus_source(bus))
    edge = {("caller", "caller"), ("target", "sample"), ("request", "Double")}
    assert samples(metrics)["hardtack_bus_messages_total", frozenset(edge)] == 2


def test_the_ledger_is_shown() -> None:
    admission = Admission(1000)
    assert admission.try_admit(300)
    metrics = Metrics()
    metrics.register(ledger_source(admission))
    found = samples(metrics)
    assert found["hardtack_heap_limit_bytes", frozenset()] == 1000
    assert found["hardtack_heap_reserved_bytes", frozenset()] == 300


def test_every_collection_is_timed_by_generation() -> None:
    watch = PauseWatch()
    watch.start()
    try:
        gc.collect(1)
    finally:
        watch.stop()
    gc.collect(2)
    assert [sum(row) for row in watch.counts] == [0, 1, 0]
    assert watch.longest_s == pytest.approx(watch.total_s[1])


@pytest.mark.parametrize(("pause_s", "bound"), [(0.000115, 0.000115), (0.000582, 0.000582)])
def test_a_pause_at_a_promise_counts_as_kept(pause_s: float, bound: float) -> None:
    watch = PauseWatch()
    watch.record(2, pause_s, 0)
    assert watch.counts[2][BOUNDS_S.index(bound)] == 1
    metrics = Metrics()
    metrics.register(watch.measures)
    labels = frozenset({("generation", "2"), ("le", repr(bound))})
    assert samples(metrics)["hardtack_gc_pause_seconds_bucket", labels] == 1


def test_turns_that_no_pause_fell_in_count_as_not_delayed() -> None:
    watch = PauseWatch()
    for delay_s in (0.0, 0.000300, 0.0, 0.000700, *[0.0] * 6):
        watch.turn(delay_s)
    metrics = Metrics()
    metrics.register(watch.measures)
    found = samples(metrics)
    name = "hardtack_gc_turn_delay_seconds"
    assert found[f"{name}_bucket", frozenset({("le", "0.00025")})] == 8
    assert found[f"{name}_bucket", frozenset({("le", "0.000582")})] == 9
    assert found[f"{name}_count", frozenset()] == 10
    assert found[f"{name}_sum", frozenset()] == pytest.approx(0.001)
    assert found["hardtack_gc_delayed_turns_total", frozenset()] == 2
    assert found["hardtack_gc_turn_delay_longest_seconds", frozenset()] == 0.0007
