"""`python -m tests.interop`: throughput over a clean and an impaired link, beside Linux's own."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table

from tests.interop import lab as labs
from tests.interop.throughput import Outcome, measure, ratios

LINKS = {"clean": labs.CLEAN, "impaired": labs.IMPAIRED}


def _table(name: str, link: labs.Impairment, outcomes: list[Outcome]) -> Table:
    said = " ".join(f"{key} {value:g}" for key, value in attrs.asdict(link).items() if value)
    grid = Table(title=f"{name}: {said}", title_justify="left")
    for title in ("the near end", "Linux Mbit/s", "Hardtack Mbit/s", "ratio", "intact"):
        grid.add_column(title, justify="left" if title == "the near end" else "right")
    for kind, ratio in ratios(outcomes).items():
        both = {one.flow.near: one for one in outcomes if one.flow.kind == kind}
        intact = all(one.intact for one in both.values())
        speeds = [f"{both[near].mbit_s:,.2f}" for near in ("linux", "guest")]
        grid.add_row(kind, *speeds, f"{ratio:.2f}", "yes" if intact else "[red]NO[/]")
    return grid


def main() -> int:
    """Measure, print a table for people, write JSON for programs. Status 1: bytes were lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=50, help="of each transfer (50)")
    parser.add_argument("--link", choices=LINKS, action="append", help="only this; repeatable")
    parser.add_argument("--seed", type=int, default=1, help="of the frames' fate (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    asked = parser.parse_args()
    if reason := labs.missing():
        print(f"python -m tests.interop: {reason}", file=sys.stderr)
        return 2
    size, console, told = int(asked.megabytes * 1e6), Console(), []
    for name in asked.link or LINKS:
        link = attrs.evolve(LINKS[name], seed=asked.seed)
        with tempfile.TemporaryDirectory() as directory:
            outcomes, frames = measure(
                link, size, Path(directory), at_once=name == "impaired", timeout_s=3600
            )
        console.print(_table(name, link, outcomes))
        told.append(
            {
                "link": name,
                "impairment": attrs.asdict(link),
                "transfers": [{**attrs.asdict(o), "mbit_s": o.mbit_s} for o in outcomes],
                "ratios": ratios(outcomes),
                "frames": frames,
            }
        )
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(not all(o["intact"] for entry in told for o in entry["transfers"]))


if __name__ == "__main__":
    sys.exit(main())
