"""Measures of the kernel, read when somebody asks and free until then.

Whoever counts does so in plain integers; a *source* is a callable that turns them into `Metric`s.
This module knows no service: boot registers the sources. `exposition` gives Prometheus' text
format through a custom collector of prometheus_client, which is imported only there (it takes
0.1 s); the summary of `--stats` reads the same sources without it.

Names follow Prometheus' conventions: prefix `hardtack_`, base units, `_total` for counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as PrometheusMetric

    from bus.core import Bus
    from bus.ledger import Ledger

Labels = tuple[str, ...]


@attrs.frozen
class Metric:
    """A counter or a gauge: one value for each combination of label values."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    labels: Labels
    values: Mapping[Labels, float]


@attrs.frozen
class Distribution:
    """How often a value fell at or below each bound, with the sum of all values."""

    bounds: Sequence[float]
    counts: Sequence[int]
    """One for each bound, not cumulative, and one for what is above the last."""
    total: float


@attrs.frozen
class Histogram:
    """A distribution for each combination of label values."""

    name: str
    help: str
    labels: Labels
    values: Mapping[Labels, Distribution]


Measure = Metric | Histogram


def counter(name: str, help: str, values: Mapping[Labels, float], labels: Labels = ()) -> Metric:
    """A number that only grows; its name ends in _total."""
    assert name.endswith("_total"), name
    return Metric(name, help, "counter", labels, values)


def gauge(name: str, help: str, values: Mapping[Labels, float], labels: Labels = ()) -> Metric:
    """A number that goes up and down."""
    return Metric(name, help, "gauge", labels, values)


class Metrics:
    """All sources of one kernel."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], Iterable[Measure]]] = []
        self._registry: CollectorRegistry | None = None

    def register(self, source: Callable[[], Iterable[Measure]]) -> None:
        """Add a source; it is called at every collection."""
        self._sources.append(source)

    def measures(self) -> Iterator[Measure]:
        """Everything, as it is now."""
        for source in self._sources:
            yield from source()

    def collect(self) -> Iterator[PrometheusMetric]:
        """The interface of a prometheus_client collector."""
        return (_translated(measure) for measure in self.measures())

    def exposition(self) -> tuple[bytes, str]:
        """Prometheus' text format and its media type, with the client's own process metrics."""
        from prometheus_client import (
            CONTENT_TYPE_LATEST,
            CollectorRegistry,
            GCCollector,
            PlatformCollector,
            ProcessCollector,
            generate_latest,
        )

        if self._registry is None:
            self._registry = registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)
            registry.register(self)
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _translated(measure: Measure) -> PrometheusMetric:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    if isinstance(measure, Histogram):
        family = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
        for labels, seen in measure.values.items():
            family.add_metric(labels, _cumulative(seen), seen.total)
        return family
    make = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    plain: CounterMetricFamily | GaugeMetricFamily = make(
        measure.name, measure.help, labels=measure.labels
    )
    for labels, value in measure.values.items():
        plain.add_metric(labels, value)
    return plain


def _cumulative(seen: Distribution) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*seen.bounds, None), seen.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound is None else repr(float(bound)), below))
    return buckets


def bus_source(bus: Bus) -> Callable[[], Iterable[Measure]]:
    """Messages by edge and request, and what the trace rings counted."""

    def read() -> Iterator[Measure]:
        messages: dict[Labels, float] = {}
        for port in bus.ports:
            for kind, count in port.counts.items():
                labels = (port.caller, port.target, kind.__name__)
                messages[labels] = messages.get(labels, 0) + count
        yield counter(
            "hardtack_bus_messages_total",
            "Requests sent on the bus.",
            messages,
            ("caller", "target", "request"),
        )
        yield counter(
            "hardtack_bus_events_total",
            "Events in the services' trace rings: lifecycle, crashes, malformed messages.",
            {
                (service, kind): count
                for service, ring in bus.rings.items()
                for kind, count in ring.counts.items()
            },
            ("service", "event"),
        )

    return read


def ledger_source(ledger: Ledger) -> Callable[[], Iterable[Measure]]:
    """The kernel heap's limit, what is promised of it, and who waits."""

    def read() -> Iterator[Measure]:
        yield gauge(
            "hardtack_heap_limit_bytes", "M, the size of the heap.", {(): ledger.limit_bytes}
        )
        yield gauge(
            "hardtack_heap_reserved_bytes", "Outstanding reservations.", {(): ledger.current}
        )
        yield gauge(
            "hardtack_heap_live_bytes",
            "What lives: at the last collection of everything (lastgc), and since (used).",
            {("lastgc",): ledger.lastgc, ("used",): ledger.used},
            ("term",),
        )
        yield gauge(
            "hardtack_heap_peak_bytes",
            "The most that lived when stock was taken.",
            {(): ledger.peak},
        )
        kinds = list(ledger.heap.by_bytes())
        yield gauge(
            "hardtack_heap_kind_bytes",
            "What lives, by service and kind of object.",
            {(k.service, k.name): k.live for k in kinds},
            ("service", "kind"),
        )
        yield gauge(
            "hardtack_heap_kind_objects",
            "How many live, by service and kind of object.",
            {(k.service, k.name): k.count for k in kinds},
            ("service", "kind"),
        )
        yield counter(
            "hardtack_heap_deep_failures_total",
            "Calls that were unwound and run again, as a loop of theirs found no room.",
            {(): ledger.deep_failures},
        )
        yield gauge("hardtack_heap_waiting", "Calls waiting for heap.", {(): ledger.waiting})
        yield counter(
            "hardtack_heap_waits_total", "Calls that had to wait for heap.", {(): ledger.waits}
        )

    return read
