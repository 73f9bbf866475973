"""The outcome of a campaign: a table for people, JSON for programs, a plot."""

from __future__ import annotations

import json
import math
import statistics
from importlib.util import find_spec
from typing import TYPE_CHECKING

import attrs

from boot.campaign.strike import KINDS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from boot.campaign.strike import Outcome


@attrs.frozen
class Row:
    """What became of one fault of one service."""

    service: str
    fault: str
    injected: int
    survived: int
    kernel_deaths: int
    failed_calls: int
    broken_connections: int
    lost_bytes: int
    calls_without_service: int
    recovery_median_s: float | None
    recovery_p99_s: float | None
    slowest_request_median_s: float | None
    slowest_request_p99_s: float | None
    not_struck: int

    @property
    def good(self) -> bool:
        """Nobody noticed anything."""
        return self.survived == self.injected and not (self.failed_calls or self.lost_bytes)


def p99(samples: Sequence[float]) -> float | None:
    """The sample that 99 of 100 do not exceed; None of nothing."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1] if samples else None


def median(samples: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(samples) if samples else None


def row_of(service: str, fault: str, outcomes: Sequence[Outcome]) -> Row:
    """The sums of outcomes."""
    struck = [one for one in outcomes if one.struck]
    recoveries = [one.recovered_s for one in struck if one.recovered_s is not None]
    slowest = [one.slowest_s for one in struck]
    return Row(
        service,
        fault,
        injected=len(struck),
        survived=sum(one.survived for one in struck),
        kernel_deaths=sum(bool(one.why) for one in struck),
        failed_calls=sum(one.tally.failed for one in outcomes),
        broken_connections=sum(one.tally.broken for one in outcomes),
        lost_bytes=sum(one.tally.lost_bytes for one in outcomes),
        calls_without_service=sum(one.tally.nobody for one in outcomes),
        recovery_median_s=median(recoveries),
        recovery_p99_s=p99(recoveries),
        slowest_request_median_s=median(slowest),
        slowest_request_p99_s=p99(slowest),
        not_struck=len(outcomes) - len(struck),
    )


def rows_of(outcomes: Sequence[Outcome], *, drivers: bool = False) -> list[Row]:
    """One for each service and fault that there were; `drivers`: one for each driver instead."""
    by: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        if drivers and one.strike.group != "drivers":
            continue
        name = one.strike.service if drivers else one.strike.group
        by.setdefault((name, one.strike.kind), []).append(one)
    order = [name for name in SERVICES if not drivers] or sorted({name for name, _ in by})
    keys = [(name, kind) for name in order for kind in KINDS if (name, kind) in by]
    return [row_of(*key, by[key]) for key in keys]


HEAD = (
    *("service", "fault", "injected", "survived", "failed calls", "lost bytes"),
    *("recovery median", "p99", "slowest request median", "p99"),
)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    durations = (
        *(row.recovery_median_s, row.recovery_p99_s),
        *(row.slowest_request_median_s, row.slowest_request_p99_s),
    )
    numbers = (row.injected, row.survived, row.failed_calls, row.lost_bytes)
    return (row.service, row.fault, *map(str, numbers), *map(_duration, durations))


def as_text(rows: Sequence[Row]) -> str:
    """The table, in columns."""
    table = [HEAD, *map(cells, rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(HEAD))]
    lines = []
    for line in table:
        words = [
            w.ljust(n) if at < 2 else w.rjust(n)
            for at, (w, n) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(words).rstrip())
    return "\n".join(lines)


def write_json(
    path: Path,
    outcomes: Sequence[Outcome],
    facts: Mapping[str, object],
    notes: Sequence[str],
) -> None:
    """Everything that there is to know."""
    told = {
        **facts,
        "rows": [attrs.asdict(row) for row in rows_of(outcomes)],
        "drivers": [attrs.asdict(row) for row in rows_of(outcomes, drivers=True)],
        "deaths": [{"fault": one.strike.fault, "why": one.why} for one in outcomes if one.why],
        "recoveries_s": {
            f"{row.service} {row.fault}": sorted(
                one.recovered_s
                for one in outcomes
                if (one.strike.group, one.strike.kind) == (row.service, row.fault)
                and one.recovered_s is not None
            )
            for row in rows_of(outcomes)
        },
        "notes": list(notes),
    }
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(told, indent=1) + "\n")
    unfinished.replace(path)


def plottable() -> bool:
    """Whether plots can be made here."""
    return find_spec("matplotlib") is not None


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """The distribution of times to recover, one curve for each service; of crashes and of hangs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (crashes, hangs, requests) = pyplot.subplots(
        1, 3, figsize=(15, 4.5), layout="constrained"
    )
    for axes, kind, title in ((crashes, "crash", "crashes"), (hangs, "hang", "hangs")):
        for service in SERVICES:
            _curve(
                axes,
                service,
                [
                    one.recovered_s
                    for one in outcomes
                    if one.recovered_s is not None
                    and (one.strike.group, one.strike.kind) == (service, kind)
                ],
            )
        axes.set_xlabel("seconds from the failure until it is served again")
        axes.set_title(f"recovery from {title}")
    for kind in KINDS:
        _curve(
            requests, kind, [o.slowest_s for o in outcomes if o.struck and o.strike.kind == kind]
        )
    requests.set_xlabel("seconds of the longest request meanwhile")
    requests.set_title("what clients see")
    for axes in (crashes, hangs, requests):
        axes.set_ylabel("share of the faults")
        if axes is not hangs:  # which last about as long as it takes to see them
            axes.set_xscale("log")
        axes.set_ylim(0, 1.02)
        axes.grid(visible=True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _curve(axes: object, label: str, samples: Sequence[float]) -> None:
    if samples:
        shares = [(at + 1) / len(samples) for at in range(len(samples))]
        axes.step(sorted(samples), shares, where="post", label=label)  # type: ignore[attr-defined]
