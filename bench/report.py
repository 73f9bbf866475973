"""Rows as a table for people and as JSON for programs."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING

import attrs
from rich.table import Table

from bench import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Cell, Row
    from bench.platforms import Platform

NOISY = 0.5


def _time(cell: Cell | None) -> str:
    if cell is None or cell.median_us is None:
        return "[red]failed[/]" if cell is not None else "-"
    noisy = " [yellow]~[/]" if (cell.spread or 0) > NOISY else ""
    return f"{cell.median_us:,.{2 if cell.median_us < 100 else 0}f}{noisy}"


def _ratio(value: float | None, *, coloured: bool = False) -> str:
    if value is None:
        return "-"
    text = f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
    return f"[{'green' if value <= 1 else 'red'}]{text}[/]" if coloured else text


def table(rows: Sequence[Row], platforms: Sequence[Platform]) -> Table:
    """Median microseconds for each, and Hardtack's ratio to its peers. ~ marks a wide spread."""
    grid = Table(title="microseconds each, median", title_justify="left")
    grid.add_column("work")
    for platform in platforms:
        grid.add_column(platform.name, justify="right")
    names = [platform.name for platform in platforms]
    peers = [name for name in ("gvisor", "native") if name in names and "hardtack" in names]
    for peer in peers:
        grid.add_column(f"hardtack / {peer}", justify="right")
    for row in rows:
        times = [_time(row.cell(name)) for name in names]
        ratios = [_ratio(row.ratio("hardtack", p), coloured=p == "gvisor") for p in peers]
        grid.add_row(row.benchmark.title, *times, *ratios)
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
                "hardtack_to_gvisor": row.ratio("hardtack", "gvisor"),
                "hardtack_to_native": row.ratio("hardtack", "native"),
                "cells": [_cell(cell) for cell in row.cells],
            }
            for row in rows
        ],
    }
    return json.dumps(document, indent=2) + "\n"
