"""Figure 7-6 of the Biscuit thesis: what lives on the kernel heap over time, and the kills."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.heap import Outcome

FIRST_S = 35.0
"""As much of it as the thesis shows."""
MIB = 1 << 20


def available() -> bool:
    """Whether plots can be made here."""
    return find_spec("matplotlib") is not None


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """A row for each run: its first seconds, and all of it; kills are vertical lines."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(
        len(outcomes), 2, figsize=(12, 3.2 * len(outcomes)), squeeze=False, layout="constrained"
    )
    for outcome, (near, whole) in zip(outcomes, grid, strict=True):
        for axes, until_s in ((near, FIRST_S), (whole, max(outcome.seconds, FIRST_S))):
            _row(axes, outcome, until_s)
        near.set_ylabel(f"{outcome.kind}: live, MiB")
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    grid[0][0].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _row(axes: object, outcome: Outcome, until_s: float) -> None:
    plot = axes  # matplotlib has no types worth having here
    samples = [s for s in outcome.samples if s.at_s <= until_s]
    plot.plot(  # type: ignore[attr-defined]
        [s.at_s for s in samples],
        [s.live_bytes / MIB for s in samples],
        "r+-",
        markersize=4,
        linewidth=0.5,
        label="live",
    )
    plot.axhline(outcome.heap_bytes / MIB, color="b", label="M")  # type: ignore[attr-defined]
    for number, at_s in enumerate(outcome.kill_times(until_s)):
        plot.axvline(  # type: ignore[attr-defined]
            at_s, color="k", linewidth=0.8, label="killed" if not number else None
        )
    plot.set_xlim(0, until_s)  # type: ignore[attr-defined]
    plot.set_ylim(0)  # type: ignore[attr-defined]
