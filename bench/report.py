"""Rows as a table for people and as JSON for programs."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import attrs
from rich.table import Table

from bench import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Cell, Row
    from bench.platforms import Platform

NOISY = 0.5


@attrs.frozen
class Scale:
    """What a table shows of a cell."""

    title: str
    value: Callable[[Cell], float | None]
    more_is_better: bool = False

    def ratio(self, row: Row, platform: str, to: str) -> float | None:
        """Of the figures shown."""
        return row.ratio(platform, to, self.value)

    def good(self, ratio: float) -> bool:
        """No worse than the peer."""
        return ratio >= 1 if self.more_is_better else ratio <= 1


TIMES = Scale("microseconds each, median", lambda cell: cell.median_us)
RATES = Scale("per second, median", lambda cell: cell.median_per_second, more_is_better=True)
PROCESSOR = Scale(
    "microseconds of the host's processors each, median", lambda cell: cell.median_cpu_us
)
"""Fairer where others use the machine, too; it hides what can be done on two cores at a time."""


def _figure(cell: Cell | None, scale: Scale) -> str:
    value = scale.value(cell) if cell is not None else None
    if cell is None or value is None:
        return "[red]failed[/]" if cell is not None and cell.failure else "-"
    noisy = " [yellow]~[/]" if (cell.spread or 0) > NOISY else ""
    return f"{value:,.{2 if value < 100 else 0}f}{noisy}"


def _ratio(value: float | None, good: bool | None) -> str:
    if value is None:
        return "-"
    text = f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
    return text if good is None else f"[{'green' if good else 'red'}]{text}[/]"


def table(rows: Sequence[Row], platforms: Sequence[Platform], scale: Scale = TIMES) -> Table:
    """The median of each, and Hardtack's ratio to its peers. ~ marks a wide spread."""
    grid = Table(title=scale.title, title_justify="left")
    grid.add_column("work")
    for platform in platforms:
        grid.add_column(platform.name, justify="right")
    names = [platform.name for platform in platforms]
    peers = [name for name in ("gvisor", "native") if name in names and "hardtack" in names]
    for peer in peers:
        grid.add_column(f"hardtack / {peer}", justify="right")
    for row in rows:
        figures = [_figure(row.cell(name), scale) for name in names]
        ratios = []
        for peer in peers:
            ratio = scale.ratio(row, "hardtack", peer)
            judged = peer == "gvisor" and ratio is not None
            ratios.append(_ratio(ratio, scale.good(ratio or 0) if judged else None))
        grid.add_row(row.benchmark.title, *figures, *ratios)
    return grid


def failures(rows: Sequence[Row]) -> list[str]:
    """A line for each that could not be measured."""
    return [
        f"{row.benchmark.program} on {cell.platform}: {cell.failure}"
        for row in rows
        for cell in row.cells
        if cell.failure
    ]


def _cell(cell: Cell) -> dict[str, object]:
    return {
        "platform": cell.platform,
        "median_us": cell.median_us,
        "median_per_second": cell.median_per_second,
        "median_cpu_us": cell.median_cpu_us,
        "failure": cell.failure,
        "samples": [attrs.asdict(sample) for sample in cell.samples],
    }


def _shown_prefix(platform: Platform) -> list[str]:
    return [word.rpartition("/")[2] if word[:1] == "/" else word for word in platform.prefix]


def as_json(rows: Sequence[Row], platforms: Sequence[Platform], settings: dict[str, object]) -> str:
    """Everything: when, on what, how, and each sample."""
    document = {
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.facts(),
        "settings": settings,
        "platforms": {
            p.name: {"version": p.version, "command": _shown_prefix(p)} for p in platforms
        },
        "rows": [
            {
                "name": row.benchmark.program,
                "title": row.benchmark.title,
                "time_hardtack_to_gvisor": row.ratio("hardtack", "gvisor"),
                "time_hardtack_to_native": row.ratio("hardtack", "native"),
                "rate_hardtack_to_gvisor": row.ratio("gvisor", "hardtack"),
                "rate_hardtack_to_native": row.ratio("native", "hardtack"),
                "cpu_hardtack_to_gvisor": PROCESSOR.ratio(row, "hardtack", "gvisor"),
                "cpu_hardtack_to_native": PROCESSOR.ratio(row, "hardtack", "native"),
                "cells": [_cell(cell) for cell in row.cells],
            }
            for row in rows
        ],
    }
    return json.dumps(document, indent=2) + "\n"
